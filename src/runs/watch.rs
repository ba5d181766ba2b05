//! Watching a run: a cursor over its events, in order and without gaps, read from memory and from the store.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    event_chunk,
    log::{LogState, LogTail, NextEvents, RunLog},
    record::Record,
    run_state::StoredState,
};
use crate::{compute::Error, ids::RunId, registry::RunStore};

/// How often the store is polled for new events of a run that another server trains.
const POLL: Duration = Duration::from_secs(1);

/// A cursor over the events of a run.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    /// The last event that was returned.
    cursor: u32,
}

#[derive(Debug)]
enum Source {
    /// A run of this engine that had not ended when the watching began.
    Live { log: Arc<RunLog>, tail: watch::Receiver<LogTail> },
    /// Any other run.
    Stored { run: RunId, store: RunStore },
    /// The last event was returned.
    Done,
}

impl Watch {
    pub fn live(log: Arc<RunLog>, after: u32) -> Self {
        let tail = log.tail();
        Self { source: Source::Live { log, tail }, cursor: after }
    }

    pub fn stored(run: RunId, store: RunStore, after: u32) -> Self {
        Self { source: Source::Stored { run, store }, cursor: after }
    }

    /// The next events, one at least, as soon as there are any; none after the last one.
    /// Cancel safe: an event is passed over only once it was returned.
    pub async fn next(&mut self) -> Result<Option<Vec<Arc<Record>>>, Error> {
        let records = match &mut self.source {
            Source::Live { log, tail } => next_live(log, tail, self.cursor).await?,
            Source::Stored { run, store } => next_stored(*run, store, self.cursor).await?,
            Source::Done => return Ok(None),
        };
        match records.last() {
            Some(last) => {
                self.cursor = last.sequence;
                Ok(Some(records))
            }
            None => {
                self.source = Source::Done;
                Ok(None)
            }
        }
    }
}

/// The next events; empty where there are no more.
async fn next_live(
    log: &RunLog,
    tail: &mut watch::Receiver<LogTail>,
    cursor: u32,
) -> Result<Vec<Arc<Record>>, Error> {
    loop {
        let now = tail.borrow_and_update().clone();
        if cursor < now.newest {
            match log.after(cursor) {
                NextEvents::Buffered(records) => return Ok(records),
                NextEvents::Chunk { first, end } => {
                    let records = read(log.run, &log.store, first, cursor).await?;
                    // Nothing of the chunk is readable.
                    let missing = || gap(log.run, cursor, end);
                    return if records.is_empty() { Err(missing()) } else { Ok(records) };
                }
            }
        }
        match now.state {
            LogState::Ended => return Ok(Vec::new()),
            LogState::Failed(message) => return Err(Error::Backend { message: message.to_string() }),
            LogState::Open => tail.changed().await.expect("the log outlives its watchers"),
        }
    }
}

/// The next events; empty where there are no more.
async fn next_stored(run: RunId, store: &RunStore, cursor: u32) -> Result<Vec<Arc<Record>>, Error> {
    loop {
        // The state first: a run that had ended by now has all its events in the store.
        let state: StoredState = store.state(run).await?;
        let chunks = store.chunks(run).await?;
        let from = chunks.partition_point(|first| *first <= cursor.saturating_add(1)).saturating_sub(1);
        for first in &chunks[from..] {
            let records = read(run, store, *first, cursor).await?;
            if !records.is_empty() {
                return Ok(records);
            }
        }
        if state.summary.state.has_ended() {
            let last = state.summary.last_sequence;
            return if last > cursor {
                Err(gap(run, cursor, last.saturating_add(1)))
            } else {
                Ok(Vec::new())
            };
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The events of a chunk that follow the one numbered `cursor`, up to the next gap. Errors if the gap comes first.
async fn read(run: RunId, store: &RunStore, first: u32, cursor: u32) -> Result<Vec<Arc<Record>>, Error> {
    let mut records = event_chunk::decode(&store.events(run, first).await?);
    records.retain(|record| record.sequence > cursor);
    match records.first() {
        Some(next) if next.sequence - 1 > cursor => return Err(gap(run, cursor, next.sequence)),
        Some(_) | None => {}
    }
    let follows = |pair: &[Record]| pair[0].sequence.checked_add(1) == Some(pair[1].sequence);
    let whole = records.windows(2).take_while(|pair| follows(pair)).count() + 1;
    records.truncate(whole);
    Ok(records.into_iter().map(Arc::new).collect())
}

/// The error of a watcher that has received `cursor`; the next event that can be read is numbered `next`.
fn gap(run: RunId, cursor: u32, next: u32) -> Error {
    let (first, last) = (cursor.saturating_add(1), next - 1);
    let message = format!(
        "events {first} to {last} of run {run} are damaged or missing: watch after event {last} for those that follow"
    );
    Error::Corrupt { message }
}
