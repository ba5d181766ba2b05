//! Finds the foreground (the ink) of a grey picture: contrast, threshold, connected components and
//! strokes. Does not use digits or their size.

use super::{
    GrayPicture,
    background::{self, Shadows},
    components::{self, Component},
    stroke_width,
};

/// Pixels darker than this share of the brightest are no ink, if ink is bright by definition.
const BRIGHT_SHARE: u8 = 10;

/// Background and ink must differ by this much of 255; less is the grain of an empty sheet.
const MIN_CONTRAST: f64 = 15.0;

/// Ink must differ from the paper by so many times the paper's own unevenness, or it is part of that:
/// noise cut in two at its middle is 2.7 (Gaussian) to 3.5 (uniform) apart.
const MIN_DISTANCE: f64 = 4.2;

/// Smaller pictures have strokes of one pixel, which smoothing would remove as noise.
const SMOOTHED_FROM: usize = 64;

/// The ink alone, cut out along its edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreground {
    /// The position of the bounding box in the picture.
    pub top: usize,
    pub left: usize,
    pub width: usize,
    pub height: usize,
    /// 0 background to 255 ink, row by row.
    pub pixels: Vec<u8>,
    /// The contrast between ink and background in the picture, of 255.
    pub contrast: u8,
    /// Whether it is several shapes rather than one.
    pub several: bool,
    /// Whether it can be strokes, as far as its width goes.
    pub strokes: bool,
    /// Whether a line in it may be a border.
    pub may_be_border: bool,
}

/// The ink of a picture that is bright on dark and clean; none when it is black all over.
pub fn bright(picture: &GrayPicture) -> Option<Foreground> {
    let peak = picture.pixels.iter().copied().max().filter(|&peak| peak > 0)?;
    let mut mask: Vec<bool> = picture.pixels.iter().map(|&pixel| pixel > peak / BRIGHT_SHARE).collect();
    let edges = edges(&mask, picture.width)?;
    let several = components::are_several(&components::drop_specks(&mut mask, picture.width));
    let pixels = cut(&picture.pixels, picture.width, &edges);
    Some(Foreground::new(&edges, pixels, peak, several))
}

/// The ink of any picture, dark on light or light on dark; none when there is nothing but
/// background.
pub fn find(picture: &GrayPicture) -> Option<Foreground> {
    let strokes = in_light(picture, Shadows::Remove);
    // What is wider than strokes is no shadow where there is nothing else.
    strokes.or_else(|| Some(Foreground { strokes: false, ..in_light(picture, Shadows::Keep)? }))
}

fn in_light(picture: &GrayPicture, shadows: Shadows) -> Option<Foreground> {
    let width = picture.width;
    let away = background::difference(picture, shadows);
    let smooth = match width.min(picture.height) < SMOOTHED_FROM {
        true => away.clone(),
        false => smoothed(&away, width),
    };
    let OtsuThreshold { threshold, paper, ink, unevenness } = OtsuThreshold::of(&smooth)?;
    let contrast = ink - paper;
    if contrast < MIN_CONTRAST || contrast < MIN_DISTANCE * unevenness {
        return None;
    }
    let mut mask: Vec<bool> = smooth.iter().map(|&value| value > i16::from(threshold)).collect();
    let components = components::drop_specks(&mut mask, width);
    let edges = edges(&mask, width)?;
    let several = components::are_several(&components);
    if let Some(by) = stroke_width::correction(&mask, width, edges.width().max(edges.height())) {
        let (pixels, width, height) = redrawn(&mask, width, &edges, by);
        let all: Vec<bool> = pixels.iter().map(|&pixel| pixel > 0).collect();
        if let Some(within) = self::edges(&all, width) {
            debug_assert_eq!(pixels.len(), width * height);
            let pixels = cut(&pixels, width, &within);
            return Some(Foreground {
                width: within.width(),
                height: within.height(),
                ..Foreground::new(&edges, pixels, contrast as u8, several)
            });
        }
    }
    // The soft edge of a stroke, between paper and ink, keeps its shades.
    let floor = f64::midpoint(paper, f64::from(threshold));
    let shade = |value: i16| ((f64::from(value) - floor) / (ink - floor) * 255.0).clamp(0.0, 255.0) as u8;
    let near = grown(&mask, width);
    let pixels: Vec<u8> =
        away.iter().zip(&near).map(|(&value, &near)| if near { shade(value) } else { 0 }).collect();
    Some(Foreground::new(&edges, cut(&pixels, width, &edges), contrast as u8, several))
}

impl Foreground {
    fn new(edges: &Component, pixels: Vec<u8>, contrast: u8, several: bool) -> Self {
        let (width, height) = (edges.width(), edges.height());
        Self {
            top: edges.top,
            left: edges.left,
            width,
            height,
            pixels,
            contrast,
            several,
            strokes: true,
            may_be_border: false,
        }
    }
}

