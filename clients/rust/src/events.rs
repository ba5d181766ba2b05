//! The events of a run as one unbroken sequence: where the stream breaks, it is reopened behind the last
//! event that arrived.

use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tonic::{Code, Streaming};

use crate::v1::{Run, RunState, TrainEvent, TrainRequest, WatchRunRequest, train_event::Event};
use crate::{Client, Error, error::is_transient};

/// Failed attempts in a row after which a stream counts as lost.
const MAX_FAILURES: u32 = 8;

/// Wait before the first attempt; it doubles from one attempt to the next.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The events of a run, in order and without gaps, to its end.
///
/// A broken connection is reopened on the way; a server that is away for about 20 seconds loses no event.
#[derive(Debug)]
pub struct RunEvents {
    client: Client,
    run_id: String,
    last_sequence: i32,
    stream: Option<Streaming<TrainEvent>>,
    phase: Phase,
    /// Whether the server ended the stream without an error.
    ended_cleanly: bool,
    /// When the next attempt to reopen the stream is made. It outlives a call that is dropped while it waits.
    retry_at: Option<Instant>,
    /// The attempt that is under way. It outlives a call that is dropped while it waits, too.
    attempt: Option<Attempt>,
    /// Failed attempts since the last event.
    failures: u32,
    /// Why the stream broke, or why the last attempt to reopen it failed.
    cause: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The last event was `finished`: either the stream ends, or it continues because the run was resumed.
    /// Or the last event was `validated`, which is the only one of its stream.
    Finished,
    Ended,
}

/// The stream of a run; `None` if the run has ended and every event of it has arrived.
type ReopenedStream = Option<Streaming<TrainEvent>>;

/// Reopens a stream.
type ReopenFuture = dyn Future<Output = Result<ReopenedStream, Error>> + Send;

/// An attempt to reopen a stream.
struct Attempt(Mutex<Pin<Box<ReopenFuture>>>);

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

impl Client {
    /// Starts a run and follows it to its end. With `validate_only` nothing starts, and the only event is
    /// `validated`, with what the request would run.
    ///
    /// The run belongs to the server: it continues when the events are dropped.
    /// [`cancel_run`](Self::cancel_run) stops it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the request is invalid, when its data set is not available, or when another
    /// run trains and the request does not ask to be queued.
    pub async fn train(&self, request: TrainRequest) -> Result<RunEvents, Error> {
        let stream = self.training().train(request).await?.into_inner();
        Ok(RunEvents::new(self.clone(), String::new(), 0, Some(stream)))
    }

    /// Replays a run's events after event number `after` (0 for all of them), then follows the run to its
    /// end. Runs that have ended can be replayed too.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when there is no such run.
    pub async fn watch(&self, run_id: &str, after: i32) -> Result<RunEvents, Error> {
        let mut events = RunEvents::new(self.clone(), run_id.to_owned(), after, None);
        events.stream = Some(events.client.events_after(run_id, after).await?);
        Ok(events)
    }

    async fn events_after(&self, run_id: &str, after: i32) -> Result<Streaming<TrainEvent>, Error> {
        let request = WatchRunRequest { run_id: run_id.to_owned(), after_sequence: after };
        Ok(self.training().watch_run(request).await?.into_inner())
    }

