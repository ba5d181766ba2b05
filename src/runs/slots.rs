//! The training slots and the queue of runs that wait for one: first come, first served. Whoever releases a slot
//! grants it to the next run under the same lock, so no run overtakes another.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::{
    log::RunLog,
    phase::Phase,
    snapshot::SnapshotRequests,
    stop::{StopReason, StopSignal},
    summary::RunSummary,
};
use crate::{compute::Error, ids::RunId, train::RunState};

/// The largest number of runs that wait; the next one is rejected, so that the queue stays bounded.
const MAX_WAITING: usize = 16;

/// A run takes minutes, so it is in vain to ask again sooner.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What becomes of a request to train while every slot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBusy {
    Reject,
    Wait,
}

/// The training slots of an engine.
#[derive(Debug)]
pub struct TrainingSlots {
    state: Mutex<SlotState>,
    /// Notified after every change.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct SlotState {
    /// One entry per slot.
    slots: Vec<Option<ActiveRun>>,
    waiting: VecDeque<QueuedRun>,
    draining: bool,
}

/// A run that has a slot or waits for one.
#[derive(Debug, Clone)]
pub struct ActiveRun {
    pub run: RunId,
    pub phase: Phase,
    /// The summary as the run was accepted, shown until the run has a log.
    accepted: RunSummary,
    pub stop: Arc<StopSignal>,
    pub snapshots: Arc<SnapshotRequests>,
    pub log: Option<Arc<RunLog>>,
}

#[derive(Debug)]
struct QueuedRun {
    active: ActiveRun,
    /// None once the run was requested to stop: it gets no slot any more. While a run with a turn waits, every slot
    /// is taken.
    turn: Option<oneshot::Sender<SlotPermit>>,
}

/// How a run was admitted.
#[derive(Debug)]
pub struct Admission {
    pub stop: Arc<StopSignal>,
    pub snapshots: Arc<SnapshotRequests>,
    pub placement: Placement,
}

/// The state of an admitted run.
#[derive(Debug)]
pub enum Placement {
    Slot(SlotPermit),
    Queue {
        /// A run that has a slot.
        behind: RunId,
        /// 1 for the run that is next.
        position: u32,
        /// Errors if the run was requested to stop before its turn.
        turn: oneshot::Receiver<SlotPermit>,
    },
}

/// The right to train in a slot. Dropping it grants the slot to the next run.
#[derive(Debug)]
pub struct SlotPermit {
    /// Which slot it is, from 0.
    pub slot: usize,
    slots: Arc<TrainingSlots>,
}

impl Drop for SlotPermit {
    fn drop(&mut self) {
        self.slots.grant_next(self.slot);
    }
}

impl ActiveRun {
    pub fn summary(&self) -> RunSummary {
        self.log.as_ref().map_or_else(|| self.accepted.clone(), |log| log.summary())
    }
}

impl TrainingSlots {
    /// Room for `count` runs that train at once.
    pub fn new(count: usize) -> Self {
        let slots = (0..count).map(|_| None).collect();
        let state = SlotState { slots, waiting: VecDeque::new(), draining: false };
        Self { state: Mutex::new(state), changes: watch::Sender::new(()) }
    }

    /// Lets a run in. Errors: `Draining`; `NotResumable` if the run is in already; `TrainingBusy`, or
    /// `QueueFull` if it would wait.
    pub fn enter(self: &Arc<Self>, accepted: RunSummary, when_busy: WhenBusy) -> Result<Admission, Error> {
        let mut state = self.lock();
        if state.draining {
            return Err(Error::Draining);
        }
        let (run, stop, snapshots) =
            (accepted.run_id, Arc::<StopSignal>::default(), Arc::<SnapshotRequests>::default());
        if state.runs().any(|active| active.run == run) {
            return Err(Error::run_not_ended(run));
        }
        let (phase, log) = (Phase::Accepted, None);
        let mut active =
            ActiveRun { run, phase, accepted, stop: stop.clone(), snapshots: snapshots.clone(), log };
        if let Some(slot) = state.slots.iter().position(Option::is_none) {
            state.slots[slot] = Some(active);
            let placement = Placement::Slot(SlotPermit { slot, slots: self.clone() });
            return Ok(Admission { stop, snapshots, placement });
        }
        let behind = state.slots.iter().flatten().map(|active| active.run).min().unwrap_or(run);
        if when_busy == WhenBusy::Reject {
            return Err(Error::TrainingBusy { run: behind });
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(Error::QueueFull { queue: "runs", retry_after: RETRY_AFTER });
        }
        active.accepted.state = RunState::Queued;
        let position = state.waiting.iter().filter(|queued| queued.turn.is_some()).count() as u32 + 1;
        let (sender, turn) = oneshot::channel();
        state.waiting.push_back(QueuedRun { active, turn: Some(sender) });
        Ok(Admission { stop, snapshots, placement: Placement::Queue { behind, position, turn } })
    }

    /// Records that a run enters a phase of its life.
    pub fn set_phase(&self, run: RunId, phase: Phase) {
        self.update(run, |active| active.phase = phase);
    }

