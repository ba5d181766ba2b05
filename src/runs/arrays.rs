//! The weights of a network as plain numbers.

use tch::Kind;

use super::observer::Array;
use crate::nn::Network;

/// Copies of all parameters, row by row, as float32 whatever the network computes in.
pub fn arrays(network: &Network) -> Vec<Array> {
    let plain = |(name, tensor): (String, tch::Tensor)| Array {
        name,
        shape: tensor.size().into_iter().map(|length| length as usize).collect(),
        values: Vec::try_from(tensor.to_kind(Kind::Float).view(-1)).expect("a row of numbers"),
    };
    network.parameters().export().into_iter().map(plain).collect()
}
