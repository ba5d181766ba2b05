//! Augmentation against its formula computed pixel by pixel, and against SciPy.

use tch::{Device, Kind, Tensor};

use super::*;

const SIZE: (i64, i64) = (5, 7);

fn all() -> Augmentation {
    Augmentation {
        rotation_degrees: 40.0,
        shift_pixels: 1.5,
        scale: 0.3,
        shear_degrees: 20.0,
        ..Augmentation::default()
    }
}

fn random(step: u64) -> Random {
    Random::new(1, Stream::Augmentation, 1, step)
}

fn images(n: i64) -> Tensor {
    let (h, w) = SIZE;
    let rows = Tensor::arange(n * h * w, (Kind::Float, Device::Cpu));
    // All pixels differ, and none is 0.
    let rows = (rows * 0.37).sin().square() * 0.9 + 0.1;
    rows.as_strided([n, 1, h, w], [h * w, 1, w, 1], None)
}

fn apply(config: Augmentation, step: u64) -> Tensor {
    let augmenter = Augmenter::new(config, SIZE.0, SIZE.1, Device::Cpu).unwrap();
    augmenter.apply(&images(3), 1, 1, step)
}

/// The interpolated value of an image between its pixels; 0 outside.
fn bilinear(image: &Tensor, x: f64, y: f64) -> f64 {
    let pixel = |x: f64, y: f64| {
        let inside = x >= 0.0 && y >= 0.0 && x < SIZE.1 as f64 && y < SIZE.0 as f64;
        if inside { image.double_value(&[y as i64, x as i64]) } else { 0.0 }
    };
    let (left, top) = (x.floor(), y.floor());
    let (right, down) = (x - left, y - top);
    (1.0 - down) * ((1.0 - right) * pixel(left, top) + right * pixel(left + 1.0, top))
        + down * ((1.0 - right) * pixel(left, top + 1.0) + right * pixel(left + 1.0, top + 1.0))
}

#[test]
fn every_pixel_comes_from_where_the_formula_says() {
    let (config, moved, images) = (all(), apply(all(), 1), images(3));
    let mut draws = random(1);
    let mut within = |extent: f64| draws.between(-extent, extent);
    for n in 0..3 {
        let theta = within(config.rotation_degrees).to_radians();
        let shear = within(config.shear_degrees).to_radians().tan();
        let factor = 1.0 + within(config.scale);
        let (shift_x, shift_y) = (within(config.shift_pixels), within(config.shift_pixels));
        for (row, column) in (0..SIZE.0).flat_map(|row| (0..SIZE.1).map(move |column| (row, column))) {
            let (x, y) = (column as f64 - 3.0, row as f64 - 2.0);
            let (sheared_x, sheared_y) = ((x + shear * y) / factor, y / factor);
            let from_x = 3.0 + theta.cos() * sheared_x - theta.sin() * sheared_y + shift_x;
            let from_y = 2.0 + theta.sin() * sheared_x + theta.cos() * sheared_y + shift_y;
            let expected = bilinear(&images.get(n).get(0), from_x, from_y);
            let found = moved.double_value(&[n, 0, row, column]);
            assert!((found - expected).abs() < 1e-4, "image {n} at {row}, {column}: {found}, not {expected}");
        }
    }
}

/// `scipy.ndimage.gaussian_filter(noise, 1.5, mode="constant")` of SciPy 1.17.1, where
/// `noise[y, x]` is `(7·y + 3·x) % 11 / 11`.
#[test]
fn elastic_noise_is_smoothed_as_by_scipy() {
    let expected = [
        [0.15490981, 0.21551888, 0.22921215, 0.18603286],
        [0.19742491, 0.26559817, 0.27053627, 0.20946421],
        [0.17593808, 0.23261882, 0.23008182, 0.17104254],
    ];
    let config = Augmentation { elastic_alpha: 2.0, elastic_sigma: 1.5, ..Augmentation::default() };
    let noise: Vec<f32> =
        (0..12).map(|place| (place / 4 * 7 + place % 4 * 3) % 11).map(|n| n as f32).collect();
    let noise = (Tensor::from_slice(&noise) / 11.0).view([1, 3, 4, 1]);
    // The other direction has the same noise, flipped.
    let noise = Tensor::cat(&[&noise, &noise.flip([1])], 3);
    let field = Elastic::new(&config, 3, 4, Device::Cpu).displacements(&noise).view([3, 4, 2]);
    for (row, column) in (0..3).flat_map(|row| (0..4).map(move |column| (row, column))) {
        // α is in pixels, in the grid's unit of half a side.
        let x = field.double_value(&[row, column, 0]) * 4.0 / 2.0 / 2.0;
        let y = field.double_value(&[2 - row, column, 1]) * 3.0 / 2.0 / 2.0;
        let expected = expected[row as usize][column as usize];
        assert!((x - expected).abs() < 1e-6 && (y - expected).abs() < 1e-6, "{x} {y} {expected}");
    }
}

#[test]
fn an_elastic_field_moves_pixels_as_far_as_promised() {
    let config = Augmentation { elastic_alpha: 34.0, ..Augmentation::default() };
    let elastic = Elastic::new(&config, 28, 28, Device::Cpu);
    let field = elastic.field(50, 28, 28, CounterStream::new(1, Stream::Elastic, 1, 1)).view([50, 28, 28, 2]);
    // Compared away from the border, in pixels along one axis.
    let middle = field.slice(1, 10, 18, 1).slice(2, 10, 18, 1) * 14.0;
    let mean_square = middle.square().mean(Kind::Double).double_value(&[]);
    assert!((mean_square.sqrt() - 1.4).abs() < 0.2, "{}", mean_square.sqrt());
}

#[test]
fn a_batch_is_a_function_of_its_stream_and_keeps_its_layout() {
    let config = Augmentation { elastic_alpha: 5.0, elastic_sigma: 2.0, ..all() };
    let moved = apply(config, 1);
    assert_eq!(moved, apply(config, 1));
    assert_ne!(moved, apply(config, 2));
    assert_eq!(moved.stride(), [35, 1, 7, 1]);
    assert_eq!(moved.kind(), Kind::Float);
    assert!(moved.min().double_value(&[]) >= 0.0 && moved.max().double_value(&[]) <= 1.0 + 1e-6);
}

#[test]
fn the_same_image_twice_in_a_batch_is_moved_in_two_ways() {
    let config = Augmentation { shift_pixels: 2.0, ..Augmentation::default() };
    let augmenter = Augmenter::new(config, SIZE.0, SIZE.1, Device::Cpu).unwrap();
    let moved = augmenter.apply(&images(1).expand([2, -1, -1, -1], false), 1, 1, 1);
    assert_ne!(moved.get(0), moved.get(1));
}

#[test]
fn augmented_images_keep_their_float_kind() {
    let augmenter = Augmenter::new(all(), SIZE.0, SIZE.1, Device::Cpu).unwrap();
    let moved = augmenter.apply(&images(1).to_kind(Kind::Double), 1, 1, 1);
    assert_eq!(moved.kind(), Kind::Double);
}

#[test]
fn no_extent_is_no_augmentation() {
    let still = Augmentation { elastic_sigma: 9.0, ..Augmentation::default() };
    assert!(Augmenter::new(still, 28, 28, Device::Cpu).is_none());
}
