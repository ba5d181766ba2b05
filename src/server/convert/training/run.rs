//! Runs as the contract shows them.

use super::request::from_train_config;
use crate::{
    engine::RunSummary,
    ids::FieldError,
    pb::digitd::v1,
    server::convert::shared::{
        enums::{ContractEnum, optional_to_wire},
        field::{ANY, count, int},
        time::from_time,
    },
};

/// The sequence number after which a watch begins; 0 for all events.
pub fn after_sequence(number: i32) -> Result<u32, FieldError> {
    count("after_sequence", Some(number), 0..=ANY, 0)
}

pub fn from_run(run: &RunSummary) -> v1::Run {
    v1::Run {
        run_id: run.run_id.to_string(),
        state: run.state.to_wire(),
        reason: optional_to_wire(run.reason),
        message: run.message.clone(),
        request: Some(from_train_config(&run.config)),
        create_time: Some(from_time(run.created)),
        end_time: run.ended.map(from_time),
        epoch: Some(int(run.epoch)),
        step: Some(int(run.step)),
        train_loss: run.train_loss,
        train_accuracy: run.train_accuracy,
        validation_loss: run.validation_loss,
        validation_accuracy: run.validation_accuracy,
        best_epoch: run.best_epoch.map(int),
        version: run.version.map(|version| int(version.get())),
        warnings: run.warnings.iter().map(|rule| rule.to_wire()).collect(),
        last_sequence: Some(int(run.last_sequence)),
    }
}
