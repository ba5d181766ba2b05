//! Runs on their own thread, their event logs, the loaded models with their batching, and the
//! threads that own networks. Speaks no protocol and renders nothing.

mod analysis;
mod chunk;
mod error;
mod evaluating;
mod first;
mod gate;
mod import;
mod jobs;
mod log;
mod looking;
mod memory;
mod metrics;
mod observer;
mod owner;
mod publish;
mod recover;
mod resume;
mod retention;
mod serve;
mod slot;
mod summary;
mod training;
mod types;
mod watching;
mod worker;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use prometheus::proto::MetricFamily;
use tokio::sync::watch;

use crate::{
    data::{Catalog, Facts},
    ids::{DatasetName, ModelName, RunId, Version},
    nn::Precision,
    registry::{Manifest, ModelRef, Page, Registry},
    train::{Plan, TrainConfig},
};

pub use crate::inspect::Channels;
pub use analysis::MAX_BATCH_SIZE;
pub use error::{Error, Unmet};
pub use evaluating::{EvaluateJob, Evaluated, Fitted, Mistake, Progress, SecondVersion};
pub use gate::{Gate, Promotion};
pub use import::{ImportJob, Imported};
pub use metrics::Metrics;
pub use observer::{Array, Observer};
pub use serve::{BatchFigures, Figures, Phases, Span};
pub use slot::WhenBusy;
pub use summary::RunSummary;
pub use types::{
    Compared, ComparisonJob, Depth, DrawingJob, HealthJob, InspectInput, InspectJob, Inspected,
    ParametersJob, Pictures, Predicted, Record, RunMoment, RunPage, Served, Shown, StartFrom, Statistics,
    Studied, StudiedHealth, StudyJob, Target, Values, WeightsOrigin,
};
pub use watching::Watch;
pub use worker::{DeviceChoice, panic_message};

use analysis::Analysis;
use recover::Recovery;
use serve::Models;
use training::Training;

/// Folders of versions without a manifest that are older belong to a publisher that died.
const ABANDONED: TimeDelta = TimeDelta::hours(1);

/// How often runs of servers that died are looked for.
const RECOVER_EVERY: Duration = Duration::from_secs(30);

/// How the engine computes.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    pub device: DeviceChoice,
    /// Threads of an operation while training and in analyses; 0 for one a core.
    pub threads: usize,
    pub serving: BatchConfig,
    /// Versions of a model that stay, beside those that an alias points to; none keeps all.
    pub keep_newest: Option<NonZeroUsize>,
    /// Looks on while runs train.
    pub observer: Option<Arc<dyn Observer>>,
}

/// How many versions are loaded, and how the predictions of each are queued and batched.
#[derive(Debug, Clone)]
pub struct BatchConfig {
    /// Threads with a copy of the network each; 0 for one a core, and two on a GPU.
    pub workers: usize,
    /// Most images of one forward pass.
    pub max_batch_size: usize,
    /// Longest time that the first image of a batch waits for others. A batch forms while the
    /// workers are busy anyway.
    pub max_queue_delay: Duration,
    /// Most images that wait.
    pub queue_capacity: usize,
    /// Most versions that stay loaded; the least recently used one goes first.
    pub max_loaded_versions: usize,
    /// Of the products in convolutions and linear layers; bfloat16 where the device has units for it,
    /// float32 elsewhere.
    pub precision: Precision,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let serving = BatchConfig::default();
        Self { device: DeviceChoice::Auto, threads: 0, serving, keep_newest: None, observer: None }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            max_batch_size: 64,
            max_queue_delay: Duration::ZERO,
            queue_capacity: 512,
            max_loaded_versions: 8,
            precision: Precision::Float32,
        }
    }
}

