//! 4 logits at once.

use std::arch::aarch64::*;

use super::{Tile, TileFn, align_tiles};
use crate::kernels::{
    arm,
    each::each,
    tile::{
        Tiles,
        neon::{narrow, sums},
    },
};

pub(super) const TILES: Tiles<TileFn> =
    align_tiles!(tile, signed: true, blocks: [1], widths: [2, 1]);

/// The same for narrow weights.
pub(super) const NARROW: Tiles<TileFn> =
    align_tiles!(narrow_tile, signed: true, blocks: [1], widths: [2, 1]);

#[target_feature(enable = "neon")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    logits: &mut [f32],
    passing: &mut [u16],
) {
    store(
        tile,
        &sums::<P, NB, G, STEP>(&tile.operands, tile.operands.biases()),
        logits,
        passing,
    );
}

#[target_feature(enable = "neon")]
fn narrow_tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    logits: &mut [f32],
    passing: &mut [u16],
) {
    store(
        tile,
        &narrow::<P, NB, G, STEP>(&tile.operands, tile.operands.biases()),
        logits,
        passing,
    );
}

/// Scales a tile's sums to logits.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store<const P: usize, const NB: usize>(
    tile: &Tile<'_>,
    sums: &[[[int32x4_t; 4]; NB]; P],
    logits: &mut [f32],
    passing: &mut [u16],
) {
    // bits 0, 1, 2, 3
    let bits = vshlq_u32(
        vdupq_n_u32(1),
        vcombine_s32(vcreate_s32(1 << 32), vcreate_s32(2 | 3 << 32)),
    );
    for b in 0..NB {
        let [scale, bias, thresholds] = each(tile.line(b), |values| values.as_chunks().0);
        let passing = tile.passing::<P>(passing, b);
        for (p, sums) in sums.iter().enumerate() {
            let to = tile.logits(logits, p, b).as_chunks_mut().0;
            let mut passes = vdupq_n_u32(0);
            for (q, to) in to.iter_mut().enumerate().rev() {
                let products = vmulq_f32(vcvtq_f32_s32(sums[b][q]), arm::load_f32x4(&scale[q]));
                let logits = vaddq_f32(products, arm::load_f32x4(&bias[q]));
                arm::store_f32x4(to, logits);
                let reach = vcgeq_f32(logits, arm::load_f32x4(&thresholds[q]));
                passes = vsliq_n_u32::<4>(vandq_u32(reach, bits), passes);
            }
            passing[p] = vaddvq_u32(passes) as u16;
        }
    }
}
