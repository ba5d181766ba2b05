//! What every run of an engine shares: the store, the data sets, the device and its threads, the slots.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{lease::Lease, observer::Observer, slots::TrainingSlots};
use crate::{
    compute::{Device, Error, JobThread, Metrics, Priority, ThreadSettings},
    data::{Catalog, DatasetInfo, Split, Splits},
    ids::DatasetName,
    registry::{Manifest, Registry},
    train::TrainConfig,
};

/// Data sets that are read at once for requests to train; other requests wait.
const MAX_READING: usize = 2;

/// How runs compute.
#[derive(Debug)]
pub struct RunsConfig {
    pub device: Device,
    /// Threads of one operation; 0 for one per core.
    pub threads: usize,
    /// Runs that train at once.
    pub slots: usize,
    pub observer: Option<Arc<dyn Observer>>,
}

/// What runs share.
#[derive(Debug)]
pub struct RunContext {
    pub registry: Registry,
    pub device: Device,
    /// One thread per slot.
    pub threads: Vec<JobThread>,
    pub lease: Arc<Lease>,
    pub slots: Arc<TrainingSlots>,
    pub metrics: Arc<Metrics>,
    pub observer: Option<Arc<dyn Observer>>,
    catalog: Arc<Catalog>,
    /// Limits the requests whose data set is read before they are judged.
    reading: Semaphore,
}

/// SHA-256 of the images that a run trains and validates on.
#[derive(Debug, Clone)]
pub struct DatasetDigests {
    pub train: String,
    pub validation: String,
}

impl RunContext {
    pub fn new(
        config: RunsConfig,
        registry: Registry,
        catalog: Arc<Catalog>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let settings = ThreadSettings { threads: config.threads, priority: Priority::Low };
        // One job may wait: the thread may still be leaving the run that freed the slot.
        let thread = |_| JobThread::start("digitd-train", settings, 1);
        Ok(Self {
            registry,
            device: config.device,
            threads: (0..config.slots).map(thread).collect::<Result<_, _>>()?,
            lease: Arc::new(Lease::new()),
            slots: Arc::new(TrainingSlots::new(config.slots)),
            metrics,
            observer: config.observer,
            catalog,
            reading: Semaphore::new(MAX_READING),
        })
    }

    /// What a request needs to know of a data set before it can be checked.
    pub async fn dataset_info(&self, dataset: &DatasetName) -> Result<DatasetInfo, Error> {
        // The result is immediate, so that a request on a built-in data set gets its slot before a later request.
        if let Some(info) = DatasetInfo::built_in(dataset) {
            return Ok(info);
        }
        let reading = self.reading.acquire().await;
        let _permit = reading.map_err(|closed| Error::backend("reading the data set", closed))?;
        let (catalog, dataset) = (self.catalog.clone(), dataset.clone());
        let info = tokio::task::spawn_blocking(move || Ok(catalog.info(&dataset)?)).await;
        info.unwrap_or_else(|error| Err(Error::backend("reading the data set", error)))
    }

    /// The version that the request starts from and its weights, if it names one.
    pub async fn initial_version(&self, config: &TrainConfig) -> Result<Option<(Manifest, Vec<u8>)>, Error> {
        let Some(initial) = &config.initial else { return Ok(None) };
        let manifest = self.registry.manifest(&initial.model, initial.version).await?;
        let weights = self.registry.weights(&manifest).await?;
        Ok(Some((manifest, weights)))
    }

    /// Training and validation images, and their digests. Test images are not read: no choice inside a run may
    /// look at them.
    pub async fn load_images(&self, config: &TrainConfig) -> Result<(Splits, DatasetDigests), Error> {
        let (catalog, dataset, size) = (self.catalog.clone(), config.dataset.clone(), config.validation.size);
        let loading = tokio::task::spawn_blocking(move || {
            let [train, validation] =
                catalog.load_parts(&dataset, size, [Split::Train, Split::Validation])?;
            let digests = DatasetDigests { train: train.digest(), validation: validation.digest() };
            Ok((Splits { test: train.slice(0..0), train, validation }, digests))
        });
        loading.await.unwrap_or_else(|error| Err(Error::backend("reading the data set", error)))
    }

    /// Waits for a turn to read a data set for a request that trains nothing. A set is large: no more of them are
    /// read at once than for requests to train.
    pub async fn reading_permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        self.reading.acquire().await.map_err(|closed| Error::backend("reading the data set", closed))
    }
}
