//! Whole runs, with and without problems, and their warnings.

use tch::{Device, Kind, Tensor};

use super::{Rule, Warning};
use crate::{
    data::{ImageSet, Order, Splits, dataset::Dims},
    nn::{LayerKind, LinearConfig, Network, NetworkConfig, Shape},
    optim::{Decay, OptimizerConfig, Schedule},
    train::{
        Event, TrainConfig,
        testing::{digits, network, train},
    },
};

#[test]
fn the_gradient_norm_is_that_of_the_batchs_mean_loss_before_decay() {
    let linear = LayerKind::Linear(LinearConfig { out_features: 10 });
    let mut config = TrainConfig {
        network: NetworkConfig::from_layers(vec![(None, LayerKind::Flatten), (None, linear)]),
        epochs: 1,
        batch_size: 2,
        report_every_batches: 2,
        optimizer: OptimizerConfig::sgd(1e-3),
        schedule: Schedule::default(),
        ..TrainConfig::default()
    };
    config.regularization.global = Decay { l1: 3.0, l2: 5.0 };
    let mut network =
        Network::zeros(&config.network, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
    // All classes have the same weights, so all probabilities are 1/10.
    network.parameters_mut().assign(0, &Tensor::full([10, 784], 0.5, (Kind::Float, Device::Cpu)));
    let images =
        |number: usize| ImageSet::new(Dims::MNIST, vec![255; 784 * number], vec![7; number]).unwrap();
    let splits = Splits { train: images(6), validation: images(0), test: images(0) };
    let batches = train(config, network, &splits).0.batches();
    assert_eq!(batches.iter().map(|batch| batch.batch).collect::<Vec<_>>(), [1, 3]);
    // The gradient of nine classes is 1/10 and that of the label -9/10, at the bias and at 784 pixels of 1.
    let expected = (785.0 * (9.0 * 0.01 + 0.81f64)).sqrt();
    let found = batches[0].gradient_norm.unwrap();
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} is not {expected}");
    assert!(batches[1].gradient_norm.is_some());
}

/// Steps of plain gradient descent, all of which are reported.
fn descent(learning_rate: f64) -> TrainConfig {
    TrainConfig {
        epochs: 1,
        batch_size: 20,
        report_every_batches: 1,
        optimizer: OptimizerConfig::sgd(learning_rate),
        schedule: Schedule::default(),
        ..TrainConfig::default()
    }
}

fn linear() -> NetworkConfig {
    let linear = LayerKind::Linear(LinearConfig { out_features: 10 });
    NetworkConfig::from_layers(vec![(None, LayerKind::Flatten), (None, linear)])
}

fn fill(network: &mut Network, name: &str, values: &Tensor) {
    let index = network.parameters().shapes().position(|shape| shape.name == name).unwrap();
    network.parameters_mut().assign(index, values);
}

fn warnings(config: TrainConfig, network: Network, splits: &Splits) -> Vec<Warning> {
    let warning = |event: Event| match event {
        Event::Warning(warning) => Some(*warning),
        _ => None,
    };
    train(config, network, splits).0.0.into_iter().filter_map(warning).collect()
}

fn of(rule: Rule, warnings: &[Warning]) -> Vec<&Warning> {
    warnings.iter().filter(|warning| warning.rule == rule).collect()
}

fn parameters(warnings: &[&Warning]) -> Vec<String> {
    warnings.iter().map(|warning| warning.subject.parameter.clone().unwrap_or_default()).collect()
}

#[test]
fn a_bias_of_minus_100_makes_a_dead_channel() {
    let config = TrainConfig { epochs: 2, ..descent(0.01) };
    let mut sick = network(&config);
    let bias = Tensor::from_slice(&[-100f32, 0.0, 0.0, 0.0, -100.0]);
    fill(&mut sick, "conv1.bias", &Tensor::cat(&[bias, Tensor::zeros([15], (Kind::Float, Device::Cpu))], 0));
    let found = warnings(config, sick, &digits(200, 150));
    let [dead] = of(Rule::DeadChannels, &found)[..] else { panic!("{found:?}") };
    assert_eq!((dead.epoch, dead.batch, dead.step), (1, None, 10));
    assert_eq!((dead.subject.layer.as_deref(), &dead.subject.channels[..]), (Some("relu1"), &[0, 4][..]));
    assert_eq!(dead.measurements[1].value, 20.0);
}

#[test]
fn gradients_that_do_not_reach_a_weight_vanish() {
    let config = descent(0.01);
    let mut sick = network(&config);
    fill(&mut sick, "conv2.bias", &Tensor::full([20], -100.0, (Kind::Float, Device::Cpu)));
    let found = warnings(config, sick, &digits(200, 0));
    let vanishing = of(Rule::VanishingGradients, &found);
    assert_eq!(parameters(&vanishing), ["conv1.weight", "conv2.weight", "fc.weight"]);
    // This is the third consecutive report.
    assert!(vanishing.iter().all(|warning| warning.batch == Some(3)), "{vanishing:?}");
    assert_eq!(vanishing[0].measurements[0].value, 0.0);
}

#[test]
fn a_learning_rate_of_10_explodes_the_gradients() {
    let config = descent(10.0);
    let weights = network(&config);
    let found = warnings(config, weights, &digits(400, 0));
    let [exploding] = of(Rule::ExplodingGradients, &found)[..] else { panic!("{found:?}") };
    let norm = &exploding.measurements[0];
    assert!(norm.value > 1e3 || norm.value.is_nan(), "{norm:?}");
    assert_eq!(norm.threshold, Some(1e3));
}

