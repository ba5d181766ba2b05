//! A block backward, one image at a time. Of the four pixels of a window one alone has a gradient,
//! and none where the ReLU is 0: only those are gone through, an eighth of a dense convolution.

use std::arch::x86_64::{__m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps};

use super::{
    block::{Block, LANES},
    forward::Largest,
    lanes::{load, store},
};

/// A pixel of an output channel that has a gradient.
#[derive(Debug, Clone, Copy, Default)]
struct Pixel {
    gradient: f32,
    /// Where its window of the padded input begins, channels innermost.
    at: u32,
}

/// An output channel that has a gradient at a pixel.
#[derive(Debug, Clone, Copy, Default)]
struct Pull {
    gradient: f32,
    /// Where its weights begin, so that its window's left pixel is at 0.
    at: u32,
}

/// What an image was, what came of it, and the gradient of that.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// [channels, height, width].
    pub input: &'a [f32],
    /// [outputs, pooled_height, pooled_width], as is its gradient.
    pub output: &'a [f32],
    pub largest: &'a [Largest],
    pub gradient: &'a [f32],
}

/// Sums over images of the gradients of a block's parameters.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    /// [outputs, kernel, a row in whole vectors]; what is behind a row's end has no meaning.
    pub weights: Vec<f32>,
    pub biases: Vec<f32>,
}

/// Room to work in, for one thread.
#[derive(Debug)]
pub(super) struct Room {
    /// The padded input, channels innermost, and a vector more than it takes.
    input: Vec<f32>,
    /// The gradient of the same.
    gradient: Vec<f32>,
    /// Of one output channel, and one more.
    pixels: Vec<Pixel>,
    /// For each window its upper, then its lower pixels: how many there are, and room for all and one.
    counts: Vec<u32>,
    pulls: Vec<Pull>,
}

/// A block's weights for the gradient of its input: for each output channel and row of the kernel as
/// many zeros as there are input channels, the row, and zeros to where the last vector ends.
#[derive(Debug)]
pub(super) struct Spread {
    weights: Vec<f32>,
    row: usize,
}

impl Block {
    /// Vectors of a row of a kernel.
    fn row_vectors(&self) -> usize {
        self.row().div_ceil(LANES)
    }

    /// Vectors of a row of a window's two pixels.
    fn window_vectors(&self) -> usize {
        (self.row() + self.channels).div_ceil(LANES)
    }

    pub fn spread(&self, weights: &[f32]) -> Spread {
        let row = self.channels + self.window_vectors() * LANES;
        let mut spread = vec![0.0; self.outputs * self.kernel * row];
        for (to, weights) in spread.chunks_exact_mut(row).zip(weights.chunks_exact(self.row())) {
            to[self.channels..self.channels + self.row()].copy_from_slice(weights);
        }
        Spread { weights: spread, row }
    }

    pub fn sums(&self) -> Sums {
        let weights = vec![0.0; self.outputs * self.kernel * self.row_vectors() * LANES];
        Sums { weights, biases: vec![0.0; self.outputs] }
    }
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in self.weights.iter_mut().zip(&other.weights) {
            *sum += part;
        }
        for (sum, part) in self.biases.iter_mut().zip(&other.biases) {
            *sum += part;
        }
    }

    /// The same as parameters lie, [outputs, kernel, kernel, channels] and [outputs].
    pub fn arranged(&self, block: &Block) -> (Vec<f32>, &[f32]) {
        let rows = self.weights.chunks_exact(block.row_vectors() * LANES);
        (rows.flat_map(|row| &row[..block.row()]).copied().collect(), &self.biases)
    }
}

impl Room {
    pub fn new(block: &Block) -> Self {
        let pixels = block.padded_height() * block.pixel_row() + (block.window_vectors() + 1) * LANES;
        Self {
            input: vec![0.0; pixels],
            gradient: vec![0.0; pixels],
            pixels: vec![Pixel::default(); block.pooled() + 1],
            counts: vec![0; 2 * block.pooled()],
            pulls: vec![Pull::default(); 2 * block.pooled() * (block.outputs + 1)],
        }
    }
}

