//! Fused kernels for the blocks of convolution, ReLU and max-pool that a network begins with: on a CPU
//! with AVX-512 each block is computed in one go, image by image, in float32. libtorch computes
//! everything else, and these blocks too where the kernels do not apply.
//!
//! A kernel reaches an instruction only through a value that proves that the processor has it (`simd`).
//! Tests run the same kernels on plain arrays too (`scalar`), which every processor can.
//!
//! The results do not depend on the number of threads: how a batch is split into parts depends on its
//! size alone, and the sums of the parts are added in their order.

mod avx512;
mod backward;
mod bf16;
mod block;
mod forward;
mod instructions;
mod network;
mod parallel;
#[cfg(test)]
mod scalar;
mod simd;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use tch::{Device, Kind, Tensor};

use self::{
    backward::{Accumulators, Backward, BackwardInput, PaddedWeights, Scratch},
    block::{Block, PackedWeights},
    forward::{Forward, PoolArgmax, pad},
    instructions::Instructions,
};
use super::{
    LayerShape, NetworkConfig, ParameterSet,
    tensor_data::{UninitTensor, values},
};

pub(super) use self::network::FusedNetwork;

/// The largest number of parts of a batch, and the smallest number of images in a part.
const MAX_PARTS: usize = 16;
const MIN_PART_IMAGES: usize = 4;

/// The blocks that a network begins with and that the kernels compute.
#[derive(Debug, Clone)]
pub(super) struct FusedBlocks {
    instructions: Instructions,
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
    outputs: Vec<&'a mut [MaybeUninit<f32>]>,
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
    /// Returns the blocks that a network begins with, or none if there is no such block or this machine has
    /// no kernels for them.
    pub fn of(config: &NetworkConfig, shapes: &[LayerShape], kind: Kind, device: Device) -> Option<Self> {
        if kind != Kind::Float || device != Device::Cpu {
            return None;
        }
        Self::compiled_for(Instructions::detect()?, config, shapes)
    }

    fn compiled_for(
        instructions: Instructions,
        config: &NetworkConfig,
        shapes: &[LayerShape],
    ) -> Option<Self> {
        let triples = config.layers.as_chunks::<3>().0.iter().zip(shapes.iter().step_by(3));
        let blocks: Vec<Block> =
            triples.map_while(|(layers, first)| Block::of(layers, first.input)).collect();
        (!blocks.is_empty()).then_some(Self { instructions, blocks })
    }

    /// The number of the network's layers that the blocks replace: three per block.
    pub fn layers(&self) -> usize {
        3 * self.blocks.len()
    }

    /// The number of the network's parameters that the blocks use: the first ones, two per block.
    pub fn parameters(&self) -> usize {
        2 * self.blocks.len()
    }

    /// Computes the outputs of all blocks for images [n, 1, height, width], for inference.
    pub fn outputs(&self, parameters: &ParameterSet, images: &Tensor) -> Vec<Tensor> {
        let argmax = vec![Vec::new(); self.blocks.len()];
        self.forward(parameters, images, argmax).outputs
    }

    /// Returns the output of the last block, from which libtorch continues, and what `backward` needs.
    pub fn forward_saving(&self, parameters: &ParameterSet, images: &Tensor) -> (Tensor, SavedActivations) {
        let n = images.size()[0] as usize;
        let argmax = self.blocks.iter().map(|block| vec![[0; 2]; n * block.output_vectors()]).collect();
        let saved = self.forward(parameters, images, argmax);
        (saved.outputs[self.blocks.len() - 1].shallow_clone(), saved)
    }

