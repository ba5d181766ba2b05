//! Weights for tests.

use tch::{Device, Kind};

use crate::{
    checkpoint,
    nn::{Network, NetworkConfig, Shape},
};

/// Weights of the tutorial's network that are all zero.
pub fn weights() -> Vec<u8> {
    let (config, shape) = (NetworkConfig::tutorial(), Shape::grey(28, 28));
    let network = Network::zeros(&config, shape, 10, Kind::Float, Device::Cpu)
        .expect("the tutorial's network fits its images");
    checkpoint::encode_network(&network)
}
