//! The stem against libtorch, in values and gradients, over shapes with odd edges.

use tch::{Device, Kind, Tensor};

use super::*;
use crate::nn::{ConvConfig, LayerKind, LinearConfig, Mode, Network, PoolConfig, Shape, StepSeed};

const MODE: Mode = Mode::Train(StepSeed { seed: 0, epoch: 1, step: 1 });

/// Blocks of (channels, kernel, padding), flatten and linear; random weights and biases.
fn network(blocks: &[(i64, i64, i64)], side: (usize, usize)) -> Network {
    let pool = PoolConfig { kernel_size: 2, stride: 2 };
    let mut kinds = Vec::new();
    for &(out_channels, kernel_size, padding) in blocks {
        kinds.push(LayerKind::Conv(ConvConfig { out_channels, kernel_size, stride: 1, padding }));
        kinds.extend([LayerKind::Relu, LayerKind::MaxPool(pool)]);
    }
    kinds.extend([LayerKind::Flatten, LayerKind::Linear(LinearConfig { out_features: 7 })]);
    let config = NetworkConfig::from_layers(kinds.into_iter().map(|kind| (None, kind)).collect());
    let shape = Shape::grey(side.0, side.1);
    let mut network = Network::zeros(&config, shape, 7, Kind::Float, Device::Cpu).unwrap();
    network.initialize(3);
    for index in (1..2 * blocks.len()).step_by(2) {
        let bias =
            Tensor::arange(network.parameters().view(index).numel() as i64, (Kind::Float, Device::Cpu));
        network.parameters_mut().assign(index, &(bias * 0.03 - 0.1));
    }
    network
}

fn images(n: i64, side: (usize, usize)) -> Tensor {
    let (h, w) = (side.0 as i64, side.1 as i64);
    let values = Tensor::arange(n * h * w, (Kind::Float, Device::Cpu));
    ((values * 0.7).sin().clamp_min(0.0) * 1.2).view([n, 1, h, w])
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    let scale = b.abs().max().double_value(&[]).max(1e-3);
    (a - b).abs().max().double_value(&[]) / scale
}

fn check(blocks: &[(i64, i64, i64)], side: (usize, usize), n: i64) {
    let network = network(blocks, side);
    let stem = Stem::of(network.config(), network.shapes(), Kind::Float, Device::Cpu);
    let Some(stem) = stem else { return skipped() };
    assert_eq!(stem.blocks.len(), blocks.len());
    let (x, labels) = (images(n, side), Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(7));
    let mut outputs = Vec::new();
    let logits = network.forward_with(&x, &mut |layer, y| {
        if layer % 3 == 2 && layer < 3 * blocks.len() {
            outputs.push(y.detach());
        }
    });
    for (found, expected) in stem.answer(network.parameters(), &x).iter().zip(&outputs) {
        assert!(far(found, expected) < 1e-5, "outputs of {blocks:?} over {side:?}: {}", far(found, expected));
    }
    let loss = |logits: &Tensor| logits.cross_entropy_for_logits(&labels);
    let leaves: Vec<&Tensor> = network.parameters().iter().map(|(_, view)| view).collect();
    let expected = Tensor::run_backward(&[&loss(&logits)], &leaves, false, false);
    let mut gradients = network.parameters().zeros_like();
    let (found, _) = network.learn(&x, MODE, loss, &mut gradients);
    assert!(far(&found, &loss(&logits)) < 1e-5);
    for ((name, found), expected) in gradients.iter().zip(&expected) {
        assert!(far(found, expected) < 2e-4, "{name} of {blocks:?}, {side:?}: {}", far(found, expected));
    }
}

fn skipped() {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "skipped: this processor has no AVX-512").unwrap();
}

#[test]
fn values_and_gradients_are_those_of_libtorch() {
    // The tutorial's own, then odd sides, channels beyond one group, other kernels and no padding.
    check(&[(20, 5, 2), (20, 5, 2)], (28, 28), 9);
    check(&[(3, 5, 2), (11, 5, 2)], (17, 13), 5);
    check(&[(1, 1, 0)], (2, 2), 1);
    check(&[(10, 3, 0), (31, 3, 1)], (28, 28), 6);
    check(&[(32, 3, 1), (5, 3, 1), (4, 2, 0)], (40, 36), 3);
    check(&[(13, 7, 3), (2, 7, 3)], (64, 33), 2);
    check(&[(4, 4, 1), (21, 4, 2)], (9, 30), 17);
}

#[test]
fn ties_and_zeros_have_the_gradients_of_libtorch() {
    let mut network = network(&[(2, 3, 1)], (6, 6));
    let weights = Tensor::zeros([2, 1, 3, 3], (Kind::Float, Device::Cpu));
    let _ = weights.get(0).get(0).get(1).get(1).fill_(1.0);
    network.parameters_mut().assign(0, &weights);
    network.parameters_mut().assign(1, &Tensor::from_slice(&[0f32, 0.0]));
    let x = images(2, (6, 6)).ceil();
    let loss = |logits: &Tensor| logits.square().sum(Kind::Float);
    let leaves: Vec<&Tensor> = network.parameters().iter().map(|(_, view)| view).collect();
    let plain = network.forward_with(&x, &mut |_, _| ());
    let expected = Tensor::run_backward(&[&loss(&plain)], &leaves, false, false);
    let mut gradients = network.parameters().zeros_like();
    let _ = network.learn(&x, MODE, loss, &mut gradients);
    for ((name, found), expected) in gradients.iter().zip(&expected) {
        assert!(far(found, expected) < 1e-5, "{name}: {found:?} is not {expected:?}");
    }
}

#[test]
fn a_weight_that_is_no_number_reaches_the_answer() {
    let mut network = network(&[(3, 5, 2)], (28, 28));
    let mut weight = network.parameters().view(0).detach().copy();
    let _ = weight.get(1).get(0).get(2).get(2).fill_(f64::NAN);
    weight = weight.contiguous();
    network.parameters_mut().assign(0, &weight);
    let answer = network.predict(&images(1, (28, 28)));
    assert!(answer.isnan().all().int64_value(&[]) == 1, "{answer:?}");
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let network = network(&[(20, 5, 2), (20, 5, 2)], (28, 28));
    let x = images(37, (28, 28));
    let gradients = |threads| {
        tch::get_num_threads();
        tch::set_num_threads(threads);
        let mut gradients = network.parameters().zeros_like();
        let _ = network.learn(&x, MODE, |logits| logits.square().mean(Kind::Float), &mut gradients);
        tch::set_num_threads(1);
        gradients.iter().take(4).map(|(_, gradient)| gradient.copy()).collect::<Vec<_>>()
    };
    assert_eq!(gradients(1), gradients(3));
}
