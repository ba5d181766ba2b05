//! Comparing two versions, and inspecting runs while they train.

use digitd::pb::digitd::v1::{self, train_event::Event};
use tonic::Code;

use super::{
    server::{TestServer, collect, endless, finished, run_id, tiny, unseen_images, until, watch},
    status::{check, check_field, check_not_found, error},
    transfer::export,
    weights::{read, republish, version},
};

async fn compare(server: &TestServer, request: v1::CompareVersionsRequest) -> v1::CompareVersionsResponse {
    server.analysis().compare_versions(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_are_compared_in_parameters_outputs_and_predictions() {
    let server = TestServer::start().await;
    server.train().await;
    server.train_seeded(1).await;
    let found =
        compare(&server, v1::CompareVersionsRequest { max_changed: Some(10_000), ..Default::default() })
            .await;
    let (before, after) = (found.before.clone().unwrap(), found.after.clone().unwrap());
    assert_eq!((before.version, after.version), (1, 2), "the newest, and the one before it");
    assert_eq!((found.dataset.as_str(), found.images), ("synthetic", 10_000));

    // The predictions are those that Evaluate counts and Predict returns.
    let accuracy = async |number| {
        let request = v1::EvaluateRequest { model: version(number), ..v1::EvaluateRequest::default() };
        server.analysis().evaluate(request).await.unwrap().into_inner().accuracy
    };
    assert_eq!((before.accuracy, after.accuracy), (accuracy(1).await, accuracy(2).await));
    let gained = f64::from(found.became_right.unwrap() - found.became_wrong.unwrap()) / 10_000.0;
    assert!((after.accuracy.unwrap() - before.accuracy.unwrap() - gained).abs() < 1e-12);
    assert_eq!(found.changed, Some(i32::try_from(found.changed_predictions.len()).unwrap()));
    let labels = async |number| {
        let pixel_batch = bytes::Bytes::copy_from_slice(unseen_images(2_000).pixels());
        let request = v1::PredictRequest { model: version(number), pixel_batch, ..Default::default() };
        let response = server.prediction().predict(request).await.unwrap().into_inner();
        response.predictions.into_iter().map(|prediction| prediction.label).collect::<Vec<_>>()
    };
    let (old, new) = (labels(1).await, labels(2).await);
    let expected: Vec<_> = (0..2_000).filter(|&at| old[at] != new[at]).collect();
    let reported = found.changed_predictions.iter().filter(|image| image.index.unwrap() < 2_000);
    let reported: Vec<usize> = reported.map(|image| usize::try_from(image.index.unwrap()).unwrap()).collect();
    assert_eq!(reported, expected);

    let (old, new) = (read(&export(&server, 1).await.1), read(&export(&server, 2).await.1));
    assert_eq!(found.parameters.len(), 6);
    for parameter in &found.parameters {
        let both = old[&parameter.name].1.iter().zip(&new[&parameter.name].1);
        let distance = both.map(|(a, b)| (f64::from(*b) - f64::from(*a)).powi(2)).sum::<f64>().sqrt();
        let reported = parameter.distance.unwrap();
        assert!(
            (reported - distance).abs() < 1e-9 * distance,
            "{}: {reported} and {distance}",
            parameter.name
        );
    }
    assert_eq!(found.outputs.len(), 7);
    assert!(found.outputs.iter().all(|output| output.rms.unwrap() > 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_differs_in_one_value_differs_there_alone() {
    let server = TestServer::start().await;
    server.train().await;
    let number = republish(&server, |weights| weights.get_mut("fc.bias").unwrap().1[3] += 100.0).await;
    let ask = |before, after| v1::CompareVersionsRequest {
        before,
        after,
        max_changed: Some(2),
        ..Default::default()
    };
    let found = compare(&server, ask(version(1), version(number))).await;
    let moved: Vec<_> = found.parameters.iter().filter(|it| it.unchanged != Some(it.count)).collect();
    assert_eq!((moved.len(), moved[0].name.as_str(), moved[0].unchanged), (1, "fc.bias", Some(9)));
    assert!(found.outputs[..6].iter().all(|output| output.rms == Some(0.0)));
    assert_eq!(found.changed_predictions.len(), 2);
    assert!(found.changed_predictions.iter().all(|image| image.second == Some(3)));
    let none = compare(&server, ask(version(1), version(1))).await;
    assert_eq!((none.changed, none.changed_predictions.len()), (Some(0), 0));

    let rejected = async |request| error(server.analysis().compare_versions(request).await);
    check_not_found(&rejected(ask(version(9), version(1))).await, "VERSION_NOT_FOUND", "digits/9");
    check_field(&rejected(ask(None, version(1))).await, "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_compared_while_it_trains_without_changing_its_result() {
    let server = TestServer::start().await;
    let long = v1::TrainRequest { epochs: Some(30), ..tiny() };
    let mut events = server.training().train(long.clone()).await.unwrap().into_inner();
    let received = until(&mut events, |event| matches!(event, Event::Batch(_))).await;
    let run = run_id(&received);
    let inspect_run = async || {
        let request = v1::InspectRequest {
            run_id: run.clone(),
            contents: true,
            sample_images: Some(0),
            layers: vec!["conv1".to_owned()],
            ..v1::InspectRequest::default()
        };
        server.analysis().inspect(request).await.unwrap().into_inner()
    };
    let mut steps = Vec::new();
    let last = loop {
        let inspection = inspect_run().await;
        let moment = inspection.run.clone().unwrap();
        assert_eq!(moment.run_id, run);
        if moment.origin() != v1::WeightsOrigin::Training {
            break inspection;
        }
        let (step, batch) = (moment.step.unwrap(), moment.batch.unwrap());
        assert_eq!((inspection.version, moment.state()), (0, v1::RunState::Running));
        // There are six batches per epoch.
        assert_eq!((moment.epoch - 1) * 6 + batch, step);
        steps.push(step);
    };
    // Requests during the validation of an epoch get its last step again.
    assert!(!steps.is_empty() && steps.is_sorted(), "{steps:?}");
    let moment = last.run.unwrap();
    assert_eq!((last.version, moment.origin()), (1, v1::WeightsOrigin::Version));
    assert_eq!((moment.step, moment.state()), (None, v1::RunState::Completed));

    let again = collect(server.training().train(long).await.unwrap().into_inner()).await;
    assert_eq!(finished(&again).version, Some(2));
    assert_eq!(export(&server, 1).await.1, export(&server, 2).await.1, "inspected {} times", steps.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_without_weights_are_rejected_with_what_to_do() {
    let server = TestServer::start().await;
    let inspect_run = async |run: &str| {
        let request = v1::InspectRequest { run_id: run.to_owned(), ..v1::InspectRequest::default() };
        error(server.analysis().inspect(request).await)
    };
    let missing = digitd::ids::RunId::new().to_string();
    check_not_found(&inspect_run(&missing).await, "RUN_NOT_FOUND", &missing);
    check_field(&inspect_run("no run").await, "run_id");

    let mut first = server.training().train(endless()).await.unwrap().into_inner();
    let received = until(&mut first, |event| matches!(event, Event::Batch(_))).await;
    let queued = v1::TrainRequest { queue: true, ..tiny() };
    let mut second = server.training().train(queued).await.unwrap().into_inner();
    let waiting = run_id(&until(&mut second, |event| matches!(event, Event::Queued(_))).await);
    let rejected = inspect_run(&waiting).await;
    check(&rejected, Code::FailedPrecondition, "RUN_NOT_STARTED");
    assert!(rejected.message().contains("ask again"), "{rejected:?}");

    for run in [waiting.clone(), run_id(&received)] {
        server.training().cancel_run(v1::CancelRunRequest { run_id: run.clone() }).await.unwrap();
        collect(server.training().watch_run(watch(&run, 0)).await.unwrap().into_inner()).await;
    }
    check(&inspect_run(&waiting).await, Code::FailedPrecondition, "RUN_WITHOUT_WEIGHTS");
    // The other run kept a checkpoint when it was stopped.
    let request = v1::InspectRequest { run_id: run_id(&received), ..v1::InspectRequest::default() };
    let inspection = server.analysis().inspect(request).await.unwrap().into_inner();
    let moment = inspection.run.unwrap();
    assert_eq!((moment.origin(), moment.state()), (v1::WeightsOrigin::Checkpoint, v1::RunState::Cancelled));
    assert_eq!((moment.epoch - 1) * 6 + moment.batch.unwrap(), moment.step.unwrap());
}
