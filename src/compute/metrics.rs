//! The metrics that Prometheus reads: runs, predictions and loaded versions. Names end in their base unit, as
//! Prometheus recommends; docs/metrics.md lists them.

use std::sync::{Mutex, PoisonError};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector, process_collector::ProcessCollector, proto::MetricFamily,
};

use super::error::Error;
use crate::{
    ids::{ModelName, Version},
    registry::Manifest,
    train::{BatchReport, EpochReport, Event, Rule, RunState},
};

/// From 20 µs, which a batch of one image takes, to a second, longer than a prediction should take.
const SECONDS: [f64; 15] =
    [0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
const IMAGES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

const VERSION: [&str; 2] = ["model", "version"];

/// The metrics of training and inference. Other rooms may register theirs beside them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Held while the metrics are gathered: gauges are brought up to date by one reader at a time.
    gathering: Mutex<()>,
    pub training: TrainingMetrics,
    pub inference: InferenceMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let process = ProcessCollector::for_self();
        registry.register(Box::new(process)).expect("every name is given once");
        Self {
            training: TrainingMetrics::new(&registry),
            inference: InferenceMetrics::new(&registry),
            gathering: Mutex::default(),
            registry,
        }
    }
}

impl Metrics {
    /// Where others register their series.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics, once `refresh` has set the gauges that are computed on demand.
    pub fn gather(&self, refresh: impl FnOnce()) -> Vec<MetricFamily> {
        let _gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        refresh();
        self.registry.gather()
    }

    /// Counts calls that are rejected before they reach a version's queue.
    pub fn rejected(&self, reason: &str) -> IntCounter {
        self.inference.rejected.with_label_values(&[reason])
    }
}

/// Metrics of the run that trains, or of the last one that did.
#[derive(Debug)]
pub struct TrainingMetrics {
    pub running: IntGauge,
    pub queued: IntGauge,
    runs: IntCounterVec,
    epochs: IntCounter,
    warnings: IntCounterVec,
    checkpoints: IntCounter,
    checkpoint_bytes: IntGauge,
    epoch: IntGauge,
    step: IntGauge,
    loss: Gauge,
    accuracy: Gauge,
    validation_loss: Gauge,
    validation_accuracy: Gauge,
    learning_rate: Gauge,
    gradient_norm: Gauge,
    images_per_second: Gauge,
    epoch_seconds: Gauge,
}

impl TrainingMetrics {
    fn new(registry: &Registry) -> Self {
        let int = |name: &str, help: &str| registered(registry, plain(IntGauge::new(training(name), help)));
        let gauge = |name: &str, help: &str| registered(registry, plain(Gauge::new(training(name), help)));
        let counter =
            |name: &str, help: &str| registered(registry, plain(IntCounter::new(training(name), help)));
        let runs = "Runs that ended, by their state.";
        let warnings = "Warnings about the health of runs, by rule.";
        Self {
            running: int("running", "1 while a run trains, else 0."),
            queued: int("queued_runs", "Runs that wait for the training slot."),
            runs: registered(registry, counters(&training("runs_total"), runs, &["state"])),
            warnings: registered(registry, counters(&training("warnings_total"), warnings, &["rule"])),
            epochs: counter("epochs_total", "Epochs that ended."),
            checkpoints: counter("checkpoints_total", "Checkpoints that were written."),
            checkpoint_bytes: int("checkpoint_bytes", "Size of the last checkpoint."),
            epoch: int("epoch", "Epoch of the last reported batch, counted from 1."),
            step: int("step", "Batches of the run by the last report."),
            loss: gauge("loss", "Mean loss of the last reported batch."),
            accuracy: gauge("accuracy_ratio", "Share of right answers in the last reported batch."),
            validation_loss: gauge("validation_loss", "Mean loss over the validation images."),
            validation_accuracy: gauge("validation_accuracy_ratio", "Share of right validation answers."),
            learning_rate: gauge("learning_rate", "Learning rate of the last reported batch."),
            gradient_norm: gauge("gradient_norm", "L2 norm of the gradient of the last reported batch."),
            images_per_second: gauge("images_per_second", "Images a second between the last two reports."),
            epoch_seconds: gauge("epoch_seconds", "Duration of the last epoch, its validation included."),
        }
    }

