//! Histograms next to each other, each with its title, its range below and its highest count at the left.

use plotters::{
    prelude::BitMapBackend,
    style::{RGBColor, text_anchor::HPos},
};

use super::{
    Error,
    canvas::{Canvas, FINE, GREY, TextFormat, register_font},
    picture::{BELOW_TITLE, FilledRect, LABEL, MARGIN, MAX_WIDTH, Png, png, short, title_width, write_title},
};

/// The number of charts in a row: four charts with their labels are about as wide as `MAX_WIDTH`.
const COLUMNS: i32 = 4;

/// The width and height of the bars of one chart in pixels, and the space for text at their left, above and below.
const WIDTH: i32 = 200;
const HEIGHT: i32 = 96;
const LEFT: i32 = 52;
const ABOVE: i32 = 24;
const BELOW: i32 = 44;

/// The positions of texts in pixels: the title below the upper end of the space above the bars, range and note below
/// the axis, counts at the left of the bars.
const TITLE_Y: i32 = 10;
const RANGE_Y: i32 = 12;
const NOTE_Y: i32 = 27;
const COUNT_GAP: i32 = 6;

/// The size of the font of numbers and notes, in pixels.
const NUMBER_SIZE: i32 = 12;

/// The height of the mark at 0 below the axis, in pixels.
const ZERO_MARK: i32 = 5;

const BAR: RGBColor = RGBColor(0, 114, 178);
const AXIS: RGBColor = RGBColor(150, 150, 150);

/// One histogram.
#[derive(Debug, Clone)]
pub struct HistogramChart {
    pub title: String,
    /// The text below its axis.
    pub note: String,
    /// The lower end of the first interval and the upper end of the last.
    pub lower: f64,
    pub upper: f64,
    pub counts: Vec<u32>,
}

/// Draws the charts. Errors if the font or the encoder fails.
pub fn histograms(title: &str, note: &str, charts: &[HistogramChart]) -> Result<Png, Error> {
    register_font()?;
    let columns = COLUMNS.min(charts.len() as i32).max(1);
    let rows = (charts.len() as i32 + columns - 1) / columns;
    let width = (2 * MARGIN + columns * (LEFT + WIDTH + MARGIN)).max(title_width(title, note).min(MAX_WIDTH));
    let height = BELOW_TITLE + rows * (ABOVE + HEIGHT + BELOW) + MARGIN;
    let corner = |number: usize| {
        let (row, column) = (number as i32 / columns, number as i32 % columns);
        (MARGIN + column * (LEFT + WIDTH + MARGIN), BELOW_TITLE + row * (ABOVE + HEIGHT + BELOW))
    };
    let cells: Vec<FilledRect> =
        charts.iter().enumerate().flat_map(|(number, chart)| chart.cells(corner(number))).collect();
    let bytes = png((width as u32, height as u32), &cells, |canvas| {
        write_title(canvas, (title, note), width)?;
        charts.iter().enumerate().try_for_each(|(number, chart)| chart.write(corner(number), canvas))
    })?;
    Ok(Png { bytes, width: width as u32, height: height as u32 })
}

impl HistogramChart {
    fn highest(&self) -> u32 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    fn cells(&self, (left, top): (i32, i32)) -> Vec<FilledRect> {
        let (left, bottom) = (left + LEFT, top + ABOVE + HEIGHT);
        let edge = |number: usize| left + (WIDTH as usize * number / self.counts.len().max(1)) as i32;
        let bar = |(number, &count): (usize, &u32)| {
            let share = f64::from(count) / f64::from(self.highest().max(1));
            // A count above 0 is visible, however small it is.
            let height = ((share * f64::from(HEIGHT)).round() as i32).max(i32::from(count > 0));
            let wide = edge(number + 1) - edge(number);
            let width = if wide > 2 { wide - 1 } else { wide };
            FilledRect { left: edge(number), top: bottom - height, width, height, color: BAR }
        };
        let mut cells: Vec<FilledRect> = self.counts.iter().enumerate().map(bar).collect();
        cells.push(FilledRect { left, top: bottom, width: WIDTH, height: 1, color: AXIS });
        if self.lower < 0.0 && self.upper > 0.0 {
            let zero = left + (f64::from(WIDTH) * -self.lower / (self.upper - self.lower)) as i32;
            cells.push(FilledRect { left: zero, top: bottom, width: 1, height: ZERO_MARK, color: AXIS });
        }
        cells
    }

    fn write(&self, (left, top): (i32, i32), canvas: &Canvas<BitMapBackend<'_>>) -> Result<(), Error> {
        let (inside, bottom) = (left + LEFT, top + ABOVE + HEIGHT);
        let at = |x: i32, y: i32| (x * FINE, y * FINE);
        let title = canvas.fitting(&self.title, (WIDTH + MARGIN) * FINE, &LABEL)?;
        canvas.write(&title, at(inside, top + TITLE_Y), &LABEL)?;
        let numbers = TextFormat { size: NUMBER_SIZE, color: GREY, side: HPos::Left };
        let flush = TextFormat { side: HPos::Right, ..numbers };
        canvas.write(&self.highest().to_string(), at(inside - COUNT_GAP, top + ABOVE), &flush)?;
        canvas.write("0", at(inside - COUNT_GAP, bottom), &flush)?;
        canvas.write(&short(self.lower), at(inside, bottom + RANGE_Y), &numbers)?;
        canvas.write(&short(self.upper), at(inside + WIDTH, bottom + RANGE_Y), &flush)?;
        let note = canvas.fitting(&self.note, (WIDTH + MARGIN) * FINE, &numbers)?;
        canvas.write(&note, at(inside, bottom + NOTE_Y), &numbers)
    }
}
