//! The way from gradients to new weights: the four optimisers, learning-rate schedules, clipping and
//! regularisation as tensor operations over one flat buffer, with Paddle's formulas. The room does not use any network
//! beyond the names of its parameters. The defaults of all of them stand here alone.

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
pub use schedule::{Schedule, SchedulePosition, ScheduleShape};
