//! Drawn pictures: what is found in them, and what is refused.

use image::{ImageBuffer, ImageFormat, LumaA, Rgb, Rgba};

use super::*;

/// A picture of `paper` with a bar of `ink` at the given columns and rows.
fn bar(size: (usize, usize), paper: u8, ink: u8, columns: [usize; 2], rows: [usize; 2]) -> GreyPicture {
    let (width, height) = size;
    let inked = |at: usize| {
        (columns[0]..columns[1]).contains(&(at % width)) && (rows[0]..rows[1]).contains(&(at / width))
    };
    let pixels = (0..width * height).map(|at| if inked(at) { ink } else { paper }).collect();
    GreyPicture { width, height, pixels }
}

/// A bar such as a 1 is, dark on light, in the corner of a larger picture.
fn one_on_paper() -> GreyPicture {
    bar((100, 80), 230, 40, [10, 20], [5, 65])
}

/// First and last row, first and last column that hold ink.
fn extent(image: &DigitImage) -> [usize; 4] {
    let inked: Vec<usize> = (0..784).filter(|&at| image.pixels[at] > 127).collect();
    let columns = || inked.iter().map(|at| at % 28);
    [inked[0] / 28, inked[inked.len() - 1] / 28, columns().min().unwrap(), columns().max().unwrap()]
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn ink_fills_the_box_and_sits_in_the_middle() {
    let image = normalize(&one_on_paper(), Normalization::Auto, Frame::MNIST).unwrap();
    let [top, bottom, left, right] = extent(&image);
    assert_eq!((top, bottom), (5, 24));
    assert!(left >= 11 && right <= 16 && right > left, "{left} {right}");
    assert_eq!(image.quality, Quality::Good);
    assert_eq!(image.pixels[14 * 28 + 14], 255);
}

#[test]
fn dark_on_light_and_light_on_dark_come_out_alike() {
    let dark = one_on_paper();
    let light = GreyPicture { pixels: dark.pixels.iter().map(|pixel| 255 - pixel).collect(), ..dark.clone() };
    let of = |picture| normalize(picture, Normalization::Auto, Frame::MNIST).unwrap().pixels;
    assert_eq!(of(&dark), of(&light));
}

#[test]
fn place_and_size_in_the_picture_do_not_matter() {
    let small = bar((60, 60), 0, 255, [30, 35], [20, 40]);
    let large = bar((1200, 1200), 0, 255, [100, 300], [200, 1000]);
    let of = |picture| extent(&normalize(picture, Normalization::Center, Frame::MNIST).unwrap());
    assert_eq!(of(&small), of(&large));
}

#[test]
fn specks_and_grain_do_not_move_the_digit() {
    let mut picture = one_on_paper();
    for (at, pixel) in picture.pixels.iter_mut().enumerate() {
        *pixel = pixel.wrapping_add((at * 7 % 11) as u8);
    }
    picture.pixels[75 * 100 + 95] = 0;
    let noisy = normalize(&picture, Normalization::Auto, Frame::MNIST).unwrap();
    assert_eq!(
        extent(&noisy),
        extent(&normalize(&one_on_paper(), Normalization::Auto, Frame::MNIST).unwrap())
    );
}

#[test]
fn a_blank_picture_is_an_error_unless_taken_as_given() {
    let grain =
        GreyPicture { width: 28, height: 28, pixels: (0..784).map(|at| 200 + (at % 7) as u8).collect() };
    assert_eq!(normalize(&grain, Normalization::Auto, Frame::MNIST), Err(Problem::Blank));
    let black = bar((28, 28), 0, 0, [0, 0], [0, 0]);
    assert_eq!(normalize(&black, Normalization::Auto, Frame::MNIST), Err(Problem::Blank));
    assert_eq!(normalize(&black, Normalization::Center, Frame::MNIST), Err(Problem::Blank));
    assert_eq!(normalize(&black, Normalization::None, Frame::MNIST).unwrap().quality, Quality::Blank);
}

#[test]
fn faint_and_crowded_pictures_are_told() {
    let faint = bar((50, 50), 200, 160, [20, 25], [10, 40]);
    assert_eq!(normalize(&faint, Normalization::Auto, Frame::MNIST).unwrap().quality, Quality::Faint);
    let block = bar((50, 50), 0, 255, [10, 40], [10, 40]);
    assert_eq!(normalize(&block, Normalization::Center, Frame::MNIST).unwrap().quality, Quality::Crowded);
}

#[test]
fn without_normalisation_the_pixels_are_taken_as_they_are() {
    let given = bar((28, 28), 0, 77, [3, 5], [1, 20]);
    assert_eq!(normalize(&given, Normalization::None, Frame::MNIST).unwrap().pixels, given.pixels);
    let other = normalize(&one_on_paper(), Normalization::None, Frame::MNIST);
    assert_eq!(other, Err(Problem::NotADigit { width: 100, height: 80, expected: Frame::MNIST }));
}

#[test]
fn a_picture_of_one_pixel_is_no_trouble() {
    let dot = bar((1, 1), 255, 255, [0, 0], [0, 0]);
    assert_eq!(normalize(&dot, Normalization::Auto, Frame::MNIST), Err(Problem::Blank));
    assert!(normalize(&dot, Normalization::Center, Frame::MNIST).is_ok());
}

#[test]
fn every_format_decodes_to_the_same_grey() {
    let given = bar((20, 10), 250, 10, [4, 8], [2, 8]);
    let grey = ImageBuffer::from_raw(20, 10, given.pixels.clone()).unwrap();
    let image = DynamicImage::ImageLuma8(grey);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Pnm] {
        assert_eq!(decode(&encoded(&image, format)).unwrap(), given, "{format:?}");
    }
    let lossy = [
        (image.clone(), ImageFormat::Jpeg),
        (image.to_rgba8().into(), ImageFormat::Gif),
        (image.to_rgb8().into(), ImageFormat::WebP),
    ];
    for (image, format) in lossy {
        let decoded = decode(&encoded(&image, format)).unwrap();
        let worst = decoded.pixels.iter().zip(&given.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst < 40, "{format:?} is off by {worst}");
    }
    assert_eq!(decode(&to_png(&given.pixels, 20, 10)).unwrap(), given);
}

