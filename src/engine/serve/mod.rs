//! The loaded versions: what a reference means (remembered for a second), loading on first use,
//! letting go of the least recently used, and the way of a prediction.

mod batcher;
mod counts;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
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
    registry::{Manifest, ModelRef, Registry},
};

pub(super) use batcher::{Answer, Batcher, Chunk, Pixels};
pub use counts::{BatchFigures, Figures, Phases, Span};
pub(super) use counts::{Counts, Executed};

/// For so long a reference means what it meant when the registry was asked last.
const FRESH: Duration = Duration::from_secs(1);

/// For so long callers are answered by what it meant while the registry is asked again.
const USABLE: Duration = Duration::from_secs(2);

/// Where a reference moves to a version that is not loaded, callers wait for it for so long after
/// its loading began: whoever moved it and asks at once gets the new version. A version that
/// loads for longer is switched to when it is there; the one before answers meanwhile.
const SWITCH_PATIENCE: Duration = Duration::from_secs(2);

/// For so long callers wait for a version where nothing else can answer them.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// All loaded versions.
#[derive(Debug)]
pub(super) struct Models {
    registry: Registry,
    device: Device,
    config: BatchConfig,
    metrics: Arc<Metrics>,
    resolved: RwLock<HashMap<ModelRef, Arc<Resolved>>>,
    loaded: RwLock<HashMap<Key, Arc<Loaded>>>,
    /// Of every version that was ever loaded: there are no more of them than versions.
    counts: RwLock<BTreeMap<Key, Arc<Counts>>>,
    /// What is being loaded, each once however many wait for it, and whether or not they still do.
    loading: Mutex<HashMap<Key, Load>>,
    /// Held while a version is loaded: one at a time, so that the memory is bounded.
    turn: tokio::sync::Mutex<()>,
    began: Instant,
}

type Key = (ModelName, Version);

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

/// What a reference meant when the registry was asked.
#[derive(Debug)]
struct Resolved {
    loaded: Arc<Loaded>,
    at: Instant,
    /// The registry's own changes until then.
    generation: u64,
    refreshing: AtomicBool,
}

/// A version that answers.
#[derive(Debug)]
pub(super) struct Loaded {
    pub manifest: Arc<Manifest>,
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
            loaded: RwLock::default(),
            counts: RwLock::default(),
            loading: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            began: Instant::now(),
        }
    }

    /// The version that a reference means, loaded.
    pub async fn get(self: &Arc<Self>, model: &ModelRef) -> Result<Arc<Loaded>, Error> {
        let Some(known) = self.known(model) else { return self.refresh(model).await };
        let age = known.at.elapsed();
        if known.generation != self.registry.generation() || age >= USABLE {
            return self.refresh(model).await;
        }
        if age >= FRESH && !known.refreshing.swap(true, Ordering::AcqRel) {
            let (models, model) = (self.clone(), model.clone());
            tokio::spawn(async move { models.refresh(&model).await });
        }
        self.touch(&known.loaded);
        Ok(known.loaded.clone())
    }

    /// The same before a deadline.
    pub async fn get_before(
        self: &Arc<Self>,
        model: &ModelRef,
        deadline: Option<Instant>,
    ) -> Result<Arc<Loaded>, Error> {
        match deadline {
            Some(deadline) => timeout_at(deadline.into(), self.get(model)).await,
            None => Ok(self.get(model).await),
        }
        .map_err(|_| Error::DeadlineExceeded)?
    }

    /// Asks the registry what a reference means. Where the store does not answer, what it meant
    /// before goes on answering.
    async fn refresh(self: &Arc<Self>, model: &ModelRef) -> Result<Arc<Loaded>, Error> {
        // Before the question: a change in between makes the answer old at once.
        let generation = self.registry.generation();
        let loaded = match self.look_up(model).await {
            Ok(loaded) => loaded,
            Err(error @ Error::Backend { .. }) => match self.known(model) {
                Some(known) => known.loaded.clone(),
                None => return Err(error),
            },
            Err(error) => {
                self.forget(model);
                return Err(error);
            }
        };
        self.touch(&loaded);
        let at = Instant::now();
        let now = Resolved { loaded: loaded.clone(), at, generation, refreshing: AtomicBool::new(false) };
        let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        resolved.insert(model.clone(), Arc::new(now));
        Ok(loaded)
    }

    /// The version that a reference means, or the one that it meant before while that one loads.
    async fn look_up(self: &Arc<Self>, model: &ModelRef) -> Result<Arc<Loaded>, Error> {
        let (name, version) = self.registry.resolve(model).await?;
        // Read even where the version is loaded: it may have been deleted.
        let manifest = self.registry.manifest(&name, version).await?;
        if let Some(loaded) = self.find(&(name, version)) {
            return Ok(loaded);
        }
        let before = self.known(model).map(|known| known.loaded.clone());
        let patience = if before.is_some() { SWITCH_PATIENCE } else { FIRST_PATIENCE };
        let load = self.load(manifest);
        if let Ok(outcome) = timeout_at(load.since + patience, load.outcome.clone()).await {
            return outcome;
        }
        let before = before.ok_or(Error::Loading)?;
        let (models, model) = (self.clone(), model.clone());
        tokio::spawn(async move {
            // Whether it succeeded, the next caller's look tells.
            let _ = load.outcome.await;
            models.forget(&model);
        });
        Ok(before)
    }

    /// Loads a version in a task of its own, which a caller that goes away leaves as it is; joins
    /// the one that does so already.
    fn load(self: &Arc<Self>, manifest: Manifest) -> Load {
        let key = (manifest.model.clone(), manifest.version);
        let mut loading = self.loading();
        if let Some(load) = loading.get(&key) {
            return load.clone();
        }
        let under_way = UnderWay { models: self.clone(), key: key.clone() };
        let task = tokio::spawn(async move { under_way.models.load_alone(&under_way.key, manifest).await });
        let outcome =
            async { task.await.unwrap_or_else(|error| Err(Error::backend("loading a model", error))) };
        let load = Load { since: tokio::time::Instant::now(), outcome: outcome.boxed().shared() };
        loading.insert(key, load.clone());
        load
    }

    async fn load_alone(&self, key: &Key, manifest: Manifest) -> Result<Arc<Loaded>, Error> {
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
        let loaded = Arc::new(Loaded { manifest, batcher, counts, used: AtomicU64::default() });
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
            let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
            resolved.retain(|_, known| !Arc::ptr_eq(&known.loaded, &old));
        }
    }

    /// What every version did that was loaded since the server's start, by name and number.
    pub fn figures(&self) -> Vec<(ModelName, Version, Figures)> {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((name, version), counts)| (name.clone(), *version, counts.read())).collect()
    }

    /// Brings the figures of what is loaded and waits up to now.
    pub fn are_any_loaded(&self) -> bool {
        !self.loaded.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub fn show(&self) {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = loaded.values().map(|loaded| (&*loaded.manifest, loaded.batcher.waiting_images()));
        self.metrics.inference.show_loaded(waiting);
    }

    pub fn batching(&self) -> BatchConfig {
        BatchConfig { workers: self.config.threads(), ..self.config.clone() }
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

    fn known(&self, model: &ModelRef) -> Option<Arc<Resolved>> {
        self.resolved.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    fn forget(&self, model: &ModelRef) {
        self.resolved.write().unwrap_or_else(PoisonError::into_inner).remove(model);
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
