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
    ids::{DatasetName, RunId, VersionRef},
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
            let active = slots.all();
            if active.is_empty() {
                return;
            }
            // All are stopped before any is waited for. A run that is being prepared, and has no log yet, will see the
            // closed slots before its first batch.
            for active in active.iter().filter(|active| active.log.is_some()) {
                slots.stop(active.run, StopReason::Interrupted);
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

    /// The versions that the runs of the store have published, as their states say.
    pub async fn published_versions(&self) -> Result<Vec<VersionRef>, Error> {
        Recovery::published_versions(&self.context.registry).await
    }

    /// Whether the run trains, is prepared or waits here.
    pub(super) fn holds(&self, run: RunId) -> bool {
        self.context.slots.find(run).is_some()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::{
        compute::Device,
        data::FetchPolicy,
        runs::{log::RunLog, phase::Phase, record::Record, slots::Admission},
        train::{Event, RunQueued, TrainConfig},
    };

    async fn manager(slots: usize) -> RunManager {
        let registry = Registry::open("memory:").await.unwrap();
        let catalog = Arc::new(Catalog::new(Vec::new(), FetchPolicy::Never));
        let config = RunsConfig { device: Device::Cpu, threads: 1, slots, observer: None };
        RunManager::new(config, registry, catalog, Arc::new(Metrics::default())).unwrap()
    }

    /// A run with a slot and a log.
    fn admit(manager: &RunManager, summary: RunSummary) -> (Admission, Arc<RunLog>) {
        let (context, run) = (&manager.context, summary.run_id);
        let admission = context.slots.enter(summary.clone(), WhenBusy::Reject).unwrap();
        let log = Arc::new(RunLog::new(run, context.registry.runs(), Vec::new(), summary));
        context.slots.set_log(admission.id, &log);
        (admission, log)
    }

    fn accepted() -> SummaryBuilder {
        SummaryBuilder::new(RunId::new(), TrainConfig::default(), Utc::now())
    }

    #[tokio::test]
    async fn a_drain_stops_every_run_before_it_waits_for_any() {
        let manager = manager(2).await;
        let runs = [(); 2].map(|()| admit(&manager, accepted().summary().clone()));
        assert!(manager.drain().now_or_never().is_none(), "no run has ended");
        for (admission, _) in &runs {
            assert_eq!(admission.stop.requested(), Some(StopReason::Interrupted));
        }
        drop(runs);
        manager.drain().await;
    }

    #[tokio::test]
    async fn the_weights_of_a_run_can_be_asked_for_once_its_start_is_shown() {
        let manager = manager(1).await;
        let mut summary = accepted();
        let queued = RunQueued { behind: RunId::new(), position: 1, config: Box::default() };
        let begun = summary.summary().clone();
        summary.add(&Record { sequence: 1, time: Utc::now(), event: Event::Queued(queued) });
        let (admission, log) = admit(&manager, summary.summary().clone());
        let waiting = manager.newest_weights(begun.run_id).now_or_never();
        assert!(matches!(waiting, Some(Err(Error::RunWithoutWeights { reason: "RUN_NOT_STARTED", .. }))));
        // The phase changes a moment after the start is shown.
        manager.context.slots.set_phase(admission.id, Phase::Preparing);
        log.append(Vec::new(), &begun);
        assert!(manager.newest_weights(begun.run_id).now_or_never().is_none(), "it waits for the next step");
    }
}
