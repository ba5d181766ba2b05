//! What a run's log already holds. A run that is resumed from a checkpoint before its last event takes the
//! steps between again and does not report them again: their events would be the same.

use super::{Event, Rule, Subject};

/// The last event of each kind in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedEvents {
    /// The step of the last reported batch.
    batch: u32,
    epoch: u32,
    /// The step of the last inspection.
    inspection: u32,
    /// The step of the last warnings, and their rules and subjects.
    warning: u32,
    warnings: Vec<(Rule, Subject)>,
    /// The step of the last checkpoint.
    checkpoint: u32,
}

impl LoggedEvents {
    /// Adds an event of the log.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Batch(batch) => self.batch = batch.step,
            Event::Epoch(epoch) => self.epoch = epoch.epoch,
            Event::Inspection(shown) => self.inspection = shown.step,
            Event::Warning(warning) => {
                if self.warning != warning.step {
                    self.warnings.clear();
                }
                self.warning = warning.step;
                self.warnings.push((warning.rule, warning.subject.clone()));
            }
            Event::Checkpoint(checkpoint) => self.checkpoint = checkpoint.step,
            Event::Queued(_) | Event::Started(_) | Event::Finished(_) => {}
        }
    }

    /// Whether the log holds a checkpoint.
    pub fn has_checkpoint(&self) -> bool {
        self.checkpoint > 0
    }

    /// Whether the log has this event.
    pub fn has(&self, event: &Event) -> bool {
        match event {
            Event::Batch(batch) => batch.step <= self.batch,
            Event::Epoch(epoch) => epoch.epoch <= self.epoch,
            Event::Inspection(shown) => shown.step <= self.inspection,
            Event::Warning(warning) => {
                let is_it = |known: &(Rule, Subject)| (known.0, &known.1) == (warning.rule, &warning.subject);
                warning.step < self.warning || warning.step == self.warning && self.warnings.iter().any(is_it)
            }
            Event::Checkpoint(checkpoint) => checkpoint.step <= self.checkpoint,
            Event::Queued(_) | Event::Started(_) | Event::Finished(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Warning;

    fn warning(step: u32, rule: Rule) -> Event {
        let (subject, advice) = (Subject::default(), String::new());
        let measurements = Vec::new();
        Event::Warning(Box::new(Warning { rule, epoch: 1, batch: None, step, subject, measurements, advice }))
    }

    #[test]
    fn the_warnings_of_a_step_that_the_log_lacks_are_reported() {
        let mut logged = LoggedEvents::default();
        assert!(!logged.has(&warning(3, Rule::Plateau)));
        logged.add(&warning(3, Rule::Plateau));
        logged.add(&warning(5, Rule::Plateau));
        for (event, has) in [
            (warning(3, Rule::Overfitting), true),
            (warning(5, Rule::Plateau), true),
            (warning(5, Rule::Overfitting), false),
            (warning(6, Rule::Plateau), false),
        ] {
            assert_eq!(logged.has(&event), has, "{event:?}");
        }
    }
}
