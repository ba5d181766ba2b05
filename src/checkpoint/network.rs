//! A network's weights ⇄ a safetensors file. Names, shapes and values are checked before a network is made.

use std::collections::HashMap;

use safetensors::Dtype;
use tch::{Device, Kind, Tensor};

use super::{Arrays, Error, arrays::dtype};
use crate::nn::{Network, NetworkConfig, Precision, Shape};

/// Encodes the network's parameters and running statistics by name, row by row, as a safetensors
/// file.
pub fn encode_network(network: &Network) -> Vec<u8> {
    let arrays = network.export().into_iter().collect();
    Arrays { arrays, metadata: HashMap::new() }.encode()
}

/// The network that a weights file must belong to.
#[derive(Debug, Clone, Copy)]
pub struct NetworkSpec<'a> {
    pub network: &'a NetworkConfig,
    /// The shape of one input image.
    pub input: Shape,
    pub classes: usize,
    /// The precision of the numbers in the file.
    pub precision: Precision,
}

/// Decodes a weights file into a network of the given `kind`. Errors when names, shapes or precision
/// are not as expected, or when a value is not finite.
pub fn decode_network(
    expected: NetworkSpec<'_>,
    bytes: &[u8],
    kind: Kind,
    device: Device,
) -> Result<Network, Error> {
    let mut network = Network::zeros(expected.network, expected.input, expected.classes, kind, device)?;
    let file = Arrays::decode(bytes)?;
    let expected_kind = expected.precision.kind();
    if let Some((name, array)) = file.arrays.iter().find(|(_, array)| array.kind() != expected_kind) {
        let (found, expected) = (dtype(array.kind()).0, spelt(dtype(expected_kind).0));
        return Err(Error::Kind { name: name.clone(), found, expected });
    }
    // The values are checked in the network's kind: a large float64 has no float32.
    if let Some((name, _)) = file.arrays.iter().find(|(_, array)| !is_finite(&array.to_kind(kind))) {
        return Err(Error::NotFinite { name: name.clone() });
    }
    network.load(&file.arrays)?;
    Ok(network)
}

fn is_finite(array: &Tensor) -> bool {
    array.isfinite().all().int64_value(&[]) == 1
}

fn spelt(dtype: Dtype) -> &'static str {
    if dtype == Dtype::F64 { "F64" } else { "F32" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
            NetworkSpec { network: &network, input: MNIST, classes: 10, precision: Precision::Float32 };
        decode_network(expected, bytes, Kind::Float, Device::Cpu)
    }

    fn changed(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
        let mut file = Arrays::decode(&encode_network(&network())).unwrap();
        change(&mut file.arrays);
        decode(&file.encode()).unwrap_err().to_string()
    }

    #[test]
    fn weights_survive_a_round_trip_to_the_bit_and_give_the_same_bytes() {
        let bytes = encode_network(&network());
        let back = decode(&bytes).unwrap();
        assert_eq!(back.parameters().flat(), network().parameters().flat());
        assert_eq!(encode_network(&back), bytes);
    }

    #[test]
    fn every_kind_of_broken_file_is_distinguished() {
        let bytes = encode_network(&network());
        for cut in [0, 7, 100, bytes.len() - 1] {
            assert!(matches!(decode(&bytes[..cut]), Err(Error::Format(_))), "cut at {cut}");
        }
        assert!(matches!(decode(&[bytes, vec![0]].concat()), Err(Error::Format(_))));
        let huge_header = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
        assert!(matches!(decode(&huge_header), Err(Error::Format(_))));
        let name = |name: &str| name.to_owned();
        for (message, expected) in [
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
            assert!(message.contains(expected), "{message}");
        }
    }
}