/// The mean of each pixel and its neighbours; at the edges of those that are there.
fn smoothed(values: &[i16], width: usize) -> Vec<i16> {
    let height = values.len() / width;
    let mut rows = vec![0i16; values.len()];
    for (line, out) in values.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        for (at, out) in out.iter_mut().enumerate() {
            *out = line[at.saturating_sub(1)] + line[at] + line[(at + 1).min(width - 1)];
        }
    }
    let row = |at: usize| &rows[at * width..(at + 1) * width];
    let mut smooth = Vec::with_capacity(values.len());
    for at in 0..height {
        let (above, below) = (row(at.saturating_sub(1)), row((at + 1).min(height - 1)));
        let sums = above.iter().zip(row(at)).zip(below).map(|((above, here), below)| above + here + below);
        smooth.extend(sums.map(|sum| sum / 9));
    }
    smooth
}

/// The threshold between background and ink (Otsu 1979), and the levels on both sides of it.
struct OtsuThreshold {
    /// Above it is ink.
    threshold: u8,
    /// The mean of the paper, and of the ink.
    paper: f64,
    ink: f64,
    /// Standard deviation of the paper, to both sides.
    unevenness: f64,
}

impl OtsuThreshold {
    /// The threshold that separates the values best (Otsu 1979); none when all values are the same.
    fn of(values: &[i16]) -> Option<Self> {
        let mut counts = [0u64; 256];
        values.iter().for_each(|&value| counts[value.clamp(0, 255) as usize] += 1);
        let total = values.len() as f64;
        let sum: f64 = counts.iter().enumerate().map(|(value, &count)| value as f64 * count as f64).sum();
        let (mut below, mut sum_below) = (0.0, 0.0);
        let mut best: Option<(f64, Self)> = None;
        for value in 0..=254u8 {
            let count = counts[usize::from(value)] as f64;
            below += count;
            sum_below += f64::from(value) * count;
            let above = total - below;
            if below == 0.0 || above == 0.0 {
                continue;
            }
            let (paper, ink) = (sum_below / below, (sum - sum_below) / above);
            let between = below * above * (ink - paper).powi(2);
            if best.as_ref().is_none_or(|(most, _)| between > *most) {
                best = Some((between, Self { threshold: value, paper, ink, unevenness: 0.0 }));
            }
        }
        let (_, mut levels) = best?;
        levels.unevenness = deviation(values.iter().filter(|&&value| value <= i16::from(levels.threshold)));
        Some(levels)
    }
}

fn deviation<'a>(values: impl Iterator<Item = &'a i16>) -> f64 {
    let (mut count, mut sum, mut squares) = (0i64, 0i64, 0i64);
    for value in values.map(|&value| i64::from(value)) {
        (count, sum, squares) = (count + 1, sum + value, squares + value * value);
    }
    let mean = sum as f64 / count.max(1) as f64;
    (squares as f64 / count.max(1) as f64 - mean * mean).max(0.0).sqrt()
}

/// The ink's part of the mask redrawn with its outline moved; its width and height.
fn redrawn(mask: &[bool], width: usize, edges: &Component, by: f32) -> (Vec<u8>, usize, usize) {
    let margin = by.max(0.0).ceil() as usize + 1;
    let (wide, high) = (edges.width() + 2 * margin, edges.height() + 2 * margin);
    let mut roomy = vec![false; wide * high];
    for row in 0..edges.height() {
        let from = &mask[(edges.top + row) * width + edges.left..][..edges.width()];
        roomy[(row + margin) * wide + margin..][..edges.width()].copy_from_slice(from);
    }
    (stroke_width::redraw(&roomy, wide, by), wide, high)
}

/// The mask and every pixel that touches it.
fn grown(mask: &[bool], width: usize) -> Vec<bool> {
    let height = mask.len() / width;
    let mut grown = vec![false; mask.len()];
    for at in (0..mask.len()).filter(|&at| mask[at]) {
        let (row, column) = (at / width, at % width);
        for row in row.saturating_sub(1)..(row + 2).min(height) {
            grown[row * width + column.saturating_sub(1)..row * width + (column + 2).min(width)].fill(true);
        }
    }
    grown
}

/// The box around the mask; none when the mask is empty.
fn edges(mask: &[bool], width: usize) -> Option<Component> {
    let mut edges: Option<Component> = None;
    for (row, line) in mask.chunks_exact(width).enumerate() {
        let Some(first) = line.iter().position(|&inked| inked) else { continue };
        let last = line.iter().rposition(|&inked| inked).unwrap_or(first);
        let edges =
            edges.get_or_insert(Component { pixels: 0, top: row, bottom: row, left: first, right: last });
        edges.pixels += 1;
        (edges.bottom, edges.left, edges.right) = (row, edges.left.min(first), edges.right.max(last));
    }
    edges
}

fn cut(pixels: &[u8], width: usize, edges: &Component) -> Vec<u8> {
    let rows = edges.top..=edges.bottom;
    rows.flat_map(|row| &pixels[row * width + edges.left..=row * width + edges.right]).copied().collect()
}
