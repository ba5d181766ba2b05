//! The weights of a run while it trains: whoever wants them asks, and the training thread answers
//! between two batches with a copy. Nobody who asks holds it up, and it computes nothing for them.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::Error;
use crate::{data::dataset::Dims, nn::Network, train::StepId};

/// Askers that may wait for a step. Each gets a copy, which the training thread makes: more would hold
/// the run up.
const MOST_ASKERS: usize = 4;

/// When to ask again where too many wait: about the time of a few steps.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The weights of a run after a step.
#[derive(Debug)]
pub(super) struct Look {
    pub network: Network,
    pub at: StepId,
    pub dims: Dims,
    /// Of each class; empty where a class goes by its number.
    pub class_names: Vec<String>,
}

/// Those who want to see a run's weights.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Whether anyone waits, so that the training thread asks for no lock where nobody does.
    asked: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    askers: Vec<oneshot::Sender<Look>>,
    /// No step follows any more.
    closed: bool,
}

impl Looks {
    /// Asks for the weights after the next step; what is received is an error where no step follows.
    /// Errors with `QueueFull` where too many wait already.
    pub fn ask(&self) -> Result<oneshot::Receiver<Look>, Error> {
        let (asker, answer) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.askers.retain(|asker| !asker.is_closed());
        if waiting.askers.len() >= MOST_ASKERS {
            return Err(Error::QueueFull { queue: "looks at a run", retry_after: RETRY_AFTER });
        }
        if !waiting.closed {
            waiting.askers.push(asker);
            self.asked.store(true, Ordering::Release);
        }
        Ok(answer)
    }

    /// Shows the weights to those who wait; a copy for each.
    pub fn show(&self, look: impl Fn() -> Look) {
        if !self.asked.load(Ordering::Acquire) {
            return;
        }
        let askers = {
            let mut waiting = self.lock();
            self.asked.store(false, Ordering::Release);
            std::mem::take(&mut waiting.askers)
        };
        for asker in askers.into_iter().filter(|asker| !asker.is_closed()) {
            // Who went away meanwhile needs no answer.
            let _ = asker.send(look());
        }
    }

    /// No step follows: those who wait are told, and those who come.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.askers.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nn::NetworkConfig, train::TrainConfig};

    fn look(step: u32) -> Look {
        let config = TrainConfig { network: NetworkConfig::tutorial(), ..TrainConfig::default() };
        let network = config.start(Dims::MNIST, None, crate::engine::worker::Device::Cpu);
        let at = StepId { epoch: 1, batch: step, step };
        Look { network: network.unwrap(), at, dims: Dims::MNIST, class_names: Vec::new() }
    }

    #[test]
    fn who_asks_gets_the_next_step_and_a_copy_is_made_for_nobody_else() {
        let looks = Looks::default();
        looks.show(|| panic!("nobody asked"));
        let (first, gone) = (looks.ask().unwrap(), looks.ask().unwrap());
        drop(gone);
        let made = std::cell::Cell::new(0);
        looks.show(|| {
            made.set(made.get() + 1);
            look(7)
        });
        assert_eq!((first.blocking_recv().unwrap().at.step, made.get()), (7, 1));
        looks.show(|| panic!("nobody asks any more"));
    }

    #[test]
    fn more_than_may_wait_are_refused_and_at_the_end_all_are_told() {
        let looks = Looks::default();
        let mut waiting: Vec<_> = (0..MOST_ASKERS).map(|_| looks.ask().unwrap()).collect();
        assert!(matches!(looks.ask(), Err(Error::QueueFull { .. })));
        // One that went away makes room.
        waiting.pop();
        waiting.push(looks.ask().unwrap());
        looks.close();
        assert!(waiting.into_iter().all(|asker| asker.blocking_recv().is_err()));
        assert!(looks.ask().unwrap().blocking_recv().is_err(), "no step follows");
    }
}
