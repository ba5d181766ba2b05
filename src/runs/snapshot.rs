//! The weights of a run while it trains: a caller requests a snapshot, and the training thread answers between
//! two batches with a copy. A request never holds training up, and nothing is copied without one.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use crate::compute::{Error, WeightSnapshot};

/// Requests that may wait for a step. Each is answered with a copy that the training thread makes, so more of
/// them would slow the run down.
const MAX_REQUESTS: usize = 4;

/// When to try again if too many requests wait: about the time of a few steps.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The requests for snapshots of one run.
#[derive(Debug, Default)]
pub struct SnapshotRequests {
    /// Whether any request waits, so that the training thread takes no lock otherwise.
    pending: AtomicBool,
    queue: Mutex<RequestQueue>,
}

#[derive(Debug, Default)]
struct RequestQueue {
    requests: Vec<oneshot::Sender<WeightSnapshot>>,
    /// No step follows any more.
    closed: bool,
}

impl SnapshotRequests {
    /// Requests the weights after the next step. The receiver gets an error if no step follows. Errors with
    /// `QueueFull` if too many requests wait.
    pub fn request(&self) -> Result<oneshot::Receiver<WeightSnapshot>, Error> {
        let (request, answer) = oneshot::channel();
        let mut queue = self.lock();
        queue.requests.retain(|request| !request.is_closed());
        if queue.requests.len() >= MAX_REQUESTS {
            return Err(Error::QueueFull { queue: "snapshots of a run", retry_after: RETRY_AFTER });
        }
        if !queue.closed {
            queue.requests.push(request);
            self.pending.store(true, Ordering::Release);
        }
        Ok(answer)
    }

    /// Answers the waiting requests, each with its own copy.
    pub fn answer(&self, snapshot: impl Fn() -> WeightSnapshot) {
        if !self.pending.load(Ordering::Acquire) {
            return;
        }
        let requests = {
            let mut queue = self.lock();
            self.pending.store(false, Ordering::Release);
            std::mem::take(&mut queue.requests)
        };
        for request in requests.into_iter().filter(|request| !request.is_closed()) {
            // A caller that disconnected meanwhile needs no result.
            let _ = request.send(snapshot());
        }
    }

    /// Rejects the waiting requests and all later ones: no step follows.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.requests.clear();
    }

    fn lock(&self) -> MutexGuard<'_, RequestQueue> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::dataset::Dims,
        nn::NetworkConfig,
        train::{StepId, TrainConfig},
    };

    fn snapshot(step: u32) -> WeightSnapshot {
        let config = TrainConfig { network: NetworkConfig::tutorial(), ..TrainConfig::default() };
        let network = config.initial_network(Dims::MNIST, None, crate::compute::Device::Cpu);
        let at = StepId { epoch: 1, batch: step, step };
        WeightSnapshot { network: network.unwrap(), at, dims: Dims::MNIST, class_names: Vec::new() }
    }

    #[test]
    fn a_request_gets_the_next_step_and_no_copy_is_made_without_one() {
        let requests = SnapshotRequests::default();
        requests.answer(|| panic!("nobody asked"));
        let (first, gone) = (requests.request().unwrap(), requests.request().unwrap());
        drop(gone);
        let made = std::cell::Cell::new(0);
        requests.answer(|| {
            made.set(made.get() + 1);
            snapshot(7)
        });
        assert_eq!((first.blocking_recv().unwrap().at.step, made.get()), (7, 1));
        requests.answer(|| panic!("nobody asks any more"));
    }

    #[test]
    fn requests_beyond_the_limit_are_rejected_and_waiting_ones_end_with_the_run() {
        let requests = SnapshotRequests::default();
        let mut waiting: Vec<_> = (0..MAX_REQUESTS).map(|_| requests.request().unwrap()).collect();
        assert!(matches!(requests.request(), Err(Error::QueueFull { .. })));
        // A caller that has disconnected frees its slot.
        waiting.pop();
        waiting.push(requests.request().unwrap());
        requests.close();
        assert!(waiting.into_iter().all(|answer| answer.blocking_recv().is_err()));
        assert!(requests.request().unwrap().blocking_recv().is_err(), "no step follows");
    }
}
