//! A request that resumes a run. The settings that it has must be those of the run; the messages are
//! compared by reflection, so that a field that is added to the contract is compared, too.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::{
    options::RunOptions,
    overlay::overlaid,
    request::{from_train_config, train_request},
};
use crate::{
    data::DatasetInfo,
    ids::FieldError,
    pb::{self, digitd::v1},
    train::{TrainConfig, ValidTrainConfig},
};

/// The config of a resumed run on a data set of this `info`: that of the run, with more epochs if the request
/// has them. Errors name the field that differs from that of the run.
pub fn resume_request(
    stored: &TrainConfig,
    request: &v1::TrainRequest,
    info: DatasetInfo,
) -> Result<(ValidTrainConfig, RunOptions), FieldError> {
    let (resumed, options) = train_request(overlaid(&from_train_config(stored), request), info)?;
    let requested = resumed.config();
    if requested.epochs < stored.epochs {
        let message =
            format!("is {}: the run has {} epochs, request as many or more", requested.epochs, stored.epochs);
        return Err(FieldError::new("epochs", message));
    }
    let expected = TrainConfig { epochs: requested.epochs, ..stored.clone() };
    match difference("", &dynamic(&expected), &dynamic(requested)) {
        None => Ok((resumed, options)),
        Some(field) => {
            Err(FieldError::new(field, "is not what the run was started with: leave it out to resume"))
        }
    }
}

fn dynamic(config: &TrainConfig) -> DynamicMessage {
    pb::dynamic("TrainRequest", &from_train_config(config))
}

/// The path of the first field in which they differ.
fn difference(path: &str, one: &DynamicMessage, other: &DynamicMessage) -> Option<String> {
    one.descriptor().fields().find_map(|field| {
        let (a, b) = (one.get_field(&field), other.get_field(&field));
        let path = match path {
            "" => field.name().to_owned(),
            _ => format!("{path}.{}", field.name()),
        };
        match (&*a, &*b, one.has_field(&field) && other.has_field(&field)) {
            (Value::Message(a), Value::Message(b), true) => difference(&path, a, b),
            (a, b, _) if a == b && one.has_field(&field) == other.has_field(&field) => None,
            _ => Some(path),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        optim::OptimizerConfig,
        pb::digitd::v1::{optimizer::Rule, validation::Size},
    };

    fn stored() -> TrainConfig {
        TrainConfig {
            epochs: 4,
            batch_size: 7,
            optimizer: OptimizerConfig::adam(0.003),
            ..TrainConfig::default()
        }
    }

    fn check(request: v1::TrainRequest, expected: Result<u32, &str>) {
        match (resume_request(&stored(), &request, DatasetInfo::MNIST), expected) {
            (Ok((resumed, _)), Ok(epochs)) => {
                assert_eq!(resumed.into_config(), TrainConfig { epochs, ..stored() })
            }
            (Err(invalid), Err(field)) => assert_eq!(invalid.field, field, "{invalid}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    fn request() -> v1::TrainRequest {
        v1::TrainRequest::default()
    }

    fn rule(rule: Rule) -> v1::TrainRequest {
        v1::TrainRequest { optimizer: Some(v1::Optimizer { rule: Some(rule) }), ..request() }
    }

    #[test]
    fn unset_fields_are_those_of_the_run_and_epochs_may_increase() {
        check(request(), Ok(4));
        check(from_train_config(&stored()), Ok(4));
        check(v1::TrainRequest { epochs: Some(9), batch_size: Some(7), ..request() }, Ok(9));
        check(rule(Rule::Adam(v1::Adam { learning_rate: Some(0.003), ..Default::default() })), Ok(4));
        let network = Some(v1::Network { preset: "tutorial".to_owned(), ..v1::Network::default() });
        check(v1::TrainRequest { network, ..request() }, Ok(4));
    }

    #[test]
    fn a_field_that_differs_is_named_by_its_path() {
        check(v1::TrainRequest { epochs: Some(3), ..request() }, Err("epochs"));
        check(v1::TrainRequest { batch_size: Some(8), ..request() }, Err("batch_size"));
        check(v1::TrainRequest { seed: Some(1), ..request() }, Err("seed"));
        check(v1::TrainRequest { shuffle: Some(false), ..request() }, Err("shuffle"));
        check(v1::TrainRequest { set_alias: "production".to_owned(), ..request() }, Err("set_alias"));
        let adam = v1::Adam { beta1: Some(0.5), ..Default::default() };
        check(rule(Rule::Adam(adam)), Err("optimizer.adam.beta1"));
        check(rule(Rule::Sgd(v1::Sgd::default())), Err("optimizer.sgd"));
        let dataset = Some(v1::Dataset { seed: Some(1), ..Default::default() });
        check(v1::TrainRequest { dataset, ..request() }, Err("dataset.seed"));
        let validation = Some(v1::Validation { size: Some(Size::Count(1)), every_epochs: None });
        check(v1::TrainRequest { validation, ..request() }, Err("validation.count"));
        let early_stopping = Some(v1::EarlyStopping::default());
        check(v1::TrainRequest { early_stopping, ..request() }, Err("early_stopping"));
    }

    #[test]
    fn an_invalid_field_is_named_as_in_a_new_run() {
        check(v1::TrainRequest { epochs: Some(0), ..request() }, Err("epochs"));
        let sgd = v1::Sgd { learning_rate: Some(f64::NAN) };
        check(rule(Rule::Sgd(sgd)), Err("optimizer.sgd.learning_rate"));
    }
}
