//! How runs end, without an engine.

use tch::{Device, Kind, Tensor};

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

    fn checkpoint(&mut self, _: TrainingProgress, _: Vec<u8>) -> Result<(), String> {
        self.checkpoints += 1;
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        self.batches.set(self.batches.get() - 1);
        self.batches.get() == 0
    }
}

/// Returns how a run that is stopped after three batches ends, and how many checkpoints it keeps.
fn stopped(learning_rate: f64) -> (FitOutcome, u32) {
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
    let result = Trainer::with_network(config, network, &splits).fit(&mut hooks).unwrap();
    (result.outcome, hooks.checkpoints)
}

#[test]
fn a_run_that_is_stopped_keeps_a_checkpoint_only_where_its_loss_is_a_number() {
    assert_eq!(stopped(0.001), (FitOutcome::Cancelled, 1));
    assert_eq!(stopped(1e300), (FitOutcome::NonFinite { epoch: 1, batch: 1 }, 0));
}

/// Returns the losses and the final weights of five steps of a linear network on ten random images.
fn five_steps(change: impl FnOnce(&mut TrainConfig)) -> (Vec<f64>, Option<LossAndAccuracy>, Tensor) {
    let Run { trainer, hooks, .. } = five_steps_of(change);
    (hooks.losses, hooks.validation, trainer.network().parameters().flat().copy())
}

struct Run {
    trainer: Trainer,
    hooks: ReportRecorder,
    result: FitResult,
}

fn five_steps_of(change: impl FnOnce(&mut TrainConfig)) -> Run {
    let linear = LayerKind::Linear(LinearConfig { out_features: 10 });
    let mut config = TrainConfig {
        network: NetworkConfig::from_layers(vec![(None, LayerKind::Flatten), (None, linear)]),
        epochs: 5,
        batch_size: 10,
        optimizer: OptimizerConfig::sgd(0.5),
        schedule: Schedule::default(),
        report_every_batches: 1,
        ..TrainConfig::default()
    };
    change(&mut config);
    let mut random = crate::data::Random::new(1, crate::data::Stream::Sample, 0, 0);
    let pixels: Vec<u8> = (0..7840).map(|_| random.below(256) as u8).collect();
    let images = ImageSet::new(Dims::MNIST, pixels, (0..10).collect()).unwrap();
    let splits = Splits { train: images.clone(), validation: images.clone(), test: images.slice(0..0) };
    let mut hooks = ReportRecorder::default();
    let mut trainer =
        Trainer::new(config.validate(Dims::MNIST).unwrap(), None, &splits, Device::Cpu).unwrap();
    let result = trainer.fit(&mut hooks).unwrap();
    assert_eq!(result.outcome, FitOutcome::Completed);
    Run { trainer, hooks, result }
}

/// Keeps what a run reports.
#[derive(Default)]
struct ReportRecorder {
    losses: Vec<f64>,
    /// The validation after the first epoch.
    validation: Option<LossAndAccuracy>,
    /// The last checkpoint.
    checkpoint: Option<Vec<u8>>,
}

impl RunHooks for ReportRecorder {
    fn report(&mut self, event: Event) {
        match event {
            Event::Batch(batch) => self.losses.push(batch.loss),
            Event::Epoch(epoch) => self.validation = self.validation.or(epoch.validation),
            _ => {}
        }
    }

    fn checkpoint(&mut self, _: TrainingProgress, bytes: Vec<u8>) -> Result<(), String> {
        self.checkpoint = Some(bytes);
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        false
    }
}

#[test]
fn a_step_is_no_longer_than_the_gradient_norm_allows() {
    let moved = |norm: Option<f64>| {
        let once = |rate| {
            let (_, _, weights) = five_steps(|config| {
                (config.epochs, config.clip_gradient_norm) = (1, norm);
                config.optimizer = OptimizerConfig::sgd(rate);
            });
            weights
        };
        // A learning rate this small changes nothing in float32.
        (once(0.5) - once(1e-30)).norm().double_value(&[])
    };
    assert!(moved(None) > 0.5, "{}", moved(None));
    assert!((moved(Some(0.25)) - 0.125).abs() < 1e-5, "{}", moved(Some(0.25)));
    assert_eq!(moved(Some(1e6)), moved(None));
}

#[test]
fn smoothing_shows_in_the_training_loss_and_not_in_validation() {
    // The weights hardly move, so that both losses are those of the same network.
    let still = |smoothing| {
        move |config: &mut TrainConfig| {
            config.optimizer = OptimizerConfig::sgd(1e-30);
            config.label_smoothing = smoothing;
        }
    };
    let (plain, validation, _) = five_steps(still(0.0));
    let (smoothed, smoothed_validation, _) = five_steps(still(0.5));
    assert!((plain[0] - validation.unwrap().loss).abs() < 1e-6);
    assert!((plain[0] - smoothed[0]).abs() > 1e-3, "{plain:?} {smoothed:?}");
    assert_eq!(validation, smoothed_validation);
}

#[test]
fn augmentation_changes_training_images_at_every_step_and_validation_never() {
    let still = |extent| {
        move |config: &mut TrainConfig| {
            config.optimizer = OptimizerConfig::sgd(1e-30);
            config.augmentation.shift_pixels = extent;
        }
    };
    let (plain, validation, _) = five_steps(still(0.0));
    let (moved, moved_validation, _) = five_steps(still(5.0));
    assert!(plain.iter().all(|loss| (loss - plain[0]).abs() < 1e-6), "{plain:?}");
    assert!(moved.iter().skip(1).all(|loss| (loss - moved[0]).abs() > 1e-4), "{moved:?}");
    assert_eq!(validation, moved_validation);
    assert_eq!(moved, five_steps(still(5.0)).0, "a run's images are a function of its seed");
}

#[test]
fn the_averaged_weights_are_the_ones_that_are_validated_and_published() {
    // The last of five steps gives w₅ and the average of w₁ … w₅, computed here from runs of 1 to 5 steps.
    let gentle = OptimizerConfig::sgd(0.002);
    let steps = |epochs: u32| five_steps(|config| (config.epochs, config.optimizer) = (epochs, gentle)).2;
    let mut average = five_steps(|config| config.optimizer = OptimizerConfig::sgd(1e-30)).2;
    for t in 1..=5u32 {
        let decay = 0.25f64.min(f64::from(1 + t) / f64::from(10 + t));
        average = average * decay + steps(t) * (1.0 - decay);
    }
    let averaging = |config: &mut TrainConfig| {
        config.optimizer = gentle;
        config.weight_averaging = Some(crate::optim::WeightAveraging { decay: 0.25 });
    };
    let run = five_steps_of(averaging);
    assert!(run.trainer.published().parameters().flat().allclose(&average, 1e-5, 1e-6, false));
    assert_eq!(run.trainer.network().parameters().flat(), &steps(5), "training itself goes on as without");
    let weights = crate::checkpoint::encode_network(run.trainer.published());
    assert!(run.result.best.unwrap().weights == weights, "the last epoch is the best");
    let state = crate::checkpoint::Arrays::decode(run.hooks.checkpoint.as_ref().unwrap()).unwrap();
    let expected = run.trainer.published().parameters().get("linear1.weight").unwrap().contiguous();
    assert_eq!(state.arrays["average/linear1.weight"], expected.detach());
}

mod resume;
