//! The front of a network on a CPU with 512-bit vectors: blocks of convolution, ReLU and max-pool,
//! each computed in one go, image by image, in float32. libtorch computes everything else, and these
//! too where this does not apply.
//!
//! What comes out does not depend on the number of threads: the images of a batch are dealt into
//! parts by their number alone, and what the parts add up is added in their order.

mod backward;
mod block;
mod forward;
mod half;
mod lanes;
mod memory;
mod team;
#[cfg(test)]
mod tests;
mod whole;

use tch::{Device, Kind, Tensor};

use self::{
    backward::{Given, Room, Spread, Sums},
    block::{Block, Packed},
    forward::Largest,
    memory::values,
};
use super::{LayerShape, NetworkConfig, ParameterSet};

pub(super) use self::{memory::values_mut, whole::Whole};

/// Most parts of a batch, and fewest images of one.
const MOST_PARTS: usize = 16;
const FEWEST_IMAGES: usize = 4;

/// The blocks that a network begins with.
#[derive(Debug, Clone)]
pub(super) struct Stem {
    blocks: Vec<Block>,
}

/// What a training pass keeps for its way back: of each block its output [n, outputs, height,
/// width], and where in the windows it comes from.
#[derive(Debug)]
pub(super) struct Trace {
    images: Tensor,
    outputs: Vec<Tensor>,
    largest: Vec<Vec<Largest>>,
}

/// A part of a batch on its way forward.
struct Part<'a> {
    images: &'a [f32],
    /// Of each block.
    outputs: Vec<&'a mut [f32]>,
    largest: Vec<&'a mut [Largest]>,
}

/// A part of a batch on its way back.
struct Return {
    first: usize,
    sums: Vec<Sums>,
}

/// What a thread works with on the way back: of each block its room, and the gradient of its output.
type Rooms = Vec<(Room, Vec<f32>)>;

impl Stem {
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

    /// How many of the network's layers it stands for; three a block.
    pub fn layers(&self) -> usize {
        3 * self.blocks.len()
    }

    /// How many of the network's parameters are its own: the first ones, two a block.
    pub fn parameters(&self) -> usize {
        2 * self.blocks.len()
    }

    /// The outputs of all blocks for images [n, 1, height, width], without a way back.
    pub fn answer(&self, parameters: &ParameterSet, images: &Tensor) -> Vec<Tensor> {
        let largest = vec![Vec::new(); self.blocks.len()];
        self.forward(parameters, images, largest).outputs
    }

    /// The last output, where libtorch goes on, and what `backward` needs.
    pub fn train(&self, parameters: &ParameterSet, images: &Tensor) -> (Tensor, Trace) {
        let n = images.size()[0] as usize;
        let largest = self.blocks.iter().map(|block| vec![[0; 2]; n * block.output_vectors()]).collect();
        let trace = self.forward(parameters, images, largest);
        (trace.outputs[self.blocks.len() - 1].shallow_clone(), trace)
    }

    fn forward(&self, parameters: &ParameterSet, images: &Tensor, mut largest: Vec<Vec<Largest>>) -> Trace {
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
        let given = values(&images).chunks(size * self.blocks[0].input());
        let mut parts: Vec<Part<'_>> =
            given.map(|images| Part { images, outputs: Vec::new(), largest: Vec::new() }).collect();
        for ((block, output), largest) in self.blocks.iter().zip(&mut outputs).zip(&mut largest) {
            let outputs = values_mut(output).chunks_mut(size * block.output());
            let mut largest = largest.chunks_mut(size * block.output_vectors());
            for (part, output) in parts.iter_mut().zip(outputs) {
                part.outputs.push(output);
                part.largest.push(largest.next().unwrap_or_default());
            }
        }
        let planes = || self.blocks.iter().map(|block| vec![0.0; block.planes()]).collect();
        team::each(parts, planes, |planes: &mut Vec<_>, part| self.forward_part(&packed, planes, part));
        Trace { images, outputs, largest }
    }

    #[expect(unsafe_code, reason = "the kernels are for processors that have their instructions")]
    fn forward_part(&self, packed: &[Packed<f32>], planes: &mut [Vec<f32>], mut part: Part<'_>) {
        for (index, image) in part.images.chunks_exact(self.blocks[0].input()).enumerate() {
            let mut input = image;
            let blocks = self.blocks.iter().zip(packed).zip(planes.iter_mut());
            let ends = part.outputs.iter_mut().zip(&mut part.largest);
            for (((block, packed), planes), (output, largest)) in blocks.zip(ends) {
                forward::pad(block, input, planes);
                let output = &mut output[index * block.output()..][..block.output()];
                let largest = match largest.is_empty() {
                    true => &mut [],
                    false => &mut largest[index * block.output_vectors()..][..block.output_vectors()],
                };
                // SAFETY: `of` makes a stem only where the processor has AVX-512.
                unsafe { forward::forward(block, packed, planes, output, largest) };
                input = output;
            }
            team::give_way();
        }
    }

    /// The way back: `gradient` is that of the last output. Writes the gradients of the stem's own
    /// parameters.
    pub fn backward(
        &self,
        parameters: &ParameterSet,
        trace: &Trace,
        gradient: &Tensor,
        gradients: &mut ParameterSet,
    ) {
        let n = trace.images.size()[0] as usize;
        // The images need no gradient.
        let spread = |(index, block): (usize, &Block)| {
            (index > 0).then(|| block.spread(values(parameters.view(2 * index))))
        };
        let spreads: Vec<Option<Spread>> = self.blocks.iter().enumerate().map(spread).collect();
        let gradient = gradient.contiguous();
        let arrays: Vec<&[f32]> = std::iter::once(&trace.images).chain(&trace.outputs).map(values).collect();
        let size = part_size(n);
        let mut parts: Vec<Return> = (0..n)
            .step_by(size)
            .map(|first| Return { first, sums: self.blocks.iter().map(Block::sums).collect() })
            .collect();
        let (last, largest) = (values(&gradient), &trace.largest);
        team::each(
            parts.iter_mut().collect(),
            || self.blocks.iter().map(|block| (Room::new(block), vec![0.0; block.output()])).collect(),
            |rooms: &mut Rooms, part: &mut Return| {
                for index in part.first..n.min(part.first + size) {
                    let (_, gradient) = rooms.last_mut().expect("a stem has a block");
                    let size = gradient.len();
                    gradient.copy_from_slice(&last[index * size..(index + 1) * size]);
                    self.backward_image(index, (&arrays, largest), &spreads, (&mut part.sums, rooms));
                    team::give_way();
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
        (arrays, largest): (&[&[f32]], &[Vec<Largest>]),
        spreads: &[Option<Spread>],
        (sums, rooms): (&mut [Sums], &mut Rooms),
    ) {
        for (at, block) in self.blocks.iter().enumerate().rev() {
            let (before, room) = rooms.split_at_mut(at);
            let (room, gradient) = &mut room[0];
            let given = Given {
                input: &arrays[at][index * block.input()..][..block.input()],
                output: &arrays[at + 1][index * block.output()..][..block.output()],
                largest: &largest[at][index * block.output_vectors()..][..block.output_vectors()],
                gradient,
            };
            let spread =
                spreads[at].as_ref().zip(before.last_mut().map(|(_, gradient)| gradient.as_mut_slice()));
            // SAFETY: `of` makes a stem only where the processor has AVX-512.
            unsafe { backward::backward(block, given, spread, &mut sums[at], room) };
        }
    }
}

/// Images of a part; a function of the batch alone.
fn part_size(images: usize) -> usize {
    images.div_ceil(MOST_PARTS).max(FEWEST_IMAGES)
}
