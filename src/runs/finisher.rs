//! Frees what an admitted run holds: its slot, or its position in the queue.

use std::sync::{Arc, Mutex, PoisonError};

use super::slots::{AdmissionId, SlotPermit, TrainingSlots};

/// Frees the slot of an admitted run, or its position in the queue, at the latest when it is dropped. It acts once:
/// when the run is resumed, it is admitted anew, and its earlier life has no part in that.
pub struct RunFinisher {
    admission: AdmissionId,
    slots: Arc<TrainingSlots>,
    held: Mutex<HeldSlot>,
}

/// What a run holds of the slots.
enum HeldSlot {
    /// A position in the queue, or a slot that its supervisor still has in its hands.
    Admission,
    Slot(SlotPermit),
    Released,
}

impl RunFinisher {
    pub fn new(admission: AdmissionId, slots: Arc<TrainingSlots>) -> Self {
        Self { admission, slots, held: Mutex::new(HeldSlot::Admission) }
    }

    /// Keeps the slot until the release. A run that was released before frees it at once.
    pub fn hold(&self, permit: SlotPermit) {
        // A permit that is not kept is dropped after the lock.
        let _unwanted = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            match &*held {
                HeldSlot::Released => Some(permit),
                HeldSlot::Admission | HeldSlot::Slot(_) => {
                    *held = HeldSlot::Slot(permit);
                    None
                }
            }
        };
    }

    pub fn release(&self) {
        // It is written in one assignment: a panic of another holder leaves it whole.
        let held = std::mem::replace(
            &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner),
            HeldSlot::Released,
        );
        match held {
            HeldSlot::Admission => self.slots.leave(self.admission),
            // Dropping the permit grants the slot to the next run.
            HeldSlot::Slot(permit) => drop(permit),
            HeldSlot::Released => {}
        }
    }
}

impl Drop for RunFinisher {
    /// If the supervisor panicked, or the run's log failed.
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::{
        ids::RunId,
        runs::{
            slots::{Admission, Placement, WhenBusy},
            summary::SummaryBuilder,
        },
        train::TrainConfig,
    };

    fn enter(slots: &Arc<TrainingSlots>, run: RunId) -> Admission {
        let accepted = SummaryBuilder::new(run, TrainConfig::default(), Utc::now()).summary().clone();
        slots.enter(accepted, WhenBusy::Wait).unwrap()
    }

    #[test]
    fn the_earlier_life_of_a_resumed_run_takes_nothing_from_its_later_life() {
        let slots = Arc::new(TrainingSlots::new(1));
        let run = RunId::new();
        let earlier = enter(&slots, run);
        let finisher = RunFinisher::new(earlier.id, slots.clone());
        let Placement::Slot(permit) = earlier.placement else { panic!("the slot is free") };
        finisher.hold(permit);
        finisher.release();
        let other = enter(&slots, RunId::new());
        let Placement::Slot(_held) = other.placement else { panic!("the slot is free again") };
        let later = enter(&slots, run);
        let Placement::Queue { mut turn, .. } = later.placement else { panic!("the slot is taken") };
        slots.set_phase(earlier.id, crate::runs::phase::Phase::Ended);
        drop(finisher);
        let found = slots.find(run).expect("it still waits");
        assert_eq!(found.phase, crate::runs::phase::Phase::Accepted);
        assert!(matches!(turn.try_recv(), Err(TryRecvError::Empty)));
    }

    #[test]
    fn a_slot_that_comes_after_the_release_is_free_at_once() {
        let slots = Arc::new(TrainingSlots::new(1));
        let admission = enter(&slots, RunId::new());
        let finisher = RunFinisher::new(admission.id, slots.clone());
        finisher.release();
        let Placement::Slot(permit) = admission.placement else { panic!("the slot is free") };
        finisher.hold(permit);
        assert!(slots.all().is_empty());
    }
}