    /// Reopens the stream of a run behind the event `after`, unless the stream ended cleanly because the run has ended
    /// and no event follows.
    async fn reopen(self, run_id: String, after: i32, ended_cleanly: bool) -> Result<ReopenedStream, Error> {
        if ended_cleanly {
            match self.run(&run_id).await {
                Ok(run) if has_nothing_after(&run, after) => return Ok(None),
                Err(error) if error.is_transient() => return Err(error),
                // If the run is not to be had, the stream tells why.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Some(self.events_after(&run_id, after).await?))
    }
}

/// Whether a run has ended and has no event behind number `after`.
fn has_nothing_after(run: &Run, after: i32) -> bool {
    let ended = match run.state() {
        RunState::Completed | RunState::Cancelled | RunState::Failed | RunState::Interrupted => true,
        RunState::Unspecified | RunState::Queued | RunState::Running => false,
    };
    ended && run.last_sequence.unwrap_or(0) <= after
}

impl RunEvents {
    fn new(client: Client, run_id: String, after: i32, stream: Option<Streaming<TrainEvent>>) -> Self {
        Self {
            client,
            run_id,
            last_sequence: after,
            stream,
            phase: Phase::Running,
            ended_cleanly: false,
            retry_at: None,
            attempt: None,
            failures: 0,
            cause: String::new(),
        }
    }

    /// The run's id. It is empty before the first event of a run that was started here, and where a
    /// request is only validated.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The next event; `None` after the last `finished`, or after `validated`.
    ///
    /// The call is cancel-safe: dropping its future loses no event.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] when the stream broke and eight attempts to reopen it failed, or the server no
    /// longer has the run; [`Error::Refused`] when the server ends the stream for another reason.
    pub async fn next(&mut self) -> Result<Option<TrainEvent>, Error> {
        while self.phase != Phase::Ended {
            let Some(stream) = &mut self.stream else {
                self.reopen().await?;
                continue;
            };
            match stream.message().await {
                Ok(Some(event)) => {
                    if let Some(event) = self.accept(event) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) if self.phase == Phase::Finished => self.phase = Phase::Ended,
                // All events have arrived, so a connection that breaks behind them loses nothing.
                Err(_) if self.phase == Phase::Finished => self.phase = Phase::Ended,
                Ok(None) if self.run_id.is_empty() => return Err(Error::Incomplete("event")),
                Ok(None) => {
                    self.close("the server ended the stream".to_owned());
                    self.ended_cleanly = true;
                }
                Err(status) if self.run_id.is_empty() || !is_interruption(status.code()) => {
                    return Err(status.into());
                }
                Err(status) => self.close(Error::from(status).to_string()),
            }
        }
        Ok(None)
    }

    /// Records an event as received; `None` for one that was received before.
    fn accept(&mut self, event: TrainEvent) -> Option<TrainEvent> {
        if let Some(Event::Validated(_)) = event.event {
            // This event has no number and no run.
            self.phase = Phase::Finished;
            return Some(event);
        }
        if event.sequence <= self.last_sequence {
            return None;
        }
        self.failures = 0;
        self.last_sequence = event.sequence;
        self.run_id.clone_from(&event.run_id);
        self.phase = match event.event {
            Some(Event::Finished(_)) => Phase::Finished,
            _ => Phase::Running,
        };
        Some(event)
    }

    fn close(&mut self, cause: String) {
        self.stream = None;
        self.ended_cleanly = false;
        self.cause = cause;
    }

    /// Waits, longer from failure to failure, and makes one attempt to reopen the stream. A call that is dropped
    /// meanwhile leaves the wait and the attempt to the next one.
    async fn reopen(&mut self) -> Result<(), Error> {
        if self.attempt.is_none() {
            if self.failures == MAX_FAILURES {
                return Err(self.lost(self.cause.clone()));
            }
            let wait = match self.ended_cleanly && self.failures == 0 {
                // Most likely there is nothing more to come.
                true => Duration::ZERO,
                false => (FIRST_WAIT * 2_u32.pow(self.failures)).min(MAX_WAIT),
            };
            sleep_until(*self.retry_at.get_or_insert_with(|| Instant::now() + wait)).await;
        }
        let (client, run_id) = (&self.client, &self.run_id);
        let (after, ended_cleanly) = (self.last_sequence, self.ended_cleanly);
        let Attempt(attempt) = self.attempt.get_or_insert_with(|| {
            Attempt(Mutex::new(Box::pin(client.clone().reopen(run_id.clone(), after, ended_cleanly))))
        });
        let outcome = attempt.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().await;
        (self.attempt, self.retry_at) = (None, None);
        self.failures += 1;
        match outcome {
            Ok(Some(stream)) => self.stream = Some(stream),
            Ok(None) => self.phase = Phase::Ended,
            Err(error) if error.is_transient() => self.cause = error.to_string(),
            Err(error) => return Err(self.lost(error.to_string())),
        }
        Ok(())
    }

    fn lost(&self, cause: String) -> Error {
        Error::Lost { run_id: self.run_id.clone(), after: self.last_sequence, cause }
    }
}

/// Whether a stream that ended with `code` was interrupted: the connection broke, or the server dropped
/// the watcher.
fn is_interruption(code: Code) -> bool {
    is_transient(code) || matches!(code, Code::Internal | Code::Cancelled)
}
