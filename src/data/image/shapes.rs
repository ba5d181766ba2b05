//! The separate blots of a mask: which are specks, which are the frame of the sheet, and whether what
//! is left is one shape.

/// A blot smaller than this part of the largest one is a speck.
const SPECK_PART: usize = 30;

/// A blot that is at least this part of the largest one may be a shape of its own.
const SHAPE_PART: usize = 5;

/// More blots than a digit is ever drawn of.
const MOST_BLOTS: usize = 8;

/// Connected ink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blot {
    pub pixels: usize,
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Blot {
    pub fn width(&self) -> usize {
        self.right - self.left + 1
    }

    pub fn height(&self) -> usize {
        self.bottom - self.top + 1
    }

    fn with(self, other: &Self) -> Self {
        Self {
            pixels: self.pixels + other.pixels,
            top: self.top.min(other.top),
            bottom: self.bottom.max(other.bottom),
            left: self.left.min(other.left),
            right: self.right.max(other.right),
        }
    }
}

/// Clears specks and frame lines out of the mask; answers the blots that stay.
pub fn keep_shapes(mask: &mut [bool], width: usize) -> Vec<Blot> {
    let (labels, blots) = blots(mask, width);
    let size = (width, mask.len() / width);
    let framed = |blot: &Blot| is_frame(blot, size);
    let largest = |of: &dyn Fn(&&Blot) -> bool| blots.iter().filter(of).map(|blot| blot.pixels).max();
    // A picture of a bar from edge to edge has nothing but its frame: that is the ink then.
    let (drop_frames, largest) = match largest(&|blot| !framed(blot)) {
        Some(inner) if inner * SPECK_PART >= largest(&|_| true).unwrap_or(0) => (true, inner),
        _ => (false, largest(&|_| true).unwrap_or(0)),
    };
    let kept: Vec<bool> = blots
        .iter()
        .map(|blot| blot.pixels * SPECK_PART >= largest && !(drop_frames && framed(blot)))
        .collect();
    for (pixel, &label) in mask.iter_mut().zip(&labels) {
        *pixel = label.checked_sub(1).is_some_and(|at| kept[at as usize]);
    }
    blots.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(blot, _)| blot).collect()
}

/// Whether the blots are several shapes beside or above each other, not the strokes of one.
pub fn are_several(blots: &[Blot]) -> bool {
    if blots.len() > MOST_BLOTS {
        return true;
    }
    let largest = blots.iter().map(|blot| blot.pixels).max().unwrap_or(0);
    let large: Vec<&Blot> = blots.iter().filter(|blot| blot.pixels * SHAPE_PART >= largest).collect();
    large.iter().enumerate().any(|(at, one)| large[at + 1..].iter().any(|other| are_apart(one, other)))
}

/// Two strokes of a digit lie over each other, or close together in a shape higher than wide.
fn are_apart(one: &Blot, other: &Blot) -> bool {
    let both = one.with(other);
    let (width, height) = (both.width(), both.height());
    let across = gap((one.left, one.right), (other.left, other.right));
    let down = gap((one.top, one.bottom), (other.top, other.bottom));
    let (low, flat) = (one.height().min(other.height()), one.width().min(other.width()));
    let beside = across > 0 && low * 2 >= height && (width * 10 >= height * 11 || across * 4 >= height);
    let stacked = down * 8 >= height && low * 4 >= height && flat * 5 >= height && height * 2 >= width * 3;
    beside || stacked
}

/// Pixels between two stretches; 0 where they touch or overlap.
fn gap(one: (usize, usize), other: (usize, usize)) -> usize {
    other.0.saturating_sub(one.1 + 1).max(one.0.saturating_sub(other.1 + 1))
}

/// Whether a blot is a strip along an edge of the sheet: a table's edge, a scanner's lid.
fn is_frame(blot: &Blot, (width, height): (usize, usize)) -> bool {
    let lying = (blot.top == 0 || blot.bottom + 1 == height) && blot.width() * 10 >= width * 8;
    let standing = (blot.left == 0 || blot.right + 1 == width) && blot.height() * 10 >= height * 8;
    lying && blot.height() * 6 <= height || standing && blot.width() * 6 <= width
}

/// The number of each pixel's blot, from 1, 0 where there is none; and the blots.
fn blots(mask: &[bool], width: usize) -> (Vec<u32>, Vec<Blot>) {
    let (mut labels, mut blots) = (vec![0u32; mask.len()], Vec::new());
    let mut waiting = Vec::new();
    for start in 0..mask.len() {
        if !mask[start] || labels[start] != 0 {
            continue;
        }
        let (row, column) = (start / width, start % width);
        let mut blot = Blot { pixels: 0, top: row, bottom: row, left: column, right: column };
        let label = blots.len() as u32 + 1;
        labels[start] = label;
        waiting.push(start);
        while let Some(at) = waiting.pop() {
            let (row, column) = (at / width, at % width);
            blot = blot.with(&Blot { pixels: 1, top: row, bottom: row, left: column, right: column });
            for row in row.saturating_sub(1)..(row + 2).min(mask.len() / width) {
                for column in column.saturating_sub(1)..(column + 2).min(width) {
                    let next = row * width + column;
                    if mask[next] && labels[next] == 0 {
                        labels[next] = label;
                        waiting.push(next);
                    }
                }
            }
        }
        blots.push(blot);
    }
    (labels, blots)
}
