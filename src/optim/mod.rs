//! Turning gradients into new weights: the four optimisers, learning-rate schedules and regularisation, Paddle's formulas
//! as tensor operations over one flat buffer. Knows no network beyond the names of its parameters.

mod config;
mod decay;
mod optimizer;
mod schedule;

pub use config::{Decay, OptimizerConfig, Regularization};
pub use optimizer::Optimizer;
pub use schedule::{Progress, Schedule, Shape as ScheduleShape};
