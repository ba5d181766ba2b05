//! One run on the training thread: from a request to its last event. A panic or an error of
//! libtorch ends the run and is told; the thread goes on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::Bytes;
use chrono::Utc;
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    Error, Observer,
    log::{EventSender, FIRST_RETRY, RETRIES},
    looking::{Look, Looks},
    publish::{self, Candidate},
    worker::{self, Device},
};
use crate::{
    data::{Splits, dataset::Dims},
    ids::RunId,
    nn::Network,
    registry::{self, Manifest, Registry},
    train::{
        self, CheckpointWritten, Ending, Event, FinishReason, Finished, FitResult, LoggedEvents, RunHooks,
        RunState, Started, StepId, TrainConfig, Trainer, TrainingProgress,
    },
};

/// Whether a run shall stop after its current batch, and why. The first wish stands.
#[derive(Debug, Default)]
pub(super) struct Stop(AtomicU8);

/// Why a run shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Cancel = 1,
    /// The server goes down.
    Interrupt = 2,
    /// The store takes no more events.
    Abandon = 3,
}

impl Stop {
    pub fn ask(&self, wish: Wish) {
        let _ = self.0.compare_exchange(0, wish as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    pub fn asked(&self) -> Option<Wish> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Wish::Cancel),
            2 => Some(Wish::Interrupt),
            _ => Some(Wish::Abandon),
        }
    }
}

/// What a run needs before it exists.
pub(super) struct Job {
    pub config: TrainConfig,
    /// The version to start from, and its weights.
    pub initial: Option<(Manifest, Vec<u8>)>,
    /// Where to go on from; none begins the run.
    pub resume: Option<Resume>,
    pub splits: Splits,
    pub digests: Digests,
    pub device: Device,
    pub registry: Registry,
    pub runtime: Handle,
    pub observer: Option<Arc<dyn Observer>>,
}

/// What tells the images of a run from all others.
#[derive(Debug, Clone)]
pub(super) struct Digests {
    pub train: String,
    pub validation: String,
}

/// Where to go on from.
#[derive(Debug)]
pub(super) struct Resume {
    /// A checkpoint: its key under the run in the store, and its bytes. None where the run came to none: it
    /// is taken from its first step.
    pub checkpoint: Option<(String, Bytes)>,
    /// What the run's log tells already: the steps between the checkpoint and its end are taken again
    /// without a word.
    pub told: LoggedEvents,
}

/// What it gets once it is known to be possible, and kept.
pub(super) struct Go {
    pub run: RunId,
    pub events: EventSender,
    pub stop: Arc<Stop>,
    pub looks: Arc<Looks>,
}

/// Prepares a run, says what it will be (or why it cannot be), waits for `go` and trains.
pub(super) fn run(job: Job, prepared: oneshot::Sender<Result<Started, Error>>, go: oneshot::Receiver<Go>) {
    let made = catch_unwind(AssertUnwindSafe(|| prepare(&job)));
    let made = made.unwrap_or_else(|panic| Err(Error::panicked("preparing a run", &*panic)));
    let mut trainer = match made {
        Ok(trainer) => trainer,
        Err(error) => {
            // Nobody asks any more: then nobody needs the answer.
            let _ = prepared.send(Err(error));
            return;
        }
    };
    let Digests { train, validation } = job.digests.clone();
    let (dataset_digest, validation_digest) = (Some(train), Some(validation));
    let started = Started { dataset_digest, validation_digest, ..trainer.started() };
    let mut ending = Closing { dims: job.splits.train.dims(), parameters: started.total_parameters, job };
    // The device holds the images now.
    ending.job.splits = empty(&ending.job.splits);
    if prepared.send(Ok(started)).is_err() {
        return;
    }
    let Ok(go) = go.blocking_recv() else { return };
    if let Some(observer) = &ending.job.observer {
        observer.begins(go.run, &trainer.started());
    }
    let finished = ending.train(&mut trainer, &go);
    // The log's task keeps the event; where it cannot, it has said so.
    let _ = go.events.push(Event::Finished(finished));
}

fn prepare(job: &Job) -> Result<Trainer, Error> {
    let initial = job.initial.as_ref();
    let initial =
        initial.map(|(manifest, weights)| worker::decode(manifest, weights, job.device)).transpose()?;
    let mut trainer = Trainer::new(job.config.clone(), initial.as_ref(), &job.splits, job.device)?;
    match job.resume.as_ref().map(|resume| &resume.checkpoint) {
        None => {}
        Some(None) => trainer.restart(),
        Some(Some((_, bytes))) => drop(trainer.resume(bytes)?),
    }
    Ok(trainer)
}

