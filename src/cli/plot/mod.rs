//! Curves of runs as a picture, SVG or PNG: panels side by side over one horizontal axis, a legend
//! above. What is drawn is told here, `axis` and `curve` are its arithmetic, `draw` puts it on the
//! canvas. Knows nothing of servers and requests.

mod axis;
mod curve;
mod draw;
mod thin;

pub use crate::draw::Error;
pub use curve::{Curve, Kind, smooth};
pub use draw::{png, svg};

/// Most runs of one picture: so many colours are told apart by everyone.
pub const MOST_RUNS: usize = draw::COLOURS.len();

/// A picture of one or more runs.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What the legend calls the runs; a curve names its run by the place in this list.
    pub runs: Vec<String>,
    /// What the legend calls the training curves.
    pub train: String,
    /// The unit of the horizontal axis.
    pub x_name: &'static str,
    pub panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Debug, Clone)]
pub struct Panel {
    pub title: String,
    pub scale: Scale,
    pub curves: Vec<Curve>,
}

/// How values lie along the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// Shares from 0 to 1, written as percentages.
    Percent,
    /// Values that are not above 0 have no place on it.
    Logarithmic,
}

#[cfg(test)]
mod tests;
