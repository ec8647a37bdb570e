//! The specification: a product, then a sum, then a comparison.

use super::{Tile, TileFn, align_tiles, passing};
use crate::kernels::tile::{Tiles, scalar::sums};

pub(super) const TILES: Tiles<TileFn> = align_tiles!(tile, signed: false, blocks: [1], widths: [1]);

fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    logits: &mut [f32],
    bits: &mut [u16],
) {
    for (p, sums) in sums::<P, NB, G, STEP>(&tile.operands).iter().enumerate() {
        for (b, sums) in sums.iter().enumerate() {
            let [scale, bias, thresholds] = tile.line(b);
            let logits = tile.logits(logits, p, b);
            *logits = std::array::from_fn(|c| sums[c] as f32 * scale[c] + bias[c]);
            tile.passing::<P>(bits, b)[p] = passing(logits, thresholds);
        }
    }
}
