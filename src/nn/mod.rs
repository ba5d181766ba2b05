//! Networks: as data (`config`), as shapes (`shape`, `shape_inference`), and built from tensors (`network`). The room does not use any
//! loss, optimiser or file.

mod batch_norm;
mod config;
mod dropout;
mod error;
#[cfg(target_arch = "x86_64")]
mod fused;
#[cfg(not(target_arch = "x86_64"))]
#[path = "fused/portable.rs"]
mod fused;
mod mode;
mod network;
mod parameters;
mod precision;
mod preset;
mod shape;
mod shape_inference;
mod tensor_data;

pub use config::{
    BatchNormConfig, ConvConfig, DropoutConfig, DropoutMode, LayerConfig, LayerKind, LinearConfig,
    NetworkConfig, PoolConfig,
};
pub use dropout::StepSeed;
pub use error::Error;
pub use mode::Mode;
pub use network::{Network, Predictor};
pub use parameters::ParameterSet;
pub use precision::Precision;
pub use shape::{LayerShape, ParameterShape, Shape};
