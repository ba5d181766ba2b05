//! The summary of a run, built from its events: what is shown of live runs, stored in `state.json`, and rebuilt
//! after a crash from the stored events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::{
    ids::{RunId, Version},
    train::{
        EpochReport, Event, FinishReason, LoggedEvents, LossAndAccuracy, Rule, RunFinished, RunStarted,
        RunState, TrainConfig,
    },
};

/// A run: its request, its state and how far it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub run_id: RunId,
    pub state: RunState,
    /// Why the run ended; none while it has not.
    pub reason: Option<FinishReason>,
    /// What went wrong; empty if nothing did.
    pub message: String,
    pub config: TrainConfig,
    pub created: DateTime<Utc>,
    pub ended: Option<DateTime<Utc>>,
    /// Number of finished epochs.
    pub epoch: u32,
    /// Number of finished batches, as far as reported.
    pub step: u32,
    /// Training loss of the last reported batch or finished epoch.
    #[serde(with = "loss")]
    pub train_loss: Option<f64>,
    pub train_accuracy: Option<f64>,
    /// Mean loss of the last validation.
    #[serde(with = "loss")]
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    /// The best epoch by the request's metric; the last one if validation is off.
    pub best_epoch: Option<u32>,
    /// The published version.
    pub version: Option<Version>,
    /// The rules that warned, each once, in the order of their first warnings.
    #[serde(default)]
    pub warnings: Vec<Rule>,
    /// The number of the newest event.
    pub last_sequence: u32,
}

/// Builds a summary event by event.
#[derive(Debug, Clone)]
pub struct SummaryBuilder {
    summary: RunSummary,
    validates: bool,
    /// Validation result of `best_epoch`.
    best: Option<LossAndAccuracy>,
    /// When the newest event happened.
    newest: DateTime<Utc>,
    /// When the run was accepted, got its turn, or was resumed for the last time.
    began: DateTime<Utc>,
    logged: LoggedEvents,
    /// SHA-256 of the training images.
    dataset_digest: Option<String>,
    /// SHA-256 of the validation images.
    validation_digest: Option<String>,
}

impl SummaryBuilder {
    /// The summary of a run that was accepted and has no events yet.
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
            logged: LoggedEvents::default(),
            dataset_digest: None,
            validation_digest: None,
        }
    }

    /// Continues an ended or queued run with this request, which differs from the run's own in its epochs at most.
    pub fn resume(&mut self, config: TrainConfig, now: DateTime<Utc>) {
        self.began = now;
        let summary = &mut self.summary;
        summary.config = config;
        (summary.state, summary.reason, summary.ended) = (RunState::Running, None, None);
        summary.message.clear();
    }

    /// Which reports the log holds already.
    pub fn logged_events(&self) -> LoggedEvents {
        self.logged.clone()
    }

    /// SHA-256 of the training images, if the run reported one.
    pub fn dataset_digest(&self) -> Option<&str> {
        self.dataset_digest.as_deref()
    }

    /// SHA-256 of the validation images, if the run reported one.
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

    /// Adds the next event.
    pub fn add(&mut self, record: &Record) {
        self.summary.last_sequence = record.sequence;
        self.newest = record.time;
        self.logged.add(&record.event);
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

    fn started(&mut self, started: &RunStarted, time: DateTime<Utc>) {
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

    fn finished(&mut self, finished: &RunFinished, time: DateTime<Utc>) {
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

/// A loss that may be missing, or NaN, for which JSON has no number.
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
