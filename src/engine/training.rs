//! Runs from the caller's side: the one training slot, starting, stopping, watching and listing.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use chrono::Utc;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
};

use super::{
    Error, Observer, RunPage, RunSummary, Watch,
    jobs::{self, Go, Job, Resume, Stop, Wish},
    log::{Life, Opening, RunLog, State},
    owner::{Owner, Presence},
    resume,
    summary::Fold,
    worker::{Device, JobThread, Priority, Setup},
};
use crate::{
    data::{Catalog, Facts, Split, Splits},
    ids::{DatasetName, RunId},
    registry::{Manifest, Page, Registry},
    train::{Event, TrainConfig},
};

/// How often it is asked whether a run is prepared; that takes a second, or as long as a download.
const PREPARING_POLL: std::time::Duration = std::time::Duration::from_millis(10);

/// Data sets that are read at once for requests that ask to train; the others wait.
const READING: usize = 2;

/// Everything that runs need.
#[derive(Debug)]
pub(super) struct Training {
    registry: Registry,
    catalog: Arc<Catalog>,
    device: Device,
    thread: JobThread,
    presence: Arc<Presence>,
    slot: Arc<Mutex<Option<Active>>>,
    draining: AtomicBool,
    /// Of callers whose data set is being read before their request is judged.
    reading: Semaphore,
    observer: Option<Arc<dyn Observer>>,
}

/// The run that holds the slot.
#[derive(Debug)]
struct Active {
    run: RunId,
    /// As it was accepted, shown while it is prepared.
    accepted: RunSummary,
    stop: Arc<Stop>,
    /// None while it is prepared.
    live: Option<Live>,
}

#[derive(Debug, Clone)]
struct Live {
    log: Arc<RunLog>,
}

impl Active {
    fn summary(&self) -> RunSummary {
        self.live.as_ref().map_or_else(|| self.accepted.clone(), |live| live.log.summary())
    }
}

/// The training slot, held; freed with the value.
struct Held {
    stop: Arc<Stop>,
    slot: Arc<Mutex<Option<Active>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        *lock(&self.slot) = None;
    }
}

impl Drop for Training {
    /// An engine that is let go without a shutdown leaves no run behind that nobody could stop.
    fn drop(&mut self) {
        if let Some(active) = &*lock(&self.slot) {
            active.stop.ask(Wish::Interrupt);
        }
    }
}

impl Training {
    pub fn new(
        registry: Registry,
        catalog: Arc<Catalog>,
        device: Device,
        threads: usize,
    ) -> Result<Self, Error> {
        let setup = Setup { threads, priority: Priority::Low };
        Ok(Self {
            registry,
            catalog,
            device,
            // One may wait: the thread may still be leaving the run that freed the slot.
            thread: JobThread::start("digitd-train", setup, 1)?,
            presence: Arc::new(Presence::new()),
            slot: Arc::default(),
            draining: AtomicBool::new(false),
            reading: Semaphore::new(READING),
            observer: None,
        })
    }

    /// The same with someone who looks on.
    pub fn observed(mut self, observer: Option<Arc<dyn Observer>>) -> Self {
        self.observer = observer;
        self
    }

    /// Starts a run. Once begun, this goes on whether or not the caller waits.
    pub async fn start(self: &Arc<Self>, config: TrainConfig) -> Result<RunId, Error> {
        config.check_for(self.facts(&config.dataset.name).await?.dims)?;
        let run = RunId::new();
        let fold = Fold::new(run, config, Utc::now());
        let held = self.hold(fold.summary().clone())?;
        let training = self.clone();
        let begun = tokio::spawn(async move { training.begin(fold, None, held).await });
        begun.await.unwrap_or_else(|error| Err(Error::backend("starting a run", error)))
    }

