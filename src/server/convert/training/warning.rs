//! Warnings of a run, as the contract shows them.

use crate::{
    pb::digitd::v1,
    server::convert::shared::{
        enums::ContractEnum,
        field::{int, ints},
    },
    train::Warning,
};

pub fn from_warning(warning: &Warning) -> v1::Warning {
    let subject = &warning.subject;
    v1::Warning {
        rule: warning.rule.to_wire(),
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
