//! Rules over the curves of loss and accuracy, epoch by epoch: overfitting, underfitting, plateau.
//! They are pure functions over what `monitor` keeps.

use serde::{Deserialize, Serialize};

use super::{
    gradients::JUDGED_RATE_SHARE,
    warning::{Measurement, Rule, RuleViolation, Subject},
};
use crate::train::LossAndAccuracy;

/// The measurements of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct EpochStats {
    pub epoch: u32,
    pub train: LossAndAccuracy,
    /// None in an epoch without validation.
    pub validation: Option<LossAndAccuracy>,
    /// The learning rate as a share of the highest that the run has had.
    #[serde(with = "crate::train::finite")]
    pub rate_share: f64,
}

/// The best validation so far, and what came after it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct BestValidation {
    #[serde(with = "crate::train::finite")]
    pub loss: f64,
    /// The training loss of the same epoch.
    #[serde(with = "crate::train::finite")]
    pub train_loss: f64,
    /// Validations in a row, up to now, that were far above it while the training loss was below.
    pub apart: u32,
}

/// The validation loss is far above its best from here on: Prechelt's generalisation loss of 25 %
/// (1998, "Early stopping - but when?"), as a ratio.
pub(super) const OVERFITTING_RATIO: f64 = 1.25;

/// So many validations in a row: one alone may be a coincidence.
pub(super) const OVERFITTING_VALIDATIONS: u32 = 2;

/// Beyond this validation accuracy the loss is small, and its ratios are chance.
pub(super) const SOLVED_ACCURACY: f64 = 0.995;

/// A training accuracy below this, and a validation accuracy that is no better, indicate a network
/// that cannot (Goodfellow, Bengio, Courville 2016, "Deep Learning", 5.2); digits are read to 92 %
/// by a linear network.
pub(super) const UNDERFITTING_ACCURACY: f64 = 0.8;

/// A validation accuracy this far below the training accuracy is not underfitting.
pub(super) const UNDERFITTING_GAP: f64 = 0.05;

/// Epochs before which a network is not called underfitted, unless the run has no more.
pub(super) const UNDERFITTING_EPOCHS: u32 = 3;

/// Epochs within which the training loss has to improve by this share of its best (as
/// `patience` and `threshold` of PyTorch's `ReduceLROnPlateau`).
pub(super) const PLATEAU_EPOCHS: usize = 3;
pub(super) const PLATEAU_IMPROVEMENT: f64 = 0.01;

/// A training accuracy that needs no further improvement.
pub(super) const PLATEAU_ACCURACY: f64 = 0.99;

/// Whether validation and training have come apart.
pub(super) fn is_apart(best: &BestValidation, now: &EpochStats) -> bool {
    now.validation.is_some_and(|validation| {
        validation.loss > best.loss * OVERFITTING_RATIO
            && validation.accuracy < SOLVED_ACCURACY
            && now.train.loss < best.train_loss
    })
}

pub(super) fn overfitting(best: &BestValidation, now: &EpochStats) -> Option<RuleViolation> {
    let validation = now.validation?;
    (best.apart >= OVERFITTING_VALIDATIONS).then(|| RuleViolation {
        rule: Rule::Overfitting,
        subject: Subject::default(),
        measurements: vec![
            Measurement::beyond("validation_loss", validation.loss, best.loss * OVERFITTING_RATIO),
            Measurement::new("best_validation_loss", best.loss),
            Measurement::beyond("train_loss", now.train.loss, best.train_loss),
        ],
        advice: "The validation loss rises while the training loss falls: train for fewer epochs, use more images or \
                 augmentation, or regularise with l2 or dropout.",
    })
}

/// `last`: whether the run ends with this epoch.
pub(super) fn underfitting(now: &EpochStats, last: bool) -> Option<RuleViolation> {
    let least = match now.validation {
        // The training accuracy of a first epoch counts its beginnings.
        None if now.epoch == 1 => return None,
        _ if last => 1,
        _ => UNDERFITTING_EPOCHS,
    };
    let no_better = now.validation.is_none_or(|validation| {
        validation.accuracy < UNDERFITTING_ACCURACY
            && validation.accuracy >= now.train.accuracy - UNDERFITTING_GAP
    });
    let found = now.epoch >= least && now.train.accuracy < UNDERFITTING_ACCURACY && no_better;
    found.then(|| {
        let mut measurements =
            vec![Measurement::beyond("train_accuracy", now.train.accuracy, UNDERFITTING_ACCURACY)];
        let validation = now.validation.map(|it| it.accuracy);
        measurements.extend(
            validation.map(|accuracy| Measurement::beyond("validation_accuracy", accuracy, UNDERFITTING_ACCURACY)),
        );
        RuleViolation {
            rule: Rule::Underfitting,
            subject: Subject::default(),
            measurements,
            advice: "The network does not even fit the training images: train longer, raise the learning rate if the \
                     steps are small (lower it if the loss jumps), regularise less, or use a larger network.",
        }
    })
}

