//! The backward pass of a block, one image at a time. Only one of the four pixels of a pooling window
//! has a gradient, and none where the ReLU is 0. The kernels visit those pixels alone, which is an eighth
//! of a dense convolution.

use super::{
    block::{Block, LANES},
    forward::PoolArgmax,
    simd::{Kernel, Simd},
};

/// A pixel of an output channel that has a gradient.
#[derive(Debug, Clone, Copy, Default)]
struct Pixel {
    gradient: f32,
    /// Where its window of the padded input begins, channels innermost.
    at: u32,
}

/// One term of an input gradient: an output channel that has a gradient at a pixel.
#[derive(Debug, Clone, Copy, Default)]
struct InputGradTerm {
    gradient: f32,
    /// The offset of the channel's padded weights at which the window's left pixel is 0.
    at: u32,
}

/// What the backward pass of one image takes: the block's input and output, and the output's gradient.
#[derive(Clone, Copy)]
pub(super) struct BackwardInput<'a> {
    /// [channels, height, width].
    pub input: &'a [f32],
    /// [outputs, pooled_height, pooled_width], as is its gradient.
    pub output: &'a [f32],
    pub argmax: &'a [PoolArgmax],
    pub gradient: &'a [f32],
}

/// The backward pass of one image, which adds the image's share to `sums`.
pub(super) struct Backward<'a> {
    pub block: &'a Block,
    pub input: BackwardInput<'a>,
    /// The weights, and where the gradient of the image's input, [channels, height, width], goes; none where
    /// the input needs no gradient.
    pub padded: Option<(&'a PaddedWeights, &'a mut [f32])>,
    pub sums: &'a mut Accumulators,
    pub scratch: &'a mut Scratch,
}

/// The gradients of a block's parameters, summed over images.
#[derive(Debug, Clone)]
pub(super) struct Accumulators {
    /// [outputs, kernel, a row in whole vectors]; values behind a row's end have no meaning.
    pub weights: Vec<f32>,
    pub biases: Vec<f32>,
}

/// Buffers that one thread reuses for every image.
#[derive(Debug)]
pub(super) struct Scratch {
    /// The padded input, channels innermost, and one vector more.
    input: Vec<f32>,
    /// The gradient of the padded input, in the same layout.
    gradient: Vec<f32>,
    /// The pixels of one output channel, with room for one more.
    pixels: Vec<Pixel>,
    /// For each window the number of terms of its upper and of its lower row.
    counts: Vec<u32>,
    /// The terms themselves, with room for one more in each row.
    terms: Vec<InputGradTerm>,
}

/// A block's weights in the layout of the input gradient. Each row of a kernel has as many zeros before
/// it as there are input channels, and zeros after it up to the end of the last vector.
#[derive(Debug)]
pub(super) struct PaddedWeights {
    weights: Vec<f32>,
    row: usize,
}

impl Block {
    /// The number of vectors that cover a row of a kernel.
    fn row_vectors(&self) -> usize {
        self.row_len().div_ceil(LANES)
    }

    /// The number of vectors that cover a row of the window of two neighbouring pixels.
    fn window_vectors(&self) -> usize {
        (self.row_len() + self.channels).div_ceil(LANES)
    }

    pub fn pad_weights(&self, weights: &[f32]) -> PaddedWeights {
        let row = self.channels + self.window_vectors() * LANES;
        let mut padded = vec![0.0; self.outputs * self.kernel * row];
        for (to, weights) in padded.chunks_exact_mut(row).zip(weights.chunks_exact(self.row_len())) {
            to[self.channels..self.channels + self.row_len()].copy_from_slice(weights);
        }
        PaddedWeights { weights: padded, row }
    }

    pub fn accumulators(&self) -> Accumulators {
        let weights = vec![0.0; self.outputs * self.kernel * self.row_vectors() * LANES];
        Accumulators { weights, biases: vec![0.0; self.outputs] }
    }
}

impl Accumulators {
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in self.weights.iter_mut().zip(&other.weights) {
            *sum += part;
        }
        for (sum, part) in self.biases.iter_mut().zip(&other.biases) {
            *sum += part;
        }
    }

    /// The gradients in the layout of the parameters: [outputs, kernel, kernel, channels] and [outputs].
    pub fn arranged(&self, block: &Block) -> (Vec<f32>, &[f32]) {
        let rows = self.weights.chunks_exact(block.row_vectors() * LANES);
        (rows.flat_map(|row| &row[..block.row_len()]).copied().collect(), &self.biases)
    }
}

