//! What commands show: numbers, tables, pictures, progress and problems as text of at most
//! `WIDTH` columns. Functions here return text; `progress` alone prints, through `cli`.

mod attribution;
mod chart;
mod comparison;
mod difference;
mod evaluation;
mod figure;
mod findings;
mod inspection;
mod number;
mod picture;
mod plan;
mod prediction;
mod problem;
mod progress;
mod registry;
mod runs;
mod table;
mod warning;

use std::sync::LazyLock;

pub(super) use attribution::{
    GRADIENT_COLUMNS, gradient_rows, gradient_title, gradients, occlusion, saliency,
};
pub(super) use comparison::comparison;
pub(super) use difference::{
    CHANGED_COLUMNS, OUTPUT_COLUMNS, PARAMETER_COLUMNS, changed_row, changed_title, difference,
    difference_title, output_row, parameter_row,
};
pub(super) use evaluation::{
    class_name, contest, evaluation, images_of, means, mistakes, summary, temperature,
};
pub(super) use findings::{HEALTH_COLUMNS, finding_name, health, health_row, health_title};
pub(super) use inspection::{Depth, LAYER_COLUMNS, contents, layer_row, layer_table, shape, subject, totals};
pub(super) use number::{bytes, count, percent};
pub(super) use picture::{digit, side_by_side};
pub(super) use prediction::{prediction, predictions, reading};
pub(super) use problem::problem;
pub(super) use progress::{Progress, Style};
pub(super) use registry::{assignments, models, moved, requirement_result, version, versions};
pub(super) use runs::{run, run_list};
pub(super) use table::Ink;
pub(super) use warning::figure;

/// The name of a class, or its number where classes have none.
pub(super) fn class_of(names: &[String], class: i32) -> String {
    let name = usize::try_from(class).ok().and_then(|at| names.get(at));
    name.cloned().unwrap_or_else(|| class.to_string())
}

/// Columns that everything fits into where there is no terminal.
pub(super) const WIDTH: usize = 100;

/// Columns that tables are laid out for: those of the terminal, COLUMNS standing over it, between 60
/// and `WIDTH`.
pub(super) fn width() -> usize {
    static COLUMNS: LazyLock<usize> = LazyLock::new(|| {
        let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let seen = || console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        told.or_else(seen).unwrap_or(WIDTH).clamp(60, WIDTH)
    });
    *COLUMNS
}
