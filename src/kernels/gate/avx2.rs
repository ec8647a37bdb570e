//! 8 channels at once.

use std::arch::x86_64::*;

use super::{LANE, Terms};
use crate::kernels::{
    epilogue::{Activation, Epilogue, avx2::Registers},
    x86,
};

#[target_feature(enable = "avx2")]
pub(super) fn row(terms: &Terms, x: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    let [zero_in, zero_out] = terms.zero_points;
    let epilogue = Registers::<false>::new(&Epilogue {
        zero_point: zero_out,
        low: 0,
        high: 255,
        activation: Activation::None,
    });
    let (scale, zero) = (
        _mm256_set1_ps(terms.scale),
        _mm256_set1_epi32(i32::from(zero_in)),
    );
    let g = terms.gate;
    let first = _mm256_setr_epi32(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7]);
    let second = _mm256_setr_epi32(g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
    for (x, y) in x.iter().zip(y) {
        let x = x86::load_u8x16(x);
        let bytes = |x, gate| {
            let product = _mm256_mullo_epi32(_mm256_sub_epi32(_mm256_cvtepu8_epi32(x), zero), gate);
            epilogue.bytes(_mm256_mul_ps(_mm256_cvtepi32_ps(product), scale))
        };
        let (low, high) = (bytes(x, first), bytes(_mm_srli_si128::<8>(x), second));
        // Packing works within halves of a register: 0-3 8-11 | 4-7 12-15.
        let words = _mm256_packs_epi32(low, high);
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
        let high = _mm256_extracti128_si256::<1>(words);
        x86::store_u8x16(y, _mm_packus_epi16(_mm256_castsi256_si128(words), high));
    }
}
