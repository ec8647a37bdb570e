//! 8 channels at once.

use std::arch::x86_64::*;

use super::{LANE, Terms};
use crate::kernels::{
    each::each,
    epilogue::avx2::{Registers, look_up},
    x86,
};

#[target_feature(enable = "avx2")]
pub(super) fn row(terms: &Terms<'_>, a: &[[u8; LANE]], b: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    if terms.epilogue.slope().is_some() {
        sums::<true>(terms, a, b, y);
    } else {
        sums::<false>(terms, a, b, y);
    }
}

/// The same with or without a slope.
#[inline]
#[target_feature(enable = "avx2")]
fn sums<const LEAKY: bool>(
    terms: &Terms<'_>,
    a: &[[u8; LANE]],
    b: &[[u8; LANE]],
    y: &mut [[u8; LANE]],
) {
    let epilogue = Registers::<LEAKY>::new(&terms.epilogue);
    let scales = each(terms.scales, |scale| _mm256_set1_ps(scale));
    let zeros = each(terms.zero_points, |zero| _mm256_set1_epi32(i32::from(zero)));
    for ((a, b), y) in a.iter().zip(b).zip(y.iter_mut()) {
        let [a, b] = each([a, b], |pixel| x86::load_u8x16(pixel));
        let bytes = |a, b| {
            let steps = |i: usize, bytes| {
                let steps = _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), zeros[i]);
                _mm256_mul_ps(_mm256_cvtepi32_ps(steps), scales[i])
            };
            epilogue.bytes(_mm256_add_ps(steps(0, a), steps(1, b)))
        };
        let first = bytes(a, b);
        let second = bytes(_mm_srli_si128::<8>(a), _mm_srli_si128::<8>(b));
        // Packing works within halves of a register: 0-3 8-11 | 4-7 12-15.
        let words = _mm256_packs_epi32(first, second);
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
        let high = _mm256_extracti128_si256::<1>(words);
        x86::store_u8x16(y, _mm_packus_epi16(_mm256_castsi256_si128(words), high));
    }
    look_up(&terms.epilogue, y);
}
