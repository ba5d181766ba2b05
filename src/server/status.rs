//! Errors → status codes with machine-readable details, as the table of the contract has them. The caller
//! learns nothing of an internal error but the id under which the log reports it.

use std::{any::Any, collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    data::catalog::SYNTHETIC,
    engine::{self, Error, FailedRequirements},
    ids::FieldError,
    registry::{self, RequirementResult},
};

/// The domain of the error reasons.
const DOMAIN: &str = "digitd";

/// The retry delay while a server starts or drains, which is about as long as either takes.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// The retry delay while a run trains. How long it still trains is not known.
const RETRY_AFTER_TRAINING: Duration = Duration::from_secs(30);

impl From<FieldError> for Status {
    fn from(FieldError { field, message }: FieldError) -> Self {
        let mut details = details("INVALID_FIELD", [("field", field.clone())]);
        details.add_bad_request_violation(&field, &message);
        Status::with_error_details(Code::InvalidArgument, format!("{field}: {message}"), details)
    }
}

impl From<registry::Error> for Status {
    fn from(error: registry::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::InvalidField(invalid) => invalid.into(),
            Error::ModelNotFound(name) => not_found("MODEL_NOT_FOUND", "model", name.as_str(), message),
            Error::VersionNotFound { model, version } => {
                not_found("VERSION_NOT_FOUND", "version", &format!("{model}/{version}"), message)
            }
            Error::AliasNotFound { model, alias } => {
                not_found("ALIAS_NOT_FOUND", "alias", &format!("{model}/{alias}"), message)
            }
            Error::RunNotFound(run) => not_found("RUN_NOT_FOUND", "run", &run.to_string(), message),
            Error::DatasetNotFound { name, .. } => {
                not_found("DATASET_NOT_FOUND", "dataset", name.as_str(), message)
            }
            Error::DatasetUnavailable { .. } => {
                let facts = [("built_in", SYNTHETIC.to_owned())];
                status(Code::FailedPrecondition, "DATASET_UNAVAILABLE", message, facts)
            }
            Error::QueueFull { queue, retry_after } => {
                let facts = [("queue", queue.to_owned())];
                retry(Code::ResourceExhausted, "QUEUE_FULL", message, facts, retry_after)
            }
            Error::TrainingBusy { run } => {
                let facts = [("run_id", run.to_string())];
                retry(Code::ResourceExhausted, "TRAINING_BUSY", message, facts, RETRY_AFTER_TRAINING)
            }
            Error::NotResumable { run, reason, .. } | Error::RunWithoutWeights { run, reason, .. } => {
                let facts = [("run_id", run.to_string())];
                status(Code::FailedPrecondition, reason, message, facts)
            }
            Error::RunElsewhere { run } => {
                let facts = [("run_id", run.to_string())];
                status(Code::FailedPrecondition, "RUN_ELSEWHERE", message, facts)
            }
            Error::Loading => retry(Code::Unavailable, "MODEL_LOADING", message, [], RETRY_SOON),
            Error::Draining => draining(),
            Error::DeadlineExceeded => deadline(),
            Error::VersionAliased { aliases, .. } => {
                let aliases: Vec<_> = aliases.iter().map(ToString::to_string).collect();
                let facts = [("aliases", aliases.join(","))];
                status(Code::FailedPrecondition, "VERSION_ALIASED", message, facts)
            }
            Error::AliasMoved { found, message, .. } => {
                let found = found.map(|version| ("found_version", version.to_string()));
                status(Code::FailedPrecondition, "ALIAS_MOVED", message, found)
            }
            Error::NothingToRollBack { .. } => {
                status(Code::FailedPrecondition, "NOTHING_TO_ROLL_BACK", message, [])
            }
            Error::RequirementNotMet(unmet) => requirement_not_met(*unmet),
            Error::Corrupt { message } => status(Code::DataLoss, "CHECKPOINT_CORRUPT", message, []),
            Error::UnknownFormat { .. } => {
                status(Code::FailedPrecondition, "FORMAT_UNSUPPORTED", message, [])
            }
            Error::OutOfMemory { .. } => status(Code::ResourceExhausted, "OUT_OF_MEMORY", message, []),
            Error::Backend { message } => {
                tracing::error!(error = message, "the engine failed");
                internal()
            }
        }
    }
}

/// The status of a call that a draining server rejects.
pub fn draining() -> Status {
    let message = "the server is draining: try again in a few seconds";
    retry(Code::Unavailable, "DRAINING", message, [], RETRY_SOON)
}

pub fn deadline() -> Status {
    status(Code::DeadlineExceeded, "DEADLINE", "the deadline passed before the response was ready", [])
}

