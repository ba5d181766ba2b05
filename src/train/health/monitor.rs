//! The state of the rules over a run: which warnings were raised, what held for several reports in a row,
//! and the curves so far. It takes a few kilobytes and is part of a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    curves::{self, BestValidation, EpochStats, PLATEAU_EPOCHS},
    gradients::{self, StepStats},
    validation::{self, DeadChannels},
    warning::{Rule, RuleViolation, RunPosition, Warning},
};
use crate::metric::ConfusionMatrix;

/// Reports in a row for which a weight's gradient or step has to be out of range.
const REPORTS_IN_A_ROW: u32 = 3;

/// Steps at the start whose length is not judged: an optimiser's means are not in position yet.
const FIRST_STEPS: u32 = 10;

/// Raises each warning once: of a run one each of exploding gradients, overfitting, underfitting and
/// plateau; of a weight one each of vanishing gradients and update ratio; of a class one; of a ReLU
/// one for its first dead channels and one when all are dead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::train) struct MonitorState {
    #[serde(rename = "told")]
    raised: BTreeSet<(Rule, String)>,
    /// The number of reports in a row, by weight.
    vanishing: BTreeMap<String, u32>,
    out_of_range: BTreeMap<String, u32>,
    #[serde(with = "crate::train::finite")]
    highest_rate: f64,
    /// The newest epochs, as many as a plateau takes.
    recent: Vec<EpochStats>,
    /// The smallest training loss before them.
    #[serde(with = "crate::train::finite::optional")]
    best_train_loss: Option<f64>,
    best_validation: Option<BestValidation>,
}

/// The confusion matrix and the dead channels of a validation pass.
#[derive(Debug)]
pub(in crate::train) struct ValidationResult {
    pub confusion: ConfusionMatrix,
    pub dead: Vec<DeadChannels>,
}

impl MonitorState {
    /// This learning rate as a share of the highest that the run has had.
    pub(super) fn rate_share(&mut self, rate: f64) -> f64 {
        self.highest_rate = self.highest_rate.max(rate);
        rate / self.highest_rate
    }

    /// After a step that was reported.
    pub(super) fn step(&mut self, position: RunPosition, step: &StepStats) -> Vec<Warning> {
        let mut found: Vec<RuleViolation> = gradients::exploding(step).into_iter().collect();
        for weight in &step.weights {
            let vanishing = gradients::vanishing(weight, step.accuracy);
            found.extend(in_a_row(&mut self.vanishing, &weight.name, vanishing));
            if position.step > FIRST_STEPS {
                let ratio = gradients::update_ratio(weight, step.rate_share);
                found.extend(in_a_row(&mut self.out_of_range, &weight.name, ratio));
            }
        }
        self.new_warnings(found, position)
    }

    /// After an epoch; `last` where the run has no more.
    pub(super) fn epoch(
        &mut self,
        position: RunPosition,
        now: EpochStats,
        result: Option<&ValidationResult>,
        last: bool,
    ) -> Vec<Warning> {
        self.remember(now);
        let mut found = Vec::new();
        if let Some(result) = result {
            let images = result.confusion.total();
            found.extend(result.dead.iter().filter_map(|layer| validation::dead_channels(layer, images)));
            found.extend(validation::never_predicted(&result.confusion));
        }
        found.extend(self.best_validation.and_then(|best| curves::overfitting(&best, &now)));
        found.extend(curves::underfitting(&now, last));
        found.extend(self.best_train_loss.and_then(|before| curves::plateau(before, &self.recent)));
        self.new_warnings(found, position)
    }

    /// After a loss that is no finite number.
    pub(super) fn exploded(&mut self, position: RunPosition, gradient_norm: f64) -> Vec<Warning> {
        self.new_warnings(vec![gradients::exploded(gradient_norm)], position)
    }

    fn remember(&mut self, now: EpochStats) {
        self.recent.push(now);
        if self.recent.len() > PLATEAU_EPOCHS {
            let loss = self.recent.remove(0).train.loss;
            self.best_train_loss = Some(self.best_train_loss.map_or(loss, |best| best.min(loss)));
        }
        let Some(validation) = now.validation else { return };
        match &mut self.best_validation {
            Some(best) if validation.loss >= best.loss => {
                best.apart = if curves::is_apart(best, &now) { best.apart + 1 } else { 0 };
            }
            // A loss that is no number is never the best.
            best if validation.loss.is_finite() => {
                *best = Some(BestValidation { loss: validation.loss, train_loss: now.train.loss, apart: 0 });
            }
            _ => {}
        }
    }

    /// Returns the violations that were not reported before, as warnings. A class that was reported
    /// is left out.
    fn new_warnings(&mut self, found: Vec<RuleViolation>, position: RunPosition) -> Vec<Warning> {
        let mut new_warnings = Vec::new();
        for mut finding in found {
            let rule = finding.rule;
            let is_new = if rule == Rule::ClassNeverPredicted {
                finding.subject.classes.retain(|class| self.raised.insert((rule, class.to_string())));
                !finding.subject.classes.is_empty()
            } else {
                self.raised.insert((rule, subject(&finding)))
            };
            if is_new {
                new_warnings.push(finding.at(position));
            }
        }
        new_warnings
    }
}

