//! Pictures as PNG, from numbers: grids of tiles with a colour scale (`grid`), and histograms
//! (`histograms`). `canvas` and its font draw for other rooms too. Does not use any network or tensor.

pub mod canvas;
pub mod color;
mod error;
mod grid;
mod histograms;
mod picture;

pub use error::Error;
pub use grid::{Grid, Tile, TileStyle, grid};
pub use histograms::{HistogramChart, histograms};
pub use picture::{FilledRect, Png, png, short};

#[cfg(test)]
mod tests;
