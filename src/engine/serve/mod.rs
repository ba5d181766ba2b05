//! The loaded versions: loading on first use, letting go of the least recently used, and the way of a
//! prediction. What a reference means is `lookup`'s to say.

mod batcher;
mod counts;
mod lookup;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::timeout_at;

use crate::{
    engine::{
        BatchConfig, Error, Metrics, Pictures, Predicted,
        metrics::Outcome,
        worker::{self, Device, Serving},
    },
    ids::{ModelName, Version},
    registry::{self, Manifest, ModelRef, Registry},
};

pub(super) use batcher::{Answer, Batcher, Chunk, Pixels};
pub use counts::{BatchFigures, Figures, Phases, Span};
pub(super) use counts::{Counts, Executed};
use lookup::{Asked, Looks, Resolved};

/// All loaded versions.
#[derive(Debug)]
pub(super) struct Models {
    registry: Registry,
    device: Device,
    config: BatchConfig,
    metrics: Arc<Metrics>,
    /// Written only under `loaded`, so that nothing in it outlives its being let go.
    resolved: RwLock<HashMap<ModelRef, Arc<Resolved>>>,
    looks: Looks,
    loaded: RwLock<HashMap<Key, Arc<Loaded>>>,
    /// Of every version that was ever loaded and is not deleted.
    counts: RwLock<BTreeMap<Key, Arc<Counts>>>,
    /// What is being loaded, each once however many wait for it, and whether or not they still do.
    loading: Mutex<HashMap<Key, Load>>,
    /// Held while a version is loaded: one at a time, so that the memory is bounded.
    turn: tokio::sync::Mutex<()>,
    began: Instant,
}

pub(super) type Key = (ModelName, Version);

/// A version that is being loaded.
#[derive(Debug, Clone)]
struct Load {
    since: tokio::time::Instant,
    outcome: Shared<BoxFuture<'static, Result<Arc<Loaded>, Error>>>,
}

/// Takes a load off the list of those under way, however it ended.
struct UnderWay {
    models: Arc<Models>,
    key: Key,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.models.loading().remove(&self.key);
    }
}

/// A version that answers.
#[derive(Debug)]
pub(super) struct Loaded {
    pub manifest: Arc<Manifest>,
    /// When its manifest was read.
    asked: Asked,
    batcher: Arc<Batcher>,
    counts: Arc<Counts>,
    /// Microseconds since `Models::began`.
    used: AtomicU64,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.batcher.close();
    }
}

impl Models {
    pub fn new(registry: Registry, device: Device, config: BatchConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            registry,
            device,
            config,
            metrics,
            resolved: RwLock::default(),
            looks: Looks::default(),
            loaded: RwLock::default(),
            counts: RwLock::default(),
            loading: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Loads a version in a task of its own, which a caller that goes away leaves as it is; joins
    /// the one that does so already.
    fn load(self: &Arc<Self>, manifest: Manifest, asked: Asked) -> Load {
        let key = (manifest.model.clone(), manifest.version);
        let mut loading = self.loading();
        if let Some(load) = loading.get(&key) {
            return load.clone();
        }
        let under_way = UnderWay { models: self.clone(), key: key.clone() };
        let task = tokio::spawn(async move {
            let outcome = under_way.models.load_alone(&under_way.key, manifest, asked).await;
            if outcome.is_ok() {
                let models = under_way.models.clone();
                tokio::spawn(async move { models.forget_deleted().await });
            }
            outcome
        });
        let outcome =
            async { task.await.unwrap_or_else(|error| Err(Error::backend("loading a model", error))) };
        let load = Load { since: tokio::time::Instant::now(), outcome: outcome.boxed().shared() };
        loading.insert(key, load.clone());
        load
    }

    async fn load_alone(&self, key: &Key, manifest: Manifest, asked: Asked) -> Result<Arc<Loaded>, Error> {
        let _alone = self.turn.lock().await;
        if let Some(loaded) = self.find(key) {
            return Ok(loaded);
        }
        let weights = self.registry.weights(&manifest).await?;
        let manifest = Arc::new(manifest);
        let counts = self.counts(key);
        let serving = Serving { device: self.device, config: &self.config, counts: counts.clone() };
        let batcher = worker::start(manifest.clone(), weights, serving).await?;
        tracing::info!(model = %key.0, version = %key.1, "loaded");
        let loaded = Arc::new(Loaded { manifest, asked, batcher, counts, used: AtomicU64::default() });
        self.touch(&loaded);
        self.insert(key.clone(), loaded.clone());
        Ok(loaded)
    }

    fn insert(&self, key: Key, fresh: Arc<Loaded>) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(key, fresh);
        while loaded.len() > self.config.max_loaded_versions {
            let oldest = loaded.iter().min_by_key(|(_, loaded)| loaded.used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            let Some(old) = loaded.remove(&oldest) else { break };
            tracing::info!(model = %oldest.0, version = %oldest.1, "let go");
            self.unresolve(&old);
        }
    }

    /// Forgets a version that was deleted: its network, its figures and their series.
    pub fn deleted(&self, key: &Key) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = loaded.remove(key) {
            self.unresolve(&old);
        }
        drop(loaded);
        if self.counts.write().unwrap_or_else(PoisonError::into_inner).remove(key).is_some() {
            self.metrics.inference.forget(&key.0, key.1);
        }
    }

