//! From the line of a pen to ink on 28 × 28 pixels. Does not use any digits.

use std::f64::consts::TAU;

use super::handwriting::Point;
use crate::data::{
    Random,
    centering::{BOX, SIDE},
};

/// A pen: widths and lengths in pixels of the finished image.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    pub width: f64,
    /// How much the width swells and shrinks along a stroke, as a share of it.
    pub pressure: f64,
    /// Standard deviation of the edge of the ink, pixel by pixel.
    pub roughness: f64,
    /// Over how many pixels the edge of the ink fades.
    pub softness: f64,
    /// Ink in the middle of a stroke, 1 for black; above 1 it saturates.
    pub strength: f64,
    /// Length of the longer side of the digit.
    pub size: f64,
}

/// Pixels over which the pressure swells and shrinks once.
const PRESSURE_PERIOD: f64 = 14.0;

/// The lines drawn into a box of 20 × 20 pixels in the middle of 28 × 28, the aspect kept.
pub fn draw(lines: &[Vec<Point>], pen: &Pen, random: &mut Random) -> [f32; SIDE * SIDE] {
    let bounds = Bounds::of(lines);
    let longer = (bounds.high.0 - bounds.low.0).max(bounds.high.1 - bounds.low.1).max(1.0);
    let scale = (pen.size.min(BOX as f64) - pen.width) / longer;
    let middle = ((bounds.low.0 + bounds.high.0) / 2.0, (bounds.low.1 + bounds.high.1) / 2.0);
    let half = SIDE as f64 / 2.0;
    let to_pixels = |(x, y): Point| ((x - middle.0) * scale + half, (y - middle.1) * scale + half);
    let mut edges = [f64::INFINITY; SIDE * SIDE];
    for line in lines {
        let mut phase = random.unit() * TAU;
        for ends in line.windows(2) {
            let piece = Segment { from: to_pixels(ends[0]), to: to_pixels(ends[1]) };
            phase += piece.length() * TAU / PRESSURE_PERIOD;
            let radius = pen.width / 2.0 * (1.0 + pen.pressure * phase.sin());
            piece.stamp(&mut edges, radius, pen.softness);
        }
    }
    edges.map(|edge| {
        if edge > pen.softness {
            return 0.0;
        }
        let depth = 0.5 - (edge + random.normal() * pen.roughness) / pen.softness;
        let fade = depth.clamp(0.0, 1.0);
        (fade * fade * (3.0 - 2.0 * fade) * pen.strength).min(1.0) as f32
    })
}

struct Bounds {
    low: Point,
    high: Point,
}

impl Bounds {
    fn of(lines: &[Vec<Point>]) -> Self {
        let start = Self { low: (f64::MAX, f64::MAX), high: (f64::MIN, f64::MIN) };
        lines.iter().flatten().fold(start, |bounds, &(x, y)| Self {
            low: (bounds.low.0.min(x), bounds.low.1.min(y)),
            high: (bounds.high.0.max(x), bounds.high.1.max(y)),
        })
    }
}

/// A straight piece of a line, in pixels.
struct Segment {
    from: Point,
    to: Point,
}

impl Segment {
    fn length(&self) -> f64 {
        (self.to.0 - self.from.0).hypot(self.to.1 - self.from.1)
    }

    /// Lowers each pixel's distance from the edge of the ink (below 0 inside) within reach.
    fn stamp(&self, edges: &mut [f64; SIDE * SIDE], radius: f64, softness: f64) {
        let Self { from, to } = *self;
        let reach = radius + softness + 0.5;
        let span = |a: f64, b: f64| {
            let low = (a.min(b) - reach).floor().clamp(0.0, SIDE as f64);
            let high = (a.max(b) + reach).ceil().clamp(0.0, SIDE as f64);
            low as usize..high as usize
        };
        let along = (to.0 - from.0, to.1 - from.1);
        let square = (along.0 * along.0 + along.1 * along.1).max(1e-12);
        for row in span(from.1, to.1) {
            for column in span(from.0, to.0) {
                let off = (column as f64 + 0.5 - from.0, row as f64 + 0.5 - from.1);
                let t = ((off.0 * along.0 + off.1 * along.1) / square).clamp(0.0, 1.0);
                let (x, y) = (off.0 - t * along.0, off.1 - t * along.1);
                let edge = &mut edges[row * SIDE + column];
                *edge = edge.min((x * x + y * y).sqrt() - radius);
            }
        }
    }
}
