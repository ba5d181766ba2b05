//! The one source of random numbers: every random stream of the project begins at [`stream_seed`], so
//! what is drawn depends on (seed, stream, epoch, step) alone. Touches no global generator.

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{RngCore, SeedableRng},
};
use tch::{Device, Kind, Tensor};

/// The purpose of a random stream; streams of different purposes never overlap.
///
/// The numbers are part of what a seed means: add new ones, never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Which of MNIST's 60 000 images are for training and which for validation.
    Split = 1,
    /// The order of the images within an epoch.
    Shuffle = 2,
    /// The initial parameters of a network.
    Init = 3,
    /// The masks of dropout.
    Dropout = 4,
    /// Changes made to training images on the fly.
    Augmentation = 5,
    /// The built-in digits for training and validation.
    SyntheticTrain = 6,
    /// The built-in digits for testing.
    SyntheticTest = 7,
    /// The channels that an inspection shows.
    Channels = 8,
    /// The images of a sample drawn from a data set.
    Sample = 9,
    /// The noise of elastic augmentation.
    Elastic = 10,
}

/// The seed of the stream for one purpose at one epoch and step.
///
/// A chain of `SplitMix64` steps (Steele, Lea, Flood 2014): `s ← mix(seed)`, then
/// `s ← mix(s xor word)` for the stream's number, the epoch and the step. As `mix` is a bijection,
/// two calls that differ in one word alone never give the same seed.
pub fn stream_seed(seed: u64, stream: Stream, epoch: u64, step: u64) -> u64 {
    [stream as u64, epoch, step].into_iter().fold(mix(seed), |state, word| mix(state ^ word))
}

/// The constants of `SplitMix64`: the step of its counter, and the factors of its mixing.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTORS: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(FACTORS[0]);
    let z = (z ^ (z >> 27)).wrapping_mul(FACTORS[1]);
    z ^ (z >> 31)
}

/// A counter-based stream: word i is a function of the seed and i alone, so that any device makes its
/// own words, and all devices make the same. Word i is output i of `SplitMix64` (Steele, Lea, Flood
/// 2014): mix(seed + i·γ), with γ the step of its counter.
#[derive(Debug, Clone, Copy)]
pub struct CounterStream {
    seed: u64,
}

impl CounterStream {
    /// The stream at (seed, stream, epoch, step).
    pub fn new(seed: u64, stream: Stream, epoch: u64, step: u64) -> Self {
        Self { seed: stream_seed(seed, stream, epoch, step) }
    }

    /// The first `n` 32-bit numbers on `device` as int32 `[n]`, every one equally likely. Word i holds
    /// numbers 2i and 2i + 1, the low half first.
    pub fn int32(self, n: usize, device: Device) -> Tensor {
        match device {
            Device::Cpu => {
                let halves = |word: u64| [word as u32 as i32, (word >> 32) as u32 as i32];
                Tensor::from_slice(&self.numbers(n, halves))
            }
            _ => self.on_device(n, Kind::Int, device),
        }
    }

    /// The first `n` 16-bit numbers on `device` as int16 `[n]`, every one equally likely. Word i holds
    /// numbers 4i to 4i + 3, the lowest first.
    pub fn int16(self, n: usize, device: Device) -> Tensor {
        match device {
            Device::Cpu => {
                let quarters = |word: u64| [0, 16, 32, 48].map(|shift| (word >> shift) as u16 as i16);
                Tensor::from_slice(&self.numbers(n, quarters))
            }
            _ => self.on_device(n, Kind::Int16, device),
        }
    }

    fn word(self, index: usize) -> u64 {
        mix(self.seed.wrapping_add((index as u64).wrapping_mul(STEP)))
    }

    fn numbers<T, const PER_WORD: usize>(self, n: usize, split: impl Fn(u64) -> [T; PER_WORD]) -> Vec<T> {
        let words = n.div_ceil(PER_WORD);
        let mut numbers = Vec::with_capacity(words * PER_WORD);
        numbers.extend((0..words).flat_map(|index| split(self.word(index))));
        numbers.truncate(n);
        numbers
    }