impl Scratch {
    pub fn new(block: &Block) -> Self {
        let pixels = block.padded_height() * block.pixel_row() + (block.window_vectors() + 1) * LANES;
        Self {
            input: vec![0.0; pixels],
            gradient: vec![0.0; pixels],
            pixels: vec![Pixel::default(); block.pooled_len() + 1],
            counts: vec![0; 2 * block.pooled_len()],
            terms: vec![InputGradTerm::default(); 2 * block.pooled_len() * (block.outputs + 1)],
        }
    }
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { block, input, padded, sums, scratch } = self;
        to_channels_last(block, input.input, &mut scratch.input);
        scratch.counts.fill(0);
        let row = padded.as_ref().map_or(0, |(padded, _)| padded.row);
        let per_output = block.kernel * block.row_vectors() * LANES;
        for (output, weights) in sums.weights.chunks_exact_mut(per_output).enumerate() {
            let found = collect_pixels(block, output, input, row, scratch);
            let pixels = &scratch.pixels[..found];
            sums.biases[output] += pixels.iter().map(|pixel| pixel.gradient).sum::<f32>();
            add_weights(simd, block, pixels, &scratch.input, weights);
        }
        if let Some((padded, to)) = padded {
            scratch.gradient.fill(0.0);
            gather_terms(simd, block, padded, scratch);
            to_planes(block, &scratch.gradient, to);
        }
    }
}

/// Lists the pixels of an output channel that have a gradient, by channel and by window, and returns how
/// many there are. `row` is the length of a row of the padded weights.
#[inline(always)]
fn collect_pixels(
    block: &Block,
    output: usize,
    input: BackwardInput<'_>,
    row: usize,
    scratch: &mut Scratch,
) -> usize {
    let mut found = 0;
    let weights = (output * block.kernel * row) as u32;
    let masks = input.argmax.chunks_exact(block.vectors()).skip(output * block.pooled_height);
    let windows = output * block.pooled_len()..(output + 1) * block.pooled_len();
    let values = input.output[windows.clone()].chunks_exact(block.pooled_width);
    let gradients = input.gradient[windows].chunks_exact(block.pooled_width);
    for (line, ((values, gradients), masks)) in values.zip(gradients).zip(masks).enumerate() {
        for (column, (value, gradient)) in values.iter().zip(gradients).enumerate() {
            let [upper, lower] = masks[2 * column / LANES];
            let shift = 2 * column % LANES;
            // The first maximum counts, row by row. A window of NaN has none, and no value above 0.
            let places = (u32::from(upper >> shift) & 3) | ((u32::from(lower >> shift) & 3) << 2);
            let place = places.trailing_zeros() & 3;
            let (down, right) = (place as usize >> 1, place & 1);
            // Always written and counted only where it is one: a branch would be mispredicted.
            let has = *value > 0.0 && *gradient != 0.0;
            let (y, x) = (2 * line + down, 2 * column as u32 + right);
            let at = (y * block.pixel_row()) as u32 + x * block.channels as u32;
            scratch.pixels[found] = Pixel { gradient: *gradient, at };
            found += usize::from(has);
            let list = 2 * (line * block.pooled_width + column) + down;
            let at = weights + (1 - right) * block.channels as u32;
            let next = list * (block.outputs + 1) + scratch.counts[list] as usize;
            scratch.terms[next] = InputGradTerm { gradient: *gradient, at };
            scratch.counts[list] += u32::from(has);
        }
    }
    found
}

/// Copies an image [channels, height, width] into the middle of padded pixels, channels innermost.
#[inline(always)]
fn to_channels_last(block: &Block, image: &[f32], pixels: &mut [f32]) {
    let rows = pixels.chunks_exact_mut(block.pixel_row()).skip(block.padding).take(block.height);
    for (y, row) in rows.enumerate() {
        let middle = &mut row[block.padding * block.channels..][..block.width * block.channels];
        for (channel, plane) in image.chunks_exact(block.height * block.width).enumerate() {
            let values = &plane[y * block.width..(y + 1) * block.width];
            for (pixel, value) in middle.chunks_exact_mut(block.channels).zip(values) {
                pixel[channel] = *value;
            }
        }
    }
}

/// Copies the middle of padded pixels, channels innermost, into an image [channels, height, width].
#[inline(always)]
fn to_planes(block: &Block, pixels: &[f32], image: &mut [f32]) {
    let rows = pixels.chunks_exact(block.pixel_row()).skip(block.padding).take(block.height);
    for (y, row) in rows.enumerate() {
        let middle = &row[block.padding * block.channels..][..block.width * block.channels];
        for (channel, plane) in image.chunks_exact_mut(block.height * block.width).enumerate() {
            let values = &mut plane[y * block.width..(y + 1) * block.width];
            for (value, pixel) in values.iter_mut().zip(middle.chunks_exact(block.channels)) {
                *value = pixel[channel];
            }
        }
    }
}