    /// The same for those that other servers deleted. It is looked for whenever another version is
    /// loaded: so there are never more of them than are loaded between two looks.
    async fn forget_deleted(&self) {
        let counted: Vec<Key> = {
            let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
            counts.keys().cloned().collect()
        };
        for key in counted {
            let read = self.registry.manifest(&key.0, key.1).await;
            if let Err(registry::Error::VersionNotFound { .. } | registry::Error::ModelNotFound(_)) = read {
                self.deleted(&key);
            }
        }
    }

    /// What every version did that was loaded since the server's start, by name and number.
    pub fn figures(&self) -> Vec<(ModelName, Version, Figures)> {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((name, version), counts)| (name.clone(), *version, counts.read())).collect()
    }

    pub fn are_any_loaded(&self) -> bool {
        !self.loaded.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Brings the figures of what is loaded and waits up to now.
    pub fn show(&self) {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = loaded.values().map(|loaded| (&*loaded.manifest, loaded.batcher.waiting_images()));
        self.metrics.inference.show_loaded(waiting);
    }

    pub fn batching(&self) -> BatchConfig {
        BatchConfig { workers: self.config.threads(self.device), ..self.config.clone() }
    }

    pub fn on_gpu(&self) -> bool {
        self.device.is_cuda()
    }

    /// Whether a version is loaded.
    pub fn has(&self, name: &ModelName, version: Version) -> bool {
        self.find(&(name.clone(), version)).is_some()
    }

    fn counts(&self, key: &Key) -> Arc<Counts> {
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let metrics = self.metrics.inference.version(&key.0, key.1);
            Arc::new(Counts::new(self.config.max_batch_size, metrics))
        };
        counts.entry(key.clone()).or_insert_with(fresh).clone()
    }

    fn loading(&self) -> MutexGuard<'_, HashMap<Key, Load>> {
        // Inserting and removing leave the map whole, whoever panicked.
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Option<Arc<Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn touch(&self, loaded: &Loaded) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        loaded.used.store(now, Ordering::Relaxed);
    }
}

impl Loaded {
    /// Answers pictures in their order.
    pub async fn predict(&self, pictures: Pictures, deadline: Option<Instant>) -> Result<Predicted, Error> {
        let call = self.counts.call(deadline);
        let answer = self.answer(pictures, deadline).await;
        call.ended(answer.as_ref().map_or_else(Outcome::of, |_| Outcome::Answered));
        answer
    }

    async fn answer(&self, pictures: Pictures, deadline: Option<Instant>) -> Result<Predicted, Error> {
        let images = count(&pictures, &self.manifest)?;
        let area = self.manifest.height * self.manifest.width;
        let answers = self.batcher.submit(pictures, (images, area), deadline)?;
        let mut probabilities = Vec::with_capacity(images * self.manifest.classes);
        for answer in answers {
            let answered = match deadline {
                Some(deadline) => timeout_at(deadline.into(), answer).await,
                None => Ok(answer.await),
            };
            match answered {
                Ok(Ok(part)) => probabilities.append(&mut part?),
                Ok(Err(_)) => return Err(Error::backend("predicting", "a worker ended without an answer")),
                Err(_) => return Err(Error::DeadlineExceeded),
            }
        }
        let Manifest { model, version, classes, class_names, .. } = &*self.manifest;
        Ok(Predicted {
            model: model.clone(),
            version: *version,
            classes: *classes,
            class_names: class_names.clone(),
            probabilities,
        })
    }
}

/// How many pictures there are; errors where their size is wrong. Their values are the caller's
/// affair: millions of them are no work for this thread.
fn count(pictures: &Pictures, manifest: &Manifest) -> Result<usize, Error> {
    let (height, width) = (manifest.height, manifest.width);
    let (length, pixel) = match pictures {
        Pictures::Bytes(bytes) => (bytes.len(), 1),
        Pictures::Floats(values) => (values.len(), 1),
        Pictures::FloatBytes(bytes) => (bytes.len(), size_of::<f32>()),
    };
    let picture = height * width * pixel;
    if length == 0 || !length.is_multiple_of(picture) {
        let message =
            format!("have {} pixels: give pictures of {height} x {width}, one at least", length / pixel);
        return Err(Error::field("images", message));
    }
    Ok(length / picture)
}

#[cfg(test)]
mod tests;
