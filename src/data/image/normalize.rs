//! The three ways from a grey picture to a digit of 28 × 28. What counts as ink is `ink`'s to say.

use super::{
    DigitImage, GreyPicture, Normalization, Problem, Quality,
    ink::{self, Ink},
};
use crate::data::fit::{self, SIDE};

/// Larger pictures are reduced to this side before ink is looked for: a digit of 20 pixels needs no
/// more, and what a caller can make the server compute stays bounded.
const WORKING_SIDE: usize = 512;

/// Ink that differs less than this from the background, of 255, is faint.
const FAINT: u8 = 60;

/// Makes a digit of a picture. Errors when it is blank, or without normalisation not 28 × 28.
pub fn normalize(picture: &GreyPicture, how: Normalization) -> Result<DigitImage, Problem> {
    match how {
        Normalization::None => as_given(picture),
        Normalization::Center => centred(ink::bright(&reduced(picture))),
        Normalization::Auto => centred(ink::found(&reduced(picture))),
    }
}

fn as_given(picture: &GreyPicture) -> Result<DigitImage, Problem> {
    let (width, height) = (picture.width, picture.height);
    if (width, height) != (SIDE, SIDE) {
        return Err(Problem::NotADigit { width, height });
    }
    let peak = picture.pixels.iter().copied().max().unwrap_or(0);
    let ink = picture.pixels.iter().filter(|&&pixel| pixel > peak / 2).count();
    let quality = match peak {
        0 => Quality::Blank,
        _ => judge(peak, ink, SIDE * SIDE),
    };
    Ok(DigitImage { pixels: picture.pixels.clone(), quality })
}

fn centred(ink: Option<Ink>) -> Result<DigitImage, Problem> {
    let ink = ink.ok_or(Problem::Blank)?;
    let filled = ink.pixels.iter().filter(|&&pixel| pixel > 127).count();
    let image = fit::centred(&fit::boxed(&ink.pixels, ink.width, ink.height));
    // A plain stroke fills the box around it, so that only a box of some width can be crowded.
    let slim = ink.width.min(ink.height) * 3 < ink.width.max(ink.height) * 2;
    let area = if slim { usize::MAX } else { ink.width * ink.height };
    Ok(DigitImage { pixels: image.to_vec(), quality: judge(ink.contrast, filled, area) })
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
    let scaled = |side: usize| (side * WORKING_SIDE / longer).max(1);
    let (width, height) = (scaled(picture.width), scaled(picture.height));
    let pixels = fit::resized(&picture.pixels, (picture.width, picture.height), (width, height));
    GreyPicture { width, height, pixels: pixels.iter().map(|&value| value.round() as u8).collect() }
}
