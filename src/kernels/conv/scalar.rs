//! The specification: sums, then [`requantise`].

use super::{MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::{
    kernels::tile::{Tiles, scalar::sums},
    quant::requantise,
};

pub(super) const TILES: Tiles<TileFn> = conv_tiles!(signed: false, blocks: [1], widths: [1]);

fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    for (p, sums) in sums::<P, NB, G, STEP>(&tile.operands).iter().enumerate() {
        for (b, (sums, y)) in sums.iter().zip(y.iter_mut()).enumerate() {
            let y = &mut y.as_chunks_mut().0[p];
            *y = std::array::from_fn::<u8, 16, _>(|c| {
                requantise(
                    sums[c],
                    tile.scale(b)[c],
                    tile.zero_point,
                    tile.low,
                    tile.high,
                )
            });
        }
    }
}
