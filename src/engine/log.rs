//! The event log of a run that trains. The training thread pushes; a task persists what has
//! gathered in one write, and only then shows it to watchers, so that nobody ever saw an event
//! that a crash could take back. Watchers pull (`watch`): a slow one costs nothing.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout_at},
};

use super::{
    Error, Metrics, Record, RunSummary,
    chunk::{self, MOST_BYTES, SEAL_BYTES},
    jobs::{Stop, Wish},
    owner::{Owner, Presence, REFRESH},
    summary::Fold,
};
use crate::{
    ids::RunId,
    registry,
    registry::{Append, RunStore},
    train::Event,
};

/// Events that may wait to be persisted. Beyond it the training thread waits for the store.
const CAPACITY: usize = 1024;

/// Batch reports are persisted at most so often; a person does not read faster.
const GATHER: Duration = Duration::from_millis(75);

/// How often a failed write of a run is tried again, waiting twice as long each time: 6 seconds in all.
pub(super) const RETRIES: u32 = 6;
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);

/// `state.json`: what is told of a run without reading its events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub owner: Owner,
    pub refreshed: DateTime<Utc>,
    pub summary: RunSummary,
}

/// The visible end of the log.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The newest event that is persisted.
    pub newest: u32,
    pub life: Life,
}

/// Whether more will come.
#[derive(Debug, Clone)]
pub(super) enum Life {
    Open,
    Ended,
    /// The store failed for good, and the run with it.
    Failed(Arc<str>),
}

/// What watchers read: the newest events from memory, older ones by the chunk from the store.
#[derive(Debug)]
pub(super) struct RunLog {
    pub run: RunId,
    pub store: RunStore,
    head: watch::Sender<Head>,
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    /// The first sequences of the sealed chunks, ascending.
    sealed: Vec<u32>,
    /// The events of the open chunk.
    tail: Vec<Arc<Record>>,
    summary: RunSummary,
}

/// Where the next event for a watcher is.
#[derive(Debug)]
pub(super) enum Next {
    Here(Vec<Arc<Record>>),
    /// In the sealed chunk that begins with `first` and ends before `end`.
    Chunk {
        first: u32,
        end: u32,
    },
}

/// The training thread's end of the log.
#[derive(Debug)]
pub(super) struct EventSender {
    queue: mpsc::Sender<Pushed>,
    /// The number of the newest event that was handed over.
    pushed: AtomicU32,
    head: watch::Receiver<Head>,
}

/// The log takes no more events: its store failed.
#[derive(Debug)]
pub(super) struct Closed;

type Pushed = (DateTime<Utc>, Event);

/// What a new log is about, and what is done when the run's end is persisted, just before it is
/// shown.
pub(super) struct Opening {
    pub run: RunId,
    /// Held to the last event: until then the run has a living server, whatever became of the
    /// engine that it was started by.
    pub presence: Arc<Presence>,
    pub metrics: Arc<Metrics>,
    /// Of a run that is resumed: with all events that its log has already.
    pub fold: Fold,
    /// Asked to give the run up where its log fails.
    pub stop: Arc<Stop>,
    pub at_end: Box<dyn FnOnce() + Send + Sync>,
}

impl RunLog {
    /// Persists the request, the first event (of a run that is resumed, the next one) and the state,
    /// in this order, and starts the task that persists the rest.
    pub async fn start(
        store: RunStore,
        opening: Opening,
        started: Event,
    ) -> Result<(Arc<Self>, EventSender), Error> {
        let (queue, pushed) = mpsc::channel(CAPACITY);
        let summary = opening.fold.summary().clone();
        let newest = summary.last_sequence;
        // Of a run that is resumed: the chunks of its first part.
        let sealed = if newest == 0 { Vec::new() } else { store.chunks(opening.run).await? };
        let log = Arc::new(Self {
            run: opening.run,
            store,
            head: watch::Sender::new(Head { newest, life: Life::Open }),
            shelf: Mutex::new(Shelf { sealed, tail: Vec::new(), summary }),
        });
        let mut writer = Writer {
            log: log.clone(),
            presence: opening.presence,
            metrics: opening.metrics,
            fold: opening.fold,
            stop: opening.stop,
            at_end: Some(opening.at_end),
            first: newest + 1,
            lines: Vec::new(),
        };
        let records = writer.number(&mut std::iter::once((Utc::now(), started)));
        writer.open().await?;
        writer.show(records);
        tokio::spawn(writer.run(pushed));
        let pushed = AtomicU32::new(newest + 1);
        let head = log.head();
        Ok((log, EventSender { queue, pushed, head }))
    }

