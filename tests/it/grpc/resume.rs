//! Resuming: a stopped run continues under its own id to the weights that it would have had, and its log
//! continues.

use std::sync::Arc;

use digitd::pb::digitd::v1::{self, train_event::Event};
use tonic::Code;

use super::{
    regularize::everything,
    server::{TestServer, check_sequence, collect, finished, run_id, tiny, until, watch},
    status::{check, check_field, check_not_found, error},
};

pub fn resume(run_id: &str) -> v1::TrainRequest {
    v1::TrainRequest { resume_run_id: run_id.to_owned(), ..v1::TrainRequest::default() }
}

/// A run with everything that a checkpoint must hold, long enough to be stopped before its end.
pub fn forty() -> v1::TrainRequest {
    v1::TrainRequest { epochs: Some(40), ..everything() }
}

/// The reports of batches and epochs in a log, without times; each once and in order.
pub fn story(events: &[v1::TrainEvent]) -> Vec<String> {
    let reports = events.iter().filter_map(|event| match event.event.clone()? {
        Event::Batch(batch) => Some(format!("{:?}", v1::BatchReport { images_per_second: None, ..batch })),
        Event::Epoch(epoch) => {
            Some(format!("{:?}", v1::EpochReport { seconds: None, images_per_second: None, ..epoch }))
        }
        _ => None,
    });
    reports.collect()
}

/// The digest of a version's weights.
async fn digest(server: &TestServer, version: i32) -> String {
    let which = Some(v1::get_version_request::Which::Version(version));
    let request = v1::GetVersionRequest { name: String::new(), which };
    server.registry().get_version(request).await.unwrap().into_inner().version.unwrap().weights_sha256
}

async fn replay(server: &TestServer, run_id: &str) -> Vec<v1::TrainEvent> {
    let events = collect(server.training().watch_run(watch(run_id, 0)).await.unwrap().into_inner()).await;
    check_sequence(&events);
    events
}

