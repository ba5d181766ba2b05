//! Shutting a server down: what its callers receive, and what is stored.

use std::time::Duration;

use digitd::pb::digitd::v1::{self, train_event::Event};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::server::{
    TestServer, check_sequence, collect, endless, finished, run_id, unseen_images, until, watch,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_interrupted_with_a_checkpoint_and_reported_so_after_the_restart() {
    let server = TestServer::start().await;
    let mut stream = server.training().train(endless()).await.unwrap().into_inner();
    let mut events = until(&mut stream, |event| matches!(event, Event::Batch(_))).await;
    let (store, rest) = tokio::join!(server.stop(), collect(stream));
    events.extend(rest);
    check_sequence(&events);
    let end = finished(&events);
    let ending = (end.state(), end.reason());
    assert_eq!(ending, (v1::RunState::Interrupted, v1::FinishReason::Interrupted));
    assert!(events.iter().any(|event| matches!(event.event, Some(Event::Checkpoint(_)))));

    let server = TestServer::on(store).await;
    let replay = server.training().watch_run(watch(&run_id(&events), 0)).await.unwrap().into_inner();
    assert_eq!(collect(replay).await, events);
    let request = v1::GetRunRequest { run_id: run_id(&events) };
    let run = server.training().get_run(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!(run.state(), v1::RunState::Interrupted);
    server.train().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_health_are_notified_of_the_end_and_do_not_delay_it() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel());
    let request = HealthCheckRequest { service: "digitd.v1.TrainingService".to_owned() };
    let mut watched = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let served = server.begin_to_stop();
    // The server may end before the event is sent; the stream then ends with the server.
    if let Ok(Some(response)) = watched.message().await {
        assert_eq!(response.status(), ServingStatus::NotServing);
    }
    served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_served_while_load_balancers_notice_the_end() {
    let store = std::sync::Arc::new(tempfile::tempdir().unwrap());
    // Longer than the test: only the end of the runtime ends this server.
    let server =
        TestServer::with(store.clone(), |config| config.drain_delay = Duration::from_secs(3600)).await;
    server.train().await;
    let request = HealthCheckRequest { service: "digitd.v1.TrainingService".to_owned() };
    let mut watched = HealthClient::new(server.channel()).watch(request).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut prediction = server.prediction();
    let served = server.begin_to_stop();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let pixel_batch = bytes::Bytes::copy_from_slice(unseen_images(1).pixels());
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    prediction.predict(request).await.unwrap();
    assert!(!served.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_requests_ends_when_the_server_drains() {
    let server = TestServer::start().await;
    server.train().await;
    let (questions, asked) = tokio::sync::mpsc::channel(4);
    let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
    let question = v1::PredictStreamRequest { request_id: "1".to_owned(), request: None };
    questions.send(question).await.unwrap();
    let mut responses = server.prediction().predict_stream(asked).await.unwrap().into_inner();
    assert_eq!(responses.message().await.unwrap().unwrap().request_id, "1");
    let served = server.begin_to_stop();
    let end = responses.message().await.unwrap_err();
    super::status::check(&end, tonic::Code::Unavailable, "DRAINING");
    served.await.unwrap().unwrap();
    drop(questions);
}
