//! Sums by `SMMLA`, requantised as on plain NEON.

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles, neon::store};
use crate::kernels::tile::{Tiles, neon_i8mm::sums};

pub(super) const TILES: Tiles<TileFn> =
    conv_tiles!(signed: true, blocks: [1], widths: [6, 4, 2, 1]);

#[target_feature(enable = "neon,dotprod,i8mm")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    store(tile, &sums::<P, NB, G, STEP>(&tile.operands), y);
}
