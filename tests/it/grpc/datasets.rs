//! Custom data sets over gRPC: images of another size and other classes than MNIST's in training, evaluation,
//! inspection and prediction.

use std::path::Path;

use digitd::data::{
    ImageSet,
    dataset::Dims,
    idx::{encode_images, encode_labels},
    image,
};
use digitd::pb::digitd::v1::{self, image::Form, train_event::Event};
use tonic::Code;

use super::{
    resume::resume,
    server::{TestServer, collect, finished, run_id, until},
    status::{check, check_field, check_not_found},
};

const DIMS: Dims = Dims { height: 20, width: 12, classes: 3 };

/// The class names of `bars`.
const NAMES: [&str; 3] = ["across", "down", "blank"];

/// Horizontal bars, vertical bars and blank images: classes that a tiny network separates at once.
pub fn bars(count: usize) -> ImageSet {
    let pixel = |at: usize, row: usize, column: usize| match at % 3 {
        0 => (row % 8 < 3) as u8 * 255,
        1 => (column % 6 < 2) as u8 * 255,
        _ => 0,
    };
    let pixels = (0..count).flat_map(|at| {
        (0..DIMS.height).flat_map(move |row| (0..DIMS.width).map(move |column| pixel(at, row, column)))
    });
    ImageSet::new(DIMS, pixels.collect(), (0..count).map(|at| (at % 3) as u8).collect()).unwrap()
}

fn write_idx(folder: &Path, train: &ImageSet, test: &ImageSet) {
    for (name, set) in [("train", train), ("t10k", test)] {
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), encode_images(set)).unwrap();
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), encode_labels(set)).unwrap();
    }
}

/// A run of one epoch on the data set with that name.
fn one_epoch(name: &str) -> v1::TrainRequest {
    v1::TrainRequest {
        dataset: Some(v1::Dataset { name: name.to_owned(), ..v1::Dataset::default() }),
        epochs: Some(1),
        batch_size: Some(10),
        ..v1::TrainRequest::default()
    }
}

async fn train(server: &TestServer, request: v1::TrainRequest) -> Vec<v1::TrainEvent> {
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).state(), v1::RunState::Completed, "{:?}", finished(&events));
    events
}

