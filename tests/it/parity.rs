//! The network, its gradients and its training against PaddlePaddle's numbers on real MNIST
//! (tests/golden/paddle/README.md says how they were computed). Skipped without MNIST.

use std::collections::HashMap;

use digitd::{
    data::{Catalog, DatasetSpec, DeviceSet, FetchPolicy, Order, Split, Splits, ValidationSize},
    eval::Loss,
    nn::{Mode, Network, NetworkConfig, Shape},
    optim::{Decay, OptimizerConfig, Regularization, Schedule},
    train::{
        BatchReport, Event, FitOutcome, RunHooks, TrainConfig, Trainer, TrainingProgress, ValidationConfig,
    },
};
use tch::{Device, Kind, Tensor};

use crate::support;

type Golden = HashMap<String, Tensor>;

fn golden(file: &str) -> Golden {
    Tensor::read_safetensors(support::golden(file)).unwrap().into_iter().collect()
}

/// The first 10 000 training images in file order, and the last 10 000 for validation.
fn splits() -> Option<Splits> {
    let catalog = Catalog::new(vec![support::mnist_dir()?], FetchPolicy::Never);
    let spec = DatasetSpec { name: "mnist".parse().unwrap(), seed: None, max_train_images: Some(10_000) };
    Some(catalog.load(&spec, ValidationSize::Count(10_000)).unwrap())
}

/// MNIST's test images.
fn mnist_images() -> Option<DeviceSet> {
    let catalog = Catalog::new(vec![support::mnist_dir()?], FetchPolicy::Never);
    let spec = DatasetSpec::whole("mnist".parse().unwrap());
    let set = catalog.load_split(&spec, ValidationSize::default(), Split::Test).unwrap();
    Some(DeviceSet::new(&set, Device::Cpu))
}

/// The tutorial's network with golden parameters; Paddle stores fc.weight as [in, out].
fn network(parameters: &Golden, prefix: &str, kind: Kind) -> Network {
    let mut network =
        Network::zeros(&NetworkConfig::tutorial(), Shape::grey(28, 28), 10, kind, Device::Cpu).unwrap();
    let names: Vec<String> = network.parameters().iter().map(|(name, _)| name.to_owned()).collect();
    for (index, name) in names.iter().enumerate() {
        let values = libtorch_layout(name, &parameters[&format!("{prefix}{name}")]);
        network.parameters_mut().assign(index, &values);
    }
    network
}

fn libtorch_layout(name: &str, values: &Tensor) -> Tensor {
    if name == "fc.weight" { values.transpose(0, 1) } else { values.shallow_clone() }
}

fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    (found.to_kind(Kind::Double) - expected.to_kind(Kind::Double)).abs().max().double_value(&[])
}

#[test]
fn the_forward_pass_is_paddles_layer_by_layer() {
    let Some(images) = mnist_images() else { return };
    let (init, golden) = (golden("init.safetensors"), golden("forward_2_test_images.safetensors"));
    for (kind, tolerance) in [(Kind::Double, 1e-9), (Kind::Float, 1e-4)] {
        let network = network(&init, "", kind);
        let inputs = images.range(0, 2, kind).images;
        let expected = |name: &str| &golden[name];
        // The tutorial does not count flatten, and flattens before it stores outputs6.
        let tutorial =
            ["outputs1", "outputs2", "outputs3", "outputs4", "outputs5", "", "outputs6", "outputs7"];
        let mut met = 0;
        let logits = network.forward_with(&inputs, &mut |layer, output| {
            if !tutorial[layer].is_empty() {
                let off = distance(output, expected(tutorial[layer]));
                assert!(off < tolerance, "{kind:?} {}: off by {off}", tutorial[layer]);
                met += 1;
            }
        });
        assert_eq!(met, 7);
        assert!(distance(&logits.softmax(-1, None::<Kind>), expected("softmax")) < tolerance);
        assert!(distance(&network.forward(&inputs, Mode::Evaluate), expected("outputs7")) < tolerance);
    }
}

#[test]
fn gradients_of_both_losses_are_paddles() {
    let Some(splits) = splits() else { return };
    let (init, golden) = (golden("init.safetensors"), golden("grads_batch0.safetensors"));
    let train = DeviceSet::new(&splits.train, Device::Cpu);
    for (loss, word) in [(Loss::CrossEntropy, "ce"), (Loss::MeanSquaredError, "mse")] {
        let network = network(&init, "", Kind::Double);
        let batch = train.range(0, 100, Kind::Double);
        let logits = network.forward(&batch.images, Mode::Evaluate);
        let expected = |name: &str| &golden[&format!("{word}.f64.{name}")];
        assert!(distance(&logits.detach(), expected("logits")) < 1e-9);
        let mean = loss.mean(&logits, &batch.labels);
        assert!(distance(&mean.detach().view(1), expected("loss")) < 1e-9);
        let (names, leaves): (Vec<_>, Vec<_>) = network.parameters().iter().unzip();
        let gradients = Tensor::run_backward(&[mean], &leaves, false, false);
        for (name, gradient) in names.iter().zip(&gradients) {
            let off = distance(gradient, &libtorch_layout(name, expected(&format!("grad.{name}"))));
            assert!(off < 1e-9, "{word} {name}: off by {off}");
        }
    }
}