    pub fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    pub fn summary(&self) -> RunSummary {
        self.shelf().summary.clone()
    }

    /// The events after the one numbered `cursor`. Call it only where the head is beyond.
    pub fn after(&self, cursor: u32) -> Next {
        let shelf = self.shelf();
        let open = shelf.tail.first().map_or(u32::MAX, |record| record.sequence);
        if cursor + 1 >= open {
            let behind = shelf.tail.partition_point(|record| record.sequence <= cursor);
            return Next::Here(shelf.tail[behind..].to_vec());
        }
        let next = shelf.sealed.partition_point(|first| *first <= cursor + 1);
        let first = shelf.sealed[next.saturating_sub(1)];
        Next::Chunk { first, end: shelf.sealed.get(next).copied().unwrap_or(open) }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSender {
    /// Hands an event over; waits where too many wait already. Not for async threads.
    pub fn push(&self, event: Event) -> Result<(), Closed> {
        self.queue.blocking_send((Utc::now(), event)).map_err(|_| Closed)?;
        self.pushed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The same from an async thread.
    pub async fn send(&self, event: Event) -> Result<(), Closed> {
        self.queue.send((Utc::now(), event)).await.map_err(|_| Closed)?;
        self.pushed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until all events that were handed over are persisted.
    pub async fn persisted(&self) -> Result<(), Closed> {
        let pushed = self.pushed.load(Ordering::Relaxed);
        let mut head = self.head.clone();
        let head = head.wait_for(|head| head.newest >= pushed || matches!(head.life, Life::Failed(_))).await;
        match head.map(|head| head.newest >= pushed) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Closed),
        }
    }
}

/// The task that persists and shows.
struct Writer {
    log: Arc<RunLog>,
    presence: Arc<Presence>,
    metrics: Arc<Metrics>,
    fold: Fold,
    stop: Arc<Stop>,
    at_end: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// The open chunk: its first event, and its lines.
    first: u32,
    lines: Vec<u8>,
}

impl Writer {
    async fn run(mut self, mut pushed: mpsc::Receiver<Pushed>) {
        let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now();
        loop {
            let first = tokio::select! {
                pushed = pushed.recv() => pushed,
                _ = refresh.tick() => {
                    self.refresh().await;
                    continue;
                }
            };
            let Some(first) = first else { return self.fail("the run ended without a last event") };
            let mut gathered = gather(first, &mut pushed, written + GATHER).await.into_iter();
            while gathered.len() > 0 {
                self.seal();
                let records = self.number(&mut gathered);
                if let Err(error) = self.persist_stubbornly(&records).await {
                    tracing::error!(run = %self.log.run, %error, "the events of a run cannot be kept");
                    return self.fail("the store does not take the run's events");
                }
                self.show(records);
            }
            written = Instant::now();
            if self.fold.summary().state.has_ended() {
                return;
            }
        }
    }

    /// Keeps the request, the first event and the state. Of several servers that resume a run at the
    /// same time one succeeds.
    async fn open(&self) -> Result<(), Error> {
        let run = self.log.run;
        self.log.store.put_request(run, &self.fold.summary().config).await?;
        if self.log.store.append_events(run, self.first, self.lines.clone()).await? == Append::Taken {
            return Err(Error::NotResumable {
                run,
                reason: "RUN_NOT_ENDED",
                message: "another server goes on with it".to_owned(),
            });
        }
        Ok(self.log.store.put_state(run, &self.state()).await?)
    }

    /// Numbers events and adds them to the open chunk and to the summary, as many as fit into it.
    fn number(&mut self, events: &mut impl Iterator<Item = Pushed>) -> Vec<Arc<Record>> {
        let mut records = Vec::new();
        while self.lines.len() < MOST_BYTES
            && let Some((time, event)) = events.next()
        {
            let sequence = self.fold.summary().last_sequence + 1;
            let record = Record { sequence, time, event };
            chunk::encode(&record, &mut self.lines);
            self.fold.add(&record);
            records.push(Arc::new(record));
        }
        records
    }

    /// Writes the open chunk, and the state where it changed in a way that matters after a crash.
    async fn persist(&self, records: &[Arc<Record>]) -> Result<(), registry::Error> {
        self.log.store.put_events(self.log.run, self.first, self.lines.clone()).await?;
        if records.iter().any(|record| is_urgent(&record.event)) {
            self.log.store.put_state(self.log.run, &self.state()).await?;
        }
        Ok(())
    }

    async fn persist_stubbornly(&self, records: &[Arc<Record>]) -> Result<(), registry::Error> {
        let mut pause = FIRST_RETRY;
        for _ in 0..RETRIES {
            match self.persist(records).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(run = %self.log.run, %error, "trying again to keep events of a run");
                }
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.persist(records).await
    }

    /// Lets watchers see what was persisted. The end of a run frees what it held first, so that
    /// whoever sees it may start the next run at once.
    fn show(&mut self, records: Vec<Arc<Record>>) {
        for record in &records {
            self.metrics.training.add(&record.event);
        }
        let ended = self.fold.summary().state.has_ended();
        if ended && let Some(at_end) = self.at_end.take() {
            at_end();
        }
        {
            let mut shelf = self.log.shelf();
            shelf.tail.extend(records);
            shelf.summary = self.fold.summary().clone();
        }
        let life = if ended { Life::Ended } else { Life::Open };
        self.log.head.send_replace(Head { newest: self.fold.summary().last_sequence, life });
    }

    /// Begins a new chunk where the open one is large enough. From here on its events are read
    /// from the store.
    fn seal(&mut self) {
        if self.lines.len() >= SEAL_BYTES {
            self.lines.clear();
            let mut shelf = self.log.shelf();
            shelf.sealed.push(self.first);
            shelf.tail.clear();
            self.first = self.fold.summary().last_sequence + 1;
        }
    }

    /// Says that the owner lives.
    async fn refresh(&self) {
        if let Err(error) = self.log.store.put_state(self.log.run, &self.state()).await {
            tracing::warn!(run = %self.log.run, %error, "cannot refresh the state of a run");
        }
    }

    fn state(&self) -> State {
        State {
            owner: self.presence.owner().clone(),
            refreshed: Utc::now(),
            summary: self.fold.summary().clone(),
        }
    }

    /// Gives the run up. What the store says of it is put right by this engine's recovery, which
    /// knows it for lost by the slot that it no longer holds.
    fn fail(mut self, message: &str) {
        self.stop.ask(Wish::Abandon);
        if let Some(at_end) = self.at_end.take() {
            at_end();
        }
        self.log.head.send_modify(|head| head.life = Life::Failed(message.into()));
    }
}

/// The first event and those that come until `due`; an urgent one ends the waiting.
async fn gather(first: Pushed, pushed: &mut mpsc::Receiver<Pushed>, due: Instant) -> Vec<Pushed> {
    let mut gathered = vec![first];
    while gathered.len() < CAPACITY && !gathered.last().is_some_and(|(_, event)| is_urgent(event)) {
        match timeout_at(due, pushed.recv()).await {
            Ok(Some(next)) => gathered.push(next),
            Ok(None) | Err(_) => break,
        }
    }
    gathered
}

/// What somebody waits for, or what must be told rightly after a crash.
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
