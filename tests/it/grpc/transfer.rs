//! Importing and exporting files of weights.

use digitd::pb::digitd::v1::{
    self, export_version_request, export_version_response::Part as Exported, import_version_request::Part,
};
use futures::stream;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tonic::{Response, Status};

use super::{
    server::{TestServer, collect, finished, tiny},
    status::{check_field, check_not_found, error},
};

pub type Shapes<'a> = &'a [(&'a str, &'a [usize])];

/// The parameters of the tutorial's network.
pub const TUTORIAL: Shapes<'_> = &[
    ("conv1.weight", &[20, 1, 5, 5]),
    ("conv1.bias", &[20]),
    ("conv2.weight", &[20, 20, 5, 5]),
    ("conv2.bias", &[20]),
    ("fc.weight", &[10, 980]),
    ("fc.bias", &[10]),
];

/// A file of arrays in float32: array k counts from k in steps of 1/1000, so that all arrays differ.
pub fn file(arrays: Shapes<'_>) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = arrays
        .iter()
        .enumerate()
        .map(|(index, (_, shape))| {
            let values = (0..shape.iter().product()).map(|n: usize| (index as f32) + (n as f32) / 1000.0);
            values.flat_map(f32::to_le_bytes).collect()
        })
        .collect();
    let views = arrays
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

pub async fn import(
    server: &TestServer,
    metadata: v1::ImportMetadata,
    file: &[u8],
) -> Result<Response<v1::ImportVersionResponse>, Status> {
    let chunks = file.chunks(10_000).map(|chunk| Part::Chunk(bytes::Bytes::copy_from_slice(chunk)));
    let parts = std::iter::once(Part::Metadata(metadata)).chain(chunks);
    let messages: Vec<_> = parts.map(|part| v1::ImportVersionRequest { part: Some(part) }).collect();
    server.registry().import_version(stream::iter(messages)).await
}

pub async fn export(server: &TestServer, version: i32) -> (v1::ModelVersion, Vec<u8>) {
    export_as(server, version, v1::ExportFormat::Unspecified).await
}

pub async fn export_as(
    server: &TestServer,
    version: i32,
    format: v1::ExportFormat,
) -> (v1::ModelVersion, Vec<u8>) {
    let which = Some(export_version_request::Which::Version(version));
    let request = v1::ExportVersionRequest { name: String::new(), which, format: format.into() };
    let mut messages = server.registry().export_version(request).await.unwrap().into_inner();
    let Some(Exported::Version(version)) = messages.message().await.unwrap().unwrap().part else {
        panic!("the version comes first")
    };
    let mut file = Vec::new();
    while let Some(message) = messages.message().await.unwrap() {
        let Some(Exported::Chunk(chunk)) = message.part else { panic!("then its file") };
        file.extend_from_slice(&chunk);
    }
    (version, file)
}

fn mapped() -> v1::ImportMetadata {
    v1::ImportMetadata { map_names: true, ..v1::ImportMetadata::default() }
}

async fn models(server: &TestServer) -> Vec<v1::Model> {
    server.registry().list_models(v1::ListModelsRequest {}).await.unwrap().into_inner().models
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_version_is_imported_with_the_same_bytes_and_predictions() {
    let server = TestServer::start().await;
    server.train().await;
    let (trained, file) = export(&server, 1).await;
    assert_eq!((trained.weights_bytes, trained.imported), (i32::try_from(file.len()).unwrap(), None));
    let dataset = v1::Dataset { name: "synthetic".to_owned(), ..v1::Dataset::default() };
    let metadata = v1::ImportMetadata {
        set_alias: "production".to_owned(),
        dataset: Some(dataset.clone()),
        ..v1::ImportMetadata::default()
    };
    let imported = import(&server, metadata, &file).await.unwrap().into_inner();
    let version = imported.version.unwrap();
    assert_eq!((version.version, version.run_id.as_str(), version.request), (2, "", None));
    assert_eq!(version.weights_sha256, trained.weights_sha256);
    assert_eq!(version.aliases, ["latest", "production"]);
    assert_eq!(version.imported, Some(v1::ImportFacts { dataset: Some(dataset) }));
    assert_eq!(export(&server, 2).await.1, file);

    let measure = async |version| {
        let which = Some(v1::model_ref::Which::Version(version));
        let model = Some(v1::ModelRef { name: String::new(), which });
        let request = v1::EvaluateRequest { model, ..v1::EvaluateRequest::default() };
        server.analysis().evaluate(request).await.unwrap().into_inner()
    };
    let (first, second) = (measure(1).await, measure(2).await);
    assert_eq!((first.loss, first.confusion_matrix), (second.loss, second.confusion_matrix));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_pytorch_are_mapped_by_order_and_shape_and_the_mapping_is_reported() {
    let server = TestServer::start().await;
    let own = file(TUTORIAL);
    let theirs = ["net.0.weight", "net.0.bias", "net.3.weight", "net.3.bias", "net.7.weight", "net.7.bias"];
    let renamed: Vec<_> = theirs.iter().zip(TUTORIAL).map(|(name, (_, shape))| (*name, *shape)).collect();
    let imported = import(&server, mapped(), &file(&renamed)).await.unwrap().into_inner();
    let mapping: Vec<_> =
        imported.arrays.iter().map(|it| (it.parameter.as_str(), it.array.as_str())).collect();
    let expected: Vec<_> = TUTORIAL.iter().map(|(name, _)| *name).zip(theirs).collect();
    assert_eq!(mapping, expected);
    assert_eq!(export(&server, 1).await.1, own);
    check_field(&error(import(&server, v1::ImportMetadata::default(), &file(&renamed)).await), "chunk");

    let prefixed: Vec<_> = TUTORIAL.iter().map(|(name, shape)| (format!("module.{name}"), *shape)).collect();
    let prefixed: Vec<_> = prefixed.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
    import(&server, mapped(), &file(&prefixed)).await.unwrap();
    assert_eq!(export(&server, 2).await.1, own);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_float64_beyond_float32_is_rejected_and_hostile_names_are_shortened() {
    let server = TestServer::start().await;
    let doubles = |value: f64| {
        let bytes: Vec<Vec<u8>> =
            TUTORIAL.iter().map(|(_, shape)| value.to_le_bytes().repeat(shape.iter().product())).collect();
        let views = TUTORIAL.iter().zip(&bytes).map(|((name, shape), bytes)| {
            (*name, TensorView::new(Dtype::F64, shape.to_vec(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    };
    let rejected = error(import(&server, v1::ImportMetadata::default(), &doubles(1e300)).await);
    check_field(&rejected, "chunk");
    assert!(rejected.message().contains("no finite number in float32"), "{rejected}");
    import(&server, v1::ImportMetadata::default(), &doubles(1e30)).await.unwrap();

    let name = "x".repeat(5000);
    let one = |dtype, shape: Vec<usize>, bytes: &[u8]| {
        safetensors::serialize([(&name, TensorView::new(dtype, shape, bytes).unwrap())], None).unwrap()
    };
    let of_many_dimensions: Vec<_> =
        TUTORIAL[1..].iter().copied().chain([("conv1.weight", &[1; 10_000][..])]).collect();
    for bytes in
        [one(Dtype::F16, vec![1], &[0; 2]), one(Dtype::F32, vec![1], &[0; 4]), file(&of_many_dimensions)]
    {
        let rejected = error(import(&server, mapped(), &bytes).await);
        check_field(&rejected, "chunk");
        assert!(rejected.message().len() < 500, "{} bytes", rejected.message().len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paddles_layout_is_transposed_and_a_layout_that_is_not_the_files_is_rejected() {
    let server = TestServer::start().await;
    let mut turned = TUTORIAL.to_vec();
    turned[4].1 = &[980, 10];
    let paddle = v1::ImportMetadata { layout: v1::WeightsLayout::Paddle.into(), ..Default::default() };
    import(&server, paddle.clone(), &file(&turned)).await.unwrap();
    let (_, bytes) = export(&server, 1).await;
    let exported = SafeTensors::deserialize(&bytes).unwrap();
    let fc = exported.tensor("fc.weight").unwrap();
    assert_eq!(fc.shape(), [10, 980]);
    let value = |at: usize| f32::from_le_bytes(fc.data()[4 * at..4 * at + 4].try_into().unwrap());
    // Row 1, column 2 in libtorch's layout is row 2, column 1 in Paddle's: value 21 of array 4.
    assert_eq!(value(980 + 2), 4.0 + 21.0 / 1000.0);

    let rejected = error(import(&server, v1::ImportMetadata::default(), &file(&turned)).await);
    assert!(rejected.message().contains("say that the layout is Paddle's"), "{rejected}");
    let rejected = error(import(&server, paddle, &file(TUTORIAL)).await);
    assert!(rejected.message().contains("say that the layout is libtorch's"), "{rejected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_fit_publishes_nothing_and_says_why() {
    let server = TestServer::start().await;
    let with = |index: usize, name: &'static str, shape: &'static [usize]| {
        let mut arrays = TUTORIAL.to_vec();
        arrays[index] = (name, shape);
        file(&arrays)
    };
    let mut infinite = file(TUTORIAL);
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let half = TensorView::new(Dtype::F16, vec![10], &[0; 20]).unwrap();
    let half = safetensors::serialize([("fc.bias", half)], None).unwrap();
    let long = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let whole = file(TUTORIAL);
    for (bytes, expected) in [
        (&whole[..whole.len() - 1], "not safetensors"),
        (&whole[..100], "not safetensors"),
        (&long, "not safetensors"),
        (&file(&TUTORIAL[..5]), "\"fc.bias\" is missing"),
        (&with(5, "fc2.bias", &[10]), "\"fc.bias\" is missing"),
        (&with(0, "conv1.weight", &[20, 1, 3, 3]), "has shape [20, 1, 3, 3], not [20, 1, 5, 5]"),
        (&infinite, "holds a value that is no finite number"),
        (&half, "as F16, not F32 or F64"),
    ] {
        let rejected = error(import(&server, v1::ImportMetadata::default(), bytes).await);
        check_field(&rejected, "chunk");
        assert!(rejected.message().contains(expected), "{rejected}");
    }
    let network = Some(v1::Network { preset: "resnet".to_owned(), ..v1::Network::default() });
    let metadata = v1::ImportMetadata { network, ..v1::ImportMetadata::default() };
    check_field(&error(import(&server, metadata, &file(TUTORIAL)).await), "metadata.network.preset");
    let missing = error(server.registry().import_version(stream::empty()).await);
    check_field(&missing, "metadata");
    assert_eq!(models(&server).await, []);
}

/// Batch normalisation and one linear layer for images of 8 x 12.
pub const NORMED: Shapes<'_> = &[
    ("norm.weight", &[1]),
    ("norm.bias", &[1]),
    ("norm.running_mean", &[1]),
    ("norm.running_var", &[1]),
    ("fc.weight", &[3, 96]),
    ("fc.bias", &[3]),
];

pub fn normed() -> v1::ImportMetadata {
    use v1::layer::Kind;
    let layer = |name: &str, kind| v1::Layer { name: name.to_owned(), kind: Some(kind) };
    let layers = vec![
        layer("norm", Kind::BatchNorm(v1::BatchNorm::default())),
        layer("flatten", Kind::Flatten(v1::Flatten {})),
        layer("fc", Kind::Linear(v1::Linear { out_features: 3 })),
    ];
    v1::ImportMetadata {
        network: Some(v1::Network { layers, ..v1::Network::default() }),
        image_height: Some(8),
        image_width: Some(12),
        class_names: ["cat", "dog", "emu"].map(str::to_owned).into(),
        ..v1::ImportMetadata::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_for_other_image_sizes_and_classes_is_imported_and_predicts() {
    let server = TestServer::start().await;
    let version = import(&server, normed(), &file(NORMED)).await.unwrap().into_inner().version.unwrap();
    assert_eq!((version.image_height, version.image_width, version.classes), (8, 12, 3));
    let pixel_batch = bytes::Bytes::from(vec![7; 2 * 96]);
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    let read = server.prediction().predict(request).await.unwrap().into_inner();
    assert_eq!(read.predictions.len(), 2);
    assert_eq!(read.predictions[0].probabilities.len(), 3);
    assert_eq!(version.class_names, ["cat", "dog", "emu"]);
    let wrong = v1::ImportMetadata { image_width: Some(11), ..normed() };
    let rejected = error(import(&server, wrong, &file(NORMED)).await);
    assert!(rejected.message().contains("has shape [3, 96], not [3, 88]"), "{rejected}");
    let wrong = v1::ImportMetadata { classes: Some(4), ..normed() };
    check_field(&error(import(&server, wrong, &file(NORMED)).await), "metadata.class_names");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variance_below_zero_is_rejected_and_zero_is_not() {
    let server = TestServer::start().await;
    let with_variance = |variance: f32| {
        let bytes = file(NORMED);
        let header = usize::try_from(u64::from_le_bytes(*bytes.first_chunk().unwrap())).unwrap();
        let at =
            SafeTensors::deserialize(&bytes).unwrap().tensor("norm.running_var").unwrap().data().as_ptr();
        let at = at as usize - bytes.as_ptr() as usize;
        assert!(at >= 8 + header);
        let mut bytes = bytes;
        bytes[at..at + 4].copy_from_slice(&variance.to_le_bytes());
        bytes
    };
    let rejected = error(import(&server, normed(), &with_variance(-1e-9)).await);
    check_field(&rejected, "chunk");
    assert!(rejected.message().contains("\"norm.running_var\" holds a variance below 0"), "{rejected}");
    let rejected = error(import(&server, normed(), &with_variance(f32::NAN)).await);
    assert!(rejected.message().contains("no finite number"), "{rejected}");
    assert_eq!(models(&server).await, []);
    import(&server, normed(), &with_variance(0.0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_disconnects_during_an_import_publishes_nothing() {
    let server = TestServer::start().await;
    let metadata = v1::ImportVersionRequest { part: Some(Part::Metadata(v1::ImportMetadata::default())) };
    let (sender, receiver) = futures::channel::mpsc::channel(1);
    let mut sender = sender;
    sender.try_send(metadata).unwrap();
    let mut registry = server.registry();
    let call = tokio::spawn(async move { registry.import_version(receiver).await });
    let piece = Part::Chunk(bytes::Bytes::copy_from_slice(&file(TUTORIAL)[..100]));
    futures::SinkExt::send(&mut sender, v1::ImportVersionRequest { part: Some(piece) }).await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(models(&server).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_version_can_be_an_initial_version() {
    let server = TestServer::start().await;
    import(&server, v1::ImportMetadata::default(), &file(TUTORIAL)).await.unwrap();
    let initial = Some(v1::ModelRef::default());
    let request = v1::TrainRequest { initial, epochs: Some(1), ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).version, Some(2));
    let (version, _) = export(&server, 2).await;
    assert_eq!(version.parent.unwrap().which, Some(v1::model_ref::Which::Version(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_version_is_not_exported() {
    let server = TestServer::start().await;
    let request = v1::ExportVersionRequest::default();
    check_not_found(&error(server.registry().export_version(request).await), "MODEL_NOT_FOUND", "digits");
    import(&server, v1::ImportMetadata::default(), &file(TUTORIAL)).await.unwrap();
    let which = Some(export_version_request::Which::Version(7));
    let request = v1::ExportVersionRequest { which, ..v1::ExportVersionRequest::default() };
    check_not_found(&error(server.registry().export_version(request).await), "VERSION_NOT_FOUND", "digits/7");
}
