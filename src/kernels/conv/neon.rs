//! Requantises 4 channels at once.

use std::arch::aarch64::*;

use super::{LANE, MAX_BLOCKS, Tile, TileFn, conv_tiles};
use crate::kernels::{
    arm,
    epilogue::neon::{BOUNDED, Kind, LEAKY, PLAIN, Registers, look_up},
    tile::{
        Tiles,
        neon::{narrow, sums},
    },
};

pub(super) const TILES: Tiles<TileFn> =
    conv_tiles!(tile, signed: true, blocks: [1], widths: [2, 1]);

/// The same for narrow weights.
pub(super) const NARROW: Tiles<TileFn> =
    conv_tiles!(narrow_tile, signed: true, blocks: [1], widths: [2, 1]);

#[target_feature(enable = "neon")]
fn tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let kind = Kind::of(&tile.epilogue);
    let (bias, scale) = (tile.operands.biases(), tile.scales());
    for (row, operands) in tile.rows().enumerate() {
        let sums = sums::<P, NB, G, STEP>(&operands, bias);
        store::<P, NB, G, STEP, 0>(tile, kind, scale, &sums, y, row);
    }
}

#[target_feature(enable = "neon")]
fn narrow_tile<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    tile: &Tile<'_>,
    y: &mut [&mut [u8]; MAX_BLOCKS],
) {
    let kind = Kind::of(&tile.epilogue);
    let (bias, scale) = (tile.operands.biases(), tile.scales());
    for (row, operands) in tile.rows().enumerate() {
        let sums = narrow::<P, NB, G, STEP>(&operands, bias);
        store::<P, NB, G, STEP, 3>(tile, kind, scale, &sums, y, row);
    }
}

/// Requantises the sums of a row's tile into its planes.
///
/// `G`, `STEP` and `LEVEL` change nothing here; with them each caller has a function of
/// its own, which is inlined, and sums stay in registers.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store<
    const P: usize,
    const NB: usize,
    const G: usize,
    const STEP: usize,
    const LEVEL: u8,
>(
    tile: &Tile<'_>,
    kind: Kind,
    scale: [&[f32; LANE]; NB],
    sums: &[[[int32x4_t; 4]; NB]; P],
    y: &mut [&mut [u8]; MAX_BLOCKS],
    row: usize,
) {
    match kind {
        Kind::Plain => requantise::<P, NB, G, STEP, LEVEL, PLAIN>(tile, scale, sums, y, row),
        Kind::Bounded => requantise::<P, NB, G, STEP, LEVEL, BOUNDED>(tile, scale, sums, y, row),
        Kind::Leaky => requantise::<P, NB, G, STEP, LEVEL, LEAKY>(tile, scale, sums, y, row),
    }
}

/// The same for one kind of epilogue.
#[inline]
#[target_feature(enable = "neon")]
fn requantise<
    const P: usize,
    const NB: usize,
    const G: usize,
    const STEP: usize,
    const LEVEL: u8,
    const KIND: u8,
>(
    tile: &Tile<'_>,
    scale: [&[f32; LANE]; NB],
    sums: &[[[int32x4_t; 4]; NB]; P],
    y: &mut [&mut [u8]; MAX_BLOCKS],
    row: usize,
) {
    let epilogue = Registers::<KIND>::new(&tile.epilogue);
    for (b, y) in y.iter_mut().take(NB).enumerate() {
        let scale = scale[b].as_chunks().0;
        let scale: [_; 4] = std::array::from_fn(|q| arm::load_f32x4(&scale[q]));
        let y = tile.pixels::<P>(y, row);
        for (sums, y) in sums.iter().zip(y.iter_mut()) {
            let steps = std::array::from_fn(|q| vmulq_f32(vcvtq_f32_s32(sums[b][q]), scale[q]));
            arm::store_u8x16(y, epilogue.bytes(steps));
        }
        look_up(&tile.epilogue, y);
    }
}
