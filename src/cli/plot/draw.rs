//! Where things stand in a picture: the legend, the panels, their axes and curves.

use std::ops::Range;

use plotters::{
    drawing::IntoDrawingArea as _,
    prelude::{DrawingBackend, SVGBackend},
    style::{RGBColor, text_anchor::HPos},
};

use super::{Curve, Kind, Panel, Picture, axis::Axis, curve::visible, thin::thin};
use crate::draw::{
    self, Error,
    pen::{Canvas, FINE, GREY, GRID, INK, Medium, Stroke, Words, bring_font, failed},
};

/// The colours of runs, which people of every colour vision tell apart on white: Okabe and Ito's
/// (2008, "Color Universal Design"), the dark ones first, without the yellow that white swallows.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Size of the finished picture; each line of the legend adds to its height.
const WIDTH: i32 = 1200;
const HEIGHT: i32 = 470;
const LEGEND_LINE: i32 = 26;
const MARGIN: i32 = 18;

/// What a panel keeps free around its inside: for its title, the labels of its axes and their names.
const TOP: i32 = 36;
const LEFT: i32 = 76;
const BOTTOM: i32 = 60;

/// Length of a line in the legend, and where its words begin.
const SAMPLE: i32 = 36;
const BEHIND_SAMPLE: i32 = 46;

const TITLE: Words = Words { size: 18, colour: INK, side: HPos::Left };
const NAME: Words = Words { size: 16, colour: INK, side: HPos::Left };
const NOTE: Words = Words { size: 16, colour: GREY, side: HPos::Left };

/// The picture as an SVG document.
pub fn svg(picture: &Picture) -> Result<String, Error> {
    let (width, height) = (WIDTH, height(picture));
    let size = ((width * FINE) as u32, (height * FINE) as u32);
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    draw(picture, &Canvas { area, medium: Medium::Svg })?;
    // The canvas stays fine, and is shown in the picture's own size.
    let fine = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    Ok(text.replacen(&fine, &format!("width=\"{width}\" height=\"{height}\""), 1))
}

/// The picture as a PNG file.
pub fn png(picture: &Picture) -> Result<Vec<u8>, Error> {
    draw::png((WIDTH as u32, height(picture) as u32), &[], |canvas| draw(picture, canvas))
}

fn height(picture: &Picture) -> i32 {
    HEIGHT + LEGEND_LINE * (legend_lines(picture) + 1)
}

fn legend_columns(picture: &Picture) -> i32 {
    if picture.runs.len() > 3 { 2 } else { 1 }
}

fn legend_lines(picture: &Picture) -> i32 {
    (picture.runs.len() as i32 + legend_columns(picture) - 1) / legend_columns(picture)
}

fn draw<B: DrawingBackend>(picture: &Picture, canvas: &Canvas<B>) -> Result<(), Error> {
    bring_font()?;
    canvas.area.fill(&RGBColor(255, 255, 255)).map_err(failed)?;
    let top = MARGIN + LEGEND_LINE * (legend_lines(picture) + 1);
    let (legend, below) = canvas.area.split_vertically(top * FINE);
    draw_legend(picture, &canvas.part(legend))?;
    let x = Axis::across(picture.panels.iter().flat_map(|panel| &panel.curves));
    let panels = below.split_evenly((1, picture.panels.len()));
    for (panel, area) in picture.panels.iter().zip(panels) {
        draw_panel(panel, (&x, picture.x_name), &canvas.part(area))?;
    }
    canvas.area.present().map_err(failed)
}

/// A line for every run in its colour, below them what solid and dashed mean.
fn draw_legend<B: DrawingBackend>(picture: &Picture, canvas: &Canvas<B>) -> Result<(), Error> {
    let (lines, columns) = (legend_lines(picture), legend_columns(picture));
    let width = (WIDTH - LEFT - MARGIN) / columns;
    let height = |line: i32| MARGIN + line * LEGEND_LINE + LEGEND_LINE / 2;
    for (run, name) in picture.runs.iter().enumerate() {
        let (x, y) = (LEFT + run as i32 / lines * width, height(run as i32 % lines));
        let name = canvas.fitting(name, (width - BEHIND_SAMPLE - MARGIN) * FINE, &NAME)?;
        draw_sample(canvas, (x, y), Kind::Train, COLOURS[run % COLOURS.len()])?;
        canvas.write(&name, fine(x + BEHIND_SAMPLE, y), &NAME)?;
    }
    let curves = || picture.panels.iter().flat_map(|panel| &panel.curves);
    let mut keys = vec![(Kind::Train, picture.train.as_str())];
    if curves().any(|curve| curve.kind == Kind::Validation) {
        keys.push((Kind::Validation, "validation"));
    }
    let (mut x, y) = (LEFT, height(lines));
    for (kind, name) in keys {
        draw_sample(canvas, (x, y), kind, GREY)?;
        canvas.write(name, fine(x + BEHIND_SAMPLE, y), &NOTE)?;
        x += BEHIND_SAMPLE + canvas.width_of(name, &NOTE)? / FINE + 2 * MARGIN;
    }
    if curves().any(|curve| curve.points.iter().any(|point| !point.1.is_finite())) {
        canvas.cross(fine(x + MARGIN / 2, y), GREY)?;
        canvas.write("not a finite number", fine(x + MARGIN + MARGIN / 2, y), &NOTE)?;
    }
    Ok(())
}

