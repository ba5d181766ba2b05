//! The fused kernels against libtorch, in values and gradients, over shapes with odd edges: in portable code,
//! and with the processor's instructions if it has those that the kernels need.

use std::io::Write as _;

use tch::{Device, Kind, Tensor};

use super::{scalar::Scalar, *};
use crate::nn::{ConvConfig, LayerKind, LinearConfig, Mode, Network, PoolConfig, Precision, Shape, StepSeed};

const MODE: Mode = Mode::Train(StepSeed { seed: 0, epoch: 1, step: 1 });

/// Blocks of (channels, kernel, padding).
type Blocks = &'static [(i64, i64, i64)];

/// The tutorial's blocks, then odd sides, channels beyond one group, other kernels and no padding.
const SHAPES: [(Blocks, (usize, usize)); 7] = [
    (&[(20, 5, 2), (20, 5, 2)], (28, 28)),
    (&[(3, 5, 2), (11, 5, 2)], (17, 13)),
    (&[(1, 1, 0)], (2, 2)),
    (&[(10, 3, 0), (31, 3, 1)], (28, 28)),
    (&[(32, 3, 1), (5, 3, 1), (4, 2, 0)], (40, 36)),
    (&[(13, 7, 3), (2, 7, 3)], (64, 33)),
    (&[(4, 4, 1), (21, 4, 2)], (9, 30)),
];

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

/// The instruction sets that the kernels can be compiled for here.
fn all_instructions() -> Vec<Instructions> {
    let detected = Instructions::detect();
    if detected.is_none() {
        skipped("AVX-512");
    }
    [Some(Instructions::Scalar(Scalar)), detected].into_iter().flatten().collect()
}

pub(super) fn skipped(instructions: &str) {
    writeln!(std::io::stderr(), "skipped: {instructions}, which this processor does not have").unwrap();
}

fn compiled_for(instructions: Instructions, network: &Network) -> FusedBlocks {
    FusedBlocks::compiled_for(instructions, network.config(), network.shapes()).unwrap()
}

fn check(instructions: Instructions, blocks: &[(i64, i64, i64)], side: (usize, usize), n: i64) {
    let network = network(blocks, side);
    let fused = compiled_for(instructions, &network);
    assert_eq!(fused.blocks.len(), blocks.len());
    let network = network.with_fused(Some(fused.clone()));
    let (x, labels) = (images(n, side), Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(7));
    let mut outputs = Vec::new();
    let logits = network.forward_with(&x, &mut |layer, y| {
        if layer % 3 == 2 && layer < 3 * blocks.len() {
            outputs.push(y.detach());
        }
    });
    for (found, expected) in fused.outputs(network.parameters(), &x).iter().zip(&outputs) {
        assert!(far(found, expected) < 1e-5, "outputs of {blocks:?} over {side:?}: {}", far(found, expected));
    }
    let loss = |logits: &Tensor| logits.cross_entropy_for_logits(&labels);
    let leaves: Vec<&Tensor> = network.parameters().iter().map(|(_, view)| view).collect();
    let expected = Tensor::run_backward(&[&loss(&logits)], &leaves, false, false);
    let mut gradients = network.parameters().zeros_like();
    let (found, _) = network.forward_backward(&x, MODE, loss, &mut gradients);
    assert!(far(&found, &loss(&logits)) < 1e-5);
    for ((name, found), expected) in gradients.iter().zip(&expected) {
        assert!(far(found, expected) < 2e-4, "{name} of {blocks:?}, {side:?}: {}", far(found, expected));
    }
}

#[test]
fn values_and_gradients_are_those_of_libtorch() {
    for instructions in all_instructions() {
        for ((blocks, side), images) in SHAPES.into_iter().zip([9, 5, 1, 6, 3, 2, 17]) {
            check(instructions, blocks, side, images);
        }
    }
}

#[test]
fn the_forward_pass_writes_every_value_of_its_output() {
    for instructions in all_instructions() {
        for (blocks, side) in SHAPES {
            for block in compiled_for(instructions, &network(blocks, side)).blocks {
                let weights = vec![0.0; block.outputs * block.kernel * block.row_len()];
                let biases = vec![0.0; block.outputs];
                let planes = vec![0.0; block.planes_len()];
                let mut output = vec![MaybeUninit::new(f32::NAN); block.output_len()];
                let packed = &block.pack(&weights, &biases);
                let forward =
                    Forward { block: &block, packed, planes: &planes, output: &mut output, argmax: &mut [] };
                assert_eq!(instructions.run(forward), vec![0.0; block.output_len()], "{block:?}");
                let Some(pairs) = instructions.pairs() else { continue };
                output.fill(MaybeUninit::new(f32::NAN));
                let forward = bf16::PairForward {
                    block: &block,
                    packed: &block.pack_pairs(&weights, &biases),
                    planes: &planes,
                    pairs: &mut vec![0; block.pair_planes_len()],
                    output: &mut output,
                };
                assert_eq!(pairs.run(forward), vec![0.0; block.output_len()], "{block:?}");
            }
        }
    }
}

fn pixels(images: &Tensor) -> Vec<f32> {
    Vec::try_from(images.contiguous().view(-1)).unwrap()
}

