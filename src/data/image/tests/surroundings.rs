//! What surrounds a digit on scans and photographs: borders of cells, shadows, tables, thumbs; and strokes that must
//! not be taken for any of them.

use super::{
    normalizing::{auto, check_alike, even, likeness, off, seven},
    *,
};

/// A 7 on a sheet that is dark where `line` says so.
fn ruled(line: impl Fn(f32, f32) -> bool) -> GrayPicture {
    seven(300, 24.0, |x, y| if line(x, y) { [20.0, 20.0] } else { even(x, y) })
}

/// The picture without what lies outside these columns and rows.
fn cropped(picture: &GrayPicture, columns: [usize; 2], rows: [usize; 2]) -> GrayPicture {
    let (width, height) = (columns[1] - columns[0], rows[1] - rows[0]);
    let line = |row: usize| &picture.pixels[row * picture.width..][columns[0]..columns[1]];
    GrayPicture { width, height, pixels: (rows[0]..rows[1]).flat_map(line).copied().collect() }
}

/// A 7 cropped to its bounding box.
fn tight_seven(pen: f32) -> GrayPicture {
    let sheet = seven(300, pen, even);
    let (left, top) = (0.3 * 300.0 - pen / 2.0, 0.2 * 300.0 - pen / 2.0);
    let (right, bottom) = (0.7 * 300.0 + pen / 2.0, 0.8 * 300.0 + pen / 2.0);
    cropped(&sheet, [left as usize, right as usize], [top as usize, bottom as usize])
}

#[test]
fn borders_on_any_sides_are_erased() {
    for thickness in [1.0f32 / 300.0, 3.0 / 300.0, 6.0 / 300.0] {
        for inset in [0.0, 0.02, 0.06, 0.1] {
            let on = |at: f32| (inset..inset + thickness).contains(&at);
            check_alike(&ruled(|x, y| on(x) || on(y) || on(1.0 - x) || on(1.0 - y)), 0.95);
            check_alike(&ruled(|x, _| on(x)), 0.95);
            check_alike(&ruled(|x, y| on(x) || on(1.0 - y)), 0.95);
            check_alike(&ruled(|_, y| on(y) || on(1.0 - y)), 0.95);
        }
    }
}

#[test]
fn broken_and_slanted_borders_are_erased() {
    for slope in [-0.05, -0.02, 0.03, 0.05] {
        let on = |x: f32, y: f32| (y - 0.07 - slope * (x - 0.5)).abs() < 0.008;
        check_alike(&ruled(on), 0.95);
        check_alike(&ruled(|x, y| on(y, 1.0 - x)), 0.95);
        let gap = |x: f32| (x * 20.0) as usize % 4 == 1;
        check_alike(&ruled(|x, y| on(x, y) && !gap(x)), 0.95);
    }
}

#[test]
fn a_line_that_the_digit_touches_or_crosses_is_erased_and_the_stroke_stays() {
    // The 7 ends at 0.84 of the height.
    for place in [0.76, 0.8, 0.83] {
        check_alike(&ruled(|_, y| (y - place).abs() < 0.008), 0.9);
    }
}

#[test]
fn a_border_on_a_dark_sheet_is_erased_too() {
    let mut picture = ruled(|x, y| x < 0.02 || y > 0.97);
    picture.pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    check_alike(&picture, 0.95);
}

#[test]
fn strokes_of_a_tight_crop_are_no_borders() {
    for pen in [10.0, 18.0, 24.0, 36.0] {
        let (whole, tight) = (auto(&seven(300, pen, even)), auto(&tight_seven(pen)));
        let likeness = likeness(&tight, &whole);
        assert!(likeness > 0.9, "pen {pen}: {likeness}");
    }
}

#[test]
fn a_one_that_fills_the_picture_stays() {
    let one = bar((60, 200), 240, 20, [20, 40], [0, 200]);
    let image = auto(&one);
    assert_eq!(image.quality, Some(Quality::Good));
    assert_eq!(image.pixels[14 * 28 + 14], 255);
}

#[test]
fn a_vertical_stroke_beside_an_open_one_stays() {
    // A 4 whose stem is as long as the picture is high.
    let four = [[0.3f32, 0.05], [0.2, 0.55], [0.85, 0.55]];
    let stem = [[0.7f32, 0.0], [0.7, 1.0]];
    let pixel = |at: usize| {
        let (x, y) = ((at % 200) as f32 / 200.0, (at / 200) as f32 / 200.0);
        if off(&four, x, y).min(off(&stem, x, y)) < 0.04 { 20 } else { 240 }
    };
    let picture = GrayPicture { width: 200, height: 200, pixels: (0..200 * 200).map(pixel).collect() };
    let image = auto(&picture);
    let below = (20..25).any(|row| image.pixels[row * 28..][..28].iter().any(|&pixel| pixel > 200));
    assert!(below || image.quality == Some(Quality::Border), "{:?}", image.quality);
}

#[test]
fn an_empty_cell_is_blank() {
    let cell = |at: usize| {
        let (x, y) = (at % 200, at / 200);
        if x < 4 || y < 4 || x > 190 || y > 193 { 30 } else { 240 }
    };
    let picture = GrayPicture { width: 200, height: 200, pixels: (0..200 * 200).map(cell).collect() };
    assert_eq!(auto(&picture).quality, Some(Quality::Blank));
}

#[test]
fn a_line_that_ends_where_the_digit_ends_is_reported() {
    // A thin 7 whose bar is as long as the picture is wide: a border above a slanted stroke, or a bar.
    let seven = [[0.02f32, 0.04], [0.98, 0.04], [0.4, 0.98]];
    let pixel = |at: usize| {
        let (x, y) = ((at % 200) as f32 / 200.0, (at / 200) as f32 / 200.0);
        if off(&seven, x, y) < 0.015 { 20 } else { 240 }
    };
    let picture = GrayPicture { width: 200, height: 200, pixels: (0..200 * 200).map(pixel).collect() };
    assert_eq!(auto(&picture).quality, Some(Quality::Border));
}

#[test]
fn shadows_with_edges_and_tables_are_no_ink() {
    let shaded = |dark: f32| {
        move |x: f32, y: f32| {
            if x * 0.6 + y < 0.8 { [240.0 * dark, 20.0 * dark] } else { [240.0, 20.0] }
        }
    };
    for dark in [0.4, 0.6, 0.75] {
        check_alike(&seven(300, 24.0, shaded(dark)), 0.93);
    }
    for place in [0.05, 0.12, 0.2] {
        check_alike(&ruled(|x, y| x < place + 0.1 * y), 0.93);
        check_alike(&ruled(|_, y| y > 1.0 - place / 2.0), 0.93);
    }
}

#[test]
fn a_thumb_in_a_corner_is_no_ink() {
    check_alike(&ruled(|x, y| (x - 1.0).hypot(y - 1.0) < 0.17), 0.93);
}

#[test]
fn a_raw_image_with_a_light_rim_is_reported() {
    let dark = bar((28, 28), 0, 255, [12, 16], [4, 24]);
    let quality = |picture: &GrayPicture| {
        normalize(picture, Normalization::None, ImageSize::MNIST).unwrap().quality.unwrap()
    };
    assert_eq!(quality(&dark), Quality::Good);
    let inverted = GrayPicture { pixels: dark.pixels.iter().map(|pixel| 255 - pixel).collect(), ..dark };
    assert_eq!(quality(&inverted), Quality::LightBackground);
    // A stroke that leaves the image lights a part of the rim alone.
    assert_eq!(quality(&bar((28, 28), 0, 255, [12, 16], [0, 28])), Quality::Good);
}
