//! The layout of a chart on its canvas: the legend, the panels, their axes and curves.

use std::ops::Range;

use plotters::{
    drawing::IntoDrawingArea as _,
    prelude::{DrawingBackend, SVGBackend},
    style::{RGBColor, text_anchor::HPos},
};

use super::{
    axis::Axis,
    chart::{Chart, Panel},
    curve::{Curve, CurveKind, visible},
    downsample::downsample,
};
use crate::draw::{
    self, Error,
    canvas::{Canvas, FINE, GREY, GRID, INK, LineWeight, OutputFormat, TextFormat, failed, register_font},
};

/// The largest number of runs of one chart, one for each color.
pub const MAX_RUNS: usize = COLORS.len();

/// The colours of runs, which people of every color vision can distinguish on white: Okabe and Ito's
/// (2008, "Color Universal Design"), the dark ones first, without the yellow that white swallows.
pub const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// The width of the finished image in pixels: two panels side by side on a screen of 1280 pixels.
const WIDTH: i32 = 1200;

/// The height of the finished image without its legend, in pixels: it makes the panels a little wider than high.
const HEIGHT: i32 = 470;

/// The height of each line of the legend, which is added to the image, in pixels.
const LEGEND_LINE: i32 = 26;

/// The space around everything, in pixels.
const MARGIN: i32 = 18;

/// The margins of a panel in pixels for its title, the labels of its axes and their names.
const TOP: i32 = 36;
const LEFT: i32 = 76;
const BOTTOM: i32 = 60;

/// The vertical position of a panel's title, and of the text in a panel without values, in pixels.
const TITLE_Y: i32 = 16;
const EMPTY_Y: i32 = 60;

/// The distances in pixels from the axes: of the labels below the x axis, of its name below it, and of the labels
/// left of the y axis.
const X_LABEL: i32 = 14;
const X_NAME: i32 = 38;
const Y_LABEL: i32 = 8;

/// The distance in pixels from the top of a panel of the cross that marks a value that is not finite.
const NOT_FINITE_Y: i32 = 9;

/// With more runs than this the legend has two columns.
const MAX_RUNS_IN_ONE_COLUMN: usize = 3;

/// The length of a line in the legend, and the distance of its text from the start of the line, in pixels.
const SAMPLE: i32 = 36;
const BEHIND_SAMPLE: i32 = 46;

const TITLE: TextFormat = TextFormat { size: 18, color: INK, side: HPos::Left };
const NAME: TextFormat = TextFormat { size: 16, color: INK, side: HPos::Left };
const NOTE: TextFormat = TextFormat { size: 16, color: GREY, side: HPos::Left };

/// The chart as an SVG document.
pub fn svg(chart: &Chart) -> Result<String, Error> {
    let (width, height) = (WIDTH, height(chart));
    let size = ((width * FINE) as u32, (height * FINE) as u32);
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    draw(chart, &Canvas { area, format: OutputFormat::Svg })?;
    // The view box stays in points of the canvas, and the document has the size of the image.
    let fine = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    Ok(text.replacen(&fine, &format!("width=\"{width}\" height=\"{height}\""), 1))
}

/// The chart as a PNG file.
pub fn png(chart: &Chart) -> Result<Vec<u8>, Error> {
    draw::png((WIDTH as u32, height(chart) as u32), &[], |canvas| draw(chart, canvas))
}

fn height(chart: &Chart) -> i32 {
    HEIGHT + LEGEND_LINE * (legend_lines(chart) + 1)
}

fn legend_columns(chart: &Chart) -> i32 {
    if chart.runs.len() > MAX_RUNS_IN_ONE_COLUMN { 2 } else { 1 }
}

fn legend_lines(chart: &Chart) -> i32 {
    (chart.runs.len() as i32 + legend_columns(chart) - 1) / legend_columns(chart)
}

