//! The task that stores the events of a run. The training thread sends them; the task stores what has gathered in
//! one write, and only then shows it to watchers.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout_at},
};

use super::{
    event_chunk::{self, MAX_BYTES, SEAL_BYTES},
    event_sender::{EventSender, TimedEvent},
    lease::{Lease, REFRESH},
    log::RunLog,
    record::Record,
    run_state::StoredState,
    stop::{StopReason, StopSignal},
    summary::SummaryBuilder,
};
use crate::{
    compute::{Error, Metrics},
    registry::{self, Append, RunStore},
    train::Event,
};

/// Events that may wait to be stored. Beyond it the training thread waits for the store.
const CAPACITY: usize = 1024;

/// The shortest time between two writes of batch reports; more frequent updates would not be noticed by a person.
const GATHER: Duration = Duration::from_millis(75);

/// How often a failed write of a run is retried, waiting twice as long each time: 6 seconds in all.
pub const RETRIES: u32 = 6;
pub const FIRST_RETRY: Duration = Duration::from_millis(100);

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
    /// Called when the run's end is stored, just before it is shown, or when the log fails.
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
}

impl LogWriter {
    async fn run(mut self, mut sent: mpsc::Receiver<TimedEvent>) {
        let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now();
        loop {
            let first = tokio::select! {
                sent = sent.recv() => sent,
                _ = refresh.tick() => {
                    self.refresh().await;
                    continue;
                }
            };
            let Some(first) = first else { return self.fail("the run ended without a last event") };
            let mut gathered = gather(first, &mut sent, written + GATHER).await.into_iter();
            while gathered.len() > 0 {
                self.seal();
                let records = self.number(&mut gathered);
                if let Err(error) = self.store_with_retries(&records).await {
                    tracing::error!(run = %self.log.run, %error, "the events of a run cannot be stored");
                    return self.fail("the store does not accept the run's events");
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
    async fn create(&self) -> Result<(), Error> {
        let run = self.log.run;
        self.log.store.put_request(run, &self.builder.summary().config).await?;
        if self.log.store.append_events(run, self.first, self.lines.clone()).await? == Append::Taken {
            return Err(Error::not_resumable(run, "RUN_NOT_ENDED", "another server goes on with it"));
        }
        Ok(self.log.store.put_state(run, &self.state()).await?)
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
    async fn store(&self, records: &[Arc<Record>]) -> Result<(), registry::Error> {
        self.log.store.put_events(self.log.run, self.first, self.lines.clone()).await?;
        if records.iter().any(|record| is_urgent(&record.event)) {
            self.log.store.put_state(self.log.run, &self.state()).await?;
        }
        Ok(())
    }

    async fn store_with_retries(&self, records: &[Arc<Record>]) -> Result<(), registry::Error> {
        let mut pause = FIRST_RETRY;
        for _ in 0..RETRIES {
            match self.store(records).await {
                Ok(()) => return Ok(()),
                Err(error) => {
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
        if self.builder.summary().state.has_ended() {
            self.release();
        }
        self.log.append(records, self.builder.summary());
    }

    /// Begins a new chunk if the open one is large enough.
    fn seal(&mut self) {
        if self.lines.len() >= SEAL_BYTES {
            self.lines.clear();
            self.log.seal(self.first);
            self.first = self.builder.summary().last_sequence + 1;
        }
    }

    /// Records that the server lives.
    async fn refresh(&self) {
        if let Err(error) = self.log.store.put_state(self.log.run, &self.state()).await {
            tracing::warn!(run = %self.log.run, %error, "cannot refresh the state of a run");
        }
    }

    fn state(&self) -> StoredState {
        StoredState {
            server: self.lease.server().clone(),
            refreshed: Utc::now(),
            summary: self.builder.summary().clone(),
        }
    }

    /// Stops the run. This engine's recovery ends the run in the store later: it recognises a lost run by the
    /// slot that the run no longer has.
    fn fail(mut self, message: &str) {
        self.stop.request(StopReason::LogFailed);
        self.release();
        self.log.fail(message);
    }

    /// Frees the slot of the run.
    fn release(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            on_end();
        }
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
