//! Runs from the caller's side: starting or queueing, stopping, watching and listing.

mod looking;
mod plan;
mod waiting;

pub(super) use looking::Found;

use std::sync::Arc;

use chrono::Utc;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
};

use super::{
    Error, Metrics, Observer, RunPage, RunSummary, Watch,
    jobs::{self, Digests, Go, Job, Resume, Wish},
    log::{Life, Opening, RunLog, State},
    owner::{Owner, Presence},
    recover, resume,
    slot::{Entry, Held, Place, Slot, WhenBusy},
    summary::Fold,
    worker::{Device, JobThread, Priority, Setup},
};
use crate::{
    data::{Catalog, Facts, Split, Splits},
    ids::{DatasetName, RunId},
    registry::{Manifest, Page, Registry},
    train::{Event, RunState, TrainConfig},
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
    slot: Arc<Slot>,
    /// Of callers whose data set is being read before their request is judged.
    reading: Semaphore,
    metrics: Arc<Metrics>,
    observer: Option<Arc<dyn Observer>>,
}

impl Drop for Training {
    /// An engine that is let go without a shutdown leaves no run behind that nobody could stop.
    fn drop(&mut self) {
        self.slot.close();
        for entry in self.slot.all() {
            self.slot.ask(entry.run, Wish::Interrupt);
        }
    }
}