/// Returns the key under which a violation is remembered; empty for the run as a whole.
fn subject(finding: &RuleViolation) -> String {
    let whole = |name: &str| finding.measurements.iter().find(|it| it.name == name).map(|it| it.value);
    match (finding.rule, &finding.subject.layer, &finding.subject.parameter) {
        (Rule::DeadChannels, Some(layer), _) if whole("dead_channels") == whole("channels") => {
            format!("all of {layer}")
        }
        (Rule::DeadChannels, Some(layer), _) => layer.clone(),
        (Rule::VanishingGradients | Rule::UpdateRatio, _, Some(parameter)) => parameter.clone(),
        _ => String::new(),
    }
}

/// The finding once it has been there for so many reports in a row.
fn in_a_row(
    counts: &mut BTreeMap<String, u32>,
    name: &str,
    found: Option<RuleViolation>,
) -> Option<RuleViolation> {
    let Some(finding) = found else {
        counts.remove(name);
        return None;
    };
    let count = counts.entry(name.to_owned()).or_default();
    *count = (*count + 1).min(REPORTS_IN_A_ROW);
    (*count == REPORTS_IN_A_ROW).then_some(finding)
}

#[cfg(test)]
mod tests {
    use super::{super::gradients::WeightNorms, *};
    use crate::train::LossAndAccuracy;

    const HERE: RunPosition = RunPosition { epoch: 1, batch: Some(1), step: 11 };

    fn still(accuracy: f64) -> StepStats {
        let weight = WeightNorms { name: "fc.weight".to_owned(), gradient: 0.0, weight: 1.0, update: 0.0 };
        StepStats { gradient_norm: 0.0, accuracy, rate_share: 1.0, weights: vec![weight] }
    }

    #[test]
    fn a_weight_is_reported_once_after_three_consecutive_reports() {
        let mut memory = MonitorState::default();
        let warnings = |memory: &mut MonitorState, accuracy| memory.step(HERE, &still(accuracy)).len();
        assert_eq!([0.1, 0.1, 0.95, 0.1, 0.1].map(|accuracy| warnings(&mut memory, accuracy)), [0; 5]);
        // The state survives a checkpoint.
        let stored = serde_json::to_string(&memory).unwrap();
        let mut resumed: MonitorState = serde_json::from_str(&stored).unwrap();
        assert_eq!(resumed, memory);
        assert_eq!([0.1, 0.1, 0.1].map(|accuracy| warnings(&mut resumed, accuracy)), [1, 0, 0]);
    }

    #[test]
    fn the_first_steps_are_not_judged_by_their_length() {
        let mut memory = MonitorState::default();
        let mut long = still(1.0);
        long.weights[0].update = 5.0;
        let warnings = |step| memory.step(RunPosition { step, ..HERE }, &long).len();
        assert_eq!((1..=20).map(warnings).collect::<Vec<_>>()[..13], [[0; 12].as_slice(), &[1]].concat());
    }

    #[test]
    fn the_rules_of_curves_see_the_whole_run() {
        let mut memory = MonitorState::default();
        let mut warnings = Vec::new();
        for epoch in 1..=8 {
            let train = LossAndAccuracy { loss: 1.0 / f64::from(epoch), accuracy: 0.9 };
            let validation = LossAndAccuracy { loss: 0.5 + 0.1 * f64::from(epoch), accuracy: 0.8 };
            let now = EpochStats { epoch, train, validation: Some(validation), rate_share: 1.0 };
            let position = RunPosition { epoch, batch: None, step: epoch };
            warnings.extend(memory.epoch(position, now, None, epoch == 8));
        }
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        // 0.6 at first; above 0.75 from the third on, so that the fourth is the second in a row.
        assert_eq!((warning.rule, warning.epoch, warning.batch), (Rule::Overfitting, 4, None));
    }

    #[test]
    fn a_layer_is_reported_again_when_all_of_it_is_dead_and_a_class_only_once() {
        let mut memory = MonitorState::default();
        let mut warnings = |channels: std::ops::Range<u32>, missed: usize| {
            let dead = DeadChannels { name: "relu1".to_owned(), channels: channels.collect(), width: 4 };
            let mut confusion = ConfusionMatrix::new(3);
            (0..300).for_each(|image| confusion.add(image % 3, (image % 3).max(missed)));
            let train = LossAndAccuracy { loss: 1.0, accuracy: 0.99 };
            let now = EpochStats { epoch: 1, train, validation: None, rate_share: 1.0 };
            let result = ValidationResult { confusion, dead: vec![dead] };
            let warnings = memory.epoch(HERE, now, Some(&result), false);
            warnings.into_iter().map(|it| (it.subject.channels, it.subject.classes)).collect::<Vec<_>>()
        };
        assert_eq!(warnings(0..1, 0), [(vec![0], vec![])]);
        assert_eq!(warnings(0..2, 1), [(vec![], vec![0])]);
        assert_eq!(warnings(0..4, 2), [(vec![0, 1, 2, 3], vec![]), (vec![], vec![1])]);
        assert_eq!(warnings(0..4, 2), []);
    }
}
