//! The lifecycle of a run, from its acceptance to its last event. One task supervises each run and takes it through
//! its phases:
//!
//! accepted → (queued →) preparing → training → publishing → ended
//!
//! A run that gets a slot at once is stored once it is prepared: an error before that is returned to its caller, and
//! nothing of the run is stored. A queued run is stored at once, and its errors are in its log.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures::FutureExt;
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    context::{DatasetDigests, RunContext},
    event_sender::EventSender,
    log_writer::{self, LogInit},
    phase::Phase,
    publish::{self, Candidate},
    resume::{self, ResumePoint},
    slots::{Admission, Placement, SlotPermit, TrainingSlots},
    snapshot::SnapshotRequests,
    stop::{StopReason, StopSignal},
    summary::SummaryBuilder,
    training_job::{JobChannels, RunHandles, TrainingJob},
    training_thread,
};
use crate::{
    compute::Error,
    data::dataset::Dims,
    ids::RunId,
    train::{
        Event, FinishReason, FitOutcome, FitResult, RunFinished, RunQueued, RunStarted, RunState,
        ValidTrainConfig,
    },
};

/// Starts a run that was admitted. Returns once the run is stored and continues by itself, or with the error that
/// prevented it.
pub async fn start(
    context: Arc<RunContext>,
    request: RunRequest,
    summary: SummaryBuilder,
    admission: Admission,
) -> Result<(), Error> {
    let Admission { stop, snapshots, placement } = admission;
    let run = summary.summary().run_id;
    let finisher = Arc::new(RunFinisher { run, slots: context.slots.clone(), permit: Mutex::default() });
    let supervisor = Supervisor { context, run, summary, stop, snapshots, finisher };
    let (accepted, acceptance) = oneshot::channel();
    tokio::spawn(supervisor.supervise(placement, request, accepted));
    acceptance.await.unwrap_or_else(|_| Err(Error::backend("starting a run", "its supervisor ended")))
}

/// The input of a run.
pub struct RunRequest {
    pub config: ValidTrainConfig,
    /// Where to resume; none for a new run.
    pub resume: Option<ResumePoint>,
}

/// Takes one run through its phases.
struct Supervisor {
    context: Arc<RunContext>,
    run: RunId,
    /// The run before its first event.
    summary: SummaryBuilder,
    stop: Arc<StopSignal>,
    snapshots: Arc<SnapshotRequests>,
    finisher: Arc<RunFinisher>,
}

/// Frees the slot of a run, or its position in the queue, at the latest when it is dropped.
struct RunFinisher {
    run: RunId,
    slots: Arc<TrainingSlots>,
    /// The slot, from the run's turn on.
    permit: Mutex<Option<SlotPermit>>,
}

/// A run whose network is made; it waits on the training thread for its handles.
struct PreparedRun {
    started: RunStarted,
    digests: DatasetDigests,
    dims: Dims,
    class_names: Vec<String>,
    begin: oneshot::Sender<RunHandles>,
    outcome: oneshot::Receiver<Result<FitResult, Error>>,
}

impl Supervisor {
    async fn supervise(
        self,
        placement: Placement,
        request: RunRequest,
        accepted: oneshot::Sender<Result<(), Error>>,
    ) {
        match placement {
            Placement::Slot(permit) => {
                let begun = self.begin(permit, request).await;
                let Some((prepared, events)) = self.accept(begun, accepted) else { return };
                let finished = self.train(prepared, &events).await;
                self.end(finished, &events).await;
            }
            Placement::Queue { behind, position, turn } => {
                let config = Box::new(request.config.config().clone());
                let queued = Event::Queued(RunQueued { behind, position, config });
                let opened = self.open_log(Phase::Queued, queued).await;
                let Some(events) = self.accept(opened, accepted) else { return };
                if let Some(finished) = self.wait(turn, request, &events).await {
                    self.end(finished, &events).await;
                }
            }
        }
    }

    /// Sends the caller whether the run continues by itself from here; if it does not, nothing of it is stored.
    fn accept<T>(&self, begun: Result<T, Error>, accepted: oneshot::Sender<Result<(), Error>>) -> Option<T> {
        let (begun, response) = match begun {
            Ok(begun) => (Some(begun), Ok(())),
            Err(error) => {
                self.finisher.release();
                (None, Err(error))
            }
        };
        // A caller that disconnected needs no result.
        let _ = accepted.send(response);
        begun
    }

