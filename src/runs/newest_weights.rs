//! Where the newest weights of a run are: in the run itself while it trains, else in the version that it published,
//! else in its newest checkpoint.

use super::{manager::RunManager, phase::Phase, slots::ActiveRun};
use crate::{
    compute::{Error, RunWeights, WeightSnapshot, WeightsSource},
    ids::RunId,
    train::RunState,
};

impl RunManager {
    /// The newest weights of a run. Errors: `RunNotFound`; `RunWithoutWeights` if there are none yet, or none any
    /// more.
    pub async fn newest_weights(&self, run: RunId) -> Result<RunWeights, Error> {
        if let Some(active) = self.context.slots.find(run)
            && let Some(snapshot) = snapshot(&active).await?
        {
            let summary = active.summary();
            let (state, config) = (summary.state, Box::new(summary.config));
            return Ok(RunWeights {
                run,
                state,
                config,
                source: WeightsSource::Training(Box::new(snapshot)),
            });
        }
        let summary = self.run(run).await?;
        let source = match summary.version {
            // A version has the epoch of its weights alone.
            Some(version) => {
                WeightsSource::Version { version, epoch: summary.best_epoch.unwrap_or(summary.epoch) }
            }
            None => match self.context.registry.runs().checkpoint(run).await? {
                Some((_, bytes)) => {
                    let dims = self.dataset_info(&summary.config.dataset.name).await?.dims;
                    WeightsSource::Checkpoint { dims, bytes }
                }
                None => return Err(without_weights(run, summary.state)),
            },
        };
        Ok(RunWeights { run, state: summary.state, config: Box::new(summary.config), source })
    }
}

/// A copy of the weights of an active run; none if its last step is taken.
async fn snapshot(active: &ActiveRun) -> Result<Option<WeightSnapshot>, Error> {
    // Watchers see the run's start a moment before its phase changes, and may ask for its weights at once.
    let log = active.log.as_ref().filter(|log| log.summary().state != RunState::Queued);
    let Some(log) = log else { return Err(without_weights(active.run, RunState::Queued)) };
    if active.phase <= Phase::Training
        && let Ok(snapshot) = active.snapshots.request()?.await
    {
        return Ok(Some(snapshot));
    }
    // No step follows: what is left is to publish the version and to store the run's end.
    log.closed().await;
    Ok(None)
}

fn without_weights(run: RunId, state: RunState) -> Error {
    let (reason, message) = match state {
        RunState::Queued => (
            "RUN_NOT_STARTED",
            "it has not begun: watch it, and ask again when it has reported its first batch",
        ),
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