    /// What a request needs to know of a data set before it makes sense.
    pub async fn facts(&self, dataset: &DatasetName) -> Result<Facts, Error> {
        // At once: a request on a built-in data set takes the training slot before the next one asks.
        if let Some(facts) = Facts::built_in(dataset) {
            return Ok(facts);
        }
        let reading = self.reading.acquire().await;
        let _permit = reading.map_err(|closed| Error::backend("reading the data set", closed))?;
        let (catalog, dataset) = (self.catalog.clone(), dataset.clone());
        let facts = tokio::task::spawn_blocking(move || Ok(catalog.facts(&dataset)?)).await;
        facts.unwrap_or_else(|error| Err(Error::backend("reading the data set", error)))
    }

    /// Goes on with an ended run from its last checkpoint; returns the number of the last event that
    /// its log had before. `config` is its own request, with more epochs maybe.
    pub async fn resume(self: &Arc<Self>, run: RunId, config: TrainConfig) -> Result<u32, Error> {
        config.check_for(self.facts(&config.dataset.name).await?.dims)?;
        if self.holds(run) {
            return Err(resume::not_ended(run));
        }
        let (mut fold, resume) = resume::find(&self.registry, self, run, &config).await?;
        fold.resume(config, Utc::now());
        let last = fold.summary().last_sequence;
        let held = self.hold(fold.summary().clone())?;
        let training = self.clone();
        let begun = tokio::spawn(async move { training.begin(fold, Some(resume), held).await });
        begun.await.unwrap_or_else(|error| Err(Error::backend("resuming a run", error))).map(|_| last)
    }

    async fn begin(&self, fold: Fold, resume: Option<Resume>, held: Held) -> Result<RunId, Error> {
        let (run, config, stop) = (fold.summary().run_id, fold.summary().config.clone(), held.stop.clone());
        let (splits, digest) = self.load(&config).await?;
        if fold.dataset_digest().is_some_and(|known| *known != digest) {
            return Err(resume::refused(
                run,
                "DATASET_CHANGED",
                "its training images are not the same any more",
            ));
        }
        let initial = match resume {
            None => self.initial(&config).await?,
            // Its weights come from the checkpoint; the version may be gone.
            Some(_) => None,
        };
        let job = Job {
            config,
            initial,
            resume,
            splits,
            digest,
            device: self.device,
            registry: self.registry.clone(),
            runtime: Handle::current(),
            observer: self.observer.clone(),
        };
        let (prepared, preparation) = oneshot::channel();
        let (go, gone) = oneshot::channel();
        let submitted = self.thread.submit(move || jobs::run(job, prepared, gone));
        submitted.map_err(|_| Error::TrainingBusy { run })?;
        let prepared =
            preparation.await.map_err(|_| Error::backend("preparing a run", "its thread ended"))?;
        let opening = Opening {
            run,
            presence: self.presence.clone(),
            fold,
            stop: stop.clone(),
            at_end: Box::new(move || drop(held)),
        };
        let started = Event::Started(Box::new(prepared?));
        let (log, events) = RunLog::start(self.registry.runs(), opening, started).await?;
        if let Some(active) = &mut *lock(&self.slot) {
            active.live = Some(Live { log });
        }
        if self.draining.load(Ordering::Acquire) {
            stop.ask(Wish::Interrupt);
        }
        let _ = go.send(Go { run, events, stop });
        Ok(run)
    }

    /// Asks a run to stop after its current batch.
    pub async fn cancel(&self, run: RunId) -> Result<RunSummary, Error> {
        if let Some(active) = lock(&self.slot).as_ref().filter(|active| active.run == run) {
            active.stop.ask(Wish::Cancel);
        }
        self.run(run).await
    }

    pub async fn run(&self, run: RunId) -> Result<RunSummary, Error> {
        let active = lock(&self.slot).as_ref().filter(|active| active.run == run).map(Active::summary);
        match active {
            Some(summary) => Ok(summary),
            None => {
                let state: State = self.registry.runs().state(run).await?;
                Ok(state.summary)
            }
        }
    }

