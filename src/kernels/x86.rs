//! Loads and stores of x86-64 registers.
//!
//! # Safety
//!
//! The only `unsafe` of the x86 kernels is here: each function moves exactly the
//! array it is given, whose type proves the bytes are there, with an instruction
//! that asks for no alignment. The features they enable are their callers'.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::layout::ROW;

/// Loads 16 integers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_i32x16(from: &[i32; 16]) -> __m512i {
    // SAFETY: `from` is 64 readable bytes.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// Loads 64 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_u8x64(from: &[u8; 64]) -> __m512i {
    // SAFETY: `from` is 64 readable bytes.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// Stores 64 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_u8x64(to: &mut [u8; 64], values: __m512i) {
    // SAFETY: `to` is 64 writable bytes.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), values) }
}

/// Loads 16 floats.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_f32x16(from: &[f32; 16]) -> __m512 {
    // SAFETY: `from` is 64 readable bytes.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

/// Loads a row of weights.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_row512(from: &[i8; ROW]) -> __m512i {
    // SAFETY: `from` is 64 readable bytes.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// Stores 16 floats.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_f32x16(to: &mut [f32; 16], values: __m512) {
    // SAFETY: `to` is 64 writable bytes.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
}

/// Loads 16 weights.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load_i8x16(from: &[i8; 16]) -> __m128i {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// Loads 32 weights.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_i8x32(from: &[i8; 32]) -> __m256i {
    // SAFETY: `from` is 32 readable bytes.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// Loads 16 bytes.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load_u8x16(from: &[u8; 16]) -> __m128i {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// Loads 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_u8x32(from: &[u8; 32]) -> __m256i {
    // SAFETY: `from` is 32 readable bytes.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// Stores 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_u8x32(to: &mut [u8; 32], values: __m256i) {
    // SAFETY: `to` is 32 writable bytes.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), values) }
}

/// Loads 4 integers.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load_i32x4(from: &[i32; 4]) -> __m128i {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// Loads 4 floats.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load_f32x4(from: &[f32; 4]) -> __m128 {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { _mm_loadu_ps(from.as_ptr()) }
}

/// Stores 16 bytes.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn store_u8x16(to: &mut [u8; 16], values: __m128i) {
    // SAFETY: `to` is 16 writable bytes.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), values) }
}

/// Loads 8 integers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_i32x8(from: &[i32; 8]) -> __m256i {
    // SAFETY: `from` is 32 readable bytes.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// Loads 8 floats.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_f32x8(from: &[f32; 8]) -> __m256 {
    // SAFETY: `from` is 32 readable bytes.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

/// Stores 8 floats.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_f32x8(to: &mut [f32; 8], values: __m256) {
    // SAFETY: `to` is 32 writable bytes.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), values) }
}

/// Does `16 · rounds` independent `VPDPBUSD`: what the bench measures kernels against.
///
/// Returns a number made of the results, or `None` if this CPU has no VNNI.
#[doc(hidden)]
#[must_use]
pub fn vnni_peak(rounds: usize) -> Option<i32> {
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn spin(rounds: usize) -> i32 {
        let mut sums = [_mm512_setzero_si512(); 16];
        let x = _mm512_set1_epi32(std::hint::black_box(0x0102_0304));
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, x, x);
            }
        }
        let total = sums.into_iter().reduce(|a, b| _mm512_add_epi32(a, b));
        total.map_or(0, |total| _mm512_reduce_add_epi32(total))
    }
    let vnni = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
    // SAFETY: both features were just detected.
    vnni.then(|| unsafe { spin(rounds) })
}
