//! Pictures from outside, made into what MNIST's images are: decoding within limits, and the three
//! ways of normalising. Knows no network and no request.

mod colour;
mod ink;
mod normalize;
mod paper;
mod shapes;
mod stroke;

use std::io::Cursor;

use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageReader, Limits,
    codecs::png::PngEncoder,
};

use super::Frame;

pub use normalize::normalize;

/// Most bytes of an encoded picture.
pub const MAX_ENCODED_BYTES: usize = 8 << 20;

/// Most pixels on a side of a picture.
pub const MAX_PICTURE_SIDE: u32 = 4096;

/// Most memory that a decoder may take: a picture of the largest size at eight bytes a pixel, and
/// as much again for its own work.
const MAX_DECODER_BYTES: u64 = 2 * 8 * (MAX_PICTURE_SIDE as u64) * (MAX_PICTURE_SIDE as u64);

/// How a picture becomes one of the size that a network takes; 28 × 28 of MNIST's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Taken as it is: it must be as large as the network's images, with background 0 and ink 255.
    None,
    /// The whole picture is scaled to that size; nothing is turned around or centred.
    Scale,
    /// The ink (bright on dark) is scaled into 20 × 20 and centred by its mass.
    Center,
    /// As `Center`, and before that dark on light is turned around, the contrast stretched, and
    /// noise and specks dropped.
    Auto,
}

/// What is wrong with a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("picture has {bytes} bytes: send at most {limit}")]
    TooManyBytes { bytes: usize, limit: usize },
    #[error("picture has {width}x{height} pixels: send 1 to {limit} on a side")]
    Size { width: u32, height: u32, limit: u32 },
    #[error("picture is of no known format: send PNG, JPEG, BMP, GIF, WebP or PNM")]
    UnknownFormat,
    #[error("picture does not decode: {0}")]
    Broken(String),
    #[error(
        "picture has {width}x{height} pixels: without normalization it must have {}x{}",
        expected.width,
        expected.height
    )]
    NotADigit { width: usize, height: usize, expected: Frame },
}

/// A grey picture of any size, one byte a pixel from 0 (black) to 255 (white), row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GreyPicture {
    pub width: usize,
    pub height: usize,
    /// `width * height` bytes.
    pub pixels: Vec<u8>,
}

/// What the network sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigitImage {
    /// A byte for each pixel of the frame, row by row, 0 background to 255 ink.
    pub pixels: Vec<u8>,
    /// None where a picture is taken whole: what a good one is, its data set alone can say.
    pub quality: Option<Quality>,
}

/// Whether a picture shows one digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    Good,
    /// Nothing but background, or its grain.
    Blank,
    /// Shapes beside or above each other that cannot be the strokes of one digit.
    SeveralShapes,
    /// Ink of a few pixels.
    TooSmall,
    /// Ink that hardly differs from the background.
    LowContrast,
    /// Ink over most of its box: a block or a photograph rather than strokes.
    NotStrokes,
}

/// How colours become grey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shades {
    /// As bright as they look, on white.
    Luma,
    /// So that ink differs most from its background, whatever the colours of both.
    Contrast,
}

/// Decodes PNG, JPEG, BMP, GIF (its first frame), WebP or PNM to grey. What is transparent shows
/// white; a photograph is turned as its camera was. Bytes and pixels are checked before anything
/// is decoded.
pub fn decode(bytes: &[u8], shades: Shades) -> Result<GreyPicture, Problem> {
    if bytes.len() > MAX_ENCODED_BYTES {
        return Err(Problem::TooManyBytes { bytes: bytes.len(), limit: MAX_ENCODED_BYTES });
    }
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("reading from memory cannot fail");
    if reader.format().is_none() {
        return Err(Problem::UnknownFormat);
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let sides = 1..=MAX_PICTURE_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(Problem::Size { width, height, limit: MAX_PICTURE_SIDE });
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    Ok(colour::to_grey(image, shades))
}

fn broken(error: ImageError) -> Problem {
    match error {
        // A format that is recognised but not built in.
        ImageError::Unsupported(_) => Problem::UnknownFormat,
        other => Problem::Broken(other.to_string()),
    }
}

/// A grey picture as PNG. Panics unless there are `width * height` pixels, at least one.
pub fn to_png(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    assert_eq!(pixels.len(), width * height);
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(pixels, width as u32, height as u32, ExtendedColorType::L8)
        .expect("a grey picture of matching size fits into PNG and memory");
    png
}

#[cfg(test)]
mod tests;
