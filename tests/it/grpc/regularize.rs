//! Runs with everything that prevents overfitting, over the wire.

use digitd::pb::digitd::v1::{self, layer::Kind, train_event::Event};

use super::{
    server::{TestServer, collect, finished, tiny, unseen_images},
    status::{check_field, error},
};

/// A convolution and a linear layer, each with batch normalisation, and dropout.
fn network() -> v1::Network {
    let conv = v1::Conv { out_channels: 4, kernel_size: 5, stride: Some(2), padding: None };
    let layers = [
        ("conv1", Kind::Conv(conv)),
        ("bn1", Kind::BatchNorm(v1::BatchNorm::default())),
        ("relu1", Kind::Relu(v1::Relu {})),
        ("flatten", Kind::Flatten(v1::Flatten {})),
        ("fc1", Kind::Linear(v1::Linear { out_features: 16 })),
        ("bn2", Kind::BatchNorm(v1::BatchNorm { momentum: Some(0.5), epsilon: None })),
        ("drop", Kind::Dropout(v1::Dropout { probability: Some(0.1), ..v1::Dropout::default() })),
        ("fc2", Kind::Linear(v1::Linear { out_features: 10 })),
    ];
    let layer = |(name, kind): (&str, Kind)| v1::Layer { name: name.to_owned(), kind: Some(kind) };
    v1::Network { layers: layers.map(layer).into(), ..v1::Network::default() }
}

/// Everything is on; 300 images in batches of 23 leave one image for the last batch.
pub fn everything() -> v1::TrainRequest {
    v1::TrainRequest {
        network: Some(network()),
        batch_size: Some(23),
        epochs: Some(4),
        clip_gradient_norm: Some(5.0),
        label_smoothing: Some(0.1),
        weight_averaging: Some(v1::WeightAveraging { decay: Some(0.9) }),
        augmentation: Some(v1::Augmentation {
            rotation_degrees: Some(5.0),
            shift_pixels: Some(1.0),
            scale: Some(0.1),
            shear_degrees: Some(5.0),
            elastic_alpha: Some(10.0),
            elastic_sigma: None,
        }),
        ..tiny()
    }
}

async fn train(server: &TestServer, request: v1::TrainRequest) -> Vec<v1::TrainEvent> {
    collect(server.training().train(request).await.unwrap().into_inner()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_everything_on_learns_and_its_version_is_evaluated_inspected_and_predicts() {
    let server = TestServer::start().await;
    let events = train(&server, everything()).await;
    let end = finished(&events);
    assert_eq!(end.state(), v1::RunState::Completed, "{end:?}");
    assert!(end.validation_accuracy.unwrap() > 0.5, "{end:?}");

    let Some(Event::Started(started)) = &events[0].event else { panic!("{:?}", events[0]) };
    let resolved = started.request.as_ref().unwrap();
    assert_eq!(resolved.network.as_ref().unwrap().layers.len(), 8);
    assert_eq!((resolved.clip_gradient_norm, resolved.label_smoothing), (Some(5.0), Some(0.1)));
    assert_eq!(resolved.weight_averaging.unwrap().decay, Some(0.9));
    assert_eq!(resolved.augmentation.unwrap().elastic_sigma, Some(4.0), "its default");

    // A second server reads the version that the first one stored.
    let server = TestServer::on(server.stop().await).await;
    let request = v1::EvaluateRequest { split: v1::Split::Validation.into(), ..Default::default() };
    let evaluated = server.analysis().evaluate(request).await.unwrap().into_inner();
    assert_eq!(Some(evaluated.accuracy()), end.validation_accuracy, "the averaged weights are published");

    let request = v1::InspectRequest { contents: true, ..Default::default() };
    let layers = server.analysis().inspect(request).await.unwrap().into_inner().layers;
    let norm = &layers[1];
    assert_eq!((norm.kind.as_str(), norm.hyperparameters["momentum"].as_str()), ("batch_norm", "0.1"));
    let names = |reports: &[v1::ParameterReport]| {
        reports.iter().map(|report| report.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&norm.parameters), ["bn1.weight", "bn1.bias"]);
    assert_eq!(names(&norm.running_statistics), ["bn1.running_mean", "bn1.running_var"]);
    assert!(norm.running_statistics[1].min.unwrap() > 0.0);
    assert_eq!(started.total_parameters, 4 * 26 + 8 + 576 * 16 + 16 + 32 + 170, "statistics are not trained");

    let images = unseen_images(3);
    let image = |index| v1::Image {
        form: Some(v1::image::Form::Pixels(bytes::Bytes::copy_from_slice(images.image(index)))),
    };
    let request = v1::PredictRequest { images: (0..3).map(image).collect(), ..Default::default() };
    let response = server.prediction().predict(request).await.unwrap().into_inner();
    assert_eq!(response.predictions.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_gives_the_same_losses() {
    let server = TestServer::start().await;
    let losses = |events: &[v1::TrainEvent]| {
        let loss = |event: &v1::TrainEvent| match event.event.as_ref()? {
            Event::Batch(batch) => Some(batch.loss.unwrap().to_bits()),
            _ => None,
        };
        events.iter().filter_map(loss).collect::<Vec<_>>()
    };
    let first = losses(&train(&server, everything()).await);
    assert_eq!(first.len(), 4 * 14);
    assert_eq!(losses(&train(&server, everything()).await), first);
    let other = v1::TrainRequest { augmentation: None, ..everything() };
    assert_ne!(losses(&train(&server, other).await)[0], first[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_range_and_batches_of_one_image_are_rejected_by_their_field() {
    let server = TestServer::start().await;
    let augmentation = |shift| Some(v1::Augmentation { shift_pixels: Some(shift), ..Default::default() });
    for (request, field) in [
        (v1::TrainRequest { clip_gradient_norm: Some(0.0), ..tiny() }, "clip_gradient_norm"),
        (v1::TrainRequest { label_smoothing: Some(f64::NAN), ..tiny() }, "label_smoothing"),
        (
            v1::TrainRequest { weight_averaging: Some(v1::WeightAveraging { decay: Some(1.0) }), ..tiny() },
            "weight_averaging.decay",
        ),
        (v1::TrainRequest { augmentation: augmentation(-1.0), ..tiny() }, "augmentation.shift_pixels"),
        (v1::TrainRequest { network: Some(network()), batch_size: Some(1), ..tiny() }, "batch_size"),
    ] {
        let rejected = error(server.training().train(request).await);
        check_field(&rejected, field);
    }
}