    /// Prepares a run that got a slot at once, and opens its log.
    async fn begin(
        &self,
        permit: SlotPermit,
        request: RunRequest,
    ) -> Result<(PreparedRun, Arc<EventSender>), Error> {
        let prepared = self.prepare(permit, request).await?;
        let started = Event::Started(Box::new(prepared.started.clone()));
        let events = self.open_log(Phase::Preparing, started).await?;
        if self.context.slots.is_closed() {
            self.stop.request(StopReason::Interrupted);
        }
        Ok((prepared, events))
    }

    /// Waits for a slot, then prepares and trains. Returns the end of the run; none if its log failed.
    async fn wait(
        &self,
        turn: oneshot::Receiver<SlotPermit>,
        request: RunRequest,
        events: &Arc<EventSender>,
    ) -> Option<RunFinished> {
        // An error means that the run was requested to stop.
        let Ok(permit) = turn.await else { return Some(stopped_before_start(self.stop.requested())) };
        let prepared = self.prepare(permit, request).await;
        if self.stop.requested().is_some() {
            return Some(stopped_before_start(self.stop.requested()));
        }
        match prepared {
            Ok(prepared) => {
                events.send(Event::Started(Box::new(prepared.started.clone()))).await.ok()?;
                events.flushed().await.ok()?;
                Some(self.train(prepared, events).await)
            }
            Err(error) => {
                tracing::error!(run = %self.run, %error, "a queued run cannot begin");
                Some(failed(FinishReason::Failed, error.to_string()))
            }
        }
    }

    /// Reads the data and has the network made on the training thread of the slot.
    async fn prepare(&self, permit: SlotPermit, request: RunRequest) -> Result<PreparedRun, Error> {
        self.enter(Phase::Preparing);
        let slot = permit.slot;
        self.finisher.hold(permit);
        let RunRequest { config, resume } = request;
        let (splits, digests) = self.context.load_images(config.config()).await?;
        resume::check_data(&self.summary, &digests)?;
        let initial = match &resume {
            // The weights come from the checkpoint; the version may have been deleted.
            Some(ResumePoint { checkpoint: Some(_), .. }) => None,
            Some(ResumePoint { checkpoint: None, .. }) | None => {
                self.context.initial_version(config.config()).await?
            }
        };
        let (dims, class_names) = (splits.train.dims(), splits.train.class_names().to_vec());
        let job = TrainingJob {
            config,
            initial,
            resume,
            splits,
            digests: digests.clone(),
            device: self.context.device,
            registry: self.context.registry.clone(),
            runtime: Handle::current(),
            observer: self.context.observer.clone(),
        };
        let (prepared, preparation) = oneshot::channel();
        let (begin, handles) = oneshot::channel();
        let (finished, outcome) = oneshot::channel();
        let channels = JobChannels { prepared, handles, finished };
        let submitted = self.context.threads[slot].submit(move || training_thread::run(job, channels));
        submitted.map_err(|_| Error::TrainingBusy { run: self.run })?;
        let started = preparation.await.map_err(|_| Error::backend("preparing a run", "its thread ended"))?;
        Ok(PreparedRun { started: started?, digests, dims, class_names, begin, outcome })
    }

    /// Opens the run's log with its first event.
    async fn open_log(&self, phase: Phase, first_event: Event) -> Result<Arc<EventSender>, Error> {
        let finisher = self.finisher.clone();
        let init = LogInit {
            store: self.context.registry.runs(),
            lease: self.context.lease.clone(),
            metrics: self.context.metrics.clone(),
            summary: self.summary.clone(),
            stop: self.stop.clone(),
            on_end: Box::new(move || finisher.release()),
        };
        let (log, events) = log_writer::open(init, first_event).await?;
        self.enter(phase);
        self.context.slots.set_log(self.run, &log);
        Ok(Arc::new(events))
    }

    /// Trains on the training thread, then publishes.
    async fn train(&self, prepared: PreparedRun, events: &Arc<EventSender>) -> RunFinished {
        self.enter(Phase::Training);
        let began = Instant::now();
        let PreparedRun { started, digests, dims, class_names, begin, outcome } = prepared;
        let handles = RunHandles {
            run: self.run,
            events: events.clone(),
            stop: self.stop.clone(),
            snapshots: self.snapshots.clone(),
        };
        // If the thread has ended, it sends no outcome either.
        let _ = begin.send(handles);
        let outcome = outcome.await.unwrap_or_else(|_| Err(Error::backend("training", "its thread ended")));
        let finished = match outcome {
            Ok(result) => {
                let candidate = Candidate {
                    run: self.run,
                    config: &self.summary.summary().config,
                    dims,
                    class_names: &class_names,
                    parameters: started.total_parameters,
                    digest: &digests.train,
                };
                self.conclude(result, candidate).await
            }
            Err(error) => {
                tracing::error!(run = %self.run, %error, "a run failed");
                failed(FinishReason::Failed, error.to_string())
            }
        };
        RunFinished { seconds: began.elapsed().as_secs_f64(), ..finished }
    }

