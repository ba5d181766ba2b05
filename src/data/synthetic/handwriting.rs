//! From a style to the line of a pen: points moved by chance, joined smoothly, bent and slanted.
//! Does not use any pixels.

use super::glyphs::Style;
use crate::data::Random;

/// Pieces into which the curve between two points is cut.
const PIECES: usize = 6;

/// A point of the plane, y downwards.
pub type Point = (f64, f64);

/// The variation of a digit; all lengths are in hundredths of its height.
#[derive(Debug, Clone, Copy)]
pub struct Variation {
    /// Standard deviation of each point.
    pub point: f64,
    /// Standard deviation of each whole stroke.
    pub stroke: f64,
    /// Standard deviation of the slant, as x per y, and its mean.
    pub slant: (f64, f64),
    /// Standard deviation of the turn, in radians.
    pub turn: f64,
    /// Standard deviation of the logarithm of width over height, and its mean.
    pub aspect: (f64, f64),
    /// Standard deviation of each of the waves that bend the plane.
    pub bend: f64,
}

/// The lines of one digit, a fresh way of writing `style` each time.
pub fn write(style: &Style, chance: &Variation, random: &mut Random) -> Vec<Vec<Point>> {
    let mut lines: Vec<Vec<Point>> = Vec::with_capacity(style.strokes.len());
    for stroke in &style.strokes {
        let shift = (random.normal() * chance.stroke, random.normal() * chance.stroke);
        let points = moved(stroke, shift, chance.point, random);
        lines.push(trimmed(smooth(&points), random));
    }
    let waves: [ElasticWave; 4] = std::array::from_fn(|_| ElasticWave::draw(chance.bend, random));
    let plane = AffineMap::draw(chance, random);
    for point in lines.iter_mut().flatten() {
        let bent = waves.iter().fold(*point, |at, wave| wave.apply(at, *point));
        *point = plane.apply(bent);
    }
    lines
}

/// The points of a stroke, each moved a little; both copies of a corner go together.
fn moved(stroke: &[Point], shift: Point, deviation: f64, random: &mut Random) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::with_capacity(stroke.len());
    for (at, &point) in stroke.iter().enumerate() {
        let moved = match at.checked_sub(1) {
            Some(before) if stroke[before] == point => points[before],
            _ => (
                point.0 + shift.0 + random.normal() * deviation,
                point.1 + shift.1 + random.normal() * deviation,
            ),
        };
        points.push(moved);
    }
    points
}

/// The curve of Catmull and Rom through the points; a doubled point makes a corner.
fn smooth(points: &[Point]) -> Vec<Point> {
    let mut line = Vec::with_capacity(points.len() * PIECES);
    for at in 0..points.len() - 1 {
        let (from, to) = (points[at], points[at + 1]);
        let before = points[at.saturating_sub(1)];
        let after = points[(at + 2).min(points.len() - 1)];
        if from == to {
            continue;
        }
        for piece in 0..PIECES {
            let t = piece as f64 / PIECES as f64;
            line.push((
                spline(before.0, from.0, to.0, after.0, t),
                spline(before.1, from.1, to.1, after.1, t),
            ));
        }
    }
    line.extend(points.last());
    line
}

/// Catmull–Rom with tension 1/2, at `t` of the way from `b` to `c`.
fn spline(a: f64, b: f64, c: f64, d: f64, t: f64) -> f64 {
    0.5 * (2.0 * b + t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a))))
}

/// The line with a little of its ends left out, as where a pen is set down late.
fn trimmed(mut line: Vec<Point>, random: &mut Random) -> Vec<Point> {
    let mut part = || (random.unit().powi(2) * 0.1 * line.len() as f64) as usize;
    let (head, tail) = (part(), part());
    line.truncate(line.len() - tail);
    line.drain(..head.min(line.len().saturating_sub(2)));
    line
}

/// A slow wave that pushes points across the plane: the elastic part of handwriting.
struct ElasticWave {
    push: Point,
    along: Point,
    phase: f64,
}

impl ElasticWave {
    fn draw(deviation: f64, random: &mut Random) -> Self {
        let push = (random.normal() * deviation, random.normal() * deviation);
        // Between half a wave and one and a half over the height of a digit.
        let frequency = random.between(0.5, 1.5) * std::f64::consts::TAU / 100.0;
        let (sin, cos) = (random.unit() * std::f64::consts::TAU).sin_cos();
        let phase = random.unit() * std::f64::consts::TAU;
        Self { push, along: (cos * frequency, sin * frequency), phase }
    }

    /// `at` pushed by the strength of the wave at the `rest` position.
    fn apply(&self, at: Point, rest: Point) -> Point {
        let strength = (self.along.0 * rest.0 + self.along.1 * rest.1 + self.phase).sin();
        (at.0 + self.push.0 * strength, at.1 + self.push.1 * strength)
    }
}

/// Aspect, slant and turn as one 2 × 2 matrix.
struct AffineMap([f64; 4]);

impl AffineMap {
    fn draw(chance: &Variation, random: &mut Random) -> Self {
        let wide = (chance.aspect.1 + random.normal() * chance.aspect.0).exp();
        // Positive leans to the right, as most hands do.
        let slant = chance.slant.1 + random.normal() * chance.slant.0;
        let (sin, cos) = (random.normal() * chance.turn).sin_cos();
        let (a, b, d) = (wide, -slant, 1.0);
        Self([cos * a, cos * b - sin * d, sin * a, sin * b + cos * d])
    }

    fn apply(&self, (x, y): Point) -> Point {
        let [a, b, c, d] = self.0;
        (a * x + b * y, c * x + d * y)
    }
}