    pub async fn watch(&self, run: RunId, after: u32) -> Result<Watch, Error> {
        while self.holds(run) {
            if let Some(live) = self.live(run) {
                return Ok(Watch::live(live.log, after));
            }
            tokio::time::sleep(PREPARING_POLL).await;
        }
        let runs = self.registry.runs();
        // Asked here, so that a run that is not there is told at once.
        let _: State = runs.state(run).await?;
        Ok(Watch::stored(run, runs, after))
    }

    pub async fn runs(&self, page: RunPage) -> Result<Page<RunSummary>, Error> {
        let mut runs = self.registry.runs().list().await?;
        runs.retain(|run| page.before.is_none_or(|before| *run < before));
        let mut items = Vec::new();
        for run in runs {
            let summary = match self.run(run).await {
                Ok(summary) => summary,
                // Its beginning was cut short, or its state is damaged: the others are worth having.
                Err(Error::RunNotFound(_)) => continue,
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%run, %error, "left out of the list");
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

    /// Refuses new runs, stops the one that trains, and returns when its end is kept.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        loop {
            let active = lock(&self.slot).as_ref().map(|active| active.live.clone());
            match active {
                None => return,
                Some(Some(live)) => {
                    if let Some(active) = &*lock(&self.slot) {
                        active.stop.ask(Wish::Interrupt);
                    }
                    let mut head = live.log.head();
                    let ended = head.wait_for(|head| !matches!(head.life, Life::Open)).await;
                    if ended.is_ok() {
                        return;
                    }
                }
                // Being prepared: it will see `draining` before its first batch.
                Some(None) => tokio::time::sleep(PREPARING_POLL).await,
            }
        }
    }

    /// Whether the run trains here, or is about to.
    pub fn holds(&self, run: RunId) -> bool {
        lock(&self.slot).as_ref().is_some_and(|active| active.run == run)
    }

    /// Who owns the runs that train here.
    pub fn owner(&self) -> &Owner {
        self.presence.owner()
    }

    fn hold(&self, accepted: RunSummary) -> Result<Held, Error> {
        let mut slot = lock(&self.slot);
        if self.draining.load(Ordering::Acquire) {
            return Err(Error::Draining);
        }
        if let Some(active) = &*slot {
            return Err(Error::TrainingBusy { run: active.run });
        }
        let (run, stop) = (accepted.run_id, Arc::new(Stop::default()));
        *slot = Some(Active { run, accepted, stop: stop.clone(), live: None });
        Ok(Held { stop, slot: self.slot.clone() })
    }

    fn live(&self, run: RunId) -> Option<Live> {
        lock(&self.slot).as_ref().filter(|active| active.run == run)?.live.clone()
    }

    /// The version to start from and its weights, where the request names one.
    async fn initial(&self, config: &TrainConfig) -> Result<Option<(Manifest, Vec<u8>)>, Error> {
        let Some(initial) = &config.initial else { return Ok(None) };
        let manifest = self.registry.manifest(&initial.model, initial.version).await?;
        let weights = self.registry.weights(&manifest).await?;
        Ok(Some((manifest, weights)))
    }

    /// Training and validation images, and the digest of the former. Test images stay where they
    /// are: no choice inside a run may look at them.
    async fn load(&self, config: &TrainConfig) -> Result<(Splits, String), Error> {
        let (catalog, dataset, size) = (self.catalog.clone(), config.dataset.clone(), config.validation.size);
        let loading = tokio::task::spawn_blocking(move || {
            let [train, validation] =
                catalog.load_parts(&dataset, size, [Split::Train, Split::Validation])?;
            let digest = train.digest();
            Ok((Splits { test: train.slice(0..0), train, validation }, digest))
        });
        loading.await.unwrap_or_else(|error| Err(Error::backend("reading the data set", error)))
    }
}

fn lock(slot: &Mutex<Option<Active>>) -> MutexGuard<'_, Option<Active>> {
    // The slot is written in one assignment: a panic of another holder leaves it whole.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
