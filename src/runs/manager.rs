//! Runs from the caller's side: starting or queueing, stopping, watching and listing.

use std::sync::Arc;

use chrono::Utc;

use super::{
    context::{RunContext, RunsConfig},
    lifecycle::{self, RunRequest},
    record::RunPage,
    recovery::{self, Recovery},
    resume,
    run_state::StoredState,
    slots::{ActiveRun, WhenBusy},
    stop::StopReason,
    summary::{RunSummary, SummaryBuilder},
    watch::Watch,
};
use crate::{
    compute::{Error, Metrics},
    data::{Catalog, DatasetInfo},
    ids::{DatasetName, RunId},
    registry::{Page, Registry},
    train::{RunState, ValidTrainConfig},
};

/// All runs of an engine, and through the store those of others.
#[derive(Debug)]
pub struct RunManager {
    pub(super) context: Arc<RunContext>,
    recovery: Recovery,
}

impl Drop for RunManager {
    /// An engine that is dropped without a shutdown interrupts its runs, which could not be stopped otherwise.
    fn drop(&mut self) {
        let slots = &self.context.slots;
        slots.close();
        for active in slots.all() {
            slots.stop(active.run, StopReason::Interrupted);
        }
    }
}

impl RunManager {
    pub fn new(
        config: RunsConfig,
        registry: Registry,
        catalog: Arc<Catalog>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let context = Arc::new(RunContext::new(config, registry, catalog, metrics)?);
        Ok(Self { context, recovery: Recovery::default() })
    }

    /// Starts a run, or queues it. Once begun, it continues whether or not the caller waits.
    pub async fn start(&self, config: ValidTrainConfig, when_busy: WhenBusy) -> Result<RunId, Error> {
        let run = RunId::new();
        let summary = SummaryBuilder::new(run, config.config().clone(), Utc::now());
        self.enter(RunRequest { config, resume: None }, summary, when_busy).await?;
        Ok(run)
    }

    /// Resumes an ended run from its last checkpoint, or from its first step if it has none. Returns the number of
    /// the last event that its log had before. `config` is the run's own request, perhaps with more epochs.
    pub async fn resume(
        &self,
        run: RunId,
        config: ValidTrainConfig,
        when_busy: WhenBusy,
    ) -> Result<u32, Error> {
        if self.holds(run) {
            return Err(Error::run_not_ended(run));
        }
        let (mut summary, point) = resume::find(&self.context, run, config.config()).await?;
        summary.resume(config.config().clone(), Utc::now());
        let last = summary.summary().last_sequence;
        self.enter(RunRequest { config, resume: Some(point) }, summary, when_busy).await?;
        self.recovery.reopen(run);
        Ok(last)
    }

    async fn enter(
        &self,
        request: RunRequest,
        summary: SummaryBuilder,
        when_busy: WhenBusy,
    ) -> Result<(), Error> {
        let admission = self.context.slots.enter(summary.summary().clone(), when_busy)?;
        lifecycle::start(self.context.clone(), request, summary, admission).await
    }

    /// What a request needs to know of a data set before it can be checked.
    pub async fn dataset_info(&self, dataset: &DatasetName) -> Result<DatasetInfo, Error> {
        self.context.dataset_info(dataset).await
    }

    /// Requests that a run stops after its current batch. Errors with `RunElsewhere` if only another server can
    /// stop it.
    pub async fn cancel(&self, run: RunId) -> Result<RunSummary, Error> {
        if let Some(active) = self.context.slots.find(run) {
            self.context.slots.stop(run, StopReason::Cancelled);
            return Ok(active.summary());
        }
        // Its server may have died a moment ago: then it has ended, and there is nothing to stop.
        recovery::recover_run(&self.context, run).await?;
        let summary = self.run(run).await?;
        match summary.state.has_ended() {
            true => Ok(summary),
            false => Err(Error::RunElsewhere { run }),
        }
    }

    /// A run as it is now.
    pub async fn run(&self, run: RunId) -> Result<RunSummary, Error> {
        match self.context.slots.find(run) {
            Some(active) => Ok(active.summary()),
            None => {
                let state: StoredState = self.context.registry.runs().state(run).await?;
                Ok(state.summary)
            }
        }
    }

    /// The events of a run after the one numbered `after`.
    pub async fn watch(&self, run: RunId, after: u32) -> Result<Watch, Error> {
        let mut changes = self.context.slots.changes();
        while let Some(active) = self.context.slots.find(run) {
            if let Some(log) = active.log {
                return Ok(Watch::live(log, after));
            }
            // It is being prepared. An error would mean that the slots have been dropped, and they are held here.
            let _ = changes.changed().await;
        }
        let runs = self.context.registry.runs();
        // The state is read here, so that a run that does not exist is reported at once.
        let _: StoredState = runs.state(run).await?;
        Ok(Watch::stored(run, runs, after))
    }

    /// A page of the runs, newest first.
    pub async fn runs(&self, page: RunPage) -> Result<Page<RunSummary>, Error> {
        let mut runs = self.context.registry.runs().list().await?;
        runs.retain(|run| page.before.is_none_or(|before| *run < before));
        let mut items = Vec::new();
        for run in runs {
            let summary = match self.run(run).await {
                Ok(summary) => summary,
                // Its start was interrupted, or its state is damaged; the others are listed.
                Err(Error::RunNotFound(_)) => continue,
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%run, %error, "skipping a run in the list");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if page.model.as_ref().is_some_and(|model| *model != summary.config.model) {
                continue;
            }
            if items.len() == page.size {
                return Ok(Page { items, more: true });
            }
            items.push(summary);
        }
        Ok(Page { items, more: false })
    }

    /// Rejects new runs, interrupts those that train or wait, and returns when their ends are stored.
    pub async fn drain(&self) {
        let slots = &self.context.slots;
        slots.close();
        let mut changes = slots.changes();
        loop {
            for active in slots.all() {
                // A run that is being prepared will see the closed slots before its first batch.
                let Some(log) = active.log else { continue };
                slots.stop(active.run, StopReason::Interrupted);
                log.closed().await;
            }
            if slots.all().is_empty() {
                return;
            }
            let _ = changes.changed().await;
        }
    }

    /// Sets the gauges of running and queued runs.
    pub fn refresh_metrics(&self) {
        let states: Vec<RunState> =
            self.context.slots.all().iter().map(|active| active.summary().state).collect();
        let count = |state| states.iter().filter(|known| **known == state).count() as i64;
        self.context.metrics.training.running.set(count(RunState::Running));
        self.context.metrics.training.queued.set(count(RunState::Queued));
    }

    /// Ends the runs of servers that died, as interrupted or, if their version was published, as completed.
    pub async fn recover(&self) -> Result<(), Error> {
        self.recovery.recover_all(&self.context).await
    }

    /// The runs that have not ended, on whichever server of the store, those that are being prepared here included.
    pub async fn open_runs(&self) -> Result<Vec<RunSummary>, Error> {
        let mut open = self.recovery.open_runs(&self.context.registry).await?;
        open.extend(self.context.slots.all().iter().map(ActiveRun::summary));
        Ok(open)
    }

    /// Whether the run trains, is prepared or waits here.
    pub(super) fn holds(&self, run: RunId) -> bool {
        self.context.slots.find(run).is_some()
    }
}
