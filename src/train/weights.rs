//! The weights of a run without the run: the initial ones, and those of a checkpoint.

use tch::Device;

use super::{Error, StepId, TrainConfig, state};
use crate::{
    data::dataset::Dims,
    nn::{self, Network, Shape},
};

impl TrainConfig {
    /// Returns the run's network in its precision, all zero. Errors if the layers do not fit the
    /// images.
    pub(super) fn zeros(
        &self,
        (images, classes): (Shape, usize),
        device: Device,
    ) -> Result<Network, nn::Error> {
        Network::zeros(&self.network, images, classes, self.precision.kind(), device)
    }

    /// Returns the network with the initial weights of the run: those of `initial`, else drawn by its
    /// seed, to the bit. Errors if `initial` is of another network.
    pub fn initial_network(
        &self,
        dims: Dims,
        initial: Option<&Network>,
        device: Device,
    ) -> Result<Network, nn::Error> {
        let mut network = self.zeros((Shape::grey(dims.height, dims.width), dims.classes), device)?;
        match initial {
            None => network.initialize(self.seed),
            Some(initial) => network.load(&initial.export().into_iter().collect())?,
        }
        Ok(network)
    }

    /// Returns the network in a checkpoint of the run, not averaged, and the step after which it was
    /// saved. Errors if the checkpoint is not one of this run.
    pub fn network_from_checkpoint(
        &self,
        dims: Dims,
        checkpoint: &[u8],
        device: Device,
    ) -> Result<(StepId, Network), Error> {
        let (at, arrays) = state::saved_network(checkpoint)?;
        let foreign = |error: nn::Error| Error::State(error.to_string());
        let shape = Shape::grey(dims.height, dims.width);
        let mut network = self.zeros((shape, dims.classes), device).map_err(foreign)?;
        network.load(&arrays).map_err(foreign)?;
        Ok((at, network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        optim::OptimizerConfig,
        train::{
            Event, RunHooks, Trainer, TrainingProgress,
            testing::{digits, network},
        },
    };

    fn config() -> TrainConfig {
        TrainConfig {
            epochs: 2,
            batch_size: 2,
            seed: 3,
            optimizer: OptimizerConfig::sgd(0.01),
            ..TrainConfig::default()
        }
    }

    /// Copies the weights of some steps, and keeps the last checkpoint.
    #[derive(Default)]
    struct WeightSampler {
        every: u32,
        seen: Vec<(StepId, Network)>,
        checkpoint: Vec<u8>,
    }

    impl RunHooks for WeightSampler {
        fn report(&mut self, _: Event) {}

        fn stepped(&mut self, at: StepId, network: &Network) {
            if self.every > 0 && at.step.is_multiple_of(self.every) {
                self.seen.push((at, network.deep_copy()));
            }
        }

        fn checkpoint(&mut self, _: TrainingProgress, bytes: Vec<u8>) -> Result<(), String> {
            self.checkpoint = bytes;
            Ok(())
        }

        fn stop_requested(&self) -> bool {
            false
        }
    }

    fn run(every: u32) -> (WeightSampler, Trainer) {
        let mut hooks = WeightSampler { every, ..WeightSampler::default() };
        let mut trainer = Trainer::with_network(config(), network(&config()), &digits(6, 2));
        trainer.fit(&mut hooks).unwrap();
        (hooks, trainer)
    }

    #[test]
    fn observing_every_step_changes_no_bit_of_the_run() {
        let ((seen, looked_at), (_, alone)) = (run(1), run(0));
        assert_eq!(looked_at.network().parameters().flat(), alone.network().parameters().flat());
        let moments: Vec<_> = seen.seen.iter().map(|(at, _)| (at.epoch, at.batch, at.step)).collect();
        assert_eq!(moments, [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 4), (2, 2, 5), (2, 3, 6)]);
        let (_, last) = &seen.seen[5];
        assert_eq!(last.parameters().flat(), alone.network().parameters().flat());
        assert_ne!(seen.seen[4].1.parameters().flat(), last.parameters().flat());
    }

    #[test]
    fn initial_weights_are_drawn_again_and_a_checkpoint_gives_its_network() {
        let dims = Dims::MNIST;
        let start = config().initial_network(dims, None, Device::Cpu).unwrap();
        assert_eq!(start.parameters().flat(), network(&config()).parameters().flat());
        let from = config().initial_network(dims, Some(&start), Device::Cpu).unwrap();
        assert_eq!(from.parameters().flat(), start.parameters().flat());

        let (hooks, trainer) = run(0);
        let (at, kept) = config().network_from_checkpoint(dims, &hooks.checkpoint, Device::Cpu).unwrap();
        assert_eq!(at, StepId { epoch: 2, batch: 3, step: 6 });
        assert_eq!(kept.parameters().flat(), trainer.network().parameters().flat());
        assert!(config().network_from_checkpoint(dims, b"no checkpoint", Device::Cpu).is_err());
    }
}