pub fn message_too_large() -> Status {
    let message = "the message is above the server's limit: send fewer images in one message";
    status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message, [])
}

/// The status of a message that cannot be decoded; `what` is the text of the decoder.
pub fn undecodable(what: &str) -> Status {
    FieldError::new("request", format!("is not a message of this method: {what}")).into()
}

/// The status of a call that the decode pool rejects.
pub fn decoders_busy() -> Status {
    let facts = [("queue", "decoding".to_owned())];
    retry(Code::ResourceExhausted, "QUEUE_FULL", "too many calls wait for a decoder", facts, RETRY_SOON)
}

/// The status of a call that would exceed the limit of transfers.
pub fn transfers_busy(what: &str) -> Status {
    let facts = [("queue", "transfers".to_owned())];
    retry(Code::ResourceExhausted, "QUEUE_FULL", format!("too many {what} are under way"), facts, RETRY_SOON)
}

/// The status of a stream whose caller neither continues nor ends it.
pub fn late(message: String) -> Status {
    status(Code::DeadlineExceeded, "DEADLINE", message, [])
}

/// The status of a panic. Its message goes to the log.
pub fn panicked(panic: &(dyn Any + Send)) -> Status {
    tracing::error!(panic = engine::panic_message(panic), "a call panicked");
    internal()
}

/// The status of a task without a result: it panicked, or the runtime shuts down.
pub fn lost(error: tokio::task::JoinError) -> Status {
    match error.try_into_panic() {
        Ok(panic) => panicked(&*panic),
        Err(_) => draining(),
    }
}

fn internal() -> Status {
    let message = "an internal error: the log of the server reports it under the x-request-id of the call";
    status(Code::Internal, "BACKEND_FAILURE", message, [])
}

fn not_found(reason: &str, kind: &str, name: &str, message: String) -> Status {
    let mut details = details(reason, []);
    details.set_resource_info(kind, name, "", message.clone());
    Status::with_error_details(Code::NotFound, message, details)
}

/// Carries all measured values as metadata, and each requirement that failed as a violation.
fn requirement_not_met(unmet: FailedRequirements) -> Status {
    let FailedRequirements { model, version, results, failed, digest, message } = unmet;
    let subject = format!("{model}/{version}");
    let measured = |result: &RequirementResult| match result.measured {
        Some(value) => format!("{}: {value}", result.requirement),
        None => format!("{}: none", result.requirement),
    };
    let all: Vec<String> = results.iter().map(measured).collect();
    let facts = [("version", subject.clone()), ("figures", all.join("; ")), ("dataset_digest", digest)];
    let mut details = details("REQUIREMENT_NOT_MET", facts);
    for at in failed {
        details.add_precondition_failure_violation("REQUIREMENT", &subject, measured(&results[at]));
    }
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

fn retry<const N: usize>(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    facts: [(&str, String); N],
    after: Duration,
) -> Status {
    let mut details = details(reason, facts);
    details.set_retry_info(Some(after));
    Status::with_error_details(code, message, details)
}

fn status<'a>(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    facts: impl IntoIterator<Item = (&'a str, String)>,
) -> Status {
    Status::with_error_details(code, message, details(reason, facts))
}

