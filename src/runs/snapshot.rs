//! The weights of a run while it trains: a caller requests a snapshot, and the training thread sends a copy between
//! two batches. A request never blocks training, and nothing is copied without one.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use crate::compute::{Error, WeightSnapshot};

/// The largest number of requests that wait for a step. The training thread makes a copy for each, so more of them
/// would slow the run down.
const MAX_REQUESTS: usize = 4;

/// The time after which callers are asked to retry if too many requests wait: about the time of a few steps.
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
    /// Whether the run has ended, so that no step follows.
    closed: bool,
}

impl SnapshotRequests {
    /// Requests the weights after the next step. The receiver gets an error if no step follows. Errors with
    /// `QueueFull` if too many requests wait.
    pub fn request(&self) -> Result<oneshot::Receiver<WeightSnapshot>, Error> {
        let (request, snapshot) = oneshot::channel();
        let mut queue = self.lock();
        queue.requests.retain(|request| !request.is_closed());
        if queue.requests.len() >= MAX_REQUESTS {
            return Err(Error::QueueFull { queue: "snapshots of a run", retry_after: RETRY_AFTER });
        }
        if !queue.closed {
            queue.requests.push(request);
            self.pending.store(true, Ordering::Release);
        }
        Ok(snapshot)
    }

    /// Sends each waiting request a copy of the weights.
    pub fn fulfil(&self, snapshot: impl Fn() -> WeightSnapshot) {
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
        requests.fulfil(|| panic!("no request waits"));
        let (first, abandoned) = (requests.request().unwrap(), requests.request().unwrap());
        drop(abandoned);
        let copies = std::cell::Cell::new(0);
        requests.fulfil(|| {
            copies.set(copies.get() + 1);
            snapshot(7)
        });
        assert_eq!((first.blocking_recv().unwrap().at.step, copies.get()), (7, 1));
        requests.fulfil(|| panic!("no request waits any more"));
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
        assert!(waiting.into_iter().all(|snapshot| snapshot.blocking_recv().is_err()));
        assert!(requests.request().unwrap().blocking_recv().is_err(), "no step follows");
    }
}
