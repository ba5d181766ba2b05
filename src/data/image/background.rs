//! The background of a grey picture: how its illumination varies over the sheet, shadows included,
//! and how far each pixel is from it. What of that is ink is decided by `foreground`.

use super::{
    GrayPicture,
    shading::{self, Beyond},
};

/// Cells along the longer side: fine enough to follow a shadow's edge, coarse enough that a cell of a
/// large picture averages its noise out.
const CELLS: usize = 24;

/// Half the width of what may still be a stroke, as a part of the longer side. What is dark for longer
/// is shadow.
const HALF_STROKE: f64 = 0.18;

/// Light has edges where so much of the sheet differs so much from a smooth surface.
const EDGE_PART: f64 = 0.06;
const EDGE_CONTRAST: f64 = 14.0;

/// A strip along a side is a table, not a stroke, if it is so many cells deep and so much darker than the sheet.
const STRIP: usize = 5;
const STRIP_CONTRAST: i16 = 40;

/// Terms of the surface: 1, x, y, x², xy, y².
const TERMS: usize = 6;

/// Rounds of reweighting; the surface moves by less than a level after half of them.
const ROUNDS: usize = 16;

/// What happens to background that is darker over more than the width of a stroke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shadows {
    Remove,
    Keep,
}

/// Returns how far each pixel is from the background around it, row by row; positive on the side of
/// the ink, be that darker or lighter.
pub fn difference(picture: &GrayPicture, shadows: Shadows) -> Vec<i16> {
    let grid = CellGrid::of(picture.width, picture.height);
    let medians = grid.medians(|at| i16::from(picture.pixels[at]));
    let surface = surface(&grid, &medians);
    if shadows == Shadows::Remove
        && let Some(light) = uneven_light(&grid, &medians, &surface)
    {
        let reach = (HALF_STROKE * picture.width.max(picture.height) as f64) as usize;
        return shading::difference(picture, reach, light.is_lighter, light.beyond);
    }
    let mut away = below(&grid, &surface, picture);
    if is_lighter(&away) {
        away.iter_mut().for_each(|value| *value = -*value);
    }
    match shadows {
        Shadows::Remove => take_shadows(&grid, &mut away),
        Shadows::Keep => {}
    }
    away
}

/// Returns how far each pixel lies below the surface.
fn below(grid: &CellGrid, surface: &[f64; TERMS], picture: &GrayPicture) -> Vec<i16> {
    let mut away = Vec::with_capacity(picture.pixels.len());
    let [constant, of_x, of_y, of_xx, of_xy, of_yy] = *surface;
    for (row, line) in picture.pixels.chunks_exact(picture.width).enumerate() {
        // Along a row, the surface is a parabola.
        let y = grid.coordinate(row, grid.height);
        let (a, b) = ((constant + y * (of_y + y * of_yy)) as f32, (of_x + y * of_xy) as f32);
        let (c, step) = (of_xx as f32, 2.0 / grid.width as f32);
        away.extend(line.iter().enumerate().map(|(column, &pixel)| {
            let x = (column as f32 + 0.5) * step - 1.0;
            (a + x * (b + x * c)) as i16 - i16::from(pixel)
        }));
    }
    away
}

/// Light that no smooth surface follows.
struct UnevenLight {
    /// Whether the ink is lighter than the sheet.
    is_lighter: bool,
    /// Whether what is dark along an edge of the picture is dark beyond it: a shadow or a table, no stroke.
    beyond: Beyond,
}

/// Finds light that no smooth surface follows: over a part of the sheet, what is there when all that is narrow is
/// filled differs from it; or a strip along a side is dark.
fn uneven_light(grid: &CellGrid, medians: &[i16], surface: &[f64; TERMS]) -> Option<UnevenLight> {
    let reach = grid.stroke_reach();
    let dilated = grid.extreme(medians, reach, i16::max);
    let closed = grid.extreme(&dilated, reach, i16::min);
    let opened = grid.extreme(&grid.extreme(medians, reach, i16::min), reach, i16::max);
    if grid.deepest_strip(|at| dilated[at] - medians[at] > STRIP_CONTRAST) >= STRIP {
        return Some(UnevenLight { is_lighter: false, beyond: Beyond::Continued });
    }
    let smooth =
        |at: usize| -> f64 { grid.terms(at).iter().zip(surface).map(|(term, factor)| term * factor).sum() };
    let differs = |filled: &[i16], from: &dyn Fn(usize) -> f64| {
        let count = |cells: Vec<usize>| {
            let off = |at: &&usize| (f64::from(filled[**at]) - from(**at)).abs() > EDGE_CONTRAST;
            cells.iter().filter(off).count() as f64 > EDGE_PART * cells.len() as f64
        };
        // A shadow goes on beyond the picture; a block does not reach its edge.
        count((0..filled.len()).collect()) && count((0..filled.len()).filter(|&at| grid.is_rim(at)).collect())
    };
    if !differs(&closed, &smooth) || !differs(&opened, &smooth) {
        return None;
    }
    // What is left of the ink after filling is more uneven than the light.
    let (variation_opened, variation_closed) = (grid.variation(&opened), grid.variation(&closed));
    let is_lighter = variation_opened * 5 < variation_closed * 4;
    let filled = if is_lighter { opened } else { closed };
    // Strokes along the edges of a tight crop bend the surface, while the light is even.
    let mut levels = filled.clone();
    let middle = levels.len() / 2;
    let level = f64::from(*levels.select_nth_unstable(middle).1);
    let is_even = !differs(&filled, &|_| level);
    // Where ink covers half of a crop, ink is dark unless that is clearly worse.
    if is_even && is_lighter && variation_opened * 3 > variation_closed {
        return Some(UnevenLight { is_lighter: false, beyond: Beyond::Nothing });
    }
    Some(UnevenLight { is_lighter, beyond: if is_even { Beyond::Nothing } else { Beyond::Continued } })
}

