//! How the stored weights of a version become a network.

use tch::{Device, Kind};

use super::error::Error;
use crate::{
    checkpoint::{self, NetworkSpec},
    nn::{Network, Shape},
    registry::Manifest,
};

/// The network of a version in the precision of its weights.
pub fn decode_network(manifest: &Manifest, weights: &[u8], device: Device) -> Result<Network, Error> {
    decode_network_as(manifest.precision.kind(), manifest, weights, device)
}

/// The network of a version with parameters of this type. Errors when the bytes are not the weights of the
/// network that the manifest describes.
pub fn decode_network_as(
    kind: Kind,
    manifest: &Manifest,
    weights: &[u8],
    device: Device,
) -> Result<Network, Error> {
    let expected = NetworkSpec {
        network: &manifest.network,
        input: Shape::grey(manifest.height, manifest.width),
        classes: manifest.classes,
        precision: manifest.precision,
    };
    checkpoint::decode_network(expected, weights, kind, device).map_err(|error| {
        let (model, version) = (&manifest.model, manifest.version);
        Error::Corrupt { message: format!("version {version} of {model} cannot be loaded: {error}") }
    })
}
