//! A threshold for each pixel from the mean around it (Bradley and Roth 2007, after Wellner), computed with an
//! integral image. It finds narrow ink in any light, and knows nothing of wide ink or of noise.

use super::GrayPicture;

/// Windows on the shorter side of the picture; the mean of a window is that of the paper around a line.
const WINDOWS: usize = 10;

/// Half the side of the smallest window, in pixels.
const LEAST_REACH: usize = 6;

/// Ink differs from the mean around it by this share of it, and by no less than `LEAST_CONTRAST`.
const CONTRAST_SHARE: f32 = 0.12;
const LEAST_CONTRAST: f32 = 12.0;

/// Ink that is narrow, and the mean of the paper around each pixel.
pub struct LocalInk {
    /// Whether each pixel is ink.
    pub mask: Vec<bool>,
    /// Whether the ink is lighter than the paper.
    pub is_lighter: bool,
    width: usize,
    reach: usize,
    /// The sums of the values of paper, and the numbers of its pixels.
    sums: IntegralImage,
    counts: IntegralImage,
}

impl LocalInk {
    /// Finds ink that is narrower than a tenth of the picture.
    pub fn find(picture: &GrayPicture) -> Self {
        let GrayPicture { width, height, pixels } = picture;
        let reach = (width.min(height) / (2 * WINDOWS)).max(LEAST_REACH);
        let sums = IntegralImage::of(*width, pixels.iter().map(|&pixel| u32::from(pixel)));
        let mut differences = Vec::with_capacity(pixels.len());
        let (mut darker, mut lighter) = (0.0, 0.0);
        for (row, line) in pixels.chunks_exact(*width).enumerate() {
            sums.means_of_row(row, reach, |column, mean| {
                let difference = mean - f32::from(line[column]);
                let least = (mean * CONTRAST_SHARE).max(LEAST_CONTRAST);
                match difference {
                    dark if dark > least => darker += dark * dark,
                    light if light < -least => lighter += light * light,
                    _ => {}
                }
                differences.push((difference, least));
            });
        }
        let is_lighter = lighter > darker;
        let sign = if is_lighter { -1.0 } else { 1.0 };
        let mask: Vec<bool> =
            differences.into_iter().map(|(difference, least)| sign * difference > least).collect();
        let paper = |at: usize| if mask[at] { 0 } else { u32::from(pixels[at]) };
        let sums = IntegralImage::of(*width, (0..pixels.len()).map(paper));
        let counts = IntegralImage::of(*width, mask.iter().map(|&is_ink| u32::from(!is_ink)));
        Self { mask, is_lighter, width: *width, reach, sums, counts }
    }

    /// The mean of the paper around a pixel.
    pub fn paper_at(&self, at: usize) -> u8 {
        let (row, column) = (at / self.width, at % self.width);
        let height = self.mask.len() / self.width;
        let mut reach = self.reach;
        loop {
            let count = self.counts.sum_around(row, column, reach);
            if count > 0 || reach > self.width.max(height) {
                return (self.sums.sum_around(row, column, reach) / count.max(1)) as u8;
            }
            reach *= 2;
        }
    }
}

/// The sum of all values above and to the left of each corner of a pixel.
struct IntegralImage {
    width: usize,
    height: usize,
    /// `(width + 1) * (height + 1)` sums.
    sums: Vec<u32>,
}

impl IntegralImage {
    fn of(width: usize, mut values: impl ExactSizeIterator<Item = u32>) -> Self {
        let height = values.len() / width;
        let stride = width + 1;
        let mut sums = vec![0; stride * (height + 1)];
        for row in 0..height {
            let (above, below) = sums[row * stride..].split_at_mut(stride);
            let mut sum = 0;
            for (value, (above, below)) in
                values.by_ref().take(width).zip(above[1..].iter().zip(&mut below[1..stride]))
            {
                sum += value;
                *below = above + sum;
            }
        }
        Self { width, height, sums }
    }

    /// The sum of the values within `reach` rows and columns.
    fn sum_around(&self, row: usize, column: usize, reach: usize) -> u32 {
        let (top, bottom) = (row.saturating_sub(reach), (row + reach + 1).min(self.height));
        let (left, right) = (column.saturating_sub(reach), (column + reach + 1).min(self.width));
        let at = |row: usize, column: usize| self.sums[row * (self.width + 1) + column];
        at(bottom, right) + at(top, left) - at(top, right) - at(bottom, left)
    }

    /// Calls `each` with every column of a row and the mean around it.
    fn means_of_row(&self, row: usize, reach: usize, mut each: impl FnMut(usize, f32)) {
        let (top, bottom) = (row.saturating_sub(reach), (row + reach + 1).min(self.height));
        let stride = self.width + 1;
        let (above, below) = (&self.sums[top * stride..][..stride], &self.sums[bottom * stride..][..stride]);
        for column in 0..self.width {
            let (left, right) = (column.saturating_sub(reach), (column + reach + 1).min(self.width));
            let sum = below[right] + above[left] - above[right] - below[left];
            each(column, sum as f32 / ((bottom - top) * (right - left)) as f32);
        }
    }
}
