//! The forward pass of a block in bfloat16: two products at a time, summed in float32. On a processor with
//! units for that it takes half the time of `forward`, and is the same otherwise.

use std::arch::x86_64::{_mm512_dpbf16_ps, _mm512_set1_ps, _mm512_setzero_ps};

use super::{
    block::{Block, GROUP, LANES, Packed},
    forward::{self, PixelSums},
    simd::{load_first, load_pairs, splat_pair, store_pairs},
};

/// Two numbers of bfloat16, the first in the lower half.
pub(super) type Pair = u32;

/// Which two numbers make a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pairing {
    /// One pixel of two input channels; the last channel of an odd number is paired with 0.
    Channels,
    /// Two neighbouring pixels, where there is one input channel.
    Pixels,
}

impl Block {
    fn pairing(&self) -> Pairing {
        if self.channels == 1 { Pairing::Pixels } else { Pairing::Channels }
    }

    /// The number of planes of pairs, and of pairs in a row of a kernel.
    fn pairs(&self) -> (usize, usize) {
        match self.pairing() {
            Pairing::Channels => (self.channels.div_ceil(2), self.kernel),
            Pairing::Pixels => (1, self.kernel.div_ceil(2)),
        }
    }

    /// The distance in pixels between two pairs of a kernel's row.
    fn step(&self) -> usize {
        match self.pairing() {
            Pairing::Channels => 1,
            Pairing::Pixels => 2,
        }
    }

    /// The number of pairs in all padded planes.
    pub fn pair_planes(&self) -> usize {
        self.pairs().0 * self.padded_height() * self.stride()
    }

    /// Packs weights [outputs, kernel, kernel, channels], as parameters lie, and biases.
    pub fn pack_pairs(&self, weights: &[f32], biases: &[f32]) -> Packed<Pair> {
        let (planes, taps) = self.pairs();
        let weight = |output: usize, y: usize, x: usize, channel: usize| {
            let there = x < self.kernel && channel < self.channels;
            let at = ((output * self.kernel + y) * self.kernel + x) * self.channels + channel;
            if there { weights[at] } else { 0.0 }
        };
        let mut packed = Packed::new(self, planes * self.kernel * taps, biases);
        for output in 0..self.outputs {
            for plane in 0..planes {
                for y in 0..self.kernel {
                    for tap in 0..taps {
                        let [low, high] = match self.pairing() {
                            Pairing::Channels => [0, 1].map(|c| weight(output, y, tap, 2 * plane + c)),
                            Pairing::Pixels => [0, 1].map(|x| weight(output, y, 2 * tap + x, 0)),
                        };
                        let place = (plane * self.kernel + y) * taps + tap;
                        packed.set(output, place, rounded(low) | rounded(high) << 16);
                    }
                }
            }
        }
        packed
    }
}

/// Rounds to the nearest bfloat16, ties to even. A NaN stays a NaN.
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return bits >> 16 | 1 << 6;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// Converts padded planes into pairs.
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
pub(super) fn pair(block: &Block, planes: &[f32], pairs: &mut [Pair]) {
    let size = block.padded_height() * block.stride();
    for (index, pairs) in pairs.chunks_exact_mut(size).enumerate() {
        let (low, high) = match block.pairing() {
            Pairing::Channels => planes[2 * index * size..].split_at(size),
            Pairing::Pixels => (planes, &planes[1..]),
        };
        for (place, pairs) in pairs.chunks_mut(LANES).enumerate() {
            let at = place * LANES;
            let [low, high] = [low, high].map(|plane| load_first(plane.get(at..).unwrap_or_default()));
            store_pairs(pairs, low, high);
        }
    }
}

/// Computes the pooled output [outputs, pooled_height, pooled_width] of planes of pairs.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn forward(block: &Block, packed: &Packed<Pair>, planes: &[Pair], output: &mut [f32]) {
    let convolved = |group: usize, at: usize| convolved(block, packed.group(group), &planes[at..]);
    forward::each_window(block, convolved, output, &mut []);
}

/// As `convolved` of `forward`, from pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn convolved(
    block: &Block,
    (weights, biases): (&[[Pair; GROUP]], &[f32; GROUP]),
    planes: &[Pair],
) -> PixelSums {
    let mut sums = [[_mm512_setzero_ps(); 2]; GROUP];
    for (sums, bias) in sums.iter_mut().zip(biases) {
        *sums = [_mm512_set1_ps(*bias); 2];
    }
    let ((count, taps), step) = (block.pairs(), block.step());
    let (stride, plane) = (block.stride(), block.padded_height() * block.stride());
    let reach = LANES + (taps - 1) * step;
    let mut weights = weights.chunks_exact(taps);
    for index in 0..count {
        for row in 0..block.kernel {
            let upper = &planes[index * plane + row * stride..];
            let (upper, lower) = (&upper[..reach], &upper[stride..stride + reach]);
            let windows = |row| <[Pair]>::array_windows::<LANES>(row).step_by(step);
            let Some(weights) = weights.next() else { return sums };
            for ((upper, lower), weights) in windows(upper).zip(windows(lower)).zip(weights) {
                let (upper, lower) = (load_pairs(upper), load_pairs(lower));
                for (sums, weight) in sums.iter_mut().zip(weights) {
                    let weight = splat_pair(*weight);
                    sums[0] = _mm512_dpbf16_ps(sums[0], weight, upper);
                    sums[1] = _mm512_dpbf16_ps(sums[1], weight, lower);
                }
            }
        }
    }
    sums
}
