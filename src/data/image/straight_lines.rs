//! Long straight lines in a mask: runs of ink across the direction of a line that are short vote for the
//! lines through their middles (Hough transform over run lengths), and the line with the most votes is fitted
//! by least squares. Knows nothing of digits.

/// The tangent of the steepest line to its side.
const STEEPEST: f32 = 0.075;

/// A run that is longer than this part of the shorter side crosses no line.
const THICKEST_PART: f32 = 0.08;
/// The bounds of the longest run in pixels.
const THICKEST: (f32, f32) = (3.0, 14.0);

/// How far the middle of a run may lie from the line, in pixels.
const TOLERANCE: f32 = 1.3;

/// A line covers at least this part of its side from end to end, and this part of its own length is there.
const LEAST_LENGTH: f32 = 0.6;
const LEAST_DENSITY: f32 = 0.5;

/// The root of the mean square of a straight line's distances from the fitted one, in pixels.
const MOST_BENT: f32 = 0.7;

/// Most lines in one direction: checked paper has no more.
const MOST_LINES: usize = 32;

/// The direction of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Horizontal,
    Vertical,
}

/// A mask seen along a direction: positions are (along, across).
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The extents along the direction and across it.
    pub length: usize,
    pub depth: usize,
    step_along: usize,
    step_across: usize,
}

impl View {
    pub fn new(direction: Direction, width: usize, height: usize) -> Self {
        match direction {
            Direction::Horizontal => Self { length: width, depth: height, step_along: 1, step_across: width },
            Direction::Vertical => Self { length: height, depth: width, step_along: width, step_across: 1 },
        }
    }

    /// The index of a pixel.
    pub fn at(&self, along: usize, across: usize) -> usize {
        along * self.step_along + across * self.step_across
    }

    /// The run of ink across the direction that contains a pixel with ink: its first pixel and its last.
    pub fn run(&self, mask: &[bool], along: usize, across: usize) -> (usize, usize) {
        let inked = |across: usize| mask[self.at(along, across)];
        let first = (0..across).rev().take_while(|&across| inked(across)).last().unwrap_or(across);
        let last = (across + 1..self.depth).take_while(|&across| inked(across)).last().unwrap_or(across);
        (first, last)
    }
}

/// A straight line of even thickness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StraightLine {
    pub direction: Direction,
    /// Where its middle is across the direction, at position 0 along it.
    pub offset: f32,
    pub slope: f32,
    /// The median length of the runs across it, in pixels.
    pub thickness: f32,
    /// Where it begins and ends along the direction, both included.
    pub from: usize,
    pub to: usize,
    /// The part of its length that is there and that nothing touches.
    pub density: f32,
}

impl StraightLine {
    /// The position of its middle across the direction.
    pub fn middle(&self, along: usize) -> f32 {
        self.offset + self.slope * along as f32
    }

    /// Pixels from end to end.
    pub fn length(&self) -> usize {
        self.to + 1 - self.from
    }
}

/// A short run across the direction.
#[derive(Debug, Clone, Copy)]
struct Run {
    along: usize,
    middle: f32,
    length: f32,
}

/// The long straight lines in a direction.
pub fn find(mask: &[bool], width: usize, direction: Direction) -> Vec<StraightLine> {
    let view = View::new(direction, width, mask.len() / width);
    let mut runs = short_runs(mask, &view);
    let mut lines = Vec::new();
    while lines.len() < MOST_LINES {
        let Some((slope, offset)) = most_voted(&runs, &view) else { break };
        let Some((line, inliers)) = fitted(&runs, &view, direction, slope, offset) else { break };
        lines.extend(line);
        let mut at = 0;
        runs.retain(|_| {
            at += 1;
            !inliers[at - 1]
        });
    }
    lines
}

/// All runs across the direction that are no longer than a line is thick.
fn short_runs(mask: &[bool], view: &View) -> Vec<Run> {
    let shorter = view.length.min(view.depth) as f32;
    let longest = (shorter * THICKEST_PART).clamp(THICKEST.0, THICKEST.1) as usize;
    let mut runs = Vec::new();
    // The rows of the picture are read in order, whatever the direction.
    let mut starts = vec![usize::MAX; view.length];
    let mut close = |along: usize, start: usize, end: usize| {
        if end - start <= longest {
            let middle = (start + end - 1) as f32 / 2.0;
            runs.push(Run { along, middle, length: (end - start) as f32 });
        }
    };
    let mut visit = |along: usize, across: usize| {
        let inked = mask[view.at(along, across)];
        let start = &mut starts[along];
        match (inked, *start) {
            (true, usize::MAX) => *start = across,
            (false, open) if open != usize::MAX => {
                *start = usize::MAX;
                close(along, open, across);
            }
            _ => {}
        }
    };
    if view.step_along == 1 {
        (0..view.depth).for_each(|across| (0..view.length).for_each(|along| visit(along, across)));
    } else {
        (0..view.length).for_each(|along| (0..view.depth).for_each(|across| visit(along, across)));
    }
    for (along, start) in starts.into_iter().enumerate().filter(|(_, start)| *start != usize::MAX) {
        close(along, start, view.depth);
    }
    runs
}

