//! Requirements on a classifier, written as `accuracy>=0.99`.

use std::{fmt, str::FromStr};

use super::{
    ClassScope, Measures, MetricName,
    metric_name::{Error, echo},
};

/// The comparison of a measure with its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparisonOp {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// A measure and the threshold that it must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requirement {
    pub figure: MetricName,
    pub comparison: ComparisonOp,
    /// The threshold: finite, and between 0 and 1 for a share.
    pub threshold: f64,
}

/// The longer signs come first, as the search takes the first that matches.
const COMPARISONS: [(&str, ComparisonOp); 4] = [
    (">=", ComparisonOp::AtLeast),
    ("<=", ComparisonOp::AtMost),
    (">", ComparisonOp::Above),
    ("<", ComparisonOp::Below),
];

impl Requirement {
    /// Whether a measured value keeps the requirement. One that does not exist, or is NaN, does not.
    pub fn holds(&self, measured: Option<f64>) -> bool {
        measured.is_some_and(|value| match self.comparison {
            ComparisonOp::AtLeast => value >= self.threshold,
            ComparisonOp::Above => value > self.threshold,
            ComparisonOp::AtMost => value <= self.threshold,
            ComparisonOp::Below => value < self.threshold,
        })
    }

    /// Returns the measured value, and whether it keeps the requirement.
    pub fn judge(&self, measures: &Measures) -> (Option<f64>, bool) {
        let measured = measures.value(self.figure);
        (measured, self.holds(measured))
    }

    /// Whether a classifier with this number of classes has the measure.
    pub fn fits(&self, classes: usize) -> bool {
        match self.figure {
            MetricName::ClassMetric(_, ClassScope::Class(class)) => class < classes,
            MetricName::Top(k) => k <= classes,
            MetricName::Accuracy
            | MetricName::AccuracyLow
            | MetricName::Loss
            | MetricName::CalibrationError
            | MetricName::ClassMetric(_, ClassScope::Macro | ClassScope::Weighted) => true,
        }
    }
}

impl FromStr for Requirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let at = text.find(['<', '>']).ok_or_else(|| Error::Form(echo(text)))?;
        let found = COMPARISONS.iter().find(|(sign, _)| text[at..].starts_with(sign));
        let (sign, comparison) = *found.expect("one of the two signs stands there");
        let figure: MetricName = text[..at].trim().parse()?;
        let number = text[at + sign.len()..].trim();
        let threshold = number.parse::<f64>().ok().filter(|threshold| threshold.is_finite());
        let threshold = threshold.ok_or_else(|| Error::Threshold(echo(number)))?;
        if figure != MetricName::Loss && !(0.0..=1.0).contains(&threshold) {
            return Err(Error::Share { figure: figure.to_string(), threshold: echo(number) });
        }
        Ok(Self { figure, comparison, threshold })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            ComparisonOp::AtLeast => ">=",
            ComparisonOp::Above => ">",
            ComparisonOp::AtMost => "<=",
            ComparisonOp::Below => "<",
        };
        // The shortest form: a plain 1e-300 would be three hundred zeros.
        match self.threshold.abs() {
            0.0 | 1e-6..1e16 => write!(f, "{}{sign}{}", self.figure, self.threshold),
            _ => write!(f, "{}{sign}{:e}", self.figure, self.threshold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_parses_from_its_printed_form() {
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
    fn an_invalid_requirement_is_rejected_with_the_expected_form() {
        for (text, expected) in [
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
            assert!(error.contains(expected), "{text}: {error}");
        }
        let long = "x".repeat(10_000).parse::<Requirement>().unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn a_bound_is_inclusive_where_its_operator_says_so() {
        let holds = |text: &str| text.parse::<Requirement>().unwrap().holds(Some(0.5));
        assert_eq!(["loss>=0.5", "loss>0.5", "loss<=0.5", "loss<0.5"].map(holds), [true, false, true, false]);
    }

    #[test]
    fn a_metric_that_was_not_measured_meets_no_requirement() {
        for text in ["loss>=0", "loss<=1e9", "loss>0", "loss<9"] {
            let requirement: Requirement = text.parse().unwrap();
            assert!(!requirement.holds(None) && !requirement.holds(Some(f64::NAN)), "{text}");
        }
    }

    #[test]
    fn an_unknown_class_has_no_metric() {
        let fits = |text: &str, classes| text.parse::<Requirement>().unwrap().fits(classes);
        assert!(fits("recall[9]>=0.5", 10) && !fits("recall[10]>=0.5", 10));
        assert!(fits("top_2_accuracy>=0.5", 2) && !fits("top_3_accuracy>=0.5", 2));
    }
}
