//! 8 logits at once.

use std::arch::x86_64::*;

use super::{Tile, TileFn, align_tiles};
use crate::kernels::{
    each::each,
    tile::{
        Tiles,
        avx2::{calm, sums},
    },
    x86,
};

pub(super) const TILES: Tiles<TileFn> =
    align_tiles!(tile, signed: false, blocks: [1], widths: [3, 2, 1]);

/// The same for calm weights.
pub(super) const CALM: Tiles<TileFn> =
    align_tiles!(calm_tile, signed: false, blocks: [1], widths: [3, 2, 1]);

#[target_feature(enable = "avx2")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    logits: &mut [f32],
    passing: &mut [u16],
) {
    store(
        tile,
        &sums::<P, NB, G, STEP>(&tile.operands),
        logits,
        passing,
    );
}

#[target_feature(enable = "avx2")]
fn calm_tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    logits: &mut [f32],
    passing: &mut [u16],
) {
    store(
        tile,
        &calm::<P, NB, G, STEP>(&tile.operands),
        logits,
        passing,
    );
}

/// Scales a tile's sums to logits.
#[inline]
#[target_feature(enable = "avx2")]
fn store<const P: usize, const NB: usize>(
    tile: &Tile<'_>,
    sums: &[[[__m256i; 2]; NB]; P],
    logits: &mut [f32],
    passing: &mut [u16],
) {
    for b in 0..NB {
        let [scale, bias, thresholds] = each(tile.line(b), |values| values.as_chunks().0);
        let passing = tile.passing::<P>(passing, b);
        for (p, sums) in sums.iter().enumerate() {
            let to = tile.logits(logits, p, b).as_chunks_mut().0;
            passing[p] = 0;
            for (h, to) in to.iter_mut().enumerate() {
                let sums = _mm256_cvtepi32_ps(sums[b][h]);
                let products = _mm256_mul_ps(sums, x86::load_f32x8(&scale[h]));
                let logits = _mm256_add_ps(products, x86::load_f32x8(&bias[h]));
                x86::store_f32x8(to, logits);
                let passes = _mm256_cmp_ps::<_CMP_GE_OQ>(logits, x86::load_f32x8(&thresholds[h]));
                passing[p] |= (_mm256_movemask_ps(passes) as u16) << (8 * h);
            }
        }
    }
}
