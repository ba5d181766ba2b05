//! The one error of a request's field: every room that checks a value names the field in the contract's
//! words, and no room translates another's type.

use std::fmt;

/// A field whose value is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct FieldError {
    /// The field's path in the request, for instance `optimizer.adam.beta1`.
    pub field: String,
    /// What is wrong with the value and what would be accepted. The text continues a sentence that begins
    /// with the field, for instance "is 2: use a number from 0 to below 1".
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }

    /// For `map_err`: what the parser of a value said, at this field.
    pub fn at<E: fmt::Display>(field: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |error| Self::new(field, error)
    }

    /// The same error where the message that was checked is the field `path` of a larger one.
    pub fn prefixed(self, path: &str) -> Self {
        Self { field: format!("{path}.{}", self.field), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_field_is_named_by_its_whole_path() {
        let error = FieldError::new("beta1", "is 2: use less than 1").prefixed("adam").prefixed("optimizer");
        assert_eq!(error.to_string(), "optimizer.adam.beta1 is 2: use less than 1");
    }
}
