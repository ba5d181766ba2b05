//! The dimensions of one fused block, and its weights in the orders that the kernels read.

use crate::nn::{ConvConfig, LayerConfig, LayerKind, PoolConfig, Shape};

/// The number of float32 numbers in a vector register.
pub(super) const LANES: usize = 16;

/// The number of output channels that one pass over an image computes: with two rows of sums each they just
/// fit into the registers.
pub(super) const GROUP: usize = 10;

/// The largest number of values in a row of a kernel, all input channels together, and in a row that is one
/// pixel wider: more do not fit into the registers.
const MAX_ROW: usize = 7 * LANES;
const MAX_WINDOW: usize = 8 * LANES;

/// A convolution with stride 1, a ReLU and a max-pool of 2 × 2 windows without overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// The number of input channels, and the size of the input.
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// The number of output channels.
    pub outputs: usize,
    pub kernel: usize,
    pub padding: usize,
    /// The size of the output, after pooling.
    pub pooled_height: usize,
    pub pooled_width: usize,
}

/// A block's weights for the forward pass: numbers, or pairs of them.
#[derive(Debug)]
pub(super) struct PackedWeights<W> {
    /// The weights of a group of output channels next to each other, for each group, input channel and place of
    /// the kernel; zeros where the last group has no such channel.
    weights: Vec<[W; GROUP]>,
    biases: Vec<[f32; GROUP]>,
    /// The number of entries of a group.
    places: usize,
}

impl<W: Copy + Default> PackedWeights<W> {
    /// Makes weights of 0, `places` for each group, and copies the biases.
    pub fn new(block: &Block, places: usize, biases: &[f32]) -> Self {
        let weights = vec![[W::default(); GROUP]; block.groups() * places];
        let mut packed = Self { weights, biases: vec![[0.0; GROUP]; block.groups()], places };
        for (output, bias) in biases.iter().enumerate() {
            packed.biases[output / GROUP][output % GROUP] = *bias;
        }
        packed
    }

    /// Sets the weight of an output channel at a place.
    pub fn set(&mut self, output: usize, place: usize, weight: W) {
        self.weights[output / GROUP * self.places + place][output % GROUP] = weight;
    }

    /// Returns a group's weights and biases.
    pub fn group(&self, group: usize) -> (&[[W; GROUP]], &[f32; GROUP]) {
        (&self.weights[group * self.places..(group + 1) * self.places], &self.biases[group])
    }
}

impl Block {
    /// Returns the block that three layers make, or none if they are no block or too large for the kernels.
    pub fn of(layers: &[LayerConfig; 3], input: Shape) -> Option<Self> {
        let [conv, relu, pool] = layers.each_ref().map(|layer| &layer.kind);
        let (LayerKind::Conv(conv), LayerKind::Relu, LayerKind::MaxPool(pool)) = (conv, relu, pool) else {
            return None;
        };
        let Shape::Map { channels, height, width } = input else { return None };
        let &ConvConfig { out_channels, kernel_size, stride, padding } = conv;
        if *pool != (PoolConfig { kernel_size: 2, stride: 2 }) || stride != 1 {
            return None;
        }
        let size = |value: i64| usize::try_from(value).ok();
        let (kernel, padding) = (size(kernel_size)?, size(padding)?);
        let pooled = |side: i64| Some((size(side)? + 2 * padding + 1).checked_sub(kernel)? / 2);
        let block = Self {
            channels: size(channels)?,
            height: size(height)?,
            width: size(width)?,
            outputs: size(out_channels)?,
            kernel,
            padding,
            pooled_height: pooled(height)?,
            pooled_width: pooled(width)?,
        };
        let fits = block.row_len() <= MAX_ROW && block.row_len() + block.channels <= MAX_WINDOW;
        (fits && block.pooled_height > 0 && block.pooled_width > 0).then_some(block)
    }

    /// The number of values in an input image.
    pub fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The number of values in an output image.
    pub fn output_len(&self) -> usize {
        self.outputs * self.pooled_len()
    }

    /// The number of pooling windows in one output channel.
    pub fn pooled_len(&self) -> usize {
        self.pooled_height * self.pooled_width
    }

    /// The number of values in one row of a kernel, all input channels together.
    pub fn row_len(&self) -> usize {
        self.kernel * self.channels
    }

    /// The shape of the outputs of a batch.
    pub fn output_shape(&self, images: usize) -> [i64; 4] {
        [images, self.outputs, self.pooled_height, self.pooled_width].map(|size| size as i64)
    }

    /// The number of vectors that cover the convolved pixels of a row as far as windows reach.
    pub fn vectors(&self) -> usize {
        (2 * self.pooled_width).div_ceil(LANES)
    }

    /// The number of vectors that cover a whole output image.
    pub fn output_vectors(&self) -> usize {
        self.outputs * self.pooled_height * self.vectors()
    }

    pub fn groups(&self) -> usize {
        self.outputs.div_ceil(GROUP)
    }

    pub fn padded_height(&self) -> usize {
        self.height + 2 * self.padding
    }

    pub fn padded_width(&self) -> usize {
        self.width + 2 * self.padding
    }

    /// The number of values from one row to the next in a padded plane, so large that every vector of a row
    /// can be read whole.
    pub fn stride(&self) -> usize {
        self.padded_width().max(self.vectors() * LANES + self.kernel - 1)
    }

    /// The number of values in all padded planes.
    pub fn planes_len(&self) -> usize {
        self.channels * self.padded_height() * self.stride()
    }

    /// The number of values from one row to the next where the channels lie innermost.
    pub fn pixel_row(&self) -> usize {
        self.padded_width() * self.channels
    }

    /// Packs weights in the parameters' layout, [outputs, kernel, kernel, channels], and biases.
    pub fn pack(&self, weights: &[f32], biases: &[f32]) -> PackedWeights<f32> {
        let places = self.kernel * self.kernel;
        let mut packed = PackedWeights::new(self, self.channels * places, biases);
        for (output, weights) in weights.chunks_exact(self.kernel * self.row_len()).enumerate() {
            for (place, weights) in weights.chunks_exact(self.channels).enumerate() {
                for (channel, weight) in weights.iter().enumerate() {
                    packed.set(output, channel * places + place, *weight);
                }
            }
        }
        packed
    }
}
