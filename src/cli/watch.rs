//! Watching a run to its end on the screen; Ctrl-C cancels it at the server.

use std::pin::pin;

use super::{
    connection::Connection,
    error::Error,
    exit::ExitStatus,
    progress::{ProgressFormat, ProgressView},
    signals::Signals,
};
use crate::pb::digitd::v1::{RunFinished, RunState, TrainRequest, train_event::Event};
use digitd_client::RunEvents;

/// What the first Ctrl-C does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Cancels the run, because this command started it.
    CancelRun,
    /// Stops watching, because someone else started the run.
    StopWatching,
}

/// The end of watching a run.
pub struct WatchResult {
    pub status: ExitStatus,
    /// The end of the run; none where watching ended first.
    pub finished: Option<RunFinished>,
}

/// Shows the events of a run to its end.
pub async fn follow(
    connection: &Connection,
    events: &mut RunEvents,
    format: ProgressFormat,
    on_interrupt: OnInterrupt,
) -> Result<WatchResult, Error> {
    RunWatcher::new(format, on_interrupt)?.follow(connection, events).await
}

/// Starts a run and shows it to its end. Ctrl-C works from the beginning: a run that is still being
/// prepared is cancelled as soon as it has an id.
pub async fn start(
    connection: &Connection,
    request: TrainRequest,
    format: ProgressFormat,
) -> Result<WatchResult, Error> {
    let mut watcher = RunWatcher::new(format, OnInterrupt::CancelRun)?;
    let mut starting = pin!(connection.client.train(request));
    let mut events = loop {
        tokio::select! {
            started = &mut starting => break started?,
            () = watcher.signals.next() => if let Some(watched) = watcher.interrupted(connection, "").await? {
                return Ok(watched);
            }
        }
    };
    watcher.follow(connection, &mut events).await
}

/// Shows a run, and cancels it on request.
struct RunWatcher {
    progress: ProgressView,
    signals: Signals,
    on_interrupt: OnInterrupt,
    cancel: CancelState,
    is_queued: bool,
}

impl RunWatcher {
    fn new(format: ProgressFormat, on_interrupt: OnInterrupt) -> Result<Self, Error> {
        let (progress, signals) = (ProgressView::new(format), Signals::new()?);
        Ok(Self { progress, signals, on_interrupt, cancel: CancelState::None, is_queued: false })
    }

    async fn follow(
        &mut self,
        connection: &Connection,
        events: &mut RunEvents,
    ) -> Result<WatchResult, Error> {
        let mut checkpoint = None;
        let mut last = None;
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    Some(event) => {
                        self.progress.show(&event);
                        // The response to validate_only has no id: there is nothing to cancel.
                        if self.cancel == CancelState::OnceStarted && !events.run_id().is_empty() {
                            self.cancel = CancelState::Sent;
                            connection.client.cancel_run(events.run_id()).await?;
                        }
                        self.is_queued = matches!(event.event, Some(Event::Queued(_)));
                        match event.event {
                            Some(Event::Checkpoint(written)) => checkpoint = Some(written.key),
                            Some(Event::Finished(finished)) => last = Some(finished),
                            Some(Event::Started(_) | Event::Queued(_)) => last = None,
                            _ => {}
                        }
                    }
                    None => return Ok(match last {
                        Some(finished) => watch_result(&self.progress, events.run_id(), finished, checkpoint),
                        None => WatchResult { status: ExitStatus::Success, finished: None },
                    }),
                },
                () = self.signals.next() => {
                    if let Some(watched) = self.interrupted(connection, events.run_id()).await? {
                        return Ok(watched);
                    }
                }
            }
        }
    }

    /// Handles Ctrl-C: cancels the run, or stops watching.
    async fn interrupted(
        &mut self,
        connection: &Connection,
        run_id: &str,
    ) -> Result<Option<WatchResult>, Error> {
        if self.cancel != CancelState::None || self.on_interrupt == OnInterrupt::StopWatching {
            self.progress.note(&self.farewell(connection, run_id));
            return Ok(Some(WatchResult { status: ExitStatus::Cancelled, finished: None }));
        }
        self.progress.note(match self.is_queued {
            true => "leaving the queue; Ctrl-C again exits at once",
            false => "stopping after this batch; Ctrl-C again exits at once",
        });
        self.cancel = match run_id {
            "" => CancelState::OnceStarted,
            _ => CancelState::Sent,
        };
        if self.cancel == CancelState::Sent {
            connection.client.cancel_run(run_id).await?;
        }
        Ok(None)
    }

    /// What becomes of the run that is not watched any more.
    fn farewell(&self, connection: &Connection, run_id: &str) -> String {
        match self.cancel {
            _ if connection.is_embedded() => {
                format!("run {run_id} is interrupted with its server and keeps its last checkpoint")
            }
            _ if run_id.is_empty() => "the run may still start: `digitd runs list`".to_owned(),
            CancelState::Sent => {
                format!(
                    "run {run_id} is cancelled and stops after its current batch: `digitd runs show {run_id}`"
                )
            }
            CancelState::None | CancelState::OnceStarted => {
                format!("run {run_id} continues: `digitd runs watch {run_id}`")
            }
        }
    }
}

/// Whether the run is to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CancelState {
    None,
    /// The run has no id yet: it is cancelled as soon as it has one.
    OnceStarted,
    Sent,
}

fn watch_result(
    progress: &ProgressView,
    run_id: &str,
    finished: RunFinished,
    checkpoint: Option<String>,
) -> WatchResult {
    let status = match RunState::try_from(finished.state).unwrap_or_default() {
        RunState::Completed => ExitStatus::Success,
        RunState::Cancelled => ExitStatus::Cancelled,
        RunState::Failed
        | RunState::Interrupted
        | RunState::Unspecified
        | RunState::Queued
        | RunState::Running => ExitStatus::Failure,
    };
    if let (ExitStatus::Cancelled | ExitStatus::Failure, Some(key)) = (status, checkpoint) {
        progress.note(&format!("its last checkpoint is {key}, under runs/{run_id} in the store"));
    }
    WatchResult { status, finished: Some(finished) }
}
