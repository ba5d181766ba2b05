//! What is told of a run that is not well. The rules that raise it stand beside this file.

use serde::{Deserialize, Serialize};

/// Which rule found something.
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

/// Something that a rule found: where, the numbers that it was found by, and what to do.
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

/// What a warning is about; all empty for the run as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    #[serde(default)]
    pub layer: Option<String>,
    #[serde(default)]
    pub parameter: Option<String>,
    /// Of the layer, counted from 0.
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

/// What a rule finds, wherever it is found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub rule: Rule,
    pub subject: Subject,
    pub measurements: Vec<Measurement>,
    pub advice: &'static str,
}

/// Where in a run something is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
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

impl Finding {
    pub fn at(self, place: Place) -> Warning {
        Warning {
            rule: self.rule,
            epoch: place.epoch,
            batch: place.batch,
            step: place.step,
            subject: self.subject,
            measurements: self.measurements,
            advice: self.advice.to_owned(),
        }
    }
}
