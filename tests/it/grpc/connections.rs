//! Connections: calls that their callers give up, silent peers, and the paths of the HTTP port.

use bytes::Bytes;
use digitd::pb::digitd::v1;
use h2::client::SendRequest;
use tonic::Code;
use ureq::http::StatusCode;

use super::server::{TestServer, unseen_images};

async fn connect(server: &TestServer) -> SendRequest<Bytes> {
    let socket = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(server: &TestServer, path: &str) -> http::Request<()> {
    http::Request::post(format!("http://{}{path}", server.addr))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// Calls a method with an empty message, and returns its status.
async fn status(client: &SendRequest<Bytes>, server: &TestServer, path: &str) -> Code {
    let mut client = client.clone().ready().await.unwrap();
    let (response, mut body) = client.send_request(request(server, path), false).unwrap();
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let response = response.await.unwrap();
    let headers = response.headers().clone();
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    let status = tonic::Status::from_header_map(&headers);
    status.or_else(|| tonic::Status::from_header_map(&trailers)).unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_cancelled_at_once_leave_the_other_calls_of_the_connection_alone() {
    let server = TestServer::start().await;
    let client = connect(&server).await;
    for _ in 0..20 {
        let mut cancelled = Vec::new();
        for _ in 0..40 {
            let mut client = client.clone().ready().await.unwrap();
            let path = "/digitd.v1.PredictionService/Predict";
            let (response, mut body) = client.send_request(request(&server, path), false).unwrap();
            body.send_reset(h2::Reason::CANCEL);
            cancelled.push(response);
        }
        assert_eq!(status(&client, &server, "/digitd.v1.TrainingService/ListRuns").await, Code::Ok);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_of_the_http_port_is_not_found() {
    let server = TestServer::start().await;
    let get = async |path: &str| {
        let url = format!("http://{}{path}", server.http_addr);
        let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
        let call = move || {
            let mut response = agent.get(url).call().unwrap();
            (response.status(), response.body_mut().read_to_string().unwrap())
        };
        tokio::task::spawn_blocking(call).await.unwrap()
    };
    for path in ["/ready", "/health", "/livez/", "/metrics2", "/grpc.health.v1.Healt/Check"] {
        let (status, text) = get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {text}");
        assert!(text.contains("/readyz"), "{text}");
    }
    let (status, index) = get("/").await;
    assert_eq!(status, StatusCode::OK);
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert!(index.contains(path), "{index}");
        assert_eq!(get(path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_do_not_keep_callers_out() {
    let store = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let server = TestServer::with(store, |config| config.max_connections = 8).await;
    server.train().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(server.addr).await.unwrap());
    }
    let pixel_batch = Bytes::copy_from_slice(unseen_images(1).pixels());
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    let response = server.prediction().predict(request).await.unwrap().into_inner();
    assert_eq!(response.predictions.len(), 1);
}
