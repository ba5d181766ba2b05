//! Serving predictions: the loaded versions with their batching queues and worker threads, and which version a reference
//! means.

mod batcher;
mod config;
mod images;
mod initial_load;
mod loaded;
mod models;
mod resolve_table;
mod resolver;
mod stats;
mod stats_table;
mod worker;

pub use config::BatchConfig;
pub use images::{ImageBatch, PredictionBatch};
pub use initial_load::start as start_initial_load;
pub use loaded::ServedModel;
pub use models::LoadedModels;
pub use stats::{BatchStats, DurationTotal, ModelStats, PhaseTotals, VersionStats};
