//! A training request with every default filled in.

use serde::{Deserialize, Serialize};

use super::{EarlyStopping, InspectAt, Recipe};
use crate::{
    data::{Augmentation, DatasetSpec, Order, ValidationSize},
    eval::Loss,
    ids::{Alias, ModelName, VersionRef},
    nn::{NetworkConfig, Precision},
    optim::{OptimizerConfig, Regularization, Schedule, WeightAveraging},
};

/// What to train, and how; it decides a run's result together with the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    pub model: ModelName,
    /// Whose numbers stand where the request gave none; they are all filled in here.
    #[serde(default)]
    pub recipe: Option<Recipe>,
    pub dataset: DatasetSpec,
    pub network: NetworkConfig,
    /// The version whose weights the run starts from; none: drawn from the seed.
    #[serde(default)]
    pub initial: Option<VersionRef>,
    pub epochs: u32,
    pub batch_size: u32,
    pub order: Order,
    #[serde(default)]
    pub precision: Precision,
    /// Of the initial weights, the order of the images, augmentation and dropout.
    pub seed: u64,
    pub optimizer: OptimizerConfig,
    /// Constant in what was kept before there were schedules.
    #[serde(default)]
    pub schedule: Schedule,
    pub loss: Loss,
    /// Share of a label's weight that is spread over all classes in the training loss, in [0, 1).
    #[serde(default)]
    pub label_smoothing: f64,
    pub regularization: Regularization,
    /// Largest norm of a step's gradients; longer ones are scaled down to it.
    #[serde(default)]
    pub clip_gradient_norm: Option<f64>,
    /// Where it is given, the averaged weights are validated and published.
    #[serde(default)]
    pub weight_averaging: Option<WeightAveraging>,
    /// Of training batches; validation sees the images as they are.
    #[serde(default)]
    pub augmentation: Augmentation,
    pub validation: ValidationConfig,
    pub report_every_batches: u32,
    /// Batches that are shown layer by layer.
    #[serde(default)]
    pub inspect_at: Vec<InspectAt>,
    /// 0: only at the end of the run.
    pub checkpoint_every_epochs: u32,
    /// None: every epoch is trained.
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
    /// Moved to the published version, beside `latest`.
    pub set_alias: Option<Alias>,
}

/// How many training images are held back to validate on, and when.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationConfig {
    pub size: ValidationSize,
    pub every_epochs: u32,
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
