//! A whole network for inference: its fused blocks and the linear layers behind them, image by image and
//! without a tensor. The result for an image does not depend on the other images of its batch.

use std::arch::x86_64::{_mm512_add_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_setzero_ps};

use super::{
    FusedBlocks,
    bf16::{self, Pair},
    block::{Block, LANES, Packed},
    forward,
    simd::load_first,
};
use crate::nn::{DropoutMode, LayerConfig, LayerKind, ParameterSet, tensor_data::values};

/// Weights in the orders that the kernels read, and buffers for one image.
#[derive(Debug)]
pub(in crate::nn) struct FusedNetwork {
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

/// A block's weights in the precision of its products.
#[derive(Debug)]
enum Weights {
    Float32(Packed<f32>),
    /// With a buffer for the padded planes.
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

impl FusedNetwork {
    /// The network of these layers and parameters, of which `front` has the first, where only linear
    /// layers and ReLUs follow. Its convolutions multiply in bfloat16 where that is asked for and the
    /// processor has units for it.
    pub fn of(
        front: &FusedBlocks,
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
            // SAFETY: fused blocks exist only where the processor has AVX-512.
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
            // SAFETY: fused blocks exist only where the processor has AVX-512.
            Weights::Float32(packed) => unsafe { forward::forward(block, packed, planes, output, &mut []) },
            // SAFETY: `of` makes these only where the processor has AVX-512 with units for bfloat16.
            Weights::Bfloat16(packed, pairs) => unsafe {
                bf16::pair(block, planes, pairs);
                bf16::forward(block, packed, pairs, output);
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
