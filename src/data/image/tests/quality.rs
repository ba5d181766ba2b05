//! The quality of images that show no digit, or more than one.

use super::*;

fn quality(picture: &GrayPicture) -> Quality {
    normalize(picture, Normalization::Auto, ImageSize::MNIST).unwrap().quality.unwrap()
}

/// A sheet whose pixels differ at random by up to `most` from the middle value.
fn noise(side: usize, most: i32) -> GrayPicture {
    let mut state = 1u32;
    let pixel = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (128 + (state >> 16) as i32 % (2 * most + 1) - most).clamp(0, 255) as u8
    };
    GrayPicture { width: side, height: side, pixels: (0..side * side).map(pixel).collect() }
}

/// Draws the dark pixels of the second image onto the first.
fn over(mut one: GrayPicture, other: &GrayPicture) -> GrayPicture {
    one.pixels.iter_mut().zip(&other.pixels).for_each(|(below, &above)| *below = above.min(*below));
    one
}

#[test]
fn an_empty_sheet_is_blank_whatever_its_grain() {
    for level in [0, 130, 255] {
        assert_eq!(quality(&bar((200, 150), level, 0, [0, 0], [0, 0])), Quality::Blank);
    }
    for most in [3, 20, 60, 127] {
        for side in [28, 100, 448] {
            assert_eq!(quality(&noise(side, most)), Quality::Blank, "{most} on {side}");
        }
    }
    let lit: Vec<u8> = (0..300 * 300).map(|at| 100 + (at % 300 / 3) as u8).collect();
    assert_eq!(quality(&GrayPicture { width: 300, height: 300, pixels: lit }), Quality::Blank);
}

#[test]
fn a_blank_photo_is_normalized_to_a_blank_image() {
    let black = bar((28, 28), 0, 0, [0, 0], [0, 0]);
    for how in [Normalization::Auto, Normalization::Center, Normalization::None] {
        let image = normalize(&black, how, ImageSize::MNIST).unwrap();
        assert_eq!((image.quality, image.pixels), (Some(Quality::Blank), vec![0; 784]), "{how:?}");
    }
}

#[test]
fn the_quality_of_an_image_that_is_scaled_as_a_whole_is_not_assessed() {
    let black = bar((56, 56), 0, 0, [0, 0], [0, 0]);
    assert_eq!(normalize(&black, Normalization::Scale, ImageSize::MNIST).unwrap().quality, None);
}

#[test]
fn an_image_of_one_pixel_is_normalized() {
    let dot = bar((1, 1), 255, 255, [0, 0], [0, 0]);
    assert_eq!(quality(&dot), Quality::Blank);
    let bright = normalize(&dot, Normalization::Center, ImageSize::MNIST).unwrap();
    assert_eq!(bright.quality, Some(Quality::TooSmall));
    for (width, height) in [(1, 300), (300, 1), (2, 4096), (4096, 2)] {
        assert_eq!(quality(&bar((width, height), 9, 9, [0, 0], [0, 0])), Quality::Blank);
    }
}

#[test]
fn a_speck_is_too_small() {
    assert_eq!(quality(&bar((448, 448), 240, 10, [200, 204], [100, 104])), Quality::TooSmall);
    assert_eq!(quality(&bar((60, 60), 240, 10, [20, 23], [10, 16])), Quality::TooSmall);
}

#[test]
fn digits_side_by_side_are_several_shapes() {
    let ones = |left: usize, right: usize| {
        let one = bar((300, 200), 240, 10, [left, left + 20], [40, 160]);
        over(one, &bar((300, 200), 240, 10, [right, right + 20], [40, 160]))
    };
    assert_eq!(quality(&ones(60, 180)), Quality::SeveralShapes);
    let three = over(ones(40, 240), &bar((300, 200), 240, 10, [120, 180], [30, 170]));
    assert_eq!(quality(&three), Quality::SeveralShapes);
    let rows = over(
        bar((200, 300), 240, 10, [70, 130], [20, 110]),
        &bar((200, 300), 240, 10, [70, 130], [180, 270]),
    );
    assert_eq!(quality(&rows), Quality::SeveralShapes);
}

#[test]
fn strokes_of_one_digit_are_one_shape() {
    // A 5 whose top stroke is separate, and a 4 whose vertical stroke is.
    let five =
        over(bar((200, 200), 240, 10, [70, 90], [60, 160]), &bar((200, 200), 240, 10, [96, 150], [40, 58]));
    assert_eq!(quality(&five), Quality::Good);
    let four = over(
        over(bar((200, 200), 240, 10, [60, 76], [40, 110]), &bar((200, 200), 240, 10, [60, 116], [94, 110])),
        &bar((200, 200), 240, 10, [120, 136], [30, 170]),
    );
    assert_eq!(quality(&four), Quality::Good);
}

#[test]
fn faint_ink_and_blocks_are_reported() {
    let faint = bar((100, 100), 200, 178, [40, 50], [20, 80]);
    assert_eq!(quality(&faint), Quality::LowContrast);
    for side in [20, 60] {
        let block = bar((100, 100), 240, 20, [5, 5 + side], [5, 5 + side]);
        assert_eq!(quality(&block), Quality::NotStrokes, "{side}");
    }
    let block = bar((50, 50), 0, 255, [10, 40], [10, 40]);
    let block = normalize(&block, Normalization::Center, ImageSize::MNIST).unwrap();
    assert_eq!(block.quality, Some(Quality::NotStrokes));
}
