//! Runs whose server is gone: each is told to its end, from what it left in the store.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::Utc;
use futures::{StreamExt, stream};

use super::{Error, Record, RunSummary, chunk, log::State, publish, summary::Fold, training::Training};
use crate::{
    ids::RunId,
    registry::{self, Append, Registry, RunStore},
    train::{Event, FinishReason, Finished, RunState},
};

/// Runs that are looked at together; the store's latency is shared, its patience not tried.
const TOGETHER: usize = 16;

/// Finds the runs of dead servers.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Runs that are known to have ended, and are not looked at again.
    settled: Mutex<HashSet<RunId>>,
}

/// What took the end of a run away.
#[derive(Clone, Copy)]
enum Loss {
    Server,
    /// Its server lives, and could not keep the run's events.
    Log,
}

/// What became of a run.
#[derive(PartialEq, Eq)]
pub(super) enum Found {
    Settled,
    /// Its server lives, or it has not begun.
    Open,
}

impl Recovery {
    /// Tells every run of a dead server as interrupted, or as completed where its version was
    /// published. A run that cannot be read is left as it is.
    /// So are runs of this engine's own `training` that it holds no more: their logs failed.
    pub async fn run(&self, registry: &Registry, training: &Training) -> Result<(), Error> {
        let mut runs = registry.runs().list().await?;
        runs.retain(|run| !self.settled().contains(run));
        let recoveries = stream::iter(runs).for_each_concurrent(TOGETHER, |run| async move {
            match recover_run(registry, training, run).await {
                Ok(Found::Settled) => drop(self.settled().insert(run)),
                Ok(Found::Open) => {}
                Err(error) => {
                    tracing::warn!(%run, %error, "a lost run cannot be told to its end")
                }
            }
        });
        recoveries.await;
        Ok(())
    }

    /// The runs that have not ended, whichever server they are on, as they were accepted. One that
    /// cannot be read is none of them.
    pub async fn open_runs(&self, registry: &Registry) -> Result<Vec<RunSummary>, Error> {
        let runs = registry.runs();
        let mut unsettled = runs.list().await?;
        unsettled.retain(|run| !self.settled().contains(run));
        let states = stream::iter(unsettled).map(async |run| runs.state::<State>(run).await);
        let states: Vec<_> = states.buffered(TOGETHER).collect().await;
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

    /// The run goes on: its end is to be looked for again.
    pub fn unsettle(&self, run: RunId) {
        self.settled().remove(&run);
    }

    fn settled(&self) -> MutexGuard<'_, HashSet<RunId>> {
        // An insertion leaves the set whole, whoever panicked.
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells one run to its end where its server is gone.
pub(super) async fn recover_run(
    registry: &Registry,
    training: &Training,
    run: RunId,
) -> Result<Found, Error> {
    let runs = registry.runs();
    // Asked before the state is read: a run gives its slot up after its end is kept.
    let held = training.holds(run);
    let state: State = match runs.state(run).await {
        Ok(state) => state,
        // Not accepted yet, or its server was killed before it was: nobody was told of it.
        Err(registry::Error::RunNotFound(_)) => return Ok(Found::Open),
        Err(error) => return Err(error.into()),
    };
    if state.summary.state.has_ended() {
        return Ok(Found::Settled);
    }
    let loss = match state.owner == *training.owner() {
        true if held => return Ok(Found::Open),
        true => Loss::Log,
        false if state.owner.is_gone(state.refreshed) => Loss::Server,
        false => return Ok(Found::Open),
    };
    let mut fold = read(&runs, run, &state).await?;
    let mut sequence = fold.summary().last_sequence;
    while !fold.summary().state.has_ended() {
        sequence += 1;
        let event = Event::Finished(finish(registry, &fold, loss).await?);
        let record = Record { sequence, time: Utc::now(), event };
        let mut line = Vec::new();
        chunk::encode(&record, &mut line);
        if runs.append_events(run, sequence, line).await? == Append::Written {
            tracing::warn!(%run, "told a lost run to its end");
            fold.add(&record);
        } else {
            // Another server told the end first; or what lies there is unreadable, and the end
            // goes behind it.
            fold = read(&runs, run, &state).await?;
        }
    }
    let state = State { refreshed: Utc::now(), summary: fold.summary().clone(), ..state };
    runs.put_state(run, &state).await?;
    Ok(Found::Settled)
}

/// The run as its events tell it.
pub(super) async fn read(runs: &RunStore, run: RunId, state: &State) -> Result<Fold, Error> {
    let mut fold = Fold::new(run, state.summary.config.clone(), state.summary.created);
    for first in runs.chunks(run).await? {
        for record in chunk::decode(&runs.events(run, first).await?) {
            fold.add(&record);
        }
    }
    Ok(fold)
}

/// Why a run that published had come to its end: before its last epoch early stopping alone ends it so.
fn completed(summary: &RunSummary) -> FinishReason {
    match summary.config.early_stopping {
        Some(_) if summary.epoch < summary.config.epochs => FinishReason::EarlyStopped,
        Some(_) | None => FinishReason::Completed,
    }
}

/// How the run is told to have ended.
async fn finish(registry: &Registry, fold: &Fold, loss: Loss) -> Result<Finished, Error> {
    let (summary, began) = (fold.summary(), fold.began());
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
            "the store did not take the run's events; its last checkpoint, if it had one, is kept",
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
    Ok(Finished {
        state,
        reason,
        version: published.as_ref().map(|manifest| manifest.version.get()),
        best_epoch: summary.best_epoch,
        validation_accuracy: fold.best_accuracy(),
        message: message.to_owned(),
        seconds: (fold.newest() - began).as_seconds_f64().max(0.0),
    })
}
