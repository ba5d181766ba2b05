//! The loop. Losses and accuracies stay on the device and are read at report points alone, so that
//! a batch waits for nothing.

use std::time::Instant;

use tch::{Device, Tensor};

use super::{
    BatchReport, EpochReport, Event, InspectAt, Inspection, Invalid, Measured, Position, Started,
    TrainConfig,
    health::{Answers, Look, Memory},
    state,
    totals::{Pace, Totals},
};
use crate::{
    checkpoint,
    data::{self, Augmenter, DeviceSet, Splits, epoch_order},
    nn::{Network, ParameterSet, Shape},
    optim::Optimizer,
};

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error("cannot keep a checkpoint: {0}")]
    Checkpoint(String),
}

/// Where a run's reports go and whether it shall stop; the engine's side of a run.
pub trait RunHooks {
    /// `Started` first, then `Batch` and `Epoch` in the order in which they happen.
    fn report(&mut self, event: Event);
    /// Keeps a checkpoint: the whole state of the run at that position.
    fn checkpoint(&mut self, at: Position, bytes: Vec<u8>) -> Result<(), String>;
    /// Asked after every batch.
    fn stop_requested(&self) -> bool;
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Completed,
    /// Stopped where it was asked to; a checkpoint of that point is kept.
    Cancelled,
    /// The loss became infinite or not a number, at this batch or since the last one that was looked
    /// at; no checkpoint was kept since.
    NonFinite {
        epoch: u32,
        batch: u32,
    },
}

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome {
    pub ending: Ending,
    /// None where not one epoch was finished.
    pub best: Option<BestEpoch>,
    pub seconds: f64,
}

/// The best epoch by validation accuracy, of equals the one with the smaller validation loss;
/// where there is no validation, the last epoch.
#[derive(Debug, Clone)]
pub struct BestEpoch {
    pub epoch: u32,
    pub train: Measured,
    pub validation: Option<Measured>,
    /// The parameters after it, as safetensors.
    pub weights: Vec<u8>,
}

/// A run that is ready to begin.
#[derive(Debug)]
pub struct Trainer {
    pub(super) config: TrainConfig,
    pub(super) network: Network,
    /// The average of the networks after every step, where it is asked for.
    pub(super) averaged: Option<Network>,
    pub(super) optimizer: Optimizer,
    pub(super) gradients: ParameterSet,
    pub(super) train: DeviceSet,
    pub(super) augmenter: Option<Augmenter>,
    pub(super) validation: DeviceSet,
    pub(super) step: u32,
    /// Of the last step, where it is reported.
    pub(super) look: Option<Look>,
    /// Of the last validation, until it is judged.
    pub(super) answers: Option<Answers>,
    pub(super) health: Memory,
    /// Of the last step's batch, where it is asked for.
    pub(super) inspection: Option<Inspection>,
    best: Option<BestEpoch>,
}

impl Trainer {
    /// Builds the network with its initial weights, those of `initial` where it is given, and brings
    /// the data onto the device. The validation set may be empty.
    pub fn new(
        config: TrainConfig,
        initial: Option<&Network>,
        splits: &Splits,
        device: Device,
    ) -> Result<Self, Error> {
        let images = Shape::grey(splits.train.height(), splits.train.width());
        let classes = splits.train.classes();
        config.check_for(splits.train.dims())?;
        config.check_inspected_batches((splits.train.len() as u32).div_ceil(config.batch_size))?;
        let mut network = Network::zeros(&config.network, images, classes, config.precision.kind(), device)
            .expect("the layers were checked");
        network.train_in(config.precision);
        match initial {
            None => network.initialize(config.seed),
            Some(initial) => start_from(&mut network, initial, &config)?,
        }
        Ok(Self::with_network(config, network, splits))
    }

