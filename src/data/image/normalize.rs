//! The ways from a grey picture to an image of the size that a network takes. What counts as ink is decided by
//! `foreground`.

use std::borrow::Cow;

use super::{
    DigitImage, Error, GrayPicture, Normalization, Quality,
    borders::{self, Borders},
    foreground::{self, Foreground},
};
use crate::data::centering::{self, ImageSize};

/// Larger pictures are reduced to this side before ink is searched: a digit of 20 pixels needs no
/// more, and the cost of a call stays bounded.
const WORKING_SIDE: usize = 320;

/// Ink that is smaller than this after the picture was reduced is examined again, closely.
const CLOSE_LOOK: usize = 80;

/// Ink of fewer pixels than this on its longer side shows no digit.
const SMALLEST: usize = 8;

/// Ink that differs less than this from the background, of 255, is faint.
const FAINT: u8 = 30;

/// Makes an image of the frame's size of a picture. Errors without normalisation on one of another
/// size. A blank picture becomes a blank image.
pub fn normalize(picture: &GrayPicture, how: Normalization, frame: ImageSize) -> Result<DigitImage, Error> {
    match how {
        Normalization::None => as_given(picture, frame),
        Normalization::Scale => {
            let scaled = scaled(picture, frame.width, frame.height);
            Ok(DigitImage { pixels: scaled.pixels, quality: None })
        }
        Normalization::Center => Ok(centered(bright(picture), frame)),
        Normalization::Auto => Ok(centered(find(picture), frame)),
    }
}

fn as_given(picture: &GrayPicture, frame: ImageSize) -> Result<DigitImage, Error> {
    let (width, height) = (picture.width, picture.height);
    if (width, height) != (frame.width, frame.height) {
        return Err(Error::NotADigit { width, height, expected: frame });
    }
    Ok(DigitImage {
        pixels: picture.pixels.clone(),
        quality: Some(Quality::of_given(&picture.pixels, frame, 128)),
    })
}

/// The part of an image's outermost pixels that is light on a light background, out of 4. MNIST's images have none.
const LIGHT_RIM: usize = 3;

impl Quality {
    /// Assesses an image that is used unchanged: only whether it is blank, and whether its rim is light. `light` is
    /// the least value of a light pixel.
    pub fn of_given<T: PartialOrd + Copy>(pixels: &[T], frame: ImageSize, light: T) -> Self {
        // All values are equal if each equals the next: slices compare faster than single elements.
        let is_plain = pixels.len() < 2 || pixels[1..] == pixels[..pixels.len() - 1];
        let ImageSize { height, width } = frame;
        let row = |row: usize| row * width..(row + 1) * width;
        let sides = (1..height.saturating_sub(1)).flat_map(|row| [row * width, (row + 1) * width - 1]);
        let (mut rim, mut lit) = (0, 0);
        for at in row(0).chain(row(height - 1)).chain(sides) {
            rim += 1;
            lit += usize::from(pixels[at] >= light);
        }
        match (is_plain, lit * 4 >= rim * LIGHT_RIM) {
            (true, _) => Self::Blank,
            (false, true) => Self::LightBackground,
            (false, false) => Self::Good,
        }
    }
}

/// The foreground, and by which factor the picture was reduced.
type ScaledForeground = Option<(Foreground, usize)>;

fn bright(picture: &GrayPicture) -> ScaledForeground {
    let (reduced, factor) = reduced(picture);
    foreground::bright(&reduced).map(|ink| (ink, factor))
}

fn find(picture: &GrayPicture) -> ScaledForeground {
    let (small, factor) = reduced(picture);
    let (small, may_be_border) = without_borders(small);
    let ink = Foreground { may_be_border, ..foreground::find(&small)? };
    if factor == 1 || ink.width.max(ink.height) > CLOSE_LOOK {
        return Some((ink, factor));
    }
    // The crop includes as much paper around the ink as the ink is large, so that most of it is paper.
    let around = ink.width.max(ink.height);
    let side = |start: usize, length: usize, whole: usize| {
        let from = start.saturating_sub(around) * factor;
        from..((start + length + around) * factor).min(whole)
    };
    let (rows, columns) =
        (side(ink.top, ink.height, picture.height), side(ink.left, ink.width, picture.width));
    let closer = cropped(picture, rows, columns);
    let (closer, factor_there) = reduced(&closer);
    let (closer, _) = without_borders(closer);
    match foreground::find(&closer) {
        Some(closer) => {
            let several = closer.several || ink.several;
            Some((Foreground { several, may_be_border, ..closer }, factor_there))
        }
        None => Some((ink, factor)),
    }
}

