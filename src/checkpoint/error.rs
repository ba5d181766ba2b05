//! Why a file is not the arrays that it should be.

use safetensors::Dtype;

use crate::nn;

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
    #[error("its weights are {found}, not {expected}")]
    Precision { found: &'static str, expected: &'static str },
    /// The layers of the network do not fit its images or its classes.
    #[error("the layers do not fit the images: {0}")]
    Shapes(nn::Error),
}
