//! The training loop. Losses and accuracies stay on the device and are read at report points only, so
//! that no batch waits for them.

use std::time::Instant;

use tch::{Device, Tensor};

use super::{
    BatchReport, EpochReport, Event, InspectAt, Inspection, LossAndAccuracy, RunStarted, StepId, TrainConfig,
    TrainingProgress, ValidTrainConfig,
    health::{MonitorState, StepNorms, ValidationResult},
    stopping::EarlyStoppingState,
    totals::{EpochTotals, StepTimings, Stopwatch, Throughput},
};
use crate::{
    checkpoint,
    data::{self, Augmenter, DeviceSet, Splits, epoch_order},
    ids::FieldError,
    nn::{Network, ParameterSet, Shape},
    optim::Optimizer,
};

/// Why a run could not continue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Invalid(#[from] FieldError),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error("cannot keep a checkpoint: {0}")]
    Checkpoint(String),
    /// The checkpoint is not one of this run.
    #[error("cannot resume from the checkpoint: {0}")]
    State(String),
}

/// The caller's side of a run: where its events and checkpoints go, and whether it shall stop.
pub trait RunHooks {
    /// `Started` first, then `Batch` and `Epoch` in the order in which they happen.
    fn report(&mut self, event: Event);
    /// Keeps a checkpoint: the whole state of the run at that position.
    fn checkpoint(&mut self, at: TrainingProgress, bytes: Vec<u8>) -> Result<(), String>;
    /// A step was taken; the network as it is now. Called after every batch: what takes long continues
    /// elsewhere, and only where it is requested.
    fn stepped(&mut self, _at: StepId, _network: &Network) {}
    /// An epoch was reported; the network as it is after so many steps.
    fn epoch_ended(&mut self, _step: u32, _network: &Network) {}
    /// Asked after every batch.
    fn stop_requested(&self) -> bool;
}

/// Why `Trainer::fit` returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitOutcome {
    Completed,
    /// The validation metric stopped getting better.
    EarlyStopped,
    /// The run was stopped on request; a checkpoint of that point was saved.
    Cancelled,
    /// The loss or a weight became infinite or not a number: at this batch on a CPU, at the latest at
    /// this one on a GPU, which is not waited for. No checkpoint was kept since.
    NonFinite {
        epoch: u32,
        batch: u32,
    },
}

/// The result of a run.
#[derive(Debug)]
pub struct FitResult {
    pub outcome: FitOutcome,
    /// The best epoch; none if not one epoch was finished.
    pub best: Option<BestEpoch>,
    pub seconds: f64,
}

/// The best epoch by the request's metric, of equals by the other one;
/// where there is no validation, the last epoch.
#[derive(Debug, Clone)]
pub struct BestEpoch {
    pub epoch: u32,
    pub train: LossAndAccuracy,
    pub validation: Option<LossAndAccuracy>,
    /// The parameters after it, as safetensors.
    pub weights: Vec<u8>,
}

/// A run that is ready to begin.
#[derive(Debug)]
pub struct Trainer {
    pub(super) config: TrainConfig,
    pub(super) network: Network,
    /// The average of the networks after every step, where it is requested.
    pub(super) averaged: Option<Network>,
    pub(super) optimizer: Optimizer,
    pub(super) gradients: ParameterSet,
    pub(super) train: DeviceSet,
    pub(super) augmenter: Option<Augmenter>,
    pub(super) validation: DeviceSet,
    pub(super) step: u32,
    /// The norms of the last step; none if it is not reported.
    pub(super) norms: Option<StepNorms>,
    /// The last step's gradient norm before it was clipped, where it is, still on the device.
    pub(super) unclipped: Option<Tensor>,
    /// The predictions of the last validation, until they are judged.
    pub(super) validation_result: Option<ValidationResult>,
    pub(super) health: MonitorState,
    /// The inspection of the last step's batch, if one was requested.
    pub(super) inspection: Option<Inspection>,
    /// The position of the run between two batches that are followed by a checkpoint or an end.
    pub(super) done: TrainingProgress,
    /// The progress at which the run was resumed.
    pub(super) resumed: Option<TrainingProgress>,
    /// Sums of the epoch that it was resumed in.
    pub(super) unfinished: Option<EpochTotals>,
    pub(super) best: Option<BestEpoch>,
    pub(super) stopping: EarlyStoppingState,
    pub(super) stopwatch: Stopwatch,
}

impl Trainer {
    /// Builds the network with its initial weights, those of `initial` where it is given, and brings
    /// the data onto the device. The validation set may be empty.
    pub fn new(
        config: ValidTrainConfig,
        initial: Option<&Network>,
        splits: &Splits,
        device: Device,
    ) -> Result<Self, Error> {
        if splits.train.dims() != config.dims() {
            let message = "has images of another size than when the request was checked: start the run again";
            return Err(FieldError::new("dataset", message).into());
        }
        config.check_images(splits.train.len())?;
        let config = config.into_config();
        let images = Shape::grey(splits.train.height(), splits.train.width());
        let classes = splits.train.classes();
        let mut network = config.zeros((images, classes), device).expect("the layers were checked");
        network.set_training_precision(config.precision);
        match initial {
            None => network.initialize(config.seed),
            Some(initial) => start_from(&mut network, initial, &config)?,
        }
        Ok(Self::with_network(config, network, splits))
    }

