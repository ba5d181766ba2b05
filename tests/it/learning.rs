//! The accuracy that users are promised: whole runs over gRPC on real MNIST, measured on test images that no
//! run uses. Skipped without MNIST.

use digitd::pb::digitd::v1::{
    Adam, Dataset, EvaluateRequest, Optimizer, Split, TrainEvent, TrainRequest, WarningRule, optimizer::Rule,
    train_event::Event,
};

use crate::{
    grpc::server::{TestServer, collect, finished},
    support,
};

/// The rules of the run's warnings.
fn rules(events: &[TrainEvent]) -> Vec<WarningRule> {
    let rule = |event: &TrainEvent| match event.event.as_ref()? {
        Event::Warning(warning) => Some(warning.rule()),
        _ => None,
    };
    events.iter().filter_map(rule).collect()
}

/// Trains on a server of its own, checks that there are no warnings but `expected`, and measures the
/// published version on MNIST's test images.
async fn accuracy_on_test_images(request: TrainRequest, expected: &[WarningRule]) -> Option<f64> {
    let server = TestServer::with_data(vec![support::mnist_dir()?]).await;
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    let raised = rules(&events);
    assert!(raised.iter().all(|rule| expected.contains(rule)), "{raised:?}");
    let version = finished(&events).version;
    assert_eq!(version, Some(1), "{:?}", finished(&events));
    let dataset = Some(Dataset { name: "mnist".to_owned(), ..Dataset::default() });
    let request = EvaluateRequest { dataset, split: Split::Test.into(), ..EvaluateRequest::default() };
    let response = server.analysis().evaluate(request).await.unwrap().into_inner();
    assert_eq!(response.total, 10_000);
    Some(response.accuracy())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_nothing_set_trains_to_98_8_percent() {
    let Some(accuracy) = accuracy_on_test_images(TrainRequest::default(), &[]).await else { return };
    assert!(accuracy >= 0.988, "{accuracy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorials_run_ends_with_paddles_accuracy() {
    let rule = Rule::Adam(Adam { learning_rate: Some(0.01), ..Adam::default() });
    let request = TrainRequest {
        epochs: Some(5),
        batch_size: Some(100),
        optimizer: Some(Optimizer { rule: Some(rule) }),
        ..TrainRequest::default()
    };
    // The large first steps of Adam at 0.01 may kill channels, as in the tutorial itself.
    let dead = &[WarningRule::DeadChannels];
    let Some(accuracy) = accuracy_on_test_images(request, dead).await else { return };
    assert!((0.979..=0.992).contains(&accuracy), "{accuracy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_trained_on_built_in_digits_predicts_real_ones() {
    let dataset = Some(Dataset { name: "synthetic".to_owned(), ..Dataset::default() });
    let request = TrainRequest { dataset, epochs: Some(2), ..TrainRequest::default() };
    let Some(accuracy) = accuracy_on_test_images(request, &[]).await else { return };
    assert!(accuracy >= 0.85, "{accuracy}");
}
