//! The forward pass of a block, one image at a time. Sixteen pixels of two rows for ten output channels
//! stay in registers and are pooled before anything is written. A vector holds neighbouring pixels, so
//! that a number of channels that is no multiple of the vector's width costs no more than its share.

use std::arch::x86_64::{
    __m512, _CMP_EQ_OQ, _CMP_UNORD_Q, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_mask_mov_ps, _mm512_max_ps,
    _mm512_permute_ps, _mm512_set1_ps, _mm512_setzero_ps,
};

use super::{
    block::{Block, GROUP, LANES, Packed},
    simd::{evens, load, store_first},
};

/// The places of the largest values of eight windows. Bit 2j of the first mask is the upper left pixel of
/// window j, bit 2j + 1 the upper right one; the second mask has the lower pixels.
pub(super) type PoolArgmax = [u16; 2];

/// Sixteen pixels of two rows, for each output channel of a group.
pub(super) type PixelSums = [[__m512; 2]; GROUP];

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

/// Computes the pooled output [outputs, pooled_height, pooled_width] of padded planes. `argmax`,
/// [outputs, pooled_height, vectors], is what the backward pass needs; it is empty where there is none.
#[target_feature(enable = "avx512f")]
pub(super) fn forward(
    block: &Block,
    packed: &Packed<f32>,
    planes: &[f32],
    output: &mut [f32],
    argmax: &mut [PoolArgmax],
) {
    let convolved = |group: usize, at: usize| convolved(block, packed.group(group), &planes[at..]);
    each_window(block, convolved, output, argmax);
}

/// Pools the sums that `convolved` returns for each group of output channels and each place of the planes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn each_window(
    block: &Block,
    convolved: impl Fn(usize, usize) -> PixelSums,
    output: &mut [f32],
    argmax: &mut [PoolArgmax],
) {
    for group in 0..block.groups() {
        let outputs = group * GROUP..block.outputs.min((group + 1) * GROUP);
        for row in 0..block.pooled_height {
            for vector in 0..block.vectors() {
                let sums = convolved(group, 2 * row * block.stride() + vector * LANES);
                for (output_channel, pair) in outputs.clone().zip(sums) {
                    let line = output_channel * block.pooled_height + row;
                    let (pooled, places) = pooled(pair);
                    let start = line * block.pooled_width + vector * LANES / 2;
                    let end = ((line + 1) * block.pooled_width).min(start + LANES / 2);
                    store_first(&mut output[start..end], evens(pooled));
                    if let Some(kept) = argmax.get_mut(line * block.vectors() + vector) {
                        *kept = places;
                    }
                }
            }
        }
    }
}

/// Convolves sixteen pixels of two rows for each channel of a group. `planes` begins where their window of
/// the input does.
#[inline]
#[target_feature(enable = "avx512f")]
fn convolved(
    block: &Block,
    (weights, biases): (&[[f32; GROUP]], &[f32; GROUP]),
    planes: &[f32],
) -> PixelSums {
    let mut sums = [[_mm512_setzero_ps(); 2]; GROUP];
    for (sums, bias) in sums.iter_mut().zip(biases) {
        *sums = [_mm512_set1_ps(*bias); 2];
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
                let (upper, lower) = (load(upper), load(lower));
                for (sums, weight) in sums.iter_mut().zip(weights) {
                    let weight = _mm512_set1_ps(*weight);
                    sums[0] = _mm512_fmadd_ps(weight, upper, sums[0]);
                    sums[1] = _mm512_fmadd_ps(weight, lower, sums[1]);
                }
            }
        }
    }
    sums
}

/// The largest value of each window of two rows, 0 at least, in both lanes of its pair, and its place.
/// NaN is larger than every number, as in libtorch.
#[inline]
#[target_feature(enable = "avx512f")]
fn pooled([upper, lower]: [__m512; 2]) -> (__m512, PoolArgmax) {
    let column = larger(upper, lower);
    // Swaps the two lanes of each pair.
    let window = larger(column, _mm512_permute_ps::<0b10_11_00_01>(column));
    let places = [upper, lower].map(|row| _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(row, window));
    // The second operand is the result where one is NaN.
    (_mm512_max_ps(_mm512_setzero_ps(), window), places)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn larger(a: __m512, b: __m512) -> __m512 {
    let larger = _mm512_max_ps(a, b);
    _mm512_mask_mov_ps(larger, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a)
}
