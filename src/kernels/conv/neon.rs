//! Requantises 4 channels at once.

use std::arch::aarch64::*;

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::{
    arm,
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
    let [low, high] = tile.epilogue.bounds().map(|bound| vdupq_n_f32(bound));
    let zero_point = vdupq_n_s32(i32::from(tile.epilogue.zero_point));
    for (b, y) in y.iter_mut().take(NB).enumerate() {
        let scale = tile.scale(b).as_chunks().0;
        for (sums, y) in sums.iter().zip(y.as_chunks_mut().0) {
            let [a, b, c, d] = std::array::from_fn(|q| {
                let steps = vmulq_f32(vcvtq_f32_s32(sums[b][q]), arm::load_f32x4(&scale[q]));
                let steps = vminq_f32(vmaxq_f32(steps, low), high);
                vreinterpretq_s16_s32(vaddq_s32(vcvtnq_s32_f32(steps), zero_point))
            });
            // Every number is a byte now, so the lowest of four is all of it.
            let [low, high] = [vuzp1q_s16(a, b), vuzp1q_s16(c, d)];
            let bytes = vuzp1q_u8(vreinterpretq_u8_s16(low), vreinterpretq_u8_s16(high));
            arm::store_u8x16(y, bytes);
        }
        tile.epilogue.look_up(&mut y.as_chunks_mut().0[..P]);
    }
}