/// The slope and the offset of the line that most runs vote for; none without enough votes.
fn most_voted(runs: &[Run], view: &View) -> Option<(f32, f32)> {
    let least = view.length as f32 * LEAST_LENGTH * LEAST_DENSITY;
    if (runs.len() as f32) < least {
        return None;
    }
    // A step moves the ends of a line by a pixel against its middle.
    let step = 2.0 / view.length as f32;
    let steps = (STEEPEST / step).ceil() as i32;
    let half = view.length as f32 / 2.0;
    // Beyond the edges of the picture lie the middles of lines that leave it.
    let margin = (STEEPEST * half).ceil() + 2.0;
    let mut votes = vec![0u16; view.depth + 2 * margin as usize + 3];
    let mut best = (0, 0.0, 0.0);
    for slope in (-steps..=steps).map(|at| at as f32 * step) {
        votes.fill(0);
        for run in runs {
            let middle = run.middle - slope * (run.along as f32 - half) + margin;
            votes[middle.max(0.0) as usize] += 1;
        }
        for (at, three) in votes.windows(3).enumerate() {
            let count = u32::from(three[0]) + u32::from(three[1]) + u32::from(three[2]);
            if count > best.0 {
                let middle = (at as f32 + 1.5) - margin;
                best = (count, slope, middle - slope * half);
            }
        }
    }
    (best.0 as f32 >= least).then_some((best.1, best.2))
}

/// Fits a line to the runs near it, and says which runs those are. There is no line where they are too few, too
/// bent, or of uneven thickness; none at all where no run is near.
fn fitted(
    runs: &[Run],
    view: &View,
    direction: Direction,
    mut slope: f32,
    mut offset: f32,
) -> Option<(Option<StraightLine>, Vec<bool>)> {
    let mut tolerance = 2.5 * TOLERANCE;
    let mut near: Vec<bool> = Vec::new();
    for _ in 0..3 {
        near = runs
            .iter()
            .map(|run| (run.middle - offset - slope * run.along as f32).abs() <= tolerance)
            .collect();
        (slope, offset) =
            least_squares(runs.iter().zip(&near).filter(|(_, near)| **near).map(|(run, _)| run))?;
        tolerance = TOLERANCE;
    }
    let inliers: Vec<Run> = runs.iter().zip(&near).filter(|(_, near)| **near).map(|(run, _)| *run).collect();
    let mut lengths: Vec<f32> = inliers.iter().map(|run| run.length).collect();
    let middle = lengths.len() / 2;
    let thickness = *lengths.select_nth_unstable_by(middle, f32::total_cmp).1;
    let is_even = |run: &&Run| (run.length - thickness).abs() <= 1.0 + thickness * 0.3;
    let even: Vec<&Run> = inliers.iter().filter(is_even).collect();
    let (from, to) = extent(&even, view.length);
    let length = (to + 1 - from) as f32;
    let off: f32 =
        even.iter().map(|run| (run.middle - offset - slope * run.along as f32).powi(2)).sum::<f32>()
            / even.len() as f32;
    let there = even.iter().filter(|run| (from..=to).contains(&run.along)).count();
    let density = there as f32 / length;
    let is_line = length >= LEAST_LENGTH * view.length as f32
        && density >= LEAST_DENSITY
        && off.sqrt() <= MOST_BENT
        && slope.abs() <= STEEPEST;
    let line = StraightLine { direction, offset, slope, thickness, from, to, density };
    Some((is_line.then_some(line), near))
}

/// The slope and the offset of the line through the middles of runs; none without runs.
fn least_squares<'a>(runs: impl Iterator<Item = &'a Run>) -> Option<(f32, f32)> {
    let (mut n, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for run in runs {
        let (along, middle) = (run.along as f64, f64::from(run.middle));
        (n, x, y, xx, xy) = (n + 1.0, x + along, y + middle, xx + along * along, xy + along * middle);
    }
    let spread = n * xx - x * x;
    if n == 0.0 || spread <= 0.0 {
        return None;
    }
    let slope = (n * xy - x * y) / spread;
    Some((slope as f32, ((y - slope * x) / n) as f32))
}

/// Where a line begins and ends: stray runs far from the others do not lengthen it.
fn extent(runs: &[&Run], length: usize) -> (usize, usize) {
    let mut along: Vec<usize> = runs.iter().map(|run| run.along).collect();
    along.sort_unstable();
    let far = length * 2 / 5;
    let middle = along.len() / 2;
    let (mut from, mut to) = (middle, middle);
    while from > 0 && along[from] - along[from - 1] <= far {
        from -= 1;
    }
    while to + 1 < along.len() && along[to + 1] - along[to] <= far {
        to += 1;
    }
    (along[from], along[to])
}
