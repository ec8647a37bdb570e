//! Sums by `SDOT`, requantised as on plain NEON.

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles, neon::store};
use crate::kernels::{
    epilogue::neon::Kind,
    tile::{Tiles, neon_dot::sums},
};

pub(super) const TILES: Tiles<TileFn> =
    conv_tiles!(tile, signed: true, blocks: [1], widths: [5, 4, 3, 2, 1]);

#[target_feature(enable = "neon,dotprod")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let kind = Kind::of(&tile.epilogue);
    let (bias, scale) = (tile.operands.biases(), tile.scales());
    for (row, operands) in tile.rows().enumerate() {
        let sums = sums::<P, NB, G, STEP>(&operands, bias);
        store::<P, NB, G, STEP, 1>(tile, kind, scale, &sums, y, row);
    }
}
