//! The health of a run: rules that warn of what goes wrong, and the measurements they judge by.
//! Measured at reports and validations only; the training itself is unchanged.
//!
//! A rule is a pure function from measurements to a violation (`gradients`, `curves`, `validation`,
//! with their thresholds and where these come from). `step_norms` and `dead_channels` measure,
//! `monitor` keeps the state between two steps and reports everything once, and `hooks` is called by
//! the loop.

mod curves;
mod dead_channels;
mod gradients;
mod hooks;
mod monitor;
mod step_norms;
mod validation;
mod warning;

pub(super) use monitor::{MonitorState, ValidationResult};
pub(super) use step_norms::StepNorms;
pub use warning::{Measurement, Rule, Subject, Warning};

#[cfg(test)]
mod tests;