    /// The same with a network that has its weights already, in its own kind of numbers.
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
            look: None,
            answers: None,
            health: Memory::default(),
            inspection: None,
            best: None,
            network,
            config,
        }
    }

    /// What the run is, for its first event.
    pub fn started(&self) -> Started {
        Started {
            config: self.config.clone(),
            train_images: self.train.len() as u32,
            validation_images: self.validation.len() as u32,
            batches_per_epoch: self.batches_per_epoch(),
            total_parameters: self.network.total_parameters() as u32,
            device: match self.network.device() {
                Device::Cuda(index) => format!("cuda:{index}"),
                _ => "cpu".to_owned(),
            },
        }
    }

    /// The network as it is now, its weights not averaged.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Trains to the end of the last epoch, or to where it is stopped.
    pub fn fit(&mut self, run: &mut dyn RunHooks) -> Result<Outcome, Error> {
        let clock = Instant::now();
        run.report(Event::Started(Box::new(self.started())));
        let mut ending = Ending::Completed;
        for epoch in 1..=self.config.epochs {
            let began = Instant::now();
            let train = match self.train_epoch(epoch, run)? {
                Ok(train) => train,
                Err(early) => {
                    if let Ending::NonFinite { epoch, batch } = early {
                        self.warn_of_explosion(epoch, batch, run);
                    }
                    ending = early;
                    break;
                }
            };
            let trained = began.elapsed().as_secs_f64();
            let validation = self.validate(epoch);
            self.keep_best(epoch, train, validation);
            let report = EpochReport {
                epoch,
                train_loss: train.loss,
                train_accuracy: train.accuracy,
                validation,
                seconds: began.elapsed().as_secs_f64(),
                images_per_second: self.train.len() as f64 / trained,
            };
            run.report(Event::Epoch(report));
            self.warn_of_epoch(&report, run);
            if self.checkpoint_is_due(epoch) {
                self.checkpoint(Position { epoch, batch: 0, step: self.step }, run)?;
            }
        }
        Ok(Outcome { ending, best: self.best.take(), seconds: clock.elapsed().as_secs_f64() })
    }

    /// One pass over the training images: its means, or why the run ends within it.
    fn train_epoch(&mut self, epoch: u32, run: &mut dyn RunHooks) -> Result<Result<Measured, Ending>, Error> {
        let order = epoch_order(self.train.len(), self.config.order, self.config.seed, epoch);
        let order = Tensor::from_slice(&order).to_device(self.network.device());
        let mut totals = Totals::new(&self.network);
        let mut pace = Pace::start();
        for batch in 1..=self.batches_per_epoch() {
            let start = i64::from(batch - 1) * i64::from(self.config.batch_size);
            let images = i64::from(self.config.batch_size).min(order.size()[0] - start);
            self.step += 1;
            let (loss, correct) = self.train_batch(epoch, &order.narrow(0, start, images));
            totals.add(&loss, &correct, images);
            pace.add(images);
            if let Some(inspection) = self.inspection.take() {
                run.report(Event::Inspection(Box::new(inspection)));
            }
            if self.report_is_due() {
                let report = self.report(epoch, batch, &loss, correct.double_value(&[]) / images as f64);
                let report = BatchReport { images_per_second: pace.restart(), ..report };
                run.report(Event::Batch(report));
                self.warn_of_step(&report, run);
                if !report.loss.is_finite() {
                    return Ok(Err(Ending::NonFinite { epoch, batch }));
                }
            }
            if run.stop_requested() {
                // Weights that give no finite loss are not worth keeping.
                if !totals.means().loss.is_finite() {
                    return Ok(Err(Ending::NonFinite { epoch, batch }));
                }
                self.checkpoint(Position { epoch: epoch - 1, batch, step: self.step }, run)?;
                return Ok(Err(Ending::Cancelled));
            }
        }
        let means = totals.means();
        if means.loss.is_finite() {
            return Ok(Ok(means));
        }
        Ok(Err(Ending::NonFinite { epoch, batch: self.batches_per_epoch() }))
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
            gradient_norm: self.look.as_ref().map(Look::gradient_norm),
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

    /// What is asked to be shown of this step's batch.
    pub(super) fn inspect_at(&self, epoch: u32) -> Option<InspectAt> {
        self.config.inspect_at.iter().find(|at| (at.epoch, at.batch) == (epoch, self.batch())).copied()
    }

    fn validate(&mut self, epoch: u32) -> Option<Measured> {
        let due = epoch.is_multiple_of(self.config.validation.every_epochs) || epoch == self.config.epochs;
        if !due || self.validation.is_empty() {
            return None;
        }
        Some(self.measure())
    }

    fn keep_best(&mut self, epoch: u32, train: Measured, validation: Option<Measured>) {
        let better = match (self.best.as_ref().and_then(|best| best.validation), validation) {
            (Some(best), Some(now)) => {
                now.accuracy > best.accuracy || (now.accuracy == best.accuracy && now.loss < best.loss)
            }
            // An epoch that was not validated cannot take the place of one that was.
            (Some(_), None) => false,
            (None, _) => true,
        };
        if better {
            let weights = checkpoint::encode_network(self.published());
            self.best = Some(BestEpoch { epoch, train, validation, weights });
        }
    }

    fn checkpoint(&self, at: Position, run: &mut dyn RunHooks) -> Result<(), Error> {
        run.checkpoint(at, state::encode(self, at)).map_err(Error::Checkpoint)
    }

    fn checkpoint_is_due(&self, epoch: u32) -> bool {
        let every = self.config.checkpoint_every_epochs;
        epoch == self.config.epochs || (every > 0 && epoch.is_multiple_of(every))
    }

    pub(super) fn batches_per_epoch(&self) -> u32 {
        (self.train.len() as u32).div_ceil(self.config.batch_size)
    }
}

/// Takes the weights over; the network must have parameters of the same names and shapes.
fn start_from(network: &mut Network, initial: &Network, config: &TrainConfig) -> Result<(), Invalid> {
    let arrays = initial.export().into_iter().collect();
    network.load(&arrays).map_err(|error| {
        let version = config.initial.as_ref().map_or_else(String::new, ToString::to_string);
        let message = format!(
            "is {version}, whose weights do not fit the request's network: {error}; leave network out to take \
             the version's own"
        );
        Invalid { field: "initial".to_owned(), message }
    })
}
