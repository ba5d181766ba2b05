//! Runs that wait for the training slot, and requests that are only validated, as callers see them.

use digitd::pb::digitd::v1::{self, train_event::Event};
use tonic::Code;

use super::{
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
async fn a_run_that_waits_ends_when_it_is_cancelled_or_its_caller_goes_away() {
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
async fn validate_only_answers_what_would_be_run_and_leaves_no_run() {
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
