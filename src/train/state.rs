//! A run's state as one checkpoint file: parameters, optimiser state and position. With the request
//! and the data it decides the steps that follow. The best epoch so far is not in it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{checkpoint::Arrays, nn::Network, optim::Optimizer};

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

/// Names of the file's arrays: `parameter/conv1.weight`, `optimizer/moment1/conv1.weight`; its
/// metadata holds the position. Order and dropout are functions of the seed and the position.
pub(super) fn encode(network: &Network, optimizer: &Optimizer, at: Position) -> Vec<u8> {
    let mut arrays = BTreeMap::new();
    for (name, array) in network.parameters().export() {
        arrays.insert(format!("parameter/{name}"), array);
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
