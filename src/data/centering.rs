//! The placement of MNIST's digits: scaled into a box of 20 × 20 pixels, then centred by mass in 28 ×
//! 28, or in images of other sizes likewise (LeCun, Cortes, Burges: the MNIST database). Does not use any
//! pictures or strokes.

/// Side of a finished image, in pixels.
pub const SIDE: usize = 28;

/// Side of the box that the ink fills before it is centred.
pub const BOX: usize = 20;

/// The size of the images that a network takes, in pixels. MNIST's box and centre are scaled to it,
/// next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSize {
    pub height: usize,
    pub width: usize,
}

impl ImageSize {
    /// 28 × 28.
    pub const MNIST: Self = Self { height: SIDE, width: SIDE };

    /// Pixels of an image.
    pub fn area(self) -> usize {
        self.height * self.width
    }
}

/// The ink (bytes, `width` × `height`) scaled into the box, its aspect kept, in the middle of the
/// frame, from 0 to 1.
pub fn fit_into_box(pixels: &[u8], width: usize, height: usize, frame: ImageSize) -> Vec<f32> {
    let side = |of: usize| (of * BOX / SIDE).max(1);
    let (across, down) = (side(frame.width), side(frame.height));
    // The side that fills its part of the box first decides the scale.
    let (room, longer) = if width * down >= height * across { (across, width) } else { (down, height) };
    let longer = longer.max(1);
    let scaled = |side: usize| ((side * room + longer / 2) / longer).max(1);
    let (w, h) = (scaled(width).min(frame.width), scaled(height).min(frame.height));
    let (left, top) = ((frame.width - w) / 2, (frame.height - h) / 2);
    let small = resize(pixels, (width, height), (w, h));
    let mut ink = vec![0.0; frame.area()];
    for (row, line) in small.chunks_exact(w).enumerate() {
        let start = (top + row) * frame.width + left;
        for (pixel, value) in ink[start..start + w].iter_mut().zip(line) {
            *pixel = value / 255.0;
        }
    }
    ink
}

/// Resizes a picture from `from` (width, height) to `to`: averaged by area where it shrinks,
/// interpolated where it grows; columns and rows separately.
pub fn resize(pixels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let (across, down) = (weights(from.0, to.0), weights(from.1, to.1));
    let weighted = |(start, parts): &(usize, Vec<f32>), value: &dyn Fn(usize) -> f32| -> f32 {
        parts.iter().enumerate().map(|(at, part)| part * value(start + at)).sum()
    };
    let narrow: Vec<f32> = (0..from.1)
        .flat_map(|row| across.iter().map(move |parts| (row, parts)))
        .map(|(row, parts)| weighted(parts, &|column| f32::from(pixels[row * from.0 + column])))
        .collect();
    down.iter()
        .flat_map(|parts| (0..to.0).map(move |column| (column, parts)))
        .map(|(column, parts)| weighted(parts, &|row| narrow[row * to.0 + column]))
        .collect()
}

/// For each of `to` pixels: the first of the `from` pixels that it is made of, and their shares.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let ratio = from as f32 / to as f32;
    let shares = |at: usize| {
        if ratio < 1.0 {
            let middle = ((at as f32 + 0.5) * ratio - 0.5).clamp(0.0, (from - 1) as f32);
            let part = middle.fract();
            return (middle as usize, if part > 0.0 { vec![1.0 - part, part] } else { vec![1.0] });
        }
        let (low, high) = (at as f32 * ratio, ((at + 1) as f32 * ratio).min(from as f32));
        let first = low as usize;
        let last = (high.ceil() as usize).clamp(first + 1, from);
        let covered = |pixel: usize| (high.min((pixel + 1) as f32) - low.max(pixel as f32)).max(0.0);
        let parts: Vec<f32> = (first..last).map(covered).collect();
        let sum: f32 = parts.iter().sum();
        (first, parts.into_iter().map(|part| part / sum).collect())
    };
    (0..to).map(shares).collect()
}

