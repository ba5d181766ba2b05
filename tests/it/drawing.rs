//! MNIST's images as people would send them: large, dark on light, off centre, on white paper with noise, as
//! PNG or JPEG. Used by tests and by `benches/pictures.rs`.

use std::io::Cursor;

use image::{
    DynamicImage, GrayImage, ImageFormat, Luma,
    codecs::jpeg::JpegEncoder,
    imageops::{self, FilterType},
};

/// The side of the digit's square in pixels.
const SMALLEST: f32 = 112.0;
const LARGEST: f32 = 448.0;

/// The JPEG quality, out of 100.
const JPEG_QUALITY: u8 = 80;

/// The file format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Png,
    Jpeg,
}

/// Draws an image of 28 x 28 into a file. `seed` alone decides size, position, paper, ink and noise.
pub fn draw(pixels: &[u8], seed: u64, form: Form) -> Vec<u8> {
    let mut random = Random::new(seed);
    let small = GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap();
    let side = random.between(SMALLEST, LARGEST + 1.0) as u32;
    let ink = imageops::resize(&small, side, side, FilterType::Triangle);
    let sheet = (side as f32 * random.between(1.0, 1.6)) as u32;
    let place = |random: &mut Random| random.between(0.0, (sheet - side + 1) as f32) as u32;
    let (left, top) = (place(&mut random), place(&mut random));
    let paper = random.between(225.0, 255.0);
    let (depth, grain) = (random.between(150.0, 220.0), random.between(4.0, 12.0));
    let drawn = GrayImage::from_fn(sheet, sheet, |x, y| {
        let inside = (left..left + side).contains(&x) && (top..top + side).contains(&y);
        let share = if inside { f32::from(ink.get_pixel(x - left, y - top)[0]) / 255.0 } else { 0.0 };
        Luma([(paper - depth * share + grain * random.normal()).round().clamp(0.0, 255.0) as u8])
    });
    let mut file = Cursor::new(Vec::new());
    match form {
        Form::Png => DynamicImage::ImageLuma8(drawn).write_to(&mut file, ImageFormat::Png).unwrap(),
        Form::Jpeg => JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).encode_image(&drawn).unwrap(),
    }
    file.into_inner()
}

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    }

    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f32) as usize).min(count - 1)
    }

    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// An approximately normal number with a standard deviation of 1: the sum of four uniform numbers.
    pub fn normal(&mut self) -> f32 {
        ((0..4).map(|_| self.unit()).sum::<f32>() - 2.0) * 3f32.sqrt()
    }
}
