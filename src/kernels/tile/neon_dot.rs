//! `SDOT`: one instruction adds the products of 4 channels × 4 inputs, those of
//! a group that it picks from 16 bytes of a pixel.
//!
//! 5 pixels × 4 quarters of a row are 20 sums, and 5 registers more hold the
//! pixels. That leaves room for a whole row of weights, which one instruction
//! loads; and the widths of the network's planes are multiples of 5. With 6
//! pixels two sums went through memory at each offset.

use std::arch::aarch64::*;

use super::{LANE, Operands, Pixels, Rows, neon::signed};
use crate::kernels::arm;

/// Sums of `P` pixels for `NB` blocks; lane `c` of register `q` is channel `4q + c`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn sums<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
    bias: [&[i32; LANE]; NB],
) -> [[[int32x4_t; 4]; NB]; P] {
    let mut sums: [[[_; 4]; NB]; P] = [std::array::from_fn(|b| {
        let bias = bias[b].as_chunks().0;
        std::array::from_fn(|q| arm::load_i32x4(&bias[q]))
    }); P];
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        if let (Some(x), Some(blocks)) = (five(&pixels), four(blocks)) {
            for (b, rows) in blocks.into_iter().enumerate() {
                if let [p, q, r, s, t] = &mut sums[..] {
                    let sums = [&mut p[b], &mut q[b], &mut r[b], &mut s[b], &mut t[b]];
                    arm::sdot_rows(sums, rows, x);
                }
            }
            continue;
        }
        add::<0, P, NB, G, STEP>(&mut sums, &pixels, blocks);
        add::<1, P, NB, G, STEP>(&mut sums, &pixels, blocks);
        add::<2, P, NB, G, STEP>(&mut sums, &pixels, blocks);
        add::<3, P, NB, G, STEP>(&mut sums, &pixels, blocks);
    }
    sums
}

/// Adds the products of group `I`, if pixels have so many; a constant, because
/// it is part of the instruction.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add<const I: usize, const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    sums: &mut [[[int32x4_t; 4]; NB]; P],
    pixels: &Pixels<'_, P, G, STEP>,
    blocks: [&Rows<G>; NB],
) {
    let x: [_; P] = std::array::from_fn(|p| signed(pixels, p));
    for (b, rows) in blocks.iter().enumerate() {
        let Some(row) = rows.get(I) else { return };
        for (q, weights) in row.as_chunks().0.iter().enumerate() {
            let weights = arm::load_i8x16(weights);
            for (sums, &x) in sums.iter_mut().zip(&x) {
                sums[b][q] = arm::sdot::<I>(sums[b][q], weights, x);
            }
        }
    }
}

/// The pixels, if they are 5 of 4 groups.
#[inline]
#[target_feature(enable = "neon")]
fn five<const P: usize, const G: usize, const STEP: usize>(
    pixels: &Pixels<'_, P, G, STEP>,
) -> Option<[int8x16_t; 5]> {
    if P != 5 || G != 4 {
        return None;
    }
    let x: [_; P] = std::array::from_fn(|p| signed(pixels, p));
    x[..].try_into().ok()
}

/// The rows, if they are of 4 groups.
#[inline(always)]
fn four<const NB: usize, const G: usize>(blocks: [&Rows<G>; NB]) -> Option<[&Rows<4>; NB]> {
    let first = blocks[0].first_chunk()?;
    let mut rows = [first; NB];
    for (to, from) in rows.iter_mut().zip(blocks) {
        *to = from.first_chunk()?;
    }
    Some(rows)
}
