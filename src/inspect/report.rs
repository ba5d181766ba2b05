//! What an inspection shows. Values are row by row; shapes have N first where there is a batch.

use crate::nn::{LayerKind, ParameterShape};

/// A network, layer by layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// [N,1,H,W]
    pub input_shape: Vec<i64>,
    pub layers: Vec<LayerReport>,
    pub total_parameters: i64,
    /// For the whole batch.
    pub total_multiply_adds: i64,
    /// The softmax of the last output for the picture; empty without contents.
    pub probabilities: Vec<f64>,
    /// Images that the share of zeros was counted over; none without contents.
    pub sample_images: Option<usize>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerReport {
    pub name: String,
    pub kind: LayerKind,
    /// `outputs1`, `outputs2`, … as the tutorial counts them, flatten not counted.
    pub tutorial_name: Option<String>,
    pub input_shape: Vec<i64>,
    pub output_shape: Vec<i64>,
    pub parameters: Vec<ParameterReport>,
    /// For the whole batch.
    pub multiply_adds: i64,
    /// With contents only.
    pub output: Option<OutputReport>,
}

/// One trained array.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterReport {
    pub shape: ParameterShape,
    /// With contents only.
    pub statistics: Option<Statistics>,
}

/// Of a set of numbers; `std` is the population's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    pub mean: f64,
    pub std: f64,
    pub min: f64,
    pub max: f64,
    /// Share of values that are exactly 0.
    pub zero_fraction: f64,
}

/// What came out of a layer for the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputReport {
    pub statistics: Statistics,
    pub channels: Vec<ChannelReport>,
    pub sample: Option<Sample>,
}

/// What came out of a layer over many pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// For every channel.
    pub zero_fractions: Vec<f64>,
    /// Channels that are zero everywhere.
    pub dead_channels: Vec<i64>,
}

/// One channel of an output, and the weights that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelReport {
    pub channel: i64,
    /// [H,W], or [1] for a vector.
    pub output_shape: Vec<i64>,
    pub output: Vec<f64>,
    /// [in, kernel, kernel] or [in]; empty where the layer has no weights.
    pub kernel_shape: Vec<i64>,
    pub kernel: Vec<f64>,
    pub bias: Option<f64>,
}
