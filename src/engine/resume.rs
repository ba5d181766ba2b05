//! Which runs can go on, and from where: an ended run whose end is not for good, from its last checkpoint,
//! or from its first step where it came to none.

use super::{
    Error,
    jobs::{Digests, Resume},
    log::State,
    recover::{self, Found},
    summary::{Fold, RunSummary},
    training::Training,
};
use crate::{
    ids::RunId,
    registry::Registry,
    train::{FinishReason, LoggedEvents, RunState, TrainConfig},
};

/// The run as its log tells it, and where it goes on from. `config` is what it shall go on with.
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
    let (checkpoint, told) = (registry.runs().checkpoint(run).await?, fold.told());
    if checkpoint.is_none() {
        check_restart(&state.summary, config, &told)?;
    }
    Ok((fold, Resume { checkpoint, told }))
}

/// Whether a run without a checkpoint may be taken from its first step: what its log tells would have to
/// come out the same.
fn check_restart(ended: &RunSummary, config: &TrainConfig, told: &LoggedEvents) -> Result<(), Error> {
    let message = match (told.has_checkpoint(), config.epochs == ended.config.epochs) {
        (true, _) => "the checkpoint that it kept is gone: train anew",
        (false, false) => "it ended before its first checkpoint: resume it with as many epochs as it has",
        (false, true) => return Ok(()),
    };
    Err(refused(ended.run_id, "CHECKPOINT_MISSING", message))
}

/// Whether the data are those that the run was begun with: training images decide the steps, validation
/// images which epoch is the best and when to stop. What the run has not told is not compared.
pub(super) fn check_data(fold: &Fold, found: &Digests) -> Result<(), Error> {
    let differs = |known: Option<&str>, found: &str| known.is_some_and(|known| known != found);
    let part = match (fold.dataset_digest(), fold.validation_digest()) {
        (known, _) if differs(known, &found.train) => "training",
        (_, known) if differs(known, &found.validation) => "validation",
        (_, _) => return Ok(()),
    };
    let message = format!("its {part} images are not the same any more");
    Err(refused(fold.summary().run_id, "DATASET_CHANGED", &message))
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

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::{
        engine::Record,
        train::{Event, Started},
    };

    fn begun(dataset_digest: Option<&str>, validation_digest: Option<&str>) -> Fold {
        let mut fold = Fold::new(RunId::new(), TrainConfig::default(), Utc::now());
        let started = Started {
            config: TrainConfig::default(),
            train_images: 2,
            validation_images: 1,
            batches_per_epoch: 1,
            total_parameters: 1,
            device: "cpu".to_owned(),
            resumed: None,
            dataset_digest: dataset_digest.map(str::to_owned),
            validation_digest: validation_digest.map(str::to_owned),
        };
        let event = Event::Started(Box::new(started));
        fold.add(&Record { sequence: 1, time: Utc::now(), event });
        fold
    }

    #[test]
    fn a_run_goes_on_with_the_images_that_it_was_begun_with_alone() {
        let found = Digests { train: "t".to_owned(), validation: "v".to_owned() };
        let told = |fold: Fold| check_data(&fold, &found).map_err(|error| error.to_string());
        told(begun(Some("t"), Some("v"))).unwrap();
        // A log from before validation images had a digest.
        told(begun(Some("t"), None)).unwrap();
        for (fold, part) in
            [(begun(Some("x"), Some("v")), "training"), (begun(Some("t"), Some("x")), "validation")]
        {
            let refused = told(fold).unwrap_err();
            assert!(refused.ends_with(&format!("its {part} images are not the same any more")), "{refused}");
        }
    }
}
