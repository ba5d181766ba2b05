//! Deadlines, sizes and ids of calls. The call with a deadline is made by hand, because a client of tonic
//! stops waiting by itself and would never see the server's response.

use std::sync::Arc;

use bytes::Bytes;
use digitd::pb::digitd::v1;
use prost::Message;
use tonic::{Code, Request, Status};

use super::{
    server::{TestServer, endless, unseen_images},
    status::{check, error},
};

/// Makes a unary or server-streaming call over a plain HTTP/2 connection and reads it to its end.
pub async fn call(server: &TestServer, path: &str, timeout: &str, message: &impl Message) -> Status {
    let socket = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{path}", server.addr))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())
        .unwrap();
    let (response, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    if let Err(closed) = body.send_data(frame.into(), true) {
        // A call whose deadline has passed may have its response, and its stream closed, before its message is
        // sent.
        assert_eq!(closed.to_string(), "user error: inactive stream");
    }
    let response = response.await.unwrap();
    let headers = response.headers().clone();
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    Status::from_header_map(&headers).or_else(|| Status::from_header_map(&trailers)).unwrap()
}

fn one_image() -> v1::PredictRequest {
    let pixel_batch = Bytes::copy_from_slice(unseen_images(1).pixels());
    v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_deadline_of_a_call_is_deadline_exceeded() {
    let server = TestServer::start().await;
    server.train().await;
    let late = call(&server, "/digitd.v1.PredictionService/Predict", "1n", &one_image()).await;
    check(&late, Code::DeadlineExceeded, "DEADLINE");
    let in_time = call(&server, "/digitd.v1.PredictionService/Predict", "1M", &one_image()).await;
    assert_eq!(in_time.code(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_its_deadline_and_its_run_continues() {
    let server = TestServer::start().await;
    let late = call(&server, "/digitd.v1.TrainingService/Train", "300m", &endless()).await;
    check(&late, Code::DeadlineExceeded, "DEADLINE");
    let runs = server.training().list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!((runs.len(), runs[0].state()), (1, v1::RunState::Running));
    let cancel = v1::CancelRunRequest { run_id: runs[0].run_id.clone() };
    server.training().cancel_run(cancel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_rejected_with_its_reason() {
    let store = Arc::new(tempfile::tempdir().unwrap());
    let server = TestServer::with(store, |config| config.max_message_bytes = 10_000).await;
    let pixel_batch = Bytes::from(vec![0; 784 * 20]);
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    let rejected = error(server.prediction().predict(request.clone()).await);
    check(&rejected, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");

    let question = v1::PredictStreamRequest { request_id: "1".to_owned(), request: Some(request) };
    let mut responses =
        server.prediction().predict_stream(futures::stream::iter([question])).await.unwrap().into_inner();
    let rejected = responses.message().await.unwrap_err();
    check(&rejected, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_of_the_method_are_an_invalid_argument() {
    let server = TestServer::start().await;
    // The message has a number in the field of the model.
    let number = v1::Sgd { learning_rate: Some(0.1) };
    let rejected = call(&server, "/digitd.v1.AnalysisService/Evaluate", "1M", &number).await;
    check(&rejected, Code::InvalidArgument, "INVALID_FIELD");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_call_fits_into_a_message() {
    let server = TestServer::start().await;
    server.train().await;
    let pixel_batch = Bytes::from(vec![0; 784 * 16_384]);
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    let message = server.prediction().predict(request).await.unwrap().into_inner();
    assert_eq!(message.predictions.len(), 16_384);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_carries_the_request_id_of_its_caller() {
    let server = TestServer::start().await;
    let mut request = Request::new(v1::ListModelsRequest {});
    request.metadata_mut().insert("x-request-id", "from-me-1".parse().unwrap());
    let message = server.registry().list_models(request).await.unwrap();
    assert_eq!(message.metadata().get("x-request-id").unwrap(), "from-me-1");
    let own = server.registry().list_models(v1::ListModelsRequest {}).await.unwrap();
    assert!(!own.metadata().get("x-request-id").unwrap().is_empty());
}
