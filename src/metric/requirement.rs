//! What a classifier must reach: `accuracy>=0.99` as people write it.

use std::{fmt, str::FromStr};

use super::{MAX_TOP, Measures, Of, Score};

/// One measured number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    Accuracy,
    /// The lower end of the accuracy's 95 % interval.
    AccuracyLow,
    Loss,
    CalibrationError,
    /// Top-k accuracy.
    Top(usize),
    Score(Score, Of),
}

/// How a figure must stand to its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// A figure, and the threshold that it must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requirement {
    pub figure: Figure,
    pub comparison: Comparison,
    /// Finite; of a share between 0 and 1.
    pub threshold: f64,
}

/// Why a text is no requirement; says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no requirement: write for instance accuracy>=0.99, with >=, >, <= or <")]
    Form(String),
    #[error("{0:?} is no figure: use {FIGURES}")]
    Figure(String),
    #[error("{0:?} is no number to compare with: write for instance accuracy>=0.99")]
    Threshold(String),
    #[error("{threshold} is out of range: {figure} lies between 0 and 1, so that 99 % is 0.99")]
    Share { figure: String, threshold: String },
}

/// All names, for people.
const FIGURES: &str = "accuracy, accuracy_low, loss, expected_calibration_error, top_1_accuracy to \
    top_5_accuracy, or precision, recall, f1, roc_auc and average_precision as macro_recall, \
    weighted_recall or recall[7]";

/// Longest part of a text that a message repeats, in characters.
const MOST_ECHOED: usize = 64;

const SCORES: [(&str, Score); 5] = [
    ("precision", Score::Precision),
    ("recall", Score::Recall),
    ("f1", Score::F1),
    ("roc_auc", Score::RocAuc),
    ("average_precision", Score::AveragePrecision),
];

/// The longer ones first, as they are looked for.
const COMPARISONS: [(&str, Comparison); 4] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

impl Requirement {
    /// Whether a figure keeps it. One that does not exist, or is NaN, does not.
    pub fn holds(&self, measured: Option<f64>) -> bool {
        measured.is_some_and(|value| match self.comparison {
            Comparison::AtLeast => value >= self.threshold,
            Comparison::Above => value > self.threshold,
            Comparison::AtMost => value <= self.threshold,
            Comparison::Below => value < self.threshold,
        })
    }

    /// The figure as it was measured, and whether it keeps the threshold.
    pub fn judge(&self, measures: &Measures) -> (Option<f64>, bool) {
        let measured = measures.figure(self.figure);
        (measured, self.holds(measured))
    }

    /// Whether a classifier of so many classes has the figure.
    pub fn fits(&self, classes: usize) -> bool {
        match self.figure {
            Figure::Score(_, Of::Class(class)) => class < classes,
            Figure::Top(k) => k <= classes,
            Figure::Accuracy
            | Figure::AccuracyLow
            | Figure::Loss
            | Figure::CalibrationError
            | Figure::Score(_, Of::Macro | Of::Weighted) => true,
        }
    }
}

impl FromStr for Requirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let at = text.find(['<', '>']).ok_or_else(|| Error::Form(echo(text)))?;
        let found = COMPARISONS.iter().find(|(sign, _)| text[at..].starts_with(sign));
        let (sign, comparison) = *found.expect("one of the two signs stands there");
        let figure: Figure = text[..at].trim().parse()?;
        let number = text[at + sign.len()..].trim();
        let threshold = number.parse::<f64>().ok().filter(|threshold| threshold.is_finite());
        let threshold = threshold.ok_or_else(|| Error::Threshold(echo(number)))?;
        if figure != Figure::Loss && !(0.0..=1.0).contains(&threshold) {
            return Err(Error::Share { figure: figure.to_string(), threshold: echo(number) });
        }
        Ok(Self { figure, comparison, threshold })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::AtLeast => ">=",
            Comparison::Above => ">",
            Comparison::AtMost => "<=",
            Comparison::Below => "<",
        };
        // As short as it can be told: a plain 1e-300 would be three hundred zeros.
        match self.threshold.abs() {
            0.0 | 1e-6..1e16 => write!(f, "{}{sign}{}", self.figure, self.threshold),
            _ => write!(f, "{}{sign}{:e}", self.figure, self.threshold),
        }
    }
}

