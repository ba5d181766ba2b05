//! Lines, dots and text of a picture, on a canvas of plotters. Sizes are given in pixels of the
//! finished picture, positions in points of the canvas, which is finer.

use std::sync::LazyLock;

use plotters::{
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind},
    element::{Circle, DashedPathElement, PathElement, Text},
    prelude::DrawingBackend,
    style::{
        Color as _, FontStyle, IntoFont as _, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::Error;

/// Points of the canvas for a pixel of the finished picture, in each direction.
pub const FINE: i32 = 3;

/// The width of a line in pixels, so that it remains visible where a page shows the picture smaller.
const LINE_WIDTH: i32 = 2;

/// The width of a faint line in points of the canvas, a pixel and a third: thinner than `LINE_WIDTH`.
const FAINT_WIDTH: u32 = FINE as u32 * 4 / 3;

/// The lengths of a dash and of the gap after it, in pixels.
const DASH: i32 = 7;
const DASH_GAP: i32 = 5;

/// The radius of a dot in pixels, so that it is wider than a line.
const DOT_RADIUS: i32 = 4;

/// Half the width and height of a cross, in pixels.
const CROSS_ARM: i32 = 5;

pub const INK: RGBColor = RGBColor(40, 40, 40);
pub const GREY: RGBColor = RGBColor(110, 110, 110);
pub const GRID: RGBColor = RGBColor(226, 226, 226);

/// DejaVu Sans, so that a machine without fonts draws the same; its licence is in the same folder.
static FONT: &[u8] = include_bytes!("font/DejaVuSans.ttf");
const FAMILY: &str = "sans-serif";

/// The weight of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineWeight {
    /// Thin and pale, behind others.
    Faint,
    Normal,
}

/// A part of the picture that is drawn on.
pub struct Canvas<B: DrawingBackend> {
    pub area: DrawingArea<B, Shift>,
    pub format: OutputFormat,
}

/// The format that plotters' back end writes; the code works around the faults of each back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    Svg,
    /// The back end draws spikes at the sharp corners of thick lines, and text too high.
    Bitmap,
}

/// Registers the font with plotters, which must happen before any text is written.
pub fn register_font() -> Result<(), Error> {
    static REGISTERED: LazyLock<bool> =
        LazyLock::new(|| plotters::style::register_font(FAMILY, FontStyle::Normal, FONT).is_ok());
    if *REGISTERED { Ok(()) } else { Err(Error("its font is damaged".to_owned())) }
}

impl<B: DrawingBackend> Canvas<B> {
    /// Another part of the same picture.
    pub fn part(&self, area: DrawingArea<B, Shift>) -> Self {
        Self { area, format: self.format }
    }

    /// Draws the line of a curve.
    pub fn line(&self, spots: &[(i32, i32)], stroke: LineWeight, color: RGBColor) -> Result<(), Error> {
        let style = styled(stroke, color);
        if self.format == OutputFormat::Svg {
            return self.area.draw(&PathElement::new(spots.to_vec(), style)).map_err(failed);
        }
        // The segments are drawn one by one, with round joints.
        let joint = ShapeStyle { filled: true, ..style };
        for pair in spots.windows(2) {
            self.area.draw(&PathElement::new(pair.to_vec(), style)).map_err(failed)?;
            self.area.draw(&Circle::new(pair[1], (style.stroke_width / 2) as i32, joint)).map_err(failed)?;
        }
        Ok(())
    }

    pub fn dashes(&self, spots: &[(i32, i32)], color: RGBColor) -> Result<(), Error> {
        let style = styled(LineWeight::Normal, color);
        let dashes = DashedPathElement::new(spots.to_vec(), DASH * FINE, DASH_GAP * FINE, style);
        self.area.draw(&dashes).map_err(failed)
    }

    pub fn dot(&self, at: (i32, i32), color: RGBColor) -> Result<(), Error> {
        self.area.draw(&Circle::new(at, DOT_RADIUS * FINE, color.filled())).map_err(failed)
    }

    pub fn cross(&self, (x, y): (i32, i32), color: RGBColor) -> Result<(), Error> {
        let arm = CROSS_ARM * FINE;
        for slope in [-1, 1] {
            let ends = vec![(x - arm, y - arm * slope), (x + arm, y + arm * slope)];
            self.area
                .draw(&PathElement::new(ends, color.stroke_width((LINE_WIDTH * FINE) as u32)))
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Draws a thin straight line.
    pub fn rule(&self, ends: [(i32, i32); 2], color: RGBColor) -> Result<(), Error> {
        self.area.draw(&PathElement::new(ends.to_vec(), color.stroke_width(FINE as u32))).map_err(failed)
    }

    /// Writes a text that is centred vertically at a position.
    pub fn write(&self, words: &str, (x, y): (i32, i32), style: &TextFormat) -> Result<(), Error> {
        // By so much of its size the bitmap back end draws text too high.
        let lower = match self.format {
            OutputFormat::Svg => 0,
            OutputFormat::Bitmap => style.size * FINE * 3 / 20,
        };
        self.area.draw(&Text::new(words.to_owned(), (x, y + lower), style.text())).map_err(failed)
    }

    /// Returns the width of a text, in points of the canvas.
    pub fn width_of(&self, words: &str, style: &TextFormat) -> Result<i32, Error> {
        Ok(self.area.estimate_text_size(words, &style.text()).map_err(failed)?.0 as i32)
    }

    /// Returns the text if its width is at most `width` points, else as many first letters as fit and an ellipsis.
    pub fn fitting(&self, words: &str, width: i32, style: &TextFormat) -> Result<String, Error> {
        let mut letters: Vec<char> = words.chars().collect();
        let mut shown = words.to_owned();
        while self.width_of(&shown, style)? > width && !letters.is_empty() {
            letters.pop();
            shown = letters.iter().collect::<String>().trim_end().to_owned() + "…";
        }
        Ok(shown)
    }
}

/// The format of a text.
#[derive(Clone, Copy)]
pub struct TextFormat {
    /// The size of the font, in pixels.
    pub size: i32,
    pub color: RGBColor,
    /// The end of the text that is at its position.
    pub side: HPos,
}

impl TextFormat {
    fn text(&self) -> TextStyle<'static> {
        let font = (FAMILY, self.size * FINE).into_font();
        font.color(&self.color).pos(Pos::new(self.side, VPos::Center))
    }
}

fn styled(stroke: LineWeight, color: RGBColor) -> ShapeStyle {
    // The color is mixed with white rather than transparent, since overlapping segments would show.
    let faint = |part: u8| 255 - (255 - part) / 3;
    match stroke {
        LineWeight::Faint => {
            RGBColor(faint(color.0), faint(color.1), faint(color.2)).stroke_width(FAINT_WIDTH)
        }
        LineWeight::Normal => color.stroke_width((LINE_WIDTH * FINE) as u32),
    }
}

pub fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> Error {
    Error(error.to_string())
}
