//! Normalization of drawn images.

use super::*;

/// A bar like a 1, dark on light, in the corner of a larger image.
fn one_on_paper() -> GrayPicture {
    bar((100, 80), 230, 40, [10, 20], [5, 65])
}

pub(super) fn auto(picture: &GrayPicture) -> DigitImage {
    normalize(picture, Normalization::Auto, ImageSize::MNIST).unwrap()
}

/// Returns the first and last row and the first and last column with ink.
fn extent(image: &DigitImage) -> [usize; 4] {
    let inked: Vec<usize> = (0..784).filter(|&at| image.pixels[at] > 127).collect();
    let columns = || inked.iter().map(|at| at % 28);
    [inked[0] / 28, inked[inked.len() - 1] / 28, columns().min().unwrap(), columns().max().unwrap()]
}

/// The corners of a 7 in the unit square.
const SEVEN: [[f32; 2]; 3] = [[0.3, 0.2], [0.7, 0.2], [0.45, 0.8]];

/// The distance of a point from the line through the corners.
pub(super) fn off(corners: &[[f32; 2]], x: f32, y: f32) -> f32 {
    let of_part = |part: &[[f32; 2]]| {
        let ([ax, ay], [bx, by]) = (part[0], part[1]);
        let (dx, dy) = (bx - ax, by - ay);
        let along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        (x - ax - along * dx).hypot(y - ay - along * dy)
    };
    corners.windows(2).map(of_part).fold(f32::INFINITY, f32::min)
}

/// A 7 drawn with a pen of `pen` pixels on a square sheet; `light` gives the brightness of paper and of ink
/// at a point.
pub(super) fn seven(side: usize, pen: f32, light: impl Fn(f32, f32) -> [f32; 2]) -> GrayPicture {
    let pixel = |at: usize| {
        let (x, y) = (((at % side) as f32 + 0.5) / side as f32, ((at / side) as f32 + 0.5) / side as f32);
        let [paper, ink] = light(x, y);
        let share = (pen / 2.0 - off(&SEVEN, x, y) * side as f32 + 0.5).clamp(0.0, 1.0);
        (paper + (ink - paper) * share) as u8
    };
    GrayPicture { width: side, height: side, pixels: (0..side * side).map(pixel).collect() }
}

pub(super) fn even(_: f32, _: f32) -> [f32; 2] {
    [240.0, 20.0]
}

/// The cosine of two images, 1 if they are equal. The second image may be shifted by a pixel, because the
/// centre may fall to either side of a pixel's edge.
pub(super) fn likeness(one: &DigitImage, other: &DigitImage) -> f64 {
    let norm = |image: &DigitImage| -> f64 {
        image.pixels.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let moved = |by: usize| -> f64 {
        let pairs = one.pixels[29..755].iter().zip(&other.pixels[by..]);
        pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let shifts = [0, 1, 2, 28, 29, 30, 56, 57, 58];
    shifts.map(moved).into_iter().fold(0.0, f64::max) / (norm(one) * norm(other))
}

#[track_caller]
pub(super) fn check_alike(picture: &GrayPicture, least: f64) {
    let clean = auto(&seven(300, 24.0, even));
    let image = auto(picture);
    assert_eq!(image.quality, Some(Quality::Good));
    let likeness = likeness(&image, &clean);
    assert!(likeness > least, "{likeness}");
}

#[test]
fn ink_fills_the_box_and_is_centered() {
    let image = auto(&one_on_paper());
    let [top, bottom, left, right] = extent(&image);
    assert_eq!((top, bottom), (5, 24));
    assert!(left >= 11 && right <= 16 && right > left, "{left} {right}");
    assert_eq!(image.quality, Some(Quality::Good));
    assert_eq!(image.pixels[14 * 28 + 14], 255);
}

#[test]
fn dark_on_light_and_light_on_dark_normalize_alike() {
    let dark = one_on_paper();
    let light = GrayPicture { pixels: dark.pixels.iter().map(|pixel| 255 - pixel).collect(), ..dark.clone() };
    assert_eq!(auto(&dark).pixels, auto(&light).pixels);
}

#[test]
fn position_and_size_in_the_image_do_not_matter() {
    let small = bar((60, 60), 0, 255, [30, 35], [20, 40]);
    let large = bar((1200, 1200), 0, 255, [100, 300], [200, 1000]);
    let of = |picture| extent(&normalize(picture, Normalization::Center, ImageSize::MNIST).unwrap());
    assert_eq!(of(&small), of(&large));
}

#[test]
fn specks_and_grain_do_not_move_the_digit() {
    let mut picture = one_on_paper();
    for (at, pixel) in picture.pixels.iter_mut().enumerate() {
        *pixel = pixel.wrapping_add((at * 7 % 11) as u8);
    }
    picture.pixels[75 * 100 + 95] = 0;
    let noisy = auto(&picture);
    assert_eq!(extent(&noisy), extent(&auto(&one_on_paper())));
}

#[test]
fn without_normalization_the_pixels_are_taken_as_they_are() {
    let given = bar((28, 28), 0, 77, [3, 5], [1, 20]);
    assert_eq!(normalize(&given, Normalization::None, ImageSize::MNIST).unwrap().pixels, given.pixels);
    let other = normalize(&one_on_paper(), Normalization::None, ImageSize::MNIST);
    assert_eq!(other, Err(Error::NotADigit { width: 100, height: 80, expected: ImageSize::MNIST }));
}

#[test]
fn a_scaled_image_keeps_its_background_and_position() {
    let frame = ImageSize { height: 2, width: 3 };
    let pixels = vec![200, 200, 100, 100, 0, 0, 200, 200, 100, 100, 0, 0, 9, 9, 8, 8, 7, 7, 9, 9, 8, 8, 7, 7];
    let picture = GrayPicture { width: 6, height: 4, pixels };
    let image = normalize(&picture, Normalization::Scale, frame).unwrap();
    assert_eq!(image.pixels, [200, 100, 0, 9, 8, 7]);
}

#[test]
fn thin_and_thick_pens_draw_the_same_digit() {
    check_alike(&seven(448, 3.0, even), 0.85);
    check_alike(&seven(300, 6.0, even), 0.85);
    check_alike(&seven(300, 70.0, even), 0.75);
}

#[test]
fn uneven_lighting_does_not_hide_the_digit() {
    check_alike(&seven(300, 24.0, |x, y| [250.0 - 140.0 * x - 60.0 * y * y, 30.0 - 20.0 * x]), 0.95);
    check_alike(&seven(300, 24.0, |x, _| [20.0 + 120.0 * x, 140.0 + 110.0 * x]), 0.95);
}

#[test]
fn the_shadow_of_a_sheet_is_no_ink() {
    let shaded = |x: f32, y: f32| if x + y < 0.5 { [140.0, 15.0] } else { [240.0, 20.0] };
    check_alike(&seven(300, 24.0, shaded), 0.9);
}

#[test]
fn the_edge_of_the_table_is_no_ink() {
    let table = |x: f32, _: f32| if x > 0.95 { [30.0, 30.0] } else { [240.0, 20.0] };
    check_alike(&seven(300, 24.0, table), 0.95);
}

#[test]
fn a_small_digit_on_a_large_sheet_is_normalised_at_full_resolution() {
    let digit = seven(60, 5.0, even);
    let mut sheet = bar((3000, 2000), 240, 0, [0, 0], [0, 0]);
    for row in 0..60 {
        let start = (1200 + row) * 3000 + 2500;
        sheet.pixels[start..start + 60].copy_from_slice(&digit.pixels[row * 60..][..60]);
    }
    check_alike(&sheet, 0.9);
}
