//! The forward pass of a block in bfloat16: two products at a time, summed in float32. On a processor with
//! units for that it takes half the time of `forward`, and is the same otherwise.

use std::mem::MaybeUninit;

use super::{
    block::{Block, GROUP, LANES, PackedWeights},
    forward::{Convolution, PixelSums, pool_each_window},
    simd::{PairKernel, PairSimd, Simd, VectorOf},
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

/// The forward pass of one image, which returns its pooled output [outputs, pooled_height, pooled_width].
pub(super) struct PairForward<'a> {
    pub block: &'a Block,
    pub packed: &'a PackedWeights<Pair>,
    /// The padded planes of the image, and a buffer for their pairs.
    pub planes: &'a [f32],
    pub pairs: &'a mut [Pair],
    /// Where the output goes.
    pub output: &'a mut [MaybeUninit<f32>],
}

/// The convolution of planes of pairs.
struct Bfloat16<'a, P> {
    simd: P,
    block: &'a Block,
    packed: &'a PackedWeights<Pair>,
    pairs: &'a [Pair],
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

    /// The distance in pixels between two neighbouring pairs of a kernel's row.
    fn step(&self) -> usize {
        match self.pairing() {
            Pairing::Channels => 1,
            Pairing::Pixels => 2,
        }
    }

    /// The number of pairs in all padded planes.
    pub fn pair_planes_len(&self) -> usize {
        self.pairs().0 * self.padded_height() * self.stride()
    }

    /// Packs weights in the parameters' layout, [outputs, kernel, kernel, channels], and biases.
    pub fn pack_pairs(&self, weights: &[f32], biases: &[f32]) -> PackedWeights<Pair> {
        let (planes, taps) = self.pairs();
        let weight = |output: usize, y: usize, x: usize, channel: usize| {
            let there = x < self.kernel && channel < self.channels;
            let at = ((output * self.kernel + y) * self.kernel + x) * self.channels + channel;
            if there { weights[at] } else { 0.0 }
        };
        let mut packed = PackedWeights::new(self, planes * self.kernel * taps, biases);
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
pub(super) fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return bits >> 16 | 1 << 6;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

impl<'a> PairKernel for PairForward<'a> {
    type Output = &'a [f32];

    #[inline(always)]
    fn run<P: PairSimd>(self, simd: P) -> &'a [f32] {
        let Self { block, packed, planes, pairs, output } = self;
        convert(simd, block, planes, pairs);
        pool_each_window(simd.simd(), block, Bfloat16 { simd, block, packed, pairs }, output, &mut [])
    }
}

/// Converts padded planes into pairs.
#[inline(always)]
fn convert<P: PairSimd>(simd: P, block: &Block, planes: &[f32], pairs: &mut [Pair]) {
    let size = block.padded_height() * block.stride();
    for (index, pairs) in pairs.chunks_exact_mut(size).enumerate() {
        let (low, high) = match block.pairing() {
            Pairing::Channels => planes[2 * index * size..].split_at(size),
            Pairing::Pixels => (planes, &planes[1..]),
        };
        for (place, pairs) in pairs.chunks_mut(LANES).enumerate() {
            let at = place * LANES;
            let low = simd.simd().load_first(low.get(at..).unwrap_or_default());
            let high = simd.simd().load_first(high.get(at..).unwrap_or_default());
            simd.store_first(pairs, low, high);
        }
    }
}

impl<P: PairSimd> Convolution<P::Simd> for Bfloat16<'_, P> {
    #[inline(always)]
    fn sums(&self, simd: P::Simd, group: usize, at: usize) -> PixelSums<VectorOf<P>> {
        let (block, planes) = (self.block, &self.pairs[at..]);
        let (weights, biases) = self.packed.group(group);
        let mut sums = [[simd.splat(0.0); 2]; GROUP];
        for (sums, bias) in sums.iter_mut().zip(biases) {
            *sums = [simd.splat(*bias); 2];
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
                    let (upper, lower) = (self.simd.load(upper), self.simd.load(lower));
                    for (sums, weight) in sums.iter_mut().zip(weights) {
                        let weight = self.simd.splat(*weight);
                        sums[0] = self.simd.add_products(sums[0], weight, upper);
                        sums[1] = self.simd.add_products(sums[1], weight, lower);
                    }
                }
            }
        }
        sums
    }
}
