//! Runs that wait for the training slot, and requests that are only validated, as callers see them.

use digitd::pb::digitd::v1::{self, train_event::Event};
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    resume::resume,
    server::{TestServer, check_sequence, collect, endless, finished, run_id, tiny, until, watch},
    status::{check, check_field, error},
};

fn waiting() -> v1::TrainRequest {
    v1::TrainRequest { queue: true, ..tiny() }
}

async fn state(server: &TestServer, run_id: &str) -> v1::RunState {
    let request = v1::GetRunRequest { run_id: run_id.to_owned() };
    server.training().get_run(request).await.unwrap().into_inner().run.unwrap().state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_its_turn_and_is_listed_as_queued_meanwhile() {
    let server = TestServer::start().await;
    let mut first = server.training().train(endless()).await.unwrap().into_inner();
    let trains = run_id(&until(&mut first, |event| matches!(event, Event::Batch(_))).await);
    let mut second = server.training().train(waiting()).await.unwrap().into_inner();
    let mut events = until(&mut second, |event| matches!(event, Event::Queued(_))).await;
    let id = run_id(&events);
    let Some(Event::Queued(queued)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((queued.behind_run_id.as_str(), queued.position), (trains.as_str(), 1));
    assert_eq!(queued.request.as_ref().unwrap().epochs, Some(2));
    assert_eq!(state(&server, &id).await, v1::RunState::Queued);
    let runs = server.training().list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!((runs[0].run_id.as_str(), runs[0].state()), (id.as_str(), v1::RunState::Queued));

    let cancel = v1::CancelRunRequest { run_id: trains };
    server.training().cancel_run(cancel).await.unwrap();
    events.extend(collect(second).await);
    check_sequence(&events);
    assert!(matches!(events[1].event, Some(Event::Started(_))));
    assert_eq!(finished(&events).state(), v1::RunState::Completed);
    let replayed = server.training().watch_run(watch(&id, 0)).await.unwrap().into_inner();
    assert_eq!(collect(replayed).await, events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_ends_when_it_is_cancelled_or_its_caller_disconnects() {
    let server = TestServer::start().await;
    let mut first = server.training().train(endless()).await.unwrap().into_inner();
    until(&mut first, |event| matches!(event, Event::Batch(_))).await;
    let mut second = server.training().train(waiting()).await.unwrap().into_inner();
    let mut events = until(&mut second, |event| matches!(event, Event::Queued(_))).await;
    let cancel = v1::CancelRunRequest { run_id: run_id(&events) };
    server.training().cancel_run(cancel).await.unwrap();
    events.extend(collect(second).await);
    assert_eq!((events.len(), finished(&events).reason()), (2, v1::FinishReason::Cancelled));

    let request = v1::TrainRequest { cancel_on_disconnect: true, ..waiting() };
    let mut third = server.training().train(request).await.unwrap().into_inner();
    let id = run_id(&until(&mut third, |event| matches!(event, Event::Queued(_))).await);
    drop(third);
    let events = collect(server.training().watch_run(watch(&id, 0)).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).reason(), v1::FinishReason::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_runs_outlive_their_callers_and_start_in_order() {
    let server = TestServer::start().await;
    let mut first = server.training().train(endless()).await.unwrap().into_inner();
    let trains = run_id(&until(&mut first, |event| matches!(event, Event::Batch(_))).await);
    let mut ids = Vec::new();
    for place in 1..=3 {
        let mut stream = server.training().train(waiting()).await.unwrap().into_inner();
        let queued = until(&mut stream, |event| matches!(event, Event::Queued(_))).await;
        let Some(Event::Queued(details)) = &queued[0].event else { panic!("{queued:?}") };
        assert_eq!((details.behind_run_id.as_str(), details.position), (trains.as_str(), place));
        ids.push(run_id(&queued));
    }
    // A request that does not wait does not overtake those that do.
    check(&error(server.training().train(tiny()).await), Code::ResourceExhausted, "TRAINING_BUSY");
    server.training().cancel_run(v1::CancelRunRequest { run_id: trains }).await.unwrap();
    for (place, id) in (1..).zip(ids) {
        let events = collect(server.training().watch_run(watch(&id, 0)).await.unwrap().into_inner()).await;
        check_sequence(&events);
        assert!(matches!(events[1].event, Some(Event::Started(_))), "{:?}", events[1]);
        assert_eq!(finished(&events).version, Some(place), "in the order in which they asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seventeenth_queued_run_is_rejected() {
    let server = TestServer::start().await;
    let mut first = server.training().train(endless()).await.unwrap().into_inner();
    until(&mut first, |event| matches!(event, Event::Batch(_))).await;
    for _ in 0..16 {
        server.training().train(waiting()).await.unwrap();
    }
    let full = error(server.training().train(waiting()).await);
    check(&full, Code::ResourceExhausted, "QUEUE_FULL");
    assert!(full.get_details_retry_info().unwrap().retry_delay.is_some());
    // All of them end when the server stops.
    let server = TestServer::on(server.stop().await).await;
    let runs = server.training().list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(runs.len(), 17);
    assert!(runs.iter().all(|run| run.state() == v1::RunState::Interrupted));
    assert_eq!(runs[0].message, "the server went down before the run began");
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_checks_the_version_and_the_run_that_a_request_names() {
    let server = TestServer::start().await;
    let mut training = server.training();
    let trained = run_id(&server.train().await);
    let only = |request| v1::TrainRequest { validate_only: true, ..request };
    let deep = Some(v1::Network { preset: "deep".to_owned(), ..v1::Network::default() });
    let initial = |version| {
        let which = Some(v1::model_ref::Which::Version(version));
        Some(v1::ModelRef { name: String::new(), which })
    };
    let misfit = v1::TrainRequest { initial: initial(1), network: deep, ..tiny() };
    check_field(&error(training.train(only(misfit)).await), "initial");
    let missing = v1::TrainRequest { initial: initial(2), ..tiny() };
    check(&error(training.train(only(missing)).await), Code::NotFound, "VERSION_NOT_FOUND");
    let over = error(training.train(only(resume(&trained))).await);
    check(&over, Code::FailedPrecondition, "RUN_COMPLETED");
    let more = v1::TrainRequest { epochs: Some(3), ..resume(&trained) };
    let events = collect(training.train(only(more)).await.unwrap().into_inner()).await;
    let Some(Event::Validated(plan)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((events.len(), plan.total_steps), (1, 18));
    assert_eq!(state(&server, &trained).await, v1::RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_returns_the_plan_and_leaves_no_run() {
    let server = TestServer::start().await;
    let request = v1::TrainRequest { validate_only: true, ..tiny() };
    let events = collect(server.training().train(request.clone()).await.unwrap().into_inner()).await;
    assert_eq!((events.len(), events[0].sequence, events[0].run_id.as_str()), (1, 0, ""));
    let Some(Event::Validated(plan)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((plan.train_images, plan.validation_images, plan.batches_per_epoch), (300, Some(100), 6));
    assert_eq!((plan.total_steps, plan.total_parameters), (12, 20_350));
    assert_eq!((plan.multiply_adds, plan.device.as_str()), (2_361_800, "cpu"));
    assert!(plan.estimated_memory_megabytes > 0);
    let resolved = plan.request.clone().unwrap();
    assert_eq!((resolved.epochs, resolved.validate_only), (Some(2), false));

    check_field(
        &error(server.training().train(v1::TrainRequest { epochs: Some(0), ..request.clone() }).await),
        "epochs",
    );
    let far = v1::InspectAt { epoch: 1, batch: 7, shapes: true, contents: false };
    let beyond = v1::TrainRequest { inspect_at: vec![far], ..request.clone() };
    check_field(&error(server.training().train(beyond).await), "inspect_at[0].batch");
    let mnist = v1::TrainRequest { dataset: None, ..request };
    check(&error(server.training().train(mnist).await), Code::FailedPrecondition, "DATASET_UNAVAILABLE");
    let runs = server.training().list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(runs, []);
}
