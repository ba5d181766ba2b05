//! Runs whose server has died: each is ended from what it left in the store.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::Utc;
use futures::{StreamExt, stream};

use super::{
    context::RunContext,
    event_chunk, publish,
    record::Record,
    run_state::StoredState,
    summary::{RunSummary, SummaryBuilder},
};
use crate::{
    compute::Error,
    ids::RunId,
    registry::{self, Append, Registry, RunStore},
    train::{Event, FinishReason, RunFinished, RunState},
};

/// Runs that are examined concurrently: enough to hide the store's latency without flooding it.
const CONCURRENT: usize = 16;

/// Finds the runs of dead servers.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Runs that are known to have ended, and are not examined again.
    finished: Mutex<HashSet<RunId>>,
}

/// Why a run has no end.
#[derive(Clone, Copy)]
enum Loss {
    Server,
    /// Its server lives, but could not store the run's events.
    Log,
}

/// Whether a run has ended.
#[derive(PartialEq, Eq)]
pub enum RecoveryOutcome {
    Finished,
    /// Its server lives, or it has not begun.
    Open,
}

impl Recovery {
    /// Ends every run of a dead server as interrupted, or as completed if its version was published, and every run
    /// of this engine that has left its slot without an end, because its log failed. A run that cannot be read is
    /// left as it is.
    pub async fn recover_all(&self, context: &RunContext) -> Result<(), Error> {
        let mut runs = context.registry.runs().list().await?;
        runs.retain(|run| !self.finished().contains(run));
        let recoveries = stream::iter(runs).for_each_concurrent(CONCURRENT, |run| async move {
            match recover_run(context, run).await {
                Ok(RecoveryOutcome::Finished) => drop(self.finished().insert(run)),
                Ok(RecoveryOutcome::Open) => {}
                Err(error) => {
                    tracing::warn!(%run, %error, "a lost run cannot be ended")
                }
            }
        });
        recoveries.await;
        Ok(())
    }

    /// The runs that have not ended, on whichever server of the store, as they were accepted. A run that cannot be
    /// read is not among them.
    pub async fn open_runs(&self, registry: &Registry) -> Result<Vec<RunSummary>, Error> {
        let runs = registry.runs();
        let mut unfinished = runs.list().await?;
        unfinished.retain(|run| !self.finished().contains(run));
        let states = stream::iter(unfinished).map(async |run| runs.state::<StoredState>(run).await);
        let states: Vec<_> = states.buffered(CONCURRENT).collect().await;
        let mut open = Vec::new();
        for state in states {
            match state {
                Ok(state) if state.summary.state.has_ended() => {}
                Ok(state) => open.push(state.summary),
                Err(registry::Error::RunNotFound(_) | registry::Error::Corrupt { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(open)
    }

    /// A finished run was resumed, and is to be examined again.
    pub fn reopen(&self, run: RunId) {
        self.finished().remove(&run);
    }

    fn finished(&self) -> MutexGuard<'_, HashSet<RunId>> {
        // An insertion leaves the set whole, whoever panicked.
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends one run if its server has died.
pub async fn recover_run(context: &RunContext, run: RunId) -> Result<RecoveryOutcome, Error> {
    let registry = &context.registry;
    let runs = registry.runs();
    // The slot is checked before the state is read: a run leaves its slot after its end is stored.
    let held = context.slots.find(run).is_some();
    let state: StoredState = match runs.state(run).await {
        Ok(state) => state,
        // Not accepted yet, or its server was killed before it was: no caller knows of it.
        Err(registry::Error::RunNotFound(_)) => return Ok(RecoveryOutcome::Open),
        Err(error) => return Err(error.into()),
    };
    if state.summary.state.has_ended() {
        return Ok(RecoveryOutcome::Finished);
    }
    let loss = match state.server == *context.lease.server() {
        true if held => return Ok(RecoveryOutcome::Open),
        true => Loss::Log,
        false if state.server.is_expired(state.refreshed) => Loss::Server,
        false => return Ok(RecoveryOutcome::Open),
    };
    let mut summary = read_summary(&runs, run, &state).await?;
    let mut sequence = summary.summary().last_sequence;
    while !summary.summary().state.has_ended() {
        sequence += 1;
        let event = Event::Finished(finish(registry, &summary, loss).await?);
        let record = Record { sequence, time: Utc::now(), event };
        let mut line = Vec::new();
        event_chunk::encode(&record, &mut line);
        if runs.append_events(run, sequence, line).await? == Append::Written {
            tracing::warn!(%run, "ended a lost run");
            summary.add(&record);
        } else {
            // Another server ended the run first; or the stored chunk is unreadable, and the end is appended after it.
            summary = read_summary(&runs, run, &state).await?;
        }
    }
    let state = StoredState { refreshed: Utc::now(), summary: summary.summary().clone(), ..state };
    runs.put_state(run, &state).await?;
    Ok(RecoveryOutcome::Finished)
}

/// The summary of a run, built from its stored events.
pub async fn read_summary(runs: &RunStore, run: RunId, state: &StoredState) -> Result<SummaryBuilder, Error> {
    let mut summary = SummaryBuilder::new(run, state.summary.config.clone(), state.summary.created);
    for first in runs.chunks(run).await? {
        for record in event_chunk::decode(&runs.events(run, first).await?) {
            summary.add(&record);
        }
    }
    Ok(summary)
}

/// Why a run that published had ended: before the last epoch only early stopping ends it so.
fn completed(summary: &RunSummary) -> FinishReason {
    match summary.config.early_stopping {
        Some(_) if summary.epoch < summary.config.epochs => FinishReason::EarlyStopped,
        Some(_) | None => FinishReason::Completed,
    }
}

/// The last event of a lost run.
async fn finish(registry: &Registry, builder: &SummaryBuilder, loss: Loss) -> Result<RunFinished, Error> {
    let (summary, began) = (builder.summary(), builder.began());
    let published = registry.published_by(&summary.config.model, summary.run_id, began).await?;
    // A run that was resumed may have published before.
    let published = published.filter(|manifest| Some(manifest.version) > summary.version);
    if let Some(manifest) = &published {
        publish::move_aliases(registry, summary.run_id, manifest).await?;
    }
    let (state, reason, message) = match (&published, loss) {
        (Some(_), _) => (RunState::Completed, completed(summary), ""),
        (None, Loss::Log) => (
            RunState::Failed,
            FinishReason::Failed,
            "the store did not accept the run's events; its last checkpoint, if it had one, is kept",
        ),
        (None, Loss::Server) if summary.state == RunState::Queued => {
            (RunState::Interrupted, FinishReason::Interrupted, "the server ended before the run began")
        }
        (None, Loss::Server) => (
            RunState::Interrupted,
            FinishReason::Interrupted,
            "the server ended while the run trained; its last checkpoint, if it had one, is kept",
        ),
    };
    Ok(RunFinished {
        state,
        reason,
        version: published.as_ref().map(|manifest| manifest.version.get()),
        best_epoch: summary.best_epoch,
        validation_accuracy: builder.best_accuracy(),
        message: message.to_owned(),
        seconds: (builder.newest() - began).as_seconds_f64().max(0.0),
    })
}