/// The ink (from 0 to 1) as bytes, moved by whole pixels so that its centre of mass lies in the
/// middle; never so far that ink would be lost.
///
/// The middle of 28 rows is row 14, counted from 0. Not the exact one, 13.5: in MNIST's own images
/// the centre lies between 13.5 and 14.5 without exception.
pub fn center_by_mass(ink: &[f32], frame: ImageSize) -> Vec<u8> {
    let shift = |mass: Vec<f32>| -> isize {
        let side = mass.len();
        let total: f32 = mass.iter().sum();
        let moment: f32 = mass.iter().enumerate().map(|(at, part)| at as f32 * part).sum();
        let first = mass.iter().position(|&part| part > VISIBLE).unwrap_or(0) as isize;
        let last = mass.iter().rposition(|&part| part > VISIBLE).unwrap_or(side - 1) as isize;
        // A stroke of even width is half-way between two positions, which rounding noise must not decide.
        let off = ((side as f32 / 2.0 - moment / total.max(f32::MIN_POSITIVE)) * 256.0).round() / 256.0;
        let shift = off.round() as isize;
        shift.clamp(-first, side as isize - 1 - last)
    };
    let ImageSize { height, width } = frame;
    let row_mass = |row: usize| ink[row * width..(row + 1) * width].iter().sum();
    let column_mass = |column: usize| (0..height).map(|row| ink[row * width + column]).sum();
    let down = shift((0..height).map(row_mass).collect());
    let right = shift((0..width).map(column_mass).collect());
    let mut image = vec![0; frame.area()];
    for row in 0..height {
        for column in 0..width {
            let (to_row, to_column) = (row as isize + down, column as isize + right);
            if (0..height as isize).contains(&to_row) && (0..width as isize).contains(&to_column) {
                let byte = (ink[row * width + column].clamp(0.0, 1.0) * 255.0).round() as u8;
                image[to_row as usize * width + to_column as usize] = byte;
            }
        }
    }
    image
}

/// Less than this is no byte above 0.
const VISIBLE: f32 = 0.5 / 255.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages_by_area() {
        assert_eq!(resize(&[0, 100, 200, 100], (4, 1), (2, 1)), [50.0, 150.0]);
        let halves = resize(&[0, 90, 240], (3, 1), (2, 1));
        assert!((halves[0] - 30.0).abs() < 1e-3 && (halves[1] - 190.0).abs() < 1e-3, "{halves:?}");
        assert_eq!(resize(&[1, 3, 5, 7], (2, 2), (1, 1)), [4.0]);
    }

    #[test]
    fn growing_interpolates_and_keeps_the_ends() {
        assert_eq!(resize(&[0, 100], (2, 1), (4, 1)), [0.0, 25.0, 75.0, 100.0]);
        assert_eq!(resize(&[7], (1, 1), (3, 2)), [7.0; 6]);
    }

    #[test]
    fn any_size_keeps_its_mean() {
        let pixels: Vec<u8> = (0..231).map(|at| (at * 37 % 256) as u8).collect();
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let before: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel)).collect();
        let after = resize(&pixels, (21, 11), (7, 5));
        assert!((mean(&before) - mean(&after)).abs() < 0.1);
    }

    #[test]
    fn the_center_of_mass_is_moved_to_the_middle() {
        // The lower end is heavy: the box is in the middle, the centre of mass is not.
        let mut pixels = vec![255; 20 * 20];
        pixels[..8 * 20]
            .iter_mut()
            .enumerate()
            .for_each(|(at, pixel)| *pixel = u8::from(at % 20 == 10) * 255);
        let image = center_by_mass(&fit_into_box(&pixels, 20, 20, ImageSize::MNIST), ImageSize::MNIST);
        let total: f64 = image.iter().map(|&pixel| f64::from(pixel)).sum();
        let moment: f64 =
            image.iter().enumerate().map(|(at, &pixel)| (at / 28) as f64 * f64::from(pixel)).sum();
        assert!((moment / total - 14.0).abs() <= 0.5);
        assert_eq!(image.iter().filter(|&&pixel| pixel == 255).count(), 248);
    }

    #[test]
    fn a_frame_of_another_size_is_centered_in_its_box() {
        let frame = ImageSize { height: 20, width: 12 };
        for (width, height) in [(9, 9), (30, 3), (3, 30), (64, 64), (1, 1)] {
            let image =
                center_by_mass(&fit_into_box(&vec![255; width * height], width, height, frame), frame);
            let rows: Vec<usize> = (0..240).filter(|&at| image[at] > 127).map(|at| at / 12).collect();
            let columns: Vec<usize> = (0..240).filter(|&at| image[at] > 127).map(|at| at % 12).collect();
            let extent = |of: &[usize]| of.iter().max().unwrap() + 1 - of.iter().min().unwrap();
            assert!(extent(&rows) <= 14 && extent(&columns) <= 8, "{width}x{height}");
            assert!(extent(&rows) == 14 || extent(&columns) == 8, "{width}x{height}");
        }
    }

    #[test]
    fn ink_is_never_shifted_out_of_the_image() {
        let mut ink = [0.0; SIDE * SIDE];
        ink[..SIDE * 4].fill(1.0);
        ink[SIDE * 27 + 3] = 1.0;
        assert_eq!(
            center_by_mass(&ink, ImageSize::MNIST).iter().filter(|&&pixel| pixel > 0).count(),
            4 * SIDE + 1
        );
    }
}
