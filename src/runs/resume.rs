//! Which runs can be resumed, and where: an ended run whose end is not final, from its last checkpoint or, if it has
//! none, from its first step.

use bytes::Bytes;

use super::{
    context::{DatasetDigests, RunContext},
    recovery::{self, RecoveryOutcome},
    run_state::StoredState,
    summary::{RunSummary, SummaryBuilder},
};
use crate::{
    compute::Error,
    ids::RunId,
    train::{FinishReason, LoggedEvents, RunState, TrainConfig},
};

/// Where a run is resumed.
#[derive(Debug)]
pub struct ResumePoint {
    /// A checkpoint: its key under the run in the store, and its bytes. None if the run has none: it is repeated from
    /// its first step.
    pub checkpoint: Option<(String, Bytes)>,
    /// The events that the run's log holds already: the steps between the checkpoint and the run's end are repeated
    /// without reports.
    pub logged: LoggedEvents,
}

/// The summary of the run as its log has it, and where it is resumed. `config` is the request to continue with.
pub async fn find(
    context: &RunContext,
    run: RunId,
    config: &TrainConfig,
) -> Result<(SummaryBuilder, ResumePoint), Error> {
    let runs = context.registry.runs();
    // Its server may have died a moment ago.
    if recovery::recover_run(context, run).await? == RecoveryOutcome::Open {
        // An error if there is no such run.
        let _: StoredState = runs.state(run).await?;
        return Err(Error::run_not_ended(run));
    }
    let state: StoredState = runs.state(run).await?;
    check(&state.summary, config)?;
    let summary = recovery::read_summary(&runs, run, &state).await?;
    let (checkpoint, logged) = (runs.checkpoint(run).await?, summary.logged_events());
    if checkpoint.is_none() {
        check_restart(&state.summary, config, &logged)?;
    }
    Ok((summary, ResumePoint { checkpoint, logged }))
}

/// Checks that a run without a checkpoint may be repeated from its first step: the events in its log would have to
/// come out the same.
fn check_restart(ended: &RunSummary, config: &TrainConfig, logged: &LoggedEvents) -> Result<(), Error> {
    let message = match (logged.has_checkpoint(), config.epochs == ended.config.epochs) {
        (true, _) => "the checkpoint that it kept is gone: train anew",
        (false, false) => "it ended before its first checkpoint: resume it with as many epochs as it has",
        (false, true) => return Ok(()),
    };
    Err(Error::not_resumable(ended.run_id, "CHECKPOINT_MISSING", message))
}

/// Checks that the data are those that the run began with: training images decide the steps, validation images which
/// epoch is the best and when to stop. A digest that the run has not reported is not compared.
pub fn check_data(summary: &SummaryBuilder, found: &DatasetDigests) -> Result<(), Error> {
    let differs = |known: Option<&str>, found: &str| known.is_some_and(|known| known != found);
    let part = match (summary.dataset_digest(), summary.validation_digest()) {
        (known, _) if differs(known, &found.train) => "training",
        (_, known) if differs(known, &found.validation) => "validation",
        (_, _) => return Ok(()),
    };
    let message = format!("its {part} images are not the same any more");
    Err(Error::not_resumable(summary.summary().run_id, "DATASET_CHANGED", &message))
}

fn check(ended: &RunSummary, config: &TrainConfig) -> Result<(), Error> {
    let run = ended.run_id;
    match (ended.state, ended.reason) {
        (RunState::Completed, Some(FinishReason::EarlyStopped)) => {
            let message = "it stopped early and would do so again: start a new run from its version";
            Err(Error::not_resumable(run, "RUN_COMPLETED", message))
        }
        (RunState::Completed, _) if config.epochs <= ended.config.epochs => Err(Error::not_resumable(
            run,
            "RUN_COMPLETED",
            "all its epochs are trained: ask for more of them",
        )),
        (_, Some(FinishReason::NonFinite)) => {
            let message = "its numbers left all bounds and would do so again: start a new run, with a lower \
                           learning rate";
            Err(Error::not_resumable(run, "RUN_NON_FINITE", message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::{
        runs::record::Record,
        train::{Event, RunStarted},
    };

    fn begun(dataset_digest: Option<&str>, validation_digest: Option<&str>) -> SummaryBuilder {
        let mut summary = SummaryBuilder::new(RunId::new(), TrainConfig::default(), Utc::now());
        let started = RunStarted {
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
        summary.add(&Record { sequence: 1, time: Utc::now(), event });
        summary
    }

    #[test]
    fn a_run_resumes_only_on_the_images_that_it_started_with() {
        let found = DatasetDigests { train: "t".to_owned(), validation: "v".to_owned() };
        let checked =
            |summary: SummaryBuilder| check_data(&summary, &found).map_err(|error| error.to_string());
        checked(begun(Some("t"), Some("v"))).unwrap();
        // A log from before validation images had a digest.
        checked(begun(Some("t"), None)).unwrap();
        for (summary, part) in
            [(begun(Some("x"), Some("v")), "training"), (begun(Some("t"), Some("x")), "validation")]
        {
            let refused = checked(summary).unwrap_err();
            assert!(refused.ends_with(&format!("its {part} images are not the same any more")), "{refused}");
        }
    }
}
