//! Every way in which a stored version can be damaged: the error names the damage, and another version
//! continues to predict.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use digitd::{checkpoint::sha256, pb::digitd::v1};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{
    server::{TestServer, synthetic_set, unseen_images},
    status::{check, error},
    transfer::{TUTORIAL, file, import},
};

/// The files of a version.
struct Version {
    weights: PathBuf,
    manifest: PathBuf,
}

impl Version {
    fn of(store: &Path, number: u32) -> Self {
        let folder = store.join(format!("models/digits/versions/{number}"));
        Self { weights: folder.join("weights.safetensors"), manifest: folder.join("manifest.json") }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.weights).unwrap()
    }

    /// Other weights with a manifest that matches them, so that only their contents are wrong.
    fn agree_on(&self, bytes: &[u8]) {
        std::fs::write(&self.weights, bytes).unwrap();
        self.set_in_manifest("weights_sha256", json!(sha256(bytes)));
        self.set_in_manifest("weights_bytes", json!(bytes.len()));
    }

    /// Changes one value of the manifest.
    fn set_in_manifest(&self, key: &str, value: Value) {
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&self.manifest).unwrap()).unwrap();
        manifest[key] = value;
        std::fs::write(&self.manifest, manifest.to_string()).unwrap();
    }
}

async fn predict(server: &TestServer, number: i32) -> Result<tonic::Response<v1::PredictResponse>, Status> {
    let which = Some(v1::model_ref::Which::Version(number));
    let request = v1::PredictRequest {
        model: Some(v1::ModelRef { name: String::new(), which }),
        pixel_batch: Bytes::copy_from_slice(unseen_images(1).pixels()),
        ..v1::PredictRequest::default()
    };
    server.prediction().predict(request).await
}

async fn evaluate(server: &TestServer, number: i32) -> Result<tonic::Response<v1::EvaluateResponse>, Status> {
    let which = Some(v1::model_ref::Which::Version(number));
    let model = Some(v1::ModelRef { name: String::new(), which });
    let dataset = Some(synthetic_set());
    let request = v1::EvaluateRequest { model, dataset, ..v1::EvaluateRequest::default() };
    server.analysis().evaluate(request).await
}

/// Returns the errors of all calls that need version 1 after `damage`, while version 2 predicts.
async fn broken(damage: impl FnOnce(&Version)) -> [Status; 3] {
    let server = TestServer::start().await;
    for _ in 0..2 {
        import(&server, v1::ImportMetadata::default(), &file(TUTORIAL)).await.unwrap();
    }
    // A server loads its first model at the start and does not read its files again; a new server loads the
    // newest version.
    let server = TestServer::on(server.stop().await).await;
    assert_eq!(predict(&server, 2).await.unwrap().into_inner().version, 2);
    damage(&Version::of(server.store(), 1));
    let which = Some(v1::export_version_request::Which::Version(1));
    let format = v1::ExportFormat::Onnx.into();
    let export = v1::ExportVersionRequest { name: String::new(), which, format };
    let errors = [
        error(predict(&server, 1).await),
        error(evaluate(&server, 1).await),
        error(server.registry().export_version(export).await),
    ];
    assert_eq!(predict(&server, 2).await.unwrap().into_inner().version, 2);
    evaluate(&server, 2).await.unwrap();
    let listed = server.registry().list_versions(v1::ListVersionsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().versions[0].version, 2);
    errors
}

/// Checks that the damage is reported in these words.
async fn check_loss(words: &str, damage: impl FnOnce(&Version)) {
    for status in broken(damage).await {
        check(&status, Code::DataLoss, "CHECKPOINT_CORRUPT");
        assert!(status.message().contains(words), "{status}");
    }
}

/// Checks the same for weights whose manifest matches them.
async fn check_inner_loss(words: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    check_loss(words, |version| version.agree_on(&change(version.bytes()))).await;
}

