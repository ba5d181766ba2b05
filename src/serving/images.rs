//! The images of a call, and their predictions.

use bytes::Bytes;

use crate::ids::{ModelName, Version};

/// N images of H × W pixels, one after another, in row-major order.
#[derive(Debug, Clone)]
pub enum ImageBatch {
    /// N·H·W bytes, from 0 (background) to 255 (ink).
    Bytes(Bytes),
    /// N·H·W numbers in [0, 1]; the caller has checked the range.
    Floats(Vec<f32>),
    /// N·H·W float32 numbers in [0, 1] as little-endian bytes, as some protocols carry them.
    FloatBytes(Bytes),
}

impl ImageBatch {
    /// The pixels as numbers in [0, 1].
    pub fn into_values(self) -> Vec<f32> {
        match self {
            Self::Bytes(bytes) => bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
            Self::Floats(values) => values,
            Self::FloatBytes(bytes) => bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect(),
        }
    }
}

/// The predictions for the images of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionBatch {
    pub model: ModelName,
    pub version: Version,
    pub classes: usize,
    /// Class names, one per class; empty if the classes are numbered.
    pub class_names: Vec<String>,
    /// Softmax probabilities [N, classes] in row-major order.
    pub probabilities: Vec<f32>,
}