#[test]
fn a_predictor_gives_the_networks_probabilities_whatever_the_batch() {
    for instructions in all_instructions().into_iter().map(Some).chain([None]) {
        for (blocks, side) in SHAPES {
            let (network, x) = (network(blocks, side), images(5, side));
            let fused = instructions.map(|instructions| compiled_for(instructions, &network));
            let network = network.with_fused(fused);
            let expected = network.predict(&x);
            let mut predictor = network.into_predictor(Precision::Float32);
            let found = predictor.probabilities(&pixels(&x), 5);
            let distance = far(&Tensor::from_slice(&found).view([5, 7]), &expected);
            assert!(distance < 1e-5, "{blocks:?} over {side:?}: {distance}");
            let alone = predictor.probabilities(&pixels(&x.get(3)), 1);
            match instructions {
                Some(_) => assert_eq!(alone, found[21..28]),
                // libtorch adds in another order in a batch of another size.
                None => assert!(alone.iter().zip(&found[21..28]).all(|(a, b)| (a - b).abs() < 1e-6)),
            }
        }
    }
}

/// The result of convolutions of bfloat16 with sums in float32.
fn rounded_logits(network: &Network, blocks: usize, x: &Tensor) -> Tensor {
    let rounded = |x: &Tensor| x.to_kind(Kind::BFloat16).to_kind(Kind::Float);
    let mut x = x.shallow_clone();
    for (block, layer) in network.config().layers.chunks(3).take(blocks).enumerate() {
        let LayerKind::Conv(conv) = &layer[0].kind else { panic!("a block begins with a convolution") };
        let [weight, bias] = [0, 1].map(|part| network.parameters().view(2 * block + part));
        let (stride, padding) = ([conv.stride; 2], [conv.padding; 2]);
        let y = rounded(&x).conv2d(&rounded(weight), Some(bias), stride, padding, [1; 2], 1);
        x = y.relu().max_pool2d([2; 2], [2; 2], [0; 2], [1; 2], false);
    }
    let [weight, bias] = [0, 1].map(|part| network.parameters().view(2 * blocks + part));
    x.flatten(1, -1).linear(weight, Some(bias))
}

#[test]
fn products_of_bfloat16_are_summed_in_float32() {
    for instructions in all_instructions() {
        if instructions.pairs().is_none() {
            skipped("AVX512-BF16");
            continue;
        }
        for (blocks, side) in SHAPES {
            let (network, x) = (network(blocks, side), images(5, side));
            let _guard = tch::no_grad_guard();
            let exact = network.forward_with(&x, &mut |_, _| ());
            let expected = rounded_logits(&network, blocks.len(), &x);
            let (front, layers) = (compiled_for(instructions, &network), &network.config().layers);
            let mut fused = FusedNetwork::of(&front, layers, network.parameters(), true).unwrap();
            let pixels = pixels(&x);
            let logits = pixels.chunks_exact(side.0 * side.1).flat_map(|image| fused.logits(image).to_vec());
            let found = Tensor::from_slice(&logits.collect::<Vec<f32>>()).view([5, 7]);
            // A sum that rounds to the other neighbour changes later values by some thousandths.
            let distance = far(&found, &expected);
            assert!(distance < 3e-3, "{blocks:?} over {side:?}: {distance}");
            assert!(far(&found, &exact) < 5e-2, "{blocks:?} over {side:?}");
            assert_ne!(found, exact, "{blocks:?} over {side:?}: it was float32");
        }
    }
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
    for instructions in all_instructions() {
        let fused = compiled_for(instructions, &network);
        network = network.with_fused(Some(fused));
        let mut gradients = network.parameters().zeros_like();
        let _ = network.forward_backward(&x, MODE, loss, &mut gradients);
        for ((name, found), expected) in gradients.iter().zip(&expected) {
            assert!(far(found, expected) < 1e-5, "{name}: {found:?} is not {expected:?}");
        }
    }
}

#[test]
fn a_weight_that_is_not_finite_reaches_the_output() {
    let mut network = network(&[(3, 5, 2)], (28, 28));
    let mut weight = network.parameters().view(0).detach().copy();
    let _ = weight.get(1).get(0).get(2).get(2).fill_(f64::NAN);
    weight = weight.contiguous();
    network.parameters_mut().assign(0, &weight);
    for instructions in all_instructions() {
        let fused = compiled_for(instructions, &network);
        network = network.with_fused(Some(fused));
        let output = network.predict(&images(1, (28, 28)));
        assert!(output.isnan().all().int64_value(&[]) == 1, "{output:?}");
        for bfloat16 in [false, true] {
            let (front, layers) = (compiled_for(instructions, &network), &network.config().layers);
            let mut fused = FusedNetwork::of(&front, layers, network.parameters(), bfloat16).unwrap();
            let pixels = pixels(&images(1, (28, 28)));
            let logits = fused.logits(&pixels);
            assert!(logits.iter().all(|value| value.is_nan()), "bfloat16 {bfloat16}: {logits:?}");
        }
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    for instructions in all_instructions() {
        let network = network(&[(20, 5, 2), (20, 5, 2)], (28, 28));
        let fused = compiled_for(instructions, &network);
        let network = network.with_fused(Some(fused));
        let x = images(37, (28, 28));
        let gradients = |threads| {
            tch::get_num_threads();
            tch::set_num_threads(threads);
            let mut gradients = network.parameters().zeros_like();
            let loss = |logits: &Tensor| logits.square().mean(Kind::Float);
            let _ = network.forward_backward(&x, MODE, loss, &mut gradients);
            tch::set_num_threads(1);
            gradients.iter().take(4).map(|(_, gradient)| gradient.copy()).collect::<Vec<_>>()
        };
        assert_eq!(gradients(1), gradients(3));
    }
}

#[test]
#[should_panic = "images of the network's size"]
fn images_of_another_size_are_rejected() {
    let network = network(&[(3, 5, 2)], (28, 28));
    let fused = compiled_for(Instructions::Scalar(Scalar), &network);
    fused.outputs(network.parameters(), &images(2, (28, 27)));
}