/// Adds an image's share to `sums`, and writes the gradient of its input, [channels, height, width],
/// where there is room for it.
#[target_feature(enable = "avx512f")]
pub(super) fn backward(
    block: &Block,
    given: Given<'_>,
    spread: Option<(&Spread, &mut [f32])>,
    sums: &mut Sums,
    room: &mut Room,
) {
    turn_in(block, given.input, &mut room.input);
    room.counts.fill(0);
    let row = spread.as_ref().map_or(0, |(spread, _)| spread.row);
    let per_output = block.kernel * block.row_vectors() * LANES;
    for (output, weights) in sums.weights.chunks_exact_mut(per_output).enumerate() {
        let found = find(block, output, given, row, room);
        let pixels = &room.pixels[..found];
        sums.biases[output] += pixels.iter().map(|pixel| pixel.gradient).sum::<f32>();
        add_weights(block, pixels, &room.input, weights);
    }
    if let Some((spread, to)) = spread {
        room.gradient.fill(0.0);
        pull(block, spread, room);
        turn_out(block, &room.gradient, to);
    }
}

/// Lists the pixels of an output channel that have a gradient, by channel and by window; says how
/// many there are. `row` is that of the spread weights.
fn find(block: &Block, output: usize, given: Given<'_>, row: usize, room: &mut Room) -> usize {
    let mut found = 0;
    let weights = (output * block.kernel * row) as u32;
    let masks = given.largest.chunks_exact(block.vectors()).skip(output * block.pooled_height);
    let windows = output * block.pooled()..(output + 1) * block.pooled();
    let values = given.output[windows.clone()].chunks_exact(block.pooled_width);
    let gradients = given.gradient[windows].chunks_exact(block.pooled_width);
    for (line, ((values, gradients), masks)) in values.zip(gradients).zip(masks).enumerate() {
        for (column, (value, gradient)) in values.iter().zip(gradients).enumerate() {
            let [upper, lower] = masks[2 * column / LANES];
            let shift = 2 * column % LANES;
            // The first of the largest, row by row; a window of NaN has none, and no value above 0.
            let places = (u32::from(upper >> shift) & 3) | ((u32::from(lower >> shift) & 3) << 2);
            let place = places.trailing_zeros() & 3;
            let (down, right) = (place as usize >> 1, place & 1);
            // Written in any case, and counted where it is one: a branch would be guessed wrong.
            let has = *value > 0.0 && *gradient != 0.0;
            let (y, x) = (2 * line + down, 2 * column as u32 + right);
            let at = (y * block.pixel_row()) as u32 + x * block.channels as u32;
            room.pixels[found] = Pixel { gradient: *gradient, at };
            found += usize::from(has);
            let list = 2 * (line * block.pooled_width + column) + down;
            let at = weights + (1 - right) * block.channels as u32;
            let next = list * (block.outputs + 1) + room.counts[list] as usize;
            room.pulls[next] = Pull { gradient: *gradient, at };
            room.counts[list] += u32::from(has);
        }
    }
    found
}

