//! `TrainingService`: requests to train and to resume, and the events of runs.

mod augmentation;
mod inspect_at;
mod optimizer;
mod overlay;
mod recipe;
mod schedule;
mod stopping;
mod warning;

pub mod event;
pub mod network;
pub mod options;
pub mod request;
pub mod resume;
pub mod run;