fn draw<B: DrawingBackend>(chart: &Chart, canvas: &Canvas<B>) -> Result<(), Error> {
    register_font()?;
    canvas.area.fill(&RGBColor(255, 255, 255)).map_err(failed)?;
    let top = MARGIN + LEGEND_LINE * (legend_lines(chart) + 1);
    let (legend, below) = canvas.area.split_vertically(top * FINE);
    draw_legend(chart, &canvas.part(legend))?;
    let x = Axis::across(chart.panels.iter().flat_map(|panel| &panel.curves));
    let panels = below.split_evenly((1, chart.panels.len()));
    for (panel, area) in chart.panels.iter().zip(panels) {
        draw_panel(panel, (&x, chart.x_name), &canvas.part(area))?;
    }
    canvas.area.present().map_err(failed)
}

/// A line for every run in its color, and below them the meaning of solid and dashed lines.
fn draw_legend<B: DrawingBackend>(chart: &Chart, canvas: &Canvas<B>) -> Result<(), Error> {
    let (lines, columns) = (legend_lines(chart), legend_columns(chart));
    let width = (WIDTH - LEFT - MARGIN) / columns;
    let height = |line: i32| MARGIN + line * LEGEND_LINE + LEGEND_LINE / 2;
    for (run, name) in chart.runs.iter().enumerate() {
        let (x, y) = (LEFT + run as i32 / lines * width, height(run as i32 % lines));
        let name = canvas.fitting(name, (width - BEHIND_SAMPLE - MARGIN) * FINE, &NAME)?;
        draw_sample(canvas, (x, y), CurveKind::Train, COLORS[run % COLORS.len()])?;
        canvas.write(&name, fine(x + BEHIND_SAMPLE, y), &NAME)?;
    }
    let curves = || chart.panels.iter().flat_map(|panel| &panel.curves);
    let mut keys = vec![(CurveKind::Train, chart.train.as_str())];
    if curves().any(|curve| curve.kind == CurveKind::Validation) {
        keys.push((CurveKind::Validation, "validation"));
    }
    let (mut x, y) = (LEFT, height(lines));
    for (kind, name) in keys {
        draw_sample(canvas, (x, y), kind, GREY)?;
        canvas.write(name, fine(x + BEHIND_SAMPLE, y), &NOTE)?;
        x += BEHIND_SAMPLE + canvas.width_of(name, &NOTE)? / FINE + 2 * MARGIN;
    }
    if curves().any(|curve| curve.points.iter().any(|point| !point.1.is_finite())) {
        canvas.cross(fine(x + MARGIN / 2, y), GREY)?;
        canvas.write("not finite", fine(x + MARGIN + MARGIN / 2, y), &NOTE)?;
    }
    Ok(())
}

/// A short sample of a line as it is drawn in the panels.
fn draw_sample<B: DrawingBackend>(
    canvas: &Canvas<B>,
    (x, y): (i32, i32),
    kind: CurveKind,
    color: RGBColor,
) -> Result<(), Error> {
    let ends = [fine(x, y), fine(x + SAMPLE, y)];
    match kind {
        CurveKind::Validation => {
            canvas.dashes(&ends, color)?;
            canvas.dot(fine(x + SAMPLE / 2, y), color)
        }
        CurveKind::Train | CurveKind::Raw => canvas.line(&ends, stroke(kind), color),
    }
}

fn draw_panel<B: DrawingBackend>(
    panel: &Panel,
    (x, x_name): (&Axis, &str),
    canvas: &Canvas<B>,
) -> Result<(), Error> {
    canvas.write(&panel.title, fine(LEFT, TITLE_Y), &TITLE)?;
    let Some(y) = Axis::along(&panel.curves, panel.scale) else {
        return canvas.write("no value to show", fine(LEFT, EMPTY_Y), &NOTE);
    };
    let inside = canvas.area.margin(TOP * FINE, BOTTOM * FINE, LEFT * FINE, MARGIN * FINE);
    let frame = Frame { x, y: &y, size: inside.dim_in_pixel(), canvas: canvas.part(inside) };
    draw_axes(&frame, x_name, canvas)?;
    // Faint lines are drawn first, so that they lie behind the others.
    for kind in [CurveKind::Raw, CurveKind::Train, CurveKind::Validation] {
        for curve in panel.curves.iter().filter(|curve| curve.kind == kind) {
            draw_curve(curve, &frame)?;
        }
    }
    Ok(())
}

