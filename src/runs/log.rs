//! The event log of a live run, as watchers read it. Its writer (`log_writer`) stores events before it appends
//! them here, so no watcher sees an event that a crash could lose. Watchers pull (`watch`), so a slow one
//! costs nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{record::Record, summary::RunSummary};
use crate::{ids::RunId, registry::RunStore};

/// The visible end of a log.
#[derive(Debug, Clone)]
pub struct LogTail {
    /// The sequence number of the newest stored event.
    pub newest: u32,
    pub state: LogState,
}

/// Whether more events will come.
#[derive(Debug, Clone)]
pub enum LogState {
    Open,
    Ended,
    /// The store failed for good, and the run with it.
    Failed(Arc<str>),
}

impl LogState {
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// What watchers read: the newest events from memory, older ones by the chunk from the store.
#[derive(Debug)]
pub struct RunLog {
    pub run: RunId,
    pub store: RunStore,
    tail: watch::Sender<LogTail>,
    buffer: Mutex<LogBuffer>,
}

#[derive(Debug)]
struct LogBuffer {
    /// The first sequence number of each sealed chunk, ascending.
    sealed: Vec<u32>,
    /// The events of the open chunk.
    open: Vec<Arc<Record>>,
    summary: RunSummary,
}

/// Where the next event for a watcher is.
#[derive(Debug)]
pub enum NextEvents {
    Buffered(Vec<Arc<Record>>),
    /// In the sealed chunk that begins with `first` and ends before `end`.
    Chunk {
        first: u32,
        end: u32,
    },
}

impl RunLog {
    /// A log whose events up to the summary's newest are in sealed chunks of the store.
    pub fn new(run: RunId, store: RunStore, sealed: Vec<u32>, summary: RunSummary) -> Self {
        let tail = LogTail { newest: summary.last_sequence, state: LogState::Open };
        let buffer = LogBuffer { sealed, open: Vec::new(), summary };
        Self { run, store, tail: watch::Sender::new(tail), buffer: Mutex::new(buffer) }
    }

    pub fn tail(&self) -> watch::Receiver<LogTail> {
        self.tail.subscribe()
    }

    /// Waits until no more events will come.
    pub async fn closed(&self) {
        // An error means that the log has been dropped, and the run with it.
        let _ = self.tail().wait_for(|tail| !tail.state.is_open()).await;
    }

    pub fn summary(&self) -> RunSummary {
        self.buffer().summary.clone()
    }

    /// The events after the one numbered `cursor`. Call it only if the tail is beyond that.
    pub fn after(&self, cursor: u32) -> NextEvents {
        let buffer = self.buffer();
        let open = buffer.open.first().map_or(u32::MAX, |record| record.sequence);
        if cursor + 1 >= open {
            let behind = buffer.open.partition_point(|record| record.sequence <= cursor);
            return NextEvents::Buffered(buffer.open[behind..].to_vec());
        }
        let next = buffer.sealed.partition_point(|first| *first <= cursor + 1);
        let first = buffer.sealed[next.saturating_sub(1)];
        NextEvents::Chunk { first, end: buffer.sealed.get(next).copied().unwrap_or(open) }
    }

    /// Appends stored events and shows them to watchers.
    pub fn append(&self, records: Vec<Arc<Record>>, summary: &RunSummary) {
        {
            let mut buffer = self.buffer();
            buffer.open.extend(records);
            buffer.summary = summary.clone();
        }
        let state = if summary.state.has_ended() { LogState::Ended } else { LogState::Open };
        self.tail.send_replace(LogTail { newest: summary.last_sequence, state });
    }

    /// Seals the open chunk, which begins with `first`: from here on its events are read from the store.
    pub fn seal(&self, first: u32) {
        let mut buffer = self.buffer();
        buffer.sealed.push(first);
        buffer.open.clear();
    }

    /// Tells watchers that no more events can be stored.
    pub fn fail(&self, message: &str) {
        self.tail.send_modify(|tail| tail.state = LogState::Failed(message.into()));
    }

    /// Events that are kept in memory.
    #[cfg(test)]
    pub fn buffered(&self) -> usize {
        self.buffer().open.len()
    }

    fn buffer(&self) -> MutexGuard<'_, LogBuffer> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
