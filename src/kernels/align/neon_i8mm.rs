//! Sums by `SMMLA`, scaled as on plain NEON.

use super::{Tile, TileFn, align_tiles, neon::store};
use crate::kernels::tile::{Tiles, neon_i8mm::sums};

pub(super) const TILES: Tiles<TileFn> =
    align_tiles!(tile, signed: true, blocks: [1], widths: [6, 4, 2, 1]);

#[target_feature(enable = "neon,dotprod,i8mm")]
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