    /// Records the log of a run.
    pub fn set_log(&self, run: RunId, log: &Arc<RunLog>) {
        self.update(run, |active| active.log = Some(log.clone()));
    }

    fn update(&self, run: RunId, change: impl FnOnce(&mut ActiveRun)) {
        if let Some(active) = self.lock().runs().find(|active| active.run == run) {
            change(active);
        }
        self.changes.send_replace(());
    }

    /// The run, if it has a slot or waits for one.
    pub fn find(&self, run: RunId) -> Option<ActiveRun> {
        self.lock().runs().find(|active| active.run == run).cloned()
    }

    /// The runs that have a slot, then those that wait.
    pub fn all(&self) -> Vec<ActiveRun> {
        self.lock().runs().map(|active| active.clone()).collect()
    }

    /// Marks every change that follows: a run's phase, its log, its end.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Requests that a run stops. A run that waits gets no slot any more.
    pub fn stop(&self, run: RunId, reason: StopReason) {
        let mut state = self.lock();
        if let Some(active) = state.runs().find(|active| active.run == run) {
            active.stop.request(reason);
        }
        for queued in state.waiting.iter_mut().filter(|queued| queued.active.run == run) {
            queued.turn = None;
        }
    }

    /// Lets no run in any more, and requests that those that wait stop.
    pub fn close(&self) {
        let mut state = self.lock();
        state.draining = true;
        for queued in &mut state.waiting {
            queued.active.stop.request(StopReason::Interrupted);
            queued.turn = None;
        }
    }

    pub fn is_closed(&self) -> bool {
        self.lock().draining
    }

    /// Removes a run from the queue.
    pub fn leave(&self, run: RunId) {
        self.lock().waiting.retain(|queued| queued.active.run != run);
        self.changes.send_replace(());
    }

    fn grant_next(self: &Arc<Self>, slot: usize) {
        let turn = {
            let mut state = self.lock();
            if let Some(ended) = state.slots[slot].take() {
                // If the run never reached a step, the training thread has not closed them.
                ended.snapshots.close();
            }
            let next = state.waiting.iter().position(|queued| queued.turn.is_some());
            next.and_then(|next| state.waiting.remove(next)).and_then(|next| {
                state.slots[slot] = Some(next.active);
                next.turn
            })
        };
        if let Some(turn) = turn {
            // If the receiver is dropped, the permit is dropped here, and the slot is granted to the next run.
            let _ = turn.send(SlotPermit { slot, slots: self.clone() });
        }
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotState {
    fn runs(&mut self) -> impl Iterator<Item = &mut ActiveRun> {
        let queued = self.waiting.iter_mut().map(|queued| &mut queued.active);
        self.slots.iter_mut().flatten().chain(queued)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::{runs::summary::SummaryBuilder, train::TrainConfig};

    fn enter(slots: &Arc<TrainingSlots>, when_busy: WhenBusy) -> (RunId, Result<Placement, Error>) {
        let run = RunId::new();
        let accepted = SummaryBuilder::new(run, TrainConfig::default(), Utc::now()).summary().clone();
        (run, slots.enter(accepted, when_busy).map(|admission| admission.placement))
    }

    fn permit(placement: Result<Placement, Error>) -> SlotPermit {
        match placement.unwrap() {
            Placement::Slot(permit) => permit,
            queued @ Placement::Queue { .. } => panic!("no slot is free: {queued:?}"),
        }
    }

    #[test]
    fn as_many_runs_train_at_once_as_there_are_slots() {
        let slots = Arc::new(TrainingSlots::new(2));
        let (first, second) = (enter(&slots, WhenBusy::Reject), enter(&slots, WhenBusy::Reject));
        let permits = [permit(first.1), permit(second.1)];
        assert_eq!(permits.each_ref().map(|permit| permit.slot), [0, 1]);
        assert!(
            matches!(enter(&slots, WhenBusy::Reject).1, Err(Error::TrainingBusy { run }) if run == first.0)
        );
        let [freed, kept] = permits;
        drop(freed);
        assert_eq!(permit(enter(&slots, WhenBusy::Reject).1).slot, 0, "the free slot is given again");
        drop(kept);
    }

    #[test]
    fn a_released_slot_is_granted_to_the_longest_waiting_run_that_was_not_stopped() {
        let slots = Arc::new(TrainingSlots::new(1));
        let held = permit(enter(&slots, WhenBusy::Wait).1);
        let mut turns = Vec::new();
        for expected in 1..=3 {
            let (run, placement) = enter(&slots, WhenBusy::Wait);
            let Ok(Placement::Queue { position, turn, .. }) = placement else { panic!("the slot is taken") };
            assert_eq!(position, expected);
            turns.push((run, turn));
        }
        slots.stop(turns[0].0, StopReason::Cancelled);
        drop(held);
        assert!(turns[0].1.try_recv().is_err(), "a stopped run gets no slot");
        drop(turns[1].1.try_recv().unwrap());
        assert_eq!(turns[2].1.try_recv().unwrap().slot, 0);
    }
}
