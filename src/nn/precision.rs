//! The numbers that a network is trained in.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::Kind;

/// How many bits weights and calculations have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    #[default]
    Float32,
    /// Everything, from the pixels to the published weights.
    Float64,
}

impl Precision {
    /// Of parameters, gradients and optimiser state, in memory and in files.
    pub fn kind(self) -> Kind {
        match self {
            Self::Float32 => Kind::Float,
            Self::Float64 => Kind::Double,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        })
    }
}
