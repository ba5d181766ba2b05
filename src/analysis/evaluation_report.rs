//! What an evaluation finds out about a version.

use crate::{
    data::{DatasetSpec, Split},
    ids::{ModelName, Version},
    metric::{Measures, PairedComparison},
    registry::{Assignment, RequirementResult},
};

/// The result of an evaluation.
#[derive(Debug, Clone)]
pub struct EvaluationReport {
    pub model: ModelName,
    pub version: Version,
    pub class_names: Vec<String>,
    pub dataset: DatasetSpec,
    pub split: Split,
    /// SHA-256 of the images that were evaluated.
    pub digest: String,
    pub measures: Measures,
    /// The misclassified images with the largest losses, largest first.
    pub misclassified: Vec<MisclassifiedImage>,
    /// The fitted temperature, if it was requested.
    pub temperature: Option<TemperatureFit>,
    pub comparison: Option<SecondVersion>,
    /// The requirements, all of which held.
    pub results: Vec<RequirementResult>,
    /// The new assignment of the alias, if one was to be moved.
    pub promoted: Option<Assignment>,
    pub seconds: f64,
}

/// A misclassified image.
#[derive(Debug, Clone, PartialEq)]
pub struct MisclassifiedImage {
    /// The index of the image in its split, from 0.
    pub index: usize,
    pub label: usize,
    pub predicted: usize,
    pub loss: f64,
    pub probabilities: Vec<f64>,
    pub png: Option<Vec<u8>>,
}

/// A temperature fitted on validation images, and the measures of the evaluated images with it.
#[derive(Debug, Clone, PartialEq)]
pub struct TemperatureFit {
    /// The temperature; none if no finite one is best.
    pub temperature: Option<f64>,
    /// The number of images that it was fitted on.
    pub images: usize,
    /// SHA-256 of the images that it was fitted on.
    pub digest: String,
    pub loss: Option<f64>,
    pub calibration_error: Option<f64>,
}

/// A second version, evaluated on the same images.
#[derive(Debug, Clone)]
pub struct SecondVersion {
    pub model: ModelName,
    pub version: Version,
    pub class_names: Vec<String>,
    pub measures: Measures,
    pub paired: PairedComparison,
}
