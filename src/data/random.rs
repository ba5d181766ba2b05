//! The one source of chance: every random stream of the project begins at [`stream_seed`], so what
//! is drawn depends on (seed, stream, epoch, step) alone. Touches no global generator.

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{RngCore, SeedableRng},
};

/// What a random stream is for; streams of different purpose never meet.
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
}

/// The seed of the stream for one purpose at one epoch and step.
///
/// A chain of `SplitMix64` steps (Steele, Lea, Flood 2014): `s ← mix(seed)`, then
/// `s ← mix(s xor word)` for the stream's number, the epoch and the step. As `mix` is a bijection,
/// two calls that differ in one word alone never give the same seed.
pub fn stream_seed(seed: u64, stream: Stream, epoch: u64, step: u64) -> u64 {
    [stream as u64, epoch, step].into_iter().fold(mix(seed), |state, word| mix(state ^ word))
}

fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
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

    /// Every 16-bit number is equally likely; four come of one draw.
    pub fn fill(&mut self, numbers: &mut [i16]) {
        for four in numbers.chunks_mut(4) {
            let word = self.0.next_u64();
            for (place, number) in four.iter_mut().enumerate() {
                *number = (word >> (16 * place)) as i16;
            }
        }
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
        let mut numbers = vec![0; n as usize + 1];
        random.fill(&mut numbers);
        let mean = numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / f64::from(n) / 32_768.0;
        let square = numbers.iter().map(|x| (f64::from(*x) / 32_768.0).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.01 && (square - 1.0 / 3.0).abs() < 0.01, "{mean} {square}");
        let mut counts = [0; 5];
        (0..50_000).for_each(|_| counts[random.below(5)] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
