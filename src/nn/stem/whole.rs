//! A whole network for answers: the blocks of its stem and the linear layers behind them, image by
//! image, without a tensor. What an image is answered does not depend on what is asked with it.

use std::arch::x86_64::{_mm512_add_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_setzero_ps};

use super::{
    Stem,
    block::{Block, LANES, Packed},
    forward,
    half::{self, Pair},
    lanes::load_first,
    memory::values,
};
use crate::nn::{DropoutMode, LayerConfig, LayerKind, ParameterSet};

/// Weights in the orders that the kernels read, and room for one image.
#[derive(Debug)]
pub(in crate::nn) struct Whole {
    blocks: Vec<BlockStage>,
    linear: Vec<LinearStage>,
}

#[derive(Debug)]
struct BlockStage {
    block: Block,
    weights: Weights,
    planes: Vec<f32>,
    output: Vec<f32>,
}

/// A block's weights, in the numbers that it multiplies.
#[derive(Debug)]
enum Weights {
    Float32(Packed<f32>),
    /// And room for the padded planes.
    Bfloat16(Packed<Pair>, Vec<Pair>),
}

#[derive(Debug)]
struct LinearStage {
    /// [outputs, inputs].
    weights: Vec<f32>,
    biases: Vec<f32>,
    relu: bool,
    output: Vec<f32>,
}

impl Whole {
    /// The network of these layers and parameters, which `stem` begins, where there are only linear
    /// layers and ReLUs behind it. Its convolutions multiply in bfloat16 where that is asked for and the
    /// processor has units for it.
    pub fn of(
        stem: &Stem,
        layers: &[LayerConfig],
        parameters: &ParameterSet,
        bfloat16: bool,
    ) -> Option<Self> {
        let bfloat16 = bfloat16
            && [is_x86_feature_detected!("avx512bf16"), is_x86_feature_detected!("avx512vl")] == [true; 2];
        let parameter = |index: usize| values(parameters.view(index));
        let stage = |(index, block): (usize, &Block)| {
            BlockStage::new(*block, [parameter(2 * index), parameter(2 * index + 1)], bfloat16)
        };
        let blocks = stem.blocks.iter().enumerate().map(stage).collect();
        let mut linear: Vec<LinearStage> = Vec::new();
        let mut next = stem.parameters();
        for layer in &layers[stem.layers()..] {
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
        Some(Self { blocks, linear })
    }

    /// An image's logits.
    #[expect(unsafe_code, reason = "the kernels are for processors that have their instructions")]
    pub fn logits<'a>(&'a mut self, image: &'a [f32]) -> &'a [f32] {
        let mut input = image;
        for stage in &mut self.blocks {
            input = stage.forward(input);
        }
        for stage in &mut self.linear {
            // SAFETY: there is a stem, which is made only where the processor has AVX-512.
            unsafe { stage.forward(input) };
            input = &stage.output;
        }
        input
    }
}

impl BlockStage {
    fn new(block: Block, [weights, biases]: [&[f32]; 2], bfloat16: bool) -> Self {
        let weights = match bfloat16 {
            true => Weights::Bfloat16(block.pack_pairs(weights, biases), vec![0; block.pair_planes()]),
            false => Weights::Float32(block.pack(weights, biases)),
        };
        Self { block, weights, planes: vec![0.0; block.planes()], output: vec![0.0; block.output()] }
    }

    #[expect(unsafe_code, reason = "the kernels are for processors that have their instructions")]
    fn forward(&mut self, image: &[f32]) -> &[f32] {
        let Self { block, weights, planes, output } = self;
        forward::pad(block, image, planes);
        match weights {
            // SAFETY: there is a stem, which is made only where the processor has AVX-512.
            Weights::Float32(packed) => unsafe { forward::forward(block, packed, planes, output, &mut []) },
            // SAFETY: `of` makes these only where the processor has AVX-512 with units for bfloat16.
            Weights::Bfloat16(packed, pairs) => unsafe {
                half::pair(block, planes, pairs);
                half::forward(block, packed, pairs, output);
            },
        }
        output
    }
}

impl LinearStage {
    fn new([weights, biases]: [&[f32]; 2]) -> Self {
        let output = vec![0.0; biases.len()];
        Self { weights: weights.to_vec(), biases: biases.to_vec(), relu: false, output }
    }

    #[target_feature(enable = "avx512f")]
    fn forward(&mut self, input: &[f32]) {
        let rows = self.weights.chunks_exact(input.len()).zip(&self.biases);
        for (output, (weights, bias)) in self.output.iter_mut().zip(rows) {
            let sum = dot(weights, input) + bias;
            // Not `max`, which would turn NaN into 0.
            *output = if self.relu && sum <= 0.0 { 0.0 } else { sum };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    // One sum alone would wait for itself.
    let mut sums = [_mm512_setzero_ps(); 4];
    for (a, b) in a.chunks(4 * LANES).zip(b.chunks(4 * LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a.chunks(LANES)).zip(b.chunks(LANES)) {
            *sum = _mm512_fmadd_ps(load_first(a), load_first(b), *sum);
        }
    }
    let [first, second, third, fourth] = sums;
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(first, second), _mm512_add_ps(third, fourth)))
}
