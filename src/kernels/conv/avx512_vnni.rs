//! Requantises 16 channels at once.

use std::arch::x86_64::*;

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::{
    epilogue::avx512_vnni::{Registers, look_up},
    tile::{Tiles, avx512_vnni::sums},
    x86,
};

pub(super) const TILES: Tiles<TileFn> = conv_tiles!(
    tile, signed: false, blocks: [1, 2], widths: [14, 12, 10, 8, 6, 5, 4, 3, 2, 1]);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let leaky = tile.epilogue.slope().is_some();
    for (row, operands) in tile.rows().enumerate() {
        let sums = sums::<P, NB, G, STEP>(&operands);
        if leaky {
            store::<P, NB, G, STEP, true>(tile, &sums, y, row);
        } else {
            store::<P, NB, G, STEP, false>(tile, &sums, y, row);
        }
    }
}

/// Requantises the sums of a row's tile into its planes.
///
/// `G` and `STEP` change nothing here; with them each caller has a function of its own,
/// which is inlined, and sums stay in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn store<const P: usize, const NB: usize, const G: usize, const STEP: usize, const LEAKY: bool>(
    tile: &Tile<'_>,
    sums: &[[__m512i; NB]; P],
    y: &mut [&mut [u8]; MAX_BLOCKS],
    row: usize,
) {
    let epilogue = Registers::<LEAKY>::new(&tile.epilogue);
    for (b, y) in y.iter_mut().take(NB).enumerate() {
        let scale = x86::load_f32x16(tile.scale(b));
        let y = tile.pixels::<P>(y, row);
        for (sums, y) in sums.iter().zip(y.iter_mut()) {
            let bytes = epilogue.bytes(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[b]), scale));
            x86::store_u8x16(y, _mm512_cvtepi32_epi8(bytes));
        }
        look_up(&tile.epilogue, y);
    }
}
