//! `VPSHUFB`: two pixels at once, each in its half of a register.

use std::arch::x86_64::*;

use super::LANE;
use crate::kernels::x86;

#[target_feature(enable = "avx2")]
pub(super) fn merge(lanes: &[u8; LANE], x: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    let lanes = x86::load_u8x16(lanes);
    let both = _mm256_broadcastsi128_si256(lanes);
    let (pairs, last) = x.as_chunks::<2>();
    let (y_pairs, y_last) = y.as_chunks_mut::<2>();
    let pairs = pairs.as_flattened().as_flattened().as_chunks().0;
    let y_pairs = y_pairs.as_flattened_mut().as_flattened_mut();
    for (x, y) in pairs.iter().zip(y_pairs.as_chunks_mut().0) {
        let sent = _mm256_shuffle_epi8(x86::load_u8x32(x), both);
        x86::store_u8x32(y, _mm256_or_si256(x86::load_u8x32(y), sent));
    }
    for (x, y) in last.iter().zip(y_last) {
        let sent = _mm_shuffle_epi8(x86::load_u8x16(x), lanes);
        x86::store_u8x16(y, _mm_or_si128(x86::load_u8x16(y), sent));
    }
}
