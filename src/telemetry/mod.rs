//! Telemetry of the program and its runs: the log (`log`) and the event files of TensorBoard (`tensorboard`).

mod log;
mod tensorboard;

pub use log::{Error, LogFormat, start};
pub use tensorboard::{RunFolder, TensorBoard};