/// A short piece of a line as it stands in the panels.
fn draw_sample<B: DrawingBackend>(
    canvas: &Canvas<B>,
    (x, y): (i32, i32),
    kind: Kind,
    colour: RGBColor,
) -> Result<(), Error> {
    let ends = [fine(x, y), fine(x + SAMPLE, y)];
    match kind {
        Kind::Validation => {
            canvas.dashes(&ends, colour)?;
            canvas.dot(fine(x + SAMPLE / 2, y), colour)
        }
        Kind::Train | Kind::Raw => canvas.line(&ends, stroke(kind), colour),
    }
}

fn draw_panel<B: DrawingBackend>(
    panel: &Panel,
    (x, x_name): (&Axis, &str),
    canvas: &Canvas<B>,
) -> Result<(), Error> {
    canvas.write(&panel.title, fine(LEFT, 16), &TITLE)?;
    let Some(y) = Axis::along(&panel.curves, panel.scale) else {
        return canvas.write("no value that could be shown", fine(LEFT, 60), &NOTE);
    };
    let inside = canvas.area.margin(TOP * FINE, BOTTOM * FINE, LEFT * FINE, MARGIN * FINE);
    let frame = Frame { x, y: &y, size: inside.dim_in_pixel(), canvas: canvas.part(inside) };
    draw_axes(&frame, x_name, canvas)?;
    // Faint lines first, so that none covers what it is the background of.
    for kind in [Kind::Raw, Kind::Train, Kind::Validation] {
        for curve in panel.curves.iter().filter(|curve| curve.kind == kind) {
            draw_curve(curve, &frame)?;
        }
    }
    Ok(())
}

/// The inside of a panel, and what its width and height stand for.
struct Frame<'a, B: DrawingBackend> {
    canvas: Canvas<B>,
    size: (u32, u32),
    x: &'a Axis,
    y: &'a Axis,
}

impl<B: DrawingBackend> Frame<'_, B> {
    /// Where a point lies on the canvas of the panel's inside.
    fn spot(&self, (x, y): (f64, f64)) -> (i32, i32) {
        let share = |value: f64, range: &Range<f64>| (value - range.start) / (range.end - range.start);
        let across = share(x, &self.x.range) * f64::from(self.size.0);
        let down = (1.0 - share(y, &self.y.range)) * f64::from(self.size.1);
        (across.round() as i32, down.round() as i32)
    }
}

/// Ticks with their labels and the lines of the grid, then the axes; `panel` is the frame with what
/// lies around it.
fn draw_axes<B: DrawingBackend>(frame: &Frame<'_, B>, x_name: &str, panel: &Canvas<B>) -> Result<(), Error> {
    let (right, bottom) = (frame.size.0 as i32, frame.size.1 as i32);
    let (left, top) = fine(LEFT, TOP);
    let (centred, flush) = (Words { side: HPos::Center, ..NAME }, Words { side: HPos::Right, ..NAME });
    for tick in &frame.x.ticks {
        let (at, _) = frame.spot((*tick, frame.y.range.start));
        frame.canvas.rule([(at, 0), (at, bottom)], GRID)?;
        panel.write(&frame.x.label(*tick), (left + at, top + bottom + 14 * FINE), &centred)?;
    }
    for tick in &frame.y.ticks {
        let (_, at) = frame.spot((frame.x.range.start, *tick));
        frame.canvas.rule([(0, at), (right, at)], GRID)?;
        panel.write(&frame.y.label(*tick), (left - 8 * FINE, top + at), &flush)?;
    }
    panel.write(x_name, (left + right / 2, top + bottom + 38 * FINE), &centred)?;
    frame.canvas.rule([(0, 0), (0, bottom)], GREY)?;
    frame.canvas.rule([(0, bottom), (right, bottom)], GREY)
}

fn draw_curve<B: DrawingBackend>(curve: &Curve, frame: &Frame<'_, B>) -> Result<(), Error> {
    let colour = COLOURS[curve.run % COLOURS.len()];
    let (canvas, y) = (&frame.canvas, frame.y);
    let points = thin(&curve.points);
    let placed: Vec<(f64, f64)> = points.iter().map(|&(x, value)| (x, y.place(value))).collect();
    for part in visible(&placed, &y.range) {
        let spots: Vec<(i32, i32)> = part.iter().map(|point| frame.spot(*point)).collect();
        match curve.kind {
            Kind::Validation => canvas.dashes(&spots, colour)?,
            Kind::Train if spots.len() == 1 => canvas.dot(spots[0], colour)?,
            Kind::Train | Kind::Raw => canvas.line(&spots, stroke(curve.kind), colour)?,
        }
    }
    for (point, &(_, value)) in placed.iter().zip(&points) {
        match curve.kind {
            Kind::Validation if y.range.contains(&point.1) => canvas.dot(frame.spot(*point), colour)?,
            Kind::Train if !value.is_finite() => {
                let (at, _) = frame.spot((point.0, y.range.end));
                canvas.cross((at, 9 * FINE), colour)?;
            }
            Kind::Raw | Kind::Train | Kind::Validation => {}
        }
    }
    Ok(())
}

fn stroke(kind: Kind) -> Stroke {
    match kind {
        Kind::Raw => Stroke::Faint,
        Kind::Train | Kind::Validation => Stroke::Firm,
    }
}

fn fine(x: i32, y: i32) -> (i32, i32) {
    (x * FINE, y * FINE)
}