/// The tutorial's weights with one array under another name, of another shape or of another type.
fn with(index: usize, name: &'static str, shape: &'static [usize]) -> Vec<u8> {
    let mut arrays = TUTORIAL.to_vec();
    arrays[index] = (name, shape);
    file(&arrays)
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_weights() {
    check_loss("it is missing", |version| std::fs::remove_file(&version.weights).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_weights() {
    check_loss("bytes, not", |version| {
        let bytes = version.bytes();
        std::fs::write(&version.weights, &bytes[..bytes.len() / 2]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_with_a_byte_that_flipped() {
    check_loss("its SHA-256 is", |version| {
        let mut bytes = version.bytes();
        let at = bytes.len() - 9;
        bytes[at] ^= 1;
        std::fs::write(&version.weights, bytes).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_with_trailing_bytes() {
    check_loss("bytes, not", |version| {
        std::fs::write(&version.weights, [version.bytes(), vec![0]].concat()).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_states_another_size() {
    check_loss("bytes, not 7", |version| version.set_in_manifest("weights_bytes", json!(7))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_larger_than_any_weights() {
    check_loss("at most", |version| {
        let file = std::fs::File::options().write(true).open(&version.weights).unwrap();
        file.set_len(1 << 40).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_safetensors() {
    check_inner_loss("not safetensors", |_| b"PK\x03\x04 this is a zip file".to_vec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file() {
    check_inner_loss("not safetensors", |_| Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_ends_within_its_arrays() {
    check_inner_loss("not safetensors", |bytes| bytes[..bytes.len() - 1].to_vec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_trailing_bytes_after_its_arrays() {
    check_inner_loss("not safetensors", |bytes| [bytes, vec![0]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_excessive_length() {
    check_inner_loss("not safetensors", |bytes| [&u64::MAX.to_le_bytes()[..], &bytes[8..]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_of_another_name() {
    check_inner_loss("\"fc.bias\" is missing", |_| with(5, "head.bias", &[10])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_that_is_missing() {
    check_inner_loss("\"fc.bias\" is missing", |_| file(&TUTORIAL[..5])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_surplus_array() {
    let more = [TUTORIAL, &[("fc2.bias", &[10])]].concat();
    check_inner_loss("\"fc2.bias\" is not one of", |_| file(&more)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_of_another_shape() {
    // This array has one value, which a careless loader would broadcast to all ten.
    check_inner_loss("has shape [1], not [10]", |_| with(5, "fc.bias", &[1])).await;
}

/// The same file with every array in another number format.
fn recast(bytes: &[u8], dtype: Dtype, cast: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let arrays: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = view.data().as_chunks().0.iter();
            let bytes = values.flat_map(|value| cast(f32::from_le_bytes(*value))).collect::<Vec<u8>>();
            (name, view.shape().to_vec(), bytes)
        })
        .collect();
    let views = arrays
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_kind_that_no_network_has() {
    check_inner_loss("as I32, not F32 or F64", |bytes| {
        recast(&bytes, Dtype::I32, |value| (value as i32).to_le_bytes().to_vec())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_another_kind_than_the_manifest_states() {
    check_inner_loss("F64, not F32", |bytes| {
        recast(&bytes, Dtype::F64, |value| f64::from(value).to_le_bytes().to_vec())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_that_is_no_number() {
    check_inner_loss("holds a value that is no finite number", |mut bytes| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_does_not_match_its_weights() {
    check_loss("", |version| version.set_in_manifest("classes", json!(11))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_an_impossible_size() {
    check_loss("of no size that makes sense", |version| version.set_in_manifest("height", json!(1u64 << 40)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_json() {
    check_loss("is damaged", |version| std::fs::write(&version.manifest, "{\"format_version\": 1").unwrap())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_excessive_length() {
    check_loss("at most", |version| {
        std::fs::File::options().write(true).open(&version.manifest).unwrap().set_len(1 << 40).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_another_version() {
    check_loss("it tells of digits version 2", |version| {
        let other = version.manifest.parent().unwrap().with_file_name("2").join("manifest.json");
        std::fs::copy(other, &version.manifest).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_does_not_state_its_format() {
    check_loss("format_version", |version| {
        let text = std::fs::read_to_string(&version.manifest).unwrap();
        std::fs::write(&version.manifest, text.replace("format_version", "form")).unwrap();
    })
    .await;
}

/// Checks that a manifest of this format is reported as written by another version of digitd.
async fn check_foreign(format: u32, words: &str) {
    for status in broken(|version| version.set_in_manifest("format_version", json!(format))).await {
        check(&status, Code::FailedPrecondition, "FORMAT_UNSUPPORTED");
        assert!(status.message().contains(words), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_a_newer_format() {
    check_foreign(2, "has format 2, and this digitd reads 1: use a newer digitd").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_an_older_format() {
    check_foreign(0, "has format 0, and this digitd reads 1: use an older digitd").await;
}
