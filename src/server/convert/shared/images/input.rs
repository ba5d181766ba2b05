//! What a request gives as images, what a version accepts, and the limits of one call.

use bytes::Bytes;

use crate::{
    data::{ImageSize, image::Normalization},
    pb::digitd::v1,
    registry::Manifest,
};

/// Most images of one call.
pub const MAX_IMAGES_PER_CALL: usize = 16_384;

/// Most encoded images of one call: each may decode to 64 million pixels.
pub const MAX_ENCODED: usize = 1_024;

/// Most pixels that the encoded images of one call may decode to: two of the largest images, or 1024 images
/// of 362 × 362. More would keep a core busy for longer than callers wait.
pub const MAX_DECODED_PIXELS: usize = 8 * 4096 * 4096;

/// The copying of so many images runs on the thread of the call; more go to the decode pool.
pub const MAX_INLINE_IMAGES: usize = 64;

/// The images that a version accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSpec {
    pub frame: ImageSize,
    /// The normalization of an encoded image if the request does not say one.
    pub encoded: Normalization,
    /// Whether an image without ink is reported as blank. In a custom data set such an image may be a class.
    pub detects_blank: bool,
}

impl InputSpec {
    pub fn of(manifest: &Manifest) -> Self {
        let frame = ImageSize { height: manifest.height, width: manifest.width };
        Self::new(frame, manifest.config.as_ref().is_none_or(|config| config.dataset.is_built_in()))
    }

    /// The images of a network that was trained on a built-in data set or on a custom one, whose images are
    /// used as they are.
    pub fn new(frame: ImageSize, built_in: bool) -> Self {
        let encoded = if built_in { Normalization::Auto } else { Normalization::Scale };
        Self { frame, encoded, detects_blank: built_in }
    }
}

/// The images of a request, before it is known which version they are for.
#[derive(Debug, Default)]
pub struct ImageInputs {
    pub images: Vec<v1::Image>,
    pub batch: Bytes,
    pub normalization: i32,
    /// Whether the response shows the network's input as PNG.
    pub return_pngs: bool,
}
