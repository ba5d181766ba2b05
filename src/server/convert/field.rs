//! One field of a request at a time: whole numbers, enums, and an error that names the field as the
//! contract does. Real numbers are the rooms' to judge: they know what their formulas bear.

use std::{fmt, ops::RangeInclusive};

/// A field that no request may carry so; `field` is its path in the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    pub field: String,
    pub message: String,
}

impl Invalid {
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }

    /// For `map_err`: what an identifier's parser said, at this field.
    pub fn at<E: fmt::Display>(field: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |error| Self::new(field, error)
    }
}

/// A whole number, or its default where it was left out.
pub fn count(
    field: &str,
    value: Option<i32>,
    range: RangeInclusive<u32>,
    default: u32,
) -> Result<u32, Invalid> {
    let Some(value) = value else { return Ok(default) };
    match u32::try_from(value) {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(Invalid::new(field, format!("is {value}: use {} to {}", range.start(), range.end()))),
    }
}

/// The largest value of a count that is limited by its type alone.
pub const ANY: u32 = i32::MAX as u32;

/// An enum's value; a number that the contract does not know is refused.
pub fn choice<E: TryFrom<i32>>(field: &str, value: i32) -> Result<E, Invalid> {
    E::try_from(value).map_err(|_| Invalid::new(field, format!("is {value}, which is none of its values")))
}

/// A number as the contract carries it. Everything that people read fits: what does not is shown
/// as the largest that does, never as a negative one.
pub fn int(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_takes_its_default() {
        assert_eq!(count("epochs", None, 1..=9, 5), Ok(5));
    }

    #[test]
    fn a_count_out_of_range_is_refused_by_name() {
        assert_eq!(count("epochs", Some(9), 1..=9, 5), Ok(9));
        for value in [0, 10, -1, i32::MIN, i32::MAX] {
            let error = count("epochs", Some(value), 1..=9, 5).unwrap_err();
            assert_eq!(error.to_string(), format!("epochs: is {value}: use 1 to 9"));
        }
    }

    #[test]
    fn numbers_too_large_for_the_contract_stay_positive() {
        assert_eq!((int(7u32), int(u32::MAX), int(u64::MAX)), (7, i32::MAX, i32::MAX));
    }
}
