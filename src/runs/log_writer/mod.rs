//! The task that stores the events of a run. The training thread sends them; the task stores what has gathered in
//! one write, and only then shows it to watchers.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout_at},
};

use super::{
    event_chunk::{self, MAX_BYTES, SEAL_BYTES},
    event_sender::{EventSender, TimedEvent},
    lease::{EXPIRES_AFTER, Lease, REFRESH},
    log::RunLog,
    record::Record,
    retry::{FIRST_RETRY, RETRIES},
    run_state::StoredState,
    stop::{StopReason, StopSignal},
    summary::SummaryBuilder,
};
use crate::{
    compute::{Error, Metrics},
    registry::{self, Append, ReplaceOutcome, RunStore, Stamp},
    train::Event,
};

/// Events that may wait to be stored. Beyond it the training thread waits for the store.
const CAPACITY: usize = 1024;

/// The shortest time between two writes of batch reports; more frequent updates would not be noticed by a person.
const GATHER: Duration = Duration::from_millis(75);

/// What a new log needs.
pub struct LogInit {
    pub store: RunStore,
    /// Held to the last event: until then the run has a living server, whatever became of the engine that
    /// started it.
    pub lease: Arc<Lease>,
    pub metrics: Arc<Metrics>,
    /// The summary of the run; of a resumed run with all events that its log has already.
    pub summary: SummaryBuilder,
    /// Requested to stop the run if its log fails.
    pub stop: Arc<StopSignal>,
    /// Called when the run's end is stored, just before it is shown; dropped when the log fails.
    pub on_end: Box<dyn FnOnce() + Send + Sync>,
}

/// Stores the request, the first event (of a resumed run, the next one) and the state, in this order, and starts
/// the task that stores the rest.
pub async fn open(init: LogInit, first_event: Event) -> Result<(Arc<RunLog>, EventSender), Error> {
    let (queue, sent) = mpsc::channel(CAPACITY);
    let summary = init.summary.summary().clone();
    let (run, newest) = (summary.run_id, summary.last_sequence);
    // The chunks that a resumed run has already.
    let sealed = if newest == 0 { Vec::new() } else { init.store.chunks(run).await? };
    let log = Arc::new(RunLog::new(run, init.store, sealed, summary));
    let mut writer = LogWriter {
        log: log.clone(),
        lease: init.lease,
        metrics: init.metrics,
        builder: init.summary,
        stop: init.stop,
        on_end: Some(init.on_end),
        first: newest + 1,
        lines: Vec::new(),
        has_chunk: false,
        refreshed: (Instant::now(), Utc::now()),
    };
    let records = writer.number(&mut std::iter::once((Utc::now(), first_event)));
    writer.create().await?;
    writer.show(records);
    tokio::spawn(writer.run(sent));
    let events = EventSender::new(queue, newest + 1, log.tail());
    Ok((log, events))
}

/// Stores events and shows them to watchers.
struct LogWriter {
    log: Arc<RunLog>,
    lease: Arc<Lease>,
    metrics: Arc<Metrics>,
    builder: SummaryBuilder,
    stop: Arc<StopSignal>,
    on_end: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// The open chunk: its first event, and its lines.
    first: u32,
    lines: Vec<u8>,
    /// Whether the store has the open chunk.
    has_chunk: bool,
    /// When the state that the store has was written, by the clock that tests control and by the one that a suspended
    /// machine does not stop.
    refreshed: (Instant, DateTime<Utc>),
}

/// Why events are not stored.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// This server was silent for so long that another one took it for dead.
    #[error("another server ended the run")]
    Lost,
    #[error(transparent)]
    Store(#[from] registry::Error),
}

impl LogWriter {
    async fn run(mut self, mut sent: mpsc::Receiver<TimedEvent>) {
        let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now();
        loop {
            let first = tokio::select! {
                sent = sent.recv() => sent,
                _ = refresh.tick() => match self.refresh().await {
                    Err(lost @ WriteError::Lost) => return self.fail(&lost.to_string()),
                    Err(WriteError::Store(error)) => {
                        tracing::warn!(run = %self.log.run, %error, "cannot refresh the state of a run");
                        continue;
                    }
                    Ok(()) => continue,
                },
            };
            let Some(first) = first else { return self.fail("the run ended without a last event") };
            let mut gathered = gather(first, &mut sent, written + GATHER).await.into_iter();
            while gathered.len() > 0 {
                self.seal();
                let records = self.number(&mut gathered);
                if let Err(error) = self.store_with_retries(&records).await {
                    tracing::error!(run = %self.log.run, %error, "the events of a run cannot be stored");
                    return match error {
                        WriteError::Lost => self.fail(&error.to_string()),
                        WriteError::Store(_) => self.fail("the store does not accept the run's events"),
                    };
                }
                self.show(records);
            }
            written = Instant::now();
            if self.builder.summary().state.has_ended() {
                return;
            }
        }
    }

    /// Stores the request, the first event and the state. If several servers resume a run at the same time, one
    /// of them succeeds.
    async fn create(&mut self) -> Result<(), Error> {
        let run = self.log.run;
        self.log.store.put_request(run, &self.builder.summary().config).await?;
        if self.log.store.append_events(run, self.first, self.lines.clone()).await? == Append::Taken {
            return Err(Error::not_resumable(run, "RUN_NOT_ENDED", "another server goes on with it"));
        }
        self.has_chunk = true;
        Ok(self.put_state().await?)
    }

