//! Weights that are changed on purpose: exported from a version, changed, and imported as another version.

use std::collections::BTreeMap;

use digitd::pb::digitd::v1;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    server::{TestServer, synthetic_set},
    transfer::{export, import},
};

/// Values by name, with their shapes.
pub type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Reads a file of float32 values.
pub fn read(file: &[u8]) -> Weights {
    let arrays = SafeTensors::deserialize(file).unwrap().tensors().into_iter().map(|(name, view)| {
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (name, (view.shape().to_vec(), values))
    });
    arrays.collect()
}

/// A file with these values, in float32 or in float64.
pub fn write(weights: &Weights, dtype: Dtype) -> Vec<u8> {
    let bytes = |value: &f32| match dtype {
        Dtype::F64 => f64::from(*value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    let raw: Vec<_> = weights
        .iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(bytes).collect::<Vec<u8>>()))
        .collect();
    let views = raw
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, (*shape).clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// Publishes version 1 with changed weights, as a version that was trained on the same data set.
pub async fn republish(server: &TestServer, change: impl FnOnce(&mut Weights)) -> i32 {
    let mut weights = read(&export(server, 1).await.1);
    change(&mut weights);
    let metadata = v1::ImportMetadata { dataset: Some(synthetic_set()), ..v1::ImportMetadata::default() };
    let imported = import(server, metadata, &write(&weights, Dtype::F32)).await.unwrap().into_inner();
    imported.version.unwrap().version
}

/// A reference to a version of `digits`.
pub fn version(number: i32) -> Option<v1::ModelRef> {
    let which = Some(v1::model_ref::Which::Version(number));
    Some(v1::ModelRef { name: String::new(), which })
}
