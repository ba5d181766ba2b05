//! Runs as the contract shows them, and the pages of lists.

use super::{
    event::{from_reason, from_state, from_time},
    field::{ANY, Invalid, count, int},
    model,
    train::from_train_config,
    warning::from_rule,
};
use crate::{
    engine::{RunPage, RunSummary},
    ids::{ModelName, RunId, Version},
    pb::digitd::v1,
    registry::{AliasPage, VersionPage},
};

pub fn run_id(text: &str) -> Result<RunId, Invalid> {
    run_at("run_id", text)
}

/// A run's id at this field.
pub fn run_at(field: &str, text: &str) -> Result<RunId, Invalid> {
    text.parse().map_err(Invalid::at(field))
}

/// The event after which a watcher goes on; 0 for all.
pub fn after_sequence(number: i32) -> Result<u32, Invalid> {
    count("after_sequence", Some(number), 0..=ANY, 0)
}

pub fn from_run(run: &RunSummary) -> v1::Run {
    let reason = run.reason.map_or(v1::FinishReason::Unspecified, from_reason);
    v1::Run {
        run_id: run.run_id.to_string(),
        state: from_state(run.state).into(),
        reason: reason.into(),
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
        warnings: run.warnings.iter().map(|rule| from_rule(*rule).into()).collect(),
        last_sequence: Some(int(run.last_sequence)),
    }
}

/// The page of runs that is asked for. Its token is where the page before ended; callers take it
/// as it is, so its form is free to change.
pub fn run_page(request: &v1::ListRunsRequest) -> Result<RunPage, Invalid> {
    let model: Option<ModelName> = match request.model.as_str() {
        "" => None,
        name => Some(model::name("model", name)?),
    };
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(token.strip_prefix(RUNS).and_then(|id| id.parse().ok()).ok_or_else(unknown_token)?),
    };
    Ok(RunPage { size: page_size(request.page_size)?, before, model })
}

pub fn run_token(last: Option<&RunSummary>) -> String {
    last.map(|run| format!("{RUNS}{}", run.run_id)).unwrap_or_default()
}

pub fn version_page(request: &v1::ListVersionsRequest) -> Result<VersionPage, Invalid> {
    let before = match request.page_token.as_str() {
        "" => None,
        token => {
            let number = token.strip_prefix(VERSIONS).and_then(|number| number.parse::<i64>().ok());
            Some(number.and_then(|number| Version::try_from(number).ok()).ok_or_else(unknown_token)?)
        }
    };
    Ok(VersionPage { size: page_size(request.page_size)?, before })
}

pub fn version_token(last: Option<Version>) -> String {
    last.map(|version| format!("{VERSIONS}{version}")).unwrap_or_default()
}

pub fn alias_page(request: &v1::ListAliasHistoryRequest) -> Result<AliasPage, Invalid> {
    let before = match request.page_token.as_str() {
        "" => None,
        token => {
            let number = token.strip_prefix(ASSIGNMENTS).and_then(|number| number.parse().ok());
            Some(number.filter(|number| *number > 0).ok_or_else(unknown_token)?)
        }
    };
    Ok(AliasPage { size: page_size(request.page_size)?, before })
}

pub fn alias_token(last: Option<u32>) -> String {
    last.map(|number| format!("{ASSIGNMENTS}{number}")).unwrap_or_default()
}

/// What tokens begin with, so that one list's token is no other list's.
const RUNS: &str = "runs-before-";
const VERSIONS: &str = "versions-before-";
const ASSIGNMENTS: &str = "assignments-before-";

fn page_size(given: Option<i32>) -> Result<usize, Invalid> {
    Ok(count("page_size", given, 1..=1000, 50)? as usize)
}

fn unknown_token() -> Invalid {
    Invalid::new("page_token", "is none that this list gave: use next_page_token, or leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_the_page_after_it() {
        let token = version_token(Some(7.try_into().unwrap()));
        let request = v1::ListVersionsRequest { page_token: token.clone(), ..Default::default() };
        assert_eq!(version_page(&request).unwrap().before, Some(7.try_into().unwrap()));
        let request = v1::ListRunsRequest { page_token: token, ..Default::default() };
        assert_eq!(run_page(&request).unwrap_err().field, "page_token");
    }

    #[test]
    fn a_page_has_fifty_items_unless_asked() {
        assert_eq!(run_page(&v1::ListRunsRequest::default()).unwrap().size, 50);
        for size in [-1, 0, 1001] {
            let request = v1::ListRunsRequest { page_size: Some(size), ..Default::default() };
            assert_eq!(run_page(&request).unwrap_err().field, "page_size");
        }
    }

    #[test]
    fn hostile_tokens_are_refused() {
        for token in [
            "x",
            "runs-before-",
            "runs-before-../x",
            "versions-before-0",
            "versions-before-x",
            "assignments-before-0",
            "assignments-before--1",
        ] {
            let request = v1::ListAliasHistoryRequest { page_token: token.to_owned(), ..Default::default() };
            assert_eq!(alias_page(&request).unwrap_err().field, "page_token", "{token}");
            let request = v1::ListRunsRequest { page_token: token.to_owned(), ..Default::default() };
            assert_eq!(run_page(&request).unwrap_err().field, "page_token", "{token}");
            let request = v1::ListVersionsRequest { page_token: token.to_owned(), ..Default::default() };
            assert_eq!(version_page(&request).unwrap_err().field, "page_token", "{token}");
        }
    }
}
