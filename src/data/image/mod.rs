//! Pictures from outside, made into what MNIST's images are: decoding within limits, and the three
//! ways of normalising. Does not use any network or request.

mod background;
mod borders;
mod codec;
mod components;
mod error;
mod foreground;
mod grayscale;
mod local_threshold;
mod normalize;
mod picture;
mod straight_lines;
mod stroke_width;

pub use codec::{MAX_ENCODED_BYTES, MAX_PICTURE_SIDE, decode, to_png};
pub use error::Error;
pub use normalize::normalize;
pub use picture::{DigitImage, GrayPicture, Grayscale, Normalization, Quality};

#[cfg(test)]
mod tests;
