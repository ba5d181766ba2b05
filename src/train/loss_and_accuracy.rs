//! The two numbers that every measurement of a run has.

use serde::{Deserialize, Serialize};

/// Mean loss and accuracy over a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossAndAccuracy {
    #[serde(with = "crate::train::finite")]
    pub loss: f64,
    #[serde(with = "crate::train::finite")]
    pub accuracy: f64,
}
