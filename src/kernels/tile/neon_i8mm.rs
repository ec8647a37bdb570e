//! `SMMLA`: one instruction adds the products of 2 pixels × 2 channels × 8 inputs.
//!
//! Two pixels' halves of 8 inputs become one register, and so do the two groups
//! of 4 that a channel has in neighbouring rows of weights: one zip each. For
//! 6 pixels × 16 channels × 16 inputs these are 48 `SMMLA` and 22 zips in a loop
//! of 110 instructions; with `SDOT` it has 96 of those and 128 in all.
//!
//! A last single pixel, and the image, whose pixels have not 8 inputs, are
//! `SDOT`'s.

use std::arch::aarch64::*;

use super::{LANE, Operands, Pixels, Rows, neon_dot};
use crate::kernels::{arm, each::each};

/// Sums of `P` pixels for `NB` blocks; lane `c` of register `q` is channel `4q + c`.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(crate) fn sums<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
    bias: [&[i32; LANE]; NB],
) -> [[[int32x4_t; 4]; NB]; P] {
    if G < 4 || P < 2 {
        return neon_dot::sums::<P, NB, G, STEP>(operands, bias);
    }
    // Of pixels 2i and 2i + 1, for channels 2j and 2j + 1, at [2i][b][j] and,
    // from j = 4 on, at [2i + 1][b][j - 4]
    let mut sums = [[[vdupq_n_s32(0); 4]; NB]; P];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (b, sums) in sums.iter_mut().enumerate() {
            let bias = bias[b].as_chunks().0;
            for (j, sum) in sums.iter_mut().enumerate() {
                let bias = vreinterpretq_s64_s32(arm::load_i32x4(&bias[i % 2 * 2 + j / 2]));
                let pair = if j % 2 == 0 {
                    vzip1q_s64(bias, bias)
                } else {
                    vzip2q_s64(bias, bias)
                };
                *sum = vreinterpretq_s32_s64(pair);
            }
        }
    }
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        add::<0, P, NB, G, STEP>(&mut sums, &pixels, blocks);
        add::<1, P, NB, G, STEP>(&mut sums, &pixels, blocks);
    }
    for pair in sums.as_chunks_mut::<2>().0 {
        let [first, second] = *pair;
        for b in 0..NB {
            for q in 0..4 {
                let from = if q < 2 { &first[b] } else { &second[b] };
                let [low, high] = [from[q % 2 * 2], from[q % 2 * 2 + 1]];
                let [low, high] = each([low, high], |sums| vreinterpretq_s64_s32(sums));
                pair[0][b][q] = vreinterpretq_s32_s64(vzip1q_s64(low, high));
                pair[1][b][q] = vreinterpretq_s32_s64(vzip2q_s64(low, high));
            }
        }
    }
    sums
}

/// Adds the products of half `H` of the pixels' inputs, with `sums` as in [`sums`].
///
/// The other half of the pixels is loaded again: kept, it would be 3 registers
/// too many.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn add<const H: usize, const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    sums: &mut [[[int32x4_t; 4]; NB]; P],
    pixels: &Pixels<'_, P, G, STEP>,
    blocks: [&Rows<G>; NB],
) {
    let mut x = [vdupq_n_s8(0); P];
    for (i, x) in x.iter_mut().take(P / 2).enumerate() {
        *x = half::<H, P, G, STEP>(pixels, 2 * i);
    }
    for (b, rows) in blocks.iter().enumerate() {
        let [first, second] = each([2 * H, 2 * H + 1], |g| rows[g].as_chunks::<16>().0);
        for q in 0..4 {
            let first = vreinterpretq_s32_s8(arm::load_i8x16(&first[q]));
            let second = vreinterpretq_s32_s8(arm::load_i8x16(&second[q]));
            let low = vreinterpretq_s8_s32(vzip1q_s32(first, second));
            let high = vreinterpretq_s8_s32(vzip2q_s32(first, second));
            for (pair, &x) in sums.as_chunks_mut::<2>().0.iter_mut().zip(&x) {
                let sums = &mut pair[q / 2][b][q % 2 * 2..][..2];
                sums[0] = arm::smmla(sums[0], x, low);
                sums[1] = arm::smmla(sums[1], x, high);
            }
        }
    }
}

/// Half `H` of the inputs of pixels `p` and `p + 1`, as signed bytes.
#[inline]
#[target_feature(enable = "neon")]
fn half<const H: usize, const P: usize, const G: usize, const STEP: usize>(
    pixels: &Pixels<'_, P, G, STEP>,
    p: usize,
) -> int8x16_t {
    let load = |p: usize| {
        let bytes = pixels.groups(p).as_flattened().as_chunks().0;
        arm::load_u8x16(&bytes[0])
    };
    arm::signed_halves::<H>(load(p), load(p + 1))
}
