//! A grid of tiles, each a rectangle of values in colours with its label below; the colour scale
//! is at the right.

use std::ops::RangeInclusive;

use plotters::{
    prelude::BitMapBackend,
    style::{RGBColor, text_anchor::HPos},
};

use super::{
    Error,
    canvas::{Canvas, FINE, GREY, TextFormat, register_font},
    color::{BROKEN, ColorMap, PAPER, ink},
    picture::{
        BELOW_TITLE, FilledRect, LABEL, MARGIN, MAX_WIDTH, Png, png, short, text_width, title_width,
        write_title,
    },
};

/// The largest number of tiles of a picture: a convolution of 64 channels is shown in full.
pub const MAX_TILES: usize = 64;

/// The space between two tiles, and the height of the label below a tile, in pixels.
const GAP: i32 = 12;
const LABEL_HEIGHT: i32 = 22;

/// The width of the color scale, the space at its left, and the space at its right for its numbers, in pixels.
const BAR_WIDTH: i32 = 16;
const BAR_LEFT: i32 = 28;
const BAR_RIGHT: i32 = 100;

/// The height of the name above the scale, in pixels.
const BAR_TITLE: i32 = 16;

/// The height of the scale in pixels, so that its five numbers do not overlap and it is not longer than is read easily.
const BAR_HEIGHTS: RangeInclusive<i32> = 90..=260;

/// The length of the ticks of the scale, and the distance of their numbers from the scale, in pixels.
const TICK: i32 = 4;
const TICK_LABEL: i32 = 8;

const FRAME: RGBColor = RGBColor(190, 190, 190);

/// A picture of tiles.
#[derive(Debug, Clone)]
pub struct Grid {
    pub title: String,
    pub note: String,
    /// The tiles; those beyond `MAX_TILES` are left out, which the note then states.
    pub tiles: Vec<Tile>,
    /// The approximate side of a tile, in pixels.
    pub side: i32,
    pub map: ColorMap,
    /// The quantity that the colours show, written above the scale.
    pub scale_name: String,
}

/// Values row by row; where the last row is not full, the rest of it stays empty.
#[derive(Debug, Clone)]
pub struct Tile {
    pub values: Vec<f64>,
    pub width: usize,
    pub label: String,
    pub style: TileStyle,
}

/// The mapping of a tile's values to colours.
#[derive(Debug, Clone)]
pub enum TileStyle {
    Colors,
    /// Greys from 0 (paper) to 1 (ink).
    Grayscale,
    /// Colours over ink of these values.
    Overlay(Vec<f64>),
}

impl Tile {
    fn rows(&self) -> usize {
        self.values.len().div_ceil(self.width.max(1))
    }

    fn color(&self, at: usize, map: ColorMap) -> RGBColor {
        let value = self.values[at];
        match &self.style {
            TileStyle::Colors => map.color(value),
            TileStyle::Grayscale => ink(value),
            TileStyle::Overlay(background) => {
                map.over(ink(background.get(at).copied().unwrap_or(0.0)), value)
            }
        }
    }
}

/// The layout of the tiles in a picture.
struct GridLayout {
    /// The side of a value's square, in pixels.
    pixel: i32,
    /// The height of a tile, in pixels.
    height: i32,
    /// The distance from one tile to the next, in pixels.
    step: i32,
    columns: i32,
    rows: i32,
}

impl GridLayout {
    fn of(grid: &Grid, shown: usize) -> Self {
        let max = |size: fn(&Tile) -> usize| grid.tiles.iter().map(size).max().unwrap_or(1).max(1) as i32;
        let (across, down) = (max(|tile| tile.width), max(Tile::rows));
        let pixel = (grid.side / across.max(down)).max(1);
        let (width, height) = (across * pixel, down * pixel);
        // A label may be wider than a narrow tile.
        let longest = grid.tiles.iter().map(|tile| tile.label.chars().count()).max().unwrap_or(0);
        let step = width.max(text_width(longest, LABEL.size)) + GAP;
        let shown = shown as i32;
        let fitting = ((MAX_WIDTH + GAP) / step).max(1);
        let rows = (shown + fitting - 1) / fitting;
        let columns = (shown + rows.max(1) - 1) / rows.max(1);
        Self { pixel, height, step, columns, rows }
    }

    fn corner(&self, tile: usize) -> (i32, i32) {
        let (row, column) = (tile as i32 / self.columns, tile as i32 % self.columns);
        (MARGIN + column * self.step, BELOW_TITLE + row * (self.height + LABEL_HEIGHT + GAP))
    }

    /// Returns the position of the scale: left, top and height.
    fn bar(&self) -> (i32, i32, i32) {
        let left = MARGIN + self.columns * self.step - GAP + BAR_LEFT;
        let all = self.rows * (self.height + LABEL_HEIGHT + GAP) - GAP - LABEL_HEIGHT;
        (left, BELOW_TITLE + BAR_TITLE, (all - BAR_TITLE).clamp(*BAR_HEIGHTS.start(), *BAR_HEIGHTS.end()))
    }

