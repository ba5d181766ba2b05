//! A run's state ⇄ one checkpoint file: groups of named arrays, and counters. With the request and
//! the data it decides the steps that follow, so that a resumed run ends as one that never stopped.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{
    BestEpoch, Error, LossAndAccuracy, StepId, Trainer, TrainingProgress, health,
    stopping::EarlyStoppingState, totals::EpochTotals,
};
use crate::checkpoint::Arrays;

/// The state that is not in arrays. Order and dropout are functions of the seed and the progress.
#[derive(Debug, Serialize, Deserialize)]
struct Counters {
    at: TrainingProgress,
    seed: u64,
    optimizer_steps: u64,
    /// The number of images that the sums of the unfinished epoch are over.
    images: i64,
    best: Option<BestEpochRecord>,
    stopping: EarlyStoppingState,
    /// The state of the health rules: warnings already raised, and the curves so far.
    #[serde(default)]
    health: health::MonitorState,
}

/// The best epoch; its weights are stored as arrays.
#[derive(Debug, Serialize, Deserialize)]
struct BestEpochRecord {
    epoch: u32,
    train: LossAndAccuracy,
    validation: Option<LossAndAccuracy>,
}

/// The arrays of a file by group: `parameter/conv1.weight` is `conv1.weight` of the group `parameter`.
#[derive(Debug, Default)]
struct ArrayGroups(BTreeMap<String, Tensor>);

impl Trainer {
    /// The checkpoint of this position; `totals` are those of the unfinished epoch.
    pub(super) fn save(&self, at: TrainingProgress, totals: Option<&EpochTotals>) -> Vec<u8> {
        let mut groups = ArrayGroups::default();
        groups.put(PARAMETER, self.network.export());
        if let Some(averaged) = &self.averaged {
            groups.put(AVERAGE, averaged.export());
        }
        for (slot, set) in self.optimizer.state() {
            groups.put(&optimizer(slot), set.export());
        }
        if let Some(totals) = totals {
            groups.put(EPOCH, [(SUMS.to_owned(), Tensor::from_slice(&totals.sums()))]);
        }
        if let Some(best) = &self.best {
            let weights = Arrays::decode(&best.weights).expect("the best weights were encoded here");
            groups.put(BEST, weights.arrays);
        }
        let best = self.best.as_ref();
        let counters = Counters {
            at,
            seed: self.config.seed,
            optimizer_steps: self.optimizer.steps(),
            images: totals.map_or(0, EpochTotals::images),
            best: best.map(|best| BestEpochRecord {
                epoch: best.epoch,
                train: best.train,
                validation: best.validation,
            }),
            stopping: self.stopping,
            health: self.health.clone(),
        };
        let counters = serde_json::to_string(&counters).expect("counters have string keys");
        let metadata = HashMap::from([(COUNTERS.to_owned(), counters)]);
        Arrays { arrays: groups.0, metadata }.encode()
    }

    /// Restores the state of a checkpoint; `fit` continues from there. Errors if the checkpoint is
    /// not of a run of this request.
    pub fn resume(&mut self, checkpoint: &[u8]) -> Result<TrainingProgress, Error> {
        let (counters, groups) = read(checkpoint)?;
        self.check(&counters)?;
        self.network.load(&groups.get(PARAMETER)).map_err(broken)?;
        if let Some(averaged) = &mut self.averaged {
            averaged.load(&groups.get(AVERAGE)).map_err(broken)?;
        }
        self.optimizer
            .load_state(counters.optimizer_steps, |slot| groups.get(&optimizer(slot)))
            .map_err(broken)?;
        self.best = counters.best.map(|best| BestEpoch {
            epoch: best.epoch,
            train: best.train,
            validation: best.validation,
            weights: Arrays { arrays: groups.get(BEST), metadata: HashMap::new() }.encode(),
        });
        self.unfinished = match groups.get(EPOCH).remove(SUMS) {
            Some(sums) => {
                let sums = Vec::<f64>::try_from(sums).map_err(broken)?;
                let sums = sums.try_into().map_err(|_| broken("its sums are not two"))?;
                Some(EpochTotals::of(sums, counters.images))
            }
            None => None,
        };
        (self.stopping, self.health) = (counters.stopping, counters.health);
        (self.done, self.step) = (counters.at, counters.at.step);
        self.resumed = Some(counters.at);
        Ok(counters.at)
    }

    /// Restarts a run that has no checkpoint: `fit` begins with its first step.
    pub fn restart(&mut self) {
        self.resumed = Some(TrainingProgress::default());
    }

    fn check(&self, counters: &Counters) -> Result<(), Error> {
        let (at, batches) = (counters.at, self.batches_per_epoch());
        let step = u64::from(at.epoch) * u64::from(batches) + u64::from(at.batch);
        if at.batch > batches || step != u64::from(at.step) || counters.seed != self.config.seed {
            return Err(broken("it is of another run"));
        }
        Ok(())
    }
}

/// Returns the arrays of the network in a checkpoint, and the step after which it was saved.
pub(super) fn saved_network(checkpoint: &[u8]) -> Result<(StepId, BTreeMap<String, Tensor>), Error> {
    let (counters, groups) = read(checkpoint)?;
    Ok((counters.at.into(), groups.get(PARAMETER)))
}

fn read(checkpoint: &[u8]) -> Result<(Counters, ArrayGroups), Error> {
    let file = Arrays::decode(checkpoint).map_err(broken)?;
    let counters = file.metadata.get(COUNTERS).ok_or_else(|| broken("it holds no counters"))?;
    Ok((serde_json::from_str(counters).map_err(broken)?, ArrayGroups(file.arrays)))
}

impl ArrayGroups {
    fn put(&mut self, group: &str, arrays: impl IntoIterator<Item = (String, Tensor)>) {
        self.0.extend(arrays.into_iter().map(|(name, array)| (format!("{group}/{name}"), array)));
    }

    fn get(&self, group: &str) -> BTreeMap<String, Tensor> {
        let name = |name: &String| Some(name.strip_prefix(group)?.strip_prefix('/')?.to_owned());
        let arrays = self.0.iter().filter_map(|(full, array)| Some((name(full)?, array.shallow_clone())));
        arrays.collect()
    }
}

/// Running statistics of batch normalisation among them.
const PARAMETER: &str = "parameter";
const AVERAGE: &str = "average";
const BEST: &str = "best";
const EPOCH: &str = "epoch";
const SUMS: &str = "sums";

/// The key of the header under which the counters stand, as JSON.
const COUNTERS: &str = "counters";

fn optimizer(slot: &str) -> String {
    format!("optimizer/{slot}")
}

fn broken(what: impl ToString) -> Error {
    Error::State(what.to_string())
}
