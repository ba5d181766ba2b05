//! A run's state as one checkpoint file: parameters, running statistics, their averages, optimiser
//! state and position. With the request
//! and the data it decides the steps that follow. The best epoch so far is not in it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Trainer;
use crate::{checkpoint::Arrays, nn::Network};

/// How far a run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are finished.
    pub epoch: u32,
    /// Batches of the next epoch that are finished.
    pub batch: u32,
    /// Batches of the run that are finished.
    pub step: u32,
}

/// Names of the file's arrays: `parameter/conv1.weight` (running statistics of batch normalisation
/// among them), `average/conv1.weight`, `optimizer/moment1/conv1.weight`; its metadata holds the position. Order and dropout are functions of the seed and the position.
pub(super) fn encode(trainer: &Trainer, at: Position) -> Vec<u8> {
    let optimizer = &trainer.optimizer;
    let networks = [("parameter", Some(&trainer.network)), ("average", trainer.averaged.as_ref())];
    let mut arrays = BTreeMap::new();
    for (kind, network) in networks {
        for (name, array) in network.map(Network::export).unwrap_or_default() {
            arrays.insert(format!("{kind}/{name}"), array);
        }
    }
    for (slot, set) in optimizer.state() {
        for (name, array) in set.export() {
            arrays.insert(format!("optimizer/{slot}/{name}"), array);
        }
    }
    let metadata = HashMap::from([
        ("epoch".to_owned(), at.epoch.to_string()),
        ("batch".to_owned(), at.batch.to_string()),
        ("step".to_owned(), at.step.to_string()),
        ("optimizer_steps".to_owned(), optimizer.steps().to_string()),
    ]);
    Arrays { arrays, metadata }.encode()
}
