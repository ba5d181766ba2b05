//! The loaded versions: loading on first use, and evicting the least recently used one. Which version a reference means
//! is for `resolver` to find out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{
    config::BatchConfig,
    loaded::{LoadedVersion, ResolveStamp},
    resolve_table::ResolveTable,
    stats::VersionStats,
    stats_table::{Key, StatsTable},
    worker::{self, ServingSetup},
};
use crate::{
    compute::{Device, Error, Metrics},
    ids::{ModelName, Version},
    registry::{self, Manifest, ModelRef, Registry},
};

/// The versions that are loaded, and those that are being loaded.
#[derive(Debug)]
pub struct LoadedModels {
    pub(super) registry: Registry,
    device: Device,
    config: BatchConfig,
    metrics: Arc<Metrics>,
    /// Committed to only under `loaded`, so that no reference outlives the eviction of its version.
    pub(super) resolved: ResolveTable,
    loaded: RwLock<HashMap<Key, Arc<LoadedVersion>>>,
    stats: StatsTable,
    /// The versions that are being loaded, each once however many callers wait for it.
    loading: Mutex<HashMap<Key, PendingLoad>>,
    /// Whether a version can predict: false until the first one is loaded.
    can_predict: watch::Sender<bool>,
    /// Limits the versions whose weights are read or wait for their turn, so that memory is bounded.
    reading: Semaphore,
    /// Held while the workers of a version start: one version at a time, because that takes all cores.
    turn: tokio::sync::Mutex<()>,
    began: Instant,
}

/// The largest number of versions whose weights are read at once. One read that hangs must not keep the others waiting.
const MAX_READS: usize = 4;

/// How long the reading of weights may take. They have at most 80 MB.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A version that is being loaded.
#[derive(Debug, Clone)]
pub struct PendingLoad {
    pub since: tokio::time::Instant,
    pub outcome: Shared<BoxFuture<'static, Result<Arc<LoadedVersion>, Error>>>,
}

/// Removes a load from the pending ones, however it ended.
struct LoadGuard {
    models: Arc<LoadedModels>,
    key: Key,
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.models.loading().remove(&self.key);
    }
}

impl LoadedModels {
    pub fn new(registry: Registry, device: Device, config: BatchConfig, metrics: Arc<Metrics>) -> Self {
        let stats = StatsTable::new(metrics.clone(), config.max_batch_size);
        Self {
            registry,
            device,
            config,
            metrics,
            resolved: ResolveTable::default(),
            loaded: RwLock::default(),
            stats,
            loading: Mutex::default(),
            can_predict: watch::Sender::new(false),
            reading: Semaphore::new(MAX_READS),
            turn: tokio::sync::Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Loads a version in a task that continues if its caller disconnects, or joins the one that loads it already.
    pub(super) fn load(self: &Arc<Self>, manifest: Manifest, stamp: ResolveStamp) -> PendingLoad {
        let key = (manifest.model.clone(), manifest.version);
        let mut loading = self.loading();
        if let Some(load) = loading.get(&key) {
            return load.clone();
        }
        let (models, of_guard) = (self.clone(), key.clone());
        let task = tokio::spawn(async move {
            // Made here and not before: a runtime that shuts down drops the task inside `spawn`, under the lock that
            // the guard takes.
            let guard = LoadGuard { models, key: of_guard };
            let outcome = guard.models.load_exclusively(&guard.key, manifest, stamp).await;
            if outcome.is_ok() {
                let models = guard.models.clone();
                tokio::spawn(async move { models.forget_deleted().await });
            }
            outcome
        });
        let outcome =
            async { task.await.unwrap_or_else(|error| Err(Error::backend("loading a model", error))) };
        let load = PendingLoad { since: tokio::time::Instant::now(), outcome: outcome.boxed().shared() };
        loading.insert(key, load.clone());
        load
    }

    async fn load_exclusively(
        &self,
        key: &Key,
        manifest: Manifest,
        stamp: ResolveStamp,
    ) -> Result<Arc<LoadedVersion>, Error> {
        if let Some(loaded) = self.find(key) {
            return Ok(loaded);
        }
        let _reading = self.reading.acquire().await.expect("the semaphore is never closed");
        let weights = match timeout(READ_TIMEOUT, self.registry.weights(&manifest)).await {
            Ok(weights) => weights?,
            Err(_) => {
                let details = format!("the store did not send them within {READ_TIMEOUT:?}");
                return Err(Error::backend("reading the weights", details));
            }
        };
        let _turn = self.turn.lock().await;
        let manifest = Arc::new(manifest);
        let stats = self.stats.loading(key);
        let serving = ServingSetup { device: self.device, config: &self.config, stats: stats.clone() };
        let started = worker::start(manifest.clone(), weights, serving).await;
        let batcher = started.inspect_err(|_| self.stats.unloaded(key))?;
        tracing::info!(model = %key.0, version = %key.1, "loaded");
        let loaded = Arc::new(LoadedVersion::new(manifest, stamp, batcher, stats));
        self.touch(&loaded);
        self.insert(key.clone(), loaded.clone());
        Ok(loaded)
    }

    fn insert(&self, key: Key, fresh: Arc<LoadedVersion>) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(key.clone(), fresh);
        while loaded.len() > self.config.max_loaded_versions {
            // The fresh version stays, even if the others were used since it was made.
            let others = loaded.iter().filter(|(other, _)| **other != key);
            let oldest = others.min_by_key(|(_, loaded)| loaded.last_used());
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            let Some(old) = loaded.remove(&oldest) else { break };
            tracing::info!(model = %oldest.0, version = %oldest.1, "evicted");
            self.resolved.evict(&old);
            self.stats.unloaded(&oldest);
        }
    }

    /// Evicts a version that was deleted, and removes its statistics and their series.
    pub fn forget(&self, key: &Key) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = loaded.remove(key) {
            self.resolved.evict(&old);
        }
        drop(loaded);
        self.stats.remove(key);
    }

