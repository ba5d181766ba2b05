//! Versions as ONNX files: ONNX Runtime computes the probabilities that the server returns.

use std::{path::Path, process::Command};

use bytes::Bytes;
use digitd::pb::digitd::v1::{self, layer::Kind};
use serde_json::{Value, json};

use super::{
    server::{TestServer, collect, finished, tiny, unseen_images},
    transfer::{NORMED, export_as, file, import, normed},
};
use crate::support;

const READER: &str = include_str!("read_onnx.py");

/// Runs ONNX Runtime on a version and images; returns how far its probabilities are from the server's.
async fn compare(
    server: &TestServer,
    python: &Path,
    version: i32,
    pixels: &[u8],
) -> (v1::ModelVersion, Value, f64) {
    let (version, onnx) = export_as(server, version, v1::ExportFormat::Onnx).await;
    let folder = tempfile::tempdir().unwrap();
    let (model, pictures) = (folder.path().join("model.onnx"), folder.path().join("pixels"));
    std::fs::write(&model, onnx).unwrap();
    std::fs::write(&pictures, pixels).unwrap();
    let mut reader = Command::new(python);
    reader.args(["-c", READER]).args([model, pictures]);
    let done = tokio::task::spawn_blocking(move || reader.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read: Value = serde_json::from_slice(&done.stdout).unwrap();

    let which = Some(v1::model_ref::Which::Version(version.version));
    let request = v1::PredictRequest {
        model: Some(v1::ModelRef { name: String::new(), which }),
        pixel_batch: Bytes::copy_from_slice(pixels),
        ..v1::PredictRequest::default()
    };
    let responses = server.prediction().predict(request).await.unwrap().into_inner().predictions;
    let theirs: Vec<Vec<f64>> = serde_json::from_value(read["probabilities"].clone()).unwrap();
    assert_eq!(theirs.len(), responses.len());
    let mut farthest = 0.0f64;
    for (theirs, ours) in theirs.iter().zip(&responses) {
        assert_eq!(theirs.len(), ours.probabilities.len());
        for (theirs, ours) in theirs.iter().zip(&ours.probabilities) {
            farthest = farthest.max((theirs - f64::from(*ours)).abs());
        }
    }
    (version, read, farthest)
}

/// Trains a network briefly, and compares its version.
async fn check_trained(request: v1::TrainRequest) -> (v1::ModelVersion, Value) {
    let Some(python) = support::python("onnx", "onnxruntime") else { return Default::default() };
    let server = TestServer::start().await;
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).version, Some(1), "{:?}", finished(&events));
    let (version, read, farthest) = compare(&server, &python, 1, unseen_images(50).pixels()).await;
    assert!(farthest <= 1e-5, "{farthest}");
    (version, read)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorials_network_predicts_the_same_and_its_metadata_name_it() {
    let (version, read) = check_trained(tiny()).await;
    // Skipped without ONNX Runtime.
    if read.is_null() {
        return;
    }
    assert_eq!(read["input"], json!(["input", ["N", 1, 28, 28]]));
    assert_eq!(read["output"], json!(["probabilities", ["N", 10]]));
    assert_eq!(read["producer"], "digitd");
    let facts = json!({"name": "digits", "version": "1", "weights_sha256": version.weights_sha256});
    assert_eq!(read["metadata"], facts);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deep_network_predicts_the_same() {
    let network = Some(v1::Network { preset: "deep".to_owned(), ..v1::Network::default() });
    check_trained(v1::TrainRequest { network, ..tiny() }).await;
}

/// Every kind of layer, in an order and with settings that no preset has.
fn odd() -> v1::Network {
    let conv = |out_channels, kernel_size, stride, padding| {
        Kind::Conv(v1::Conv { out_channels, kernel_size, stride, padding })
    };
    let dropout = |probability, mode: v1::DropoutMode| {
        Kind::Dropout(v1::Dropout { probability: Some(probability), axes: Vec::new(), mode: mode.into() })
    };
    let batch_norm = |epsilon| Kind::BatchNorm(v1::BatchNorm { momentum: Some(0.3), epsilon });
    let kinds = [
        dropout(0.1, v1::DropoutMode::DownscaleInInfer),
        batch_norm(Some(0.5)),
        conv(7, 4, Some(3), Some(2)),
        Kind::Relu(v1::Relu {}),
        Kind::MaxPool(v1::MaxPool { kernel_size: 3, stride: Some(2) }),
        conv(5, 1, None, Some(1)),
        batch_norm(None),
        Kind::MaxPool(v1::MaxPool { kernel_size: 2, stride: Some(1) }),
        Kind::Flatten(v1::Flatten {}),
        dropout(0.6, v1::DropoutMode::DownscaleInInfer),
        Kind::Linear(v1::Linear { out_features: 13 }),
        Kind::Relu(v1::Relu {}),
        batch_norm(None),
        dropout(0.2, v1::DropoutMode::UpscaleInTrain),
        Kind::Linear(v1::Linear { out_features: 10 }),
    ];
    let names = ["input", "", "probabilities", "softmax"];
    let names = names.into_iter().chain(std::iter::repeat(""));
    let layers = kinds.into_iter().zip(names);
    let layers = layers.map(|(kind, name)| v1::Layer { name: name.to_owned(), kind: Some(kind) });
    v1::Network { layers: layers.collect(), ..v1::Network::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_layer_predicts_the_same_whatever_its_name() {
    check_trained(v1::TrainRequest { network: Some(odd()), ..tiny() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_float64_gives_the_outputs_of_predict() {
    let precision = v1::Precision::Float64.into();
    check_trained(v1::TrainRequest { network: Some(odd()), precision, ..tiny() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_for_other_image_sizes_and_named_classes_predicts_the_same() {
    let Some(python) = support::python("onnx", "onnxruntime") else { return };
    let server = TestServer::start().await;
    import(&server, normed(), &file(NORMED)).await.unwrap();
    let pixels: Vec<u8> = (0..=255).cycle().take(5 * 96).collect();
    let (_, read, farthest) = compare(&server, &python, 1, &pixels).await;
    assert!(farthest <= 1e-5, "{farthest}");
    assert_eq!(read["input"][1], json!(["N", 1, 8, 12]));
    assert_eq!(read["metadata"]["class_names"], r#"["cat","dog","emu"]"#);
}
