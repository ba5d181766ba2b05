//! Runs whose server has died: each is ended from what it left in the store.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    context::RunContext,
    event_chunk, publish,
    record::Record,
    run_state::StoredState,
    summary::{RunSummary, SummaryBuilder},
};
use crate::{
    compute::Error,
    ids::{RunId, VersionRef},
    registry::{self, Append, Registry, ReplaceOutcome, RunStore, Stamp},
    train::{Event, FinishReason, RunFinished, RunState},
};

/// Runs that are examined concurrently: enough to hide the store's latency without flooding it.
const CONCURRENT: usize = 16;

/// Finds the runs of dead servers.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Ended runs by the stamp of the state that said so: they are examined again only when it was written anew, as by
    /// a server that resumes the run.
    finished: Mutex<HashMap<RunId, Stamp>>,
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
    /// The stamp of the state that says so, if it said so before.
    Finished(Option<Stamp>),
    /// Its server lives, or it has not begun.
    Open,
}

impl Recovery {
    /// Ends every run of a dead server as interrupted, or as completed if its version was published, and every run
    /// of this engine that has left its slot without an end, because its log failed. A run that cannot be read is
    /// left as it is.
    pub async fn recover_all(&self, context: &RunContext) -> Result<(), Error> {
        let runs = self.unfinished(&context.registry).await?;
        let recoveries = stream::iter(runs).for_each_concurrent(CONCURRENT, |run| async move {
            match recover_run(context, run).await {
                Ok(RecoveryOutcome::Finished(Some(stamp))) => drop(self.finished().insert(run, stamp)),
                Ok(RecoveryOutcome::Finished(None) | RecoveryOutcome::Open) => {}
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
        let unfinished = self.unfinished(registry).await?;
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

    /// The versions that the runs of a store have published, as their states say. A run that cannot be read names none.
    pub async fn published_versions(registry: &Registry) -> Result<Vec<VersionRef>, Error> {
        let runs = registry.runs();
        let listed = runs.list().await?;
        let states = stream::iter(listed).map(async |run| runs.state::<StoredState>(run).await);
        let states: Vec<_> = states.buffered(CONCURRENT).collect().await;
        let mut published = Vec::new();
        for state in states {
            match state {
                Ok(StoredState { summary: RunSummary { config, version: Some(version), .. }, .. }) => {
                    published.push(VersionRef { model: config.model, version });
                }
                Ok(_) | Err(registry::Error::RunNotFound(_) | registry::Error::Corrupt { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(published)
    }

    /// All runs but those whose state is still the one by which they had ended.
    async fn unfinished(&self, registry: &Registry) -> Result<Vec<RunId>, Error> {
        let runs = registry.runs();
        let listed = stream::iter(runs.list().await?).map(|run| {
            let (runs, known) = (&runs, self.finished().get(&run).cloned());
            async move {
                let Some(known) = known else { return Ok::<_, Error>(Some(run)) };
                let is_same = runs.state_stamp(run).await? == Some(known);
                Ok((!is_same).then_some(run))
            }
        });
        let listed: Vec<Option<RunId>> = listed.buffered(CONCURRENT).try_collect().await?;
        Ok(listed.into_iter().flatten().collect())
    }

    fn finished(&self) -> MutexGuard<'_, HashMap<RunId, Stamp>> {
        // An insertion leaves the map whole, whoever panicked.
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends one run if its server has died.
pub async fn recover_run(context: &RunContext, run: RunId) -> Result<RecoveryOutcome, Error> {
    loop {
        if let Some(outcome) = try_recover(context, run).await? {
            return Ok(outcome);
        }
    }
}

/// Ends a run if its server has died; none if another server wrote to it meanwhile, so that it is to be examined anew.
async fn try_recover(context: &RunContext, run: RunId) -> Result<Option<RecoveryOutcome>, Error> {
    let runs = context.registry.runs();
    // The slot is checked before the state is read: a run leaves its slot after its end is stored.
    let held = context.slots.find(run).is_some();
    let (state, stamp): (StoredState, Stamp) = match runs.stamped_state(run).await {
        Ok(stored) => stored,
        // Not accepted yet, or its server was killed before it was: no caller knows of it.
        Err(registry::Error::RunNotFound(_)) => return Ok(Some(RecoveryOutcome::Open)),
        Err(error) => return Err(error.into()),
    };
    if state.summary.state.has_ended() {
        return Ok(Some(RecoveryOutcome::Finished(Some(stamp))));
    }
    let Some(loss) = loss(context, &state, &stamp, held).await? else {
        return Ok(Some(RecoveryOutcome::Open));
    };
    let newest_chunk = runs.chunks(run).await?.pop().unwrap_or(0);
    let mut summary = read_summary(&runs, run, &state).await?;
    // Events that another server appended after the state was read are not those of the lost run.
    if runs.state_stamp(run).await?.as_ref() != Some(&stamp) {
        return Ok(None);
    }
    if !summary.summary().state.has_ended() {
        // An unreadable chunk stays as it is, and the end is appended after it.
        let sequence = summary.summary().last_sequence.max(newest_chunk) + 1;
        let event = Event::Finished(finish(&context.registry, &summary, loss).await?);
        let record = Record { sequence, time: Utc::now(), event };
        let mut line = Vec::new();
        event_chunk::encode(&record, &mut line);
        if runs.append_events(run, sequence, line).await? == Append::Taken {
            return Ok(None);
        }
        tracing::warn!(%run, "ended a lost run");
        summary.add(&record);
    }
    let state = StoredState { refreshed: Utc::now(), summary: summary.summary().clone(), ..state };
    match runs.replace_state(run, &state, &stamp).await? {
        ReplaceOutcome::Replaced => Ok(Some(RecoveryOutcome::Finished(None))),
        // Whoever resumed the run wrote a state of its own, which stays.
        ReplaceOutcome::Changed => Ok(None),
    }
}

/// Why a run that has not ended is lost; none if its server lives and holds it.
async fn loss(
    context: &RunContext,
    state: &StoredState,
    stamp: &Stamp,
    held: bool,
) -> Result<Option<Loss>, Error> {
    let server = &state.server;
    if *server == *context.lease.server() {
        return Ok((!held).then_some(Loss::Log));
    }
    // Both times are the store's: the clocks of two machines may differ by more than a lease.
    let silence = match server.is_remote() {
        true => (context.registry.runs().store_time().await? - stamp.modified).to_std().unwrap_or_default(),
        false => Duration::ZERO,
    };
    Ok(server.is_expired(silence).then_some(Loss::Server))
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
    let unmoved = match &published {
        Some(manifest) => {
            let unmoved = publish::move_run_aliases(registry, summary.run_id, manifest).await;
            publish::unmoved_message(manifest.version, &unmoved)
        }
        None => String::new(),
    };
    let (state, reason, message) = match (&published, loss) {
        (Some(_), _) => (RunState::Completed, completed(summary), unmoved.as_str()),
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

#[cfg(test)]
mod tests;
