//! `Precision` ⇄ that of the nn room.

use crate::{nn::Precision, pb::digitd::v1};

pub fn from_precision(precision: Precision) -> v1::Precision {
    match precision {
        Precision::Float32 => v1::Precision::Float32,
        Precision::Float64 => v1::Precision::Float64,
    }
}
