//! The history of a run: its record and all its events so far.

use std::collections::HashSet;

use crate::pb::digitd::v1::{
    BatchReport, EpochReport, Run, RunFinished, RunStarted, TrainEvent, train_event::Event,
};

/// A run with all its events.
#[derive(Debug, Clone)]
pub struct RunHistory {
    pub run: Run,
    pub events: Vec<TrainEvent>,
}

impl RunHistory {
    /// The first start of the run; none while it is queued.
    pub fn started(&self) -> Option<&RunStarted> {
        self.kinds().find_map(|event| if let Event::Started(started) = event { Some(started) } else { None })
    }

    /// The batches that were reported.
    pub fn batches(&self) -> impl Iterator<Item = &BatchReport> {
        self.kinds().filter_map(|event| if let Event::Batch(batch) = event { Some(batch) } else { None })
    }

    /// The epochs that ended.
    pub fn epochs(&self) -> impl Iterator<Item = &EpochReport> {
        self.kinds().filter_map(|event| if let Event::Epoch(epoch) = event { Some(epoch) } else { None })
    }

    /// The end of the run; none while it trains or is queued, and none after it was resumed.
    pub fn finished(&self) -> Option<&RunFinished> {
        self.kinds().fold(None, |end, event| match event {
            Event::Finished(finished) => Some(finished),
            Event::Queued(_) | Event::Started(_) => None,
            Event::Batch(_)
            | Event::Epoch(_)
            | Event::Checkpoint(_)
            | Event::Inspection(_)
            | Event::Warning(_)
            | Event::Validated(_) => end,
        })
    }

    /// The training time of the run, all its parts together where it was resumed. A part that has not ended
    /// counts with its epochs.
    pub fn seconds(&self) -> Option<f64> {
        let (mut ended, mut open) = (None, None);
        for event in self.kinds() {
            match event {
                Event::Finished(finished) => {
                    ended = Some(ended.unwrap_or(0.0) + finished.seconds.or(open).unwrap_or(0.0));
                    open = None;
                }
                Event::Epoch(epoch) => open = Some(open.unwrap_or(0.0) + epoch.seconds.unwrap_or(0.0)),
                Event::Queued(_)
                | Event::Started(_)
                | Event::Batch(_)
                | Event::Checkpoint(_)
                | Event::Inspection(_)
                | Event::Warning(_)
                | Event::Validated(_) => {}
            }
        }
        match (ended, open) {
            (Some(ended), open) => Some(ended + open.unwrap_or(0.0)),
            (None, open) => open,
        }
    }

    /// Batches of an epoch; 1 where the run has not started yet.
    pub fn batches_per_epoch(&self) -> i32 {
        self.started().map_or(1, |started| started.batches_per_epoch.max(1))
    }

    fn kinds(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter_map(|event| event.event.as_ref())
    }
}

/// The shortest prefixes of the ids that distinguish the runs, of eight characters at least.
pub fn short_ids(histories: &[RunHistory]) -> Vec<String> {
    let ids: Vec<&str> = histories.iter().map(|history| history.run.run_id.as_str()).collect();
    let longest = ids.iter().map(|id| id.len()).max().unwrap_or_default();
    let cut = |id: &str, length: usize| id.chars().take(length).collect::<String>();
    let distinguishes = |length: &usize| {
        let short: HashSet<String> = ids.iter().map(|id| cut(id, *length)).collect();
        short.len() == ids.len()
    };
    // The parts of an id are 8, 4, 4, 4 and 12 characters long: it is cut behind one of them.
    let length = [8, 13, 18, 23].into_iter().find(distinguishes).unwrap_or(longest);
    ids.iter().map(|id| cut(id, length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(run_id: &str) -> RunHistory {
        RunHistory { run: Run { run_id: run_id.to_owned(), ..Default::default() }, events: Vec::new() }
    }

    #[test]
    fn a_short_id_is_as_long_as_it_takes_to_distinguish_runs() {
        let (a, b) = ("01a20996-3d82-73b1-96a1-72aa1832acec", "01a20996-3d82-73b2-96a1-72aa1832acec");
        assert_eq!(short_ids(&[history(a)]), ["01a20996"]);
        assert_eq!(short_ids(&[history(a), history(b)]), ["01a20996-3d82-73b1", "01a20996-3d82-73b2"]);
    }
}