/// The engine; clones share it.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    training: Arc<Training>,
    analysis: Analysis,
    models: Arc<Models>,
    recovery: Recovery,
    ready: watch::Sender<bool>,
    /// Whether a model was loaded.
    predicts: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// Starts the threads, tells the runs of dead servers to their ends and loads the default
    /// model where there is one. Errors when the device is not to be had, or the store not read.
    pub async fn start(config: EngineConfig, registry: Registry, catalog: Catalog) -> Result<Self, Error> {
        memory::keep_freed_blocks();
        config.serving.check()?;
        let device = tokio::task::spawn_blocking(move || config.device.open());
        let device = device.await.map_err(|error| Error::backend("opening the device", error))??;
        let catalog = Arc::new(catalog);
        let (store, data, threads) = (registry.clone(), catalog.clone(), config.threads);
        let metrics = Arc::new(Metrics::new());
        let training = Training::new(store.clone(), data.clone(), device, threads, metrics.clone())?;
        let training = Arc::new(training.observed(config.observer));
        let analysis = Analysis::new(store.clone(), data, device, threads)?;
        let models = Arc::new(Models::new(store, device, config.serving, metrics.clone()));
        let (ready, predicts) = (watch::Sender::new(false), watch::Sender::new(false));
        let recovery = Recovery::default();
        let inner = Inner { registry, training, analysis, models, recovery, ready, predicts, metrics };
        let engine = Self { inner: Arc::new(inner) };
        engine.registry().sweep(Utc::now() - ABANDONED).await?;
        engine.inner.recovery.run(engine.registry(), &engine.inner.training).await?;
        tokio::spawn(keep_recovering(Arc::downgrade(&engine.inner)));
        if let Some(keep) = config.keep_newest {
            retention::start(&engine, keep).await;
        }
        first::start(&engine.inner).await;
        engine.inner.ready.send_replace(true);
        Ok(engine)
    }

    /// Starts a run; it goes on whoever watches. Errors before anything is kept: a field out of
    /// range, data that is not there, `TrainingBusy`, `Draining`.
    pub async fn train(&self, config: TrainConfig) -> Result<RunId, Error> {
        self.begin(config, WhenBusy::Refuse).await
    }

    /// The same, or the run waits for its turn; it is shown as queued meanwhile. Errors also with
    /// `QueueFull`.
    pub async fn begin(&self, config: TrainConfig, when_busy: WhenBusy) -> Result<RunId, Error> {
        self.inner.training.start(config, when_busy).await
    }

    /// What a request would run, and on which device; resuming `run` where that is given. Starts
    /// nothing. Errors as `train` and `resume`, but for those of a slot that is taken.
    pub async fn plan(&self, config: TrainConfig, run: Option<RunId>) -> Result<(Plan, String), Error> {
        let plan = self.inner.training.plan(config, run).await?;
        Ok((plan, self.inner.training.device()))
    }

    /// What a request to train needs to know of its data set before it makes sense. Errors when there
    /// is no such data set, or its files are broken.
    pub async fn dataset_facts(&self, dataset: &DatasetName) -> Result<Facts, Error> {
        self.inner.training.facts(dataset).await
    }

    /// Goes on with an ended run from its last checkpoint; returns the number of the last event that
    /// its log had before. `config` is its own request, with more epochs maybe. Errors as `begin`,
    /// and with `NotResumable`.
    pub async fn resume(&self, run: RunId, config: TrainConfig, when_busy: WhenBusy) -> Result<u32, Error> {
        let last = self.inner.training.resume(run, config, when_busy).await?;
        self.inner.recovery.unsettle(run);
        Ok(last)
    }

    /// The events of a run after the one numbered `after` (0 for all), to the last.
    pub async fn watch(&self, run: RunId, after: u32) -> Result<Watch, Error> {
        self.inner.training.watch(run, after).await
    }

    /// Asks a run to stop after its current batch. One that has ended stays as it is.
    pub async fn cancel(&self, run: RunId) -> Result<RunSummary, Error> {
        self.inner.training.cancel(run).await
    }

    /// A run as it is now.
    pub async fn run(&self, run: RunId) -> Result<RunSummary, Error> {
        self.inner.training.run(run).await
    }

    /// A part of the runs, newest first.
    pub async fn runs(&self, page: RunPage) -> Result<Page<RunSummary>, Error> {
        self.inner.training.runs(page).await
    }

    /// What is told of the version that a reference means now.
    pub async fn version(&self, model: &ModelRef) -> Result<Manifest, Error> {
        let (name, version) = self.inner.registry.resolve(model).await?;
        Ok(self.inner.registry.manifest(&name, version).await?)
    }

    /// Deletes a version that no alias points to. Its number is not used again.
    pub async fn delete_version(&self, model: &ModelName, version: Version) -> Result<(), Error> {
        self.inner.registry.delete_version(model, version).await?;
        self.inner.models.deleted(&(model.clone(), version));
        Ok(())
    }

    /// Publishes a version of a file of weights. Errors before anything is published.
    pub async fn import(&self, job: ImportJob, file: Vec<u8>) -> Result<Imported, Error> {
        import::import(self.inner.registry.clone(), job, file).await
    }

    /// Measures a version on a part of a data set, and moves an alias to it where that is asked for and
    /// what is required holds. `told` hears how far it has come.
    pub async fn evaluate(
        &self,
        job: EvaluateJob,
        told: watch::Sender<Progress>,
    ) -> Result<Evaluated, Error> {
        let gate = job.gate.clone();
        let mut evaluated = self.inner.analysis.evaluate(job, told).await?;
        gate.pass(&self.inner.registry, &mut evaluated).await?;
        Ok(evaluated)
    }

    /// Shows a version, or a run with its newest weights, layer by layer.
    pub async fn inspect(&self, job: InspectJob) -> Result<Inspected, Error> {
        self.inner.analysis.inspect(job, &self.inner.training).await
    }

    /// The values of a version's or a run's parameters.
    pub async fn parameters(&self, job: ParametersJob) -> Result<Values, Error> {
        self.inner.analysis.parameters(job, &self.inner.training).await
    }

    /// Compares two versions.
    pub async fn compare(&self, job: ComparisonJob) -> Result<Compared, Error> {
        self.inner.analysis.compare(job).await
    }

    /// A version that reads pictures, loaded.
    pub async fn served(&self, model: &ModelRef, deadline: Option<Instant>) -> Result<Served, Error> {
        Ok(Served(self.inner.models.get_before(model, deadline).await?))
    }

    /// What the versions did that were loaded since the server's start, by model and version.
    pub fn statistics(&self) -> Vec<Statistics> {
        let figures = self.inner.models.figures().into_iter();
        figures.map(|(model, version, figures)| Statistics { model, version, figures }).collect()
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

    /// Where things are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Everything that is counted, as it is now.
    pub fn gather_metrics(&self) -> Vec<MetricFamily> {
        self.inner.metrics.gather(|| {
            self.inner.training.show();
            self.inner.models.show();
        })
    }

    /// True as soon as the engine accepts work, false once it is shutting down.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.inner.ready.subscribe()
    }

    /// True from when the first model is loaded.
    pub fn predicts(&self) -> watch::Receiver<bool> {
        self.inner.predicts.subscribe()
    }

    /// Refuses new runs, stops the one that trains after its current batch with a checkpoint,
    /// tells it as interrupted, and returns when that is kept. Predictions and analyses go on.
    pub async fn shutdown(&self) {
        self.inner.ready.send_replace(false);
        self.inner.training.drain().await;
    }
}

