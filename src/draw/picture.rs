//! A finished picture: a title and a note at the top, what a canvas holds, and sharp rectangles on it.

use image::{
    ImageEncoder as _,
    codecs::png::{CompressionType, PngEncoder},
    imageops::FilterType,
};
use plotters::{
    drawing::IntoDrawingArea as _,
    prelude::BitMapBackend,
    style::{RGBColor, text_anchor::HPos},
};

use super::{
    Error,
    canvas::{Canvas, FINE, GREY, INK, Medium, TextFormat},
};

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Png {
    pub bytes: Vec<u8>,
    pub width: u32,
    pub height: u32,
}

/// A rectangle of one color, in pixels of the finished picture. Painted last, with sharp edges.
#[derive(Debug, Clone, Copy)]
pub struct FilledRect {
    pub left: i32,
    pub top: i32,
    pub width: i32,
    pub height: i32,
    pub color: RGBColor,
}

const TITLE: TextFormat = TextFormat { size: 18, color: INK, side: HPos::Left };

const NOTE: TextFormat = TextFormat { size: 14, color: GREY, side: HPos::Left };

pub(super) const LABEL: TextFormat = TextFormat { size: 13, color: INK, side: HPos::Left };

/// The margin around everything, in pixels.
pub(super) const MARGIN: i32 = 18;

/// The vertical position below the title and its note, in pixels.
pub(super) const BELOW_TITLE: i32 = 66;

/// A PNG file of this size: what `draw` puts on a fine canvas, which is made smooth, and the cells.
pub fn png(
    (width, height): (u32, u32),
    cells: &[FilledRect],
    draw: impl FnOnce(&Canvas<BitMapBackend<'_>>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let size = (width * FINE as u32, height * FINE as u32);
    let mut pixels = vec![255; 3 * (size.0 * size.1) as usize];
    let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
    draw(&Canvas { area, medium: Medium::Pixels })?;
    let canvas = image::RgbImage::from_raw(size.0, size.1, pixels).expect("three bytes for each point");
    let mut finished = image::imageops::resize(&canvas, width, height, FilterType::Triangle);
    for cell in cells {
        cell.paint(&mut finished);
    }
    let mut png = Vec::new();
    let filter = image::codecs::png::FilterType::Adaptive;
    PngEncoder::new_with_quality(&mut png, CompressionType::Default, filter)
        .write_image(&finished, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|error| Error(error.to_string()))?;
    Ok(png)
}

impl FilledRect {
    fn paint(self, on: &mut image::RgbImage) {
        let within = |from: i32, length: i32, end: u32| {
            from.max(0) as u32..(from + length).clamp(0, end as i32) as u32
        };
        for y in within(self.top, self.height, on.height()) {
            for x in within(self.left, self.width, on.width()) {
                on.put_pixel(x, y, image::Rgb([self.color.0, self.color.1, self.color.2]));
            }
        }
    }
}

/// Title and note at the top of a picture so wide.
pub(super) fn write_title(
    canvas: &Canvas<BitMapBackend<'_>>,
    (title, note): (&str, &str),
    width: i32,
) -> Result<(), Error> {
    let room = (width - 2 * MARGIN) * FINE;
    for (words, y, style) in [(title, MARGIN + 8, TITLE), (note, MARGIN + 30, NOTE)] {
        let words = canvas.fitting(words, room, &style)?;
        canvas.write(&words, (MARGIN * FINE, y * FINE), &style)?;
    }
    Ok(())
}

/// Estimates the width of title and note in pixels; an estimate, since the size of the picture is not
/// known yet.
pub(super) fn title_width(title: &str, note: &str) -> i32 {
    let wide = |words: &str, size: i32| words.chars().count() as i32 * size * 3 / 5;
    wide(title, TITLE.size).max(wide(note, NOTE.size)) + 2 * MARGIN
}

/// Formats a number with three digits, as scales show it.
pub fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e4).contains(&size) => format!("{number:.1e}"),
        size => format!("{number:.*}", (2 - size.log10().floor() as i32).max(0) as usize),
    }
}
