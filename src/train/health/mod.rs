//! How a run is: rules that warn of what goes wrong, and what they judge by. Measured at reports and
//! validations alone; changes nothing of the training.
//!
//! A rule is a pure function from figures to a finding (`gradients`, `curves`, `answers`, with their
//! thresholds and where these come from); `look` and `silent` measure, `memory` remembers between
//! two steps and tells everything once, `hooks` is where a run asks.

mod answers;
mod curves;
mod gradients;
mod hooks;
mod look;
mod memory;
mod silent;
mod warning;

pub(super) use look::Look;
pub(super) use memory::{Answers, Memory};
pub use warning::{Measurement, Rule, Subject, Warning};

use answers::SilentLayer;
use curves::EpochFigures;
use gradients::{StepFigures, WeightNorms};
use silent::Silent;
use warning::{Finding, Place};

#[cfg(test)]
mod tests;
