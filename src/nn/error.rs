//! Why a network cannot be built or loaded.

use super::{NetworkConfig, Shape};

/// Why a network cannot be built or loaded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no preset {0:?}: use \"tutorial\" or \"deep\", or list the layers")]
    UnknownPreset(String),
    #[error("a network has 1 to {max} layers, not {given}", max = NetworkConfig::MAX_LAYERS)]
    LayerCount { given: usize },
    /// No input could satisfy the layer, or this input does not; `layer` counts from 0.
    #[error("layer {name:?}: {message}")]
    Layer { layer: usize, name: String, message: String },
    #[error(
        "layer {last:?} ends the network with {found}, but the data set has {classes} classes: end with a linear layer of out_features {classes}"
    )]
    Output { last: String, found: Shape, classes: usize },
    #[error("the network would have {given} parameters; the limit is {max}", max = NetworkConfig::MAX_PARAMETERS)]
    TooLarge { given: u64 },
    /// The weights do not belong to this network.
    #[error("parameter {name:?} {message}")]
    Parameter { name: String, message: String },
}

impl Error {
    pub(super) fn foreign(name: &str) -> Self {
        Self::Parameter { name: name.to_owned(), message: "is not one of the network's".to_owned() }
    }
}
