//! Messages as text: numbers, tables, images in block characters, progress and errors, laid out for a
//! terminal or a file (`Layout`). Functions here return text and print nothing.

mod attribution;
mod bar;
mod block_image;
mod error_report;
mod evaluation;
mod findings;
mod inspection;
mod layout;
mod names;
mod number;
mod parameters;
mod prediction;
mod progress;
mod registry;
mod run;
mod run_comparison;
mod run_plan;
mod table;
mod time;
mod version_comparison;
mod warning;

pub use attribution::{GRADIENT_COLUMNS, gradient_rows, gradient_title, gradients, occlusion, saliency};
pub use block_image::{digit, side_by_side};
pub use error_report::error_report;
pub use evaluation::{
    averages, class_name, evaluated_images, evaluation, mcnemar_sentence, misclassified_images, summary,
    temperature,
};
pub use findings::{HEALTH_COLUMNS, finding_name, health, health_row, health_title};
pub use inspection::{Depth, LAYER_COLUMNS, contents, layer_row, layer_table, shape, subject, totals};
pub use layout::{Color, Layout, MAX_WIDTH};
pub use names::class_label;
pub use number::{bytes, count, percent, significant};
pub use parameters::parameter_values;
pub use prediction::{prediction, prediction_lines, predictions};
pub use progress::RunProgress;
pub use registry::{
    alias_move, assignments, imported_version, models, requirement_result, version, versions,
};
pub use run::{run, run_list};
pub use run_comparison::run_comparison;
pub use version_comparison::{
    CHANGED_COLUMNS, OUTPUT_COLUMNS, PARAMETER_COLUMNS, changed_row, changed_title, comparison_title,
    output_row, parameter_row, version_comparison,
};
