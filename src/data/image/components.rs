//! The separate components of a mask: which are specks, which are the frame of the sheet, and whether what
//! is left is one shape.

/// A component smaller than this part of the largest one is a speck.
const SPECK_PART: usize = 30;

/// A component that is at least this part of the largest one may be a shape of its own.
const SHAPE_PART: usize = 5;

/// More components than a digit is ever drawn of.
const MAX_COMPONENTS: usize = 8;

/// A connected component of the mask: its pixels and its bounding box, bounds included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    pub pixels: usize,
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Component {
    pub fn width(&self) -> usize {
        self.right - self.left + 1
    }

    pub fn height(&self) -> usize {
        self.bottom - self.top + 1
    }

    pub fn with(self, other: &Self) -> Self {
        Self {
            pixels: self.pixels + other.pixels,
            top: self.top.min(other.top),
            bottom: self.bottom.max(other.bottom),
            left: self.left.min(other.left),
            right: self.right.max(other.right),
        }
    }
}

/// Clears specks and frame lines from the mask; returns the remaining components.
pub fn drop_specks(mask: &mut [bool], width: usize) -> Vec<Component> {
    let (labels, components) = components(mask, width);
    let size = (width, mask.len() / width);
    let flush = flush_parts(&labels, components.len(), size);
    let framed: Vec<bool> = components
        .iter()
        .zip(&flush)
        .map(|(component, flush)| is_frame(component, size) || is_flush(component, flush, size))
        .collect();
    let largest = |of: &dyn Fn(usize) -> bool| {
        (0..components.len()).filter(|&at| of(at)).map(|at| components[at].pixels).max()
    };
    // A picture of a bar from edge to edge has only frame lines, which are the ink then.
    let (drop_frames, largest) = match largest(&|at| !framed[at]) {
        Some(inner) if inner * SPECK_PART >= largest(&|_| true).unwrap_or(0) => (true, inner),
        _ => (false, largest(&|_| true).unwrap_or(0)),
    };
    let is_kept: Vec<bool> = components
        .iter()
        .zip(framed)
        .map(|(component, framed)| component.pixels * SPECK_PART >= largest && !(drop_frames && framed))
        .collect();
    for (pixel, &label) in mask.iter_mut().zip(&labels) {
        *pixel = label.checked_sub(1).is_some_and(|at| is_kept[at as usize]);
    }
    components
        .into_iter()
        .zip(is_kept)
        .filter(|(_, is_kept)| *is_kept)
        .map(|(component, _)| component)
        .collect()
}

/// Whether the components are several shapes beside or above each other, not the strokes of one.
pub fn are_several(components: &[Component]) -> bool {
    if components.len() > MAX_COMPONENTS {
        return true;
    }
    let largest = components.iter().map(|component| component.pixels).max().unwrap_or(0);
    let large: Vec<&Component> =
        components.iter().filter(|component| component.pixels * SHAPE_PART >= largest).collect();
    large.iter().enumerate().any(|(at, one)| large[at + 1..].iter().any(|other| are_apart(one, other)))
}

/// Two strokes of a digit lie over each other, or close together in a shape higher than wide.
fn are_apart(one: &Component, other: &Component) -> bool {
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

/// Whether a component is a strip along an edge of the sheet: a table's edge, a scanner's lid.
fn is_frame(component: &Component, (width, height): (usize, usize)) -> bool {
    let lying = (component.top == 0 || component.bottom + 1 == height) && component.width() * 10 >= width * 8;
    let standing =
        (component.left == 0 || component.right + 1 == width) && component.height() * 10 >= height * 8;
    lying && component.height() * 6 <= height || standing && component.width() * 6 <= width
}

/// How many pixels each component has in the top row, in the bottom row, in the left and the right column.
fn flush_parts(labels: &[u32], count: usize, (width, height): (usize, usize)) -> Vec<[usize; 4]> {
    let mut parts = vec![[0; 4]; count];
    let mut visit = |at: usize, side: usize| {
        if let Some(label) = labels[at].checked_sub(1) {
            parts[label as usize][side] += 1;
        }
    };
    for column in 0..width {
        visit(column, 0);
        visit((height - 1) * width + column, 1);
    }
    for row in 0..height {
        visit(row * width, 2);
        visit(row * width + width - 1, 3);
    }
    parts
}

/// Whether a component lies flush with an edge of the sheet from end to end, as a table does beside a slanted sheet,
/// and no stroke that was cut off.
fn is_flush(component: &Component, parts: &[usize; 4], (width, height): (usize, usize)) -> bool {
    let is_whole = |part: usize, length: usize| part * 10 >= length * 9;
    let (across, down) = (component.width(), component.height());
    let [top, bottom, left, right] = *parts;
    let (lies, stands) = (is_whole(top.max(bottom), across), is_whole(left.max(right), down));
    let lies_long = lies && across * 10 >= width * 3 && down * 5 <= height * 2;
    let stands_long = stands && down * 10 >= height * 3 && across * 5 <= width * 2;
    // A thumb fills a corner.
    let corner = lies && stands && across * 8 >= width && down * 8 >= height;
    lies_long || stands_long || corner && across * 5 <= width * 2 && down * 5 <= height * 2
}

/// Returns the label of each pixel's component, counted from 1, 0 for background; and the components.
fn components(mask: &[bool], width: usize) -> (Vec<u32>, Vec<Component>) {
    let (mut labels, mut components) = (vec![0u32; mask.len()], Vec::new());
    let mut waiting = Vec::new();
    for start in 0..mask.len() {
        if !mask[start] || labels[start] != 0 {
            continue;
        }
        let (row, column) = (start / width, start % width);
        let mut component = Component { pixels: 0, top: row, bottom: row, left: column, right: column };
        let label = components.len() as u32 + 1;
        labels[start] = label;
        waiting.push(start);
        while let Some(at) = waiting.pop() {
            let (row, column) = (at / width, at % width);
            component =
                component.with(&Component { pixels: 1, top: row, bottom: row, left: column, right: column });
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
        components.push(component);
    }
    (labels, components)
}