/// An image [channels, height, width] into the middle of padded pixels, channels innermost.
fn turn_in(block: &Block, image: &[f32], pixels: &mut [f32]) {
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

/// The middle of padded pixels, channels innermost, as an image [channels, height, width].
fn turn_out(block: &Block, pixels: &[f32], image: &mut [f32]) {
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
#[target_feature(enable = "avx512f")]
fn add_weights(block: &Block, pixels: &[Pixel], input: &[f32], weights: &mut [f32]) {
    if block.row_vectors() == 1 && block.kernel == 5 {
        // All five rows at once: one alone would wait for its own sum at every pixel.
        return add_rows::<1, 5>(pixels, input, block.pixel_row(), weights);
    }
    let vectors = block.row_vectors();
    for (row, weights) in weights.chunks_exact_mut(vectors * LANES).enumerate() {
        let input = &input[row * block.pixel_row()..];
        match vectors {
            1 => add_rows::<1, 1>(pixels, input, 0, weights),
            2 => add_rows::<2, 1>(pixels, input, 0, weights),
            3 => add_rows::<3, 1>(pixels, input, 0, weights),
            4 => add_rows::<4, 1>(pixels, input, 0, weights),
            5 => add_rows::<5, 1>(pixels, input, 0, weights),
            6 => add_rows::<6, 1>(pixels, input, 0, weights),
            _ => add_rows::<7, 1>(pixels, input, 0, weights),
        }
    }
}

#[target_feature(enable = "avx512f")]
fn add_rows<const VECTORS: usize, const ROWS: usize>(
    pixels: &[Pixel],
    input: &[f32],
    pixel_row: usize,
    weights: &mut [f32],
) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    let (kept, _) = weights.as_chunks_mut::<LANES>();
    for (sums, kept) in sums.as_flattened_mut().iter_mut().zip(&*kept) {
        *sums = load(kept);
    }
    for pixel in pixels {
        let gradient = _mm512_set1_ps(pixel.gradient);
        for (row, sums) in sums.iter_mut().enumerate() {
            let values = &input[pixel.at as usize + row * pixel_row..][..VECTORS * LANES];
            for (sum, values) in sums.iter_mut().zip(values.as_chunks::<LANES>().0) {
                *sum = _mm512_fmadd_ps(gradient, load(values), *sum);
            }
        }
    }
    for (kept, sum) in kept.iter_mut().zip(sums.as_flattened()) {
        store(kept, *sum);
    }
}

/// Adds up for every window of the padded input what its pixels pull at it.
#[target_feature(enable = "avx512f")]
fn pull(block: &Block, spread: &Spread, room: &mut Room) {
    match block.window_vectors() {
        1 => pull_in::<1>(block, spread, room),
        2 => pull_in::<2>(block, spread, room),
        3 => pull_in::<3>(block, spread, room),
        4 => pull_in::<4>(block, spread, room),
        5 => pull_in::<5>(block, spread, room),
        6 => pull_in::<6>(block, spread, room),
        7 => pull_in::<7>(block, spread, room),
        _ => pull_in::<8>(block, spread, room),
    }
}

#[target_feature(enable = "avx512f")]
fn pull_in<const VECTORS: usize>(block: &Block, spread: &Spread, room: &mut Room) {
    let Room { gradient, counts, pulls, .. } = room;
    let (counts, _) = counts.as_chunks::<2>();
    for (window, (counts, pulls)) in
        counts.iter().zip(pulls.chunks_exact(2 * (block.outputs + 1))).enumerate()
    {
        let (upper, lower) = pulls.split_at(block.outputs + 1);
        let (upper, lower) = (&upper[..counts[0] as usize], &lower[..counts[1] as usize]);
        let (y, x) = (2 * (window / block.pooled_width), 2 * (window % block.pooled_width));
        let at = y * block.pixel_row() + x * block.channels;
        // The window of two rows of pixels is one row higher than the kernel.
        for row in 0..=block.kernel {
            let mut sums = [_mm512_setzero_ps(); VECTORS];
            if row < block.kernel {
                add_pulls(&mut sums, upper, &spread.weights[row * spread.row..]);
            }
            if row > 0 {
                add_pulls(&mut sums, lower, &spread.weights[(row - 1) * spread.row..]);
            }
            let pixels = &mut gradient[at + row * block.pixel_row()..][..VECTORS * LANES];
            for (pixels, sum) in pixels.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                store(pixels, _mm512_add_ps(load(pixels), sum));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_pulls<const VECTORS: usize>(sums: &mut [__m512; VECTORS], pulls: &[Pull], weights: &[f32]) {
    for pull in pulls {
        let gradient = _mm512_set1_ps(pull.gradient);
        let weights = &weights[pull.at as usize..][..VECTORS * LANES];
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<LANES>().0) {
            *sum = _mm512_fmadd_ps(gradient, load(weights), *sum);
        }
    }
}
