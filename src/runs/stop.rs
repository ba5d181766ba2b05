//! How a run is requested to stop after its current batch.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a run shall stop, and why. The first request counts.
#[derive(Debug, Default)]
pub struct StopSignal(AtomicU8);

/// Why a run shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    Cancelled = 1,
    /// The server shuts down.
    Interrupted = 2,
    /// The store accepts no more events.
    LogFailed = 3,
}

impl StopSignal {
    pub fn request(&self, reason: StopReason) {
        let _ = self.0.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The reason of the first request, if there was one.
    pub fn requested(&self) -> Option<StopReason> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            1 => Some(StopReason::Cancelled),
            2 => Some(StopReason::Interrupted),
            _ => Some(StopReason::LogFailed),
        }
    }
}
