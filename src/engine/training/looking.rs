//! Where the weights of a run are to be had: from itself while it trains, else from the version that it
//! published, else from its newest checkpoint.

use bytes::Bytes;

use super::Training;
use crate::{
    engine::{Error, RunSummary, log::Life, looking::Look, slot::Entry},
    ids::{RunId, Version},
    train::RunState,
};

/// The weights of a run.
#[derive(Debug)]
pub(in crate::engine) enum Found {
    /// Of its newest step.
    Live {
        summary: Box<RunSummary>,
        look: Box<Look>,
    },
    Version {
        summary: Box<RunSummary>,
        version: Version,
    },
    Checkpoint {
        summary: Box<RunSummary>,
        checkpoint: Bytes,
    },
}

impl Training {
    /// The newest weights of a run. Errors: `RunNotFound`; `RunWithoutWeights` where there are none yet,
    /// or none any more.
    pub async fn look(&self, run: RunId) -> Result<Found, Error> {
        if let Some(entry) = self.slot.find(run)
            && let Some(found) = look_at(entry).await?
        {
            return Ok(found);
        }
        let summary = Box::new(self.run(run).await?);
        if let Some(version) = summary.version {
            return Ok(Found::Version { summary, version });
        }
        match self.registry.runs().checkpoint(run).await? {
            Some((_, checkpoint)) => Ok(Found::Checkpoint { summary, checkpoint }),
            None => Err(without_weights(run, summary.state)),
        }
    }
}

/// The weights of a run that is held here; none where it came to its end meanwhile.
async fn look_at(entry: Entry) -> Result<Option<Found>, Error> {
    let summary = Box::new(entry.summary());
    let log = match (summary.state, &entry.log) {
        (RunState::Running, Some(log)) => log,
        (RunState::Running | RunState::Queued, _) => {
            return Err(without_weights(entry.run, RunState::Queued));
        }
        (RunState::Completed | RunState::Cancelled | RunState::Failed | RunState::Interrupted, _) => {
            return Ok(None);
        }
    };
    if let Ok(look) = entry.looks.ask()?.await {
        return Ok(Some(Found::Live { summary, look: Box::new(look) }));
    }
    // Its last step is taken: what is left is to publish its version and to tell its end.
    let mut head = log.head();
    let _ = head.wait_for(|head| !matches!(head.life, Life::Open)).await;
    Ok(None)
}

fn without_weights(run: RunId, state: RunState) -> Error {
    let (reason, message) = match state {
        RunState::Queued => {
            ("RUN_NOT_STARTED", "it has not begun: watch it, and ask again when it has told its first batch")
        }
        RunState::Running => (
            "RUN_ELSEWHERE",
            "it trains at another server and has kept no checkpoint yet: ask that server, or ask again later",
        ),
        RunState::Completed | RunState::Cancelled | RunState::Failed | RunState::Interrupted => {
            ("RUN_WITHOUT_WEIGHTS", "it ended without a version and before its first checkpoint: train anew")
        }
    };
    Error::RunWithoutWeights { run, reason, message: message.to_owned() }
}
