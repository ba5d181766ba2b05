//! The names of single measures: `accuracy`, `macro_f1`, `recall[7]`.

use std::{fmt, str::FromStr};

/// The largest k for which top-k accuracy is computed.
pub const MAX_TOP: usize = 5;

/// A measure that each class has, and that is averaged over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassMetric {
    Precision,
    Recall,
    F1,
    RocAuc,
    AveragePrecision,
}

/// The classes that a measure is about: one of them, or a mean over all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassScope {
    Macro,
    Weighted,
    Class(usize),
}

/// The name of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricName {
    Accuracy,
    /// The lower end of the accuracy's 95 % interval.
    AccuracyLow,
    Loss,
    CalibrationError,
    /// Top-k accuracy.
    Top(usize),
    ClassMetric(ClassMetric, ClassScope),
}

/// Why a text is no requirement; the message says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no requirement: write for instance accuracy>=0.99, with >=, >, <= or <")]
    Form(String),
    #[error("{0:?} is no figure: use {FIGURES}")]
    MetricName(String),
    #[error("{0:?} is no number to compare with: write for instance accuracy>=0.99")]
    Threshold(String),
    #[error("{threshold} is out of range: {figure} lies between 0 and 1, so that 99 % is 0.99")]
    Share { figure: String, threshold: String },
}

/// All names, for messages.
const FIGURES: &str = "accuracy, accuracy_low, loss, expected_calibration_error, top_1_accuracy to \
    top_5_accuracy, or precision, recall, f1, roc_auc and average_precision as macro_recall, \
    weighted_recall or recall[7]";

/// Longest part of a text that a message repeats, in characters.
const MAX_ECHOED: usize = 64;

const SCORES: [(&str, ClassMetric); 5] = [
    ("precision", ClassMetric::Precision),
    ("recall", ClassMetric::Recall),
    ("f1", ClassMetric::F1),
    ("roc_auc", ClassMetric::RocAuc),
    ("average_precision", ClassMetric::AveragePrecision),
];

impl FromStr for MetricName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::MetricName(echo(text));
        match text {
            "accuracy" => return Ok(Self::Accuracy),
            "accuracy_low" => return Ok(Self::AccuracyLow),
            "loss" => return Ok(Self::Loss),
            "expected_calibration_error" => return Ok(Self::CalibrationError),
            _ => {}
        }
        if let Some(k) = text.strip_prefix("top_").and_then(|rest| rest.strip_suffix("_accuracy")) {
            let k = k.parse().ok().filter(|k| (1..=MAX_TOP).contains(k)).ok_or_else(unknown)?;
            return Ok(Self::Top(k));
        }
        let (name, of) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((name, class)) => (name, ClassScope::Class(class.parse().map_err(|_| unknown())?)),
            None => match text.split_once('_') {
                Some(("macro", name)) => (name, ClassScope::Macro),
                Some(("weighted", name)) => (name, ClassScope::Weighted),
                _ => return Err(unknown()),
            },
        };
        let score = SCORES.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?.1;
        Ok(Self::ClassMetric(score, of))
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accuracy => f.write_str("accuracy"),
            Self::AccuracyLow => f.write_str("accuracy_low"),
            Self::Loss => f.write_str("loss"),
            Self::CalibrationError => f.write_str("expected_calibration_error"),
            Self::Top(k) => write!(f, "top_{k}_accuracy"),
            Self::ClassMetric(score, of) => {
                let (name, _) = SCORES.iter().find(|(_, it)| it == score).expect("every score has its name");
                match of {
                    ClassScope::Macro => write!(f, "macro_{name}"),
                    ClassScope::Weighted => write!(f, "weighted_{name}"),
                    ClassScope::Class(class) => write!(f, "{name}[{class}]"),
                }
            }
        }
    }
}

/// The beginning of a text, for a message.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHOED).collect()
}
