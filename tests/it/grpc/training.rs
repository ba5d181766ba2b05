//! Train: its stream, its errors, and a run whose caller disconnects.

use digitd::pb::digitd::v1::{self, train_event::Event};
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    server::{TestServer, check_sequence, collect, endless, finished, run_id, tiny, until, watch},
    status::{check, check_field, check_not_found, error},
};

fn is_batch(event: &Event) -> bool {
    matches!(event, Event::Batch(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_streams_its_events_in_order_and_publishes_a_version() {
    let server = TestServer::start().await;
    let request = v1::TrainRequest { report_every_batches: Some(4), ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    check_sequence(&events);
    assert!(events.iter().all(|event| event.run_id == run_id(&events) && event.time.is_some()));

    let Some(Event::Started(started)) = &events[0].event else { panic!("{:?}", events[0]) };
    assert_eq!((started.train_images, started.validation_images), (300, Some(100)));
    assert_eq!((started.batches_per_epoch, started.total_parameters), (6, 20_350));
    let resolved = started.request.as_ref().unwrap();
    assert_eq!((resolved.epochs, resolved.shuffle, resolved.seed), (Some(2), Some(true), Some(0)));

    let batches: Vec<_> = events
        .iter()
        .filter_map(|event| match event.event.as_ref()? {
            Event::Batch(batch) => Some((batch.epoch, batch.batch, batch.step)),
            _ => None,
        })
        .collect();
    assert_eq!(batches, [(1, 1, 1), (1, 5, 5), (2, 1, 7), (2, 5, 11)]);
    let epochs: Vec<_> = events
        .iter()
        .filter_map(|event| match event.event.as_ref()? {
            Event::Epoch(epoch) => Some(epoch),
            _ => None,
        })
        .collect();
    assert_eq!(epochs.len(), 2);
    assert!(epochs.iter().all(|epoch| epoch.validation_accuracy.is_some() && epoch.train_loss.is_some()));
    assert!(events.iter().any(|event| matches!(event.event, Some(Event::Checkpoint(_)))));

    let end = finished(&events);
    assert_eq!((end.state(), end.reason()), (v1::RunState::Completed, v1::FinishReason::Completed));
    assert_eq!(end.version, Some(1));
    let best = epochs.iter().map(|epoch| epoch.validation_accuracy.unwrap()).fold(0.0, f64::max);
    assert_eq!(end.validation_accuracy, Some(best));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_trains_at_a_time_and_the_rejection_of_the_next_names_it() {
    let server = TestServer::start().await;
    let mut first = server.training().train(endless()).await.unwrap().into_inner();
    let received = until(&mut first, is_batch).await;
    let rejected = error(server.training().train(tiny()).await);
    check(&rejected, Code::ResourceExhausted, "TRAINING_BUSY");
    assert!(rejected.get_details_retry_info().unwrap().retry_delay.is_some());
    let info = rejected.get_details_error_info().unwrap();
    assert_eq!(info.metadata["run_id"], run_id(&received));

    let cancel = v1::CancelRunRequest { run_id: run_id(&received) };
    server.training().cancel_run(cancel).await.unwrap();
    collect(first).await;
    server.train().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_after_its_batch_and_keeps_a_checkpoint() {
    let server = TestServer::start().await;
    let mut stream = server.training().train(endless()).await.unwrap().into_inner();
    let mut events = until(&mut stream, is_batch).await;
    let id = run_id(&events);
    let cancel = v1::CancelRunRequest { run_id: id.clone() };
    let run = server.training().cancel_run(cancel.clone()).await.unwrap().into_inner().run.unwrap();
    assert_eq!(run.run_id, id);
    events.extend(collect(stream).await);
    check_sequence(&events);

    let end = finished(&events);
    assert_eq!((end.state(), end.reason()), (v1::RunState::Cancelled, v1::FinishReason::Cancelled));
    assert_eq!(end.version, None);
    let checkpoint = events.iter().rev().find_map(|event| match event.event.as_ref()? {
        Event::Checkpoint(checkpoint) => Some(checkpoint),
        _ => None,
    });
    assert!(checkpoint.expect("a checkpoint is kept").step.unwrap() >= 1);

    // A second cancellation changes nothing.
    let again = server.training().cancel_run(cancel).await.unwrap().into_inner().run.unwrap();
    assert_eq!(again.state(), v1::RunState::Cancelled);
    let models = server.registry().list_models(v1::ListModelsRequest {}).await.unwrap().into_inner();
    assert_eq!(models.models, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_continues_when_its_caller_disconnects() {
    let server = TestServer::start().await;
    let mut stream = server.training().train(tiny()).await.unwrap().into_inner();
    let received = until(&mut stream, is_batch).await;
    drop(stream);
    let events = server.training().watch_run(watch(&run_id(&received), 0)).await.unwrap().into_inner();
    let events = collect(events).await;
    check_sequence(&events);
    assert_eq!(events[..received.len()], received);
    assert_eq!(finished(&events).state(), v1::RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_on_disconnect_stops_a_run_whose_caller_disconnects() {
    let server = TestServer::start().await;
    let request = v1::TrainRequest { cancel_on_disconnect: true, ..endless() };
    let mut stream = server.training().train(request).await.unwrap().into_inner();
    let received = until(&mut stream, is_batch).await;
    drop(stream);
    let events = server.training().watch_run(watch(&run_id(&received), 0)).await.unwrap().into_inner();
    let events = collect(events).await;
    check_sequence(&events);
    assert_eq!(finished(&events).reason(), v1::FinishReason::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_on_disconnect_completes_a_run_whose_caller_stays() {
    let server = TestServer::start().await;
    let request = v1::TrainRequest { cancel_on_disconnect: true, ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).state(), v1::RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_train_name_the_field() {
    let server = TestServer::start().await;
    let mut training = server.training();
    let zero = v1::TrainRequest { epochs: Some(0), ..tiny() };
    check_field(&error(training.train(zero).await), "epochs");
    let adam = v1::Adam { beta1: Some(1.5), ..v1::Adam::default() };
    let optimizer = Some(v1::Optimizer { rule: Some(v1::optimizer::Rule::Adam(adam)) });
    check_field(
        &error(training.train(v1::TrainRequest { optimizer, ..tiny() }).await),
        "optimizer.adam.beta1",
    );
    let linear = v1::layer::Kind::Linear(v1::Linear { out_features: 10 });
    let layers = vec![v1::Layer { name: "head".to_owned(), kind: Some(linear) }];
    let network = Some(v1::Network { layers, ..v1::Network::default() });
    let rejected = error(training.train(v1::TrainRequest { network, ..tiny() }).await);
    check_field(&rejected, "network.layers[0]");
    assert!(rejected.message().contains("head") && rejected.message().contains("[N,1,28,28]"), "{rejected}");

    let runs = training.list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(runs, [], "a rejected request leaves no run");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_data_is_reported_with_how_to_get_it() {
    let server = TestServer::start().await;
    let missing = error(server.training().train(v1::TrainRequest::default()).await);
    check(&missing, Code::FailedPrecondition, "DATASET_UNAVAILABLE");
    assert!(missing.message().contains("digitd data fetch"), "{missing}");
    let dataset = Some(v1::Dataset { name: "cifar".to_owned(), ..v1::Dataset::default() });
    let unknown = error(server.training().train(v1::TrainRequest { dataset, ..tiny() }).await);
    check_not_found(&unknown, "DATASET_NOT_FOUND", "cifar");
    server.train().await;
}
