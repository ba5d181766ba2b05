//! Findings in networks that have the problem, over a real socket.

use digitd::pb::digitd::v1::{self, FindingKind};

use super::{
    server::{TestServer, collect, finished, synthetic_set, tiny},
    status::{check_field, error},
    transfer::{export, import},
    weights::{self, Weights, read, republish, version},
};

async fn health(server: &TestServer, number: i32) -> v1::NetworkHealth {
    let health = Some(v1::HealthRequest { max_images: Some(500), ..v1::HealthRequest::default() });
    let request = v1::InspectRequest { model: version(number), health, ..v1::InspectRequest::default() };
    server.analysis().inspect(request).await.unwrap().into_inner().health.unwrap()
}

fn of(health: &v1::NetworkHealth, kind: FindingKind) -> Vec<&v1::Finding> {
    health.findings.iter().filter(|finding| finding.kind() == kind).collect()
}

fn values<'a>(weights: &'a mut Weights, name: &str) -> &'a mut Vec<f32> {
    &mut weights.get_mut(name).unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trained_version_is_examined_over_a_whole_split() {
    let server = TestServer::start().await;
    server.train().await;
    let request =
        v1::InspectRequest { health: Some(v1::HealthRequest::default()), ..v1::InspectRequest::default() };
    let health = server.analysis().inspect(request).await.unwrap().into_inner().health.unwrap();
    assert_eq!(
        (health.dataset.as_str(), health.split(), health.images),
        ("synthetic", v1::Split::Test, 10_000)
    );
    let evaluated = server.analysis().evaluate(v1::EvaluateRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.accuracy, evaluated.accuracy);
    assert_eq!((health.initial_weights(), health.initial_version), (v1::InitialWeights::Drawn, None));
    let layers: Vec<(&str, usize)> =
        health.layers.iter().map(|layer| (layer.name.as_str(), layer.means.len())).collect();
    let expected = [20, 20, 20, 20, 20, 20, 10];
    assert_eq!(layers.iter().map(|(_, width)| *width).collect::<Vec<_>>(), expected);
    assert!(health.layers.iter().all(|layer| layer.stds.len() == layer.means.len()));
    // Every parameter as a whole changed in twelve steps.
    let still = health.findings.iter().filter(|it| it.kind() == FindingKind::NeverMoved);
    assert_eq!(still.filter(|finding| finding.channels.is_empty()).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bias_of_minus_100_is_reported_by_layer_and_channel() {
    let server = TestServer::start().await;
    server.train().await;
    let before: Vec<Vec<String>> =
        of(&health(&server, 1).await, FindingKind::DeadChannels).iter().map(|it| it.places.clone()).collect();
    assert!(before.iter().flatten().all(|place| place != "relu1[7]"), "{before:?}");
    let number = republish(&server, |weights| values(weights, "conv1.bias")[7] = -100.0).await;
    let health = health(&server, number).await;
    let dead = of(&health, FindingKind::DeadChannels);
    let finding = dead.iter().find(|finding| finding.layer == "relu1").unwrap();
    assert!(finding.places.contains(&"relu1[7]".to_owned()) && finding.channels.contains(&7), "{finding:?}");
    assert!(!finding.message.is_empty() && !finding.advice.is_empty());
    assert!(health.layers[1].dead_channels.contains(&7));
    assert_eq!(health.initial_weights(), v1::InitialWeights::Unknown, "it was imported");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_equal_kernels_and_a_saturated_softmax_are_found() {
    let server = TestServer::start().await;
    server.train().await;
    assert_eq!(of(&health(&server, 1).await, FindingKind::SaturatedSoftmax).len(), 0);
    let number = republish(&server, |weights| {
        let conv2 = values(weights, "conv2.weight");
        conv2.copy_within(4 * 500..5 * 500, 11 * 500);
        values(weights, "fc.weight").iter_mut().for_each(|value| *value *= 1e4);
    })
    .await;
    let health = health(&server, number).await;
    let kernels = of(&health, FindingKind::DuplicateKernels);
    let pair = kernels.iter().find(|finding| finding.layer == "conv2").unwrap();
    assert_eq!((&pair.channels[..], pair.parameter.as_str()), (&[4, 11][..], "conv2.weight"));
    let cosine = &pair.measurements[0];
    assert_eq!((cosine.name.as_str(), cosine.threshold), ("cosine", Some(0.98)));
    assert!(cosine.value.unwrap() > 0.999_999);
    let saturated = of(&health, FindingKind::SaturatedSoftmax);
    assert_eq!((saturated.len(), saturated[0].layer.as_str()), (1, "fc"));
    assert!(health.saturated_fraction.unwrap() > 0.9 && health.saturated_wrong_fraction.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_training_never_reached_are_named() {
    let server = TestServer::start().await;
    server.train().await;
    // Nothing passes the first ReLU: neither conv1 nor the kernels of conv2 get a gradient.
    let dead = republish(&server, |weights| values(weights, "conv1.bias").fill(-100.0)).await;
    let sgd = v1::Sgd { learning_rate: Some(0.1) };
    let request = v1::TrainRequest {
        initial: version(dead),
        optimizer: Some(v1::Optimizer { rule: Some(v1::optimizer::Rule::Sgd(sgd)) }),
        ..tiny()
    };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    let trained = finished(&events).version.unwrap();
    let health = health(&server, trained).await;
    let still = of(&health, FindingKind::NeverMoved);
    let places: Vec<&str> =
        still.iter().flat_map(|finding| finding.places.iter().map(String::as_str)).collect();
    assert_eq!(places, ["conv1.weight", "conv1.bias", "conv2.weight"]);
    assert!(still.iter().all(|finding| finding.channels.is_empty()), "all of each");
    assert_eq!(
        (health.initial_weights(), &health.initial_version),
        (v1::InitialWeights::Version, &version_of(dead))
    );
    let silent = of(&health, FindingKind::DeadChannels);
    assert_eq!((silent[0].layer.as_str(), silent[0].channels.len()), ("relu1", 20));
}

fn version_of(number: i32) -> Option<v1::ModelRef> {
    version(number).map(|version| v1::ModelRef { name: "digits".to_owned(), ..version })
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_not_finite_are_rejected_and_large_ones_are_found_by_their_outputs() {
    let server = TestServer::start().await;
    server.train().await;
    let mut file = read(&export(&server, 1).await.1);
    values(&mut file, "conv1.weight")[0] = f32::NAN;
    let metadata = v1::ImportMetadata::default();
    let rejected = error(import(&server, metadata, &weights::write(&file, safetensors::Dtype::F32)).await);
    assert!(rejected.message().contains("no finite number"), "{rejected:?}");
    // Each weight is finite, and their sum is not.
    let number = republish(&server, |weights| {
        values(weights, "conv2.weight").fill(1e30);
        values(weights, "fc.weight").fill(1e30);
    })
    .await;
    let health = health(&server, number).await;
    let found = of(&health, FindingKind::NotFinite);
    assert_eq!((found.len(), found[0].layer.as_str(), found[0].parameter.as_str()), (1, "fc", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_examination_of_no_images_is_rejected() {
    let server = TestServer::start().await;
    let request = v1::TrainRequest {
        validation: Some(v1::Validation { size: Some(v1::validation::Size::Count(0)), every_epochs: None }),
        ..tiny()
    };
    collect(server.training().train(request).await.unwrap().into_inner()).await;
    let ask = |health| v1::InspectRequest { health: Some(health), ..v1::InspectRequest::default() };
    let empty = v1::HealthRequest { split: v1::Split::Validation.into(), ..v1::HealthRequest::default() };
    check_field(&error(server.analysis().inspect(ask(empty)).await), "health.split");
    let named =
        v1::HealthRequest { dataset: Some(synthetic_set()), max_images: Some(3), ..Default::default() };
    let inspection = server.analysis().inspect(ask(named)).await.unwrap().into_inner();
    assert_eq!(inspection.health.unwrap().images, 3);
}
