//! Aliases: what moves one, and the history of its assignments.

use std::net::SocketAddr;

use crate::{
    ids::FieldError,
    pb::digitd::v1,
    registry::{Assignment, AuditNote, Evidence, Precondition, RequirementResult},
    server::convert::shared::{
        dataset::from_dataset, enums::ContractEnum, field::int, reference::version, time::from_time,
    },
};

/// The version that the caller expects an alias to point to; 0 means that the alias was never set.
pub fn expected(field: &str, number: Option<i32>) -> Result<Precondition, FieldError> {
    Ok(match number {
        None => Precondition::Anything,
        Some(0) => Precondition::Unset,
        Some(number) => Precondition::Version(version(field, number)?),
    })
}

pub fn from_assignment(assignment: Assignment) -> v1::AliasAssignment {
    v1::AliasAssignment {
        number: int(assignment.number),
        version: int(assignment.version.get()),
        previous_version: assignment.previous.map(|version| int(version.get())),
        time: Some(from_time(assignment.time)),
        reason: assignment.reason,
        by: assignment.by,
        evidence: assignment.evidence.map(from_evidence),
    }
}

fn from_evidence(evidence: Evidence) -> v1::AliasEvidence {
    v1::AliasEvidence {
        results: evidence.results.into_iter().map(from_result).collect(),
        dataset: Some(from_dataset(&evidence.dataset)),
        split: evidence.split.to_wire(),
        dataset_digest: evidence.dataset_digest,
        images: int(evidence.images),
    }
}

pub fn from_result(result: RequirementResult) -> v1::RequirementResult {
    v1::RequirementResult { requirement: result.requirement, measured: result.measured }
}

/// Who moves an alias, and why. `from` is the address of the caller.
pub fn note(by: String, reason: String, from: Option<SocketAddr>) -> AuditNote {
    let by = match by.trim() {
        "" => from.map(|addr| addr.ip().to_canonical().to_string()).unwrap_or_default(),
        by => by.to_owned(),
    };
    AuditNote::new(by, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_without_a_name_is_recorded_by_address() {
        let from = "[::ffff:10.0.0.7]:4711".parse().ok();
        assert_eq!(note(" ".to_owned(), String::new(), from).by, "10.0.0.7");
        assert_eq!(note("ana".to_owned(), String::new(), from).by, "ana");
        assert_eq!(note(String::new(), String::new(), None).by, "");
    }

    #[test]
    fn an_expected_version_of_zero_means_never_set() {
        let of = |number| expected("expected_version", number);
        assert_eq!(of(None), Ok(Precondition::Anything));
        assert_eq!(of(Some(0)), Ok(Precondition::Unset));
        assert_eq!(of(Some(3)), Ok(Precondition::Version(3.try_into().unwrap())));
        assert_eq!(of(Some(-3)).unwrap_err().field, "expected_version");
    }
}
