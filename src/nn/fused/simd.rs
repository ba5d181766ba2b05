//! Sixteen numbers at once: reading and writing them, all bounds known to the compiler.

use std::{
    arch::x86_64::{
        __m256bh, __m256i, __m512, __m512bh, __m512i, _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps,
        _mm512_maskz_loadu_ps, _mm512_or_epi32, _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_setr_epi32,
        _mm512_slli_epi32, _mm512_storeu_ps,
    },
    mem::transmute,
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
    // SAFETY: only the lanes of the mask are written, and `to` has room for so many.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), values) }
}

/// Moves the even lanes into the first eight.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn evens(values: __m512) -> __m512 {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
    _mm512_permutexvar_ps(even, values)
}

/// The first numbers, as many as there are, sixteen at most; then zeros.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector loads take pointers")]
pub(super) fn load_first(from: &[f32]) -> __m512 {
    // SAFETY: only the lanes of the mask are read, and `from` has so many numbers.
    unsafe { _mm512_maskz_loadu_ps(first(from.len()), from.as_ptr()) }
}

/// Sixteen pairs of bfloat16.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector loads take pointers, and pairs have no instructions of their own")]
pub(super) fn load_pairs(from: &[u32; LANES]) -> __m512bh {
    // SAFETY: the array has the sixteen pairs that are read; a vector is its bits, whatever its type.
    unsafe { transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.as_ptr().cast())) }
}

/// The same pair in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "pairs have no instructions of their own")]
pub(super) fn splat_pair(pair: u32) -> __m512bh {
    // SAFETY: a vector is its bits, whatever its type.
    unsafe { transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair.cast_signed())) }
}

/// Stores pairs of the nearest bfloat16s, as many as `to` has room for, sixteen at most.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
#[expect(unsafe_code, reason = "vector stores take pointers, and bfloat16 has no shifts of its own")]
pub(super) fn store_pairs(to: &mut [u32], low: __m512, high: __m512) {
    // SAFETY: a vector is its bits, whatever its type.
    let wide = |bf16: __m512| unsafe {
        _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(bf16)))
    };
    let pairs = _mm512_or_epi32(wide(low), _mm512_slli_epi32::<16>(wide(high)));
    // SAFETY: only the lanes of the mask are written, and `to` has room for so many.
    unsafe { _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), first(to.len()), pairs) }
}

/// The mask of the first lanes, sixteen at most.
fn first(lanes: usize) -> u16 {
    ((1u32 << lanes.min(LANES)) - 1) as u16
}
