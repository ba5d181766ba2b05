//! Which runs can go on, and from where: an ended run with a checkpoint whose end is not for good.

use super::{
    Error,
    jobs::Resume,
    log::State,
    recover::{self, Found},
    summary::{Fold, RunSummary},
    training::Training,
};
use crate::{
    ids::RunId,
    registry::Registry,
    train::{FinishReason, RunState, TrainConfig},
};

/// The run as its log tells it, and its last checkpoint. `config` is what it shall go on with.
pub(super) async fn find(
    registry: &Registry,
    training: &Training,
    run: RunId,
    config: &TrainConfig,
) -> Result<(Fold, Resume), Error> {
    // It may have lost its server a moment ago.
    if recover::recover_run(registry, training, run).await? == Found::Open {
        // Not found where there is no such run.
        let _: State = registry.runs().state(run).await?;
        return Err(not_ended(run));
    }
    let state: State = registry.runs().state(run).await?;
    check(&state.summary, config)?;
    let fold = recover::read(&registry.runs(), run, &state).await?;
    let Some((key, bytes)) = registry.runs().checkpoint(run).await? else {
        let message = "it ended before its first checkpoint: train anew";
        return Err(refused(run, "CHECKPOINT_MISSING", message));
    };
    let told = fold.told();
    Ok((fold, Resume { key, bytes, told }))
}

/// Whether the data are those that the run was begun with.
pub(super) fn check_data(fold: &Fold, digest: &str) -> Result<(), Error> {
    match fold.dataset_digest() {
        Some(known) if known != digest => {
            let message = "its training images are not the same any more";
            Err(refused(fold.summary().run_id, "DATASET_CHANGED", message))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn not_ended(run: RunId) -> Error {
    refused(run, "RUN_NOT_ENDED", "it has not ended: watch it, or cancel it first")
}

fn refused(run: RunId, reason: &'static str, message: &str) -> Error {
    Error::NotResumable { run, reason, message: message.to_owned() }
}

fn check(ended: &RunSummary, config: &TrainConfig) -> Result<(), Error> {
    let run = ended.run_id;
    match (ended.state, ended.reason) {
        (RunState::Completed, Some(FinishReason::EarlyStopped)) => {
            let message = "it stopped early and would do so again: start a new run from its version";
            Err(refused(run, "RUN_COMPLETED", message))
        }
        (RunState::Completed, _) if config.epochs <= ended.config.epochs => {
            Err(refused(run, "RUN_COMPLETED", "all its epochs are trained: ask for more of them"))
        }
        (_, Some(FinishReason::NonFinite)) => {
            let message = "its numbers left all bounds and would do so again: start a new run, with a lower \
                           learning rate";
            Err(refused(run, "RUN_NON_FINITE", message))
        }
        _ => Ok(()),
    }
}
