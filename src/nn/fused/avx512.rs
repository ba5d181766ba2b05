//! The instructions of AVX-512 behind proofs that the processor has them.

use std::{
    arch::x86_64::{
        __m256bh, __m256i, __m512, __m512bh, __m512i, _CMP_EQ_OQ, _CMP_UNORD_Q, _mm512_add_ps,
        _mm512_cmp_ps_mask, _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_mov_ps, _mm512_mask_storeu_epi32,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_or_epi32, _mm512_permute_ps,
        _mm512_permutexvar_ps, _mm512_reduce_add_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32,
        _mm512_slli_epi32, _mm512_storeu_ps,
    },
    mem::{MaybeUninit, transmute},
};

use super::{
    block::LANES,
    simd::{Kernel, PairKernel, PairSimd, Simd},
};

/// The proof that the processor has AVX-512F. Its field is private, so that `detect` alone can make one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

/// The proof that the processor has AVX-512F, AVX512-VL and AVX512-BF16. `detect` alone can make one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512Bf16(Avx512);

impl Avx512 {
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }
}

impl Avx512Bf16 {
    pub fn detect(simd: Avx512) -> Option<Self> {
        let features = [is_x86_feature_detected!("avx512bf16"), is_x86_feature_detected!("avx512vl")];
        (features == [true; 2]).then_some(Self(simd))
    }
}

#[expect(unsafe_code, reason = "the instructions are unsafe to call where the compiler does not expect them")]
impl Simd for Avx512 {
    type Vector = __m512;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f")]
        fn compiled<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the processor has AVX-512F, the only feature that `compiled` asks for.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F. The sixteen numbers that are read are those
        // of the array, and the instruction needs no alignment.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn load_first(self, from: &[f32]) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F. The mask has at most `from.len()` bits, its
        // lowest ones, and lanes outside of the mask are not read.
        unsafe { _mm512_maskz_loadu_ps(first(from.len()), from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], values: __m512) {
        // SAFETY: `self` proves that the processor has AVX-512F. The sixteen numbers that are written are
        // those of the array, and the instruction needs no alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn store_first(self, to: &mut [MaybeUninit<f32>], values: __m512) {
        // SAFETY: `self` proves that the processor has AVX-512F. The mask has at most `to.len()` bits, its
        // lowest ones, and lanes outside of the mask are not written; nothing is read, and a
        // `MaybeUninit<f32>` has the layout of an f32.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr().cast(), first(to.len()), values) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, values: __m512) -> f32 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_reduce_add_ps(values) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn equal(self, a: __m512, b: __m512) -> u16 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }

    #[inline(always)]
    fn is_nan(self, values: __m512) -> u16 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values) }
    }

    #[inline(always)]
    fn select(self, mask: u16, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_mask_mov_ps(no, mask, yes) }
    }

    #[inline(always)]
    fn swap_neighbours(self, values: __m512) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instruction touches no memory.
        unsafe { _mm512_permute_ps::<0b10_11_00_01>(values) }
    }

    #[inline(always)]
    fn evens(self, values: __m512) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512F; the instructions touch no memory.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
            _mm512_permutexvar_ps(even, values)
        }
    }
}

#[expect(unsafe_code, reason = "the instructions are unsafe to call where the compiler does not expect them")]
impl PairSimd for Avx512Bf16 {
    type Simd = Avx512;
    type Pairs = __m512bh;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn run<K: PairKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
        fn compiled<K: PairKernel>(simd: Avx512Bf16, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the processor has the three features that `compiled` asks for.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, pair: u32) -> __m512bh {
        // SAFETY: `self` proves that the processor has AVX-512F, and the instruction touches no memory. Both
        // types are 512 bits without padding, and every pattern of bits is a value of either.
        unsafe { transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair.cast_signed())) }
    }

    #[inline(always)]
    fn load(self, from: &[u32; LANES]) -> __m512bh {
        // SAFETY: `self` proves that the processor has AVX-512F. The sixteen pairs that are read are those of
        // the array, and the instruction needs no alignment. Both types are 512 bits without padding, and
        // every pattern of bits is a value of either.
        unsafe { transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add_products(self, sums: __m512, a: __m512bh, b: __m512bh) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX512-BF16; the instruction touches no memory.
        unsafe { _mm512_dpbf16_ps(sums, a, b) }
    }

    #[inline(always)]
    fn store_first(self, to: &mut [u32], low: __m512, high: __m512) {
        // SAFETY: `self` proves that the processor has the three features. The instructions before the last
        // touch no memory; `__m256bh` and `__m256i` are 256 bits without padding, and every pattern of bits
        // is a value of either. The last one's mask has at most `to.len()` bits, its lowest ones, and lanes
        // outside of the mask are not written.
        unsafe {
            let low = _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(low)));
            let high = _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(high)));
            let pairs = _mm512_or_epi32(low, _mm512_slli_epi32::<16>(high));
            _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), first(to.len()), pairs);
        }
    }
}

