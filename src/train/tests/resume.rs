//! A run that is stopped and resumed ends as one that never stopped, to the bit; and the rules that
//! end a run early.

use std::cell::Cell;

use super::*;
use crate::{
    data::{Augmentation, DeviceSet, ValidationSize, synthetic},
    nn::{BatchNormConfig, DropoutConfig, DropoutMode, ParameterSet},
    optim::{Decay, ScheduleShape, WeightAveraging},
};

/// Keeps what a run reports and its last checkpoint; stops the run after a number of batches.
#[derive(Default)]
struct RunRecorder {
    stop_after: Option<u32>,
    batches: Cell<u32>,
    events: Vec<Event>,
    checkpoint: Option<Vec<u8>>,
}

impl RunHooks for RunRecorder {
    fn report(&mut self, event: Event) {
        self.events.push(event);
    }

    fn checkpoint(&mut self, _: TrainingProgress, bytes: Vec<u8>) -> Result<(), String> {
        self.checkpoint = Some(bytes);
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        self.batches.set(self.batches.get() + 1);
        Some(self.batches.get()) == self.stop_after
    }
}

/// A run with 5 batches per epoch, the last one smaller, and with dropout, batch normalisation, augmentation,
/// decay and averaged weights.
fn config(optimizer: OptimizerConfig) -> TrainConfig {
    let dropout = DropoutConfig { probability: 0.5, axes: Vec::new(), mode: DropoutMode::UpscaleInTrain };
    let linear = |out_features| LayerKind::Linear(LinearConfig { out_features });
    let norm = LayerKind::BatchNorm(BatchNormConfig { momentum: 0.1, epsilon: 1e-5 });
    let dropout = LayerKind::Dropout(dropout);
    let kinds = [LayerKind::Flatten, linear(8), norm, LayerKind::Relu, dropout, linear(10)];
    let mut config = TrainConfig {
        network: NetworkConfig::from_layers(kinds.into_iter().map(|kind| (None, kind)).collect()),
        epochs: 3,
        batch_size: 10,
        report_every_batches: 1,
        optimizer,
        schedule: Schedule::one_cycle(),
        ..TrainConfig::default()
    };
    config.regularization.global = Decay { l1: 1e-4, l2: 1e-3 };
    config.augmentation = Augmentation { rotation_degrees: 10.0, ..Augmentation::default() };
    config.validation.size = ValidationSize::Count(20);
    config.weight_averaging = Some(WeightAveraging { decay: 0.9 });
    config
}

fn splits() -> Splits {
    let images = |range| synthetic::draw(0, synthetic::DigitStream::Train, range);
    Splits { train: images(0..47), validation: images(47..67), test: images(0..0) }
}

fn trainer(config: &TrainConfig) -> Trainer {
    Trainer::new(config.clone().validate(Dims::MNIST).unwrap(), None, &splits(), Device::Cpu).unwrap()
}

/// Runs to the end, with a stop after each of these numbers of batches. Returns the outcome, the weights (and
/// their average), the best epoch, and the reports of batches and epochs.
fn run(config: &TrainConfig, stops: &[u32]) -> (FitOutcome, Vec<u8>, BestEpoch, Vec<String>) {
    let (mut logged, mut checkpoint) = (Vec::new(), None::<Vec<u8>>);
    for stop_after in stops.iter().copied().map(Some).chain([None]) {
        let mut trainer = trainer(config);
        if let Some(checkpoint) = &checkpoint {
            trainer.resume(checkpoint).unwrap();
        }
        let mut recorder = RunRecorder { stop_after, ..RunRecorder::default() };
        let result = trainer.fit(&mut recorder).unwrap();
        logged.extend(recorder.events.iter().filter_map(timeless));
        checkpoint = recorder.checkpoint;
        if stop_after.is_none() {
            return (result.outcome, networks(&trainer), result.best.unwrap(), logged);
        }
        assert_eq!(result.outcome, FitOutcome::Cancelled);
    }
    unreachable!("the last part has no stop")
}

/// The weights of the last step and their average.
fn networks(trainer: &Trainer) -> Vec<u8> {
    [trainer.network(), trainer.published()].map(crate::checkpoint::encode_network).concat()
}

/// An event without its times.
fn timeless(event: &Event) -> Option<String> {
    match event {
        Event::Batch(batch) => Some(format!("{:?}", BatchReport { images_per_second: 0.0, ..*batch })),
        Event::Epoch(epoch) => {
            Some(format!("{:?}", EpochReport { seconds: 0.0, images_per_second: 0.0, ..*epoch }))
        }
        _ => None,
    }
}

#[test]
fn every_optimizer_resumes_as_if_it_had_not_stopped() {
    let nesterov = OptimizerConfig::Momentum { learning_rate: 0.05, momentum: 0.9, nesterov: true };
    for optimizer in [
        OptimizerConfig::sgd(0.1),
        OptimizerConfig::momentum(0.05),
        nesterov,
        OptimizerConfig::adagrad(0.05),
        OptimizerConfig::adam(0.01),
    ] {
        let config = config(optimizer);
        let (outcome, weights, best, logged) = run(&config, &[]);
        assert_eq!((outcome, logged.len()), (FitOutcome::Completed, 18));
        // The stops are in the middle of an epoch, at its last batch, at its first, and twice in one epoch.
        for stops in [&[7][..], &[5], &[6], &[2, 1, 3, 4]] {
            let (outcome, again, resumed_best, resumed_log) = run(&config, stops);
            assert_eq!(outcome, FitOutcome::Completed);
            assert!(again == weights, "{optimizer:?} stopped after {stops:?} ends elsewhere");
            assert_eq!(resumed_log, logged, "{optimizer:?} stopped after {stops:?}");
            assert_eq!((resumed_best.epoch, resumed_best.validation), (best.epoch, best.validation));
            assert!(resumed_best.weights == best.weights);
        }
    }
}

