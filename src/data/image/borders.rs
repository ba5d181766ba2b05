//! Lines that are no ink of a digit: cell borders, boxes, frames, underlines and margins. They are found as long
//! straight lines (`straight_lines`) in the mask of a local threshold, told from strokes by where they lie and
//! what is left without them, and erased run by run, as forms and staff lines are cleaned: what is longer across
//! the line than the line is thick is a stroke that crosses it, and stays.

use super::{
    GrayPicture,
    components::{self, Component},
    local_threshold::LocalInk,
    straight_lines::{self, Direction, StraightLine, View},
};

/// What is left without lines is a digit if it is at least this part of the picture's shorter side.
const LEAST_REST: f32 = 0.15;

/// A line in this outer part of the picture, on each side, may have something beyond it that belongs to
/// another cell.
const OUTER: f32 = 0.2;

/// A line goes on beyond both ends of the digit that it touches by this part of its length.
const BEYOND: f32 = 0.04;

/// What became of a picture's borders.
pub enum Borders {
    /// There are none.
    None,
    /// They are erased.
    Erased(GrayPicture),
    /// There are lines, and they may be strokes.
    Doubtful,
}

/// Erases borders.
pub fn erase(picture: &GrayPicture) -> Borders {
    let (width, height) = (picture.width, picture.height);
    if width.min(height) < 20 {
        return Borders::None;
    }
    let ink = LocalInk::find(picture);
    let mut lines = straight_lines::find(&ink.mask, width, Direction::Horizontal);
    lines.extend(straight_lines::find(&ink.mask, width, Direction::Vertical));
    lines.retain(|line| is_ridge(picture, &ink, line));
    if lines.is_empty() {
        return Borders::None;
    }
    let mut mask = ink.mask.clone();
    let erased: Vec<usize> = lines.iter().flat_map(|line| erase_line(&mut mask, width, line)).collect();
    let rest = components::drop_specks(&mut mask, width);
    let mut cleaned = picture.clone();
    for at in erased {
        cleaned.pixels[at] = ink.paper_at(at);
    }
    let Some(all) = rest.iter().copied().reduce(|one, other| one.with(&other)) else {
        return if lines.len() > 2 { Borders::Erased(cleaned) } else { Borders::None };
    };
    if (all.width().max(all.height()) as f32) < LEAST_REST * width.min(height) as f32 {
        return Borders::None;
    }
    Borders::Erased(cleaned)
}

/// Whether the paper on both sides of a line differs from it: the edge of a shadow does on one.
fn is_ridge(picture: &GrayPicture, ink: &LocalInk, line: &StraightLine) -> bool {
    let view = View::new(line.direction, picture.width, picture.height);
    let (mut count, mut ridges) = (0, 0);
    for along in line.from..=line.to {
        let middle = line.middle(along);
        let value = |across: f32| {
            let inside = across >= 0.0 && across < view.depth as f32;
            inside.then(|| f32::from(picture.pixels[view.at(along, across as usize)]))
        };
        let Some(own) = value(middle.round()) else { continue };
        let away = (line.thickness / 2.0 + 2.0).round();
        let sign = if ink.is_lighter { -1.0 } else { 1.0 };
        let differs = |side: Option<f32>| side.is_none_or(|side| sign * (side - own) > 10.0);
        count += 1;
        ridges += usize::from(differs(value(middle.round() - away)) && differs(value(middle.round() + away)));
    }
    ridges * 2 > count
}

/// Clears a line out of the mask, and returns the pixels that it took up, with the soft edge around it.
fn erase_line(mask: &mut [bool], width: usize, line: &StraightLine) -> Vec<usize> {
    let view = View::new(line.direction, width, mask.len() / width);
    let half = line.thickness / 2.0;
    let mut erased = Vec::new();
    for along in 0..view.length {
        let middle = line.middle(along);
        let low = (middle - half - 0.5).round().max(0.0) as usize;
        let high = (middle + half + 0.5).round().min(view.depth as f32 - 1.0);
        if high < low as f32 {
            continue;
        }
        let high = high as usize;
        let inked = (low..=high).find(|&across| mask[view.at(along, across)]);
        let (first, last) = match inked {
            Some(across) => view.run(mask, along, across),
            None => (low, high),
        };
        let (above, below) = (first + 1 < low, last > high + 1);
        if above && below {
            continue;
        }
        let first = if above { low } else { first.min(low).saturating_sub(1) };
        let last = if below { high } else { (last.max(high) + 1).min(view.depth - 1) };
        for across in first..=last {
            mask[view.at(along, across)] = false;
            erased.push(view.at(along, across));
        }
    }
    erased
}
