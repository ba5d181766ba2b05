//! Decoding picture files within limits, and encoding PNG.

use std::{
    io::{Cursor, ErrorKind},
    sync::Mutex,
};

use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageReader, Limits,
    codecs::png::PngEncoder,
};

use super::{Error, GrayPicture, Grayscale, foreign_format, grayscale, truncation};

/// Size limit of an encoded picture in bytes.
pub const MAX_ENCODED_BYTES: usize = 8 << 20;

/// Most pixels of a picture: telephones take 12 to 50 million, and A4 at 600 dpi has 35.
pub const MAX_PICTURE_PIXELS: u64 = 64_000_000;

/// Pictures of more pixels than this are reduced as soon as they are decoded, by a whole factor.
const MAX_KEPT_PIXELS: u64 = 1 << 24;

/// Memory limit of a decoder in bytes: the largest picture at four bytes a pixel, and a little for its own work.
const MAX_DECODER_BYTES: u64 = 4 * MAX_PICTURE_PIXELS + (16 << 20);

/// Held while a picture of more than `MAX_KEPT_PIXELS` is decoded: of those, one at a time is in memory.
static LARGE_PICTURE: Mutex<()> = Mutex::new(());

/// Decodes PNG, JPEG, BMP, GIF (its first frame), WebP or PNM to grey. Transparent pixels become
/// white; a photograph is rotated as its metadata say. Bytes and pixels are checked before anything
/// is decoded, and a large picture is decoded to a reduced scale.
pub fn decode(bytes: &[u8], shades: Grayscale) -> Result<GrayPicture, Error> {
    Ok(decode_counted(bytes, shades)?.0)
}

/// As `decode`; returns beside the picture how many pixels were decoded for it.
pub fn decode_counted(bytes: &[u8], shades: Grayscale) -> Result<(GrayPicture, usize), Error> {
    if bytes.len() > MAX_ENCODED_BYTES {
        return Err(Error::TooManyBytes { bytes: bytes.len(), limit: MAX_ENCODED_BYTES });
    }
    let unknown = || foreign_format::advice(bytes).map_or(Error::UnknownFormat, Error::Foreign);
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("reading from memory cannot fail");
    if reader.format().is_none() {
        return Err(unknown());
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let broken = |error: ImageError| match error {
        // A format that is recognised but not built in.
        ImageError::Unsupported(_) => unknown(),
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => Error::EndsEarly,
        // The GIF decoder has a message alone.
        other => match other.to_string() {
            message if message.to_ascii_lowercase().contains("unexpected end of file") => Error::EndsEarly,
            message => Error::Broken(message),
        },
    };
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if !(1..=MAX_PICTURE_PIXELS).contains(&pixels) {
        return Err(Error::Size { width, height, limit: MAX_PICTURE_PIXELS });
    }
    if truncation::ends_early(bytes) {
        return Err(Error::EndsEarly);
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let _alone = (pixels > MAX_KEPT_PIXELS)
        .then(|| LARGE_PICTURE.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let mut image = reduced(DynamicImage::from_decoder(decoder).map_err(broken)?);
    image.apply_orientation(orientation);
    Ok((grayscale::to_gray(image, shades), pixels as usize))
}

/// The picture with each side divided by the factor that brings it to `MAX_KEPT_PIXELS`, averaged by area.
fn reduced(image: DynamicImage) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let pixels = u64::from(width) * u64::from(height);
    let Some(factor) = (1u32..).find(|factor| pixels <= u64::from(factor * factor) * MAX_KEPT_PIXELS) else {
        return image;
    };
    match factor {
        1 => image,
        _ => image.thumbnail_exact((width / factor).max(1), (height / factor).max(1)),
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
