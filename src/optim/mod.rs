//! Turning gradients into new weights: the four optimisers, learning-rate schedules, clipping and
//! regularisation as tensor operations over one flat buffer, with Paddle's formulas. Knows no network beyond the names of its parameters.

mod average;
mod clip;
mod config;
mod decay;
mod optimizer;
mod schedule;

pub use average::WeightAveraging;
pub use clip::clip_gradient_norm;
pub use config::{Decay, OptimizerConfig, Regularization};
pub use optimizer::Optimizer;
pub use schedule::{Progress, Schedule, Shape as ScheduleShape};
