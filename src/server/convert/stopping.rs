//! Early stopping of a request ⇄ that of a run.

use super::field::{Invalid, choice, count, int};
use crate::{
    pb::digitd::v1::{self, EarlyStoppingMetric},
    train::{EarlyStopping, Metric, TrainConfig},
};

/// A rule with its defaults filled in.
pub fn early_stopping(given: v1::EarlyStopping) -> Result<EarlyStopping, Invalid> {
    let default = EarlyStopping::default();
    Ok(EarlyStopping {
        metric: match choice("early_stopping.metric", given.metric)? {
            EarlyStoppingMetric::Unspecified | EarlyStoppingMetric::ValidationLoss => Metric::ValidationLoss,
            EarlyStoppingMetric::ValidationAccuracy => Metric::ValidationAccuracy,
        },
        patience_evaluations: count(
            "early_stopping.patience_evaluations",
            given.patience_evaluations,
            1..=TrainConfig::MAX_EPOCHS,
            default.patience_evaluations,
        )?,
        min_delta: given.min_delta.unwrap_or(default.min_delta),
    })
}

/// A rule with all its terms.
pub fn from_early_stopping(rule: EarlyStopping) -> v1::EarlyStopping {
    let metric = match rule.metric {
        Metric::ValidationLoss => EarlyStoppingMetric::ValidationLoss,
        Metric::ValidationAccuracy => EarlyStoppingMetric::ValidationAccuracy,
    };
    v1::EarlyStopping {
        metric: metric.into(),
        patience_evaluations: Some(int(rule.patience_evaluations)),
        min_delta: Some(rule.min_delta),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_rule_has_its_defaults_and_numbers_out_of_range_are_named() {
        assert_eq!(early_stopping(v1::EarlyStopping::default()), Ok(EarlyStopping::default()));
        let field = |given| early_stopping(given).unwrap_err().field;
        let none = v1::EarlyStopping { patience_evaluations: Some(0), ..Default::default() };
        assert_eq!(field(none), "early_stopping.patience_evaluations");
        let unknown = v1::EarlyStopping { metric: 9, ..Default::default() };
        assert_eq!(field(unknown), "early_stopping.metric");
    }
}
