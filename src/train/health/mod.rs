//! How a run is: rules that warn of what goes wrong, and what they judge by. Measured at reports and
//! validations alone; changes nothing of the training.
//!
//! A rule is a pure function from figures to a finding (`gradients`, `curves`, `answers`, with their
//! thresholds and where these come from); `step_norms` and `dead_channels` measure, `monitor` keeps state between
//! two steps and tells everything once, `hooks` is where a run asks.

mod answers;
mod curves;
mod dead_channels;
mod gradients;
mod hooks;
mod monitor;
mod step_norms;
mod warning;

pub(super) use monitor::{MonitorState, ValidationAnswers};
pub(super) use step_norms::StepNorms;
pub use warning::{Measurement, Rule, Subject, Warning};

use answers::DeadChannels;
use curves::EpochFigures;
use dead_channels::DeadChannelTracker;
use gradients::{StepFigures, WeightNorms};
use warning::{Finding, Place};

#[cfg(test)]
mod tests;
