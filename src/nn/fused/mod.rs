//! Fused kernels for the blocks of convolution, ReLU and max-pool that a network begins with: on a CPU
//! with AVX-512 each block is computed in one go, image by image, in float32. libtorch computes
//! everything else, and these blocks too where the kernels do not apply.
//!
//! The results do not depend on the number of threads: how a batch is split into parts depends on its
//! size alone, and the sums of the parts are added in their order.

mod backward;
mod bf16;
mod block;
mod forward;
mod network;
mod parallel;
mod simd;
#[cfg(test)]
mod tests;

use tch::{Device, Kind, Tensor};

use self::{
    backward::{Accumulators, BackwardInput, PaddedWeights, Scratch},
    block::{Block, Packed},
    forward::PoolArgmax,
};
use super::{
    LayerShape, NetworkConfig, ParameterSet,
    tensor_data::{values, values_mut},
};

pub(super) use self::network::FusedNetwork;

/// The most parts of a batch, and the fewest images of a part.
const MOST_PARTS: usize = 16;
const FEWEST_IMAGES: usize = 4;

/// The blocks that a network begins with and that the kernels compute.
#[derive(Debug, Clone)]
pub(super) struct FusedBlocks {
    blocks: Vec<Block>,
}

/// What the forward pass of training saves for the backward pass: the output of each block, [n, outputs,
/// height, width], and the places of the maxima in their windows.
#[derive(Debug)]
pub(super) struct SavedActivations {
    images: Tensor,
    outputs: Vec<Tensor>,
    argmax: Vec<Vec<PoolArgmax>>,
}

/// A part of a batch in the forward pass.
struct ForwardPart<'a> {
    images: &'a [f32],
    /// One entry per block, as in `argmax`.
    outputs: Vec<&'a mut [f32]>,
    argmax: Vec<&'a mut [PoolArgmax]>,
}

/// A part of a batch in the backward pass.
struct BackwardPart {
    first: usize,
    sums: Vec<Accumulators>,
}

/// The buffers of a thread in the backward pass: for each block its scratch and the gradient of its output.
type Workspace = Vec<(Scratch, Vec<f32>)>;

impl FusedBlocks {
    /// The blocks at the front of a network, where there are any and this machine computes them.
    pub fn of(config: &NetworkConfig, shapes: &[LayerShape], kind: Kind, device: Device) -> Option<Self> {
        if kind != Kind::Float || device != Device::Cpu || !is_x86_feature_detected!("avx512f") {
            return None;
        }
        let triples = config.layers.as_chunks::<3>().0.iter().zip(shapes.iter().step_by(3));
        let blocks: Vec<Block> =
            triples.map_while(|(layers, first)| Block::of(layers, first.input)).collect();
        (!blocks.is_empty()).then_some(Self { blocks })
    }

    /// The number of the network's layers that they replace: three per block.
    pub fn layers(&self) -> usize {
        3 * self.blocks.len()
    }

    /// The number of the network's parameters that they use: the first ones, two per block.
    pub fn parameters(&self) -> usize {
        2 * self.blocks.len()
    }

    /// The outputs of all blocks for images [n, 1, height, width], for inference.
    pub fn outputs(&self, parameters: &ParameterSet, images: &Tensor) -> Vec<Tensor> {
        let argmax = vec![Vec::new(); self.blocks.len()];
        self.forward(parameters, images, argmax).outputs
    }

    /// The output of the last block, where libtorch continues, and what `backward` needs.
    pub fn forward_saving(&self, parameters: &ParameterSet, images: &Tensor) -> (Tensor, SavedActivations) {
        let n = images.size()[0] as usize;
        let argmax = self.blocks.iter().map(|block| vec![[0; 2]; n * block.output_vectors()]).collect();
        let saved = self.forward(parameters, images, argmax);
        (saved.outputs[self.blocks.len() - 1].shallow_clone(), saved)
    }

    fn forward(
        &self,
        parameters: &ParameterSet,
        images: &Tensor,
        mut argmax: Vec<Vec<PoolArgmax>>,
    ) -> SavedActivations {
        let images = images.contiguous();
        let n = images.size()[0] as usize;
        let pack = |(index, block): (usize, &Block)| {
            block.pack(values(parameters.view(2 * index)), values(parameters.view(2 * index + 1)))
        };
        let packed: Vec<Packed<f32>> = self.blocks.iter().enumerate().map(pack).collect();
        let mut outputs: Vec<Tensor> = self
            .blocks
            .iter()
            .map(|block| Tensor::empty(block.output_shape(n), (Kind::Float, Device::Cpu)))
            .collect();
        let size = part_size(n);
        let input = values(&images).chunks(size * self.blocks[0].input());
        let mut parts: Vec<ForwardPart<'_>> =
            input.map(|images| ForwardPart { images, outputs: Vec::new(), argmax: Vec::new() }).collect();
        for ((block, output), argmax) in self.blocks.iter().zip(&mut outputs).zip(&mut argmax) {
            let outputs = values_mut(output).chunks_mut(size * block.output());
            let mut argmax = argmax.chunks_mut(size * block.output_vectors());
            for (part, output) in parts.iter_mut().zip(outputs) {
                part.outputs.push(output);
                part.argmax.push(argmax.next().unwrap_or_default());
            }
        }
        let planes = || self.blocks.iter().map(|block| vec![0.0; block.planes()]).collect();
        parallel::each(parts, planes, |planes: &mut Vec<_>, part| self.forward_part(&packed, planes, part));
        SavedActivations { images, outputs, argmax }
    }

