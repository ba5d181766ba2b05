//! The result of an inspection. Values are row by row; shapes have N first where there is a batch.

use serde::{Deserialize, Serialize};

use super::Statistics;
use crate::nn::{LayerKind, ParameterShape};

/// A network, layer by layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The shape `[N,1,H,W]` of a batch.
    pub input_shape: Vec<i64>,
    pub layers: Vec<LayerReport>,
    pub total_parameters: i64,
    /// For the whole batch.
    pub total_multiply_adds: i64,
    /// The logits of the image; empty without contents.
    #[serde(with = "crate::metric::finite::list")]
    pub logits: Vec<f64>,
    /// Its softmax.
    #[serde(with = "crate::metric::finite::list")]
    pub probabilities: Vec<f64>,
    /// Images that the share of zeros was counted over; none without contents.
    pub sample_images: Option<usize>,
    /// Bytes of one number of the network.
    #[serde(default = "bytes_of_float32")]
    pub bytes_per_value: usize,
}

/// The bytes per value of a report that was stored before the field existed.
fn bytes_of_float32() -> usize {
    4
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    pub name: String,
    pub kind: LayerKind,
    /// `outputs1`, `outputs2`, … as the tutorial counts them, flatten not counted.
    pub tutorial_name: Option<String>,
    pub input_shape: Vec<i64>,
    pub output_shape: Vec<i64>,
    pub parameters: Vec<ParameterReport>,
    /// The running statistics of batch normalisation.
    #[serde(default)]
    pub running_statistics: Vec<ParameterReport>,
    /// For the whole batch.
    pub multiply_adds: i64,
    /// With contents only.
    pub output: Option<OutputReport>,
}

/// One trained array, or one running statistic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterReport {
    pub shape: ParameterShape,
    /// With contents only.
    pub statistics: Option<Statistics>,
}

/// The output of a layer for the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    pub statistics: Statistics,
    pub channels: Vec<ChannelReport>,
    pub sample: Option<Sample>,
}

/// The outputs of a layer over a sample of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// For every channel.
    #[serde(with = "crate::metric::finite::list")]
    pub zero_fractions: Vec<f64>,
    /// Channels that are zero everywhere.
    pub dead_channels: Vec<i64>,
}

/// One channel of an output, and the weights that made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelReport {
    pub channel: i64,
    /// `[H,W]`, or `[1]` for a vector.
    pub output_shape: Vec<i64>,
    #[serde(with = "crate::metric::finite::list")]
    pub output: Vec<f64>,
    /// `[in, kernel, kernel]`, `[in]`, or `[1]` where a channel has a single weight; empty where the layer
    /// has no weights.
    pub kernel_shape: Vec<i64>,
    #[serde(with = "crate::metric::finite::list")]
    pub kernel: Vec<f64>,
    #[serde(with = "crate::metric::finite::optional")]
    pub bias: Option<f64>,
    /// The statistics of `output`; none in a batch of a run.
    #[serde(skip)]
    pub statistics: Option<Statistics>,
}
