//! Named arrays ⇄ the bytes of a safetensors file, with a map of texts in its header.

use std::collections::{BTreeMap, HashMap};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor};

use super::Error;
use crate::nn::NetworkConfig;

/// Size limit of a file in bytes: the state of a run of the largest network, which holds six times
/// the weights (Adam's moments, averages, the best epoch) at eight bytes per value, and a header.
pub const MAX_BYTES: usize = 8 * (6 * NetworkConfig::MAX_PARAMETERS as usize) + (1 << 20);

/// The arrays of a safetensors file, and the metadata of its header.
#[derive(Debug, Default)]
pub struct Arrays {
    pub arrays: BTreeMap<String, Tensor>,
    pub metadata: HashMap<String, String>,
}

impl Arrays {
    /// Encodes the arrays as a safetensors file. Equal arrays give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let raw: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> =
            self.arrays.iter().map(|(name, array)| raw(name, array)).collect();
        let views = raw.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name.as_str(), view.expect("an array's bytes are of its shape and kind"))
        });
        // The header gets at most one key, so that the bytes do not depend on the order of a hash
        // map.
        let metadata = match self.metadata.is_empty() {
            true => None,
            false => {
                let sorted: BTreeMap<_, _> = self.metadata.iter().collect();
                let text = serde_json::to_string(&sorted).expect("a map of texts is JSON");
                Some(HashMap::from([(METADATA.to_owned(), text)]))
            }
        };
        safetensors::serialize(views, metadata).expect("the names and shapes of arrays make a header")
    }

    /// Decodes a safetensors file. Errors when the file is too large, malformed, or holds numbers
    /// other than float32 and float64.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge { bytes: bytes.len(), limit: MAX_BYTES });
        }
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header
            .metadata()
            .as_ref()
            .and_then(|map| map.get(METADATA))
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let file = SafeTensors::deserialize(bytes)?;
        let mut arrays = BTreeMap::new();
        for (name, view) in file.tensors() {
            let array = tensor(&name, &view)?;
            arrays.insert(name, array);
        }
        Ok(Self { arrays, metadata })
    }
}

/// The one key of the header's metadata; its value is a JSON object.
const METADATA: &str = "digitd";

fn raw(name: &str, array: &Tensor) -> (String, Dtype, Vec<usize>, Vec<u8>) {
    let array = array.detach().to_device(Device::Cpu).contiguous();
    let (dtype, width) = dtype(array.kind());
    let shape = array.size().iter().map(|&extent| extent as usize).collect();
    let mut bytes = vec![0; array.numel() * width];
    array.copy_data_u8(&mut bytes, array.numel());
    (name.to_owned(), dtype, shape, bytes)
}

/// Returns the type of numbers in a file, and the bytes of one number.
pub(super) fn dtype(kind: Kind) -> (Dtype, usize) {
    match kind {
        Kind::Double => (Dtype::F64, 8),
        _ => (Dtype::F32, 4),
    }
}

fn tensor(name: &str, view: &TensorView<'_>) -> Result<Tensor, Error> {
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        found => return Err(Error::Kind { name: name.to_owned(), found, expected: "F32 or F64" }),
    };
    let shape: Vec<i64> = view.shape().iter().map(|&extent| extent as i64).collect();
    Ok(Tensor::from_data_size(view.data(), &shape, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_a_round_trip_and_does_not_depend_on_a_hash() {
        let metadata: HashMap<_, _> = (0..20).map(|n| (format!("key{n}"), n.to_string())).collect();
        let file = || Arrays { arrays: BTreeMap::new(), metadata: metadata.clone() }.encode();
        assert_eq!(Arrays::decode(&file()).unwrap().metadata, metadata);
        assert_eq!(file(), file());
    }
}
