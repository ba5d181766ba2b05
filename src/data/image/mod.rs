//! Conversion of pictures to the form of MNIST's images: decoding within limits, and the three
//! ways of normalising. Does not use any network or request.

mod background;
mod codec;
mod components;
mod error;
mod foreground;
mod grayscale;
mod normalize;
mod picture;
mod stroke_width;

pub use codec::{MAX_ENCODED_BYTES, MAX_PICTURE_SIDE, decode, to_png};
pub use error::Error;
pub use normalize::normalize;
pub use picture::{DigitImage, GrayPicture, Grayscale, Normalization, Quality};

#[cfg(test)]
mod tests;
