//! A training request with every default filled in.

use serde::{Deserialize, Serialize};

use super::{EarlyStopping, InspectAt, Metric, Recipe};
use crate::{
    data::{Augmentation, DatasetSpec, Order, ValidationSize},
    eval::Loss,
    ids::{Alias, ModelName, VersionRef},
    nn::{NetworkConfig, Precision},
    optim::{OptimizerConfig, Regularization, Schedule, WeightAveraging},
};

/// The request of a run: together with the data it decides the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    pub model: ModelName,
    /// The recipe whose values the request left unchanged; all of them are filled in here.
    #[serde(default)]
    pub recipe: Option<Recipe>,
    pub dataset: DatasetSpec,
    pub network: NetworkConfig,
    /// The version whose weights the run starts from; none if they are drawn from the seed.
    #[serde(default)]
    pub initial: Option<VersionRef>,
    pub epochs: u32,
    pub batch_size: u32,
    pub order: Order,
    #[serde(default)]
    pub precision: Precision,
    /// The seed of the initial weights, the order of the images, augmentation and dropout.
    pub seed: u64,
    pub optimizer: OptimizerConfig,
    /// The schedule of the learning rate; constant in requests of before there were schedules.
    #[serde(default)]
    pub schedule: Schedule,
    pub loss: Loss,
    /// The share of a label's weight that is spread over all classes in the training loss, in [0, 1).
    #[serde(default)]
    pub label_smoothing: f64,
    pub regularization: Regularization,
    /// The largest gradient norm of a step; longer gradients are scaled down to it.
    #[serde(default)]
    pub clip_gradient_norm: Option<f64>,
    /// The decay of the weight average; if it is given, the averaged weights are validated and
    /// published.
    #[serde(default)]
    pub weight_averaging: Option<WeightAveraging>,
    /// The augmentation of training batches; validation uses the images unchanged.
    #[serde(default)]
    pub augmentation: Augmentation,
    pub validation: ValidationConfig,
    pub report_every_batches: u32,
    /// The batches that are inspected layer by layer.
    #[serde(default)]
    pub inspect_at: Vec<InspectAt>,
    /// Epochs between checkpoints; 0 for a checkpoint at the end of the run only.
    pub checkpoint_every_epochs: u32,
    /// The rule of early stopping; none if every epoch is trained.
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
    /// An alias that is moved to the published version, in addition to `latest`.
    pub set_alias: Option<Alias>,
}

/// The size of the validation split, and how often it is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationConfig {
    pub size: ValidationSize,
    pub every_epochs: u32,
}

impl TrainConfig {
    /// The metric that selects the best epoch: early stopping's, else the accuracy.
    pub fn metric(&self) -> Metric {
        self.early_stopping.map_or(Metric::ValidationAccuracy, |rule| rule.metric)
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            model: ModelName::default(),
            recipe: None,
            dataset: DatasetSpec {
                name: "mnist".parse().expect("mnist is a data set name"),
                seed: None,
                max_train_images: None,
            },
            network: NetworkConfig::tutorial(),
            initial: None,
            epochs: 5,
            batch_size: 100,
            order: Order::Shuffled,
            precision: Precision::Float32,
            seed: 0,
            optimizer: OptimizerConfig::adam(0.003),
            schedule: Schedule::one_cycle(),
            loss: Loss::default(),
            label_smoothing: 0.0,
            regularization: Regularization::default(),
            clip_gradient_norm: None,
            weight_averaging: None,
            augmentation: Augmentation::default(),
            validation: ValidationConfig { size: ValidationSize::Count(10_000), every_epochs: 1 },
            report_every_batches: 100,
            inspect_at: Vec::new(),
            checkpoint_every_epochs: 1,
            early_stopping: None,
            set_alias: None,
        }
    }
}
