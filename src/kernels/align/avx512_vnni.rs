//! 16 logits at once.

use std::arch::x86_64::*;

use super::{Tile, TileFn, align_tiles};
use crate::kernels::{
    each::each,
    tile::{Tiles, avx512_vnni::sums},
    x86,
};

pub(super) const TILES: Tiles<TileFn> = align_tiles!(
    tile, signed: false, blocks: [1, 2], widths: [14, 12, 10, 8, 6, 5, 4, 3, 2, 1]);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    logits: &mut [f32],
    passing: &mut [u16],
) {
    let sums = sums::<P, NB, G, STEP>(&tile.operands);
    for b in 0..NB {
        let [scale, bias, thresholds] = each(tile.line(b), |values| x86::load_f32x16(values));
        let passing = tile.passing::<P>(passing, b);
        for (p, sums) in sums.iter().enumerate() {
            let products = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[b]), scale);
            let to = tile.logits(logits, p, b);
            let logits = _mm512_add_ps(products, bias);
            x86::store_f32x16(to, logits);
            passing[p] = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(logits, thresholds);
        }
    }
}
