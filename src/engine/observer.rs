//! Who looks on while runs train: gets the same reports as the event log, and the weights after
//! every epoch as plain numbers.

use std::fmt::Debug;

use chrono::{DateTime, Utc};

use crate::{
    ids::RunId,
    train::{Event, Started},
};

/// Looks on. Called on the training thread: every method returns at once, and what is slow goes on
/// elsewhere.
pub trait Observer: Debug + Send + Sync {
    /// A run begins, or goes on after an interruption.
    fn begins(&self, run: RunId, started: &Started);
    /// Something happened in it.
    fn happened(&self, run: RunId, time: DateTime<Utc>, event: &Event);
    /// Whether the weights of this epoch would be taken; copying them costs time.
    fn wants_weights(&self) -> bool;
    /// The weights as they are after so many steps.
    fn weights(&self, run: RunId, step: u32, arrays: Vec<Array>);
}

/// The values of a parameter, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}
