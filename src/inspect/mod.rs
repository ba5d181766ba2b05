//! Inspection of a network, layer by layer: shapes, parameters, outputs, dead channels; what a
//! prediction rests on (`attribution`), what is wrong (`health`), how two networks differ
//! (`difference`), and drawings of all that (`drawing`). Does not use any request.

mod attribution;
mod contents;
mod difference;
mod drawing;
mod error;
mod health;
mod layers;
mod options;
mod report;
mod statistics;
mod tensors;
mod values;

pub use attribution::{
    Gradients, LayerGradient, Occlusion, OcclusionConfig, ParameterGradient, Saliency, gradients, occlusion,
    saliency,
};
pub use contents::batch_numbers;
pub use difference::{Difference, OutputDistance, ParameterDistance, compare};
pub use drawing::{Drawing, DrawingInputs, DrawingKind, draw};
pub use error::Error;
pub use health::{Finding, FindingKind, Health, InitialWeights, LayerHealth, Measurement, examine};
pub use layers::{inspect, inspect_batch};
pub use options::{Channels, Contents, Options};
pub use report::{ChannelReport, LayerReport, OutputReport, ParameterReport, Report, Sample};
pub use statistics::{DistributionDetails, Histogram, Statistics};
pub use values::{ParameterValues, parameter_values};