    /// Updates the metrics with an event of a run.
    pub fn add(&self, event: &Event) {
        match event {
            Event::Queued(_) | Event::Started(_) | Event::Inspection(_) => {}
            Event::Batch(batch) => self.add_batch(batch),
            Event::Epoch(epoch) => self.add_epoch(epoch),
            Event::Warning(warning) => self.warnings.with_label_values(&[rule(warning.rule)]).inc(),
            Event::Checkpoint(checkpoint) => {
                self.checkpoints.inc();
                self.checkpoint_bytes.set(checkpoint.bytes.into());
            }
            Event::Finished(finished) => self.runs.with_label_values(&[state(finished.state)]).inc(),
        }
    }

    fn add_batch(&self, batch: &BatchReport) {
        self.epoch.set(batch.epoch.into());
        self.step.set(batch.step.into());
        self.loss.set(batch.loss);
        self.accuracy.set(batch.accuracy);
        self.learning_rate.set(batch.learning_rate);
        self.images_per_second.set(batch.images_per_second);
        if let Some(norm) = batch.gradient_norm {
            self.gradient_norm.set(norm);
        }
    }

    fn add_epoch(&self, epoch: &EpochReport) {
        self.epochs.inc();
        self.epoch_seconds.set(epoch.seconds);
        if let Some(measured) = epoch.validation {
            self.validation_loss.set(measured.loss);
            self.validation_accuracy.set(measured.accuracy);
        }
    }
}

/// Metrics of the predictions of all versions.
#[derive(Debug)]
pub struct InferenceMetrics {
    requests: IntCounterVec,
    queue: HistogramVec,
    compute: HistogramVec,
    batch: HistogramVec,
    rejected: IntCounterVec,
    replaced: IntCounter,
    pending: IntGaugeVec,
    info: IntGaugeVec,
}

/// The label of each `CallOutcome`, in the order of its variants.
const OUTCOMES: [&str; 5] = ["ok", "queue_full", "deadline", "cancelled", "error"];

/// How a call for predictions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    Succeeded,
    /// The queue was full.
    Rejected,
    DeadlineExceeded,
    /// The caller disconnected.
    Cancelled,
    Failed,
}

/// The metrics of one version.
#[derive(Debug)]
pub struct VersionMetrics {
    outcomes: [IntCounter; 5],
    /// Seconds that each chunk of a call waited for a worker.
    pub queue: Histogram,
    /// Seconds that each batch was computed for.
    pub compute: Histogram,
    /// Images of each batch.
    pub batch: Histogram,
    rejected: [IntCounter; 2],
    pub replaced: IntCounter,
}