/// A server with a version that classifies these bars, trained on a folder with their names.
pub async fn trained_on_names(folder: &Path, set: &ImageSet) -> TestServer {
    for (at, name) in (0..set.len()).map(|at| (at, NAMES[usize::from(set.label(at))])) {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        let png = image::to_png(set.image(at), DIMS.width, DIMS.height);
        std::fs::write(folder.join(name).join(format!("{at}.png")), png).unwrap();
    }
    let server = TestServer::with_set("bars", folder).await;
    let request = v1::TrainRequest { epochs: Some(3), ..one_epoch("bars") };
    train(&server, v1::TrainRequest { batch_size: Some(5), ..request }).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn idx_files_of_another_size_are_trained_on_and_measured_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), &bars(300), &bars(60));
    let server = TestServer::with_set("bars", folder.path()).await;
    let events = train(&server, one_epoch("bars")).await;
    let Some(Event::Started(started)) = &events[0].event else { panic!("{:?}", events[0]) };
    // A sixth is held out if the request does not specify it.
    assert_eq!((started.train_images, started.validation_images), (250, Some(50)));
    let network = started.request.as_ref().unwrap().network.as_ref().unwrap();
    assert_eq!(network.preset, "tutorial");
    // conv1 has 520 parameters, conv2 10 020, and the last layer connects 20 x 5 x 3 features to three
    // classes.
    assert_eq!(started.total_parameters, 520 + 10_020 + 300 * 3 + 3);

    let evaluated = server.analysis().evaluate(v1::EvaluateRequest::default()).await.unwrap().into_inner();
    assert_eq!((evaluated.dataset.as_str(), evaluated.total, evaluated.classes.len()), ("bars", 60, 3));
    assert_eq!(evaluated.accuracy, Some(1.0));

    let request = v1::InspectRequest { contents: true, ..v1::InspectRequest::default() };
    let inspected = server.analysis().inspect(request).await.unwrap().into_inner();
    assert_eq!((inspected.input_shape.as_slice(), inspected.label), (&[1, 1, 20, 12][..], Some(0)));
    assert_eq!((inspected.probabilities.len(), inspected.sample_images), (3, Some(50)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_changed_between_two_runs_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), &bars(60), &bars(6));
    let server = TestServer::with_set("bars", folder.path()).await;
    let digest = async || {
        let events = train(&server, one_epoch("bars")).await;
        let which = finished(&events).version.map(v1::get_version_request::Which::Version);
        let request = v1::GetVersionRequest { which, ..v1::GetVersionRequest::default() };
        server.registry().get_version(request).await.unwrap().into_inner().version.unwrap().dataset_digest
    };
    let first = digest().await;
    assert_eq!(digest().await, first);
    write_idx(folder.path(), &bars(90), &bars(6));
    assert_ne!(digest().await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_resumed_on_images_that_changed_be_they_for_training_or_validation() {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), &bars(60), &bars(6));
    let server = TestServer::with_set("bars", folder.path()).await;
    let long = v1::TrainRequest { epochs: Some(10_000), ..one_epoch("bars") };
    let mut stream = server.training().train(long).await.unwrap().into_inner();
    let id = run_id(&until(&mut stream, |event| matches!(event, Event::Checkpoint(_))).await);
    server.training().cancel_run(v1::CancelRunRequest { run_id: id.clone() }).await.unwrap();
    collect(stream).await;
    // The last ten of the sixty images are the validation split.
    for (at, part) in [(0, "training"), (59, "validation")] {
        let mut pixels = bars(60).pixels().to_vec();
        pixels[at * DIMS.height * DIMS.width] ^= 255;
        let changed = ImageSet::new(DIMS, pixels, bars(60).labels().to_vec()).unwrap();
        write_idx(folder.path(), &changed, &bars(6));
        let request = v1::TrainRequest { validate_only: true, ..resume(&id) };
        let status = server.training().train(request).await.unwrap_err();
        check(&status, Code::FailedPrecondition, "DATASET_CHANGED");
        assert!(status.message().contains(part), "{status}");
    }
    write_idx(folder.path(), &bars(60), &bars(6));
    let request = v1::TrainRequest { validate_only: true, ..resume(&id) };
    server.training().train(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_do_not_fit_the_data_set_and_data_that_is_broken_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), &bars(60), &bars(6));
    let server = TestServer::with_set("bars", folder.path()).await;
    let rejected = async |request| server.training().train(request).await.unwrap_err();

    let ten = v1::layer::Kind::Linear(v1::Linear { out_features: 10 });
    let kinds = [v1::layer::Kind::Flatten(v1::Flatten {}), ten];
    let layers = kinds.map(|kind| v1::Layer { name: String::new(), kind: Some(kind) }).into();
    let network = Some(v1::Network { layers, ..v1::Network::default() });
    let status = rejected(v1::TrainRequest { network, ..one_epoch("bars") }).await;
    check_field(&status, "network.layers");
    assert!(status.message().contains("3 classes"), "{status}");

    let status = rejected(one_epoch("bees")).await;
    check_not_found(&status, "DATASET_NOT_FOUND", "bees");
    assert!(status.message().contains("\"synthetic\" or \"bars\""), "{status}");

    std::fs::write(folder.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 100]).unwrap();
    let status = rejected(one_epoch("bars")).await;
    check(&status, Code::FailedPrecondition, "DATASET_UNAVAILABLE");
    assert!(status.message().contains("label 100 at byte 8 of"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_images_are_trained_on_and_predicted_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let set = bars(90);
    let server = trained_on_names(folder.path(), &set).await;

    let evaluated = server.analysis().evaluate(v1::EvaluateRequest::default()).await.unwrap().into_inner();
    assert_eq!((evaluated.total, evaluated.accuracy), (18, Some(1.0)));
    let rows: Vec<_> = evaluated.classes.iter().map(v1::ClassReport::label_name).collect();
    assert_eq!(rows, ["across", "blank", "down"]);

    let request = v1::InspectRequest { contents: true, ..Default::default() };
    let inspected = server.analysis().inspect(request).await.unwrap().into_inner();
    assert_eq!(inspected.class_names, ["across", "blank", "down"]);
    assert!(inspected.label_name.is_some());

    let version = server.registry().get_version(v1::GetVersionRequest::default()).await.unwrap();
    let version = version.into_inner().version.unwrap();
    assert_eq!((version.image_height, version.image_width, version.classes), (20, 12, 3));

    // An image like those of the folder, one of twice the size, and plain pixels.
    let doubled: Vec<u8> =
        (0..40 * 24).map(|at| set.image(1)[at / 24 / 2 * DIMS.width + at % 24 / 2]).collect();
    let forms = [
        Form::Encoded(image::to_png(set.image(0), DIMS.width, DIMS.height).into()),
        Form::Encoded(image::to_png(&doubled, 24, 40).into()),
        Form::Pixels(set.image(2).to_vec().into()),
    ];
    let images = forms.map(|form| v1::Image { form: Some(form) }).into();
    let request = v1::PredictRequest { images, top_k: Some(100), ..Default::default() };
    let response = server.prediction().predict(request).await.unwrap().into_inner();
    let read: Vec<_> = response.predictions.iter().map(v1::Prediction::label_name).collect();
    assert_eq!(read, NAMES);
    assert_eq!(
        (response.predictions[0].top.len(), response.predictions[0].top[0].label_name()),
        (3, "across")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_wrong_size_are_rejected_with_the_size_of_the_version() {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), &bars(60), &bars(6));
    let server = TestServer::with_set("bars", folder.path()).await;
    train(&server, one_epoch("bars")).await;
    let image = |form| v1::Image { form: Some(form) };
    let rejected = async |images, batch: Vec<u8>| {
        let request = v1::PredictRequest { images, pixel_batch: batch.into(), ..Default::default() };
        server.prediction().predict(request).await.unwrap_err()
    };
    let status = rejected(vec![image(Form::Pixels(vec![0; 784].into()))], Vec::new()).await;
    check_field(&status, "images[0].pixels");
    assert!(status.message().contains("an image of 20 x 12 has 240"), "{status}");
    let floats = v1::FloatPixels { values: vec![0.0; 239] };
    let status = rejected(vec![image(Form::Floats(floats.clone()))], Vec::new()).await;
    check_field(&status, "images[0].floats.values");
    check_field(&rejected(Vec::new(), vec![0; 784]).await, "pixel_batch");
    let input = Some(v1::inspect_request::Input::Image(image(Form::Floats(floats))));
    let request = v1::InspectRequest { input, contents: true, ..Default::default() };
    let status = server.analysis().inspect(request).await.unwrap_err();
    check_field(&status, "image.floats.values");
    let request = v1::PredictRequest { pixel_batch: vec![0; 480].into(), ..Default::default() };
    let response = server.prediction().predict(request).await.unwrap().into_inner();
    assert_eq!((response.predictions.len(), response.predictions[0].probabilities.len()), (2, 3));
}
