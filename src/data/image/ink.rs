//! Where the ink is in a grey picture: background, contrast, threshold and specks. Knows nothing of
//! digits or of their size.

use super::GreyPicture;

/// Pixels darker than this share of the brightest are no ink, where ink is bright by agreement.
const BRIGHT_SHARE: u8 = 10;

/// Background and ink must differ by this much of 255; less is the grain of an empty sheet.
const LEAST_CONTRAST: f64 = 20.0;

/// A blot smaller than this part of the largest one is a speck.
const SPECK_PART: usize = 30;

/// The ink alone, cut out along its edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ink {
    pub width: usize,
    pub height: usize,
    /// 0 background to 255 ink, row by row.
    pub pixels: Vec<u8>,
    /// How much ink differed from the background in the picture, of 255.
    pub contrast: u8,
}

/// The ink of a picture that is bright on dark and clean; none when it is black all over.
pub fn bright(picture: &GreyPicture) -> Option<Ink> {
    let peak = picture.pixels.iter().copied().max().filter(|&peak| peak > 0)?;
    let mask: Vec<bool> = picture.pixels.iter().map(|&pixel| pixel > peak / BRIGHT_SHARE).collect();
    cut_out(&picture.pixels, &mask, picture.width, peak)
}

/// The ink of any picture, dark on light or light on dark; none when there is nothing but
/// background.
pub fn found(picture: &GreyPicture) -> Option<Ink> {
    let away = away_from_background(picture);
    let (threshold, paper, ink) = otsu(&away)?;
    if ink - paper < LEAST_CONTRAST {
        return None;
    }
    let mut mask: Vec<bool> = away.iter().map(|&value| value > threshold).collect();
    drop_specks(&mut mask, picture.width);
    // Between paper and ink lies the soft edge of a stroke: it keeps its shades.
    let floor = f64::midpoint(paper, f64::from(threshold));
    let shade = |value: u8| ((f64::from(value) - floor) / (ink - floor) * 255.0).clamp(0.0, 255.0) as u8;
    let near = grown(&mask, picture.width);
    let pixels: Vec<u8> =
        away.iter().zip(&near).map(|(&value, &near)| if near { shade(value) } else { 0 }).collect();
    cut_out(&pixels, &mask, picture.width, (ink - paper) as u8)
}

/// How far each pixel is from the background, on the side where there is more of it: paper is
/// what lies along the border, and ink is either darker or lighter.
fn away_from_background(picture: &GreyPicture) -> Vec<u8> {
    let (width, height) = (picture.width, picture.height);
    let on_border = |at: usize| {
        let (row, column) = (at / width, at % width);
        row == 0 || column == 0 || row + 1 == height || column + 1 == width
    };
    let mut border: Vec<u8> =
        (0..picture.pixels.len()).filter(|&at| on_border(at)).map(|at| picture.pixels[at]).collect();
    border.sort_unstable();
    let paper = border[border.len() / 2];
    // Squared, so that much faint shadow does not outweigh a little black ink.
    let weight = |away: u8| u64::from(away) * u64::from(away);
    let darker: u64 = picture.pixels.iter().map(|&pixel| weight(paper.saturating_sub(pixel))).sum();
    let lighter: u64 = picture.pixels.iter().map(|&pixel| weight(pixel.saturating_sub(paper))).sum();
    let away = |pixel: u8| match darker >= lighter {
        true => paper.saturating_sub(pixel),
        false => pixel.saturating_sub(paper),
    };
    picture.pixels.iter().map(|&pixel| away(pixel)).collect()
}

/// The threshold that parts the values best (Otsu 1979), and the mean of each side; none when all
/// values are the same. A value above the threshold belongs to the upper side.
fn otsu(values: &[u8]) -> Option<(u8, f64, f64)> {
    let mut counts = [0u64; 256];
    values.iter().for_each(|&value| counts[usize::from(value)] += 1);
    let total = values.len() as f64;
    let sum: f64 = counts.iter().enumerate().map(|(value, &count)| value as f64 * count as f64).sum();
    let (mut below, mut sum_below) = (0.0, 0.0);
    let mut best: Option<(f64, (u8, f64, f64))> = None;
    for value in 0..=254u8 {
        let count = counts[usize::from(value)] as f64;
        below += count;
        sum_below += f64::from(value) * count;
        let above = total - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let (low, high) = (sum_below / below, (sum - sum_below) / above);
        let between = below * above * (high - low).powi(2);
        if best.is_none_or(|(most, _)| between > most) {
            best = Some((between, (value, low, high)));
        }
    }
    best.map(|(_, parts)| parts)
}

/// Clears the blots that are small beside the largest one.
fn drop_specks(mask: &mut [bool], width: usize) {
    let mut blot_of = vec![usize::MAX; mask.len()];
    let mut sizes = Vec::new();
    let mut waiting = Vec::new();
    for start in 0..mask.len() {
        if !mask[start] || blot_of[start] != usize::MAX {
            continue;
        }
        let blot = sizes.len();
        let mut size = 0usize;
        blot_of[start] = blot;
        waiting.push(start);
        while let Some(at) = waiting.pop() {
            size += 1;
            for next in neighbours(at, width, mask.len()) {
                if mask[next] && blot_of[next] == usize::MAX {
                    blot_of[next] = blot;
                    waiting.push(next);
                }
            }
        }
        sizes.push(size);
    }
    let largest = sizes.iter().copied().max().unwrap_or(0);
    for (pixel, &blot) in mask.iter_mut().zip(&blot_of) {
        *pixel = *pixel && sizes[blot] * SPECK_PART >= largest;
    }
}

/// The mask and every pixel that touches it.
fn grown(mask: &[bool], width: usize) -> Vec<bool> {
    (0..mask.len()).map(|at| mask[at] || neighbours(at, width, mask.len()).any(|next| mask[next])).collect()
}

/// The up to eight pixels around one.
fn neighbours(at: usize, width: usize, length: usize) -> impl Iterator<Item = usize> {
    let (row, column, height) = (at / width, at % width, length / width);
    let rows = row.saturating_sub(1)..(row + 2).min(height);
    rows.flat_map(move |r| (column.saturating_sub(1)..(column + 2).min(width)).map(move |c| r * width + c))
        .filter(move |&next| next != at)
}

/// The box around the mask; none when the mask is empty.
fn cut_out(pixels: &[u8], mask: &[bool], width: usize, contrast: u8) -> Option<Ink> {
    let inked = || (0..mask.len()).filter(|&at| mask[at]);
    let (top, bottom) = (inked().next()? / width, inked().next_back()? / width);
    let (left, right) = (inked().map(|at| at % width).min()?, inked().map(|at| at % width).max()?);
    let rows = (top..=bottom).flat_map(|row| &pixels[row * width + left..=row * width + right]);
    Some(Ink { width: right - left + 1, height: bottom - top + 1, pixels: rows.copied().collect(), contrast })
}
