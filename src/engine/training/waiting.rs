//! Runs that wait for the training slot. Each has a log from the moment at which it is let in, so that
//! what is in its way is told there, as are its cancelling and its server's end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;

use super::Training;
use crate::{
    engine::{
        Error,
        jobs::{self, Go, Resume, Stop, Wish},
        log::{EventSender, Opening, RunLog},
        looking::Looks,
        slot::{Held, Waiting},
        summary::Fold,
    },
    train::{Event, FinishReason, Queued},
};

/// A run that waits.
struct Waiter {
    /// Not held: whoever lets the engine go ends the run.
    training: Weak<Training>,
    fold: Fold,
    resume: Option<Resume>,
    stop: Arc<Stop>,
    turn: oneshot::Receiver<Held>,
    held: Holder,
    events: EventSender,
}

/// The slot from the run's turn to its end; empty before.
type Holder = Arc<Mutex<Option<Held>>>;

impl Training {
    /// Opens the run's log and leaves it to wait. Errors where it cannot be kept; it waits no more then.
    pub(super) async fn queue(
        self: Arc<Self>,
        fold: Fold,
        resume: Option<Resume>,
        waiting: Waiting,
    ) -> Result<(), Error> {
        let Waiting { stop, behind, position, turn } = waiting;
        let run = fold.summary().run_id;
        let held = Holder::default();
        let (slot, holder) = (self.slot.clone(), held.clone());
        let at_end = Box::new(move || {
            drop(lock(&holder).take());
            slot.leave(run);
        });
        let opening = Opening {
            run,
            presence: self.presence.clone(),
            metrics: self.metrics.clone(),
            fold: fold.clone(),
            stop: stop.clone(),
            at_end,
        };
        let config = Box::new(fold.summary().config.clone());
        let queued = Event::Queued(Queued { behind, position, config });
        let opened = RunLog::start(self.registry.runs(), opening, queued).await;
        let (log, events) = opened.inspect_err(|_| self.slot.leave(run))?;
        self.slot.opened(run, &log);
        let training = Arc::downgrade(&self);
        tokio::spawn(Waiter { training, fold, resume, stop, turn, held, events }.wait());
        Ok(())
    }
}

impl Waiter {
    /// Begins the run when its turn comes, or tells why it does not begin.
    async fn wait(mut self) {
        let finished = match self.prepared().await {
            Some(Ok((started, go, looks))) => return self.begin(started, (go, looks)).await,
            Some(Err(error)) => {
                let run = self.fold.summary().run_id;
                tracing::error!(%run, %error, "a run that waited cannot begin");
                jobs::failed(FinishReason::Failed, error.to_string())
            }
            None => jobs::stopped_before(self.stop.asked()),
        };
        // Where the log failed, it has said so and let go of the slot.
        let _ = self.events.send(Event::Finished(finished)).await;
    }

    /// The run's first event and what lets it go, or what was in its way; none where it was asked to
    /// stop by then.
    async fn prepared(&mut self) -> Option<Result<(Event, oneshot::Sender<Go>, Arc<Looks>), Error>> {
        let slot = (&mut self.turn).await.ok()?;
        let looks = slot.looks.clone();
        *lock(&self.held) = Some(slot);
        let Some(training) = self.training.upgrade() else {
            self.stop.ask(Wish::Interrupt);
            return None;
        };
        let prepared = training.prepare(&self.fold, self.resume.take()).await;
        let prepared = prepared.map(|(started, go)| (started, go, looks));
        self.stop.asked().is_none().then_some(prepared)
    }

    /// Tells that the run begins, and lets it go once that is kept. A log that failed frees the slot.
    async fn begin(self, started: Event, (go, looks): (oneshot::Sender<Go>, Arc<Looks>)) {
        if self.events.send(started).await.is_ok() && self.events.persisted().await.is_ok() {
            let run = self.fold.summary().run_id;
            let _ = go.send(Go { run, events: self.events, stop: self.stop, looks });
        }
    }
}

fn lock(held: &Mutex<Option<Held>>) -> MutexGuard<'_, Option<Held>> {
    // It is written in one assignment: a panic of another holder leaves it whole.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
