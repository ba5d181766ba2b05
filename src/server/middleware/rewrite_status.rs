//! Rewrites the statuses that tonic makes by itself into those of the contract.

use http::HeaderMap;
use tonic::{Code, Status};

use crate::server::status;

/// The statuses of tonic for a message above the limit, plain and compressed.
const TOO_LARGE: [(Code, &str); 2] = [
    (Code::OutOfRange, "Error, decoded message length too large"),
    (Code::ResourceExhausted, "Error decompressing: size limit"),
];

/// How prost begins the error for bytes that it cannot decode.
const UNDECODABLE: &str = "failed to decode Protobuf message: ";

/// Replaces a status of tonic by that of the contract, in headers or trailers.
pub fn rewrite_status(headers: &mut HeaderMap) {
    // Almost all responses end here, and their status is never parsed.
    if headers.get(Status::GRPC_STATUS).is_none_or(|code| code == "0") {
        return;
    }
    let Some(given) = Status::from_header_map(headers) else { return };
    let too_large =
        TOO_LARGE.iter().any(|(code, text)| given.code() == *code && given.message().starts_with(text));
    if too_large {
        replace(headers, &status::message_too_large());
    } else if given.code() == Code::Internal
        && let Some(what) = given.message().strip_prefix(UNDECODABLE)
    {
        replace(headers, &status::undecodable(what));
    }
}

/// The status code in headers or trailers.
pub fn status_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// A status as trailers.
pub fn trailers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    replace(&mut headers, status);
    headers
}

fn replace(headers: &mut HeaderMap, status: &Status) {
    // This fails only for a message that no header can carry; the statuses of this server encode theirs.
    if let Err(error) = status.add_header(headers) {
        tracing::error!(%error, "a status could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    fn rewritten(original: Status) -> Status {
        let mut headers = trailers(&original);
        rewrite_status(&mut headers);
        Status::from_header_map(&headers).unwrap()
    }

    #[test]
    fn a_message_too_large_is_rejected_with_its_reason() {
        for original in [
            Status::out_of_range(
                "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes",
            ),
            Status::resource_exhausted("Error decompressing: size limit, of 8 bytes, exceeded"),
        ] {
            let status = rewritten(original);
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert_eq!(status.get_details_error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_an_invalid_argument() {
        let bytes: &[u8] = &[0x08, 0x80];
        let error = <crate::pb::digitd::v1::EvaluateRequest as prost::Message>::decode(bytes).unwrap_err();
        let status = rewritten(Status::internal(error.to_string()));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_FIELD");
        assert_eq!(rewritten(Status::internal("internal error")).code(), Code::Internal);
    }

    #[test]
    fn other_statuses_are_unchanged() {
        let original = Status::out_of_range("page 9 of 3");
        assert_eq!(rewritten(original.clone()).message(), original.message());
        assert_eq!(rewritten(original).code(), Code::OutOfRange);
    }
}
