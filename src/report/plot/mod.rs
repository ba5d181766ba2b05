//! Curves of runs as a chart, SVG or PNG: panels next to each other over one horizontal axis, a legend above.
//! `chart` says what is drawn, `runs` makes it from the histories of runs, `axis` and `curve` are its
//! arithmetic, `draw` puts it on the canvas.

mod axis;
mod chart;
mod curve;
mod downsample;
mod draw;
mod runs;
#[cfg(test)]
mod tests;

pub use crate::draw::Error;
pub use chart::Chart;
pub use draw::{MAX_RUNS, png, svg};
pub use runs::{PlotOptions, XAxis, run_chart};
