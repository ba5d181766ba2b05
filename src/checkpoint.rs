//! Arrays ⇄ bytes: safetensors files of weights and of a run's whole state. A file's size and form are
//! checked before a tensor is made of it, names, shapes and values before a network is. `foreign` takes
//! files that others wrote. Knows no store.

pub mod foreign;
mod mapping;

use std::collections::{BTreeMap, HashMap};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::nn::{self, Network, NetworkConfig, Precision, Shape};

/// Largest file that is read: the state of a run of the largest network, which holds six times the
/// weights (Adam's moments, averages, the best epoch) of eight bytes at most, and a header.
pub const MAX_BYTES: usize = 8 * (6 * NetworkConfig::MAX_PARAMETERS as usize) + (1 << 20);

/// Why bytes are not the arrays that they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the weights file is {bytes} bytes; the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the weights file is not safetensors: {}", .0.to_string().chars().take(200).collect::<String>())]
    Format(#[from] safetensors::SafeTensorError),
    #[error("the weights file holds {name:?} as {found:?}, not {expected}")]
    Kind { name: String, found: Dtype, expected: &'static str },
    #[error("the weights file holds {name:?} as {found:?} and others otherwise: save all in one precision")]
    MixedKinds { name: String, found: Dtype },
    #[error("{name:?} in the weights file holds a value that is no finite number in float32")]
    NotFinite { name: String },
    /// Arrays of foreign names that could be more than one layer's.
    #[error("it is not clear which of {candidates} is layer {layer:?}: give the arrays the network's names")]
    Ambiguous { layer: String, candidates: String },
    /// Arrays that do not belong to the network.
    #[error("the weights file does not belong to this network: {0}")]
    Network(#[from] nn::Error),
}

/// The arrays of a file and what its header says beside them.
#[derive(Debug, Default)]
pub struct Arrays {
    pub arrays: BTreeMap<String, Tensor>,
    pub metadata: HashMap<String, String>,
}

impl Arrays {
    /// The file of these arrays: the same arrays give the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let raw: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> =
            self.arrays.iter().map(|(name, array)| raw(name, array)).collect();
        let views = raw.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name.as_str(), view.expect("an array's bytes are of its shape and kind"))
        });
        // A map of at most one key, so that the header does not depend on a hash's order.
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

    /// Reads a file.
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

/// The network's parameters and running statistics by name, row by row, as a safetensors file.
pub fn encode_network(network: &Network) -> Vec<u8> {
    let arrays = network.export().into_iter().collect();
    Arrays { arrays, metadata: HashMap::new() }.encode()
}

/// What a file of weights must hold: exactly the parameters of a network.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub network: &'a NetworkConfig,
    /// What one image is.
    pub input: Shape,
    pub classes: usize,
    /// Of the numbers in the file.
    pub precision: Precision,
}

/// A network from a file, in `kind`. Errors where names, shapes or precision are not as expected.
pub fn decode_network(
    expected: Expected<'_>,
    bytes: &[u8],
    kind: Kind,
    device: Device,
) -> Result<Network, Error> {
    let mut network = Network::zeros(expected.network, expected.input, expected.classes, kind, device)?;
    let file = Arrays::decode(bytes)?;
    let wanted = expected.precision.kind();
    if let Some((name, array)) = file.arrays.iter().find(|(_, array)| array.kind() != wanted) {
        let (found, expected) = (dtype(array.kind()).0, spelt(dtype(wanted).0));
        return Err(Error::Kind { name: name.clone(), found, expected });
    }
    // As the network will hold them: a large float64 has no float32.
    if let Some((name, _)) = file.arrays.iter().find(|(_, array)| !is_finite(&array.to_kind(kind))) {
        return Err(Error::NotFinite { name: name.clone() });
    }
    network.load(&file.arrays)?;
    Ok(network)
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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

/// The form of numbers in a file, and the bytes of one.
fn dtype(kind: Kind) -> (Dtype, usize) {
    match kind {
        Kind::Double => (Dtype::F64, 8),
        _ => (Dtype::F32, 4),
    }
}

fn is_finite(array: &Tensor) -> bool {
    array.isfinite().all().int64_value(&[]) == 1
}

fn spelt(dtype: Dtype) -> &'static str {
    if dtype == Dtype::F64 { "F64" } else { "F32" }
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

    const MNIST: Shape = Shape::Map { channels: 1, height: 28, width: 28 };

    fn network() -> Network {
        let config = NetworkConfig::tutorial();
        let mut network = Network::zeros(&config, MNIST, 10, Kind::Float, Device::Cpu).unwrap();
        network.initialize(1);
        network
    }

    fn decode(bytes: &[u8]) -> Result<Network, Error> {
        let network = NetworkConfig::tutorial();
        let expected =
            Expected { network: &network, input: MNIST, classes: 10, precision: Precision::Float32 };
        decode_network(expected, bytes, Kind::Float, Device::Cpu)
    }

    fn changed(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
        let mut file = Arrays::decode(&encode_network(&network())).unwrap();
        change(&mut file.arrays);
        decode(&file.encode()).unwrap_err().to_string()
    }

    #[test]
    fn weights_come_back_to_the_bit_and_give_the_same_bytes() {
        let bytes = encode_network(&network());
        let back = decode(&bytes).unwrap();
        assert_eq!(back.parameters().flat(), network().parameters().flat());
        assert_eq!(encode_network(&back), bytes);
    }

    #[test]
    fn metadata_comes_back_and_does_not_depend_on_a_hash() {
        let metadata: HashMap<_, _> = (0..20).map(|n| (format!("key{n}"), n.to_string())).collect();
        let file = || Arrays { arrays: BTreeMap::new(), metadata: metadata.clone() }.encode();
        assert_eq!(Arrays::decode(&file()).unwrap().metadata, metadata);
        assert_eq!(file(), file());
    }

    #[test]
    fn every_broken_file_is_told_apart() {
        let bytes = encode_network(&network());
        for cut in [0, 7, 100, bytes.len() - 1] {
            assert!(matches!(decode(&bytes[..cut]), Err(Error::Format(_))), "cut at {cut}");
        }
        assert!(matches!(decode(&[bytes, vec![0]].concat()), Err(Error::Format(_))));
        let huge_header = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
        assert!(matches!(decode(&huge_header), Err(Error::Format(_))));
        let name = |name: &str| name.to_owned();
        for (message, told) in [
            (changed(|arrays| drop(arrays.remove("fc.bias"))), "\"fc.bias\" is missing"),
            (
                changed(|arrays| {
                    drop(arrays.insert(name("fc2.bias"), Tensor::zeros([1], (Kind::Float, Device::Cpu))))
                }),
                "\"fc2.bias\" is not one of",
            ),
            (
                changed(|arrays| {
                    drop(arrays.insert(name("fc.bias"), Tensor::zeros([1], (Kind::Float, Device::Cpu))))
                }),
                "has shape [1], not [10]",
            ),
            (
                changed(|arrays| {
                    drop(arrays.insert(name("fc.bias"), Tensor::zeros([10], (Kind::Double, Device::Cpu))))
                }),
                "\"fc.bias\" as F64, not F32",
            ),
            (
                changed(|arrays| {
                    let nan = Tensor::full([10], f64::NAN, (Kind::Float, Device::Cpu));
                    drop(arrays.insert(name("fc.bias"), nan))
                }),
                "\"fc.bias\" in the weights file holds a value that is no finite number",
            ),
        ] {
            assert!(message.contains(told), "{message}");
        }
    }

    #[test]
    fn a_digest_is_sha256() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