impl BatchConfig {
    /// The threads with a copy of the network each.
    fn threads(&self, device: worker::Device) -> usize {
        // A GPU computes batch after batch: one worker waits for it while the other makes the next batch,
        // and more of them would only wait, with smaller batches.
        const ON_GPU: usize = 2;
        match self.workers {
            0 if device.is_cuda() => ON_GPU,
            0 => worker::cores(),
            workers => workers,
        }
    }

    fn check(&self) -> Result<(), Error> {
        for (field, value) in [
            ("max_batch_size", self.max_batch_size),
            ("queue_capacity", self.queue_capacity),
            ("max_loaded_versions", self.max_loaded_versions),
        ] {
            if value == 0 {
                return Err(Error::field(field, "is 0: use 1 or more"));
            }
        }
        Ok(())
    }
}

/// Looks for runs of servers that died elsewhere, as long as the engine lives.
async fn keep_recovering(engine: Weak<Inner>) {
    loop {
        tokio::time::sleep(RECOVER_EVERY).await;
        let Some(inner) = engine.upgrade() else { return };
        if let Err(error) = inner.recovery.run(&inner.registry, &inner.training).await {
            tracing::warn!(%error, "cannot look for runs of servers that died");
        }
    }
}

#[cfg(test)]
mod tests;
