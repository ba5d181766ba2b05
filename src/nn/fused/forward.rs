//! The forward pass of a block, one image at a time. Sixteen pixels of two rows for ten output channels
//! stay in registers and are pooled before anything is written. A vector holds neighbouring pixels, so
//! that a number of channels that is no multiple of the vector's width costs no more than its share.

use std::mem::MaybeUninit;

use super::{
    block::{Block, GROUP, LANES, PackedWeights},
    simd::{Kernel, Simd},
};

/// The places of the largest values of eight windows. Bit 2j of the first mask is the upper left pixel of
/// window j, bit 2j + 1 the upper right one; the second mask has the lower pixels.
pub(super) type PoolArgmax = [u16; 2];

/// Sixteen pixels of two rows, for each output channel of a group.
pub(super) type PixelSums<V> = [[V; 2]; GROUP];

/// The forward pass of one image, which returns its pooled output [outputs, pooled_height, pooled_width].
pub(super) struct Forward<'a> {
    pub block: &'a Block,
    pub packed: &'a PackedWeights<f32>,
    /// The padded planes of the image.
    pub planes: &'a [f32],
    /// Where the output goes.
    pub output: &'a mut [MaybeUninit<f32>],
    /// What the backward pass needs, [outputs, pooled_height, vectors]; empty where there is none.
    pub argmax: &'a mut [PoolArgmax],
}

/// A convolution before its pooling.
pub(super) trait Convolution<S: Simd> {
    /// Returns the sums of sixteen pixels of two rows for a group of output channels. `at` is the place in
    /// the planes at which their window of the input begins.
    fn sums(&self, simd: S, group: usize, at: usize) -> PixelSums<S::Vector>;
}

/// The convolution in float32.
struct Float32<'a> {
    block: &'a Block,
    packed: &'a PackedWeights<f32>,
    planes: &'a [f32],
}

/// Copies an image [channels, height, width] into the middle of planes whose borders are 0.
pub(super) fn pad(block: &Block, image: &[f32], planes: &mut [f32]) {
    let planes = planes.chunks_exact_mut(block.padded_height() * block.stride());
    for (plane, channel) in planes.zip(image.chunks_exact(block.height * block.width)) {
        let rows = plane.chunks_exact_mut(block.stride()).skip(block.padding);
        for (to, row) in rows.zip(channel.chunks_exact(block.width)) {
            to[block.padding..block.padding + block.width].copy_from_slice(row);
        }
    }
}

impl<'a> Kernel for Forward<'a> {
    type Output = &'a [f32];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> &'a [f32] {
        let Self { block, packed, planes, output, argmax } = self;
        pool_each_window(simd, block, Float32 { block, packed, planes }, output, argmax)
    }
}

/// Pools the sums of a convolution into `output`, and returns it.
#[inline(always)]
#[expect(unsafe_code, reason = "the compiler cannot see that the loops write every value")]
pub(super) fn pool_each_window<'a, S: Simd>(
    simd: S,
    block: &Block,
    convolution: impl Convolution<S>,
    output: &'a mut [MaybeUninit<f32>],
    argmax: &mut [PoolArgmax],
) -> &'a [f32] {
    assert_eq!(output.len(), block.output_len(), "the size of an output image");
    for group in 0..block.groups() {
        let outputs = group * GROUP..block.outputs.min((group + 1) * GROUP);
        for row in 0..block.pooled_height {
            for vector in 0..block.vectors() {
                let sums = convolution.sums(simd, group, 2 * row * block.stride() + vector * LANES);
                for (output_channel, pair) in outputs.clone().zip(sums) {
                    let line = output_channel * block.pooled_height + row;
                    let (pooled, places) = pooled(simd, pair);
                    let start = line * block.pooled_width + vector * LANES / 2;
                    let end = ((line + 1) * block.pooled_width).min(start + LANES / 2);
                    simd.store_first(&mut output[start..end], simd.evens(pooled));
                    if let Some(kept) = argmax.get_mut(line * block.vectors() + vector) {
                        *kept = places;
                    }
                }
            }
        }
    }
    // SAFETY: every value was written. The groups cover all output channels, each with all of its rows, so
    // that `line` takes every value below outputs * pooled_height. The `vectors` of a line, which are at
    // least pooled_width / 8, cover it in steps of eight values, each step up to the line's end; and
    // `store_first` writes the whole of a slice of up to sixteen. Lines of pooled_width values, so many,
    // are `output` whole, by the assertion above.
    unsafe { output.assume_init_ref() }
}

impl<S: Simd> Convolution<S> for Float32<'_> {
    #[inline(always)]
    fn sums(&self, simd: S, group: usize, at: usize) -> PixelSums<S::Vector> {
        let (block, planes) = (self.block, &self.planes[at..]);
        let (weights, biases) = self.packed.group(group);
        let mut sums = [[simd.splat(0.0); 2]; GROUP];
        for (sums, bias) in sums.iter_mut().zip(biases) {
            *sums = [simd.splat(*bias); 2];
        }
        let (stride, plane) = (block.stride(), block.padded_height() * block.stride());
        let reach = LANES + block.kernel - 1;
        let mut weights = weights.chunks_exact(block.kernel);
        for channel in 0..block.channels {
            for row in 0..block.kernel {
                let upper = &planes[channel * plane + row * stride..];
                let (upper, lower) = (&upper[..reach], &upper[stride..stride + reach]);
                let pixels = upper.array_windows::<LANES>().zip(lower.array_windows::<LANES>());
                let Some(weights) = weights.next() else { return sums };
                for ((upper, lower), weights) in pixels.zip(weights) {
                    let (upper, lower) = (simd.load(upper), simd.load(lower));
                    for (sums, weight) in sums.iter_mut().zip(weights) {
                        let weight = simd.splat(*weight);
                        sums[0] = simd.mul_add(weight, upper, sums[0]);
                        sums[1] = simd.mul_add(weight, lower, sums[1]);
                    }
                }
            }
        }
        sums
    }
}

/// Returns the largest value of each window of two rows, 0 at least, in both lanes of its pair, and its
/// place. NaN is larger than every number, as in libtorch.
#[inline(always)]
fn pooled<S: Simd>(simd: S, [upper, lower]: [S::Vector; 2]) -> (S::Vector, PoolArgmax) {
    let column = larger(simd, upper, lower);
    let window = larger(simd, column, simd.swap_neighbours(column));
    let places = [simd.equal(upper, window), simd.equal(lower, window)];
    // The second operand is the result where one is NaN.
    (simd.max(simd.splat(0.0), window), places)
}

#[inline(always)]
fn larger<S: Simd>(simd: S, a: S::Vector, b: S::Vector) -> S::Vector {
    simd.select(simd.is_nan(a), a, simd.max(a, b))
}
