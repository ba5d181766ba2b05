//! The server's life in three phases, seen by every call.

use tokio::sync::watch;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// How far the server's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// New calls are refused; those under way go on.
    Draining,
    /// Calls that are still under way are broken off.
    Closing,
}

/// What a call sees of the server's life.
#[derive(Debug, Clone)]
pub struct Life {
    phase: watch::Receiver<Phase>,
    calls: TaskTracker,
}

impl Life {
    /// A life in its first phase, and the means to move it on.
    pub fn begin() -> (watch::Sender<Phase>, Self) {
        let (sender, phase) = watch::channel(Phase::Serving);
        (sender, Self { phase, calls: TaskTracker::new() })
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Comes back once `phase` is reached, or when the server is gone.
    pub async fn reached(&self, phase: Phase) {
        let mut now = self.phase.clone();
        // An error means that the sender is gone, and the server with it.
        let _ = now.wait_for(|now| *now >= phase).await;
    }

    /// Held by a call that draining waits for.
    pub fn call(&self) -> TaskTrackerToken {
        self.calls.token()
    }

    /// Comes back when no call is held any more.
    pub async fn calls_ended(&self) {
        self.calls.close();
        self.calls.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_later_phase_means_that_the_earlier_is_over() {
        let (sender, life) = Life::begin();
        assert_eq!(life.phase(), Phase::Serving);
        life.reached(Phase::Serving).await;
        sender.send(Phase::Closing).unwrap();
        life.reached(Phase::Draining).await;
        assert_eq!(life.phase(), Phase::Closing);
    }

    #[tokio::test]
    async fn draining_waits_for_calls_under_way() {
        let (_sender, life) = Life::begin();
        let call = life.call();
        let ended = tokio::spawn({
            let life = life.clone();
            async move { life.calls_ended().await }
        });
        tokio::task::yield_now().await;
        assert!(!ended.is_finished());
        drop(call);
        ended.await.unwrap();
    }
}
