//! Image files of every format, and hostile ones: how they are decoded, and which are rejected.

mod normalizing;
mod quality;
mod surroundings;

use std::io::{Cursor, Write as _};

use image::{
    Delay, DynamicImage, Frame as Picture, ImageBuffer, ImageFormat, LumaA, Rgb, Rgba,
    codecs::gif::GifEncoder,
};

use super::*;
use crate::data::ImageSize;

fn decode(bytes: &[u8]) -> Result<GrayPicture, Error> {
    super::decode(bytes, Grayscale::Luma)
}

/// An image of the value `paper` with a bar of `ink` at the given columns and rows.
fn bar(size: (usize, usize), paper: u8, ink: u8, columns: [usize; 2], rows: [usize; 2]) -> GrayPicture {
    let (width, height) = size;
    let inked = |at: usize| {
        (columns[0]..columns[1]).contains(&(at % width)) && (rows[0]..rows[1]).contains(&(at / width))
    };
    let pixels = (0..width * height).map(|at| if inked(at) { ink } else { paper }).collect();
    GrayPicture { width, height, pixels }
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// A PNG file of these chunks, valid or not.
fn png(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in chunks {
        let mut crc = flate2::Crc::new();
        crc.update(*name);
        crc.update(data);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend([&name[..], data, &crc.sum().to_be_bytes()].concat());
    }
    file
}

/// The header chunk of a PNG file.
fn header(width: u32, height: u32, depth: u8, colors: u8) -> (&'static [u8; 4], Vec<u8>) {
    let (width, height) = (width.to_be_bytes(), height.to_be_bytes());
    (b"IHDR", [&width[..], &height, &[depth, colors, 0, 0, 0]].concat())
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
fn transparent_pixels_become_white() {
    let clear = ImageBuffer::from_pixel(2, 2, Rgba([0u8, 0, 0, 0]));
    assert_eq!(decode(&encoded(&clear.into(), ImageFormat::Png)).unwrap().pixels, [255; 4]);
    let half = ImageBuffer::from_pixel(1, 1, LumaA([0u16, 0x8000]));
    assert_eq!(decode(&encoded(&half.into(), ImageFormat::Png)).unwrap().pixels, [127]);
    let deep = ImageBuffer::from_pixel(1, 1, Rgb([0x1234u16, 0x1234, 0x1234]));
    assert_eq!(decode(&encoded(&deep.into(), ImageFormat::Png)).unwrap().pixels, [0x12]);
}

#[test]
fn an_image_that_claims_to_be_huge_is_rejected_before_decoding() {
    // This PNM file is one line of text: it has a header and no pixels.
    let claim = decode(b"P5 60000 60000 255\n");
    assert_eq!(claim, Err(Error::Size { width: 60000, height: 60000, limit: MAX_PICTURE_PIXELS }));
    let claim = decode(b"P5 8001 8000 255\n");
    assert_eq!(claim, Err(Error::Size { width: 8001, height: 8000, limit: MAX_PICTURE_PIXELS }));
    let bytes = vec![0; MAX_ENCODED_BYTES + 1];
    assert!(matches!(decode(&bytes), Err(Error::TooManyBytes { .. })));
}

#[test]
fn invalid_and_truncated_images_are_rejected() {
    assert_eq!(decode(b""), Err(Error::UnknownFormat));
    assert_eq!(decode(b"7"), Err(Error::UnknownFormat));
    let foreign = decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1").unwrap_err().to_string();
    assert!(foreign.starts_with("image is a HEIC picture: convert it to JPEG"), "{foreign}");
    let whole = to_png(&[7; 784], 28, 28);
    for length in 8..whole.len() - 12 {
        assert!(decode(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_file_of_any_format_that_was_cut_off_is_rejected() {
    let noise = ImageBuffer::from_fn(90, 70, |x, y| image::Luma([(x * x * 7 + y * y * 13 + x * y) as u8]));
    let image = DynamicImage::ImageLuma8(noise);
    let rgb = DynamicImage::ImageRgb8(image.to_rgb8());
    let files = [
        (encoded(&image, ImageFormat::Png), 60),
        (encoded(&image, ImageFormat::Jpeg), 10),
        (encoded(&rgb, ImageFormat::Jpeg), 10),
        (encoded(&rgb, ImageFormat::WebP), 10),
        (encoded(&image, ImageFormat::Bmp), 10),
        (encoded(&image.to_rgba8().into(), ImageFormat::Gif), 10),
        (encoded(&image, ImageFormat::Pnm), 10),
    ];
    for (format, (file, step)) in files.iter().enumerate() {
        let half = file.len() / 3;
        for length in (half..file.len() - 2).step_by(*step) {
            let error = decode(&file[..length]).expect_err("a part of a file");
            let says = error.to_string();
            assert!(says.contains("ends early"), "format {format}, {length} of {}: {says}", file.len());
        }
        // What follows a file does not matter.
        assert!(decode(&[&file[..], b"\n"].concat()).is_ok(), "format {format}");
    }
}

#[test]
fn a_thumbnail_inside_a_cut_jpeg_does_not_make_it_whole() {
    let image = DynamicImage::ImageLuma8(ImageBuffer::from_fn(64, 64, |x, y| image::Luma([(x * y) as u8])));
    let file = encoded(&image, ImageFormat::Jpeg);
    let segment = [&[0xff, 0xe2][..], &((file.len() + 2) as u16).to_be_bytes(), &file].concat();
    let whole = [&file[..2], &segment, &file[2..]].concat();
    assert!(decode(&whole).is_ok());
    assert_eq!(decode(&whole[..whole.len() - 40]), Err(Error::EndsEarly));
}

#[test]
fn a_picture_of_many_pixels_is_read_at_reduced_scale() {
    let wide = decode(&to_png(&vec![200; 20_000 * 30], 20_000, 30)).unwrap();
    assert_eq!((wide.width, wide.height), (20_000, 30));
    // A bar in a picture of 48 million pixels.
    let (side, mut pixels) = (6930, vec![250; 6930 * 6930]);
    (2000..5000).for_each(|row| pixels[row * side + 3400..row * side + 3700].fill(20));
    let (picture, counted) = decode_counted(&to_png(&pixels, side, side), Grayscale::Contrast).unwrap();
    assert_eq!((picture.width, picture.height, counted), (3465, 3465, side * side));
    assert_eq!((picture.pixels[1500 * 3465 + 1750], picture.pixels[1500 * 3465 + 1000]), (20, 250));
}

#[test]
fn sixteen_bits_that_fill_fewer_are_read_in_their_own_range() {
    for full in [255u16, 1023, 4095] {
        let grey = ImageBuffer::from_fn(20, 10, |x, _| image::Luma([if x == 7 { 0 } else { full }]));
        let bytes = encoded(&DynamicImage::ImageLuma16(grey), ImageFormat::Png);
        for shades in [Grayscale::Luma, Grayscale::Contrast] {
            let picture = super::decode(&bytes, shades).unwrap();
            assert_eq!((picture.pixels[7], picture.pixels[8]), (0, 255), "{full} {shades:?}");
        }
    }
    let dark = ImageBuffer::from_pixel(2, 2, Rgb([0x2040u16, 0x2040, 0x2040]));
    assert_eq!(decode(&encoded(&dark.into(), ImageFormat::Png)).unwrap().pixels, [0x20; 4]);
}

#[test]
fn a_changed_byte_gives_an_image_or_an_error_and_never_a_panic() {
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
                let _ = normalize(&picture, Normalization::Auto, ImageSize::MNIST);
            }
        }
    }
}

#[test]
fn palettes_and_few_bits_per_pixel_are_decoded() {
    let palette = vec![255, 255, 255, 0, 0, 0];
    // Two rows of eight pixels with one bit each.
    let rows = packed(&[0, 0b0101_0000, 0, 0b1111_1111]);
    let file = png(&[header(8, 2, 1, 3), (b"PLTE", palette), (b"IDAT", rows), (b"IEND", Vec::new())]);
    let expected = [255, 0, 255, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode(&file).unwrap().pixels, expected);
}

#[test]
fn colored_ink_keeps_its_contrast() {
    let view = |ink: Rgba<u8>, ground: Rgba<u8>| {
        let image = ImageBuffer::from_fn(20, 20, |x, _| if (8..12).contains(&x) { ink } else { ground });
        let bytes = encoded(&DynamicImage::ImageRgba8(image), ImageFormat::Png);
        let grey = super::decode(&bytes, Grayscale::Contrast).unwrap();
        grey.pixels[9].abs_diff(grey.pixels[0])
    };
    let white = Rgba([255, 255, 255, 255]);
    let (yellow, clear) = (Rgba([255, 255, 0, 255]), Rgba([255, 255, 255, 0]));
    assert!(view(yellow, white) > 240 && view(Rgba([0, 0, 200, 255]), white) > 200);
    assert!(view(Rgba([200, 0, 0, 255]), Rgba([0, 60, 0, 255])) > 150, "red on as dark a green");
    assert!(view(white, clear) > 240 && view(Rgba([0, 0, 0, 255]), clear) > 240);
}

#[test]
fn the_first_frame_of_an_animation_is_read() {
    let frame = |grey: u8| {
        let picture = ImageBuffer::from_pixel(4, 3, Rgba([grey, grey, grey, 255]));
        Picture::from_parts(picture, 0, 0, Delay::from_numer_denom_ms(10, 1))
    };
    let mut bytes = Vec::new();
    GifEncoder::new(&mut bytes).encode_frames([frame(200), frame(10), frame(90)]).unwrap();
    assert_eq!(decode(&bytes).unwrap().pixels, [200; 12]);
}

#[test]
fn a_file_above_the_limit_is_rejected_by_its_header() {
    let file = png(&[header(16_384, 16_384, 8, 6), (b"IDAT", packed(&[0; 1000])), (b"IEND", Vec::new())]);
    assert_eq!(decode(&file), Err(Error::Size { width: 16_384, height: 16_384, limit: MAX_PICTURE_PIXELS }));
    let mut jpeg = encoded(&DynamicImage::new_luma8(16, 16), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let mut claim = |side: u16| {
        jpeg[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
        decode(&jpeg)
    };
    assert_eq!(claim(60_000), Err(Error::Size { width: 60_000, height: 60_000, limit: MAX_PICTURE_PIXELS }));
    // If the claimed size is within the limits, missing pixels are an error or grey.
    assert!(claim(2048).map_or(true, |picture| picture.pixels.len() == 2048 * 2048));
}

#[test]
fn highly_compressed_images_stay_within_limits() {
    let bomb = [&b"Comment\0\0"[..], &packed(&vec![b'a'; 300 << 20])].concat();
    let row = packed(&[0, 7]);
    let file = png(&[header(1, 1, 8, 0), (b"zTXt", bomb), (b"IDAT", row), (b"IEND", Vec::new())]);
    assert!(decode(&file).map_or(true, |picture| picture.pixels == [7]));
    let sheet = packed(&vec![0; 4096 * 4097]);
    assert!(sheet.len() < 100_000, "a small file of the largest image");
    let file = png(&[header(4096, 4096, 8, 0), (b"IDAT", sheet), (b"IEND", Vec::new())]);
    let image = normalize(&decode(&file).unwrap(), Normalization::Auto, ImageSize::MNIST).unwrap();
    assert_eq!(image.quality, Some(Quality::Blank));
}
