//! A whole network for inference: its fused blocks and the linear layers behind them, image by image and
//! without a tensor. The result for an image does not depend on the other images of its batch.

use std::mem::MaybeUninit;

use super::{
    FusedBlocks,
    bf16::{Pair, PairForward},
    block::{Block, LANES, PackedWeights},
    forward::{Forward, pad},
    instructions::{Instructions, PairInstructions},
    simd::{Kernel, Simd},
};
use crate::nn::{DropoutMode, LayerConfig, LayerKind, ParameterSet, tensor_data::values};

/// The layers of a network with their weights in the orders that the kernels read, and buffers for one image.
#[derive(Debug)]
pub(in crate::nn) struct FusedNetwork {
    instructions: Instructions,
    blocks: Vec<BlockStage>,
    linear: Vec<LinearStage>,
}

#[derive(Debug)]
struct BlockStage {
    block: Block,
    weights: Weights,
    planes: Vec<f32>,
    output: Box<[MaybeUninit<f32>]>,
}

/// A block's weights in the precision of its products.
#[derive(Debug)]
enum Weights {
    Float32(Instructions, PackedWeights<f32>),
    /// The vector is a buffer for the pairs of the padded planes.
    Bfloat16(PairInstructions, PackedWeights<Pair>, Vec<Pair>),
}

#[derive(Debug)]
struct LinearStage {
    /// [outputs, inputs].
    weights: Vec<f32>,
    biases: Vec<f32>,
    relu: bool,
    output: Vec<f32>,
}

impl FusedNetwork {
    /// Makes the network of these layers and parameters, the first of which are `front`'s. Returns none if
    /// other layers than linear ones and ReLUs follow. Its convolutions multiply in bfloat16 if `bfloat16`
    /// asks for it and the processor has units for it.
    #[expect(unsafe_code, reason = "the weights are read where libtorch keeps them")]
    pub fn of(
        front: &FusedBlocks,
        layers: &[LayerConfig],
        parameters: &ParameterSet,
        bfloat16: bool,
    ) -> Option<Self> {
        let instructions = front.instructions;
        let pairs = instructions.pairs().filter(|_| bfloat16);
        // SAFETY: the slices end with this function, which writes to no tensor. Nobody else does meanwhile: a
        // network's tensors belong to one thread, and this is the one that borrows them.
        let parameter = |index: usize| unsafe { values(parameters.view(index)) };
        let stage = |(index, block): (usize, &Block)| {
            let parameters = [parameter(2 * index), parameter(2 * index + 1)];
            BlockStage::new(*block, parameters, instructions, pairs)
        };
        let blocks = front.blocks.iter().enumerate().map(stage).collect();
        let mut linear: Vec<LinearStage> = Vec::new();
        let mut next = front.parameters();
        for layer in &layers[front.layers()..] {
            match &layer.kind {
                LayerKind::Flatten => {}
                LayerKind::Linear(_) => {
                    linear.push(LinearStage::new([parameter(next), parameter(next + 1)]));
                    next += 2;
                }
                LayerKind::Relu => linear.last_mut()?.relu = true,
                LayerKind::Dropout(dropout) if dropout.mode == DropoutMode::UpscaleInTrain => {}
                LayerKind::Dropout(_)
                | LayerKind::Conv(_)
                | LayerKind::MaxPool(_)
                | LayerKind::BatchNorm(_) => return None,
            }
        }
        Some(Self { instructions, blocks, linear })
    }

    /// Computes an image's logits.
    pub fn logits<'a>(&'a mut self, image: &'a [f32]) -> &'a [f32] {
        let mut input = image;
        for stage in &mut self.blocks {
            input = stage.forward(input);
        }
        for stage in &mut self.linear {
            self.instructions.run(LinearForward { stage, input });
            input = &stage.output;
        }
        input
    }
}

impl BlockStage {
    fn new(
        block: Block,
        [weights, biases]: [&[f32]; 2],
        instructions: Instructions,
        pairs: Option<PairInstructions>,
    ) -> Self {
        let weights = match pairs {
            Some(pairs) => {
                let buffer = vec![0; block.pair_planes_len()];
                Weights::Bfloat16(pairs, block.pack_pairs(weights, biases), buffer)
            }
            None => Weights::Float32(instructions, block.pack(weights, biases)),
        };
        let output = Box::new_uninit_slice(block.output_len());
        Self { block, weights, planes: vec![0.0; block.planes_len()], output }
    }

    fn forward(&mut self, image: &[f32]) -> &[f32] {
        let Self { block, weights, planes, output } = self;
        pad(block, image, planes);
        match weights {
            Weights::Float32(instructions, packed) => {
                instructions.run(Forward { block, packed, planes, output, argmax: &mut [] })
            }
            Weights::Bfloat16(instructions, packed, pairs) => {
                instructions.run(PairForward { block, packed, planes, pairs, output })
            }
        }
    }
}

impl LinearStage {
    fn new([weights, biases]: [&[f32]; 2]) -> Self {
        let output = vec![0.0; biases.len()];
        Self { weights: weights.to_vec(), biases: biases.to_vec(), relu: false, output }
    }
}

/// The forward pass of a linear layer, which writes the layer's output.
struct LinearForward<'a> {
    stage: &'a mut LinearStage,
    input: &'a [f32],
}

impl Kernel for LinearForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { stage, input } = self;
        let rows = stage.weights.chunks_exact(input.len()).zip(&stage.biases);
        for (output, (weights, bias)) in stage.output.iter_mut().zip(rows) {
            let sum = dot(simd, weights, input) + bias;
            // Not `max`, which would turn NaN into 0.
            *output = if stage.relu && sum <= 0.0 { 0.0 } else { sum };
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    // One sum alone would wait for itself.
    let mut sums = [simd.splat(0.0); 4];
    for (a, b) in a.chunks(4 * LANES).zip(b.chunks(4 * LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a.chunks(LANES)).zip(b.chunks(LANES)) {
            *sum = simd.mul_add(simd.load_first(a), simd.load_first(b), *sum);
        }
    }
    let [first, second, third, fourth] = sums;
    simd.sum(simd.add(simd.add(first, second), simd.add(third, fourth)))
}
