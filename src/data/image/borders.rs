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

/// The lines of an empty cell, at least. Fewer may be a 1 or a dash.
const EMPTY_CELL: usize = 3;

/// What is left without lines is a digit if it is at least this part of the picture's shorter side.
const LEAST_REST: f32 = 0.12;

/// A border goes on beyond the digit at both ends by this part of its own length, as a stroke does not.
const BEYOND: f32 = 0.02;

/// A line that covers this part of its side is long, and one of this part of the picture's shorter side is thin: if it
/// touches nothing it is a border, wherever the digit lies.
const LONG: f32 = 0.75;
const THIN: f32 = 0.045;

/// A long and thin line of which more than this part is there, and that ends where the digit ends, may be a border
/// or a stroke; with another one in a corner it is a border.
const WHOLE: f32 = 0.9;

/// Smaller pictures have strokes of a pixel, as thin as lines.
const SMALLEST: usize = 20;

/// The part of a line that has paper on both sides.
const RIDGE: f32 = 0.6;

/// The tangent of a line that is seen to be slanted.
const STEEP: f32 = 0.012;

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
    if width.min(height) < SMALLEST {
        return Borders::None;
    }
    let ink = LocalInk::find(picture);
    let mut lines = straight_lines::find(&ink.mask, width, Direction::Horizontal);
    lines.extend(straight_lines::find(&ink.mask, width, Direction::Vertical));
    lines.retain(|line| is_ridge(picture, &ink, line));
    if lines.is_empty() {
        return Borders::None;
    }
    let (candidates, mut is_doubtful) = (lines.clone(), false);
    loop {
        let mut mask = ink.mask.clone();
        let erased: Vec<usize> = lines.iter().flat_map(|line| erase_line(&mut mask, width, line)).collect();
        let rest = components::drop_specks(&mut mask, width);
        let rest = rest.into_iter().reduce(|one, other| one.with(&other));
        let least = LEAST_REST * width.min(height) as f32;
        let rest = rest.filter(|rest| rest.width().max(rest.height()) as f32 >= least);
        let before = lines.len();
        match rest {
            None if lines.len() < EMPTY_CELL => return Borders::None,
            None => {}
            Some(rest) => {
                let roles = roles(&lines, &Surroundings { ink: &ink, candidates: &candidates, rest, width });
                is_doubtful |= roles.contains(&Role::Either);
                let mut roles = roles.into_iter();
                lines.retain(|_| roles.next() == Some(Role::Border));
            }
        }
        if lines.len() == before {
            let mut cleaned = picture.clone();
            erased.into_iter().for_each(|at| cleaned.pixels[at] = ink.paper_at(at));
            return Borders::Erased(cleaned);
        }
        if lines.is_empty() {
            return if is_doubtful { Borders::Doubtful } else { Borders::None };
        }
    }
}

/// What a line can be beside what is left without lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Border,
    Stroke,
    Either,
}

/// What there is beside a line.
struct Surroundings<'a> {
    ink: &'a LocalInk,
    /// All lines, those that turned out to be strokes included.
    candidates: &'a [StraightLine],
    /// The bounding box of what is left without lines.
    rest: Component,
    width: usize,
}

/// The role of each line.
fn roles(lines: &[StraightLine], around: &Surroundings<'_>) -> Vec<Role> {
    let (width, height) = (around.width, around.ink.mask.len() / around.width);
    let touches = touches(&around.ink.mask, width, lines);
    let role = |(line, touches): (&StraightLine, usize)| {
        let side = View::new(line.direction, width, height).length;
        let is_long = line.length() as f32 >= LONG * side as f32
            && line.thickness <= THIN * width.min(height) as f32 + 1.0;
        let is_whole = is_long && line.density > WHOLE;
        let is_separate = is_long && touches == 0;
        let in_corner = is_whole && around.candidates.iter().any(|other| meet(line, other));
        match (goes_beyond(line, around) || is_separate || in_corner, is_whole) {
            (true, _) => Role::Border,
            (false, true) => Role::Either,
            (false, false) => Role::Stroke,
        }
    };
    lines.iter().zip(touches).map(role).collect()
}