/// Trains `request` and cancels the run after this step.
async fn cancelled(server: &TestServer, request: v1::TrainRequest, step: i32) -> Vec<v1::TrainEvent> {
    let mut stream = server.training().train(request).await.unwrap().into_inner();
    let is_it = |event: &Event| matches!(event, Event::Batch(batch) if batch.step == step);
    let mut events = until(&mut stream, is_it).await;
    let cancel = v1::CancelRunRequest { run_id: run_id(&events) };
    server.training().cancel_run(cancel).await.unwrap();
    events.extend(collect(stream).await);
    assert_eq!(finished(&events).reason(), v1::FinishReason::Cancelled);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_resumes_to_the_same_weights_and_its_log_continues() {
    let server = TestServer::start().await;
    let request = forty();
    let whole = collect(server.training().train(request.clone()).await.unwrap().into_inner()).await;
    let first = cancelled(&server, request, 8).await;
    let id = run_id(&first);
    let rest = collect(server.training().train(resume(&id)).await.unwrap().into_inner()).await;
    assert_eq!(run_id(&rest), id);
    let Some(Event::Started(started)) = &rest[0].event else { panic!("{:?}", rest[0]) };
    let checkpoint = first.iter().rev().find_map(|event| match event.event.as_ref()? {
        Event::Checkpoint(checkpoint) => Some(checkpoint),
        _ => None,
    });
    assert_eq!(started.resumed.unwrap().step, checkpoint.unwrap().step);
    assert_eq!(finished(&rest).state(), v1::RunState::Completed);

    let log = replay(&server, &id).await;
    assert_eq!(log, [first, rest].concat());
    assert_eq!(story(&log), story(&whole));
    assert_eq!(digest(&server, 1).await, digest(&server, 2).await);
    let run = server.training().get_run(v1::GetRunRequest { run_id: id.clone() }).await.unwrap().into_inner();
    let run = run.run.unwrap();
    assert_eq!((run.state(), run.version, run.step), (v1::RunState::Completed, Some(2), Some(560)));
    // The log is the same after a restart.
    let server = TestServer::on(server.stop().await).await;
    assert_eq!(replay(&server, &id).await, log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_its_server_interrupted_resumes_on_the_next() {
    let server = TestServer::start().await;
    let request = forty();
    let whole = collect(server.training().train(request.clone()).await.unwrap().into_inner()).await;
    let mut stream = server.training().train(request).await.unwrap().into_inner();
    let mut first = until(&mut stream, |event| matches!(event, Event::Batch(batch) if batch.step == 4)).await;
    let (store, rest): (Arc<_>, _) = tokio::join!(server.stop(), collect(stream));
    first.extend(rest);
    assert_eq!(finished(&first).reason(), v1::FinishReason::Interrupted);
    let server = TestServer::on(store).await;
    let id = run_id(&first);
    collect(server.training().train(resume(&id)).await.unwrap().into_inner()).await;
    assert_eq!(story(&replay(&server, &id).await), story(&whole));
    assert_eq!(digest(&server, 1).await, digest(&server, 2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_resume_is_rejected_with_the_reason() {
    let server = TestServer::start().await;
    let mut training = server.training();
    let nowhere = "0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f";
    check_not_found(&error(training.train(resume(nowhere)).await), "RUN_NOT_FOUND", nowhere);
    check_field(&error(training.train(resume("../..")).await), "resume_run_id");

    let mut stream =
        training.train(v1::TrainRequest { epochs: Some(10_000), ..tiny() }).await.unwrap().into_inner();
    let id = run_id(&until(&mut stream, |event| matches!(event, Event::Batch(_))).await);
    check(&error(training.train(resume(&id)).await), Code::FailedPrecondition, "RUN_NOT_ENDED");
    training.cancel_run(v1::CancelRunRequest { run_id: id.clone() }).await.unwrap();
    collect(stream).await;
    let changed = v1::TrainRequest { batch_size: Some(51), ..resume(&id) };
    check_field(&error(training.train(changed).await), "batch_size");
    let fewer = v1::TrainRequest { epochs: Some(9_999), ..resume(&id) };
    check_field(&error(training.train(fewer).await), "epochs");
    std::fs::remove_dir_all(server.store().join("runs").join(&id).join("checkpoints")).unwrap();
    check(&error(training.train(resume(&id)).await), Code::FailedPrecondition, "CHECKPOINT_MISSING");

    let rate = v1::Sgd { learning_rate: Some(1e30) };
    let optimizer = Some(v1::Optimizer { rule: Some(v1::optimizer::Rule::Sgd(rate)) });
    let wild = v1::TrainRequest { optimizer, report_every_batches: Some(100), ..tiny() };
    let wild = collect(training.train(wild).await.unwrap().into_inner()).await;
    assert_eq!((finished(&wild).reason(), finished(&wild).version), (v1::FinishReason::NonFinite, None));
    check(&error(training.train(resume(&run_id(&wild))).await), Code::FailedPrecondition, "RUN_NON_FINITE");
    server.train().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_run_resumes_only_with_more_epochs_and_publishes_again() {
    let server = TestServer::start().await;
    let events = server.train().await;
    let id = run_id(&events);
    let over = error(server.training().train(resume(&id)).await);
    check(&over, Code::FailedPrecondition, "RUN_COMPLETED");
    let more = v1::TrainRequest { epochs: Some(3), ..resume(&id) };
    let rest = collect(server.training().train(more).await.unwrap().into_inner()).await;
    let end = finished(&rest);
    assert_eq!((end.reason(), end.version), (v1::FinishReason::Completed, Some(2)));
    let log = replay(&server, &id).await;
    assert_eq!(story(&log).len(), 3 * 7);
    let run =
        server.training().get_run(v1::GetRunRequest { run_id: id }).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.request.unwrap().epochs, run.epoch, run.version), (Some(3), Some(3), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_improve_stops_early_and_publishes_its_best() {
    let server = TestServer::start().await;
    let rate = v1::Sgd { learning_rate: Some(1e-9) };
    let optimizer = Some(v1::Optimizer { rule: Some(v1::optimizer::Rule::Sgd(rate)) });
    let early_stopping =
        Some(v1::EarlyStopping { patience_evaluations: Some(1), min_delta: Some(0.1), ..Default::default() });
    let request = v1::TrainRequest { epochs: Some(50), optimizer, early_stopping, ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    let end = finished(&events);
    assert_eq!((end.state(), end.reason()), (v1::RunState::Completed, v1::FinishReason::EarlyStopped));
    assert_eq!(end.version, Some(1));
    assert_eq!(events.iter().filter(|event| matches!(event.event, Some(Event::Epoch(_)))).count(), 2);
    let over = error(server.training().train(resume(&run_id(&events))).await);
    check(&over, Code::FailedPrecondition, "RUN_COMPLETED");
}
