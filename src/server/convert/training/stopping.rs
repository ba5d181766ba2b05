//! The early stopping of a request ⇄ that of a run.

use crate::{
    ids::FieldError,
    pb::digitd::v1,
    server::convert::shared::{
        enums::ContractEnum,
        field::{count, int},
    },
    train::{EarlyStopping, Metric, TrainConfig},
};

/// Early stopping with its defaults filled in.
pub fn early_stopping(given: v1::EarlyStopping) -> Result<EarlyStopping, FieldError> {
    let default = EarlyStopping::default();
    Ok(EarlyStopping {
        metric: Metric::parse("early_stopping.metric", given.metric)?,
        patience_evaluations: count(
            "early_stopping.patience_evaluations",
            given.patience_evaluations,
            1..=TrainConfig::MAX_EPOCHS,
            default.patience_evaluations,
        )?,
        min_delta: given.min_delta.unwrap_or(default.min_delta),
    })
}

/// Early stopping with all its settings.
pub fn from_early_stopping(rule: EarlyStopping) -> v1::EarlyStopping {
    v1::EarlyStopping {
        metric: rule.metric.to_wire(),
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
