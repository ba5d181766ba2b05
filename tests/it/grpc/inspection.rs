//! Inspect in detail: the reference forward pass layer by layer, exact values, attributions, drawings, and
//! the limits of responses.

use bytes::Bytes;
use digitd::{
    data::{Catalog, DatasetSpec, FetchPolicy, Split, ValidationSize},
    pb::digitd::v1::{self, image::Form, inspect_request::Input},
};
use safetensors::Dtype;

use super::{
    parity::Arrays,
    server::{TestServer, synthetic_set, unseen_images},
    status::{check_field, error},
    transfer::{export, import},
    weights::{self, read, version},
};
use crate::support;

async fn inspect(server: &TestServer, request: v1::InspectRequest) -> v1::InspectResponse {
    server.analysis().inspect(request).await.unwrap().into_inner()
}

fn supplied_image(values: Vec<f32>) -> Option<Input> {
    let form = Some(Form::Floats(v1::FloatPixels { values }));
    Some(Input::Image(v1::Image { form }))
}

/// Test image `index` of the data set that version 1 was trained on.
fn at(index: i32) -> Option<Input> {
    Some(Input::DatasetIndex(v1::DatasetIndex { index, ..v1::DatasetIndex::default() }))
}

async fn predict(server: &TestServer, pixels: &[u8]) -> v1::Prediction {
    let pixel_batch = Bytes::copy_from_slice(pixels);
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    server.prediction().predict(request).await.unwrap().into_inner().predictions.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_forward_pass_is_matched_layer_by_layer_through_the_api() {
    let Some(mnist) = support::mnist_dir() else { return };
    let catalog = Catalog::new(vec![mnist], FetchPolicy::Never);
    let spec = DatasetSpec::whole("mnist".parse().unwrap());
    let images = catalog.load_split(&spec, ValidationSize::default(), Split::Test).unwrap();
    let file = |name: &str| std::fs::read(support::golden(name)).unwrap();
    let expected = Arrays::read(&file("forward_2_test_images.safetensors"));
    let server = TestServer::start().await;
    let paddle = v1::ImportMetadata { layout: v1::WeightsLayout::Paddle.into(), ..Default::default() };
    let init = read(&file("init.safetensors"));
    for (kind, tolerance) in [(Dtype::F32, 1e-4), (Dtype::F64, 1e-9)] {
        import(&server, paddle.clone(), &weights::write(&init, kind)).await.unwrap();
        for image in 0..2 {
            let pixels = images.image(image).iter().map(|pixel| f32::from(*pixel) / 255.0).collect();
            let inspection = inspect(
                &server,
                v1::InspectRequest {
                    input: supplied_image(pixels),
                    contents: true,
                    all_channels: true,
                    sample_images: Some(0),
                    ..v1::InspectRequest::default()
                },
            )
            .await;
            let mut met = 0;
            for layer in inspection.layers.iter().filter(|layer| !layer.tutorial_name.is_empty()) {
                let channels = &layer.output.as_ref().unwrap().channels;
                let found: Vec<f64> = channels.iter().flat_map(|channel| channel.output.clone()).collect();
                let all = expected.row(&layer.tutorial_name);
                let expected = &all[image * found.len()..][..found.len()];
                assert_eq!(all.len(), 2 * found.len(), "{}", layer.tutorial_name);
                let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(off < tolerance, "{kind:?} {} of image {image}: off by {off}", layer.tutorial_name);
                met += 1;
            }
            assert_eq!(met, 7, "outputs1 to outputs7");
            let softmax = &expected.row("softmax")[image * 10..][..10];
            let off =
                inspection.probabilities.iter().zip(softmax).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < tolerance, "{kind:?} softmax: off by {off}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_exact_to_the_bit_in_chunks_and_in_slices() {
    let server = TestServer::start().await;
    server.train().await;
    let stored = read(&export(&server, 1).await.1);
    let ask = async |request| {
        let mut messages = server.analysis().inspect_parameters(request).await.unwrap().into_inner();
        let mut parts = Vec::new();
        while let Some(part) = messages.message().await.unwrap() {
            parts.push(part);
        }
        parts
    };
    let all = ask(v1::InspectParametersRequest::default()).await;
    let names: Vec<&str> = all.iter().map(|part| part.parameter.as_str()).collect();
    assert_eq!(names, ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc.weight", "fc.bias"]);
    for part in &all {
        let (shape, values) = &stored[&part.parameter];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!((&part.values[..], part.total), (&bytes[..], i32::try_from(values.len()).unwrap()));
        assert_eq!(part.shape, shape.iter().map(|size| i32::try_from(*size).unwrap()).collect::<Vec<_>>());
        assert_eq!((part.precision(), part.version), (v1::Precision::Float32, 1));
    }
    let slice = v1::InspectParametersRequest {
        names: vec!["conv2.weight".to_owned()],
        offset: Some(9_990),
        limit: Some(7),
        form: v1::ValueForm::Numbers.into(),
        ..v1::InspectParametersRequest::default()
    };
    let parts = ask(slice.clone()).await;
    let expected: Vec<f64> = stored["conv2.weight"].1[9_990..9_997].iter().copied().map(f64::from).collect();
    assert_eq!((parts.len(), parts[0].offset, &parts[0].numbers), (1, Some(9_990), &expected));

    let rejected = async |request| error(server.analysis().inspect_parameters(request).await);
    let beyond = v1::InspectParametersRequest { offset: Some(10_000), ..slice.clone() };
    check_field(&rejected(beyond).await, "offset");
    let unknown = v1::InspectParametersRequest { names: vec!["conv9.weight".to_owned()], ..slice };
    let unknown = rejected(unknown).await;
    check_field(&unknown, "names");
    assert!(unknown.message().contains("conv1.weight"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_channels_have_statistics_and_histograms() {
    let server = TestServer::start().await;
    server.train().await;
    let request = v1::InspectRequest {
        contents: true,
        layers: vec!["fc".to_owned(), "conv1".to_owned()],
        channels: vec![3],
        sample_images: Some(0),
        histogram_bins: Some(8),
        ..v1::InspectRequest::default()
    };
    let inspection = inspect(&server, request).await;
    let weight = &inspection.layers[7].parameters[0];
    let stored = &read(&export(&server, 1).await.1)["fc.weight"].1;
    let norm = stored.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    assert!((weight.norm.unwrap() - norm).abs() < 1e-9 * norm);
    assert_eq!((weight.nan_fraction, weight.infinite_fraction), (Some(0.0), Some(0.0)));
    let histogram = weight.histogram.as_ref().unwrap();
    assert_eq!((histogram.counts.len(), histogram.counts.iter().sum::<i32>()), (8, 9_800));
    assert_eq!((histogram.lower, histogram.upper), (weight.min, weight.max));
    let channel = &inspection.layers[0].output.as_ref().unwrap().channels[0];
    let mean = channel.output.iter().sum::<f64>() / 784.0;
    assert!((channel.mean.unwrap() - mean).abs() < 1e-9);
    assert_eq!(channel.histogram.as_ref().unwrap().counts.iter().sum::<i32>(), 784);

    // torchinfo's numbers: bytes of parameters, of outputs and of the input, in float32.
    let sizes = inspect(&server, v1::InspectRequest { batch_size: Some(2), ..Default::default() }).await;
    assert_eq!((sizes.parameter_bytes, sizes.input_bytes), (Some(4 * 20_350), Some(2.0 * 3136.0)));
    let outputs: i32 = sizes.layers.iter().map(|layer| layer.output_shape.iter().product::<i32>()).sum();
    assert_eq!(sizes.output_bytes, Some(4.0 * f64::from(outputs)));
    let conv1 = &sizes.layers[0];
    assert_eq!((conv1.parameter_bytes, conv1.output_bytes), (Some(4 * 520), Some(8.0 * 15_680.0)));
    assert_eq!(
        (conv1.hyperparameters["groups"].as_str(), &conv1.input_shape[..]),
        ("1", &[2, 1, 28, 28][..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gradients_are_those_of_the_loss_of_the_image() {
    let server = TestServer::start().await;
    server.train().await;
    let ask = |input, label| v1::InspectRequest { input, label, gradients: true, ..Default::default() };
    let inspection = inspect(&server, ask(at(7), None)).await;
    let gradients = inspection.gradients.unwrap();
    let set = unseen_images(8);
    let predicted = predict(&server, set.image(7)).await;
    let label = usize::from(set.label(7));
    assert_eq!(gradients.label, Some(set.label(7).into()));
    let loss = -f64::from(predicted.probabilities[label]).ln();
    assert!((gradients.loss.unwrap() - loss).abs() < 1e-4, "{gradients:?}");
    let layers: Vec<&str> = gradients.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(layers, ["conv1", "conv2", "fc"]);
    // The gradient with respect to the last bias is softmax minus one-hot.
    let bias = &gradients.layers[2].parameters[1];
    let expected: f64 = (0..10)
        .map(|class| f64::from(predicted.probabilities[class]) - f64::from(u8::from(class == label)))
        .map(|part| part * part)
        .sum();
    assert!((bias.norm.unwrap() - expected.sqrt()).abs() < 1e-5, "{bias:?}");
    let together: f64 = gradients.layers.iter().map(|layer| layer.norm.unwrap().powi(2)).sum();
    assert!((gradients.norm.unwrap() - together.sqrt()).abs() < 1e-9);

    // A supplied image has the label of the request.
    let pixels: Vec<f32> = set.image(7).iter().map(|value| f32::from(*value) / 255.0).collect();
    let own = inspect(&server, ask(supplied_image(pixels.clone()), Some(set.label(7).into()))).await;
    assert_eq!(own.gradients, Some(gradients), "its label among the rest");
    let field = async |request, field| check_field(&error(server.analysis().inspect(request).await), field);
    field(ask(supplied_image(pixels.clone()), None), "label").await;
    field(ask(supplied_image(pixels), Some(10)), "label").await;
    field(ask(at(7), Some(1)), "label").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_an_unknown_data_set_is_inspected_with_a_supplied_image() {
    let server = TestServer::start().await;
    server.train().await;
    let (_, file) = export(&server, 1).await;
    import(&server, v1::ImportMetadata::default(), &file).await.unwrap();
    let ask = |input, sample_images| v1::InspectRequest {
        model: version(2),
        contents: true,
        input,
        sample_images,
        ..v1::InspectRequest::default()
    };
    let inspection = inspect(&server, ask(supplied_image(vec![0.5; 784]), None)).await;
    assert_eq!((inspection.probabilities.len(), inspection.sample_images), (10, Some(0)));
    let index = v1::DatasetIndex { dataset: Some(synthetic_set()), index: 3, ..Default::default() };
    assert_eq!(
        inspect(&server, ask(Some(Input::DatasetIndex(index)), None)).await.label,
        Some(unseen_images(4).label(3).into())
    );
    let field = async |request, field| check_field(&error(server.analysis().inspect(request).await), field);
    field(ask(supplied_image(vec![0.5; 784]), Some(10)), "sample_images").await;
    field(ask(None, None), "dataset_index.dataset").await;
    let request = v1::InspectRequest { normalization: v1::Normalization::None.into(), ..ask(at(0), None) };
    field(request, "normalization").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saliency_and_occlusion_explain_the_prediction_unless_a_class_is_named() {
    let server = TestServer::start().await;
    server.train().await;
    let set = unseen_images(5);
    let predicted = predict(&server, set.image(4)).await;
    let ask = |target_class| v1::InspectRequest {
        input: at(4),
        saliency: true,
        occlusion: Some(v1::OcclusionRequest { patch_size: Some(6), stride: Some(5), fill: Some(1.0) }),
        target_class,
        ..v1::InspectRequest::default()
    };
    let inspection = inspect(&server, ask(None)).await;
    let (saliency, occlusion) = (inspection.saliency.unwrap(), inspection.occlusion.unwrap());
    assert_eq!((saliency.target_class, occlusion.target_class), (predicted.label, predicted.label));
    assert_eq!((saliency.shape, saliency.gradient.len()), (vec![28, 28], 784));
    // The positions are 0, 5, …, 20, and 22 at the edge.
    assert_eq!((&occlusion.shape[..], occlusion.drops.len()), (&[6, 6][..], 36));
    let mut covered = set.image(4).to_vec();
    for row in 10..16 {
        covered[row * 28 + 22..row * 28 + 28].fill(255);
    }
    let class = usize::try_from(predicted.label.unwrap()).unwrap();
    let left = predict(&server, &covered).await.probabilities[class];
    let drop = f64::from(predicted.probabilities[class] - left);
    assert!((occlusion.drops[2 * 6 + 5] - drop).abs() < 1e-5, "{} and {drop}", occlusion.drops[17]);

    let other = inspect(&server, ask(Some(3))).await;
    assert_eq!(other.occlusion.unwrap().target_class, Some(3));
    assert_ne!(other.saliency.unwrap().gradient, saliency.gradient);
    let field = async |request, field| check_field(&error(server.analysis().inspect(request).await), field);
    field(ask(Some(10)), "target_class").await;
    let occlusion = |patch_size, stride| {
        let fill = None;
        let occlusion =
            Some(v1::OcclusionRequest { patch_size: Some(patch_size), stride: Some(stride), fill });
        v1::InspectRequest { occlusion, ..v1::InspectRequest::default() }
    };
    field(occlusion(29, 1), "occlusion.patch_size").await;
    field(occlusion(4, 5), "occlusion.stride").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drawings_are_png_of_what_was_requested() {
    let server = TestServer::start().await;
    server.train().await;
    let kinds = [
        v1::DrawingKind::Histograms,
        v1::DrawingKind::Kernels,
        v1::DrawingKind::FeatureMaps,
        v1::DrawingKind::Saliency,
        v1::DrawingKind::Occlusion,
    ];
    let ask = |kinds: &[v1::DrawingKind]| v1::InspectRequest {
        input: at(2),
        drawings: kinds.iter().map(|kind| (*kind).into()).collect(),
        ..v1::InspectRequest::default()
    };
    let inspection = inspect(&server, ask(&kinds)).await;
    assert!(
        inspection.saliency.is_none() && inspection.occlusion.is_none(),
        "the drawings alone were asked for"
    );
    let counts =
        kinds.map(|kind| inspection.drawings.iter().filter(|drawing| drawing.kind() == kind).count());
    assert_eq!(counts, [2, 2, 7, 1, 1]);
    for drawing in &inspection.drawings {
        let read = image::load_from_memory(&drawing.png).unwrap();
        assert_eq!((read.width() as i32, read.height() as i32), (drawing.width, drawing.height));
        assert!(drawing.title.starts_with("digits version 1: "), "{}", drawing.title);
    }
    let some = v1::InspectRequest {
        layers: vec!["conv2".to_owned()],
        channels: vec![0, 1],
        ..ask(&[v1::DrawingKind::Kernels])
    };
    let some = inspect(&server, some).await;
    assert_eq!((some.drawings.len(), some.drawings[0].layer.as_str()), (1, "conv2"));
    let rejected = v1::InspectRequest { layers: vec!["conv9".to_owned()], ..ask(&kinds) };
    check_field(&error(server.analysis().inspect(rejected).await), "layers");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_stay_below_the_message_limit_of_their_caller() {
    let server = TestServer::start().await;
    server.train().await;
    let all = v1::InspectRequest {
        contents: true,
        all_channels: true,
        sample_images: Some(0),
        model: version(1),
        ..v1::InspectRequest::default()
    };
    // tonic's clients accept 4 MiB, as others do.
    assert!(inspect(&server, all.clone()).await.layers.iter().all(|layer| layer.output.is_some()));
    let small = v1::InspectRequest { max_answer_bytes: Some(100_000), ..all };
    let rejected = error(server.analysis().inspect(small).await);
    check_field(&rejected, "channels");
    assert!(rejected.message().contains("max_answer_bytes"), "{rejected:?}");
    let drawings = v1::InspectRequest {
        drawings: vec![v1::DrawingKind::FeatureMaps.into()],
        max_answer_bytes: Some(65_536),
        ..v1::InspectRequest::default()
    };
    check_field(&error(server.analysis().inspect(drawings).await), "max_answer_bytes");
}