    /// Forgets the versions that other servers deleted. Whenever a version is loaded the others are checked, so there are
    /// never more of them than are loaded between two checks.
    async fn forget_deleted(&self) {
        for key in self.stats.keys() {
            let read = self.registry.manifest(&key.0, key.1).await;
            if let Err(registry::Error::VersionNotFound { .. } | registry::Error::ModelNotFound(_)) = read {
                self.forget(&key);
            }
        }
    }

    /// The statistics of every version that is loaded or was lately, by name and number.
    pub fn stats(&self) -> Vec<VersionStats> {
        self.stats.read()
    }

    /// Whether any version is loaded.
    pub fn are_any_loaded(&self) -> bool {
        !self.loaded.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Sets the gauges of the loaded versions, and removes the series of those that were unloaded some time ago.
    pub fn refresh_metrics(&self) {
        self.stats.expire();
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = loaded.values().map(|loaded| (&*loaded.manifest, loaded.batcher.waiting_images()));
        self.metrics.inference.set_loaded(waiting);
    }

    /// How predictions are batched, with the number of workers filled in.
    pub fn batching(&self) -> BatchConfig {
        BatchConfig { workers: self.config.worker_count(self.device), ..self.config.clone() }
    }

    /// Whether predictions are computed on a GPU.
    pub fn on_gpu(&self) -> bool {
        self.device.is_cuda()
    }

    /// Whether a version is loaded.
    pub fn has(&self, name: &ModelName, version: Version) -> bool {
        self.find(&(name.clone(), version)).is_some()
    }

    /// Becomes true when the first version is loaded.
    pub fn can_predict(&self) -> watch::Receiver<bool> {
        self.can_predict.subscribe()
    }

    /// Records that a version can predict.
    pub(super) fn set_can_predict(&self) {
        self.can_predict.send_replace(true);
    }

    /// Commits what a reference resolved to, unless the version was evicted.
    pub(super) fn commit(&self, model: &ModelRef, stamp: ResolveStamp, loaded: &Arc<LoadedVersion>) {
        let key = (loaded.manifest.model.clone(), loaded.manifest.version);
        let all = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        if all.get(&key).is_some_and(|current| Arc::ptr_eq(current, loaded)) {
            self.resolved.commit(model, stamp, loaded);
        }
    }

    /// Commits the version that a reference resolved to before, unless that one was evicted.
    pub(super) fn commit_previous(
        &self,
        model: &ModelRef,
        stamp: ResolveStamp,
        previous: &Arc<LoadedVersion>,
    ) {
        let key = (previous.manifest.model.clone(), previous.manifest.version);
        let all = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        if all.get(&key).is_some_and(|current| Arc::ptr_eq(current, previous)) {
            self.resolved.commit_previous(model, stamp, previous);
        }
    }

    fn loading(&self) -> MutexGuard<'_, HashMap<Key, PendingLoad>> {
        // Inserting and removing leave the map whole, whoever panicked.
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<LoadedVersion>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn touch(&self, loaded: &LoadedVersion) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        loaded.touch(now);
    }
}

#[cfg(test)]
mod tests;