/// The picture without borders, and whether what is left may be one.
fn without_borders(picture: Cow<'_, GrayPicture>) -> (Cow<'_, GrayPicture>, bool) {
    match borders::erase(&picture) {
        Borders::None => (picture, false),
        Borders::Erased(cleaned) => (Cow::Owned(cleaned), false),
        Borders::Doubtful => (picture, true),
    }
}

fn centered(foreground: ScaledForeground, frame: ImageSize) -> DigitImage {
    let Some((ink, factor)) = foreground else {
        return DigitImage { pixels: vec![0; frame.area()], quality: Some(Quality::Blank) };
    };
    let pixels =
        centering::center_by_mass(&centering::fit_into_box(&ink.pixels, ink.width, ink.height, frame), frame);
    DigitImage { pixels, quality: Some(judge(&ink, factor)) }
}

fn judge(ink: &Foreground, factor: usize) -> Quality {
    let filled = ink.pixels.iter().filter(|&&pixel| pixel > 127).count();
    // A plain stroke fills the box around it, so that only a box of some width can be crowded.
    let slim = ink.width.min(ink.height) * 3 < ink.width.max(ink.height) * 2;
    if ink.width.max(ink.height) * factor < SMALLEST {
        Quality::TooSmall
    } else if ink.several {
        Quality::SeveralShapes
    } else if !ink.strokes || !slim && filled * 3 > ink.width * ink.height * 2 {
        Quality::NotStrokes
    } else if ink.contrast < FAINT {
        Quality::LowContrast
    } else if ink.may_be_border {
        Quality::Border
    } else {
        Quality::Good
    }
}

/// The picture with at most `WORKING_SIDE` pixels on a side, and the factor by which it was reduced.
fn reduced(picture: &GrayPicture) -> (Cow<'_, GrayPicture>, usize) {
    let factor = picture.width.max(picture.height).div_ceil(WORKING_SIDE);
    if factor == 1 {
        return (Cow::Borrowed(picture), 1);
    }
    // What is left over at the right and lower edge is less than one pixel of the small picture.
    let (width, height) = ((picture.width / factor).max(1), (picture.height / factor).max(1));
    let (down, across) = (factor.min(picture.height), factor.min(picture.width));
    let mut pixels = Vec::with_capacity(width * height);
    let mut sums = vec![0u32; width];
    for row in 0..height {
        sums.fill(0);
        for line in picture.pixels[row * factor * picture.width..].chunks_exact(picture.width).take(down) {
            for (sum, part) in sums.iter_mut().zip(line.chunks_exact(across)) {
                *sum += part.iter().map(|&pixel| u32::from(pixel)).sum::<u32>();
            }
        }
        let area = (down * across) as u32;
        pixels.extend(sums.iter().map(|sum| ((sum + area / 2) / area) as u8));
    }
    (Cow::Owned(GrayPicture { width, height, pixels }), factor)
}

fn cropped(
    picture: &GrayPicture,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) -> GrayPicture {
    let (width, height) = (columns.len(), rows.len());
    let line = |row: usize| &picture.pixels[row * picture.width..][columns.clone()];
    GrayPicture { width, height, pixels: rows.flat_map(line).copied().collect() }
}

/// The whole picture in another size.
fn scaled(picture: &GrayPicture, width: usize, height: usize) -> GrayPicture {
    let pixels = centering::resize(&picture.pixels, (picture.width, picture.height), (width, height));
    GrayPicture { width, height, pixels: pixels.iter().map(|&value| value.round() as u8).collect() }
}