/// Adds gradient times window of every pixel to an output channel's weights.
#[inline(always)]
fn add_weights<S: Simd>(simd: S, block: &Block, pixels: &[Pixel], input: &[f32], weights: &mut [f32]) {
    if block.row_vectors() == 1 && block.kernel == 5 {
        // All five rows at once: a single row would wait for its own sum at every pixel.
        return simd.run(AddRows::<1, 5> { pixels, input, pixel_row: block.pixel_row(), weights });
    }
    let vectors = block.row_vectors();
    for (row, weights) in weights.chunks_exact_mut(vectors * LANES).enumerate() {
        let input = &input[row * block.pixel_row()..];
        match vectors {
            1 => simd.run(AddRows::<1, 1> { pixels, input, pixel_row: 0, weights }),
            2 => simd.run(AddRows::<2, 1> { pixels, input, pixel_row: 0, weights }),
            3 => simd.run(AddRows::<3, 1> { pixels, input, pixel_row: 0, weights }),
            4 => simd.run(AddRows::<4, 1> { pixels, input, pixel_row: 0, weights }),
            5 => simd.run(AddRows::<5, 1> { pixels, input, pixel_row: 0, weights }),
            6 => simd.run(AddRows::<6, 1> { pixels, input, pixel_row: 0, weights }),
            _ => simd.run(AddRows::<7, 1> { pixels, input, pixel_row: 0, weights }),
        }
    }
}

/// Adds gradient times window to neighbouring rows of a kernel, each of so many vectors.
struct AddRows<'a, const VECTORS: usize, const ROWS: usize> {
    pixels: &'a [Pixel],
    input: &'a [f32],
    pixel_row: usize,
    weights: &'a mut [f32],
}

impl<const VECTORS: usize, const ROWS: usize> Kernel for AddRows<'_, VECTORS, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { pixels, input, pixel_row, weights } = self;
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        let (kept, _) = weights.as_chunks_mut::<LANES>();
        for (sums, kept) in sums.as_flattened_mut().iter_mut().zip(&*kept) {
            *sums = simd.load(kept);
        }
        for pixel in pixels {
            let gradient = simd.splat(pixel.gradient);
            for (row, sums) in sums.iter_mut().enumerate() {
                let values = &input[pixel.at as usize + row * pixel_row..][..VECTORS * LANES];
                for (sum, values) in sums.iter_mut().zip(values.as_chunks::<LANES>().0) {
                    *sum = simd.mul_add(gradient, simd.load(values), *sum);
                }
            }
        }
        for (kept, sum) in kept.iter_mut().zip(sums.as_flattened()) {
            simd.store(kept, *sum);
        }
    }
}

/// Adds to every window of the padded input the terms of its pixels.
#[inline(always)]
fn gather_terms<S: Simd>(simd: S, block: &Block, padded: &PaddedWeights, scratch: &mut Scratch) {
    match block.window_vectors() {
        1 => simd.run(GatherTerms::<1> { block, padded, scratch }),
        2 => simd.run(GatherTerms::<2> { block, padded, scratch }),
        3 => simd.run(GatherTerms::<3> { block, padded, scratch }),
        4 => simd.run(GatherTerms::<4> { block, padded, scratch }),
        5 => simd.run(GatherTerms::<5> { block, padded, scratch }),
        6 => simd.run(GatherTerms::<6> { block, padded, scratch }),
        7 => simd.run(GatherTerms::<7> { block, padded, scratch }),
        _ => simd.run(GatherTerms::<8> { block, padded, scratch }),
    }
}

/// Adds the terms of its pixels to every window, whose rows have so many vectors.
struct GatherTerms<'a, const VECTORS: usize> {
    block: &'a Block,
    padded: &'a PaddedWeights,
    scratch: &'a mut Scratch,
}

impl<const VECTORS: usize> Kernel for GatherTerms<'_, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { block, padded, scratch } = self;
        let Scratch { gradient, counts, terms, .. } = scratch;
        let (counts, _) = counts.as_chunks::<2>();
        let terms = terms.chunks_exact(2 * (block.outputs + 1));
        for (window, (counts, terms)) in counts.iter().zip(terms).enumerate() {
            let (upper, lower) = terms.split_at(block.outputs + 1);
            let (upper, lower) = (&upper[..counts[0] as usize], &lower[..counts[1] as usize]);
            let (y, x) = (2 * (window / block.pooled_width), 2 * (window % block.pooled_width));
            let at = y * block.pixel_row() + x * block.channels;
            // The window of two rows of pixels is one row higher than the kernel.
            for row in 0..=block.kernel {
                let mut sums = [simd.splat(0.0); VECTORS];
                if row < block.kernel {
                    add_terms(simd, &mut sums, upper, &padded.weights[row * padded.row..]);
                }
                if row > 0 {
                    add_terms(simd, &mut sums, lower, &padded.weights[(row - 1) * padded.row..]);
                }
                let pixels = &mut gradient[at + row * block.pixel_row()..][..VECTORS * LANES];
                for (pixels, sum) in pixels.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                    simd.store(pixels, simd.add(simd.load(pixels), sum));
                }
            }
        }
    }
}

#[inline(always)]
fn add_terms<S: Simd, const VECTORS: usize>(
    simd: S,
    sums: &mut [S::Vector; VECTORS],
    terms: &[InputGradTerm],
    weights: &[f32],
) {
    for term in terms {
        let gradient = simd.splat(term.gradient);
        let weights = &weights[term.at as usize..][..VECTORS * LANES];
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<LANES>().0) {
            *sum = simd.mul_add(gradient, simd.load(weights), *sum);
        }
    }
}
