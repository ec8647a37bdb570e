//! The specification: a sum times its scale, then the [`Epilogue`](super::Epilogue).

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::tile::{Tiles, scalar::sums};

pub(super) const TILES: Tiles<TileFn> = conv_tiles!(tile, signed: false, blocks: [1], widths: [1]);

fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    for (row, operands) in tile.rows().enumerate() {
        for (p, sums) in sums::<P, NB, G, STEP>(&operands).iter().enumerate() {
            for (b, (sums, y)) in sums.iter().zip(y.iter_mut()).enumerate() {
                let byte = |c| tile.epilogue.byte(sums[c] as f32 * tile.scale(b)[c]);
                tile.pixels::<P>(y, row)[p] = std::array::from_fn(byte);
            }
        }
    }
}
