//! Observers of training: they receive the same events as the log, and the weights after every epoch as plain
//! numbers.

use std::fmt::Debug;

use chrono::{DateTime, Utc};

use crate::{
    ids::RunId,
    train::{Event, RunStarted},
};

/// Receives the events of runs. Every method is called on the training thread and returns at once; slow work
/// belongs on another thread.
pub trait Observer: Debug + Send + Sync {
    /// A run begins or is resumed.
    fn started(&self, run: RunId, started: &RunStarted);
    /// An event of the run.
    fn event(&self, run: RunId, time: DateTime<Utc>, event: &Event);
    /// Whether the observer wants the weights of this epoch; copying them costs time.
    fn wants_weights(&self) -> bool;
    /// The weights after this many steps.
    fn weights(&self, run: RunId, step: u32, arrays: Vec<Array>);
}

/// The values of a parameter in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}