#[test]
fn a_loss_that_ends_the_run_between_two_reports_is_reported_as_an_explosion() {
    let config = TrainConfig { report_every_batches: 1000, ..descent(1e30) };
    let weights = network(&config);
    let found = warnings(config, weights, &digits(400, 0));
    let [exploding] = &found[..] else { panic!("{found:?}") };
    assert_eq!(exploding.rule, Rule::ExplodingGradients);
    assert!(exploding.batch.is_some(), "{exploding:?}");
}

#[test]
fn an_explosion_is_reported_with_the_norm_before_clipping() {
    let config = TrainConfig {
        network: linear(),
        batch_size: 2,
        order: Order::File,
        report_every_batches: 1000,
        clip_gradient_norm: Some(1.0),
        ..descent(1e-30)
    };
    let mut sure = network(&config);
    // The logits are 3e38 for class 0 and -3e38 for the others: correct for the first batch, and a loss
    // beyond float32 for the second.
    let mut rows = vec![-3.8e35f32; 7840];
    rows[..784].fill(3.8e35);
    fill(&mut sure, "linear1.weight", &Tensor::from_slice(&rows).view([10, 784]));
    let images =
        |labels: &[u8]| ImageSet::new(Dims::MNIST, vec![255; 784 * labels.len()], labels.into()).unwrap();
    let splits = Splits { train: images(&[0, 0, 7, 7]), validation: images(&[]), test: images(&[]) };
    let found = warnings(config, sure, &splits);
    let [exploding] = of(Rule::ExplodingGradients, &found)[..] else { panic!("{found:?}") };
    // The gradient is 1 at the predicted class and -1 at the label, at the bias and at 784 pixels of 1.
    let (norm, expected) = (&exploding.measurements[0], (2.0 * 785.0f64).sqrt());
    assert!(exploding.batch == Some(2) && (norm.value / expected - 1.0).abs() < 1e-5, "{exploding:?}");
    assert_eq!(norm.threshold, None, "it is not beyond it");
}

#[test]
fn steps_that_are_too_long_or_too_short_for_their_weight_are_reported() {
    let found = |learning_rate| {
        let config = TrainConfig { network: linear(), ..descent(learning_rate) };
        let weights = network(&config);
        let found = warnings(config, weights, &digits(400, 0));
        let [ratio] = of(Rule::UpdateRatio, &found)[..] else { panic!("{found:?}") };
        assert_eq!((parameters(&[ratio]), ratio.batch), (vec!["linear1.weight".to_owned()], Some(13)));
        (ratio.measurements[0].value, ratio.measurements[0].threshold)
    };
    let (long, short) = (found(30.0), found(1e-9));
    assert!(long.0 > 0.1 && long.1 == Some(0.1), "{long:?}");
    assert!(short.0 < 1e-6 && short.1 == Some(1e-6), "{short:?}");
}

#[test]
fn a_run_that_does_not_learn_is_reported_as_underfitting_and_as_a_plateau() {
    let config = TrainConfig { epochs: 4, network: linear(), ..descent(1e-9) };
    let weights = network(&config);
    let found = warnings(config, weights, &digits(200, 100));
    let [under] = of(Rule::Underfitting, &found)[..] else { panic!("{found:?}") };
    assert_eq!(under.epoch, 3);
    assert!(under.measurements[0].value < 0.5, "{under:?}");
    let [plateau] = of(Rule::Plateau, &found)[..] else { panic!("{found:?}") };
    assert_eq!(plateau.epoch, 4);
    assert!(of(Rule::Overfitting, &found).is_empty());
}

#[test]
fn few_training_images_seen_often_are_overfitted() {
    let hidden = LayerKind::Linear(LinearConfig { out_features: 64 });
    let output = LayerKind::Linear(LinearConfig { out_features: 10 });
    let layers = [LayerKind::Flatten, hidden, LayerKind::Relu, output];
    let config = TrainConfig {
        network: NetworkConfig::from_layers(layers.map(|kind| (None, kind)).into()),
        epochs: 60,
        optimizer: OptimizerConfig::adam(0.03),
        ..descent(0.0)
    };
    let weights = network(&config);
    let found = warnings(config, weights, &digits(200, 500));
    let [over] = of(Rule::Overfitting, &found)[..] else { panic!("{found:?}") };
    let [now, best, train] = &over.measurements[..] else { panic!("{over:?}") };
    assert!(now.value > 1.25 * best.value && train.value < train.threshold.unwrap(), "{over:?}");
}

#[test]
fn a_class_that_training_never_showed_is_never_predicted() {
    let mut splits = digits(400, 300);
    let kept: Vec<usize> = (0..400).filter(|&image| splits.train.label(image) != 7).collect();
    splits.train = splits.train.select(&kept);
    let config =
        TrainConfig { epochs: 3, network: linear(), optimizer: OptimizerConfig::adam(0.01), ..descent(0.0) };
    let weights = network(&config);
    let found = warnings(config, weights, &splits);
    let missed = of(Rule::ClassNeverPredicted, &found);
    assert!(missed.iter().any(|warning| warning.subject.classes.contains(&7)), "{found:?}");
    let all: Vec<u32> = missed.iter().flat_map(|warning| warning.subject.classes.clone()).collect();
    assert_eq!(all.iter().filter(|class| **class == 7).count(), 1, "{all:?}");
}

#[test]
fn a_healthy_run_raises_no_warning() {
    let config = TrainConfig { report_every_batches: 1, epochs: 2, ..TrainConfig::default() };
    let weights = network(&config);
    assert_eq!(warnings(config, weights, &digits(4000, 500)), []);
}
