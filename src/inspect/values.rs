//! A network's values exactly: the bytes of every parameter and running statistic, row by row.

use tch::{Device, Kind};

use crate::nn::Network;

/// The values of a parameter or running statistic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterValues {
    pub name: String,
    pub shape: Vec<i64>,
    /// Bytes of one value: 4 in float32, 8 in float64.
    pub width: usize,
    /// The values in little-endian byte order, row by row.
    pub bytes: Vec<u8>,
}

/// Returns the values of all parameters in the order of the layers, then those of the running
/// statistics.
pub fn parameter_values(network: &Network) -> Vec<ParameterValues> {
    let one = |(name, array): (String, tch::Tensor)| {
        let array = array.to_device(Device::Cpu).contiguous();
        let width = array.kind().elt_size_in_bytes();
        debug_assert!(matches!(array.kind(), Kind::Float | Kind::Double));
        let mut bytes = vec![0; array.numel() * width];
        // In the machine's order, which is little-endian wherever libtorch is built for.
        array.copy_data_u8(&mut bytes, array.numel());
        ParameterValues { name, shape: array.size(), width, bytes }
    };
    network.export().into_iter().map(one).collect()
}

impl ParameterValues {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{NetworkConfig, Shape};

    #[test]
    fn values_are_those_of_the_network_to_the_bit() {
        for kind in [Kind::Float, Kind::Double] {
            let mut network =
                Network::zeros(&NetworkConfig::deep(), Shape::grey(28, 28), 10, kind, Device::Cpu).unwrap();
            network.initialize(1);
            let stored = parameter_values(&network);
            let names: Vec<&str> = stored.iter().map(|it| it.name.as_str()).collect();
            assert_eq!((names[0], names[names.len() - 1]), ("conv1.weight", "bn5.running_var"));
            let conv2 = &stored[4];
            assert_eq!((conv2.name.as_str(), &conv2.shape[..]), ("conv2.weight", &[32, 32, 3, 3][..]));
            // Row by row, though the network keeps it in channels_last.
            let value = network.parameters().get("conv2.weight").unwrap().double_value(&[5, 7, 2, 1]);
            let at = ((5 * 32 + 7) * 3 + 2) * 3 + 1;
            let bytes = &conv2.bytes[at * conv2.width..(at + 1) * conv2.width];
            let read = match kind {
                Kind::Double => f64::from_le_bytes(bytes.try_into().unwrap()),
                _ => f32::from_le_bytes(bytes.try_into().unwrap()).into(),
            };
            assert_eq!(read.to_bits(), value.to_bits());
            assert_eq!(conv2.len(), 32 * 32 * 9);
        }
    }
}
