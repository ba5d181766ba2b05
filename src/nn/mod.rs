//! Networks: as data (`config`), as shapes (`shape`), and built from tensors (`network`).
//! Knows no loss, no optimiser and no file.

mod batch_norm;
mod config;
mod dropout;
#[cfg(target_arch = "x86_64")]
mod fused;
#[cfg(not(target_arch = "x86_64"))]
#[path = "fused/portable.rs"]
mod fused;
mod network;
mod parameters;
mod precision;
mod shape;
mod tensor_data;

pub use config::{
    BatchNormConfig, ConvConfig, DropoutConfig, DropoutMode, LayerConfig, LayerKind, LinearConfig,
    NetworkConfig, PoolConfig,
};
pub use dropout::StepSeed;
pub use network::{Mode, Network, Predictor};
pub use parameters::ParameterSet;
pub use precision::Precision;
pub use shape::{LayerShape, ParameterShape, Shape};

/// Why a network cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no preset {0:?}: use \"tutorial\" or \"deep\", or list the layers")]
    UnknownPreset(String),
    #[error("a network has 1 to {max} layers, not {given}", max = NetworkConfig::MAX_LAYERS)]
    LayerCount { given: usize },
    /// A layer that no input could satisfy, or that this input does not; `layer` counts from 0.
    #[error("layer {name:?}: {message}")]
    Layer { layer: usize, name: String, message: String },
    #[error(
        "layer {last:?} ends the network with {found}, but the data set has {classes} classes: end with a linear layer of out_features {classes}"
    )]
    Output { last: String, found: Shape, classes: usize },
    #[error("the network would have {given} parameters; the limit is {max}", max = NetworkConfig::MAX_PARAMETERS)]
    TooLarge { given: u64 },
    /// Weights that do not belong to this network.
    #[error("parameter {name:?} {message}")]
    Parameter { name: String, message: String },
}

impl Error {
    fn foreign(name: &str) -> Self {
        Self::Parameter { name: name.to_owned(), message: "is not one of the network's".to_owned() }
    }
}
