//! The warnings of a run. The rules that raise them are in the other files of this folder.

use serde::{Deserialize, Serialize};

/// The rule that raised a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    DeadChannels,
    ExplodingGradients,
    VanishingGradients,
    UpdateRatio,
    Overfitting,
    Underfitting,
    Plateau,
    ClassNeverPredicted,
}

/// A warning: where it was raised, the measurements it is based on, and advice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    pub rule: Rule,
    /// Counted from 1, as is `batch` (in its epoch); no batch where a whole epoch was judged.
    pub epoch: u32,
    pub batch: Option<u32>,
    /// Batches of the run by then.
    pub step: u32,
    #[serde(flatten)]
    pub subject: Subject,
    pub measurements: Vec<Measurement>,
    pub advice: String,
}

/// The subject of a warning; all empty for the run as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    #[serde(default)]
    pub layer: Option<String>,
    #[serde(default)]
    pub parameter: Option<String>,
    /// The channels of the layer, counted from 0.
    #[serde(default)]
    pub channels: Vec<u32>,
    #[serde(default)]
    pub classes: Vec<u32>,
}

/// A measured number, and the threshold that it is beyond where it has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub name: String,
    #[serde(with = "crate::train::finite")]
    pub value: f64,
    #[serde(default, with = "crate::train::finite::optional")]
    pub threshold: Option<f64>,
}

/// A violation of a rule, wherever in the run it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RuleViolation {
    pub rule: Rule,
    pub subject: Subject,
    pub measurements: Vec<Measurement>,
    pub advice: &'static str,
}

/// The position in a run at which a rule is violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunPosition {
    pub epoch: u32,
    pub batch: Option<u32>,
    pub step: u32,
}

impl Measurement {
    pub(super) fn new(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, threshold: None }
    }

    pub(super) fn beyond(name: &str, value: f64, threshold: f64) -> Self {
        Self { name: name.to_owned(), value, threshold: Some(threshold) }
    }
}

impl RuleViolation {
    pub fn at(self, position: RunPosition) -> Warning {
        Warning {
            rule: self.rule,
            epoch: position.epoch,
            batch: position.batch,
            step: position.step,
            subject: self.subject,
            measurements: self.measurements,
            advice: self.advice.to_owned(),
        }
    }
}
