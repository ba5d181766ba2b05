//! The evidence of a gated alias update: what the version was measured to reach. It is stored with
//! the assignment.

use serde::{Deserialize, Serialize};

use crate::{
    data::{DatasetSpec, Split},
    metric::finite,
};

/// The requirements on a version, their results, and the images they were measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The requirements with their results; all of them were met.
    pub results: Vec<RequirementResult>,
    pub dataset: DatasetSpec,
    pub split: Split,
    /// The digest of the images and labels, as `ImageSet::digest` computes it.
    pub dataset_digest: String,
    pub images: u32,
}

/// A requirement and its measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequirementResult {
    /// The requirement as it is written: `accuracy>=0.99`. It is a text, so that a digitd that does
    /// not know the measure still reads the history.
    pub requirement: String,
    /// The measured value; none if the measure does not exist.
    #[serde(with = "finite::optional")]
    pub measured: Option<f64>,
}
