//! Pages of lists, and the tokens that lead from one page to the next.

use super::{field::count, reference};
use crate::{
    engine::{RunPage, RunSummary},
    ids::{FieldError, ModelName, Version},
    pb::digitd::v1,
    registry::{AliasPage, VersionPage},
};

/// The page of runs that a request names. Its token says where the page before it ended. Callers treat a
/// token as opaque, so its form may change.
pub fn run_page(request: &v1::ListRunsRequest) -> Result<RunPage, FieldError> {
    let model: Option<ModelName> = match request.model.as_str() {
        "" => None,
        text => Some(reference::name("model", text)?),
    };
    let before = match request.page_token.as_str() {
        "" => None,
        token => {
            Some(token.strip_prefix(RUN_PREFIX).and_then(|id| id.parse().ok()).ok_or_else(unknown_token)?)
        }
    };
    Ok(RunPage { size: page_size(request.page_size)?, before, model })
}

pub fn run_token(last: Option<&RunSummary>) -> String {
    last.map(|run| format!("{RUN_PREFIX}{}", run.run_id)).unwrap_or_default()
}

pub fn version_page(request: &v1::ListVersionsRequest) -> Result<VersionPage, FieldError> {
    let before = match request.page_token.as_str() {
        "" => None,
        token => {
            let number = token.strip_prefix(VERSION_PREFIX).and_then(|number| number.parse::<i64>().ok());
            Some(number.and_then(|number| Version::try_from(number).ok()).ok_or_else(unknown_token)?)
        }
    };
    Ok(VersionPage { size: page_size(request.page_size)?, before })
}

pub fn version_token(last: Option<Version>) -> String {
    last.map(|version| format!("{VERSION_PREFIX}{version}")).unwrap_or_default()
}

pub fn alias_page(request: &v1::ListAliasHistoryRequest) -> Result<AliasPage, FieldError> {
    let before = match request.page_token.as_str() {
        "" => None,
        token => {
            let number = token.strip_prefix(ASSIGNMENT_PREFIX).and_then(|number| number.parse().ok());
            Some(number.filter(|number| *number > 0).ok_or_else(unknown_token)?)
        }
    };
    Ok(AliasPage { size: page_size(request.page_size)?, before })
}

pub fn alias_token(last: Option<u32>) -> String {
    last.map(|number| format!("{ASSIGNMENT_PREFIX}{number}")).unwrap_or_default()
}

/// The prefixes of tokens, so that the token of one list is not accepted for another.
const RUN_PREFIX: &str = "runs-before-";
const VERSION_PREFIX: &str = "versions-before-";
const ASSIGNMENT_PREFIX: &str = "assignments-before-";

fn page_size(given: Option<i32>) -> Result<usize, FieldError> {
    Ok(count("page_size", given, 1..=1000, 50)? as usize)
}

fn unknown_token() -> FieldError {
    FieldError::new("page_token", "does not come from this list: use its next_page_token, or leave this out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_selects_the_page_after_it() {
        let token = version_token(Some(7.try_into().unwrap()));
        let request = v1::ListVersionsRequest { page_token: token.clone(), ..Default::default() };
        assert_eq!(version_page(&request).unwrap().before, Some(7.try_into().unwrap()));
        let request = v1::ListRunsRequest { page_token: token, ..Default::default() };
        assert_eq!(run_page(&request).unwrap_err().field, "page_token");
    }

    #[test]
    fn a_page_has_fifty_items_by_default() {
        assert_eq!(run_page(&v1::ListRunsRequest::default()).unwrap().size, 50);
        for size in [-1, 0, 1001] {
            let request = v1::ListRunsRequest { page_size: Some(size), ..Default::default() };
            assert_eq!(run_page(&request).unwrap_err().field, "page_size");
        }
    }

    #[test]
    fn hostile_tokens_are_rejected() {
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
