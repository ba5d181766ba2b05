//! Images of requests → the input of a network: bytes [n, H·W], or numbers in [0, 1]. The form is checked at
//! once, for the size that the version takes; decoding and normalization take long and are a second step.

mod check;
mod decode;
mod input;

pub use check::{check, check_one};
pub use decode::{CheckedImages, DecodedImages};
pub use input::{ImageInputs, InputSpec, MAX_IMAGES_PER_CALL, MAX_INLINE_IMAGES};

#[cfg(test)]
mod tests;
