//! What a run reports, in the order in which it happens.

use serde::{Deserialize, Serialize};

use super::{Inspection, TrainConfig, TrainingProgress, Warning};
use crate::ids::RunId;

/// One thing that happened. A run begins with `Started`, or with `Queued` before it where it waits, and
/// ends with `Finished`, which may come before `Started` then. Where it is resumed after that, it reads
/// on in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Queued(Queued),
    Started(Box<Started>),
    Batch(BatchReport),
    Epoch(EpochReport),
    Inspection(Box<Inspection>),
    Warning(Box<Warning>),
    Checkpoint(CheckpointWritten),
    Finished(Finished),
}

/// A run waits for the training slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// The run that has the slot.
    pub behind: RunId,
    /// 1 for the next.
    pub position: u32,
    pub config: Box<TrainConfig>,
}

/// A run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub config: TrainConfig,
    pub train_images: u32,
    pub validation_images: u32,
    pub batches_per_epoch: u32,
    pub total_parameters: u32,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Where a resumed run goes on from; none at a run's beginning.
    #[serde(default)]
    pub resumed: Option<TrainingProgress>,
    /// Of the training images; a resumed run must have the same.
    #[serde(default)]
    pub dataset_digest: Option<String>,
    /// Of the validation images, likewise; none in logs that were kept before it was told.
    #[serde(default)]
    pub validation_digest: Option<String>,
}

/// A batch was trained on: its own loss and accuracy, before its step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchReport {
    /// Counted from 1, as are `batch` (in its epoch) and `step` (in its run).
    pub epoch: u32,
    pub batch: u32,
    pub step: u32,
    #[serde(with = "crate::train::finite")]
    pub loss: f64,
    #[serde(with = "crate::train::finite")]
    pub accuracy: f64,
    #[serde(with = "crate::train::finite")]
    pub learning_rate: f64,
    /// Since the last report.
    #[serde(with = "crate::train::finite")]
    pub images_per_second: f64,
    /// The L2 norm of the gradient of the batch's mean loss over all parameters, before decay and
    /// clipping. None in what was kept before it was measured.
    #[serde(default, with = "crate::train::finite::optional")]
    pub gradient_norm: Option<f64>,
}

/// An epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    pub epoch: u32,
    /// Means over the epoch's images, each taken when its batch was trained on.
    #[serde(with = "crate::train::finite")]
    pub train_loss: f64,
    #[serde(with = "crate::train::finite")]
    pub train_accuracy: f64,
    /// None in an epoch without validation.
    pub validation: Option<Measured>,
    /// Validation included.
    #[serde(with = "crate::train::finite")]
    pub seconds: f64,
    /// Validation not included.
    #[serde(with = "crate::train::finite")]
    pub images_per_second: f64,
}

/// Mean loss and accuracy over a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    #[serde(with = "crate::train::finite")]
    pub loss: f64,
    #[serde(with = "crate::train::finite")]
    pub accuracy: f64,
}

/// A checkpoint was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointWritten {
    /// Epochs and batches that were finished by then.
    pub epoch: u32,
    pub step: u32,
    /// Its key under the run in the store.
    pub key: String,
    pub bytes: u32,
}

/// The run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    pub state: RunState,
    pub reason: FinishReason,
    /// The version that was published.
    pub version: Option<u32>,
    pub best_epoch: Option<u32>,
    /// Of the best epoch.
    #[serde(default, with = "crate::train::finite::optional")]
    pub validation_accuracy: Option<f64>,
    /// What went wrong; empty where nothing did.
    pub message: String,
    #[serde(with = "crate::train::finite")]
    pub seconds: f64,
}

/// A run's place in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for the training slot.
    Queued,
    Running,
    Completed,
    Cancelled,
    Failed,
    Interrupted,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Completed,
    EarlyStopped,
    Cancelled,
    NonFinite,
    Interrupted,
    Failed,
}

impl RunState {
    pub fn has_ended(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Completed | Self::Cancelled | Self::Failed | Self::Interrupted => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_numbers_beyond_all_bounds_is_read_back() {
        let accuracy = f64::INFINITY;
        let batch = BatchReport {
            epoch: 1,
            batch: 1,
            step: 1,
            loss: f64::INFINITY,
            accuracy,
            learning_rate: f64::INFINITY,
            images_per_second: f64::INFINITY,
            gradient_norm: Some(f64::NEG_INFINITY),
        };
        let epoch = EpochReport {
            epoch: 1,
            train_loss: f64::INFINITY,
            train_accuracy: accuracy,
            validation: Some(Measured { loss: f64::NEG_INFINITY, accuracy }),
            seconds: f64::INFINITY,
            images_per_second: f64::INFINITY,
        };
        let finished = |validation_accuracy| Finished {
            state: RunState::Failed,
            reason: FinishReason::NonFinite,
            version: None,
            best_epoch: None,
            validation_accuracy,
            message: String::new(),
            seconds: f64::INFINITY,
        };
        for event in [
            Event::Batch(batch),
            Event::Epoch(epoch),
            Event::Finished(finished(Some(f64::INFINITY))),
            Event::Finished(finished(None)),
        ] {
            let line = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event, "{line}");
        }
    }
}
