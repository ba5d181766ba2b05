//! The facade over runs, serving and analysis, and the registry that they share.

mod import;
mod retention;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use prometheus::proto::MetricFamily;
use tokio::sync::watch;

use crate::{
    analysis::Analysis,
    data::{Catalog, DatasetInfo},
    ids::{DatasetName, ModelName, RunId, Version},
    registry::{Manifest, ModelRef, Page, Registry},
    runs::{RunManager, RunsConfig},
    serving::{self, LoadedModels},
    train::{RunPlan, ValidTrainConfig},
};

pub use crate::{
    analysis::{
        AttributionRequest, Attributions, ComparisonJob, Depth, DrawingJob, EvaluateJob, EvaluationProgress,
        EvaluationReport, Gate, HealthJob, HealthReport, InitialWeightsOrigin, InspectInput, InspectJob,
        Inspection, MAX_BATCH_SIZE, MisclassifiedImage, ParametersJob, ParametersReport, Promotion, RunStep,
        SecondVersion, SubjectInfo, Target, TemperatureFit, VersionComparison, WeightsOrigin,
    },
    compute::{DeviceChoice, Error, FailedRequirements, Metrics, panic_message},
    inspect::Channels,
    runs::{Array, Observer, Record, RunPage, RunSummary, Watch, WhenBusy},
    serving::{
        BatchConfig, BatchStats, DurationTotal, ImageBatch, ModelStats, PhaseTotals, PredictionBatch,
        ServedModel, VersionStats,
    },
};
pub use import::{ImportJob, ImportedVersion};

/// The number of runs that train at once.
const TRAINING_SLOTS: usize = 1;

/// Folders of versions without a manifest that are older than this belong to a publisher that died.
const ABANDONED: TimeDelta = TimeDelta::hours(1);

/// How often runs of servers that died are searched for.
const RECOVER_EVERY: Duration = Duration::from_secs(30);

/// How the engine computes.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    pub device: DeviceChoice,
    /// Threads of one operation in training and in analyses; 0 for one per core.
    pub threads: usize,
    pub serving: BatchConfig,
    /// The number of versions of a model that are kept, in addition to those that an alias points to; by default all.
    pub keep_newest: Option<NonZeroUsize>,
    /// Receives the events of runs.
    pub observer: Option<Arc<dyn Observer>>,
}

