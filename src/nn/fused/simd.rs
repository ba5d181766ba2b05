//! What the kernels need of a processor: vectors of sixteen float32 numbers, with all bounds known to the
//! compiler. The kernels are generic over it, so that tests run the same code on processors without AVX-512.

use std::mem::MaybeUninit;

use super::block::LANES;

/// The instructions for vectors of float32. A value of such a type proves that the processor has them, so
/// that no function can reach an instruction without that proof.
///
/// An implementation marks every method `#[inline(always)]`: only what is inlined into `run` is compiled for
/// the processor.
pub(super) trait Simd: Copy {
    /// Sixteen float32 numbers.
    type Vector: Copy;

    /// Runs a kernel that is compiled for these instructions.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// Puts the same number in all lanes.
    fn splat(self, value: f32) -> Self::Vector;

    fn load(self, from: &[f32; LANES]) -> Self::Vector;

    /// Loads the first numbers, as many as there are, sixteen at most; the other lanes are 0.
    fn load_first(self, from: &[f32]) -> Self::Vector;

    fn store(self, to: &mut [f32; LANES], values: Self::Vector);

    /// Stores the first numbers, as many as `to` has room for, sixteen at most.
    fn store_first(self, to: &mut [MaybeUninit<f32>], values: Self::Vector);

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// Computes `a * b + c` with one rounding.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// Adds all lanes.
    fn sum(self, values: Self::Vector) -> f32;

    /// Returns the larger number of each lane: `b` where one of the two is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The mask of the lanes in which the numbers are equal; NaN equals nothing.
    fn equal(self, a: Self::Vector, b: Self::Vector) -> u16;

    /// The mask of the lanes that are NaN.
    fn is_nan(self, values: Self::Vector) -> u16;

    /// Takes the lanes of the mask from `yes` and the others from `no`.
    fn select(self, mask: u16, yes: Self::Vector, no: Self::Vector) -> Self::Vector;

    /// Swaps the two lanes of each pair of neighbours.
    fn swap_neighbours(self, values: Self::Vector) -> Self::Vector;

    /// Moves the even lanes into the first eight.
    fn evens(self, values: Self::Vector) -> Self::Vector;
}

/// The instructions for pairs of bfloat16, the first of a pair in the lower half of 32 bits. The same holds
/// for them as for [`Simd`].
pub(super) trait PairSimd: Copy {
    /// The instructions for float32 that the same processor has.
    type Simd: Simd;
    /// Sixteen pairs.
    type Pairs: Copy;

    fn simd(self) -> Self::Simd;

    /// Runs a kernel that is compiled for these instructions.
    fn run<K: PairKernel>(self, kernel: K) -> K::Output;

    /// Puts the same pair in all lanes.
    fn splat(self, pair: u32) -> Self::Pairs;

    fn load(self, from: &[u32; LANES]) -> Self::Pairs;

    /// Adds to each lane the two products of its pairs.
    fn add_products(self, sums: VectorOf<Self>, a: Self::Pairs, b: Self::Pairs) -> VectorOf<Self>;

    /// Stores pairs of the nearest bfloat16 numbers, as many as `to` has room for, sixteen at most.
    fn store_first(self, to: &mut [u32], low: VectorOf<Self>, high: VectorOf<Self>);
}

/// Sixteen float32 numbers of the processor that has these instructions for pairs.
pub(super) type VectorOf<P> = <<P as PairSimd>::Simd as Simd>::Vector;

/// A computation on vectors of float32. An implementation marks `run`, and every generic function that it
/// calls, `#[inline(always)]`.
pub(super) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A computation on pairs of bfloat16. The same holds for it as for [`Kernel`].
pub(super) trait PairKernel {
    type Output;

    fn run<P: PairSimd>(self, simd: P) -> Self::Output;
}
