//! What a run has reported so far, asked from a server.

use std::collections::HashSet;

use crate::cli::Error;
use crate::{
    client::Client,
    pb::digitd::v1::{
        BatchReport, EpochReport, ListRunsRequest, Run, RunFinished, RunStarted, TrainEvent,
        train_event::Event,
    },
};

/// A run with all its events.
#[derive(Debug, Clone)]
pub struct History {
    pub run: Run,
    pub events: Vec<TrainEvent>,
}

impl History {
    /// What the run has reported by now; one that still trains is not waited for.
    pub async fn of(client: &Client, run_id: &str) -> Result<Self, Error> {
        let run = client.run(run_id).await?;
        let newest = run.last_sequence.unwrap_or_default();
        let mut events: Vec<TrainEvent> = Vec::new();
        if newest > 0 {
            let mut stream = client.watch(run_id, 0).await?;
            while events.last().is_none_or(|event| event.sequence < newest) {
                let Some(event) = stream.next().await? else { break };
                events.push(event);
            }
        }
        Ok(Self { run, events })
    }

    /// The same for several runs; none named means the newest one.
    pub async fn of_all(client: &Client, run_ids: &[String]) -> Result<Vec<Self>, Error> {
        let mut seen = HashSet::new();
        if let Some(twice) = run_ids.iter().find(|run_id| !seen.insert(run_id.as_str())) {
            return Err(Error::Usage(format!("run {twice} is named twice")));
        }
        let mut histories = Vec::new();
        for run_id in run_ids {
            histories.push(Self::of(client, run_id).await?);
        }
        if histories.is_empty() {
            histories.push(Self::of(client, &newest(client).await?).await?);
        }
        Ok(histories)
    }

    pub fn started(&self) -> Option<&RunStarted> {
        self.kinds().find_map(|event| if let Event::Started(started) = event { Some(started) } else { None })
    }

    pub fn batches(&self) -> impl Iterator<Item = &BatchReport> {
        self.kinds().filter_map(|event| if let Event::Batch(batch) = event { Some(batch) } else { None })
    }

    pub fn epochs(&self) -> impl Iterator<Item = &EpochReport> {
        self.kinds().filter_map(|event| if let Event::Epoch(epoch) = event { Some(epoch) } else { None })
    }

    /// The end of the run; none while it trains or waits, and none any more once it was resumed.
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

    /// How long the run trained, all its parts together where it was resumed: from start to end, and over
    /// its epochs where a part has not ended.
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

    /// Batches of an epoch; 1 where the run has not told yet.
    pub fn batches_per_epoch(&self) -> i32 {
        self.started().map_or(1, |started| started.batches_per_epoch.max(1))
    }

    fn kinds(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter_map(|event| event.event.as_ref())
    }
}

/// For each run the beginning of its id that tells it from the others, of eight characters at least.
pub fn short_ids(histories: &[History]) -> Vec<String> {
    let ids: Vec<&str> = histories.iter().map(|history| history.run.run_id.as_str()).collect();
    let longest = ids.iter().map(|id| id.len()).max().unwrap_or_default();
    let cut = |id: &str, length: usize| id.chars().take(length).collect::<String>();
    let tells_apart = |length: &usize| {
        let short: HashSet<String> = ids.iter().map(|id| cut(id, *length)).collect();
        short.len() == ids.len()
    };
    // The parts of an id are 8, 4, 4, 4 and 12 characters long: it is cut behind one of them.
    let length = [8, 13, 18, 23].into_iter().find(tells_apart).unwrap_or(longest);
    ids.iter().map(|id| cut(id, length)).collect()
}

async fn newest(client: &Client) -> Result<String, Error> {
    let request = ListRunsRequest { page_size: Some(1), ..Default::default() };
    let newest = client.runs(request).await?.runs.pop();
    let none = || Error::Usage("there is no run yet: `digitd train` starts one".to_owned());
    newest.map(|run| run.run_id).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(run_id: &str) -> History {
        History { run: Run { run_id: run_id.to_owned(), ..Default::default() }, events: Vec::new() }
    }

    #[test]
    fn a_short_id_is_as_long_as_it_takes_to_tell_runs_apart() {
        let (a, b) = ("01a20996-3d82-73b1-96a1-72aa1832acec", "01a20996-3d82-73b2-96a1-72aa1832acec");
        assert_eq!(short_ids(&[history(a)]), ["01a20996"]);
        assert_eq!(short_ids(&[history(a), history(b)]), ["01a20996-3d82-73b1", "01a20996-3d82-73b2"]);
    }
}
