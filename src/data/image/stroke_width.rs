//! The stroke width, and its correction to that of MNIST: what a thin pen or a thick marker drew is
//! redrawn with a pen of the usual width. Does not use any background.

/// Strokes of MNIST's images, in pixels of its box of 20, nearly all lie between these.
const USUAL: std::ops::RangeInclusive<f32> = THINNEST..=THICKEST;
const THINNEST: f32 = 1.5;
const THICKEST: f32 = 4.6;

/// The stroke width that an unusual one is corrected to.
const THIN_TO: f32 = 2.3;
const THICK_TO: f32 = 4.0;

/// The box of MNIST.
const BOX: f32 = 20.0;

/// Returns how far the outline of the ink has to move outward, in pixels of the mask, for its strokes
/// to be of usual width; negative inward, none if they are. `longer` is the longer side of the ink's
/// bounding box.
pub fn correction(mask: &[bool], width: usize, longer: usize) -> Option<f32> {
    let scale = BOX / longer as f32;
    let stroke = stroke_width(mask, width);
    let scaled = stroke * scale;
    if USUAL.contains(&scaled) {
        return None;
    }
    if scaled < THINNEST {
        // The box grows with the stroke: both are solved for.
        let share_of_box = 1.0 - THIN_TO / BOX;
        return Some((THIN_TO - scaled) / scale / 2.0 / share_of_box);
    }
    let inward = (scaled - THICK_TO) / scale / 2.0 / (1.0 - THICK_TO / BOX);
    // Where the pen was lifted a stroke is thinner: it must not break there.
    Some(-inward.min(stroke * 0.25))
}

/// The mean width of the strokes: twice the area for each pixel of outline.
fn stroke_width(mask: &[bool], width: usize) -> f32 {
    let height = mask.len() / width;
    let inked = |row: usize, column: usize| mask[row * width + column];
    let (mut area, mut cracks) = (0usize, 0usize);
    for row in 0..height {
        for column in 0..width {
            if !inked(row, column) {
                continue;
            }
            area += 1;
            cracks += usize::from(row == 0 || !inked(row - 1, column));
            cracks += usize::from(row + 1 == height || !inked(row + 1, column));
            cracks += usize::from(column == 0 || !inked(row, column - 1));
            cracks += usize::from(column + 1 == width || !inked(row, column + 1));
        }
    }
    // A slanted line's outline in cracks is longer than the line, by 4/pi over all directions.
    2.0 * area as f32 / (cracks as f32 * std::f32::consts::FRAC_PI_4).max(1.0)
}

/// The ink with its outline moved by `by` pixels, from 0 to 255, soft over one pixel. The frame must
/// leave room for it.
pub fn redraw(mask: &[bool], width: usize, by: f32) -> Vec<u8> {
    let outward = by > 0.0;
    let distances = distances(mask, width, outward);
    let shade = |distance: f32| {
        // Distances are from pixel to pixel: the outline runs half a pixel from either.
        let inside = if outward { by + 1.0 - distance } else { by + distance };
        (inside.clamp(0.0, 1.0) * 255.0).round() as u8
    };
    distances.into_iter().map(shade).collect()
}

/// From each pixel to the nearest with ink (`outward`) or without, by steps of 1 and √2.
fn distances(mask: &[bool], width: usize, outward: bool) -> Vec<f32> {
    let height = mask.len() / width;
    let far = (width + height) as f32;
    let mut distances: Vec<f32> =
        mask.iter().map(|&inked| if inked == outward { 0.0 } else { far }).collect();
    let diagonal = std::f32::consts::SQRT_2;
    let steps = [(-1, -1, diagonal), (-1, 0, 1.0), (-1, 1, diagonal), (0, -1, 1.0)];
    let mut sweep = |at: usize, sign: isize| {
        let (row, column) = ((at / width) as isize, (at % width) as isize);
        for (down, right, step) in steps {
            let (row, column) = (row + sign * down, column + sign * right);
            if (0..height as isize).contains(&row) && (0..width as isize).contains(&column) {
                let through = distances[row as usize * width + column as usize] + step;
                distances[at] = distances[at].min(through);
            }
        }
    };
    (0..mask.len()).for_each(|at| sweep(at, 1));
    (0..mask.len()).rev().for_each(|at| sweep(at, -1));
    distances
}