    /// Numbers events and adds them to the open chunk and to the summary, as many as fit into it.
    fn number(&mut self, events: &mut impl Iterator<Item = TimedEvent>) -> Vec<Arc<Record>> {
        let mut records = Vec::new();
        while self.lines.len() < MAX_BYTES
            && let Some((time, event)) = events.next()
        {
            let sequence = self.builder.summary().last_sequence + 1;
            let record = Record { sequence, time, event };
            event_chunk::encode(&record, &mut self.lines);
            self.builder.add(&record);
            records.push(Arc::new(record));
        }
        records
    }

    /// Writes the open chunk, and the state where it changed in a way that matters after a crash.
    async fn store(&mut self, records: &[Arc<Record>]) -> Result<(), WriteError> {
        self.check_own().await?;
        let (run, lines) = (self.log.run, self.lines.clone());
        if self.has_chunk {
            self.log.store.put_events(run, self.first, lines).await?;
        } else if self.log.store.append_events(run, self.first, lines).await? == Append::Taken {
            return Err(WriteError::Lost);
        }
        self.has_chunk = true;
        if records.iter().any(|record| is_urgent(&record.event)) {
            self.put_state().await?;
        }
        Ok(())
    }

    /// Makes sure that the run is still this server's where it was silent for so long that another server may have
    /// taken it for dead, or soon will.
    async fn check_own(&mut self) -> Result<(), WriteError> {
        let by_clock = (Utc::now() - self.refreshed.1).to_std().unwrap_or_default();
        if self.refreshed.0.elapsed().max(by_clock) <= EXPIRES_AFTER / 2 {
            return Ok(());
        }
        let (run, now) = (self.log.run, (Instant::now(), Utc::now()));
        let (state, stamp): (StoredState, Stamp) = self.log.store.stamped_state(run).await?;
        let newest_chunk = self.log.store.chunks(run).await?.pop();
        let (known, stored) = (self.builder.summary(), &state.summary);
        // The end may be this server's own, if the response of the store was lost.
        let ended = stored.state.has_ended()
            && (stored.state, stored.last_sequence) != (known.state, known.last_sequence);
        if ended || state.server != *self.lease.server() || newest_chunk > Some(self.first) {
            return Err(WriteError::Lost);
        }
        let state = StoredState { refreshed: now.1, ..state };
        if self.log.store.replace_state(run, &state, &stamp).await? == ReplaceOutcome::Changed {
            return Err(WriteError::Lost);
        }
        self.refreshed = now;
        Ok(())
    }

    async fn put_state(&mut self) -> Result<(), registry::Error> {
        let now = (Instant::now(), Utc::now());
        let state = StoredState {
            server: self.lease.server().clone(),
            refreshed: now.1,
            summary: self.builder.summary().clone(),
        };
        self.log.store.put_state(self.log.run, &state).await?;
        self.refreshed = now;
        Ok(())
    }

    async fn store_with_retries(&mut self, records: &[Arc<Record>]) -> Result<(), WriteError> {
        let mut pause = FIRST_RETRY;
        for _ in 0..RETRIES {
            match self.store(records).await {
                result @ (Ok(()) | Err(WriteError::Lost)) => return result,
                Err(WriteError::Store(error)) => {
                    tracing::warn!(run = %self.log.run, %error, "retrying to store events of a run");
                }
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.store(records).await
    }

    /// Shows watchers what was stored. The end of a run first frees its slot, so that a watcher that sees it can
    /// start the next run at once.
    fn show(&mut self, records: Vec<Arc<Record>>) {
        for record in &records {
            self.metrics.training.add(&record.event);
        }
        if self.builder.summary().state.has_ended()
            && let Some(on_end) = self.on_end.take()
        {
            on_end();
        }
        self.log.append(records, self.builder.summary());
    }

    /// Begins a new chunk if the open one is large enough.
    fn seal(&mut self) {
        if self.lines.len() >= SEAL_BYTES {
            self.lines.clear();
            self.has_chunk = false;
            self.log.seal(self.first);
            self.first = self.builder.summary().last_sequence + 1;
        }
    }

    /// Records that the server lives.
    async fn refresh(&mut self) -> Result<(), WriteError> {
        self.check_own().await?;
        Ok(self.put_state().await?)
    }

    /// Stops the run. Its supervisor frees the slot when the run has stopped: it trains, and may publish, until then.
    /// This engine's recovery ends the run in the store later: it recognises a lost run by the slot that the run no
    /// longer has.
    fn fail(self, message: &str) {
        self.stop.request(StopReason::LogFailed);
        self.log.fail(message);
    }
}

/// The first event and those that arrive until `due`; an urgent one ends the waiting.
async fn gather(first: TimedEvent, sent: &mut mpsc::Receiver<TimedEvent>, due: Instant) -> Vec<TimedEvent> {
    let mut gathered = vec![first];
    while gathered.len() < CAPACITY && !gathered.last().is_some_and(|(_, event)| is_urgent(event)) {
        match timeout_at(due, sent.recv()).await {
            Ok(Some(next)) => gathered.push(next),
            Ok(None) | Err(_) => break,
        }
    }
    gathered
}

/// Whether a watcher waits for the event, or recovery needs it after a crash.
fn is_urgent(event: &Event) -> bool {
    match event {
        Event::Batch(_) | Event::Inspection(_) | Event::Warning(_) => false,
        Event::Queued(_)
        | Event::Started(_)
        | Event::Epoch(_)
        | Event::Checkpoint(_)
        | Event::Finished(_) => true,
    }
}

#[cfg(test)]
mod tests;