/// `before`: the smallest training loss before the `recent` epochs.
pub(super) fn plateau(before: f64, recent: &[EpochStats]) -> Option<RuleViolation> {
    let now = recent.last().filter(|_| recent.len() == PLATEAU_EPOCHS)?;
    let best = recent.iter().map(|epoch| epoch.train.loss).fold(f64::INFINITY, f64::min);
    let needed = before * (1.0 - PLATEAU_IMPROVEMENT);
    let judged = recent.iter().all(|epoch| epoch.rate_share >= JUDGED_RATE_SHARE);
    (judged && best > needed && now.train.accuracy < PLATEAU_ACCURACY).then(|| RuleViolation {
        rule: Rule::Plateau,
        subject: Subject::default(),
        measurements: vec![
            Measurement::beyond("train_loss", best, needed),
            Measurement::new("best_train_loss_before", before),
            Measurement::beyond("train_accuracy", now.train.accuracy, PLATEAU_ACCURACY),
        ],
        advice: "The training loss has stopped falling: lower the learning rate or let a schedule do it, or raise it \
                 if it is very small; if it is neither, the network may be too small.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: u32, train: (f64, f64), validation: Option<(f64, f64)>) -> EpochStats {
        let measured = |(loss, accuracy)| LossAndAccuracy { loss, accuracy };
        EpochStats { epoch, train: measured(train), validation: validation.map(measured), rate_share: 1.0 }
    }

    #[test]
    fn overfitting_takes_a_risen_validation_loss_and_a_fallen_training_loss_twice() {
        let best = |apart| BestValidation { loss: 0.4, train_loss: 0.3, apart };
        let now = |train, validation| epoch(9, (train, 0.95), Some((validation, 0.9)));
        assert!(is_apart(&best(0), &now(0.2, 0.51)));
        assert!(!is_apart(&best(0), &now(0.2, 0.5)));
        assert!(!is_apart(&best(0), &now(0.3, 0.51)), "the training loss did not fall");
        assert!(!is_apart(&best(0), &epoch(9, (0.2, 1.0), Some((0.51, 0.995)))), "solved");
        assert!(!is_apart(&best(0), &epoch(9, (0.2, 1.0), None)));
        assert_eq!(overfitting(&best(1), &now(0.2, 0.6)), None);
        let found = overfitting(&best(2), &now(0.2, 0.6)).unwrap();
        assert_eq!(found.measurements[0], Measurement::beyond("validation_loss", 0.6, 0.5));
    }

    #[test]
    fn underfitting_is_low_on_training_and_validation_images_alike() {
        let low = |number, validation| epoch(number, (1.0, 0.6), validation);
        assert!(underfitting(&low(3, Some((1.0, 0.6))), false).is_some());
        assert_eq!(underfitting(&low(2, Some((1.0, 0.6))), false), None, "too early");
        assert!(underfitting(&low(1, Some((1.0, 0.6))), true).is_some());
        assert_eq!(underfitting(&low(1, None), true), None, "its beginnings count");
        assert!(underfitting(&low(2, None), true).is_some());
        assert_eq!(underfitting(&low(3, Some((1.0, 0.8))), false), None, "validation is better");
        assert_eq!(underfitting(&low(3, Some((1.0, 0.54))), false), None, "a gap is overfitting");
        assert_eq!(underfitting(&epoch(3, (1.0, 0.8), None), false), None);
    }

    #[test]
    fn a_plateau_is_three_epochs_without_a_hundredth_of_improvement() {
        let recent = |losses: [f64; 3]| losses.map(|loss| epoch(4, (loss, 0.5), None));
        assert!(plateau(1.0, &recent([1.0, 0.995, 0.992])).is_some());
        assert_eq!(plateau(1.0, &recent([1.0, 0.98, 1.1])), None);
        assert_eq!(plateau(1.0, &recent([1.0; 3])[1..]), None);
        let learned = [epoch(4, (1.0, 0.99), None); 3];
        assert_eq!(plateau(1.0, &learned), None);
        let annealed = recent([1.0; 3]).map(|it| EpochStats { rate_share: 0.01, ..it });
        assert_eq!(plateau(1.0, &annealed), None);
    }
}