/// What is needed to end a run well.
struct Closing {
    job: Job,
    dims: Dims,
    parameters: u32,
}

impl Closing {
    fn train(&self, trainer: &mut Trainer, go: &Go) -> Finished {
        let began = std::time::Instant::now();
        let class_names = self.job.splits.train.class_names().to_vec();
        let mut hooks =
            Hooks { job: &self.job, go, dims: self.dims, class_names, last: None, retaken: false };
        hooks.tell_resumed(trainer);
        let outcome =
            catch_unwind(AssertUnwindSafe(|| trainer.fit(&mut hooks).map(|outcome| self.ended(outcome, go))));
        let mut finished = match outcome {
            Ok(Ok(finished)) => finished,
            Ok(Err(error)) => {
                tracing::error!(run = %go.run, %error, "a run failed");
                failed(FinishReason::Failed, error.to_string())
            }
            Err(panic) => {
                let error = Error::panicked("training", &*panic);
                tracing::error!(run = %go.run, %error, "a run failed");
                failed(FinishReason::Failed, error.to_string())
            }
        };
        go.looks.close();
        finished.seconds = began.elapsed().as_secs_f64();
        finished
    }

    fn ended(&self, outcome: FitResult, go: &Go) -> Finished {
        let best = outcome.best.as_ref();
        let (best_epoch, accuracy) = (
            best.map(|best| best.epoch),
            best.and_then(|best| best.validation).map(|validation| validation.accuracy),
        );
        let finished = match outcome.ending {
            Ending::Completed => self.publish(outcome, go, FinishReason::Completed),
            Ending::EarlyStopped => self.publish(outcome, go, FinishReason::EarlyStopped),
            Ending::Cancelled => stopped(go.stop.asked()),
            Ending::NonFinite { epoch, batch } => failed(
                FinishReason::NonFinite,
                format!(
                    "the loss or a weight was no finite number by epoch {epoch}, batch {batch}: lower the \
                     learning rate, or choose another optimizer; the last checkpoint, if there is one, is from \
                     before"
                ),
            ),
        };
        Finished { best_epoch, validation_accuracy: accuracy, ..finished }
    }

    fn publish(&self, outcome: FitResult, go: &Go, reason: FinishReason) -> Finished {
        let Some(best) = outcome.best else {
            return failed(FinishReason::Failed, "the run finished no epoch".to_owned());
        };
        let candidate = Candidate {
            run: go.run,
            config: &self.job.config,
            dims: self.dims,
            class_names: self.job.splits.train.class_names(),
            parameters: self.parameters,
            digest: &self.job.digests.train,
        };
        match self.job.runtime.block_on(publish::publish(&self.job.registry, candidate, best)) {
            Ok(version) => Finished {
                state: RunState::Completed,
                version: Some(version.get()),
                ..failed(reason, String::new())
            },
            Err(error) => {
                let error = Error::from(error);
                let message =
                    format!("the version could not be published ({error}); the last checkpoint is kept");
                failed(FinishReason::Failed, message)
            }
        }
    }
}

/// The engine's side of a run.
struct Hooks<'a> {
    job: &'a Job,
    go: &'a Go,
    dims: Dims,
    class_names: Vec<String>,
    /// The last step.
    last: Option<StepId>,
    /// The newest epoch was taken again: it was told before the run was resumed.
    retaken: bool,
}

