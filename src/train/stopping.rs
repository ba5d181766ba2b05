//! The choice of the best epoch by a validation metric, and early stopping. Test images have no part
//! in it.

use serde::{Deserialize, Serialize};

use super::LossAndAccuracy;

/// The metric that the best epoch is chosen by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    #[default]
    ValidationLoss,
    ValidationAccuracy,
}

/// The rule that ends a run whose metric has stopped improving.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    pub metric: Metric,
    /// Validations in a row without an improvement that end the run.
    pub patience_evaluations: u32,
    /// An improvement is better than the best so far by more than this.
    pub min_delta: f64,
}

/// The state of early stopping: the best score, and the validations since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct EarlyStoppingState {
    best: Option<f64>,
    waited: u32,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { metric: Metric::default(), patience_evaluations: 3, min_delta: 0.0 }
    }
}

impl Metric {
    /// Whether `now` beats `best`; of equals the other measure decides.
    pub fn is_better(self, now: LossAndAccuracy, best: LossAndAccuracy) -> bool {
        let (accuracy, loss) = (now.accuracy > best.accuracy, now.loss < best.loss);
        match self {
            Self::ValidationLoss => loss || (now.loss == best.loss && accuracy),
            Self::ValidationAccuracy => accuracy || (now.accuracy == best.accuracy && loss),
        }
    }
}

impl EarlyStoppingState {
    /// Takes the next validation in.
    pub fn add(&mut self, rule: &EarlyStopping, now: LossAndAccuracy) {
        // Smaller is better of either.
        let score = match rule.metric {
            Metric::ValidationLoss => now.loss,
            Metric::ValidationAccuracy => -now.accuracy,
        };
        if self.best.is_none_or(|best| score < best - rule.min_delta) {
            *self = Self { best: Some(score), waited: 0 };
        } else {
            self.waited += 1;
        }
    }

    pub fn is_over(self, rule: &EarlyStopping) -> bool {
        self.waited >= rule.patience_evaluations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(loss: f64, accuracy: f64) -> LossAndAccuracy {
        LossAndAccuracy { loss, accuracy }
    }

    /// After how many validations the rule ends the run.
    fn ends_after(rule: EarlyStopping, measures: &[LossAndAccuracy]) -> Option<usize> {
        let mut stopping = EarlyStoppingState::default();
        let after = measures.iter().position(|now| {
            stopping.add(&rule, *now);
            stopping.is_over(&rule)
        });
        after.map(|index| index + 1)
    }

    #[test]
    fn patience_counts_validations_below_the_minimum_improvement() {
        let rule = EarlyStopping { patience_evaluations: 2, ..EarlyStopping::default() };
        let losses: Vec<_> = [1.0, 0.8, 0.9, 0.79, 0.8, 0.79].map(|loss| at(loss, 0.5)).into();
        assert_eq!(ends_after(rule, &losses), Some(6));
        assert_eq!(ends_after(EarlyStopping { min_delta: 0.05, ..rule }, &losses), Some(4));
        assert_eq!(ends_after(EarlyStopping { patience_evaluations: 3, ..rule }, &losses), None);
        let by_accuracy = EarlyStopping { metric: Metric::ValidationAccuracy, ..rule };
        assert_eq!(ends_after(by_accuracy, &losses), Some(3));
    }

    #[test]
    fn an_epoch_is_better_by_its_metric_and_in_a_tie_by_the_other() {
        let (low_loss, high_accuracy) = (at(0.1, 0.8), at(0.2, 0.9));
        assert!(Metric::ValidationLoss.is_better(low_loss, high_accuracy));
        assert!(Metric::ValidationAccuracy.is_better(high_accuracy, low_loss));
        assert!(Metric::ValidationLoss.is_better(at(0.1, 0.9), low_loss));
        assert!(Metric::ValidationAccuracy.is_better(at(0.1, 0.9), high_accuracy));
        assert!(!Metric::ValidationLoss.is_better(low_loss, low_loss));
    }
}
