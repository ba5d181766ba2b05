//! The newest weights of a run, as `runs` finds them and `analysis` reads them.

use bytes::Bytes;

use crate::{
    data::dataset::Dims,
    ids::{RunId, Version},
    nn::Network,
    train::{RunState, StepId, TrainConfig},
};

/// A run and where its newest weights are.
#[derive(Debug)]
pub struct RunWeights {
    pub run: RunId,
    pub state: RunState,
    pub config: Box<TrainConfig>,
    pub source: WeightsSource,
}

/// Where the newest weights of a run are: in the run itself while it trains, else in the version that it
/// published, else in its newest checkpoint.
#[derive(Debug)]
pub enum WeightsSource {
    Training(Box<WeightSnapshot>),
    Version {
        version: Version,
        /// The epoch that the version's weights are from.
        epoch: u32,
    },
    Checkpoint {
        dims: Dims,
        bytes: Bytes,
    },
}

/// A copy of the weights of a run after a step.
#[derive(Debug)]
pub struct WeightSnapshot {
    pub network: Network,
    pub at: StepId,
    pub dims: Dims,
    /// Class names, one per class; empty if the classes are numbered.
    pub class_names: Vec<String>,
}
