//! 16 channels at once.

use std::arch::x86_64::*;

use super::{LANE, Terms};
use crate::kernels::{
    each::each,
    epilogue::avx512_vnni::{Registers, look_up},
    x86,
};

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn row(terms: &Terms<'_>, a: &[[u8; LANE]], b: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    if terms.epilogue.slope().is_some() {
        sums::<true>(terms, a, b, y);
    } else {
        sums::<false>(terms, a, b, y);
    }
}

/// The same with or without a slope.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sums<const LEAKY: bool>(
    terms: &Terms<'_>,
    a: &[[u8; LANE]],
    b: &[[u8; LANE]],
    y: &mut [[u8; LANE]],
) {
    let epilogue = Registers::<LEAKY>::new(&terms.epilogue);
    let scales = each(terms.scales, |scale| _mm512_set1_ps(scale));
    let zeros = each(terms.zero_points, |zero| _mm512_set1_epi32(i32::from(zero)));
    for ((a, b), y) in a.iter().zip(b).zip(y.iter_mut()) {
        let steps = |i: usize, pixel| {
            let bytes = _mm512_cvtepu8_epi32(x86::load_u8x16(pixel));
            let steps = _mm512_cvtepi32_ps(_mm512_sub_epi32(bytes, zeros[i]));
            _mm512_mul_ps(steps, scales[i])
        };
        let bytes = epilogue.bytes(_mm512_add_ps(steps(0, a), steps(1, b)));
        x86::store_u8x16(y, _mm512_cvtepi32_epi8(bytes));
    }
    look_up(&terms.epilogue, y);
}
