//! How far a run has come, and which step is which.

use serde::{Deserialize, Serialize};

/// The progress of a run: what is finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// Epochs that are finished.
    pub epoch: u32,
    /// Batches of the next epoch that are finished.
    pub batch: u32,
    /// Batches of the run that are finished.
    pub step: u32,
}

/// A step that was taken: which one it was. All count from 1, `batch` in its epoch, `step` in its run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepId {
    pub epoch: u32,
    pub batch: u32,
    pub step: u32,
}

impl From<TrainingProgress> for StepId {
    /// The last step before a position that is not the run's beginning.
    fn from(at: TrainingProgress) -> Self {
        match at.batch {
            0 => Self { epoch: at.epoch, batch: at.step / at.epoch.max(1), step: at.step },
            batch => Self { epoch: at.epoch + 1, batch, step: at.step },
        }
    }
}
