//! One field of a request at a time: whole numbers and their ranges. Real numbers are checked in the rooms,
//! which know the ranges of their formulas.

use std::ops::RangeInclusive;

use crate::ids::FieldError;

/// A whole number within `range`, or its default if it is left out.
pub fn count(
    field: &str,
    value: Option<i32>,
    range: RangeInclusive<u32>,
    default: u32,
) -> Result<u32, FieldError> {
    let Some(value) = value else { return Ok(default) };
    match u32::try_from(value) {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(FieldError::new(field, format!("is {value}: use {} to {}", range.start(), range.end()))),
    }
}

/// The largest value of a count that only its type limits.
pub const ANY: u32 = i32::MAX as u32;

/// A number as the contract carries it. Every number that people read fits; a larger one becomes the largest
/// that fits, never a negative one.
pub fn int(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

/// `int` for every number of a list.
pub fn ints<T: Copy + TryInto<i32>>(values: &[T]) -> Vec<i32> {
    values.iter().map(|&value| int(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_left_out_have_their_defaults() {
        assert_eq!(count("epochs", None, 1..=9, 5), Ok(5));
    }

    #[test]
    fn a_count_out_of_range_is_rejected_by_name() {
        assert_eq!(count("epochs", Some(9), 1..=9, 5), Ok(9));
        for value in [0, 10, -1, i32::MIN, i32::MAX] {
            let error = count("epochs", Some(value), 1..=9, 5).unwrap_err();
            assert_eq!(error.to_string(), format!("epochs is {value}: use 1 to 9"));
        }
    }

    #[test]
    fn numbers_too_large_for_the_contract_stay_positive() {
        assert_eq!((int(7u32), int(u32::MAX), int(u64::MAX)), (7, i32::MAX, i32::MAX));
    }
}
