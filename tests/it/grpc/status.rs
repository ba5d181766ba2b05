//! What a status has: code, reason, and the name of the field or resource.

use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

/// The status of a call that must fail.
pub fn error<T>(result: Result<Response<T>, Status>) -> Status {
    match result {
        Ok(_) => panic!("the call was answered"),
        Err(status) => status,
    }
}

/// Checks a status against the contract's table of errors.
pub fn check(status: &Status, code: Code, reason: &str) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no reason: {status:?}"));
    assert_eq!((status.code(), &*info.reason, &*info.domain), (code, reason, "digitd"), "{status:?}");
}

/// Checks that a status rejects this field.
pub fn check_field(status: &Status, field: &str) {
    check(status, Code::InvalidArgument, "INVALID_FIELD");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, field, "{status:?}");
}

/// Checks that a status reports this resource as missing.
pub fn check_not_found(status: &Status, reason: &str, name: &str) {
    check(status, Code::NotFound, reason);
    assert_eq!(status.get_details_resource_info().unwrap().resource_name, name);
}
