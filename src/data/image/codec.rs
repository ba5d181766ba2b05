//! Decoding picture files within limits, and encoding PNG.

use std::io::Cursor;

use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageReader, Limits,
    codecs::png::PngEncoder,
};

use super::{Error, GrayPicture, Grayscale, grayscale};

/// Size limit of an encoded picture in bytes.
pub const MAX_ENCODED_BYTES: usize = 8 << 20;

/// Largest side of a picture, in pixels.
pub const MAX_PICTURE_SIDE: u32 = 4096;

/// Memory limit of a decoder in bytes: a picture of the largest size at eight bytes a pixel, and as
/// much again for its own work.
const MAX_DECODER_BYTES: u64 = 2 * 8 * (MAX_PICTURE_SIDE as u64) * (MAX_PICTURE_SIDE as u64);

/// Decodes PNG, JPEG, BMP, GIF (its first frame), WebP or PNM to grey. Transparent pixels become
/// white; a photograph is rotated as its metadata say. Bytes and pixels are checked before anything
/// is decoded.
pub fn decode(bytes: &[u8], shades: Grayscale) -> Result<GrayPicture, Error> {
    if bytes.len() > MAX_ENCODED_BYTES {
        return Err(Error::TooManyBytes { bytes: bytes.len(), limit: MAX_ENCODED_BYTES });
    }
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("reading from memory cannot fail");
    if reader.format().is_none() {
        return Err(Error::UnknownFormat);
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let sides = 1..=MAX_PICTURE_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(Error::Size { width, height, limit: MAX_PICTURE_SIDE });
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    Ok(grayscale::to_gray(image, shades))
}

fn broken(error: ImageError) -> Error {
    match error {
        // A format that is recognised but not built in.
        ImageError::Unsupported(_) => Error::UnknownFormat,
        other => Error::Broken(other.to_string()),
    }
}

/// A grey picture as PNG. Panics unless there are `width * height` pixels, at least one.
pub fn to_png(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    assert_eq!(pixels.len(), width * height);
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(pixels, width as u32, height as u32, ExtendedColorType::L8)
        .expect("a grey image of matching size fits into PNG and memory");
    png
}
