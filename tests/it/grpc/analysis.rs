//! Evaluate and Inspect.

use bytes::Bytes;
use digitd::pb::digitd::v1::{self, image::Form, inspect_request::Input};
use tonic::Code;

use super::{
    server::{TestServer, synthetic_set, unseen_images},
    status::{check, check_field, error},
};

/// The multiply-adds of the tutorial's network for one image, as `golden/README.md` counts them.
const MULTIPLY_ADDS: f64 = 2_361_800.0;

async fn inspect(server: &TestServer, request: v1::InspectRequest) -> v1::InspectResponse {
    server.analysis().inspect(request).await.unwrap().into_inner()
}

fn contents() -> v1::InspectRequest {
    v1::InspectRequest { contents: true, sample_images: Some(50), ..v1::InspectRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_counts_what_predict_returns() {
    let server = TestServer::start().await;
    server.train().await;
    let set = unseen_images(10_000);
    let request = v1::EvaluateRequest { batch_size: Some(999), ..v1::EvaluateRequest::default() };
    let evaluated = server.analysis().evaluate(request).await.unwrap().into_inner();
    assert_eq!((evaluated.name.as_str(), evaluated.version), ("digits", 1));
    assert_eq!((evaluated.dataset.as_str(), evaluated.split()), ("synthetic", v1::Split::Test));
    assert_eq!(evaluated.total, 10_000);

    let mut counts = vec![vec![0; 10]; 10];
    let mut loss = 0.0;
    for start in (0..10_000).step_by(2_500) {
        let part = set.slice(start..start + 2_500);
        let pixel_batch = Bytes::copy_from_slice(part.pixels());
        let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
        let response = server.prediction().predict(request).await.unwrap().into_inner();
        for (prediction, &label) in response.predictions.iter().zip(part.labels()) {
            counts[usize::from(label)][usize::try_from(prediction.label.unwrap()).unwrap()] += 1;
            loss -= f64::from(prediction.probabilities[usize::from(label)]).ln() / 10_000.0;
        }
    }
    let rows: Vec<Vec<i32>> =
        evaluated.confusion_matrix.unwrap().rows.into_iter().map(|row| row.counts).collect();
    assert_eq!(rows, counts);
    let correct: i32 = (0..10).map(|label| counts[label][label]).sum();
    assert_eq!(evaluated.correct, Some(correct));
    assert_eq!(evaluated.accuracy, Some(f64::from(correct) / 10_000.0));
    assert!((evaluated.loss.unwrap() - loss).abs() < 1e-4, "{:?} and {loss}", evaluated.loss);
    assert_eq!(evaluated.classes.len(), 10);
    assert_eq!(evaluated.classes[3].support, Some(counts[3].iter().sum()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_splits_are_those_of_the_run_that_made_the_version() {
    let server = TestServer::start().await;
    let events = server.train().await;
    let evaluate = async |split: v1::Split, dataset| {
        let request = v1::EvaluateRequest { split: split.into(), dataset, ..v1::EvaluateRequest::default() };
        server.analysis().evaluate(request).await.unwrap().into_inner()
    };
    assert_eq!(evaluate(v1::Split::Train, None).await.total, 300);
    let validation = evaluate(v1::Split::Validation, None).await;
    assert_eq!(validation.total, 100);
    assert_eq!(validation.accuracy, super::server::finished(&events).validation_accuracy);
    let seeded = v1::Dataset { seed: Some(5), ..synthetic_set() };
    assert_eq!(evaluate(v1::Split::Train, Some(seeded)).await.total, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shapes_are_those_of_the_tutorial() {
    let server = TestServer::start().await;
    server.train().await;
    let inspection =
        inspect(&server, v1::InspectRequest { batch_size: Some(64), ..Default::default() }).await;
    assert_eq!((inspection.name.as_str(), inspection.version), ("digits", 1));
    assert_eq!(inspection.total_parameters, 20_350);
    assert_eq!(inspection.total_multiply_adds, 64.0 * MULTIPLY_ADDS);
    assert_eq!(inspection.input_shape, [64, 1, 28, 28]);
    let layers: Vec<_> = inspection
        .layers
        .iter()
        .map(|layer| (layer.name.as_str(), layer.kind.as_str(), &layer.output_shape[..]))
        .collect();
    assert_eq!(
        layers,
        [
            ("conv1", "conv", &[64, 20, 28, 28][..]),
            ("relu1", "relu", &[64, 20, 28, 28]),
            ("pool1", "max_pool", &[64, 20, 14, 14]),
            ("conv2", "conv", &[64, 20, 14, 14]),
            ("relu2", "relu", &[64, 20, 14, 14]),
            ("pool2", "max_pool", &[64, 20, 7, 7]),
            ("flatten", "flatten", &[64, 980]),
            ("fc", "linear", &[64, 10]),
        ]
    );
    let conv2 = &inspection.layers[3];
    assert_eq!(conv2.hyperparameters["kernel_size"], "5");
    assert_eq!((conv2.parameters[0].name.as_str(), conv2.parameters[0].count), ("conv2.weight", 10_000));
    assert!(conv2.output.is_none() && conv2.parameters[0].mean.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_show_kernels_channels_and_the_share_of_zeros() {
    let server = TestServer::start().await;
    server.train().await;
    let inspection = inspect(&server, v1::InspectRequest { channels: vec![3], ..contents() }).await;
    assert_eq!(inspection.probabilities.len(), 10);
    assert_eq!(inspection.label, Some(unseen_images(1).label(0).into()));
    assert_eq!(inspection.sample_images, Some(50));
    let conv1 = inspection.layers[0].output.as_ref().unwrap();
    assert_eq!(conv1.channels.len(), 1);
    let channel = &conv1.channels[0];
    assert_eq!((channel.channel, &channel.output_shape[..]), (Some(3), &[28, 28][..]));
    assert_eq!((channel.output.len(), &channel.kernel_shape[..]), (784, &[1, 5, 5][..]));
    assert!(channel.bias.is_some() && channel.kernel.len() == 25);
    let relu1 = inspection.layers[1].output.as_ref().unwrap();
    assert_eq!(relu1.sample_zero_fractions.len(), 20);
    assert!(relu1.min.unwrap() >= 0.0);
    assert!(inspection.layers[0].parameters[0].std.unwrap() > 0.0);

    let some = v1::InspectRequest { layers: vec!["conv2".to_owned()], ..contents() };
    let some = inspect(&server, some).await;
    let with_output = some.layers.iter().filter(|layer| layer.output.is_some());
    assert_eq!(with_output.map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["conv2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supplied_image_and_one_of_the_data_set_show_what_predict_returns() {
    let server = TestServer::start().await;
    server.train().await;
    let pixels = Bytes::copy_from_slice(unseen_images(8).image(7));
    let image = v1::Image { form: Some(Form::Pixels(pixels.clone())) };
    let own = inspect(&server, v1::InspectRequest { input: Some(Input::Image(image)), ..contents() }).await;
    let at = v1::DatasetIndex { index: 7, ..v1::DatasetIndex::default() };
    let by_index = v1::InspectRequest { input: Some(Input::DatasetIndex(at)), ..contents() };
    let by_index = inspect(&server, by_index).await;
    assert_eq!((own.label, by_index.label), (None, Some(unseen_images(8).label(7).into())));
    assert_eq!(own.probabilities, by_index.probabilities);
    let request = v1::PredictRequest { pixel_batch: pixels, ..v1::PredictRequest::default() };
    let predicted = server.prediction().predict(request).await.unwrap().into_inner();
    for (probability, predicted) in own.probabilities.iter().zip(&predicted.predictions[0].probabilities) {
        assert!((probability - f64::from(*predicted)).abs() < 1e-5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drawn_channel_follows_the_seed() {
    let server = TestServer::start().await;
    server.train().await;
    let drawn = async |seed| {
        let request = v1::InspectRequest { channel_seed: Some(seed), ..contents() };
        let inspection = inspect(&server, request).await;
        let output = inspection.layers[0].output.as_ref().unwrap();
        (output.channels[0].channel, output.channels.len())
    };
    let first = drawn(1).await;
    assert_eq!(first, drawn(1).await);
    assert_eq!(first.1, 1);
    let mut all = Vec::new();
    for seed in 0..8 {
        all.push(drawn(seed).await.0);
    }
    all.dedup();
    assert!(all.len() > 1, "eight seeds drew channel {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_layers_and_channels_are_rejected_by_name() {
    let server = TestServer::start().await;
    server.train().await;
    let mut analysis = server.analysis();
    let mut field = async |request, field| check_field(&error(analysis.inspect(request).await), field);
    field(v1::InspectRequest { layers: vec!["conv9".to_owned()], ..contents() }, "layers").await;
    field(v1::InspectRequest { channels: vec![980], ..contents() }, "channels").await;
    field(v1::InspectRequest { channels: vec![-1], ..contents() }, "channels[0]").await;
    let beyond = v1::DatasetIndex { index: 10_000, ..v1::DatasetIndex::default() };
    let beyond = v1::InspectRequest { input: Some(Input::DatasetIndex(beyond)), ..contents() };
    field(beyond, "dataset_index.index").await;
    let form = Some(Form::Encoded(Bytes::from_static(b"no image")));
    let image = Some(Input::Image(v1::Image { form }));
    field(v1::InspectRequest { input: image, ..contents() }, "image.encoded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn analyses_of_nothing_are_rejected() {
    let server = TestServer::start().await;
    let missing = error(server.analysis().evaluate(v1::EvaluateRequest::default()).await);
    check(&missing, Code::NotFound, "MODEL_NOT_FOUND");
    server.train().await;
    let dataset = Some(v1::Dataset { name: "mnist".to_owned(), ..v1::Dataset::default() });
    let unavailable = v1::EvaluateRequest { dataset, ..v1::EvaluateRequest::default() };
    let unavailable = error(server.analysis().evaluate(unavailable).await);
    check(&unavailable, Code::FailedPrecondition, "DATASET_UNAVAILABLE");
    let request = v1::EvaluateRequest { batch_size: Some(0), ..v1::EvaluateRequest::default() };
    check_field(&error(server.analysis().evaluate(request).await), "batch_size");
}
