//! What a run's log tells already. A run that is resumed from a checkpoint behind its last event
//! takes the steps between again, and says nothing of them: they come out the same.

use super::Event;

/// The last of each kind of event in a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// The step of the last reported batch.
    batch: u32,
    epoch: u32,
    /// The step of the last inspection.
    inspection: u32,
    /// The step of the last warning.
    warning: u32,
    /// The step of the last checkpoint.
    checkpoint: u32,
}

impl Told {
    /// Takes an event of the log in.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Batch(batch) => self.batch = batch.step,
            Event::Epoch(epoch) => self.epoch = epoch.epoch,
            Event::Inspection(shown) => self.inspection = shown.step,
            Event::Warning(warning) => self.warning = warning.step,
            Event::Checkpoint(checkpoint) => self.checkpoint = checkpoint.step,
            Event::Queued(_) | Event::Started(_) | Event::Finished(_) => {}
        }
    }

    /// Whether the log has this event.
    pub fn has(&self, event: &Event) -> bool {
        match event {
            Event::Batch(batch) => batch.step <= self.batch,
            Event::Epoch(epoch) => epoch.epoch <= self.epoch,
            Event::Inspection(shown) => shown.step <= self.inspection,
            Event::Warning(warning) => warning.step <= self.warning,
            Event::Checkpoint(checkpoint) => checkpoint.step <= self.checkpoint,
            Event::Queued(_) | Event::Started(_) | Event::Finished(_) => false,
        }
    }
}
