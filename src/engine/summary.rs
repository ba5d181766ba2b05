//! A run in a nutshell, folded from its events: what is shown of live runs, kept as `state.json`,
//! and found again after a crash by folding the events once more.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::{
    ids::{RunId, Version},
    train::{
        EpochReport, Event, FinishReason, Finished, LoggedEvents, Measured, Rule, RunState, Started,
        TrainConfig,
    },
};

/// A run: its request, its state and how far it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub run_id: RunId,
    pub state: RunState,
    /// None while it has not ended.
    pub reason: Option<FinishReason>,
    /// What went wrong; empty where nothing did.
    pub message: String,
    pub config: TrainConfig,
    pub created: DateTime<Utc>,
    pub ended: Option<DateTime<Utc>>,
    /// Epochs that are finished.
    pub epoch: u32,
    /// Batches that are finished, as far as reported.
    pub step: u32,
    /// Of the last reported batch or finished epoch.
    #[serde(with = "loss")]
    pub train_loss: Option<f64>,
    pub train_accuracy: Option<f64>,
    /// Of the last validation.
    #[serde(with = "loss")]
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    /// By the request's metric; the last where validation is off.
    pub best_epoch: Option<u32>,
    /// The published version.
    pub version: Option<Version>,
    /// The rules that warned, each once, in the order of their first warnings.
    #[serde(default)]
    pub warnings: Vec<Rule>,
    /// The number of the newest event.
    pub last_sequence: u32,
}

/// A summary that grows with the events of its run.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    summary: RunSummary,
    validates: bool,
    /// What `best_epoch` scored.
    best: Option<Measured>,
    /// When the newest event happened.
    newest: DateTime<Utc>,
    /// When the run was accepted, got its turn, or was resumed for the last time.
    began: DateTime<Utc>,
    told: LoggedEvents,
    /// Of the training images.
    dataset_digest: Option<String>,
    /// Of the validation images.
    validation_digest: Option<String>,
}

impl Fold {
    /// A run that was accepted and has no events yet.
    pub fn new(run_id: RunId, config: TrainConfig, created: DateTime<Utc>) -> Self {
        let summary = RunSummary {
            run_id,
            state: RunState::Running,
            reason: None,
            message: String::new(),
            config,
            created,
            ended: None,
            epoch: 0,
            step: 0,
            train_loss: None,
            train_accuracy: None,
            validation_loss: None,
            validation_accuracy: None,
            best_epoch: None,
            version: None,
            warnings: Vec::new(),
            last_sequence: 0,
        };
        Self {
            summary,
            validates: true,
            best: None,
            newest: created,
            began: created,
            told: LoggedEvents::default(),
            dataset_digest: None,
            validation_digest: None,
        }
    }

    /// An ended run, or one that waited, goes on with this request, which differs in its epochs at most.
    pub fn resume(&mut self, config: TrainConfig, now: DateTime<Utc>) {
        self.began = now;
        let summary = &mut self.summary;
        summary.config = config;
        (summary.state, summary.reason, summary.ended) = (RunState::Running, None, None);
        summary.message.clear();
    }

    /// What the log tells already.
    pub fn told(&self) -> LoggedEvents {
        self.told.clone()
    }

    /// Digest of the training images, where the run told one.
    pub fn dataset_digest(&self) -> Option<&str> {
        self.dataset_digest.as_deref()
    }

    /// Digest of the validation images, likewise.
    pub fn validation_digest(&self) -> Option<&str> {
        self.validation_digest.as_deref()
    }

    /// When the run was accepted, got its turn, or was resumed for the last time.
    pub fn began(&self) -> DateTime<Utc> {
        self.began
    }

    pub fn summary(&self) -> &RunSummary {
        &self.summary
    }

    /// Validation accuracy of the best epoch.
    pub fn best_accuracy(&self) -> Option<f64> {
        self.best.map(|best| best.accuracy)
    }

    /// When the newest event happened; before the first one, when the run was accepted.
    pub fn newest(&self) -> DateTime<Utc> {
        self.newest
    }

    /// Takes the next event in.
    pub fn add(&mut self, record: &Record) {
        self.summary.last_sequence = record.sequence;
        self.newest = record.time;
        self.told.add(&record.event);
        match &record.event {
            Event::Queued(queued) => {
                self.resume((*queued.config).clone(), record.time);
                self.summary.state = RunState::Queued;
            }
            Event::Started(started) => self.started(started, record.time),
            Event::Batch(batch) => {
                self.summary.step = batch.step;
                self.summary.train_loss = Some(batch.loss);
                self.summary.train_accuracy = Some(batch.accuracy);
            }
            Event::Epoch(epoch) => self.epoch(epoch),
            Event::Inspection(_) => {}
            Event::Warning(warning) if self.summary.warnings.contains(&warning.rule) => {}
            Event::Warning(warning) => self.summary.warnings.push(warning.rule),
            Event::Checkpoint(checkpoint) => {
                self.summary.epoch = checkpoint.epoch;
                self.summary.step = checkpoint.step;
            }
            Event::Finished(finished) => self.finished(finished, record.time),
        }
    }

    fn started(&mut self, started: &Started, time: DateTime<Utc>) {
        self.validates = started.validation_images > 0;
        self.dataset_digest.clone_from(&started.dataset_digest);
        self.validation_digest.clone_from(&started.validation_digest);
        if started.resumed.is_some() || self.summary.state == RunState::Queued {
            self.resume(started.config.clone(), time);
        }
    }

    fn epoch(&mut self, epoch: &EpochReport) {
        let summary = &mut self.summary;
        summary.epoch = epoch.epoch;
        summary.train_loss = Some(epoch.train_loss);
        summary.train_accuracy = Some(epoch.train_accuracy);
        if let Some(validation) = epoch.validation {
            summary.validation_loss = Some(validation.loss);
            summary.validation_accuracy = Some(validation.accuracy);
        }
        let metric = summary.config.metric();
        match epoch.validation {
            Some(now) if self.best.is_none_or(|best| metric.is_better(now, best)) => {
                self.best = Some(now);
                summary.best_epoch = Some(epoch.epoch);
            }
            None if !self.validates => summary.best_epoch = Some(epoch.epoch),
            Some(_) | None => {}
        }
    }

    fn finished(&mut self, finished: &Finished, time: DateTime<Utc>) {
        let summary = &mut self.summary;
        summary.state = finished.state;
        summary.reason = Some(finished.reason);
        summary.message = finished.message.clone();
        summary.ended = Some(time);
        summary.best_epoch = finished.best_epoch.or(summary.best_epoch);
        // What was published before the run was resumed stays published.
        let version = finished.version.and_then(|version| Version::try_from(i64::from(version)).ok());
        summary.version = version.or(summary.version);
    }
}

/// A loss that may be missing, or NaN, which JSON cannot say by itself.
mod loss {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Form(#[serde(with = "crate::train::finite")] f64);

    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Form).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Form>::deserialize(from)?.map(|form| form.0))
    }
}
