//! What a version was measured to reach before an alias was moved to it; kept with the assignment.

use serde::{Deserialize, Serialize};

use crate::{
    data::{DatasetSpec, Split},
    metric::finite,
};

/// What was required of a version, what was measured, and on which images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Everything that was required; all of it held.
    pub results: Vec<RequirementResult>,
    pub dataset: DatasetSpec,
    pub split: Split,
    /// Of the images and labels, as `ImageSet::digest` has it.
    pub dataset_digest: String,
    pub images: u32,
}

/// A requirement, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequirementResult {
    /// As people write it, `accuracy>=0.99`. A text, so that a digitd which does not know the figure
    /// still reads the history.
    pub requirement: String,
    /// None where the figure does not exist.
    #[serde(with = "finite::optional")]
    pub measured: Option<f64>,
}