impl FromStr for Figure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Figure(echo(text));
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
            Some((name, class)) => (name, Of::Class(class.parse().map_err(|_| unknown())?)),
            None => match text.split_once('_') {
                Some(("macro", name)) => (name, Of::Macro),
                Some(("weighted", name)) => (name, Of::Weighted),
                _ => return Err(unknown()),
            },
        };
        let score = SCORES.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?.1;
        Ok(Self::Score(score, of))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accuracy => f.write_str("accuracy"),
            Self::AccuracyLow => f.write_str("accuracy_low"),
            Self::Loss => f.write_str("loss"),
            Self::CalibrationError => f.write_str("expected_calibration_error"),
            Self::Top(k) => write!(f, "top_{k}_accuracy"),
            Self::Score(score, of) => {
                let (name, _) = SCORES.iter().find(|(_, it)| it == score).expect("every score has its name");
                match of {
                    Of::Macro => write!(f, "macro_{name}"),
                    Of::Weighted => write!(f, "weighted_{name}"),
                    Of::Class(class) => write!(f, "{name}[{class}]"),
                }
            }
        }
    }
}

fn echo(text: &str) -> String {
    text.chars().take(MOST_ECHOED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_reads_as_it_is_written() {
        for text in [
            "accuracy>=0.99",
            "accuracy_low>0.98",
            "loss<=2.5",
            "expected_calibration_error<0.05",
            "top_2_accuracy>=1",
            "macro_f1>=0.9",
            "weighted_average_precision>=0.9",
            "recall[7]>=0.97",
            "roc_auc[0]>0.5",
        ] {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
        let tiny = "loss<=1e-300".parse::<Requirement>().unwrap();
        assert_eq!(tiny.to_string(), "loss<=1e-300");
        let spaced = " accuracy >=  0.990 ".parse::<Requirement>().unwrap();
        assert_eq!(spaced.to_string(), "accuracy>=0.99");
    }

    #[test]
    fn what_is_no_requirement_is_told_what_would_be_one() {
        for (text, said) in [
            ("", "is no requirement"),
            ("accuracy", "is no requirement"),
            ("accuracy=0.99", "is no requirement"),
            ("acuracy>=0.99", "is no figure"),
            (">=0.99", "is no figure"),
            ("recall>=0.9", "is no figure"),
            ("recall[]>=0.9", "is no figure"),
            ("recall[-1]>=0.9", "is no figure"),
            ("top_0_accuracy>=0.9", "is no figure"),
            ("top_6_accuracy>=0.9", "is no figure"),
            ("micro_f1>=0.9", "is no figure"),
            ("accuracy>=", "is no number"),
            ("accuracy>=99%", "is no number"),
            ("accuracy>=NaN", "is no number"),
            ("loss<=inf", "is no number"),
            ("accuracy>==0.9", "is no number"),
            ("accuracy>=99", "is out of range"),
            ("macro_f1>=-0.1", "is out of range"),
        ] {
            let error = text.parse::<Requirement>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let long = "x".repeat(10_000).parse::<Requirement>().unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn the_border_belongs_to_what_names_it() {
        let holds = |text: &str| text.parse::<Requirement>().unwrap().holds(Some(0.5));
        assert_eq!(["loss>=0.5", "loss>0.5", "loss<=0.5", "loss<0.5"].map(holds), [true, false, true, false]);
    }

    #[test]
    fn what_was_not_measured_keeps_no_requirement() {
        for text in ["loss>=0", "loss<=1e9", "loss>0", "loss<9"] {
            let requirement: Requirement = text.parse().unwrap();
            assert!(!requirement.holds(None) && !requirement.holds(Some(f64::NAN)), "{text}");
        }
    }

    #[test]
    fn a_class_that_there_is_not_has_no_figure() {
        let fits = |text: &str, classes| text.parse::<Requirement>().unwrap().fits(classes);
        assert!(fits("recall[9]>=0.5", 10) && !fits("recall[10]>=0.5", 10));
        assert!(fits("top_2_accuracy>=0.5", 2) && !fits("top_3_accuracy>=0.5", 2));
    }
}