/// The engine; clones share it.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    runs: Arc<RunManager>,
    analysis: Analysis,
    models: Arc<LoadedModels>,
    ready: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// Starts the threads, ends the runs of dead servers and loads the default model if there is one. Errors when the
    /// device cannot be used or the store cannot be read.
    pub async fn start(config: EngineConfig, registry: Registry, catalog: Catalog) -> Result<Self, Error> {
        config.serving.check()?;
        let device = tokio::task::spawn_blocking(move || config.device.open());
        let device = device.await.map_err(|error| Error::backend("opening the device", error))??;
        let (catalog, metrics) = (Arc::new(catalog), Arc::new(Metrics::default()));
        let (threads, observer) = (config.threads, config.observer);
        let runs = RunsConfig { device, threads, slots: TRAINING_SLOTS, observer };
        let runs = Arc::new(RunManager::new(runs, registry.clone(), catalog.clone(), metrics.clone())?);
        let analysis = Analysis::new(registry.clone(), catalog, device, threads)?;
        let models = LoadedModels::new(registry.clone(), device, config.serving, metrics.clone());
        let models = Arc::new(models);
        registry.sweep(Utc::now() - ABANDONED).await?;
        runs.recover().await?;
        tokio::spawn(keep_recovering(Arc::downgrade(&runs)));
        if let Some(keep) = config.keep_newest {
            retention::start(registry.clone(), &runs, &models, keep).await;
        }
        serving::start_initial_load(&models).await;
        let ready = watch::Sender::new(true);
        Ok(Self { inner: Arc::new(Inner { registry, runs, analysis, models, ready, metrics }) })
    }

    /// Starts a run, which continues whether or not anybody watches it. Errors before anything is stored: data that
    /// cannot be read, `TrainingBusy`, `Draining`.
    pub async fn train(&self, config: ValidTrainConfig) -> Result<RunId, Error> {
        self.begin(config, WhenBusy::Reject).await
    }

    /// Starts a run, or lets it wait for a slot; it is shown as queued meanwhile. Errors also with `QueueFull`.
    pub async fn begin(&self, config: ValidTrainConfig, when_busy: WhenBusy) -> Result<RunId, Error> {
        self.inner.runs.start(config, when_busy).await
    }

    /// What a request would run, and on which device; resuming `run` if that is given. Starts nothing. Errors as `train`
    /// and `resume`, except for those of a slot that is taken.
    pub async fn plan(
        &self,
        config: ValidTrainConfig,
        run: Option<RunId>,
    ) -> Result<(RunPlan, String), Error> {
        let plan = self.inner.runs.plan(config, run).await?;
        Ok((plan, self.inner.runs.device()))
    }

    /// What a request to train needs to know of its data set before it can be checked. Errors when there is no such
    /// data set, or its files are broken.
    pub async fn dataset_info(&self, dataset: &DatasetName) -> Result<DatasetInfo, Error> {
        self.inner.runs.dataset_info(dataset).await
    }

    /// Resumes an ended run from its last checkpoint, and returns the number of the last event that its log had before.
    /// `config` is the run's own request, perhaps with more epochs. Errors as `begin`, and with `NotResumable`.
    pub async fn resume(
        &self,
        run: RunId,
        config: ValidTrainConfig,
        when_busy: WhenBusy,
    ) -> Result<u32, Error> {
        self.inner.runs.resume(run, config, when_busy).await
    }

    /// The events of a run after the one numbered `after` (0 for all), to the last.
    pub async fn watch(&self, run: RunId, after: u32) -> Result<Watch, Error> {
        self.inner.runs.watch(run, after).await
    }

    /// Requests that a run stops after its current batch. A run that has ended stays as it is.
    pub async fn cancel(&self, run: RunId) -> Result<RunSummary, Error> {
        self.inner.runs.cancel(run).await
    }

    /// A run as it is now.
    pub async fn run(&self, run: RunId) -> Result<RunSummary, Error> {
        self.inner.runs.run(run).await
    }

    /// A page of the runs, newest first.
    pub async fn runs(&self, page: RunPage) -> Result<Page<RunSummary>, Error> {
        self.inner.runs.runs(page).await
    }

    /// The manifest of the version that a reference means now.
    pub async fn version(&self, model: &ModelRef) -> Result<Manifest, Error> {
        let (name, version) = self.inner.registry.resolve(model).await?;
        Ok(self.inner.registry.manifest(&name, version).await?)
    }

    /// Deletes a version that no alias points to. Its number is not used again.
    pub async fn delete_version(&self, model: &ModelName, version: Version) -> Result<(), Error> {
        self.inner.registry.delete_version(model, version).await?;
        self.inner.models.forget(&(model.clone(), version));
        Ok(())
    }

    /// Publishes a version from a file of weights. Errors before anything is published.
    pub async fn import(&self, job: ImportJob, file: Vec<u8>) -> Result<ImportedVersion, Error> {
        import::import(self.inner.registry.clone(), job, file).await
    }

    /// Evaluates a version on a part of a data set, and moves an alias to it if that is requested and the requirements
    /// hold. `progress` is updated after every batch.
    pub async fn evaluate(
        &self,
        job: EvaluateJob,
        progress: watch::Sender<EvaluationProgress>,
    ) -> Result<EvaluationReport, Error> {
        let gate = job.gate.clone();
        let mut report = self.inner.analysis.evaluate(job, progress).await?;
        gate.pass(&self.inner.registry, &mut report).await?;
        Ok(report)
    }

    /// Inspects a version, or a run with its newest weights, layer by layer.
    pub async fn inspect(&self, job: InspectJob) -> Result<Inspection, Error> {
        self.inner.analysis.inspect(job, |run| self.inner.runs.newest_weights(run)).await
    }

    /// The values of a version's or a run's parameters.
    pub async fn parameters(&self, job: ParametersJob) -> Result<ParametersReport, Error> {
        self.inner.analysis.parameters(job, |run| self.inner.runs.newest_weights(run)).await
    }

    /// Compares two versions.
    pub async fn compare(&self, job: ComparisonJob) -> Result<VersionComparison, Error> {
        self.inner.analysis.compare(job).await
    }

    /// The version that a reference means, loaded.
    pub async fn served(&self, model: &ModelRef, deadline: Option<Instant>) -> Result<ServedModel, Error> {
        self.inner.models.served(model, deadline).await
    }

    /// The statistics of the versions that were loaded since the server's start, by model and version.
    pub fn statistics(&self) -> Vec<VersionStats> {
        self.inner.models.stats()
    }

    /// Whether a version is loaded now.
    pub fn is_loaded(&self, model: &ModelName, version: Version) -> bool {
        self.inner.models.has(model, version)
    }

    /// How predictions are batched, with the number of workers filled in.
    pub fn batching(&self) -> BatchConfig {
        self.inner.models.batching()
    }

    /// Whether predictions are computed on a GPU.
    pub fn on_gpu(&self) -> bool {
        self.inner.models.on_gpu()
    }

    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The metrics of training and inference.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The values of all metrics now.
    pub fn gather_metrics(&self) -> Vec<MetricFamily> {
        self.inner.metrics.gather(|| {
            self.inner.runs.refresh_metrics();
            self.inner.models.refresh_metrics();
        })
    }

    /// True while the engine accepts work, false once it is shutting down.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.inner.ready.subscribe()
    }

    /// Becomes true when the first model is loaded.
    pub fn can_predict(&self) -> watch::Receiver<bool> {
        self.inner.models.can_predict()
    }

    /// Rejects new runs, interrupts those that train or wait, each with a checkpoint, and returns when their ends are
    /// stored. Predictions and analyses continue.
    pub async fn shutdown(&self) {
        self.inner.ready.send_replace(false);
        self.inner.runs.drain().await;
    }
}

/// Searches for runs of servers that died elsewhere, as long as the engine lives.
async fn keep_recovering(runs: Weak<RunManager>) {
    loop {
        tokio::time::sleep(RECOVER_EVERY).await;
        let Some(runs) = runs.upgrade() else { return };
        if let Err(error) = runs.recover().await {
            tracing::warn!(%error, "cannot search for runs of servers that died");
        }
    }
}

#[cfg(test)]
mod tests;
