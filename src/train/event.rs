//! The events of a run, in the order in which they happen.

use serde::{Deserialize, Serialize};

use super::{Inspection, LossAndAccuracy, TrainConfig, TrainingProgress, Warning};
use crate::ids::RunId;

/// An event of a run. A run begins with `Started`, or with `Queued` before it if it waits, and ends
/// with `Finished`, which may then come before `Started`. If it is resumed after that, further events
/// follow in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Queued(RunQueued),
    Started(Box<RunStarted>),
    Batch(BatchReport),
    Epoch(EpochReport),
    Inspection(Box<Inspection>),
    Warning(Box<Warning>),
    Checkpoint(CheckpointWritten),
    Finished(RunFinished),
}

/// The run waits for the training slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunQueued {
    /// The run that has the slot.
    pub behind: RunId,
    /// The position in the queue, 1 for the next run.
    pub position: u32,
    pub config: Box<TrainConfig>,
}

/// The run started, or was resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    pub config: TrainConfig,
    pub train_images: u32,
    pub validation_images: u32,
    pub batches_per_epoch: u32,
    pub total_parameters: u32,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The progress that a resumed run continues from; none at a run's beginning.
    #[serde(default)]
    pub resumed: Option<TrainingProgress>,
    /// The digest of the training images; a resumed run must have the same.
    #[serde(default)]
    pub dataset_digest: Option<String>,
    /// The digest of the validation images; none in logs of before it was logged.
    #[serde(default)]
    pub validation_digest: Option<String>,
}

/// The loss and accuracy of a batch, before its step.
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
    /// The throughput since the last report.
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
    pub validation: Option<LossAndAccuracy>,
    /// The duration of the epoch, validation included.
    #[serde(with = "crate::train::finite")]
    pub seconds: f64,
    /// The throughput, validation excluded.
    #[serde(with = "crate::train::finite")]
    pub images_per_second: f64,
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
pub struct RunFinished {
    pub state: RunState,
    pub reason: FinishReason,
    /// The version that was published.
    pub version: Option<u32>,
    pub best_epoch: Option<u32>,
    /// The validation accuracy of the best epoch.
    #[serde(default, with = "crate::train::finite::optional")]
    pub validation_accuracy: Option<f64>,
    /// The error message; empty if nothing went wrong.
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
    fn an_event_with_infinite_numbers_is_read_back() {
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
            validation: Some(LossAndAccuracy { loss: f64::NEG_INFINITY, accuracy }),
            seconds: f64::INFINITY,
            images_per_second: f64::INFINITY,
        };
        let finished = |validation_accuracy| RunFinished {
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