    /// Computes the same by tensor operations, without waiting. The words are int64, whose sums and
    /// products wrap as those of u64, and devices of libtorch are little-endian.
    fn on_device(self, n: usize, kind: Kind, device: Device) -> Tensor {
        let words = n.div_ceil(8 / kind.elt_size_in_bytes()) as i64;
        let mut z = Tensor::arange(words, (Kind::Int64, device));
        let _ = z.g_mul_scalar_(STEP as i64).g_add_scalar_(self.seed.wrapping_add(STEP) as i64);
        for (shift, factor) in [(30, Some(FACTORS[0])), (27, Some(FACTORS[1])), (31, None)] {
            // int64 shifts its sign in from above; the mask takes it off.
            let mut shifted = z.bitwise_right_shift_tensor_scalar(shift);
            let _ = z.bitwise_xor_tensor_(&shifted.bitwise_and_(i64::MAX >> (shift - 1)));
            if let Some(factor) = factor {
                let _ = z.g_mul_scalar_(factor as i64);
            }
        }
        z.view_dtype(kind).narrow(0, 0, n as i64)
    }
}

/// A xoshiro256++ generator. The draws are spelled out here, so that a seed keeps its meaning when
/// a crate changes how it samples.
#[derive(Debug, Clone)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The generator of the stream at (seed, stream, epoch, step).
    pub fn new(seed: u64, stream: Stream, epoch: u64, step: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(stream_seed(seed, stream, epoch, step)))
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..n`; 0 when `n` is 0. The bias of the multiply-shift is below n·2⁻⁶⁴.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Standard normal, by Box and Muller (1958); the second number of the pair is not kept.
    pub fn normal(&mut self) -> f64 {
        // 1 − u lies in (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Fisher and Yates: every order of `items` is equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_address_changes_the_stream() {
        let base = stream_seed(1, Stream::Shuffle, 2, 3);
        assert_eq!(base, stream_seed(1, Stream::Shuffle, 2, 3));
        for other in [
            stream_seed(2, Stream::Shuffle, 2, 3),
            stream_seed(1, Stream::Init, 2, 3),
            stream_seed(1, Stream::Shuffle, 3, 3),
            stream_seed(1, Stream::Shuffle, 3, 2),
            stream_seed(1, Stream::Shuffle, 2, 4),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_seed_keeps_its_meaning() {
        // Runs are resumed by later builds: these numbers may never change.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        let mut random = Random::new(0, Stream::Shuffle, 1, 0);
        let mut order: Vec<u8> = (0..10).collect();
        random.shuffle(&mut order);
        assert_eq!(order, [5, 3, 9, 7, 2, 1, 4, 6, 8, 0]);
    }

    #[test]
    fn draws_have_the_moments_they_promise() {
        let mut random = Random::new(7, Stream::Sample, 0, 0);
        let n = 100_000;
        let normals: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let variance = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!((0..1000).map(|_| random.between(2.0, 3.0)).all(|x| (2.0..3.0).contains(&x)));
        let mut counts = [0; 5];
        (0..50_000).for_each(|_| counts[random.below(5)] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_counter_stream_is_splitmix64_by_its_definition() {
        // The first outputs of the authors' C code for seed 0.
        let stream = CounterStream { seed: 0 };
        assert_eq!(
            [0, 1, 2].map(|index| stream.word(index)),
            [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
        );
    }

    #[test]
    fn every_device_draws_the_same_numbers() {
        for (seed, n) in [(0, 1), (1, 2), (7, 9), (u64::MAX, 4096), (3, 0)] {
            let stream = CounterStream::new(seed, Stream::Dropout, 1, 2);
            // The CPU's tensor operations stand in for those of another device.
            assert_eq!(stream.int32(n, Device::Cpu), stream.on_device(n, Kind::Int, Device::Cpu));
            assert_eq!(stream.int16(n, Device::Cpu), stream.on_device(n, Kind::Int16, Device::Cpu));
        }
        let stream = CounterStream { seed: 0 };
        let halves = Vec::<i32>::try_from(stream.int32(3, Device::Cpu)).unwrap();
        assert_eq!(halves, [0x7b1d_cdaf_u32 as i32, 0xe220_a839_u32 as i32, 0xa1b9_65f4_u32 as i32]);
    }

    #[test]
    fn numbers_of_a_counter_stream_are_uniform() {
        let stream = CounterStream::new(7, Stream::Elastic, 0, 0);
        let n = 100_001;
        for numbers in [stream.int16(n, Device::Cpu) / 32_768.0, stream.int32(n, Device::Cpu) / 2f64.powi(31)]
        {
            let (mean, square) = (numbers.mean(Kind::Double), numbers.square().mean(Kind::Double));
            let [mean, square] = [mean, square].map(|number| number.double_value(&[]));
            assert!(mean.abs() < 0.01 && (square - 1.0 / 3.0).abs() < 0.01, "{mean} {square}");
        }
    }
}
