//! The vectors of `simd` as plain arrays, so that the kernels can be tested on every processor. They are for
//! tests alone: libtorch is faster than kernels without vector instructions.

use std::{array, mem::MaybeUninit};

use super::{
    bf16::rounded,
    block::LANES,
    simd::{Kernel, PairKernel, PairSimd, Simd},
};

/// The instructions that every processor has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

impl Simd for Scalar {
    type Vector = [f32; LANES];

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    fn load(self, from: &[f32; LANES]) -> Self::Vector {
        *from
    }

    fn load_first(self, from: &[f32]) -> Self::Vector {
        array::from_fn(|lane| from.get(lane).copied().unwrap_or_default())
    }

    fn store(self, to: &mut [f32; LANES], values: Self::Vector) {
        *to = values;
    }

    fn store_first(self, to: &mut [MaybeUninit<f32>], values: Self::Vector) {
        for (to, value) in to.iter_mut().zip(values) {
            to.write(value);
        }
    }

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        array::from_fn(|lane| a[lane] + b[lane])
    }

    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    fn sum(self, values: Self::Vector) -> f32 {
        values.iter().sum()
    }

    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    fn equal(self, a: Self::Vector, b: Self::Vector) -> u16 {
        mask(|lane| a[lane] == b[lane])
    }

    fn is_nan(self, values: Self::Vector) -> u16 {
        mask(|lane| values[lane].is_nan())
    }

    fn select(self, mask: u16, yes: Self::Vector, no: Self::Vector) -> Self::Vector {
        array::from_fn(|lane| if mask >> lane & 1 == 1 { yes[lane] } else { no[lane] })
    }

    fn swap_neighbours(self, values: Self::Vector) -> Self::Vector {
        array::from_fn(|lane| values[lane ^ 1])
    }

    fn evens(self, values: Self::Vector) -> Self::Vector {
        array::from_fn(|lane| values[2 * lane % LANES])
    }
}

impl PairSimd for Scalar {
    type Simd = Self;
    type Pairs = [u32; LANES];

    fn simd(self) -> Self {
        self
    }

    fn run<K: PairKernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    fn splat(self, pair: u32) -> Self::Pairs {
        [pair; LANES]
    }

    fn load(self, from: &[u32; LANES]) -> Self::Pairs {
        *from
    }

    fn add_products(self, sums: [f32; LANES], a: Self::Pairs, b: Self::Pairs) -> [f32; LANES] {
        let [low, high] = [|pair: u32| f32::from_bits(pair << 16), |pair| f32::from_bits(pair & 0xffff_0000)];
        array::from_fn(|lane| sums[lane] + high(a[lane]) * high(b[lane]) + low(a[lane]) * low(b[lane]))
    }

    fn store_first(self, to: &mut [u32], low: [f32; LANES], high: [f32; LANES]) {
        for (to, (low, high)) in to.iter_mut().zip(low.into_iter().zip(high)) {
            *to = rounded(low) | rounded(high) << 16;
        }
    }
}

fn mask(holds: impl Fn(usize) -> bool) -> u16 {
    (0..LANES).map(|lane| u16::from(holds(lane)) << lane).sum()
}
