//! WatchRun: the same events for every watcher, early or late, fast or slow, before and after a restart.

use digitd::pb::digitd::v1::{self, train_event::Event, training_service_client::TrainingServiceClient};
use tonic::{Code, transport::Endpoint};

use super::{
    server::{TestServer, check_sequence, collect, endless, finished, run_id, tiny, until, watch},
    status::{check_field, check_not_found, error},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_gets_the_events_of_the_caller_of_train() {
    let server = TestServer::start().await;
    let events = server.train().await;
    let id = run_id(&events);
    let mut training = server.training();
    let replay = collect(training.watch_run(watch(&id, 0)).await.unwrap().into_inner()).await;
    assert_eq!(replay, events);
    for after in [1, 5, i32::try_from(events.len()).unwrap() - 1] {
        let rest = collect(training.watch_run(watch(&id, after)).await.unwrap().into_inner()).await;
        assert_eq!(rest, events[usize::try_from(after).unwrap()..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_run_is_replayed_after_a_restart() {
    let server = TestServer::start().await;
    let events = server.train().await;
    let before = get(&server, &run_id(&events)).await;
    let server = TestServer::on(server.stop().await).await;
    let replay = server.training().watch_run(watch(&run_id(&events), 0)).await.unwrap().into_inner();
    assert_eq!(collect(replay).await, events);
    assert_eq!(get(&server, &run_id(&events)).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_watcher_catches_up_and_follows() {
    let server = TestServer::start().await;
    let mut stream = server.training().train(endless()).await.unwrap().into_inner();
    let is_third = |event: &Event| matches!(event, Event::Batch(batch) if batch.step == 3);
    let mut events = until(&mut stream, is_third).await;
    let id = run_id(&events);
    let mut late = server.training().watch_run(watch(&id, 0)).await.unwrap().into_inner();
    let mut caught_up =
        until(&mut late, |event| matches!(event, Event::Batch(batch) if batch.step == 9)).await;
    assert_eq!(caught_up[..events.len()], events);
    server.training().cancel_run(v1::CancelRunRequest { run_id: id }).await.unwrap();
    events.extend(collect(stream).await);
    caught_up.extend(collect(late).await);
    assert_eq!(caught_up, events);
    check_sequence(&events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_does_not_read_blocks_nobody() {
    let server = TestServer::start().await;
    // Four events fit into the flow-control window of this caller, and the run makes a thousand.
    let narrow = Endpoint::from_shared(format!("http://{}", server.addr)).unwrap();
    let narrow = narrow.initial_stream_window_size(512).initial_connection_window_size(512);
    let mut slow = TrainingServiceClient::new(narrow.connect_lazy());
    let request = v1::TrainRequest { batch_size: Some(1), epochs: Some(3), ..tiny() };
    let mut stalled = slow.train(request).await.unwrap().into_inner();
    let first = until(&mut stalled, |_| true).await;

    let other = server.training().watch_run(watch(&run_id(&first), 0)).await.unwrap().into_inner();
    let events = collect(other).await;
    assert_eq!(finished(&events).state(), v1::RunState::Completed);
    assert!(events.len() > 900);

    // The events that it did not read were not lost.
    assert_eq!(collect(stalled).await, events[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_run_cannot_be_watched() {
    let server = TestServer::start().await;
    let mut training = server.training();
    let nowhere = "0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f";
    let missing = error(training.watch_run(watch(nowhere, 0)).await);
    check_not_found(&missing, "RUN_NOT_FOUND", nowhere);
    check_field(&error(training.watch_run(watch("../..", 0)).await), "run_id");
    check_field(&error(training.watch_run(watch(nowhere, -1)).await), "after_sequence");
    let cancel = v1::CancelRunRequest { run_id: nowhere.to_owned() };
    assert_eq!(error(training.cancel_run(cancel).await).code(), Code::NotFound);
}

async fn get(server: &TestServer, run_id: &str) -> v1::Run {
    let request = v1::GetRunRequest { run_id: run_id.to_owned() };
    server.training().get_run(request).await.unwrap().into_inner().run.unwrap()
}
