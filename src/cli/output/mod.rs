//! What commands show: numbers, tables, pictures, progress and problems as text of at most
//! `WIDTH` columns. Functions here return text; `progress` alone prints, through `cli`.

mod chart;
mod evaluation;
mod figure;
mod inspection;
mod number;
mod picture;
mod prediction;
mod problem;
mod progress;
mod registry;
mod runs;
mod table;

pub(super) use evaluation::evaluation;
pub(super) use inspection::{Depth, contents, layer_table};
pub(super) use number::{bytes, count};
pub(super) use picture::{digit, side_by_side};
pub(super) use prediction::{prediction, predictions};
pub(super) use problem::problem;
pub(super) use progress::{Progress, Style};
pub(super) use registry::{assignments, models, version, versions};
pub(super) use runs::{run, run_list};
pub(super) use table::Ink;

/// Columns that everything fits into.
pub(super) const WIDTH: usize = 100;
