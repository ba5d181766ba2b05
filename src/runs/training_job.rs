//! What the training thread is given of a run, before the run exists and after, and how it talks to the run's
//! supervisor.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::oneshot};

use super::{
    context::DatasetDigests, event_sender::EventSender, observer::Observer, resume::ResumePoint,
    snapshot::SnapshotRequests, stop::StopSignal,
};
use crate::{
    compute::{Device, Error},
    data::Splits,
    ids::RunId,
    registry::{Manifest, Registry},
    train::{FitResult, RunStarted, ValidTrainConfig},
};

/// What a run needs before it exists.
pub struct TrainingJob {
    pub config: ValidTrainConfig,
    /// The version that the run starts from, and its weights.
    pub initial: Option<(Manifest, Vec<u8>)>,
    /// Where to resume; none for a new run.
    pub resume: Option<ResumePoint>,
    pub splits: Splits,
    pub digests: DatasetDigests,
    pub device: Device,
    pub registry: Registry,
    pub runtime: Handle,
    pub observer: Option<Arc<dyn Observer>>,
}

/// What a run gets once it is stored.
pub struct RunHandles {
    pub run: RunId,
    pub events: Arc<EventSender>,
    pub stop: Arc<StopSignal>,
    pub snapshots: Arc<SnapshotRequests>,
}

/// How the training thread and the run's supervisor talk.
pub struct JobChannels {
    /// What the run will be, or why it cannot be.
    pub prepared: oneshot::Sender<Result<RunStarted, Error>>,
    /// Received once the run may begin; an error means that it will not.
    pub handles: oneshot::Receiver<RunHandles>,
    /// The outcome of the last step.
    pub finished: oneshot::Sender<Result<FitResult, Error>>,
}