impl InferenceMetrics {
    fn new(registry: &Registry) -> Self {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(inference(name), help).buckets(buckets.into());
            registered(registry, plain(HistogramVec::new(options, &VERSION)))
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, counters(&inference(name), help, labels))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, plain(IntGaugeVec::new(Opts::new(name, help), labels)))
        };
        let replaced = IntCounter::new(
            inference("workers_replaced_total"),
            "Networks that were made anew after a panic in their worker.",
        );
        let pending = inference("pending_images");
        Self {
            requests: counter(
                "requests_total",
                "Calls for predictions that ended, by how.",
                &["model", "version", "outcome"],
            ),
            queue: histogram("queue_seconds", "Waiting of a call, or a part of one, for a worker.", &SECONDS),
            compute: histogram("compute_seconds", "Computing of a batch.", &SECONDS),
            batch: histogram("batch_size", "Images of a batch.", &IMAGES),
            rejected: counter("rejected_total", "Calls that were turned away, by reason.", &["reason"]),
            replaced: registered(registry, plain(replaced)),
            pending: gauges(&pending, "Images that wait for a worker.", &VERSION),
            info: gauges(
                "digitd_model_info",
                "1 for each version that is loaded.",
                &["model", "version", "precision", "parameters"],
            ),
        }
    }

    /// The metrics of a version; every series exists from the beginning.
    pub fn version(&self, model: &ModelName, version: Version) -> VersionMetrics {
        let version = version.to_string();
        let labels = [model.as_str(), &version];
        let outcome = |name: &str| self.requests.with_label_values(&[model.as_str(), version.as_str(), name]);
        VersionMetrics {
            outcomes: OUTCOMES.map(outcome),
            queue: self.queue.with_label_values(&labels),
            compute: self.compute.with_label_values(&labels),
            batch: self.batch.with_label_values(&labels),
            rejected: ["queue_full", "deadline"].map(|reason| self.rejected.with_label_values(&[reason])),
            replaced: self.replaced.clone(),
        }
    }

    /// Removes the series of a deleted version.
    pub fn remove(&self, model: &ModelName, version: Version) {
        let version = version.to_string();
        let labels = [model.as_str(), version.as_str()];
        for outcome in OUTCOMES {
            // An error means that there is no such series, which is as well; so below.
            let _ = self.requests.remove_label_values(&[labels[0], labels[1], outcome]);
        }
        for histogram in [&self.queue, &self.compute, &self.batch] {
            let _ = histogram.remove_label_values(&labels);
        }
    }

    /// Sets the gauges of the loaded versions and of the images that wait for each.
    pub fn set_loaded<'a>(&self, loaded: impl Iterator<Item = (&'a Manifest, usize)>) {
        self.info.reset();
        self.pending.reset();
        for (manifest, waiting) in loaded {
            let (version, parameters) = (manifest.version.to_string(), manifest.total_parameters.to_string());
            let (model, precision) = (manifest.model.as_str(), manifest.precision.to_string());
            self.info.with_label_values(&[model, &version, &precision, &parameters]).set(1);
            self.pending.with_label_values(&[model, &version]).set(waiting as i64);
        }
    }
}

impl VersionMetrics {
    /// Counts a call that ended.
    pub fn ended(&self, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Rejected => self.rejected[0].inc(),
            CallOutcome::DeadlineExceeded => self.rejected[1].inc(),
            CallOutcome::Succeeded | CallOutcome::Cancelled | CallOutcome::Failed => {}
        }
        self.outcomes[outcome as usize].inc();
    }

    /// The number of calls with this outcome.
    #[cfg(test)]
    pub fn count(&self, outcome: CallOutcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }
}

impl CallOutcome {
    /// The outcome of a call that failed with this error.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::QueueFull { .. } => Self::Rejected,
            Error::DeadlineExceeded => Self::DeadlineExceeded,
            _ => Self::Failed,
        }
    }
}

fn training(name: &str) -> String {
    format!("digitd_training_{name}")
}

fn inference(name: &str) -> String {
    format!("digitd_inference_{name}")
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    plain(IntCounterVec::new(Opts::new(name, help), labels))
}

fn plain<T>(made: prometheus::Result<T>) -> T {
    made.expect("names and labels are plain words")
}

fn registered<T: Collector + Clone + 'static>(registry: &Registry, collector: T) -> T {
    registry.register(Box::new(collector.clone())).expect("every name is given once");
    collector
}

fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::DeadChannels => "dead_channels",
        Rule::ExplodingGradients => "exploding_gradients",
        Rule::VanishingGradients => "vanishing_gradients",
        Rule::UpdateRatio => "update_ratio",
        Rule::Overfitting => "overfitting",
        Rule::Underfitting => "underfitting",
        Rule::Plateau => "plateau",
        Rule::ClassNeverPredicted => "class_never_predicted",
    }
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "queued",
        RunState::Running => "running",
        RunState::Completed => "completed",
        RunState::Cancelled => "cancelled",
        RunState::Failed => "failed",
        RunState::Interrupted => "interrupted",
    }
}
