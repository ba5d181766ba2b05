//! What callers ask of the engine and get from it.

mod inspect;

pub use inspect::{
    Compared, ComparisonJob, Depth, DrawingJob, HealthJob, InspectInput, InspectJob, Inspected,
    ParametersJob, RunMoment, Shown, StartFrom, Studied, StudiedHealth, StudyJob, Target, Values,
    WeightsOrigin,
};

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Error,
    serve::{Figures, Loaded},
};
use crate::{
    ids::{ModelName, RunId, Version},
    registry::Manifest,
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

/// Which part of the list of runs.
#[derive(Debug, Clone, Default)]
pub struct RunPage {
    pub size: usize,
    /// Only runs older than this one; none begins with the newest.
    pub before: Option<RunId>,
    /// Only runs of this model.
    pub model: Option<ModelName>,
}

/// Pictures to read, one after another, row by row.
#[derive(Debug, Clone)]
pub enum Pictures {
    /// N·H·W bytes, 0 background to 255 ink.
    Bytes(bytes::Bytes),
    /// N·H·W numbers in [0, 1]; whoever asks has checked that.
    Floats(Vec<f32>),
    /// The same as float32 in little-endian bytes, as some protocols carry them.
    FloatBytes(bytes::Bytes),
}

impl Pictures {
    /// The numbers in [0, 1].
    pub fn into_values(self) -> Vec<f32> {
        match self {
            Self::Bytes(bytes) => bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
            Self::Floats(values) => values,
            Self::FloatBytes(bytes) => bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect(),
        }
    }
}

/// What the pictures say.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    pub model: ModelName,
    pub version: Version,
    pub classes: usize,
    /// Of each class; empty where a class goes by its number.
    pub class_names: Vec<String>,
    /// [N, classes], row by row.
    pub probabilities: Vec<f32>,
}

/// What one version did since the server's start.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    pub model: ModelName,
    pub version: Version,
    pub figures: Figures,
}

/// A version that is loaded and stays so while this lives, whatever becomes of its alias.
#[derive(Debug, Clone)]
pub struct Served(pub(super) Arc<Loaded>);

impl Served {
    /// What is known of the version, the size of its pictures and its classes among it.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Reads pictures; answers in their order. After `deadline` no compute is spent on them.
    pub async fn predict(&self, pictures: Pictures, deadline: Option<Instant>) -> Result<Predicted, Error> {
        self.0.predict(pictures, deadline).await
    }
}
