//! Requantises 8 channels at once.

use std::arch::x86_64::*;

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::{
    epilogue::avx2::{Registers, look_up},
    tile::{
        Tiles,
        avx2::{calm, narrow, sums},
    },
    x86,
};

pub(super) const TILES: Tiles<TileFn> =
    conv_tiles!(tile, signed: false, blocks: [1], widths: [3, 2, 1]);

/// The same for narrow weights.
pub(super) const NARROW: Tiles<TileFn> =
    conv_tiles!(narrow_tile, signed: false, blocks: [1], widths: [5, 4, 3, 2, 1]);

/// The same for calm ones.
pub(super) const CALM: Tiles<TileFn> =
    conv_tiles!(calm_tile, signed: false, blocks: [1], widths: [3, 2, 1]);

#[target_feature(enable = "avx2")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let leaky = tile.epilogue.slope().is_some();
    for (row, operands) in tile.rows().enumerate() {
        let sums = sums::<P, NB, G, STEP>(&operands);
        if leaky {
            store::<P, NB, G, STEP, 0, true>(tile, &sums, y, row);
        } else {
            store::<P, NB, G, STEP, 0, false>(tile, &sums, y, row);
        }
    }
}

#[target_feature(enable = "avx2")]
fn narrow_tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let leaky = tile.epilogue.slope().is_some();
    for (row, operands) in tile.rows().enumerate() {
        let sums = narrow::<P, NB, G, STEP>(&operands);
        if leaky {
            store::<P, NB, G, STEP, 1, true>(tile, &sums, y, row);
        } else {
            store::<P, NB, G, STEP, 1, false>(tile, &sums, y, row);
        }
    }
}

#[target_feature(enable = "avx2")]
fn calm_tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let leaky = tile.epilogue.slope().is_some();
    for (row, operands) in tile.rows().enumerate() {
        let sums = calm::<P, NB, G, STEP>(&operands);
        if leaky {
            store::<P, NB, G, STEP, 2, true>(tile, &sums, y, row);
        } else {
            store::<P, NB, G, STEP, 2, false>(tile, &sums, y, row);
        }
    }
}

/// Requantises the sums of a row's tile into its planes.
///
/// `G`, `STEP` and `KIND` change nothing here; with them each caller has a function of
/// its own, which is inlined, and sums stay in registers.
#[inline]
#[target_feature(enable = "avx2")]
fn store<
    const P: usize,
    const NB: usize,
    const G: usize,
    const STEP: usize,
    const KIND: u8,
    const LEAKY: bool,
>(
    tile: &Tile<'_>,
    sums: &[[[__m256i; 2]; NB]; P],
    y: &mut [&mut [u8]; MAX_BLOCKS],
    row: usize,
) {
    let epilogue = Registers::<LEAKY>::new(&tile.epilogue);
    for (b, y) in y.iter_mut().take(NB).enumerate() {
        let scale = tile.scale(b).as_chunks().0;
        let y = tile.pixels::<P>(y, row);
        for (sums, y) in sums.iter().zip(y.iter_mut()) {
            let [first, second] = std::array::from_fn(|h| {
                let sums = _mm256_cvtepi32_ps(sums[b][h]);
                epilogue.bytes(_mm256_mul_ps(sums, x86::load_f32x8(&scale[h])))
            });
            // Packing works within halves of a register: 0-3 8-11 | 4-7 12-15.
            let words = _mm256_packs_epi32(first, second);
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let [low, high] = [
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            ];
            x86::store_u8x16(y, _mm_packus_epi16(low, high));
        }
        look_up(&tile.epilogue, y);
    }
}
