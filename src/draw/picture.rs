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
    canvas::{Canvas, FINE, GREY, INK, OutputFormat, TextFormat},
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

/// The widest grid of tiles, and the widest space for a title, in pixels: with scale and margins it fits a screen of
/// 1280 pixels.
pub(super) const MAX_WIDTH: i32 = 1060;

/// The centres of the lines of the title and of its note, in pixels below the margin.
const TITLE_LINE: i32 = 8;
const NOTE_LINE: i32 = 30;

/// The vertical position below the title and its note, in pixels.
pub(super) const BELOW_TITLE: i32 = 66;

/// Returns a PNG file of this size: what `draw` draws on a finer canvas, which is scaled down, and the cells on it.
pub fn png(
    (width, height): (u32, u32),
    cells: &[FilledRect],
    draw: impl FnOnce(&Canvas<BitMapBackend<'_>>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let size = (width * FINE as u32, height * FINE as u32);
    let mut pixels = vec![255; 3 * (size.0 * size.1) as usize];
    let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
    draw(&Canvas { area, format: OutputFormat::Bitmap })?;
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

/// Writes title and note at the top of a picture of this width.
pub(super) fn write_title(
    canvas: &Canvas<BitMapBackend<'_>>,
    (title, note): (&str, &str),
    width: i32,
) -> Result<(), Error> {
    let max_width = (width - 2 * MARGIN) * FINE;
    for (words, y, style) in [(title, MARGIN + TITLE_LINE, TITLE), (note, MARGIN + NOTE_LINE, NOTE)] {
        let words = canvas.fitting(words, max_width, &style)?;
        canvas.write(&words, (MARGIN * FINE, y * FINE), &style)?;
    }
    Ok(())
}

/// Estimates the width of title and note in pixels; an estimate, since the size of the picture is not
/// known yet.
pub(super) fn title_width(title: &str, note: &str) -> i32 {
    text_width(title.chars().count(), TITLE.size).max(text_width(note.chars().count(), NOTE.size))
        + 2 * MARGIN
}

/// Estimates the width in pixels of so many characters: on average a letter of the font is three fifths of its
/// size wide.
pub(super) fn text_width(characters: usize, font_size: i32) -> i32 {
    characters as i32 * font_size * 3 / 5
}

/// Formats a number with three digits, as scales show it.
pub fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e4).contains(&size) => format!("{number:.1e}"),
        size => format!("{number:.*}", (2 - size.log10().floor() as i32).max(0) as usize),
    }
}