    /// Creates a trainer from a network that has its weights already, in its own kind.
    pub fn with_network(config: TrainConfig, network: Network, splits: &Splits) -> Self {
        let device = network.device();
        let (height, width) = (splits.train.height() as i64, splits.train.width() as i64);
        Self {
            averaged: config.weight_averaging.map(|_| network.deep_copy()),
            augmenter: Augmenter::new(config.augmentation, height, width, device),
            optimizer: Optimizer::new(config.optimizer, &config.regularization, network.parameters()),
            gradients: network.parameters().zeros_like(),
            train: DeviceSet::new(&splits.train, device),
            validation: DeviceSet::new(&splits.validation, device),
            step: 0,
            norms: None,
            unclipped: None,
            validation_result: None,
            health: MonitorState::default(),
            inspection: None,
            done: TrainingProgress::default(),
            resumed: None,
            unfinished: None,
            best: None,
            stopping: EarlyStoppingState::default(),
            stopwatch: Stopwatch::start(),
            network,
            config,
        }
    }

    /// Describes the run, for its first event.
    pub fn started(&self) -> RunStarted {
        RunStarted {
            config: self.config.clone(),
            train_images: self.train.len() as u32,
            validation_images: self.validation.len() as u32,
            batches_per_epoch: self.batches_per_epoch(),
            total_parameters: self.network.total_parameters() as u32,
            device: device_name(self.network.device()),
            resumed: self.resumed,
            dataset_digest: None,
            validation_digest: None,
        }
    }

    /// The network as it is now, its weights not averaged.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where the time of its batches went so far.
    pub fn timings(&self) -> StepTimings {
        self.stopwatch.timings
    }

    /// Trains to the end of the last epoch, or to where it is stopped.
    pub fn fit(&mut self, run: &mut dyn RunHooks) -> Result<FitResult, Error> {
        let clock = Instant::now();
        run.report(Event::Started(Box::new(self.started())));
        let outcome = loop {
            if self.done.epoch >= self.config.epochs {
                break FitOutcome::Completed;
            }
            if self.is_stopped_early() {
                break FitOutcome::EarlyStopped;
            }
            if let Err(early) = self.epoch(run)? {
                if let FitOutcome::NonFinite { epoch, batch } = early {
                    self.warn_of_explosion(epoch, batch, run);
                }
                break early;
            }
        };
        Ok(FitResult { outcome, best: self.best.take(), seconds: clock.elapsed().as_secs_f64() })
    }

    /// The next epoch, or what is left of it: trained, validated, logged and checkpointed.
    fn epoch(&mut self, run: &mut dyn RunHooks) -> Result<Result<(), FitOutcome>, Error> {
        let (epoch, began, skipped) = (self.done.epoch + 1, Instant::now(), self.done.batch);
        let train = match self.train_epoch(epoch, run)? {
            Ok(train) => train,
            Err(early) => return Ok(Err(early)),
        };
        let trained = began.elapsed().as_secs_f64();
        let validation = self.validate(epoch);
        if validation.is_some_and(|measured| !measured.loss.is_finite()) {
            return Ok(Err(FitOutcome::NonFinite { epoch, batch: self.batches_per_epoch() }));
        }
        self.keep_best(epoch, train, validation);
        if let (Some(rule), Some(now)) = (&self.config.early_stopping, validation) {
            self.stopping.add(rule, now);
        }
        self.done = TrainingProgress { epoch, batch: 0, step: self.step };
        let images = self.train.len().saturating_sub(skipped as usize * self.config.batch_size as usize);
        let report = EpochReport {
            epoch,
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            validation,
            seconds: began.elapsed().as_secs_f64(),
            images_per_second: images as f64 / trained,
        };
        run.report(Event::Epoch(report));
        self.warn_of_epoch(&report, run);
        run.epoch_ended(self.step, &self.network);
        if self.checkpoint_is_due(epoch) {
            run.checkpoint(self.done, self.save(self.done, None)).map_err(Error::Checkpoint)?;
        }
        Ok(Ok(()))
    }

