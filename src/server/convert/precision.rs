//! `Precision` ⇄ that of the nn room.

use super::field::{Invalid, choice};
use crate::{nn::Precision, pb::digitd::v1};

/// The precision at `field`; float32 where it is left out.
pub fn precision(field: &str, value: i32) -> Result<Precision, Invalid> {
    Ok(match choice(field, value)? {
        v1::Precision::Unspecified | v1::Precision::Float32 => Precision::Float32,
        v1::Precision::Float64 => Precision::Float64,
        v1::Precision::Bfloat16 => Precision::Bfloat16,
    })
}

pub fn from_precision(precision: Precision) -> v1::Precision {
    match precision {
        Precision::Float32 => v1::Precision::Float32,
        Precision::Float64 => v1::Precision::Float64,
        Precision::Bfloat16 => v1::Precision::Bfloat16,
    }
}
