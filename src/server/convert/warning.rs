//! What a run is warned of, as the contract shows it.

use super::field::int;
use crate::{
    pb::digitd::v1,
    train::{Rule, Warning},
};

pub fn from_warning(warning: &Warning) -> v1::Warning {
    let subject = &warning.subject;
    let ints = |values: &[u32]| values.iter().map(|&value| int(value)).collect();
    v1::Warning {
        rule: from_rule(warning.rule).into(),
        epoch: int(warning.epoch),
        batch: warning.batch.map(int),
        step: int(warning.step),
        layer: subject.layer.clone().unwrap_or_default(),
        parameter: subject.parameter.clone().unwrap_or_default(),
        channels: ints(&subject.channels),
        classes: ints(&subject.classes),
        measurements: warning
            .measurements
            .iter()
            .map(|it| v1::Measurement {
                name: it.name.clone(),
                value: Some(it.value),
                threshold: it.threshold,
            })
            .collect(),
        advice: warning.advice.clone(),
    }
}

pub fn from_rule(rule: Rule) -> v1::WarningRule {
    match rule {
        Rule::DeadChannels => v1::WarningRule::DeadChannels,
        Rule::ExplodingGradients => v1::WarningRule::ExplodingGradients,
        Rule::VanishingGradients => v1::WarningRule::VanishingGradients,
        Rule::UpdateRatio => v1::WarningRule::UpdateRatio,
        Rule::Overfitting => v1::WarningRule::Overfitting,
        Rule::Underfitting => v1::WarningRule::Underfitting,
        Rule::Plateau => v1::WarningRule::Plateau,
        Rule::ClassNeverPredicted => v1::WarningRule::ClassNeverPredicted,
    }
}
