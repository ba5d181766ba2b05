//! A version as an ONNX file: its network with weights, in float32, from pictures to probabilities.

mod graph;

use prost::Message;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tonic::Status;

use super::status;
use crate::{
    checkpoint::foreign::{self, Layout, Names},
    engine::Error,
    nn::{Precision, Shape},
    pb::onnx::{ModelProto, OperatorSetIdProto, StringStringEntryProto},
    registry::Manifest,
};

/// The form of the file, and the set of its operators: of 2022, so that run-times of today know both.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// The file. Errors where the weights are not those of the version's network.
pub async fn export(manifest: Manifest, weights: Vec<u8>) -> Result<Vec<u8>, Status> {
    // Millions of numbers are no work for an async thread.
    let encoding = tokio::task::spawn_blocking(move || encode(&manifest, &weights));
    Ok(encoding.await.map_err(status::lost)??)
}

fn encode(manifest: &Manifest, weights: &[u8]) -> Result<Vec<u8>, Error> {
    let Manifest { model: name, version, network, .. } = manifest;
    let broken = |error: &dyn std::fmt::Display| Error::Corrupt {
        message: format!("version {version} of {name} cannot be exported: {error}"),
    };
    let input = Shape::grey(manifest.height, manifest.width);
    let shapes = network.shapes(input, manifest.classes).map_err(|error| broken(&error))?;
    let found = foreign::adopt(weights, network, &shapes, Layout::Libtorch, Names::Own)
        .map_err(|error| broken(&error))?
        .precision;
    if kind(found) != kind(manifest.precision) {
        return Err(broken(&format!("its weights are {}, not {}", kind(found), kind(manifest.precision))));
    }
    let arrays = SafeTensors::deserialize(weights).map_err(|error| broken(&error))?;
    let values = |name: &str| float32(&arrays.tensor(name).expect("the file was looked through"));
    let graph = graph::graph(name.to_string(), network, &shapes, values);
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "digitd".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_version: version.get().into(),
        doc_string: format!(
            "{name} version {version}: input [N,1,{},{}], each pixel from 0 (background) to 1 (ink), gives \
             the probabilities of {} classes",
            manifest.height, manifest.width, manifest.classes
        ),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata(manifest),
    };
    Ok(model.encode_to_vec())
}

/// Of the numbers in the weights file.
fn kind(precision: Precision) -> &'static str {
    match precision {
        Precision::Float32 | Precision::Bfloat16 => "F32",
        Precision::Float64 => "F64",
    }
}

fn metadata(manifest: &Manifest) -> Vec<StringStringEntryProto> {
    let mut facts = vec![
        ("name", manifest.model.to_string()),
        ("version", manifest.version.to_string()),
        ("weights_sha256", manifest.weights_sha256.clone()),
    ];
    if !manifest.class_names.is_empty() {
        facts.push(("class_names", serde_json::json!(manifest.class_names).to_string()));
    }
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.to_owned(), value };
    facts.into_iter().map(entry).collect()
}

fn float32(array: &TensorView<'_>) -> Vec<u8> {
    match array.dtype() {
        Dtype::F64 => {
            let values = array.data().as_chunks().0.iter();
            values.flat_map(|bytes| (f64::from_le_bytes(*bytes) as f32).to_le_bytes()).collect()
        }
        // F32: no other passes the look.
        _ => array.data().to_vec(),
    }
}