/// Whether what differs from the background is lighter than it.
fn is_lighter(away: &[i16]) -> bool {
    // Squared, so that much faint shadow does not outweigh a little black ink.
    let weight = |sign: i64| -> i64 {
        away.iter().map(|&value| (sign * i64::from(value)).max(0)).map(|value| value * value).sum()
    };
    weight(-1) > weight(1)
}

/// Removes what differs in the direction of the ink over more than a stroke's width: the shadow of a hand
/// or of a sheet, which has edges that no smooth surface follows.
fn take_shadows(grid: &CellGrid, away: &mut [i16]) {
    let medians = grid.medians(|at| away[at]);
    let reach = grid.stroke_reach();
    let opened = grid.extreme(&grid.extreme(&medians, reach, i16::min), reach, i16::max);
    for (row, line) in away.chunks_exact_mut(grid.width).enumerate() {
        let rows = grid.nearest(row, grid.down);
        for (column, value) in line.iter_mut().enumerate() {
            let columns = grid.nearest(column, grid.across);
            // The darkest of the neighbouring cells is used: next to a shadow's edge, ink may become fainter, and the
            // shadow itself never becomes ink.
            let of_row = |row: usize| {
                opened[row * grid.across + columns[0]].max(opened[row * grid.across + columns[1]])
            };
            *value -= of_row(rows[0]).max(of_row(rows[1]));
        }
    }
}

/// The sheet in square cells.
struct CellGrid {
    width: usize,
    height: usize,
    /// Pixels on a side of a cell.
    side: usize,
    across: usize,
    down: usize,
}

impl CellGrid {
    fn of(width: usize, height: usize) -> Self {
        let side = width.max(height).div_ceil(CELLS);
        Self { width, height, side, across: width.div_ceil(side), down: height.div_ceil(side) }
    }

    /// Cells that half the widest stroke covers.
    fn stroke_reach(&self) -> usize {
        (HALF_STROKE * self.across.max(self.down) as f64).round() as usize
    }

    /// Whether a cell lies along the edge of the sheet.
    fn is_rim(&self, at: usize) -> bool {
        let (row, column) = (at / self.across, at % self.across);
        row == 0 || column == 0 || row + 1 == self.down || column + 1 == self.across
    }

    /// The surface's terms in the middle of a cell.
    fn terms(&self, at: usize) -> [f64; TERMS] {
        let x = self.coordinate(at % self.across, self.across);
        let y = self.coordinate(at / self.across, self.down);
        [1.0, x, y, x * x, x * y, y * y]
    }

    /// The position of a row or column of cells, from −1 to 1.
    fn coordinate(&self, at: usize, of: usize) -> f64 {
        (2 * at + 1) as f64 / of as f64 - 1.0
    }

    /// The cells, of `count` in this direction, that a row or column lies in or nearly in.
    fn nearest(&self, at: usize, count: usize) -> [usize; 2] {
        let cell = at / self.side;
        let upper_half = at % self.side * 2 >= self.side;
        [cell, if upper_half { (cell + 1).min(count - 1) } else { cell.saturating_sub(1) }]
    }

    /// The sum of the differences between neighbouring cells.
    fn variation(&self, cells: &[i16]) -> i64 {
        let differences = |at: usize| {
            let right = if at % self.across + 1 < self.across { cells[at + 1] } else { cells[at] };
            let below = cells.get(at + self.across).copied().unwrap_or(cells[at]);
            i64::from((right - cells[at]).abs()) + i64::from((below - cells[at]).abs())
        };
        (0..cells.len()).map(differences).sum()
    }