    #[expect(unsafe_code, reason = "the kernels are for processors that have their instructions")]
    fn forward_part(&self, packed: &[Packed<f32>], planes: &mut [Vec<f32>], mut part: ForwardPart<'_>) {
        for (index, image) in part.images.chunks_exact(self.blocks[0].input()).enumerate() {
            let mut input = image;
            let blocks = self.blocks.iter().zip(packed).zip(planes.iter_mut());
            let ends = part.outputs.iter_mut().zip(&mut part.argmax);
            for (((block, packed), planes), (output, argmax)) in blocks.zip(ends) {
                forward::pad(block, input, planes);
                let output = &mut output[index * block.output()..][..block.output()];
                let argmax = match argmax.is_empty() {
                    true => &mut [],
                    false => &mut argmax[index * block.output_vectors()..][..block.output_vectors()],
                };
                // SAFETY: `of` returns blocks only where the processor has AVX-512.
                unsafe { forward::forward(block, packed, planes, output, argmax) };
                input = output;
            }
            parallel::yield_cpu();
        }
    }

    /// The backward pass from the gradient of the last output. Writes the gradients of the blocks' own
    /// parameters.
    pub fn backward(
        &self,
        parameters: &ParameterSet,
        saved: &SavedActivations,
        gradient: &Tensor,
        gradients: &mut ParameterSet,
    ) {
        let n = saved.images.size()[0] as usize;
        // The images need no gradient.
        let padded = |(index, block): (usize, &Block)| {
            (index > 0).then(|| block.padded(values(parameters.view(2 * index))))
        };
        let padded_weights: Vec<Option<PaddedWeights>> = self.blocks.iter().enumerate().map(padded).collect();
        let gradient = gradient.contiguous();
        let arrays: Vec<&[f32]> = std::iter::once(&saved.images).chain(&saved.outputs).map(values).collect();
        let size = part_size(n);
        let mut parts: Vec<BackwardPart> = (0..n)
            .step_by(size)
            .map(|first| BackwardPart { first, sums: self.blocks.iter().map(Block::sums).collect() })
            .collect();
        let (last, argmax) = (values(&gradient), &saved.argmax);
        parallel::each(
            parts.iter_mut().collect(),
            || self.blocks.iter().map(|block| (Scratch::new(block), vec![0.0; block.output()])).collect(),
            |workspace: &mut Workspace, part: &mut BackwardPart| {
                for index in part.first..n.min(part.first + size) {
                    let (_, gradient) = workspace.last_mut().expect("there is a block");
                    let size = gradient.len();
                    gradient.copy_from_slice(&last[index * size..(index + 1) * size]);
                    self.backward_image(
                        index,
                        (&arrays, argmax),
                        &padded_weights,
                        (&mut part.sums, workspace),
                    );
                    parallel::yield_cpu();
                }
            },
        );
        let (total, parts) = parts.split_first_mut().expect("a batch has an image");
        for (index, block) in self.blocks.iter().enumerate() {
            let sums = &mut total.sums[index];
            for part in &*parts {
                sums.add(&part.sums[index]);
            }
            let (weights, biases) = sums.arranged(block);
            gradients.assign_values(2 * index, &weights);
            gradients.assign_values(2 * index + 1, biases);
        }
    }

    #[expect(unsafe_code, reason = "the kernels are for processors that have their instructions")]
    fn backward_image(
        &self,
        index: usize,
        (arrays, argmax): (&[&[f32]], &[Vec<PoolArgmax>]),
        padded_weights: &[Option<PaddedWeights>],
        (sums, workspace): (&mut [Accumulators], &mut Workspace),
    ) {
        for (at, block) in self.blocks.iter().enumerate().rev() {
            let (before, scratch) = workspace.split_at_mut(at);
            let (scratch, gradient) = &mut scratch[0];
            let input = BackwardInput {
                input: &arrays[at][index * block.input()..][..block.input()],
                output: &arrays[at + 1][index * block.output()..][..block.output()],
                argmax: &argmax[at][index * block.output_vectors()..][..block.output_vectors()],
                gradient,
            };
            let padded = padded_weights[at]
                .as_ref()
                .zip(before.last_mut().map(|(_, gradient)| gradient.as_mut_slice()));
            // SAFETY: `of` returns blocks only where the processor has AVX-512.
            unsafe { backward::backward(block, input, padded, &mut sums[at], scratch) };
        }
    }
}

/// The number of images in a part, a function of the batch size alone.
fn part_size(images: usize) -> usize {
    images.div_ceil(MOST_PARTS).max(FEWEST_IMAGES)
}
