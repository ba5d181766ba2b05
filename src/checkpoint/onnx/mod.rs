//! ONNX files: a network with its weights in float32, from images to probabilities. The messages of the
//! format are in `proto`, the layers as operators in `graph`.

mod graph;
mod proto;

use prost::Message as _;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    Error,
    import::{Layout, NamePolicy, import_weights},
};
use crate::{
    ids::{ModelName, Version},
    nn::{NetworkConfig, Precision, Shape},
};
use proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// The version of the file format and that of the operator set: both of 2022, so that the run-times of
/// today know them.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// A published version: its network, and what the file's metadata states about it.
#[derive(Debug, Clone, Copy)]
pub struct OnnxModel<'a> {
    pub name: &'a ModelName,
    pub version: Version,
    pub network: &'a NetworkConfig,
    /// Size of an input image, in pixels.
    pub height: usize,
    pub width: usize,
    pub classes: usize,
    /// Class names, one per class; empty if the classes are numbered.
    pub class_names: &'a [String],
    /// The precision of training, which decides the type of the numbers in the weights file.
    pub precision: Precision,
    /// SHA-256 of the weights file in lower-case hexadecimal.
    pub weights_sha256: &'a str,
}

/// Encodes a model and its safetensors file of weights as an ONNX file: the input `input`
/// `[N,1,height,width]` in `[0,1]`, the output `probabilities` `[N,classes]`.
///
/// Errors when the weights are not those of the network, or of another precision.
pub fn encode(model: OnnxModel<'_>, weights: &[u8]) -> Result<Vec<u8>, Error> {
    let OnnxModel { name, version, network, height, width, classes, .. } = model;
    let shapes = network.shapes(Shape::grey(height, width), classes).map_err(Error::Shapes)?;
    let found = import_weights(weights, network, &shapes, Layout::Libtorch, NamePolicy::Exact)?.precision;
    let (found, expected) = (number_type(found), number_type(model.precision));
    if found != expected {
        return Err(Error::Precision { found, expected });
    }
    let arrays = SafeTensors::deserialize(weights)?;
    let values = |name: &str| float32(&arrays.tensor(name).expect("the arrays of the file were checked"));
    let graph = graph::graph(name.to_string(), network, &shapes, values);
    let file = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "digitd".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_version: version.get().into(),
        doc_string: format!(
            "{name} version {version}: input [N,1,{height},{width}], each pixel from 0 (background) to 1 (ink), \
             gives the probabilities of {classes} classes"
        ),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata(&model),
    };
    Ok(file.encode_to_vec())
}

/// The type of the numbers in a weights file, as safetensors names it.
fn number_type(precision: Precision) -> &'static str {
    match precision {
        Precision::Float32 | Precision::Bfloat16 => "F32",
        Precision::Float64 => "F64",
    }
}

fn metadata(model: &OnnxModel<'_>) -> Vec<StringStringEntryProto> {
    let mut entries = vec![
        ("name", model.name.to_string()),
        ("version", model.version.to_string()),
        ("weights_sha256", model.weights_sha256.to_owned()),
    ];
    if !model.class_names.is_empty() {
        entries.push(("class_names", serde_json::json!(model.class_names).to_string()));
    }
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.to_owned(), value };
    entries.into_iter().map(entry).collect()
}

/// The values of an array as float32, little-endian.
fn float32(array: &TensorView<'_>) -> Vec<u8> {
    match array.dtype() {
        Dtype::F64 => {
            let values = array.data().as_chunks().0.iter();
            values.flat_map(|bytes| (f64::from_le_bytes(*bytes) as f32).to_le_bytes()).collect()
        }
        // The check of the file admits F32 and F64 alone.
        _ => array.data().to_vec(),
    }
}
