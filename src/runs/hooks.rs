//! What the training thread reports of a run while it takes steps: events to the log and the observer, snapshots
//! of the weights to those who requested one, checkpoints to the store.

use bytes::Bytes;
use chrono::Utc;

use super::{
    arrays::arrays,
    log_writer::{FIRST_RETRY, RETRIES},
    stop::StopReason,
    training_job::{RunHandles, TrainingJob},
};
use crate::{
    compute::WeightSnapshot,
    nn::Network,
    registry,
    train::{CheckpointWritten, Event, RunHooks, StepId, Trainer, TrainingProgress},
};

/// The hooks of one run.
pub struct Hooks<'a> {
    job: &'a TrainingJob,
    handles: &'a RunHandles,
    /// The last step.
    last: Option<StepId>,
    /// Whether the newest epoch was logged before the run was resumed.
    repeated: bool,
}

impl<'a> Hooks<'a> {
    pub fn new(job: &'a TrainingJob, handles: &'a RunHandles) -> Self {
        Self { job, handles, last: None, repeated: false }
    }

    /// Reports the checkpoint that the run is resumed from, if its server was killed between storing and reporting
    /// it.
    pub fn report_resumed_checkpoint(&mut self, trainer: &Trainer) {
        let checkpoint = self.job.resume.as_ref().and_then(|resume| resume.checkpoint.as_ref());
        let (Some((key, bytes)), Some(at)) = (checkpoint, trainer.started().resumed) else { return };
        let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (epoch, step, key) = (at.epoch, at.step, key.clone());
        self.report(Event::Checkpoint(CheckpointWritten { epoch, step, key, bytes }));
    }

    fn fulfil_snapshot_requests(&self, at: StepId, network: &Network) {
        let images = &self.job.splits.train;
        self.handles.snapshots.fulfil(|| WeightSnapshot {
            network: network.deep_copy(),
            at,
            dims: images.dims(),
            class_names: images.class_names().to_vec(),
        });
    }

    /// Stores a checkpoint, with the retries that events have; with none once the log has failed.
    async fn store(&self, step: u32, bytes: Bytes) -> Result<String, registry::Error> {
        let (run, runs) = (self.handles.run, self.job.registry.runs());
        let mut pause = FIRST_RETRY;
        for _ in 0..RETRIES {
            match runs.put_checkpoint(run, step, bytes.clone()).await {
                Err(error) if self.handles.stop.requested() != Some(StopReason::LogFailed) => {
                    tracing::warn!(%run, %error, "retrying to store a checkpoint");
                }
                stored => return stored,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        runs.put_checkpoint(run, step, bytes).await
    }
}

impl RunHooks for Hooks<'_> {
    fn report(&mut self, event: Event) {
        let logged = self.job.resume.as_ref().is_some_and(|resume| resume.logged.has(&event));
        if matches!(event, Event::Epoch(_)) {
            self.repeated = logged;
        }
        if let Some(observer) = self.job.observer.as_ref().filter(|_| !logged) {
            observer.event(self.handles.run, Utc::now(), &event);
        }
        // `Started` was stored before the run began.
        let is_new = !matches!(event, Event::Started(_)) && !logged;
        if is_new && self.handles.events.blocking_send(event).is_err() {
            self.handles.stop.request(StopReason::LogFailed);
        }
    }

    fn stepped(&mut self, at: StepId, network: &Network) {
        self.last = Some(at);
        self.fulfil_snapshot_requests(at, network);
    }

    fn epoch_ended(&mut self, step: u32, network: &Network) {
        // Requests that came while the epoch was validated need not wait for the next one.
        if let Some(at) = self.last {
            self.fulfil_snapshot_requests(at, network);
        }
        let observer = self.job.observer.as_ref().filter(|_| !self.repeated);
        if let Some(observer) = observer.filter(|observer| observer.wants_weights()) {
            observer.weights(self.handles.run, step, arrays(network));
        }
    }

    /// A checkpoint that cannot be stored is logged and does not end the run: the trained weights are worth more than a
    /// point to resume from.
    fn checkpoint(&mut self, at: TrainingProgress, bytes: Vec<u8>) -> Result<(), String> {
        let size = u32::try_from(bytes.len()).map_err(|_| "it is above 4 GB".to_owned())?;
        let runtime = &self.job.runtime;
        // Events before a checkpoint are stored before it, so a run that is resumed from it has no gap in its log.
        // If the log has failed, the run is about to be stopped.
        let _ = runtime.block_on(self.handles.events.flushed());
        match runtime.block_on(self.store(at.step, bytes.into())) {
            Ok(key) => self.report(Event::Checkpoint(CheckpointWritten {
                epoch: at.epoch,
                step: at.step,
                key,
                bytes: size,
            })),
            Err(error) => {
                tracing::error!(run = %self.handles.run, %error, "a checkpoint cannot be stored");
            }
        }
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        self.handles.stop.requested().is_some()
    }
}
