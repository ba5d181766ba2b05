//! The errors of decoding and normalising a picture.

use crate::data::ImageSize;

/// The reason why a picture is rejected; the message says what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("image has {bytes} bytes: send at most {limit}")]
    TooManyBytes { bytes: usize, limit: usize },
    #[error("image has {width}x{height} pixels: send 1 to {limit} in all")]
    Size { width: u32, height: u32, limit: u64 },
    #[error("image is of no known format: send PNG, JPEG, BMP, GIF, WebP or PNM")]
    UnknownFormat,
    #[error("image is {0}")]
    Foreign(&'static str),
    #[error("image ends early: its file was cut off, send it whole")]
    EndsEarly,
    #[error("image does not decode: {0}")]
    Broken(String),
    #[error(
        "image has {width}x{height} pixels: without normalization it must have {}x{}",
        expected.width,
        expected.height
    )]
    NotADigit { width: usize, height: usize, expected: ImageSize },
}