    #[expect(unsafe_code, reason = "the kernels read and write where libtorch keeps its values")]
    fn forward(
        &self,
        parameters: &ParameterSet,
        images: &Tensor,
        mut argmax: Vec<Vec<PoolArgmax>>,
    ) -> SavedActivations {
        let images = images.contiguous();
        let n = images.size()[0] as usize;
        // SAFETY: the slices end with this function. Until then it writes to new tensors alone, and nobody
        // else writes: a network and its batches belong to one thread, which is in this function, and its
        // helpers run nothing but `forward_part`.
        let (input, parameter) = unsafe { (values(&images), |index: usize| values(parameters.view(index))) };
        assert_eq!(input.len(), n * self.blocks[0].input_len(), "images of the network's size");
        let pack =
            |(index, block): (usize, &Block)| block.pack(parameter(2 * index), parameter(2 * index + 1));
        let packed: Vec<PackedWeights<f32>> = self.blocks.iter().enumerate().map(pack).collect();
        let mut outputs: Vec<UninitTensor> =
            self.blocks.iter().map(|block| UninitTensor::new(&block.output_shape(n))).collect();
        let size = part_size(n);
        let input = input.chunks(size * self.blocks[0].input_len());
        let mut parts: Vec<ForwardPart<'_>> =
            input.map(|images| ForwardPart { images, outputs: Vec::new(), argmax: Vec::new() }).collect();
        for ((block, output), argmax) in self.blocks.iter().zip(&mut outputs).zip(&mut argmax) {
            let outputs = output.values_mut().chunks_mut(size * block.output_len());
            let mut argmax = argmax.chunks_mut(size * block.output_vectors());
            for (part, output) in parts.iter_mut().zip(outputs) {
                part.outputs.push(output);
                part.argmax.push(argmax.next().unwrap_or_default());
            }
        }
        let planes = || self.blocks.iter().map(|block| vec![0.0; block.planes_len()]).collect();
        parallel::each(parts, planes, |planes: &mut Vec<_>, part| self.forward_part(&packed, planes, part));
        // SAFETY: every value of every output was written. An output has the values of n images. The parts
        // split the images and the outputs at the same n / size boundaries, by the assertion above;
        // `parallel::each` returned, so that `forward_part` ended for each of them, and that computes the
        // output of every block for every image of its part, whole.
        let outputs = outputs.into_iter().map(|output| unsafe { output.assume_init() }).collect();
        SavedActivations { images, outputs, argmax }
    }

    fn forward_part(
        &self,
        packed: &[PackedWeights<f32>],
        planes: &mut [Vec<f32>],
        mut part: ForwardPart<'_>,
    ) {
        for (index, image) in part.images.chunks_exact(self.blocks[0].input_len()).enumerate() {
            let mut input = image;
            let blocks = self.blocks.iter().zip(packed).zip(planes.iter_mut());
            let ends = part.outputs.iter_mut().zip(&mut part.argmax);
            for (((block, packed), planes), (output, argmax)) in blocks.zip(ends) {
                pad(block, input, planes);
                let output = &mut output[index * block.output_len()..][..block.output_len()];
                let argmax = match argmax.is_empty() {
                    true => &mut [],
                    false => &mut argmax[index * block.output_vectors()..][..block.output_vectors()],
                };
                input = self.instructions.run(Forward { block, packed, planes, output, argmax });
            }
            parallel::yield_cpu();
        }
    }

    /// Computes the gradients of the blocks' own parameters from the gradient of the last output, and writes
    /// them into `gradients`.
    #[expect(unsafe_code, reason = "the kernels read where libtorch keeps its values")]
    pub fn backward(
        &self,
        parameters: &ParameterSet,
        saved: &SavedActivations,
        gradient: &Tensor,
        gradients: &mut ParameterSet,
    ) {
        let n = saved.images.size()[0] as usize;
        let gradient = gradient.contiguous();
        // SAFETY: the last use of the slices is in `parallel::each`, and until that returns nobody writes to a
        // tensor: a network, its batches and what was saved of them belong to one thread, which is in this
        // function, and its helpers run nothing but `backward_image`, which writes to its own buffers.
        let read = |tensor| unsafe { values(tensor) };
        // The images need no gradient.
        let padded = |(index, block): (usize, &Block)| {
            (index > 0).then(|| block.pad_weights(read(parameters.view(2 * index))))
        };
        let padded_weights: Vec<Option<PaddedWeights>> = self.blocks.iter().enumerate().map(padded).collect();
        let arrays: Vec<&[f32]> = std::iter::once(&saved.images).chain(&saved.outputs).map(read).collect();
        let size = part_size(n);
        let mut parts: Vec<BackwardPart> = (0..n)
            .step_by(size)
            .map(|first| BackwardPart { first, sums: self.blocks.iter().map(Block::accumulators).collect() })
            .collect();
        let (last, argmax) = (read(&gradient), &saved.argmax);
        parallel::each(
            parts.iter_mut().collect(),
            || self.blocks.iter().map(|block| (Scratch::new(block), vec![0.0; block.output_len()])).collect(),
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
                input: &arrays[at][index * block.input_len()..][..block.input_len()],
                output: &arrays[at + 1][index * block.output_len()..][..block.output_len()],
                argmax: &argmax[at][index * block.output_vectors()..][..block.output_vectors()],
                gradient,
            };
            let padded = padded_weights[at]
                .as_ref()
                .zip(before.last_mut().map(|(_, gradient)| gradient.as_mut_slice()));
            let sums = &mut sums[at];
            self.instructions.run(Backward { block, input, padded, sums, scratch });
        }
    }
}

/// The number of images in a part. It is a function of the batch size alone.
fn part_size(images: usize) -> usize {
    images.div_ceil(MAX_PARTS).max(MIN_PART_IMAGES)
}
