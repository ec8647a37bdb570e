//! Requantises 16 channels at once.

use std::arch::x86_64::*;

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::{
    tile::{Tiles, avx512_vnni::sums},
    x86,
};

pub(super) const TILES: Tiles<TileFn> = conv_tiles!(
    signed: false, blocks: [1, 2], widths: [14, 12, 10, 8, 6, 5, 4, 3, 2, 1]);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    const NEAREST_EVEN: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    let sums = sums::<P, NB, G, STEP>(&tile.operands);
    let [low, high] = tile.epilogue.bounds().map(|bound| _mm512_set1_ps(bound));
    let zero_point = _mm512_set1_epi32(i32::from(tile.epilogue.zero_point));
    for (b, y) in y.iter_mut().take(NB).enumerate() {
        let scale = x86::load_f32x16(tile.scale(b));
        for (sums, y) in sums.iter().zip(y.as_chunks_mut().0) {
            let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[b]), scale);
            let steps = _mm512_min_ps(_mm512_max_ps(steps, low), high);
            let steps = _mm512_cvt_roundps_epi32::<NEAREST_EVEN>(steps);
            let bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(steps, zero_point));
            x86::store_u8x16(y, bytes);
        }
        tile.epilogue.look_up(&mut y.as_chunks_mut().0[..P]);
    }
}
