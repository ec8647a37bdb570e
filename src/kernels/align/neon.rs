//! 4 logits at once.

use std::arch::aarch64::*;

use super::{Tile, TileFn, align_tiles};
use crate::kernels::{
    arm,
    tile::{Tiles, neon::sums},
};

pub(super) const TILES: Tiles<TileFn> = align_tiles!(signed: true, blocks: [1], widths: [2, 1]);

#[target_feature(enable = "neon")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    logits: &mut [f32],
) {
    store(tile, &sums::<P, NB, G, STEP>(&tile.operands), logits);
}

/// Scales a tile's sums to logits.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store<const P: usize, const NB: usize>(
    tile: &Tile<'_>,
    sums: &[[[int32x4_t; 4]; NB]; P],
    logits: &mut [f32],
) {
    for b in 0..NB {
        let [scale, bias] = tile.line(b).map(|values| values.as_chunks().0);
        for (p, sums) in sums.iter().enumerate() {
            let to = tile.logits(logits, p, b).as_chunks_mut().0;
            for (q, to) in to.iter_mut().enumerate() {
                let products = vmulq_f32(vcvtq_f32_s32(sums[b][q]), arm::load_f32x4(&scale[q]));
                arm::store_f32x4(to, vaddq_f32(products, arm::load_f32x4(&bias[q])));
            }
        }
    }
}
