//! The message for a call of a method that is not served, to which tonic responds with a code alone.

use http::HeaderMap;
use tonic::{Code, Status};

use super::rewrite_status::{replace, status_code};

/// Methods of Triton that its clients may call, by the beginning of their names, and what to do without them.
const TRITON: [(&str, &str); 5] = [
    (
        "RepositoryModel",
        "models are not loaded or unloaded on request: every version is loaded by its first call",
    ),
    ("SystemSharedMemory", "shared memory is not served: send the tensor in the request"),
    ("CudaSharedMemory", "shared memory is not served: send the tensor in the request"),
    ("TraceSetting", "tracing is not served: the log and the metrics report every call"),
    (
        "LogSettings",
        "the level of the log is a setting of the server (log.level), which SIGHUP makes it read again",
    ),
];

/// Puts a message into the status of a method that is not served.
pub fn explain(headers: &mut HeaderMap, method: &str) {
    let is_bare =
        status_code(headers) == Some(Code::Unimplemented) && !headers.contains_key(Status::GRPC_MESSAGE);
    if is_bare {
        replace(headers, &Status::unimplemented(message(method)));
    }
}

fn message(path: &str) -> String {
    let of_triton = path.strip_prefix("/inference.GRPCInferenceService/").and_then(|method| {
        let (_, message) = TRITON.iter().find(|(beginning, _)| method.starts_with(beginning))?;
        Some((*message).to_owned())
    });
    of_triton.unwrap_or_else(|| {
        format!("there is no method {path:?}: `grpcurl -plaintext HOST:PORT list` lists the services and their methods")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::middleware::rewrite_status::trailers;

    fn explained(status: &Status, method: &str) -> Status {
        let mut headers = trailers(status);
        explain(&mut headers, method);
        Status::from_header_map(&headers).unwrap()
    }

    #[test]
    fn a_method_that_is_not_served_says_what_to_do() {
        for (method, expected) in [
            ("/inference.GRPCInferenceService/RepositoryModelLoad", "loaded by its first call"),
            ("/inference.GRPCInferenceService/SystemSharedMemoryStatus", "send the tensor"),
            ("/inference.GRPCInferenceService/Unknown", "lists the services"),
            ("/digitd.v1.TrainingService/Start", "\"/digitd.v1.TrainingService/Start\""),
        ] {
            let status = explained(&Status::unimplemented(""), method);
            assert_eq!(status.code(), Code::Unimplemented);
            assert!(status.message().contains(expected), "{method}: {}", status.message());
        }
    }

    #[test]
    fn other_statuses_stay_as_they_are() {
        assert_eq!(explained(&Status::unimplemented("not yet"), "/a.B/C").message(), "not yet");
        assert_eq!(explained(&Status::internal(""), "/a.B/C").message(), "");
    }
}