/// Whether a line goes on beyond both ends of what is left without lines, or ends at a line across.
fn goes_beyond(line: &StraightLine, around: &Surroundings<'_>) -> bool {
    let rest = &around.rest;
    let view = View::new(line.direction, around.width, around.ink.mask.len() / around.width);
    let (first, last) = match line.direction {
        Direction::Horizontal => (rest.left as f32, rest.right as f32),
        Direction::Vertical => (rest.top as f32, rest.bottom as f32),
    };
    let (from, to, beyond) = (line.from as f32, line.to as f32, BEYOND * line.length() as f32);
    // A slanted line leaves the picture sideways, and goes on outside.
    let leaves = |along: usize| {
        let middle = line.middle(along);
        line.slope.abs() > STEEP && (middle < 1.0 || middle > view.depth as f32 - 2.0)
    };
    let is_across = |stops: &dyn Fn(f32, f32) -> bool| {
        let across = around.candidates.iter().filter(|other| other.direction != line.direction);
        let middle = line.middle(line.from).max(0.0) as usize;
        across.into_iter().any(|other| stops(other.middle(middle), other.thickness / 2.0 + 1.0))
    };
    let starts = from + beyond <= first
        || line.from > 0 && leaves(line.from)
        || from <= first + 1.0 && is_across(&|place, near| place <= first + near);
    let ends = last + beyond <= to
        || line.to + 1 < view.length && leaves(line.to)
        || last - 1.0 <= to && is_across(&|place, near| place >= last - near);
    starts && ends
}

/// Whether two lines end in one corner, or cross near it.
fn meet(one: &StraightLine, other: &StraightLine) -> bool {
    let ends_at = |one: &StraightLine, other: &StraightLine| {
        let near = one.thickness + other.thickness + 2.0;
        [one.from, one.to]
            .into_iter()
            .any(|end| (other.middle(one.middle(end).max(0.0) as usize) - end as f32).abs() <= near)
    };
    one.direction != other.direction && ends_at(one, other) && ends_at(other, one)
}

/// For each line, at how many places along it strokes touch it, lines of the other direction apart.
fn touches(mask: &[bool], width: usize, lines: &[StraightLine]) -> Vec<usize> {
    let across = |direction: Direction| {
        let mut without = mask.to_vec();
        for line in lines.iter().filter(|line| line.direction != direction) {
            erase_line(&mut without, width, line);
        }
        without
    };
    let (horizontal, vertical) = (across(Direction::Horizontal), across(Direction::Vertical));
    let count = |line: &StraightLine| {
        let mask = if line.direction == Direction::Horizontal { &horizontal } else { &vertical };
        let view = View::new(line.direction, width, mask.len() / width);
        let touches = |&along: &usize| {
            let middle = (line.middle(along).round().max(0.0) as usize).min(view.depth - 1);
            if !mask[view.at(along, middle)] {
                return false;
            }
            let (first, last) = view.run(mask, along, middle);
            (last + 1 - first) as f32 > line.thickness * 1.5 + 2.0
        };
        // A stroke that goes on from the end of a line begins a little beyond it.
        let more = line.thickness as usize / 2 + 2;
        let along = line.from.saturating_sub(more)..(line.to + more + 1).min(view.length);
        along.filter(touches).count()
    };
    lines.iter().map(count).collect()
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
        let paper = f32::from(ink.paper_at(view.at(along, middle.round() as usize)));
        let least = (sign * (paper - own) / 2.0).max(10.0);
        let differs = |side: Option<f32>| side.is_none_or(|side| sign * (side - own) > least);
        count += 1;
        ridges += usize::from(differs(value(middle.round() - away)) && differs(value(middle.round() + away)));
    }
    ridges as f32 > RIDGE * count as f32
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