    /// How deep the cells along one side are all dark, but for a tenth; the most of the four sides.
    fn deepest_strip(&self, is_dark: impl Fn(usize) -> bool) -> usize {
        let depth = |lines: usize, length: usize, at: &dyn Fn(usize, usize) -> usize| {
            let is_full = |line: &usize| {
                (0..length).filter(|&along| is_dark(at(*line, along))).count() * 10 >= length * 9
            };
            (0..lines).take_while(is_full).count()
        };
        let (across, down) = (self.across, self.down);
        let rows = depth(down, across, &|line, along| line * across + along);
        let rows_below = depth(down, across, &|line, along| (down - 1 - line) * across + along);
        let columns = depth(across, down, &|line, along| along * across + line);
        let columns_right = depth(across, down, &|line, along| along * across + across - 1 - line);
        rows.max(rows_below).max(columns).max(columns_right)
    }

    /// The median of each cell's values.
    fn medians(&self, value: impl Fn(usize) -> i16) -> Vec<i16> {
        let mut medians = Vec::with_capacity(self.across * self.down);
        let mut values = Vec::with_capacity(self.side * self.side);
        for top in (0..self.height).step_by(self.side) {
            for left in (0..self.width).step_by(self.side) {
                values.clear();
                for row in top..(top + self.side).min(self.height) {
                    let columns = left..(left + self.side).min(self.width);
                    values.extend(columns.map(|column| value(row * self.width + column)));
                }
                let middle = values.len() / 2;
                medians.push(*values.select_nth_unstable(middle).1);
            }
        }
        medians
    }

    /// Returns for each cell the extreme of all cells within `reach` of it.
    fn extreme(&self, cells: &[i16], reach: usize, pick: fn(i16, i16) -> i16) -> Vec<i16> {
        let around = |at: usize, count: usize| at.saturating_sub(reach)..(at + reach + 1).min(count);
        let of_rows: Vec<i16> = (0..cells.len())
            .map(|at| {
                let (row, column) = (at / self.across, at % self.across);
                let line = &cells[row * self.across..][around(column, self.across)];
                line.iter().copied().reduce(pick).expect("a cell is within reach of itself")
            })
            .collect();
        (0..cells.len())
            .map(|at| {
                let (row, column) = (at / self.across, at % self.across);
                let rows = around(row, self.down).map(|row| of_rows[row * self.across + column]);
                rows.reduce(pick).expect("a cell is within reach of itself")
            })
            .collect()
    }
}

/// The quadratic surface that most cells lie on: least absolute deviations by reweighting, which the
/// cells with ink in them do not move.
fn surface(grid: &CellGrid, medians: &[i16]) -> [f64; TERMS] {
    let mut border: Vec<i16> = Vec::new();
    border.extend((0..medians.len()).filter(|&at| grid.is_rim(at)).map(|at| medians[at]));
    let middle = border.len() / 2;
    let mut surface = [0.0; TERMS];
    surface[0] = f64::from(*border.select_nth_unstable(middle).1);
    for _ in 0..ROUNDS {
        let mut sums = [[0.0; TERMS + 1]; TERMS];
        for (at, &median) in medians.iter().enumerate() {
            let (terms, value) = (grid.terms(at), f64::from(median));
            let off: f64 =
                terms.iter().zip(&surface).map(|(term, factor)| term * factor).sum::<f64>() - value;
            // Ink lies in the middle more often than along the border.
            let weight = if grid.is_rim(at) { 3.0 } else { 1.0 } / off.abs().max(1.0);
            for (row, term) in sums.iter_mut().zip(terms) {
                row.iter_mut().zip(terms).for_each(|(sum, other)| *sum += weight * term * other);
                row[TERMS] += weight * term * value;
            }
        }
        surface = solved(sums);
    }
    surface
}

/// Gaussian elimination with a small ridge on the diagonal: terms that a narrow grid does not determine become 0.
fn solved(mut sums: [[f64; TERMS + 1]; TERMS]) -> [f64; TERMS] {
    (0..TERMS).for_each(|at| sums[at][at] += 1e-6);
    for at in 0..TERMS {
        let pivot = sums[at];
        for row in &mut sums[at + 1..] {
            let factor = row[at] / pivot[at];
            row.iter_mut().zip(pivot).for_each(|(value, above)| *value -= factor * above);
        }
    }
    let mut solution = [0.0; TERMS];
    for at in (0..TERMS).rev() {
        let known: f64 = (at + 1..TERMS).map(|other| sums[at][other] * solution[other]).sum();
        solution[at] = (sums[at][TERMS] - known) / sums[at][at];
    }
    solution
}