    /// One pass over the training images, from the position of the run: its means, or why the run ends
    /// within it.
    fn train_epoch(
        &mut self,
        epoch: u32,
        run: &mut dyn RunHooks,
    ) -> Result<Result<LossAndAccuracy, FitOutcome>, Error> {
        let order = epoch_order(self.train.len(), self.config.order, self.config.seed, epoch);
        let order = Tensor::from_slice(&order).to_device(self.network.device());
        let mut totals = self.unfinished.take().unwrap_or_default();
        let mut throughput = Throughput::start();
        self.stopwatch.restart();
        for batch in self.done.batch + 1..=self.batches_per_epoch() {
            let start = i64::from(batch - 1) * i64::from(self.config.batch_size);
            let images = i64::from(self.config.batch_size).min(order.size()[0] - start);
            self.step += 1;
            let (loss, correct) = self.train_batch(epoch, &order.narrow(0, start, images));
            totals.add(&loss, &correct, images);
            throughput.add(images);
            run.stepped(StepId { epoch, batch, step: self.step }, &self.network);
            if let Some(inspection) = self.inspection.take() {
                run.report(Event::Inspection(Box::new(inspection)));
            }
            let due = self.report_is_due();
            if due {
                let report = self.report(epoch, batch, &loss, correct.double_value(&[]) / images as f64);
                let report = BatchReport { images_per_second: throughput.restart(), ..report };
                run.report(Event::Batch(report));
                self.warn_of_step(&report, run);
            }
            let stop = run.stop_requested();
            // The losses after every batch on a CPU; on a GPU only where it is waited for anyway. Weights
            // that are no numbers make the next loss none: they are examined where they may be kept.
            let waits = due || stop || batch == self.batches_per_epoch();
            if waits {
                totals.read();
            }
            let finite = totals.is_finite() && (!waits || self.has_finite_weights());
            if !finite {
                return Ok(Err(FitOutcome::NonFinite { epoch, batch }));
            }
            if stop {
                let at = TrainingProgress { epoch: epoch - 1, batch, step: self.step };
                run.checkpoint(at, self.save(at, Some(&totals))).map_err(Error::Checkpoint)?;
                return Ok(Err(FitOutcome::Cancelled));
            }
            self.stopwatch.lap(|timings| &mut timings.counting);
        }
        Ok(Ok(totals.means()))
    }

    /// Checks everything that may be published: running statistics overflow before weights do, and an
    /// average never forgets.
    fn has_finite_weights(&self) -> bool {
        let networks = [Some(&self.network), self.averaged.as_ref()].into_iter().flatten();
        let mut sets = networks.flat_map(|it| [it.parameters(), it.running_statistics()]);
        sets.all(|set| set.flat().isfinite().all().int64_value(&[]) == 1)
    }

    fn is_stopped_early(&self) -> bool {
        self.config.early_stopping.as_ref().is_some_and(|rule| self.stopping.is_over(rule))
    }

    fn report(&self, epoch: u32, batch: u32, loss: &Tensor, accuracy: f64) -> BatchReport {
        BatchReport {
            epoch,
            batch,
            step: self.step,
            loss: loss.double_value(&[]),
            accuracy,
            learning_rate: self.learning_rate(),
            images_per_second: 0.0,
            gradient_norm: self.norms.as_ref().map(StepNorms::gradient_norm),
        }
    }

    /// Whether the batch of this step is one that is reported.
    pub(super) fn report_is_due(&self) -> bool {
        (self.batch() - 1).is_multiple_of(self.config.report_every_batches)
    }

    /// The batch of this step in its epoch, counted from 1.
    fn batch(&self) -> u32 {
        (self.step - 1) % self.batches_per_epoch() + 1
    }

    /// What is requested to be shown of this step's batch.
    pub(super) fn inspect_at(&self, epoch: u32) -> Option<InspectAt> {
        self.config.inspect_at.iter().find(|at| (at.epoch, at.batch) == (epoch, self.batch())).copied()
    }

    fn validate(&mut self, epoch: u32) -> Option<LossAndAccuracy> {
        let due = epoch.is_multiple_of(self.config.validation.every_epochs) || epoch == self.config.epochs;
        if !due || self.validation.is_empty() {
            return None;
        }
        Some(self.measure())
    }

    fn keep_best(&mut self, epoch: u32, train: LossAndAccuracy, validation: Option<LossAndAccuracy>) {
        let better = match (self.best.as_ref().and_then(|best| best.validation), validation) {
            (Some(best), Some(now)) => self.config.metric().is_better(now, best),
            // An epoch that was not validated cannot take the place of one that was.
            (Some(_), None) => false,
            (None, _) => true,
        };
        if better {
            let weights = checkpoint::encode_network(self.published());
            self.best = Some(BestEpoch { epoch, train, validation, weights });
        }
    }

    fn checkpoint_is_due(&self, epoch: u32) -> bool {
        let every = self.config.checkpoint_every_epochs;
        epoch == self.config.epochs || self.is_stopped_early() || (every > 0 && epoch.is_multiple_of(every))
    }

    pub(super) fn batches_per_epoch(&self) -> u32 {
        (self.train.len() as u32).div_ceil(self.config.batch_size)
    }
}

/// `cpu` or `cuda:N`.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// Takes the weights over; the network must have parameters of the same names and shapes.
fn start_from(network: &mut Network, initial: &Network, config: &TrainConfig) -> Result<(), FieldError> {
    let arrays = initial.export().into_iter().collect();
    network.load(&arrays).map_err(|error| config.initial_mismatch(error))
}
