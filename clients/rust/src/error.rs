//! Why a call failed, as a caller sees it: the status with its details unpacked.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not one that a client can connect to.
    #[error("{url:?} is not the address of a server: {cause}; it looks like http://127.0.0.1:8001")]
    Address {
        /// The URL as it was given; `http://` was put before it where it had no scheme.
        url: String,
        /// The reason why no client can connect to it.
        cause: String,
    },
    /// No connection could be made.
    #[error("no server answers at {url}: {cause}")]
    Unreachable {
        /// The URL that was tried.
        url: String,
        /// The innermost cause, for instance `Connection refused`.
        cause: String,
    },
    /// The server responded with a status that is not OK, or the connection broke during the call.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// The event stream of a run broke and could not be reopened. The run itself may continue.
    #[error("lost the events of run {run_id} after event {after}: {cause}")]
    Lost {
        /// The run's id.
        run_id: String,
        /// The number of the last event that arrived; [`Client::watch`](crate::Client::watch) continues
        /// behind it.
        after: i32,
        /// Why the last attempt failed.
        cause: String,
    },
    /// The response lacks a part that every response of this contract has; it names the part.
    #[error("the server's answer has no {0}: it speaks another version of the contract")]
    Incomplete(&'static str),
}

/// A status that is not OK, with its details unpacked.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The gRPC status code.
    pub code: Code,
    /// What is wrong and what to do, in the server's words.
    pub message: String,
    /// The machine-readable reason, for instance `INVALID_FIELD`.
    pub reason: Option<String>,
    /// Keys and values that belong to the reason, in key order, for instance the id of the run that trains.
    pub metadata: Vec<(String, String)>,
    /// Fields of the request that were refused, each with the reason.
    pub fields: Vec<(String, String)>,
    /// The kind and name of what does not exist.
    pub resource: Option<(String, String)>,
    /// Shortest time to wait before the next attempt.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => is_transient(refusal.code),
            Self::Address { .. } | Self::Lost { .. } | Self::Incomplete(_) => false,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let mut metadata: Vec<_> =
            info.map(|info| info.metadata.clone()).unwrap_or_default().into_iter().collect();
        metadata.sort();
        Self::Refused(Box::new(Refusal {
            code: status.code(),
            message: message(&status),
            reason: info.map(|info| info.reason.clone()),
            metadata,
            fields: fields.iter().map(|field| (field.field.clone(), field.description.clone())).collect(),
            resource: details
                .resource_info()
                .map(|resource| (resource.resource_type.clone(), resource.resource_name.clone())),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }))
    }
}

/// Whether a stream that ended with `code` may be reopened: the connection broke, or the server dropped
/// a slow watcher.
pub(crate) fn is_transient(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Aborted | Code::Unknown | Code::ResourceExhausted)
}

/// The innermost cause: "Connection refused", not "transport error".
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The server's message; where it gave none, the error of the connection or the meaning of the code.
fn message(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("the connection broke: {}", root_cause(source)),
        None if status.message().is_empty() => status.code().description().to_owned(),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn the_details_of_a_status_are_unpacked() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("epochs", "is 0: use 1 to 10000");
        details.set_error_info("INVALID_FIELD", "digitd", [("run".to_owned(), "7".to_owned())]);
        details.set_retry_info(Some(Duration::from_secs(5)));
        let status = Status::with_error_details(Code::InvalidArgument, "epochs is 0", details);
        let Error::Refused(refusal) = Error::from(status) else { panic!("not refused") };
        assert_eq!(refusal.message, "epochs is 0");
        assert_eq!(refusal.reason.as_deref(), Some("INVALID_FIELD"));
        assert_eq!(refusal.fields, [("epochs".to_owned(), "is 0: use 1 to 10000".to_owned())]);
        assert_eq!(refusal.metadata, [("run".to_owned(), "7".to_owned())]);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_status_without_a_message_is_described_by_its_code() {
        let Error::Refused(refusal) = Error::from(Status::new(Code::Unimplemented, "")) else { panic!() };
        assert!(!refusal.message.is_empty());
    }
}
