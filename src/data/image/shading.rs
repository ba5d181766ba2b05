//! Illumination with edges, which no smooth surface follows: a hand's shadow, a dark table beside the sheet. It is
//! estimated by morphological closing with a square that is wider than any stroke (Serra 1982): ink is filled,
//! and whatever is dark up to a straight edge stays, however sharp the edge is. Ink is then measured in parts of
//! the light around it, because a shadow dims paper and ink alike.

use super::GrayPicture;

/// The darkest light, as a part of the brightest, in which ink is measured: below it noise is all that grows.
const DARKEST: f32 = 0.3;

/// What lies beyond the edges of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing that counts.
    Nothing,
    /// What is there at the edge, so that what is dark up to an edge is dark beyond it.
    Continued,
}

/// Returns how much darker than the paper around it each pixel is, from 0 to 255, where the light is even
/// within `reach` pixels of an edge. With `is_lighter`, how much lighter.
pub fn difference(picture: &GrayPicture, reach: usize, is_lighter: bool, beyond: Beyond) -> Vec<i16> {
    let sign = |pixel: u8| if is_lighter { 255 - pixel } else { pixel };
    let pixels: Vec<u8> = picture.pixels.iter().map(|&pixel| sign(pixel)).collect();
    let light = closed(&smoothed(&pixels, picture.width), picture.width, reach, beyond);
    let brightest = f32::from(light.iter().copied().max().unwrap_or(0));
    // Light ink on a dark ground does not reflect less light: it is measured as it is.
    let gain = |light: u8| match is_lighter {
        true => 1.0,
        false => brightest / f32::from(light).max(brightest * DARKEST).max(1.0),
    };
    let gains: Vec<f32> = (0..=255).map(gain).collect();
    let ink = pixels.iter().zip(&light);
    ink.map(|(&pixel, &light)| {
        ((i16::from(light) - i16::from(pixel)) as f32 * gains[usize::from(light)]) as i16
    })
    .collect()
}

/// The morphological closing by a square of `reach` pixels to each side.
fn closed(pixels: &[u8], width: usize, reach: usize, beyond: Beyond) -> Vec<u8> {
    let height = pixels.len() / width;
    let margin = if beyond == Beyond::Continued { reach } else { 0 };
    let (wide, high) = (width + 2 * margin, height + 2 * margin);
    let mut padded = Vec::with_capacity(wide * high);
    for row in 0..high {
        let line = &pixels[row.saturating_sub(margin).min(height - 1) * width..][..width];
        padded.extend(std::iter::repeat_n(line[0], margin));
        padded.extend(line);
        padded.extend(std::iter::repeat_n(line[width - 1], margin));
    }
    let dilated = extreme_of_columns(&padded, wide, reach, u8::max);
    let dilated = extreme_of_columns(&transposed(&dilated, wide), high, reach, u8::max);
    let eroded = extreme_of_columns(&dilated, high, reach, u8::min);
    let eroded = extreme_of_columns(&transposed(&eroded, high), wide, reach, u8::min);
    (0..height).flat_map(|row| eroded[(row + margin) * wide + margin..][..width].iter().copied()).collect()
}

/// The extreme of each pixel and those within `reach` of it in its column, with three comparisons a pixel whatever
/// the reach (van Herk 1992; Gil and Werman 1993). Whole rows are compared at once.
fn extreme_of_columns(pixels: &[u8], width: usize, reach: usize, pick: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let (height, window) = (pixels.len() / width, 2 * reach + 1);
    let row = |row: usize| row * width..(row + 1) * width;
    let merge = |into: &mut [u8], other: &[u8]| {
        into.iter_mut().zip(other).for_each(|(into, &other)| *into = pick(*into, other));
    };
    // The extremes from the beginning of each block of rows, and from its end.
    let (mut forward, mut backward) = (pixels.to_vec(), pixels.to_vec());
    for at in (0..height).filter(|at| at % window != 0) {
        let (before, here) = forward.split_at_mut(at * width);
        merge(&mut here[..width], &before[row(at - 1)]);
    }
    for at in (0..height - 1).rev().filter(|at| at % window != window - 1) {
        let (here, after) = backward.split_at_mut((at + 1) * width);
        merge(&mut here[row(at)], &after[..width]);
    }
    let mut extremes = Vec::with_capacity(pixels.len());
    for at in 0..height {
        let (first, last) = (at.saturating_sub(reach), (at + reach).min(height - 1));
        let start = extremes.len();
        // A window that is cut off by the edge may lie in one block, at its beginning or at its end.
        if first / window == last / window && first % window != 0 {
            extremes.extend_from_slice(&backward[row(first)]);
            continue;
        }
        extremes.extend_from_slice(&forward[row(last)]);
        if first / window != last / window {
            merge(&mut extremes[start..], &backward[row(first)]);
        }
    }
    extremes
}

fn transposed(pixels: &[u8], width: usize) -> Vec<u8> {
    let height = pixels.len() / width;
    let mut turned = vec![0; pixels.len()];
    // In blocks that fit into the cache.
    for top in (0..height).step_by(32) {
        for left in (0..width).step_by(32) {
            for row in top..(top + 32).min(height) {
                for column in left..(left + 32).min(width) {
                    turned[column * height + row] = pixels[row * width + column];
                }
            }
        }
    }
    turned
}

/// The mean of each pixel and its neighbours, so that the closing does not follow the brightest grain.
fn smoothed(pixels: &[u8], width: usize) -> Vec<u8> {
    let height = pixels.len() / width;
    let mut smooth = Vec::with_capacity(pixels.len());
    for row in 0..height {
        let rows = [row.saturating_sub(1), row, (row + 1).min(height - 1)];
        for column in 0..width {
            let columns = [column.saturating_sub(1), column, (column + 1).min(width - 1)];
            let of_row = |row: usize| -> u16 {
                columns.iter().map(|column| u16::from(pixels[row * width + column])).sum()
            };
            smooth.push((rows.into_iter().map(of_row).sum::<u16>() / 9) as u8);
        }
    }
    smooth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_fills_strokes_and_keeps_what_is_dark_up_to_an_edge() {
        // Dark to the left of a slanted edge, and a stroke across it.
        let (width, height) = (60, 50);
        let dark = |at: usize| at % width < 20 + at / width / 3;
        let stroke = |at: usize| (22..26).contains(&(at / width)) && (10..50).contains(&(at % width));
        let light = |at: usize| if dark(at) { 80u8 } else { 200 };
        let pixels: Vec<u8> =
            (0..width * height).map(|at| if stroke(at) { light(at) / 4 } else { light(at) }).collect();
        let expected: Vec<u8> = (0..width * height).map(light).collect();
        let closed = closed(&pixels, width, 6, Beyond::Continued);
        let wrong = closed.iter().zip(&expected).filter(|(one, other)| one != other).count();
        assert!(wrong < width, "{wrong}");
    }

    #[test]
    fn extremes_are_those_of_a_plain_search() {
        for (height, reach) in [(1usize, 3usize), (7, 1), (10, 2), (31, 4), (9, 20)] {
            let pixels: Vec<u8> = (0..3 * height).map(|at| (at * 89 % 251) as u8).collect();
            let most = |at: usize| {
                let rows = (at / 3).saturating_sub(reach)..(at / 3 + reach + 1).min(height);
                rows.map(|row| pixels[row * 3 + at % 3]).max().unwrap()
            };
            let plain: Vec<u8> = (0..3 * height).map(most).collect();
            assert_eq!(extreme_of_columns(&pixels, 3, reach, u8::max), plain, "{height} {reach}");
        }
    }
}