fn details<'a>(reason: &str, facts: impl IntoIterator<Item = (&'a str, String)>) -> ErrorDetails {
    let facts: HashMap<String, String> =
        facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ErrorDetails::with_error_info(reason, DOMAIN, facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Alias, ModelName, RunId, Version};

    fn check(error: Error, code: Code, reason: &str) -> Status {
        let status = Status::from(error);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "digitd"));
        status
    }

    fn model() -> ModelName {
        ModelName::default()
    }

    #[test]
    fn a_rejected_field_is_named_for_people_and_programs() {
        let status = Status::from(FieldError::new("optimizer.adam.beta1", "is 1: use a number in [0, 1)"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "optimizer.adam.beta1: is 1: use a number in [0, 1)");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "optimizer.adam.beta1");
        let status = check(Error::field("epochs", "is 0"), Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "epochs");
    }

    #[test]
    fn a_missing_resource_is_not_found_with_its_kind_and_name() {
        let run = RunId::new();
        let alias = Alias::production();
        for (error, reason, kind, name) in [
            (Error::ModelNotFound(model()), "MODEL_NOT_FOUND", "model", "digits".to_owned()),
            (
                Error::VersionNotFound { model: model(), version: Version::FIRST },
                "VERSION_NOT_FOUND",
                "version",
                "digits/1".to_owned(),
            ),
            (
                Error::AliasNotFound { model: model(), alias },
                "ALIAS_NOT_FOUND",
                "alias",
                "digits/production".to_owned(),
            ),
            (Error::RunNotFound(run), "RUN_NOT_FOUND", "run", run.to_string()),
            (
                Error::DatasetNotFound { name: "cifar".parse().unwrap(), message: String::new() },
                "DATASET_NOT_FOUND",
                "dataset",
                "cifar".to_owned(),
            ),
        ] {
            let info = check(error, Code::NotFound, reason).get_details_resource_info().unwrap();
            assert_eq!((info.resource_type, info.resource_name), (kind.to_owned(), name));
        }
    }

    #[test]
    fn transient_errors_say_when_to_retry() {
        let run = RunId::new();
        let full = Error::QueueFull { queue: "predictions", retry_after: Duration::from_millis(5) };
        for (error, code, reason) in [
            (full, Code::ResourceExhausted, "QUEUE_FULL"),
            (Error::TrainingBusy { run }, Code::ResourceExhausted, "TRAINING_BUSY"),
            (Error::Loading, Code::Unavailable, "MODEL_LOADING"),
            (Error::Draining, Code::Unavailable, "DRAINING"),
        ] {
            assert!(check(error, code, reason).get_details_retry_info().unwrap().retry_delay.is_some());
        }
        let busy = Status::from(Error::TrainingBusy { run }).get_details_error_info().unwrap();
        assert_eq!(busy.metadata["run_id"], run.to_string());
    }

    #[test]
    fn preconditions_and_data_loss_have_distinct_codes() {
        let version = Version::FIRST;
        let aliases = vec![Alias::production(), Alias::latest()];
        let aliased = Error::VersionAliased { model: model(), version, aliases };
        let aliased = check(aliased, Code::FailedPrecondition, "VERSION_ALIASED");
        assert_eq!(aliased.get_details_error_info().unwrap().metadata["aliases"], "production,latest");
        let message = "how to get it".to_owned();
        let missing = Error::DatasetUnavailable { name: None, message: message.clone() };
        assert_eq!(check(missing, Code::FailedPrecondition, "DATASET_UNAVAILABLE").message(), message);
        let results = ["accuracy>=0.99", "loss<=1"].map(|requirement| RequirementResult {
            requirement: requirement.to_owned(),
            measured: Some(0.5),
        });
        let (results, message_of_gate) = (results.to_vec(), "version 1 does not meet it".to_owned());
        let unmet = FailedRequirements {
            model: model(),
            version,
            results,
            failed: vec![0],
            digest: "d".to_owned(),
            message: message_of_gate,
        };
        let gated = Error::RequirementNotMet(Box::new(unmet));
        let gated = check(gated, Code::FailedPrecondition, "REQUIREMENT_NOT_MET");
        let facts = gated.get_details_error_info().unwrap().metadata;
        assert_eq!(facts["figures"], "accuracy>=0.99: 0.5; loss<=1: 0.5");
        let violations = gated.get_details_precondition_failure().unwrap().violations;
        assert_eq!((violations.len(), &*violations[0].description), (1, "accuracy>=0.99: 0.5"));
        let alias = Alias::latest();
        let moved = Error::AliasMoved { model: model(), alias, found: None, message: message.clone() };
        check(moved, Code::FailedPrecondition, "ALIAS_MOVED");
        let first = Error::NothingToRollBack { model: model(), alias: Alias::production() };
        check(first, Code::FailedPrecondition, "NOTHING_TO_ROLL_BACK");
        let run = RunId::new();
        let over = Error::NotResumable { run, reason: "RUN_COMPLETED", message: message.clone() };
        check(over, Code::FailedPrecondition, "RUN_COMPLETED");
        check(Error::RunElsewhere { run }, Code::FailedPrecondition, "RUN_ELSEWHERE");
        let newer = Error::UnknownFormat { message: message.clone() };
        check(newer, Code::FailedPrecondition, "FORMAT_UNSUPPORTED");
        check(Error::Corrupt { message }, Code::DataLoss, "CHECKPOINT_CORRUPT");
        check(Error::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE");
    }

    #[test]
    fn memory_that_ran_out_is_an_exhausted_resource() {
        let full = check(Error::OutOfMemory { part: "training" }, Code::ResourceExhausted, "OUT_OF_MEMORY");
        assert!(full.message().starts_with("training ran out of memory: "), "{}", full.message());
    }

    #[test]
    fn an_internal_error_reveals_nothing_to_the_caller() {
        let failed = Error::Backend { message: "secret".to_owned() };
        let status = check(failed, Code::Internal, "BACKEND_FAILURE");
        assert!(!status.message().contains("secret"));
    }

    #[tokio::test]
    async fn a_task_that_panicked_is_an_internal_error() {
        let lost_task = tokio::spawn(async { panic!("secret") }).await.unwrap_err();
        let status = lost(lost_task);
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"));
    }
}
