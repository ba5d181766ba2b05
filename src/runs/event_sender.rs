//! The sending end of a run's log, held by its supervisor and its training thread.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};

use super::log::{LogState, LogTail};
use crate::train::Event;

/// An event and when it happened.
pub type TimedEvent = (DateTime<Utc>, Event);

/// Hands events over to the log's writer.
#[derive(Debug)]
pub struct EventSender {
    queue: mpsc::Sender<TimedEvent>,
    /// The sequence number of the newest event that was handed over.
    sent: AtomicU32,
    tail: watch::Receiver<LogTail>,
}

/// The log accepts no more events: its store failed.
#[derive(Debug)]
pub struct LogClosed;

impl EventSender {
    /// `sent` is the number of events that the log has by now.
    pub fn new(queue: mpsc::Sender<TimedEvent>, sent: u32, tail: watch::Receiver<LogTail>) -> Self {
        Self { queue, sent: AtomicU32::new(sent), tail }
    }

    /// Hands an event over, and blocks while too many wait. Not for async threads.
    pub fn blocking_send(&self, event: Event) -> Result<(), LogClosed> {
        self.queue.blocking_send((Utc::now(), event)).map_err(|_| LogClosed)?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Hands an event over from an async thread.
    pub async fn send(&self, event: Event) -> Result<(), LogClosed> {
        self.queue.send((Utc::now(), event)).await.map_err(|_| LogClosed)?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until all events that were handed over are stored.
    pub async fn flushed(&self) -> Result<(), LogClosed> {
        let sent = self.sent.load(Ordering::Relaxed);
        let mut tail = self.tail.clone();
        let failed = |tail: &LogTail| matches!(tail.state, LogState::Failed(_));
        let tail = tail.wait_for(|tail| tail.newest >= sent || failed(tail)).await;
        match tail.map(|tail| tail.newest >= sent) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(LogClosed),
        }
    }
}