#[test]
fn epochs_added_on_a_constant_schedule_give_the_same_result() {
    let mut config = config(OptimizerConfig::adam(0.01));
    config.schedule.shape = ScheduleShape::Exponential { factor: 0.5 };
    let (_, weights, ..) = run(&config, &[]);
    let mut recorder = RunRecorder::default();
    trainer(&TrainConfig { epochs: 1, ..config.clone() }).fit(&mut recorder).unwrap();
    let mut longer = trainer(&config);
    let at = longer.resume(&recorder.checkpoint.unwrap()).unwrap();
    assert_eq!(at, TrainingProgress { epoch: 1, batch: 0, step: 5 });
    longer.fit(&mut RunRecorder::default()).unwrap();
    assert!(networks(&longer) == weights);
}

#[test]
fn a_checkpoint_of_another_run_is_rejected() {
    let adam = config(OptimizerConfig::adam(0.01));
    let mut recorder = RunRecorder::default();
    trainer(&adam).fit(&mut recorder).unwrap();
    let checkpoint = recorder.checkpoint.unwrap();
    for other in [
        TrainConfig { seed: 1, ..adam.clone() },
        TrainConfig { batch_size: 7, ..adam.clone() },
        TrainConfig { network: NetworkConfig::tutorial(), ..adam.clone() },
        config(OptimizerConfig::momentum(0.01)),
    ] {
        let rejected = trainer(&other).resume(&checkpoint);
        assert!(matches!(rejected, Err(Error::State(_))), "{other:?}");
    }
    assert!(matches!(trainer(&adam).resume(&checkpoint[..100]), Err(Error::State(_))));
    let weights = crate::checkpoint::encode_network(trainer(&adam).network());
    assert!(matches!(trainer(&adam).resume(&weights), Err(Error::State(_))));
}

#[test]
fn a_run_that_does_not_improve_stops_early_also_after_a_resume() {
    let mut config = config(OptimizerConfig::sgd(1e-9));
    config.epochs = 9;
    let rule = EarlyStopping { min_delta: 0.1, patience_evaluations: 2, ..EarlyStopping::default() };
    config.early_stopping = Some(rule);
    let (outcome, weights, best, logged) = run(&config, &[]);
    assert_eq!(outcome, FitOutcome::EarlyStopped);
    let epochs = logged.iter().filter(|event| event.starts_with("EpochReport")).count();
    assert_eq!(epochs, 3, "the first epoch, and two that are no better");
    let (outcome, again, resumed_best, resumed_log) = run(&config, &[12]);
    assert_eq!((outcome, resumed_best.epoch, resumed_log), (FitOutcome::EarlyStopped, best.epoch, logged));
    assert!(again == weights);
}

#[test]
fn infinite_weights_end_a_run_at_their_batch() {
    // There is no report yet, and the loss of the batch itself is finite.
    let config = TrainConfig { report_every_batches: 100, ..config(OptimizerConfig::sgd(1e30)) };
    let mut recorder = RunRecorder::default();
    let result = Trainer::new(
        TrainConfig { schedule: Schedule::default(), ..config.clone() }.validate(Dims::MNIST).unwrap(),
        None,
        &splits(),
        Device::Cpu,
    )
    .unwrap()
    .fit(&mut recorder)
    .unwrap();
    let FitOutcome::NonFinite { epoch: 1, batch } = result.outcome else { panic!("{:?}", result.outcome) };
    assert!(batch <= 3, "{batch}");
    assert!(recorder.checkpoint.is_none() && result.best.is_none());
}

#[test]
fn a_network_that_could_not_be_loaded_ends_the_run() {
    let config = TrainConfig { weight_averaging: None, ..config(OptimizerConfig::sgd(1e-9)) };
    // Normalised values of 1e25 are valid; their variance exceeds float32.
    let mut large = trainer(&config);
    let times = |set: &mut ParameterSet, factor: f64| {
        let scaled = set.view(0).detach() * factor;
        set.assign(0, &scaled);
    };
    times(large.network.parameters_mut(), 1e25);
    assert!(matches!(
        large.fit(&mut RunRecorder::default()).unwrap().outcome,
        FitOutcome::NonFinite { epoch: 1, .. }
    ));

    let mut averaging = config.clone();
    averaging.weight_averaging = Some(WeightAveraging { decay: 0.9 });
    averaging.validation.size = ValidationSize::Count(0);
    let mut broken = trainer(&averaging);
    broken.validation = DeviceSet::new(&splits().test, Device::Cpu);
    times(broken.averaged.as_mut().unwrap().parameters_mut(), f64::INFINITY);
    let mut recorder = RunRecorder::default();
    let result = broken.fit(&mut recorder).unwrap();
    assert!(matches!(result.outcome, FitOutcome::NonFinite { epoch: 1, .. }), "{:?}", result.outcome);
    assert!(recorder.checkpoint.is_none() && result.best.is_none());
}
