//! Conversion of pictures to the form of MNIST's images: decoding within limits, and the three
//! ways of normalising. Does not use any network or request.

mod background;
mod borders;
mod codec;
mod components;
mod error;
mod foreground;
mod foreign_format;
mod grayscale;
mod local_threshold;
mod normalize;
mod picture;
mod shading;
mod straight_lines;
mod stroke_width;
mod truncation;

pub use codec::{MAX_ENCODED_BYTES, MAX_PICTURE_PIXELS, decode, decode_counted, to_png};
pub use error::Error;
pub use normalize::normalize;
pub use picture::{DigitImage, GrayPicture, Grayscale, Normalization, Quality};

#[cfg(test)]
mod tests;
