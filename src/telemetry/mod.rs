//! Telemetry of the program and its runs: the log (`log`) and the event files of TensorBoard (`tensorboard`).

mod log;
mod tensorboard;

pub use log::{
    Error, LogFormat, close, is_running, register_metrics, report_dropped_lines, set_level, start,
};
pub use tensorboard::{RunFolder, TensorBoard};
