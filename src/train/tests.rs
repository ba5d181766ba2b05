//! How runs end, without an engine around them.

use tch::{Device, Kind};

use super::*;
use crate::{
    data::{ImageSet, Splits, dataset::Dims},
    nn::{LayerKind, LinearConfig, Network, NetworkConfig, Shape},
    optim::{OptimizerConfig, Schedule},
};

/// Asks a run to stop after a number of batches and counts its checkpoints.
struct StopAfter {
    batches: std::cell::Cell<u32>,
    checkpoints: u32,
}

impl RunHooks for StopAfter {
    fn report(&mut self, _: Event) {}

    fn checkpoint(&mut self, _: Position, _: Vec<u8>) -> Result<(), String> {
        self.checkpoints += 1;
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        self.batches.set(self.batches.get() - 1);
        self.batches.get() == 0
    }
}

/// How a run that is stopped after three batches ends, and how many checkpoints it keeps.
fn stopped(learning_rate: f64) -> (Ending, u32) {
    let linear = LayerKind::Linear(LinearConfig { out_features: 10 });
    let layers = vec![(None, LayerKind::Flatten), (None, linear)];
    let config = TrainConfig {
        network: NetworkConfig::from_layers(layers),
        batch_size: 1,
        optimizer: OptimizerConfig::sgd(learning_rate),
        schedule: Schedule::default(),
        ..TrainConfig::default()
    };
    let images = |number: usize| {
        ImageSet::new(Dims::MNIST, vec![255; 784 * number], (0..number as u8).collect()).unwrap()
    };
    let splits = Splits { train: images(9), validation: images(0), test: images(0) };
    let network = Network::zeros(&config.network, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
    let mut hooks = StopAfter { batches: 3.into(), checkpoints: 0 };
    let outcome = Trainer::with_network(config, network, &splits).fit(&mut hooks).unwrap();
    (outcome.ending, hooks.checkpoints)
}

#[test]
fn a_run_that_is_stopped_keeps_a_checkpoint_only_where_its_loss_is_a_number() {
    assert_eq!(stopped(0.001), (Ending::Cancelled, 1));
    assert_eq!(stopped(1e300), (Ending::NonFinite { epoch: 1, batch: 3 }, 0));
}