#[test]
fn norms_of_an_inspections_gradients_are_paddles() {
    let Some(splits) = splits() else { return };
    let (init, golden) = (golden("init.safetensors"), golden("grads_batch0.safetensors"));
    let network = network(&init, "", Kind::Double);
    let batch = DeviceSet::new(&splits.train, Device::Cpu).range(0, 100, Kind::Double);
    let found = digitd::inspect::Gradients::of(&network, &batch.images, &batch.labels);
    let loss = golden["ce.f64.loss"].double_value(&[0]);
    assert!((found.loss - loss).abs() < 1e-9);
    let parameters: Vec<_> = found.layers.iter().flat_map(|layer| &layer.parameters).collect();
    assert_eq!(parameters.len(), 6);
    for parameter in parameters {
        let expected = golden[&format!("ce.f64.grad.{}", parameter.name)].norm().double_value(&[]);
        assert!((parameter.norm - expected).abs() < 1e-9, "{}: {}", parameter.name, parameter.norm);
    }
}

/// Paddle's float32 constants, which it uses in a float64 run too.
const MOMENTUM: OptimizerConfig =
    OptimizerConfig::Momentum { learning_rate: 0.01, momentum: 0.9f32 as f64, nesterov: false };
const ADAGRAD: OptimizerConfig =
    OptimizerConfig::Adagrad { learning_rate: 0.01, epsilon: 1e-6f32 as f64, initial_accumulator_value: 0.0 };

#[test]
fn a_hundred_batches_of_every_optimiser_follow_paddles_trajectory() {
    let Some(fixture) = Fixture::load() else { return };
    assert_eq!(fixture.after.len(), 4 * 6, "final parameters of four cases");
    for (case, optimizer) in [
        ("sgd_lr0.01", OptimizerConfig::sgd(0.01)),
        ("momentum_lr0.01_m0.9", MOMENTUM),
        ("adagrad_lr0.01", ADAGRAD),
        ("adam_lr0.01", OptimizerConfig::adam(0.01)),
        ("adam_lr0.001", OptimizerConfig::adam(0.001)),
    ] {
        fixture.check(case, |config| config.optimizer = optimizer);
    }
}

#[test]
fn a_hundred_batches_with_decay_and_with_squared_error_follow_paddles_trajectory() {
    let Some(fixture) = Fixture::load() else { return };
    fixture.check("adam_lr0.01_l2_1e-2", |config| {
        config.optimizer = OptimizerConfig::adam(0.01);
        config.regularization.global = Decay { l1: 0.0, l2: 0.01 };
    });
    fixture.check("sgd_lr0.01_l2conv_1e-2", |config| {
        let own = Decay { l1: 0.0, l2: 0.01 };
        let names = ["conv1.weight", "conv2.weight"];
        let per_parameter = names.map(|name| (name.to_owned(), own)).into();
        config.regularization = Regularization { per_parameter, ..Regularization::default() };
    });
    fixture.check("sgd_lr0.01_mse_softmax", |config| config.loss = Loss::MeanSquaredError);
}

struct Fixture {
    init: Golden,
    trajectories: Golden,
    after: Golden,
    splits: Splits,
}

impl Fixture {
    fn load() -> Option<Self> {
        support::one_torch_thread();
        Some(Self {
            init: golden("init.safetensors"),
            trajectories: golden("trajectories.safetensors"),
            after: golden("params_after_100_batches.safetensors"),
            splits: splits()?,
        })
    }

    /// One epoch of 100 batches in file order from Paddle's initial parameters: loss and accuracy of every
    /// batch agree to 1e-9 in float64. In float32 the first ten agree to 1e-5, or to 1e-3 for Adagrad and
    /// Adam, whose first steps divide by the gradient's magnitude and so amplify the rounding of the smallest
    /// gradients.
    fn check(&self, case: &str, change: impl Fn(&mut TrainConfig)) {
        let coarse = if case.starts_with("ada") { 1e-3 } else { 1e-5 };
        let runs = [(Kind::Double, "_f64", 100, 1e-9), (Kind::Float, "", 10, coarse)];
        for (kind, suffix, batches, tolerance) in runs {
            let mut config = TrainConfig {
                epochs: 1,
                order: Order::File,
                report_every_batches: 1,
                optimizer: OptimizerConfig::sgd(0.01),
                schedule: Schedule::default(),
                validation: ValidationConfig { size: ValidationSize::Count(0), every_epochs: 1 },
                ..TrainConfig::default()
            };
            change(&mut config);
            let mut trainer = Trainer::with_network(config, network(&self.init, "", kind), &self.splits);
            let mut log = Log::default();
            assert_eq!(trainer.fit(&mut log).unwrap().outcome, FitOutcome::Completed);
            let row = |name: &str| {
                Vec::<f64>::try_from(&self.trajectories[&format!("{case}.{name}{suffix}")]).unwrap()
            };
            let (losses, accuracies) = (row("loss"), row("acc"));
            assert_eq!(log.batches.len(), 100);
            for (batch, report) in log.batches.iter().enumerate().take(batches) {
                let off = (report.loss - losses[batch]).abs();
                assert!(off < tolerance, "{case}{suffix}, batch {}: loss off by {off}", batch + 1);
                assert!(
                    (report.accuracy - accuracies[batch]).abs() < 1e-6,
                    "{case}{suffix}, batch {}",
                    batch + 1
                );
            }
            if kind == Kind::Double && self.after.contains_key(&format!("{case}.f64.fc.bias")) {
                let expected = network(&self.after, &format!("{case}.f64."), Kind::Double);
                let off = distance(trainer.network().parameters().flat(), expected.parameters().flat());
                assert!(off < 1e-9, "{case}: parameters off by {off}");
            }
        }
    }
}

#[derive(Default)]
struct Log {
    batches: Vec<BatchReport>,
}

impl RunHooks for Log {
    fn report(&mut self, event: Event) {
        if let Event::Batch(report) = event {
            self.batches.push(report);
        }
    }

    fn checkpoint(&mut self, _: TrainingProgress, _: Vec<u8>) -> Result<(), String> {
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        false
    }
}
