//! Whole runs, healthy and sick, and what is told of them.

use tch::{Device, Kind, Tensor};

use crate::{
    data::{ImageSet, Splits, dataset::Dims},
    nn::{LayerKind, LinearConfig, Network, NetworkConfig, Shape},
    optim::{Decay, OptimizerConfig, Schedule},
    train::{TrainConfig, testing::train},
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
    // The same weights for every class: all answers are 1/10.
    network.parameters_mut().assign(0, &Tensor::full([10, 784], 0.5, (Kind::Float, Device::Cpu)));
    let images =
        |number: usize| ImageSet::new(Dims::MNIST, vec![255; 784 * number], vec![7; number]).unwrap();
    let splits = Splits { train: images(6), validation: images(0), test: images(0) };
    let batches = train(config, network, &splits).0.batches();
    assert_eq!(batches.iter().map(|batch| batch.batch).collect::<Vec<_>>(), [1, 3]);
    // Nine classes pull with 1/10, the label with -9/10, at the bias and at 784 pixels of 1.
    let expected = (785.0 * (9.0 * 0.01 + 0.81f64)).sqrt();
    let found = batches[0].gradient_norm.unwrap();
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} is not {expected}");
    assert!(batches[1].gradient_norm.is_some());
}