/// The mask of the first lanes, sixteen at most.
#[inline(always)]
fn first(lanes: usize) -> u16 {
    ((1u32 << lanes.min(LANES)) - 1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::fused::{scalar::Scalar, tests::skipped};

    /// What every operation gives for these lanes, the numbers of vectors as their bits.
    fn results<S: Simd>(simd: S, a: &[f32; LANES], b: &[f32; LANES]) -> Vec<u32> {
        let mut bits = Vec::new();
        let mut keep = |values| {
            let mut lanes = [0.0; LANES];
            simd.store(&mut lanes, values);
            bits.extend(lanes.map(f32::to_bits));
        };
        let (a, b, first) = (simd.load(a), simd.load(b), a);
        keep(simd.splat(first[2]));
        keep(simd.add(a, b));
        keep(simd.mul_add(a, b, a));
        keep(simd.max(a, b));
        keep(simd.select(0b1010_0000_1111_0001, a, b));
        keep(simd.swap_neighbours(a));
        keep(simd.evens(b));
        for lanes in 0..=LANES {
            keep(simd.load_first(&first[..lanes]));
            let mut stored = vec![MaybeUninit::new(0.5); lanes];
            simd.store_first(&mut stored, a);
            // Copied by the instructions themselves, so that what was not written shows as the 0.5.
            keep(simd.load_first(&stored.iter().map(|value| read(*value)).collect::<Vec<f32>>()));
        }
        bits.extend([simd.equal(a, b), simd.is_nan(a), simd.is_nan(b)].map(u32::from));
        bits.push(simd.sum(simd.load_first(&first[..2])).to_bits());
        bits
    }

    #[expect(unsafe_code, reason = "the test has written the value")]
    fn read(value: MaybeUninit<f32>) -> f32 {
        // SAFETY: every value of the test began as 0.5.
        unsafe { value.assume_init() }
    }

    #[test]
    fn every_instruction_gives_what_plain_arrays_give() {
        let Some(simd) = Avx512::detect() else { return skipped("AVX-512") };
        let mut a: [f32; LANES] = std::array::from_fn(|lane| lane as f32 - 3.5);
        let mut b: [f32; LANES] = std::array::from_fn(|lane| 7.5 - (lane * lane) as f32);
        assert_eq!(results(simd, &a, &b), results(Scalar, &a, &b));
        // NaN on either side, and two zeros.
        (a[1], b[4], a[6], b[6], a[9]) = (f32::NAN, f32::NAN, 0.0, -0.0, b[9]);
        let (found, expected) = (results(simd, &a, &b), results(Scalar, &a, &b));
        let number = |bits: &u32| f32::from_bits(*bits);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found == expected || number(found).is_nan() && number(expected).is_nan());
        }
    }

    #[test]
    fn pairs_are_rounded_and_multiplied_as_plain_arrays_are() {
        let Some(simd) = Avx512::detect().and_then(Avx512Bf16::detect) else {
            return skipped("AVX512-BF16");
        };
        let low: [f32; LANES] = std::array::from_fn(|lane| lane as f32 * 0.37 - 2.0);
        let high: [f32; LANES] = std::array::from_fn(|lane| 1.0 / (lane as f32 + 0.7));
        for lanes in 0..=LANES {
            let (mut found, mut expected) = (vec![0; lanes], vec![0; lanes]);
            let base = simd.simd();
            simd.store_first(&mut found, base.load(&low), base.load(&high));
            PairSimd::store_first(Scalar, &mut expected, low, high);
            assert_eq!(found, expected);
        }
    }
}
