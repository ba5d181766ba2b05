//! The two parts that every custom data set has.

use crate::data::{ImageSet, idx};

/// Size limit of a part of a set, in bytes of pixels.
pub const MAX_PIXELS: u64 = idx::MAX_CONTENT;

/// The images of a folder: those for training and validation, and those for testing.
#[derive(Debug, Clone)]
pub struct TrainTestSets {
    pub train: ImageSet,
    pub test: ImageSet,
}