    fn size(&self, grid: &Grid, note: &str) -> (u32, u32) {
        let (left, top, height) = self.bar();
        let width = (left + BAR_WIDTH + BAR_RIGHT).max(title_width(&grid.title, note).min(MAX_WIDTH));
        let tiles = BELOW_TITLE + self.rows * (self.height + LABEL_HEIGHT + GAP);
        (width as u32, tiles.max(top + height + MARGIN) as u32)
    }
}

/// Draws the grid. Errors if the font or the encoder fails.
pub fn grid(grid: &Grid) -> Result<Png, Error> {
    register_font()?;
    let shown = &grid.tiles[..grid.tiles.len().min(MAX_TILES)];
    let layout = GridLayout::of(grid, shown.len());
    let mut cells = Vec::new();
    for (number, tile) in shown.iter().enumerate() {
        paint(tile, layout.corner(number), (layout.pixel, grid.map), &mut cells);
    }
    paint_scale(&layout, grid.map, &mut cells);
    let note = note(grid, shown);
    let size = layout.size(grid, &note);
    let bytes = png(size, &cells, |canvas| {
        write_title(canvas, (&grid.title, &note), size.0 as i32)?;
        for (number, tile) in shown.iter().enumerate() {
            let (left, top) = layout.corner(number);
            let at = (left * FINE, (top + layout.height + LABEL_HEIGHT / 2) * FINE);
            canvas.write(&tile.label, at, &LABEL)?;
        }
        write_scale(&layout, grid, canvas)
    })?;
    Ok(Png { bytes, width: size.0, height: size.1 })
}

/// Returns the note below the title, with the number of tiles left out and the meaning of magenta.
fn note(grid: &Grid, shown: &[Tile]) -> String {
    let mut note = grid.note.clone();
    let mut add = |text: String| {
        if !note.is_empty() {
            note += "; ";
        }
        note += &text;
    };
    if grid.tiles.len() > shown.len() {
        add(format!("the first {} of {}", shown.len(), grid.tiles.len()));
    }
    if shown.iter().any(|tile| tile.values.iter().any(|value| !value.is_finite())) {
        add("magenta: infinite or not a number".to_owned());
    }
    note
}

fn paint(tile: &Tile, (left, top): (i32, i32), (pixel, map): (i32, ColorMap), cells: &mut Vec<FilledRect>) {
    let (width, height) = (tile.width as i32 * pixel, tile.rows() as i32 * pixel);
    cells.push(FilledRect {
        left: left - 1,
        top: top - 1,
        width: width + 2,
        height: height + 2,
        color: FRAME,
    });
    cells.push(FilledRect { left, top, width, height, color: PAPER });
    for at in 0..tile.values.len() {
        let (row, column) = ((at / tile.width) as i32, (at % tile.width) as i32);
        cells.push(FilledRect {
            left: left + column * pixel,
            top: top + row * pixel,
            width: pixel,
            height: pixel,
            color: tile.color(at, map),
        });
    }
}

fn paint_scale(layout: &GridLayout, map: ColorMap, cells: &mut Vec<FilledRect>) {
    let (left, top, height) = layout.bar();
    cells.push(FilledRect {
        left: left - 1,
        top: top - 1,
        width: BAR_WIDTH + 2,
        height: height + 2,
        color: FRAME,
    });
    let (low, high) = map.ends();
    for line in 0..height {
        let value = high - (high - low) * f64::from(line) / f64::from(height - 1);
        let color = if value.is_finite() { map.color(value) } else { BROKEN };
        cells.push(FilledRect { left, top: top + line, width: BAR_WIDTH, height: 1, color });
    }
}

fn write_scale(layout: &GridLayout, grid: &Grid, canvas: &Canvas<BitMapBackend<'_>>) -> Result<(), Error> {
    let (left, top, height) = layout.bar();
    let style = TextFormat { side: HPos::Left, color: GREY, ..LABEL };
    canvas.write(&grid.scale_name, (left * FINE, (top - BAR_TITLE) * FINE), &style)?;
    let (low, high) = grid.map.ends();
    // If all values are 0, the scale has one number.
    let ticks: &[f64] = if high > low { &[0.0, 0.25, 0.5, 0.75, 1.0] } else { &[0.5] };
    for &share in ticks {
        let y = top + (f64::from(height) * (1.0 - share)) as i32;
        let right = left + BAR_WIDTH;
        canvas.rule([(right * FINE, y * FINE), ((right + TICK) * FINE, y * FINE)], GREY)?;
        canvas.write(&short(low + (high - low) * share), ((right + TICK_LABEL) * FINE, y * FINE), &LABEL)?;
    }
    Ok(())
}
