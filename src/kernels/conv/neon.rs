//! Requantises 4 channels at once.

use std::arch::aarch64::*;

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::{
    arm,
    epilogue::neon::{Registers, look_up},
    tile::{Tiles, neon::sums},
};

pub(super) const TILES: Tiles<TileFn> = conv_tiles!(signed: true, blocks: [1], widths: [2, 1]);

#[target_feature(enable = "neon")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    store(tile, &sums::<P, NB, G, STEP>(&tile.operands), y);
}

/// Requantises a tile's sums into its planes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store<const P: usize, const NB: usize>(
    tile: &Tile<'_>,
    sums: &[[[int32x4_t; 4]; NB]; P],
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    if tile.epilogue.slope().is_some() {
        requantise::<P, NB, true>(tile, sums, y);
    } else {
        requantise::<P, NB, false>(tile, sums, y);
    }
}

/// The same with or without a slope.
#[inline]
#[target_feature(enable = "neon")]
fn requantise<const P: usize, const NB: usize, const LEAKY: bool>(
    tile: &Tile<'_>,
    sums: &[[[int32x4_t; 4]; NB]; P],
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let epilogue = Registers::<LEAKY>::new(&tile.epilogue);
    for (b, y) in y.iter_mut().take(NB).enumerate() {
        let scale = tile.scale(b).as_chunks().0;
        let y = &mut y.as_chunks_mut().0[..P];
        for (sums, y) in sums.iter().zip(y.iter_mut()) {
            let steps = std::array::from_fn(|q| {
                vmulq_f32(vcvtq_f32_s32(sums[b][q]), arm::load_f32x4(&scale[q]))
            });
            arm::store_u8x16(y, epilogue.bytes(steps));
        }
        look_up(&tile.epilogue, y);
    }
}
