//! What a chart shows: runs, panels and their scales. Knows nothing of servers and requests.

use super::curve::Curve;

/// A chart of one or more runs.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Names of the runs in the legend; a curve refers to its run by the index in this list.
    pub runs: Vec<String>,
    /// Name of the training curves in the legend.
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

/// Scale of the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// Shares from 0 to 1, written as percentages.
    Percent,
    /// Values that are not above 0 cannot be shown.
    Logarithmic,
}
