//! The network that an analysis is about: that of a version, or that of a run.

use crate::{
    engine::{RunStep, Target},
    ids::FieldError,
    pb::digitd::v1,
    server::convert::shared::{enums::ContractEnum, field::int, reference},
};

/// The target of a request, which names a version or a run.
pub fn target(model: Option<v1::ModelRef>, run_id: &str) -> Result<Target, FieldError> {
    match (model, run_id) {
        (model, "") => Ok(Target::Model(reference::reference("model", model)?)),
        (None, id) => Ok(Target::Run(reference::run_id("run_id", id)?)),
        (Some(model), id) if model == v1::ModelRef::default() => {
            Ok(Target::Run(reference::run_id("run_id", id)?))
        }
        (Some(_), _) => Err(FieldError::new("run_id", "is given beside a model: name one of the two")),
    }
}

pub fn from_run_step(step: RunStep) -> v1::RunMoment {
    let known = |number: u32| (number > 0).then(|| int(number));
    v1::RunMoment {
        run_id: step.run.to_string(),
        state: step.state.to_wire(),
        epoch: int(step.at.epoch),
        batch: known(step.at.batch),
        step: known(step.at.step),
        origin: step.origin.to_wire(),
    }
}