    /// What becomes of a run whose last step is taken.
    async fn conclude(&self, result: FitResult, candidate: Candidate<'_>) -> RunFinished {
        let best_epoch = result.best.as_ref().map(|best| best.epoch);
        let validation = result.best.as_ref().and_then(|best| best.validation);
        let finished = match result.outcome {
            FitOutcome::Completed => self.publish(result, candidate, FinishReason::Completed).await,
            FitOutcome::EarlyStopped => self.publish(result, candidate, FinishReason::EarlyStopped).await,
            FitOutcome::Cancelled => stopped(self.stop.requested()),
            FitOutcome::NonFinite { epoch, batch } => failed(
                FinishReason::NonFinite,
                format!(
                    "the loss or a weight was no finite number by epoch {epoch}, batch {batch}: lower the \
                     learning rate, or choose another optimizer; the last checkpoint, if there is one, is from \
                     before"
                ),
            ),
        };
        let validation_accuracy = validation.map(|validation| validation.accuracy);
        RunFinished { best_epoch, validation_accuracy, ..finished }
    }

    async fn publish(
        &self,
        result: FitResult,
        candidate: Candidate<'_>,
        reason: FinishReason,
    ) -> RunFinished {
        self.enter(Phase::Publishing);
        let Some(best) = result.best else {
            return failed(FinishReason::Failed, "the run finished no epoch".to_owned());
        };
        let publishing = publish::publish(&self.context.registry, candidate, best);
        // A panic ends this run alone.
        let published = match AssertUnwindSafe(publishing).catch_unwind().await {
            Ok(published) => published.map_err(Error::from),
            Err(panic) => Err(Error::panicked("publishing a version", &*panic)),
        };
        match published {
            Ok(version) => RunFinished {
                state: RunState::Completed,
                version: Some(version.get()),
                ..failed(reason, String::new())
            },
            Err(error) => {
                let message =
                    format!("the version could not be published ({error}); the last checkpoint is kept");
                failed(FinishReason::Failed, message)
            }
        }
    }

    async fn end(&self, finished: RunFinished, events: &EventSender) {
        self.enter(Phase::Ended);
        // If the log failed, it has freed the slot, and recovery ends the run.
        let _ = events.send(Event::Finished(finished)).await;
    }

    fn enter(&self, phase: Phase) {
        tracing::debug!(run = %self.run, ?phase, "a run enters a phase");
        self.context.slots.set_phase(self.run, phase);
    }
}

impl RunFinisher {
    fn hold(&self, permit: SlotPermit) {
        // It is written in one assignment: a panic of another holder leaves it whole.
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    fn release(&self) {
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(permit);
        self.slots.leave(self.run);
    }
}

impl Drop for RunFinisher {
    /// If a supervisor panicked before its run had a log.
    fn drop(&mut self) {
        self.release();
    }
}

fn stopped(reason: Option<StopReason>) -> RunFinished {
    let (state, reason, message) = match reason {
        Some(StopReason::Cancelled) | None => (RunState::Cancelled, FinishReason::Cancelled, ""),
        Some(StopReason::Interrupted) => {
            let message = "the server went down; the last checkpoint is kept";
            (RunState::Interrupted, FinishReason::Interrupted, message)
        }
        Some(StopReason::LogFailed) => (RunState::Failed, FinishReason::Failed, ""),
    };
    RunFinished { state, ..failed(reason, message.to_owned()) }
}

/// The end of a run that waited for its turn.
fn stopped_before_start(reason: Option<StopReason>) -> RunFinished {
    let finished = stopped(reason);
    let message = match finished.state {
        RunState::Interrupted => "the server went down before the run began",
        _ => "",
    };
    RunFinished { message: message.to_owned(), ..finished }
}

fn failed(reason: FinishReason, message: String) -> RunFinished {
    RunFinished {
        state: RunState::Failed,
        reason,
        version: None,
        best_epoch: None,
        validation_accuracy: None,
        message,
        seconds: 0.0,
    }
}