impl RunHooks for Hooks<'_> {
    fn report(&mut self, event: Event) {
        let told = self.job.resume.as_ref().is_some_and(|resume| resume.told.has(&event));
        if matches!(event, Event::Epoch(_)) {
            self.retaken = told;
        }
        if let Some(observer) = self.job.observer.as_ref().filter(|_| !told) {
            observer.happened(self.go.run, Utc::now(), &event);
        }
        // `Started` was kept before the run began.
        if !matches!(event, Event::Started(_)) && !told && self.go.events.push(event).is_err() {
            self.go.stop.ask(Wish::Abandon);
        }
    }

    fn stepped(&mut self, at: StepId, network: &Network) {
        self.last = Some(at);
        self.show(at, network);
    }

    fn epoch_ended(&mut self, step: u32, network: &Network) {
        // Who asked while the epoch was validated need not wait for the next one.
        if let Some(at) = self.last {
            self.show(at, network);
        }
        let observer = self.job.observer.as_ref().filter(|_| !self.retaken);
        if let Some(observer) = observer.filter(|observer| observer.wants_weights()) {
            observer.weights(self.go.run, step, worker::arrays(network));
        }
    }

    /// A checkpoint that cannot be kept is told to the log and ends no run: what was learned is
    /// worth more than a place to resume from.
    fn checkpoint(&mut self, at: TrainingProgress, bytes: Vec<u8>) -> Result<(), String> {
        let size = u32::try_from(bytes.len()).map_err(|_| "it is above 4 GB".to_owned())?;
        // What was told before a checkpoint is kept before it: a run that is resumed from it has no
        // gap in its log. Where the log failed the run is given up.
        let _ = self.job.runtime.block_on(self.go.events.persisted());
        match self.job.runtime.block_on(self.keep(at.step, bytes.into())) {
            Ok(key) => self.report(Event::Checkpoint(CheckpointWritten {
                epoch: at.epoch,
                step: at.step,
                key,
                bytes: size,
            })),
            Err(error) => tracing::error!(run = %self.go.run, %error, "a checkpoint cannot be kept"),
        }
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        self.go.stop.asked().is_some()
    }
}

impl Hooks<'_> {
    fn show(&self, at: StepId, network: &Network) {
        self.go.looks.show(|| Look {
            network: network.deep_copy(),
            at,
            dims: self.dims,
            class_names: self.class_names.clone(),
        });
    }

    /// Tells of the checkpoint that the run goes on from, where its server was killed between keeping
    /// and telling it.
    fn tell_resumed(&mut self, trainer: &Trainer) {
        let checkpoint = self.job.resume.as_ref().and_then(|resume| resume.checkpoint.as_ref());
        let (Some((key, bytes)), Some(at)) = (checkpoint, trainer.started().resumed) else { return };
        let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (epoch, step, key) = (at.epoch, at.step, key.clone());
        self.report(Event::Checkpoint(CheckpointWritten { epoch, step, key, bytes }));
    }

    /// Keeps a checkpoint, with the patience that events have; with none where the run is given up.
    async fn keep(&self, step: u32, bytes: Bytes) -> Result<String, registry::Error> {
        let runs = self.job.registry.runs();
        let mut pause = FIRST_RETRY;
        for _ in 0..RETRIES {
            match runs.put_checkpoint(self.go.run, step, bytes.clone()).await {
                Err(error) if self.go.stop.asked() != Some(Wish::Abandon) => {
                    tracing::warn!(run = %self.go.run, %error, "trying again to keep a checkpoint");
                }
                kept => return kept,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        runs.put_checkpoint(self.go.run, step, bytes).await
    }
}

fn stopped(wish: Option<Wish>) -> Finished {
    let (state, reason) = match wish {
        Some(Wish::Cancel) | None => (RunState::Cancelled, FinishReason::Cancelled),
        Some(Wish::Interrupt) => (RunState::Interrupted, FinishReason::Interrupted),
        Some(Wish::Abandon) => (RunState::Failed, FinishReason::Failed),
    };
    let message = match state {
        RunState::Interrupted => "the server went down; the last checkpoint is kept",
        _ => "",
    };
    Finished { state, ..failed(reason, message.to_owned()) }
}

/// The end of a run that waited for its turn.
pub(super) fn stopped_before(wish: Option<Wish>) -> Finished {
    let finished = stopped(wish);
    let message = match finished.state {
        RunState::Interrupted => "the server went down before the run began",
        _ => "",
    };
    Finished { message: message.to_owned(), ..finished }
}

pub(super) fn failed(reason: FinishReason, message: String) -> Finished {
    Finished {
        state: RunState::Failed,
        reason,
        version: None,
        best_epoch: None,
        validation_accuracy: None,
        message,
        seconds: 0.0,
    }
}

fn empty(splits: &Splits) -> Splits {
    let none = splits.train.select(&[]);
    Splits { train: none.clone(), validation: none.clone(), test: none }
}

impl From<train::Error> for Error {
    fn from(error: train::Error) -> Self {
        match error {
            train::Error::Invalid(invalid) => invalid.into(),
            train::Error::Data(error) => error.into(),
            train::Error::Checkpoint(message) => Self::Backend { message },
            train::Error::State(_) => Self::Corrupt { message: error.to_string() },
        }
    }
}

impl From<train::Invalid> for Error {
    fn from(invalid: train::Invalid) -> Self {
        Self::InvalidField { field: invalid.field, message: invalid.message }
    }
}