impl Training {
    pub fn new(
        registry: Registry,
        catalog: Arc<Catalog>,
        device: Device,
        threads: usize,
        metrics: Arc<Metrics>,
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
            reading: Semaphore::new(READING),
            metrics,
            observer: None,
        })
    }

    /// The same with someone who looks on.
    pub fn observed(mut self, observer: Option<Arc<dyn Observer>>) -> Self {
        self.observer = observer;
        self
    }

    /// Starts a run, or queues it. Once begun, this goes on whether or not the caller waits.
    pub async fn start(self: &Arc<Self>, config: TrainConfig, when_busy: WhenBusy) -> Result<RunId, Error> {
        config.check_for(self.facts(&config.dataset.name).await?.dims)?;
        let run = RunId::new();
        self.enter(Fold::new(run, config, Utc::now()), None, when_busy).await?;
        Ok(run)
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

    /// Goes on with an ended run from its last checkpoint, or from its first step where it came to none;
    /// returns the number of the last event that its log had before. `config` is its own request, with more
    /// epochs maybe.
    pub async fn resume(
        self: &Arc<Self>,
        run: RunId,
        config: TrainConfig,
        when_busy: WhenBusy,
    ) -> Result<u32, Error> {
        config.check_for(self.facts(&config.dataset.name).await?.dims)?;
        if self.holds(run) {
            return Err(resume::not_ended(run));
        }
        let (mut fold, resume) = resume::find(&self.registry, self, run, &config).await?;
        fold.resume(config, Utc::now());
        let last = fold.summary().last_sequence;
        self.enter(fold, Some(resume), when_busy).await?;
        Ok(last)
    }

    async fn enter(
        self: &Arc<Self>,
        fold: Fold,
        resume: Option<Resume>,
        when_busy: WhenBusy,
    ) -> Result<(), Error> {
        let place = self.slot.enter(fold.summary().clone(), when_busy)?;
        let training = self.clone();
        let begun = tokio::spawn(async move {
            match place {
                Place::Slot(held) => training.begin(fold, resume, held).await,
                Place::Queue(waiting) => training.queue(fold, resume, waiting).await,
            }
        });
        begun.await.unwrap_or_else(|error| Err(Error::backend("starting a run", error)))
    }

    /// A run that has the slot at once: what is in its way is told to its caller.
    async fn begin(&self, fold: Fold, resume: Option<Resume>, held: Held) -> Result<(), Error> {
        let (run, stop, looks) = (fold.summary().run_id, held.stop.clone(), held.looks.clone());
        let (started, go) = self.prepare(&fold, resume).await?;
        let opening = Opening {
            run,
            presence: self.presence.clone(),
            metrics: self.metrics.clone(),
            fold,
            stop: stop.clone(),
            at_end: Box::new(move || drop(held)),
        };
        let (log, events) = RunLog::start(self.registry.runs(), opening, started).await?;
        self.slot.opened(run, &log);
        if self.slot.is_closed() {
            stop.ask(Wish::Interrupt);
        }
        let _ = go.send(Go { run, events, stop, looks });
        Ok(())
    }

    /// Reads the data and makes the trainer: its first event, and what lets it go.
    async fn prepare(
        &self,
        fold: &Fold,
        resume: Option<Resume>,
    ) -> Result<(Event, oneshot::Sender<Go>), Error> {
        let (run, config) = (fold.summary().run_id, fold.summary().config.clone());
        let (splits, digests) = self.load(&config).await?;
        resume::check_data(fold, &digests)?;
        let initial = match &resume {
            // Its weights come from the checkpoint; the version may be gone.
            Some(Resume { checkpoint: Some(_), .. }) => None,
            Some(Resume { checkpoint: None, .. }) | None => self.initial(&config).await?,
        };
        let job = Job {
            config,
            initial,
            resume,
            splits,
            digests,
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
        Ok((Event::Started(Box::new(prepared?)), go))
    }

    /// Asks a run to stop after its current batch. Errors: `RunElsewhere` for one that only another
    /// server can stop.
    pub async fn cancel(&self, run: RunId) -> Result<RunSummary, Error> {
        if let Some(entry) = self.slot.find(run) {
            self.slot.ask(run, Wish::Cancel);
            return Ok(entry.summary());
        }
        // It may have lost its server a moment ago: then it has ended, and there is nothing to stop.
        recover::recover_run(&self.registry, self, run).await?;
        let summary = self.run(run).await?;
        match summary.state.has_ended() {
            true => Ok(summary),
            false => Err(Error::RunElsewhere { run }),
        }
    }

    pub async fn run(&self, run: RunId) -> Result<RunSummary, Error> {
        match self.slot.find(run) {
            Some(entry) => Ok(entry.summary()),
            None => {
                let state: State = self.registry.runs().state(run).await?;
                Ok(state.summary)
            }
        }
    }

    pub async fn watch(&self, run: RunId, after: u32) -> Result<Watch, Error> {
        while let Some(entry) = self.slot.find(run) {
            if let Some(log) = entry.log {
                return Ok(Watch::live(log, after));
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

    /// Refuses new runs, stops the one that trains and those that wait, and returns when their ends
    /// are kept.
    pub async fn drain(&self) {
        self.slot.close();
        loop {
            for Entry { run, log, .. } in self.slot.all() {
                // One that is being prepared will see the closed slot before its first batch.
                let Some(log) = log else { continue };
                self.slot.ask(run, Wish::Interrupt);
                let mut head = log.head();
                // An error means that the log is gone, and the run with it.
                let _ = head.wait_for(|head| !matches!(head.life, Life::Open)).await;
            }
            if self.slot.all().is_empty() {
                return;
            }
            tokio::time::sleep(PREPARING_POLL).await;
        }
    }

    /// Brings the figures of what runs and waits up to now.
    pub fn show(&self) {
        let states: Vec<RunState> = self.slot.all().iter().map(|entry| entry.summary().state).collect();
        let of = |state| states.iter().filter(|known| **known == state).count() as i64;
        self.metrics.training.running.set(of(RunState::Running));
        self.metrics.training.queued.set(of(RunState::Queued));
    }

    /// Whether the run trains here, or is about to, or waits.
    pub fn holds(&self, run: RunId) -> bool {
        self.slot.find(run).is_some()
    }

    /// The runs that train here, are about to, or wait.
    pub fn held(&self) -> Vec<RunSummary> {
        self.slot.all().iter().map(Entry::summary).collect()
    }

    /// Who owns the runs that train here.
    pub fn owner(&self) -> &Owner {
        self.presence.owner()
    }

    /// The version to start from and its weights, where the request names one.
    async fn initial(&self, config: &TrainConfig) -> Result<Option<(Manifest, Vec<u8>)>, Error> {
        let Some(initial) = &config.initial else { return Ok(None) };
        let manifest = self.registry.manifest(&initial.model, initial.version).await?;
        let weights = self.registry.weights(&manifest).await?;
        Ok(Some((manifest, weights)))
    }

    /// Training and validation images, and their digests. Test images stay where they are: no choice
    /// inside a run may look at them.
    async fn load(&self, config: &TrainConfig) -> Result<(Splits, Digests), Error> {
        let (catalog, dataset, size) = (self.catalog.clone(), config.dataset.clone(), config.validation.size);
        let loading = tokio::task::spawn_blocking(move || {
            let [train, validation] =
                catalog.load_parts(&dataset, size, [Split::Train, Split::Validation])?;
            let digests = Digests { train: train.digest(), validation: validation.digest() };
            Ok((Splits { test: train.slice(0..0), train, validation }, digests))
        });
        loading.await.unwrap_or_else(|error| Err(Error::backend("reading the data set", error)))
    }
}
