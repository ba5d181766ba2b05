//! Weights as TensorBoard shows them: histograms of their values, and kernels as images.

use image::{ExtendedColorType, ImageEncoder as _, Rgb, RgbImage, codecs::png::PngEncoder};

use super::format::{Histogram, Image};
use crate::engine::Array;

/// Buckets of a histogram, all of one width.
const BUCKETS: usize = 50;

/// Most kernels of an image, in each direction.
const MAX_KERNELS: usize = 32;

/// Approximate longest side of an image in pixels.
const MAX_SIDE: usize = 640;

/// Longest side of one weight in pixels.
const MAX_WEIGHT: usize = 8;

/// Blue below zero, orange above it, as in the plots of runs; white at zero.
const BELOW: Rgb<u8> = Rgb([0, 114, 178]);
const ABOVE: Rgb<u8> = Rgb([213, 94, 0]);
const GAP: Rgb<u8> = Rgb([150, 150, 150]);

/// The histogram of the finite values of a parameter; none where it has no finite value.
pub fn histogram(values: &[f32]) -> Option<Histogram> {
    let finite = || values.iter().filter(|value| value.is_finite()).map(|&value| f64::from(value));
    let (min, max) = (finite().reduce(f64::min)?, finite().reduce(f64::max)?);
    let width = (max - min) / BUCKETS as f64;
    let mut bucket = vec![0.0; if width > 0.0 { BUCKETS } else { 1 }];
    for value in finite() {
        let index = if width > 0.0 { ((value - min) / width) as usize } else { 0 };
        let last = bucket.len() - 1;
        bucket[index.min(last)] += 1.0;
    }
    let mut bucket_limit: Vec<f64> = (1..bucket.len()).map(|edge| min + edge as f64 * width).collect();
    bucket_limit.push(max);
    Some(Histogram {
        min,
        max,
        num: bucket.iter().sum(),
        sum: finite().sum(),
        sum_squares: finite().map(|value| value * value).sum(),
        bucket_limit,
        bucket,
    })
}

/// The kernels of a convolution [out, in, height, width]: a row for every output channel, a column
/// for every input channel; where there is one input channel, as square as can be. Other
/// parameters have none.
pub fn kernels(array: &Array) -> Option<Image> {
    let &[outputs, inputs, height, width] = array.shape.as_slice() else { return None };
    if array.values.len() != outputs * inputs * height * width || array.values.is_empty() {
        return None;
    }
    let (columns, rows) = match inputs {
        1 => {
            let shown = outputs.min(MAX_KERNELS * MAX_KERNELS);
            let columns = (shown as f64).sqrt().ceil() as usize;
            (columns, shown.div_ceil(columns))
        }
        _ => (inputs.min(MAX_KERNELS), outputs.min(MAX_KERNELS)),
    };
    let finite = array.values.iter().filter(|value| value.is_finite());
    let largest = finite.fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let longest = (columns * (width + 1)).max(rows * (height + 1));
    let scale = (MAX_SIDE / longest).clamp(1, MAX_WEIGHT);
    let cell = (width * scale + 1, height * scale + 1);
    let image = RgbImage::from_fn((columns * cell.0 + 1) as u32, (rows * cell.1 + 1) as u32, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let (column, row) = (x / cell.0, y / cell.1);
        let kernel = if inputs == 1 { row * columns + column } else { row * inputs + column };
        if x % cell.0 == 0 || y % cell.1 == 0 || kernel >= outputs * inputs {
            return GAP;
        }
        let (across, down) = ((x % cell.0 - 1) / scale, (y % cell.1 - 1) / scale);
        shade(array.values[(kernel * height + down) * width + across], largest)
    });
    png(&image)
}

fn shade(value: f32, largest: f32) -> Rgb<u8> {
    if !value.is_finite() {
        return Rgb([0, 0, 0]);
    }
    let strength = if largest > 0.0 { value.abs() / largest } else { 0.0 };
    let colour = if value < 0.0 { BELOW } else { ABOVE };
    Rgb(colour.0.map(|part| (255.0 - (255.0 - f32::from(part)) * strength).round() as u8))
}

fn png(image: &RgbImage) -> Option<Image> {
    let mut bytes = Vec::new();
    let (width, height) = image.dimensions();
    let encoded = PngEncoder::new(&mut bytes).write_image(image, width, height, ExtendedColorType::Rgb8);
    encoded.ok()?;
    Some(Image { height: height as i32, width: width as i32, colorspace: 3, encoded_image_string: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], values: Vec<f32>) -> Array {
        Array { name: "conv1.weight".to_owned(), shape: shape.to_vec(), values }
    }

    fn pixels(image: &Image) -> RgbImage {
        image::load_from_memory(&image.encoded_image_string).unwrap().into_rgb8()
    }

    #[test]
    fn a_histogram_counts_every_finite_value_once() {
        let found = histogram(&[-1.0, 0.0, 0.5, 1.0, f32::NAN]).unwrap();
        assert_eq!((found.min, found.max, found.num), (-1.0, 1.0, 4.0));
        assert_eq!((found.sum, found.sum_squares), (0.5, 2.25));
        assert_eq!(found.bucket.len(), found.bucket_limit.len());
        assert_eq!(found.bucket.iter().sum::<f64>(), 4.0);
        assert_eq!((found.bucket[0], found.bucket[BUCKETS - 1]), (1.0, 1.0));
        assert_eq!(found.bucket_limit.last(), Some(&1.0));
    }

    #[test]
    fn equal_values_are_one_bucket_and_no_value_is_no_histogram() {
        let found = histogram(&[0.25; 7]).unwrap();
        assert_eq!((found.bucket.as_slice(), found.bucket_limit.as_slice()), (&[7.0][..], &[0.25][..]));
        assert_eq!(histogram(&[f32::NAN]), None);
    }

    #[test]
    fn kernels_are_drawn_in_a_grid_coloured_by_sign() {
        // Three kernels of 1 × 2: two next to each other, the third below the first.
        let image = kernels(&array(&[3, 1, 1, 2], vec![-2.0, 2.0, 0.0, 1.0, 2.0, 0.0])).unwrap();
        let shown = pixels(&image);
        let (width, height) = (2 * 17 + 1, 2 * 9 + 1);
        assert_eq!((shown.dimensions(), image.width, image.height), ((width, height), 35, 19));
        assert_eq!((shown[(1, 1)], shown[(16, 8)]), (BELOW, ABOVE));
        assert_eq!((shown[(18, 1)], shown[(1, 10)]), (Rgb([255, 255, 255]), ABOVE));
        assert_eq!((shown[(0, 0)], shown[(20, 12)]), (GAP, GAP), "lines between, and no fourth kernel");
    }

    #[test]
    fn rows_are_output_and_columns_input_channels_and_a_large_layer_is_truncated() {
        let mut values = vec![0.0; 100 * 40];
        values[40] = 1.0;
        let image = kernels(&array(&[100, 40, 1, 1], values)).unwrap();
        let shown = pixels(&image);
        assert_eq!((image.width, image.height), (32 * 9 + 1, 32 * 9 + 1));
        assert_eq!(shown[(1, 10)], ABOVE, "the second output channel's first kernel");
    }

    #[test]
    fn other_parameters_have_no_image_of_kernels() {
        assert_eq!(kernels(&array(&[10, 980], vec![0.0; 9800])), None);
        assert_eq!(kernels(&array(&[1, 1, 5, 5], vec![0.0; 3])), None);
    }
}
