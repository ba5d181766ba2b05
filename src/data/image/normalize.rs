//! The ways from a grey picture to an image of the size that a network takes. What counts as ink is `ink`'s to say.

use super::{
    DigitImage, GreyPicture, Normalization, Problem, Quality,
    ink::{self, Ink},
};
use crate::data::fit::{self, Frame};

/// Larger pictures are reduced to this side before ink is looked for: a digit of 20 pixels needs no
/// more, and what a caller can make the server compute stays bounded.
const WORKING_SIDE: usize = 512;

/// Ink that differs less than this from the background, of 255, is faint.
const FAINT: u8 = 60;

/// Makes an image of the frame's size of a picture. Errors when it is blank, or without
/// normalisation of another size.
pub fn normalize(picture: &GreyPicture, how: Normalization, frame: Frame) -> Result<DigitImage, Problem> {
    match how {
        Normalization::None => as_given(picture, frame),
        Normalization::Scale => as_given(&scaled(picture, frame.width, frame.height), frame),
        Normalization::Center => centred(ink::bright(&reduced(picture)), frame),
        Normalization::Auto => centred(ink::found(&reduced(picture)), frame),
    }
}

fn as_given(picture: &GreyPicture, frame: Frame) -> Result<DigitImage, Problem> {
    let (width, height) = (picture.width, picture.height);
    if (width, height) != (frame.width, frame.height) {
        return Err(Problem::NotADigit { width, height, expected: frame });
    }
    let peak = picture.pixels.iter().copied().max().unwrap_or(0);
    let ink = picture.pixels.iter().filter(|&&pixel| pixel > peak / 2).count();
    let quality = match peak {
        0 => Quality::Blank,
        _ => judge(peak, ink, frame.area()),
    };
    Ok(DigitImage { pixels: picture.pixels.clone(), quality })
}

fn centred(ink: Option<Ink>, frame: Frame) -> Result<DigitImage, Problem> {
    let ink = ink.ok_or(Problem::Blank)?;
    let filled = ink.pixels.iter().filter(|&&pixel| pixel > 127).count();
    let image = fit::centred(&fit::boxed(&ink.pixels, ink.width, ink.height, frame), frame);
    // A plain stroke fills the box around it, so that only a box of some width can be crowded.
    let slim = ink.width.min(ink.height) * 3 < ink.width.max(ink.height) * 2;
    let area = if slim { usize::MAX } else { ink.width * ink.height };
    Ok(DigitImage { pixels: image, quality: judge(ink.contrast, filled, area) })
}

fn judge(contrast: u8, ink: usize, area: usize) -> Quality {
    match contrast {
        _ if contrast < FAINT => Quality::Faint,
        _ if ink > area / 3 * 2 => Quality::Crowded,
        _ => Quality::Good,
    }
}

/// The picture with at most `WORKING_SIDE` pixels on a side.
fn reduced(picture: &GreyPicture) -> GreyPicture {
    let longer = picture.width.max(picture.height);
    if longer <= WORKING_SIDE {
        return picture.clone();
    }
    let shorter = |side: usize| (side * WORKING_SIDE / longer).max(1);
    scaled(picture, shorter(picture.width), shorter(picture.height))
}

/// The whole picture in another size.
fn scaled(picture: &GreyPicture, width: usize, height: usize) -> GreyPicture {
    let pixels = fit::resized(&picture.pixels, (picture.width, picture.height), (width, height));
    GreyPicture { width, height, pixels: pixels.iter().map(|&value| value.round() as u8).collect() }
}