/// The inside of a panel with the axes along its width and height.
struct Frame<'a, B: DrawingBackend> {
    canvas: Canvas<B>,
    size: (u32, u32),
    x: &'a Axis,
    y: &'a Axis,
}

impl<B: DrawingBackend> Frame<'_, B> {
    /// The position of a point on the canvas of the panel's inside.
    fn spot(&self, (x, y): (f64, f64)) -> (i32, i32) {
        let share = |value: f64, range: &Range<f64>| (value - range.start) / (range.end - range.start);
        let across = share(x, &self.x.range) * f64::from(self.size.0);
        let down = (1.0 - share(y, &self.y.range)) * f64::from(self.size.1);
        (across.round() as i32, down.round() as i32)
    }
}

/// Draws ticks with their labels and the lines of the grid, then the axes; `panel` is the frame with its margins.
fn draw_axes<B: DrawingBackend>(frame: &Frame<'_, B>, x_name: &str, panel: &Canvas<B>) -> Result<(), Error> {
    let (right, bottom) = (frame.size.0 as i32, frame.size.1 as i32);
    let (left, top) = fine(LEFT, TOP);
    let (centred, flush) =
        (TextFormat { side: HPos::Center, ..NAME }, TextFormat { side: HPos::Right, ..NAME });
    for tick in &frame.x.ticks {
        let (at, _) = frame.spot((*tick, frame.y.range.start));
        frame.canvas.rule([(at, 0), (at, bottom)], GRID)?;
        panel.write(&frame.x.label(*tick), (left + at, top + bottom + X_LABEL * FINE), &centred)?;
    }
    for tick in &frame.y.ticks {
        let (_, at) = frame.spot((frame.x.range.start, *tick));
        frame.canvas.rule([(0, at), (right, at)], GRID)?;
        panel.write(&frame.y.label(*tick), (left - Y_LABEL * FINE, top + at), &flush)?;
    }
    panel.write(x_name, (left + right / 2, top + bottom + X_NAME * FINE), &centred)?;
    frame.canvas.rule([(0, 0), (0, bottom)], GREY)?;
    frame.canvas.rule([(0, bottom), (right, bottom)], GREY)
}

fn draw_curve<B: DrawingBackend>(curve: &Curve, frame: &Frame<'_, B>) -> Result<(), Error> {
    let color = COLORS[curve.run % COLORS.len()];
    let (canvas, y) = (&frame.canvas, frame.y);
    let points = downsample(&curve.points);
    let positions: Vec<(f64, f64)> = points.iter().map(|&(x, value)| (x, y.position(value))).collect();
    for part in visible(&positions, &y.range) {
        let spots: Vec<(i32, i32)> = part.iter().map(|point| frame.spot(*point)).collect();
        match curve.kind {
            CurveKind::Validation => canvas.dashes(&spots, color)?,
            CurveKind::Train if spots.len() == 1 => canvas.dot(spots[0], color)?,
            CurveKind::Train | CurveKind::Raw => canvas.line(&spots, stroke(curve.kind), color)?,
        }
    }
    for (point, &(_, value)) in positions.iter().zip(&points) {
        match curve.kind {
            CurveKind::Validation if y.range.contains(&point.1) => canvas.dot(frame.spot(*point), color)?,
            CurveKind::Train if !value.is_finite() => {
                let (at, _) = frame.spot((point.0, y.range.end));
                canvas.cross((at, NOT_FINITE_Y * FINE), color)?;
            }
            CurveKind::Raw | CurveKind::Train | CurveKind::Validation => {}
        }
    }
    Ok(())
}

fn stroke(kind: CurveKind) -> LineWeight {
    match kind {
        CurveKind::Raw => LineWeight::Faint,
        CurveKind::Train | CurveKind::Validation => LineWeight::Normal,
    }
}

fn fine(x: i32, y: i32) -> (i32, i32) {
    (x * FINE, y * FINE)
}
