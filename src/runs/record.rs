//! One event of a run as the log numbers it, and a page of the list of runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{ModelName, RunId},
    train::Event,
};

/// One event of a run, numbered from 1 without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub sequence: u32,
    pub time: DateTime<Utc>,
    #[serde(flatten)]
    pub event: Event,
}

/// Which part of the list of runs a caller wants.
#[derive(Debug, Clone, Default)]
pub struct RunPage {
    pub size: usize,
    /// Only runs older than this one are listed; without it the list begins with the newest.
    pub before: Option<RunId>,
    /// Only runs of this model are listed, where one is given.
    pub model: Option<ModelName>,
}
