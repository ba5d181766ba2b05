//! The one training slot, and the runs that wait for it: first come, first served. Whoever leaves the
//! slot hands it on to the next.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    Error, RunSummary,
    jobs::{Stop, Wish},
    log::RunLog,
    looking::Looks,
    resume,
};
use crate::{ids::RunId, train::RunState};

/// Runs that may wait. The next one is refused: what waits behind so many helps nobody.
const MOST_WAITING: usize = 16;

/// A run takes minutes: to ask again sooner is in vain.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What becomes of a request while another run has the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBusy {
    Refuse,
    Wait,
}

/// The slot of an engine.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    active: Option<Entry>,
    /// Those without a turn are on their way out. While one with a turn waits, the slot is taken.
    waiting: VecDeque<(Entry, Option<oneshot::Sender<Held>>)>,
    draining: bool,
}

/// A run that has the slot or waits for it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub run: RunId,
    /// As it was accepted, shown until it has a log.
    accepted: RunSummary,
    stop: Arc<Stop>,
    pub looks: Arc<Looks>,
    pub log: Option<Arc<RunLog>>,
}

/// What a run gets that is let in.
#[derive(Debug)]
pub(super) enum Place {
    Slot(Held),
    /// It waits.
    Queue(Waiting),
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub stop: Arc<Stop>,
    /// The run that has the slot.
    pub behind: RunId,
    /// 1 for the next.
    pub position: u32,
    /// Errors where the run was asked to stop before.
    pub turn: oneshot::Receiver<Held>,
}

/// The slot, held; handed on with the value.
#[derive(Debug)]
pub(super) struct Held {
    pub stop: Arc<Stop>,
    pub looks: Arc<Looks>,
    slot: Arc<Slot>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Where the run never came to a step.
        self.looks.close();
        self.slot.hand_on();
    }
}

impl Entry {
    pub fn summary(&self) -> RunSummary {
        self.log.as_ref().map_or_else(|| self.accepted.clone(), |log| log.summary())
    }
}

impl Slot {
    /// Lets a run in. Errors: `Draining`; `NotResumable` for one that is in already; `TrainingBusy`, or
    /// `QueueFull` for one that would wait.
    pub fn enter(self: &Arc<Self>, accepted: RunSummary, when_busy: WhenBusy) -> Result<Place, Error> {
        let mut state = self.lock();
        if state.draining {
            return Err(Error::Draining);
        }
        let (run, stop, looks) = (accepted.run_id, Arc::new(Stop::default()), Arc::<Looks>::default());
        if state.entries().any(|entry| entry.run == run) {
            return Err(resume::not_ended(run));
        }
        let mut entry = Entry { run, accepted, stop: stop.clone(), looks: looks.clone(), log: None };
        // Nobody overtakes: a slot that is given up goes to the next one under the same lock.
        let Some(active) = &state.active else {
            state.active = Some(entry);
            return Ok(Place::Slot(Held { stop, looks, slot: self.clone() }));
        };
        let behind = active.run;
        if when_busy == WhenBusy::Refuse {
            return Err(Error::TrainingBusy { run: behind });
        }
        if state.waiting.len() >= MOST_WAITING {
            return Err(Error::QueueFull { queue: "runs", retry_after: RETRY_AFTER });
        }
        entry.accepted.state = RunState::Queued;
        let position = state.waiting.iter().filter(|(_, turn)| turn.is_some()).count() as u32 + 1;
        let (sender, turn) = oneshot::channel();
        state.waiting.push_back((entry, Some(sender)));
        Ok(Place::Queue(Waiting { stop, behind, position, turn }))
    }

    /// The run has a log from here on.
    pub fn opened(&self, run: RunId, log: &Arc<RunLog>) {
        let mut state = self.lock();
        if let Some(entry) = state.entries().find(|entry| entry.run == run) {
            entry.log = Some(log.clone());
        }
    }

    /// The run, where it has the slot or waits for it.
    pub fn find(&self, run: RunId) -> Option<Entry> {
        self.lock().entries().find(|entry| entry.run == run).cloned()
    }

    /// The run that has the slot, then those that wait.
    pub fn all(&self) -> Vec<Entry> {
        self.lock().entries().map(|entry| entry.clone()).collect()
    }

    /// Asks a run to stop; one that waits gets no turn any more.
    pub fn ask(&self, run: RunId, wish: Wish) {
        let mut state = self.lock();
        if let Some(entry) = state.entries().find(|entry| entry.run == run) {
            entry.stop.ask(wish);
        }
        for (_, turn) in state.waiting.iter_mut().filter(|(entry, _)| entry.run == run) {
            *turn = None;
        }
    }

    /// Lets nobody in any more; those that wait get no turn, and are asked to stop.
    pub fn close(&self) {
        let mut state = self.lock();
        state.draining = true;
        for (entry, turn) in &mut state.waiting {
            entry.stop.ask(Wish::Interrupt);
            *turn = None;
        }
    }

    pub fn is_closed(&self) -> bool {
        self.lock().draining
    }

    /// A run that waited is at its end.
    pub fn leave(&self, run: RunId) {
        self.lock().waiting.retain(|(entry, _)| entry.run != run);
    }

    fn hand_on(self: &Arc<Self>) {
        let next = {
            let mut state = self.lock();
            state.active = None;
            let next = state.waiting.iter().position(|(_, turn)| turn.is_some());
            next.and_then(|next| state.waiting.remove(next)).map(|(entry, turn)| {
                let (stop, looks) = (entry.stop.clone(), entry.looks.clone());
                state.active = Some(entry);
                (turn, stop, looks)
            })
        };
        if let Some((Some(turn), stop, looks)) = next {
            // Where nobody takes it, it is dropped here, and with that handed on again.
            let _ = turn.send(Held { stop, looks, slot: self.clone() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.active.iter_mut().chain(self.waiting.iter_mut().map(|(entry, _)| entry))
    }
}
