//! Sixteen numbers at once: reading and writing them, all bounds known to the compiler.

use std::arch::x86_64::{
    __m512, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_permutexvar_ps, _mm512_setr_epi32,
    _mm512_storeu_ps,
};

use super::block::LANES;

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector loads take pointers")]
pub(super) fn load(from: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has the sixteen numbers that are read; they need no alignment.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector stores take pointers")]
pub(super) fn store(to: &mut [f32; LANES], values: __m512) {
    // SAFETY: the array has room for the sixteen numbers that are written; they need no alignment.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
}

/// Stores the first numbers, as many as `to` has room for, sixteen at most.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector stores take pointers")]
pub(super) fn store_first(to: &mut [f32], values: __m512) {
    let lanes = to.len().min(LANES);
    let mask = ((1u32 << lanes) - 1) as u16;
    // SAFETY: only the lanes of the mask are written, and `to` has room for so many.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask, values) }
}

/// The even lanes, in the first eight.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn evens(values: __m512) -> __m512 {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
    _mm512_permutexvar_ps(even, values)
}
