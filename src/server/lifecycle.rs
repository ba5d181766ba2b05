//! The phases of the server up to its end, as every call sees them.

use tokio::sync::watch;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// The phase of the server. Phases only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Health and readiness report the end, so that load balancers choose other servers; calls are still served.
    Withdrawn,
    /// New calls are rejected; those that run continue.
    Draining,
    /// Calls that still run are interrupted.
    Closing,
}

/// The view that a call has of the shutdown, and the count of the calls that run.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Receiver<Phase>,
    calls: TaskTracker,
}

impl Shutdown {
    /// The phase `Serving`, and the sender that moves it forward.
    pub fn begin() -> (watch::Sender<Phase>, Self) {
        let (sender, phase) = watch::channel(Phase::Serving);
        (sender, Self { phase, calls: TaskTracker::new() })
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until `phase` is reached or the server has ended.
    pub async fn reached(&self, phase: Phase) {
        let mut now = self.phase.clone();
        // An error means that the sender was dropped, and the server with it.
        let _ = now.wait_for(|now| *now >= phase).await;
    }

    /// A call holds this token for as long as draining must wait for it.
    pub fn track_call(&self) -> TaskTrackerToken {
        self.calls.token()
    }

    /// Waits until no call holds a token.
    pub async fn all_calls_ended(&self) {
        self.calls.close();
        self.calls.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_later_phase_means_that_the_earlier_is_over() {
        let (sender, shutdown) = Shutdown::begin();
        assert_eq!(shutdown.phase(), Phase::Serving);
        shutdown.reached(Phase::Serving).await;
        sender.send(Phase::Closing).unwrap();
        shutdown.reached(Phase::Draining).await;
        assert_eq!(shutdown.phase(), Phase::Closing);
    }

    #[tokio::test]
    async fn draining_waits_for_calls_in_progress() {
        let (_sender, shutdown) = Shutdown::begin();
        let call = shutdown.track_call();
        let ended = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.all_calls_ended().await }
        });
        tokio::task::yield_now().await;
        assert!(!ended.is_finished());
        drop(call);
        ended.await.unwrap();
    }
}
