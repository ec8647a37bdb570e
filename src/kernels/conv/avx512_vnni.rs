//! Requantises 16 channels at once.

use std::arch::x86_64::*;

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::{
    epilogue::avx512_vnni::{Registers, look_up},
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
    let sums = sums::<P, NB, G, STEP>(&tile.operands);
    if tile.epilogue.slope().is_some() {
        store::<P, NB, true>(tile, &sums, y);
    } else {
        store::<P, NB, false>(tile, &sums, y);
    }
}

/// Requantises a tile's sums into its planes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn store<const P: usize, const NB: usize, const LEAKY: bool>(
    tile: &Tile<'_>,
    sums: &[[__m512i; NB]; P],
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let epilogue = Registers::<LEAKY>::new(&tile.epilogue);
    for (b, y) in y.iter_mut().take(NB).enumerate() {
        let scale = x86::load_f32x16(tile.scale(b));
        let y = &mut y.as_chunks_mut().0[..P];
        for (sums, y) in sums.iter().zip(y.iter_mut()) {
            let bytes = epilogue.bytes(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[b]), scale));
            x86::store_u8x16(y, _mm512_cvtepi32_epi8(bytes));
        }
        look_up(&tile.epilogue, y);
    }
}