#[test]
fn what_is_transparent_shows_white() {
    let clear = ImageBuffer::from_pixel(2, 2, Rgba([0u8, 0, 0, 0]));
    assert_eq!(decode(&encoded(&clear.into(), ImageFormat::Png)).unwrap().pixels, [255; 4]);
    let half = ImageBuffer::from_pixel(1, 1, LumaA([0u16, 0x8000]));
    assert_eq!(decode(&encoded(&half.into(), ImageFormat::Png)).unwrap().pixels, [127]);
    let deep = ImageBuffer::from_pixel(1, 1, Rgb([0x1234u16, 0x1234, 0x1234]));
    assert_eq!(decode(&encoded(&deep.into(), ImageFormat::Png)).unwrap().pixels, [0x12]);
}

#[test]
fn a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded() {
    // A PNM of a line of text: all it has is its claim.
    let claim = decode(b"P5 60000 60000 255\n");
    assert_eq!(claim, Err(Problem::Size { width: 60000, height: 60000, limit: MAX_PICTURE_SIDE }));
    let wide = ImageBuffer::from_pixel(4097, 1, image::Luma([0u8]));
    let refused = decode(&encoded(&wide.into(), ImageFormat::Png));
    assert_eq!(refused, Err(Problem::Size { width: 4097, height: 1, limit: MAX_PICTURE_SIDE }));
    let bytes = vec![0; MAX_ENCODED_BYTES + 1];
    assert!(matches!(decode(&bytes), Err(Problem::TooManyBytes { .. })));
}

#[test]
fn what_is_no_picture_or_half_of_one_is_refused() {
    assert_eq!(decode(b""), Err(Problem::UnknownFormat));
    assert_eq!(decode(b"<svg></svg>"), Err(Problem::UnknownFormat));
    let whole = to_png(&[7; 784], 28, 28);
    for length in 8..whole.len() - 12 {
        assert!(matches!(decode(&whole[..length]), Err(Problem::Broken(_))), "{length}");
    }
}

#[test]
fn a_changed_byte_is_an_answer_or_an_error_and_never_a_panic() {
    let picture = bar((20, 10), 250, 10, [4, 8], [2, 8]);
    let grey = ImageBuffer::from_raw(20, 10, picture.pixels).unwrap();
    let image = DynamicImage::ImageRgb8(DynamicImage::ImageLuma8(grey).to_rgb8());
    let formats =
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP];
    for format in formats {
        let whole = encoded(&image, format);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            if let Ok(picture) = decode(&changed) {
                let _ = normalize(&picture, Normalization::Auto, Frame::MNIST);
            }
        }
    }
}

#[test]
fn a_scaled_picture_keeps_its_ground_and_its_place() {
    let frame = Frame { height: 2, width: 3 };
    let pixels = vec![200, 200, 100, 100, 0, 0, 200, 200, 100, 100, 0, 0, 9, 9, 8, 8, 7, 7, 9, 9, 8, 8, 7, 7];
    let picture = GreyPicture { width: 6, height: 4, pixels };
    let image = normalize(&picture, Normalization::Scale, frame).unwrap();
    assert_eq!(image.pixels, [200, 100, 0, 9, 8, 7]);
}
