//! `SMULL`, `SMLAL`, `SADALP`: products in 16 bits, two by two, then sums in 32.
//!
//! Two products fit 16 bits because no weight is -128: `2 · 128 · 127 < 2^15`.
//! So the products of two steps are added before they are widened, three
//! instructions for 16 products. Half a quarter of a row is 2 channels × 4
//! inputs: its products make 4 sums, two per channel, which are added at the
//! end. 2 pixels are 16 sums; with 3 the sums would leave the registers.
//!
//! Of narrow weights (up to 63) four products fit, `4 · 128 · 63 < 2^15`: those of four
//! steps are added before they are widened, five instructions for 32 products.

use std::arch::aarch64::*;

use super::{LANE, Operands, Pixels, ROW, Rows};
use crate::kernels::{arm, each::each};

/// The groups of pixel `p` as signed bytes, `u - 128`, in the lowest lanes; other lanes hold anything.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn signed<const P: usize, const G: usize, const STEP: usize>(
    pixels: &Pixels<'_, P, G, STEP>,
    p: usize,
) -> int8x16_t {
    // the image's pixels are 4 or 12 bytes: what lies behind them is not looked at, except behind the last pixel of a tile
    let last = G < 4 && p + 1 == P;
    let bytes = match (pixels.chunk(p), pixels.last_chunk()) {
        (Some(bytes), _) if !last => arm::load_u8x16(bytes),
        // 12 bytes at the end of 16
        (_, Some(bytes)) if last && G == 3 => {
            let bytes = arm::load_u8x16(bytes);
            vextq_u8::<4>(bytes, bytes)
        }
        _ => {
            let mut groups = vdupq_n_s32(pixels.group(p, 0));
            if G == 3 {
                groups = vsetq_lane_s32::<1>(pixels.group(p, 1), groups);
                groups = vsetq_lane_s32::<2>(pixels.group(p, 2), groups);
            }
            vreinterpretq_u8_s32(groups)
        }
    };
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
}

/// Adds the products of groups `I` and `J`, or of `I` alone if pixels have one.
///
/// `STEP` changes nothing here; with it each caller has a function of its own,
/// which is inlined, and sums stay in registers.
#[inline]
#[target_feature(enable = "neon")]
fn add<
    const I: i32,
    const J: i32,
    const P: usize,
    const NB: usize,
    const G: usize,
    const STEP: usize,
>(
    sums: &mut [[[[int32x4_t; 2]; 4]; NB]; P],
    x: &[int8x16_t; P],
    blocks: [&Rows<G>; NB],
) {
    let x = each(*x, |x| {
        let groups = vreinterpretq_s32_s8(x);
        let [i, j] = [vdupq_laneq_s32::<I>(groups), vdupq_laneq_s32::<J>(groups)];
        [vreinterpretq_s8_s32(i), vreinterpretq_s8_s32(j)]
    });
    for (b, rows) in blocks.iter().enumerate() {
        for half in 0..2 {
            let quarters = |row: &[i8; ROW]| {
                let quarters = row.as_chunks().0;
                each([2 * half, 2 * half + 1], |q| arm::load_i8x16(&quarters[q]))
            };
            let Some(i) = rows.get(I as usize).map(quarters) else {
                return;
            };
            let j = rows.get(J as usize).map(quarters);
            for q in 0..2 {
                let (i, j) = (i[q], j.map(|j| j[q]));
                let q = 2 * half + q;
                if let (Some(j), [first, second]) = (j, &mut sums[..]) {
                    let sums = [&mut first[b][q], &mut second[b][q]];
                    arm::add_products(sums, [i, j], [x[0], x[1]]);
                    continue;
                }
                for (sums, x) in sums.iter_mut().zip(&x) {
                    let mut low = vmull_s8(vget_low_s8(i), vget_low_s8(x[0]));
                    let mut high = vmull_high_s8(i, x[0]);
                    if let Some(j) = j {
                        low = vmlal_s8(low, vget_low_s8(j), vget_low_s8(x[1]));
                        high = vmlal_high_s8(high, j, x[1]);
                    }
                    let sums = &mut sums[b][q];
                    *sums = [vpadalq_s16(sums[0], low), vpadalq_s16(sums[1], high)];
                }
            }
        }
    }
}

/// Sums of `P` pixels for `NB` blocks; lane `c` of register `q` is channel `4q + c`.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn sums<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
    bias: [&[i32; LANE]; NB],
) -> [[[int32x4_t; 4]; NB]; P] {
    let mut quarters = [[[[vdupq_n_s32(0); 2]; 4]; NB]; P];
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        let x = std::array::from_fn(|p| signed(&pixels, p));
        add::<0, 1, P, NB, G, STEP>(&mut quarters, &x, blocks);
        add::<2, 3, P, NB, G, STEP>(&mut quarters, &x, blocks);
    }
    whole(&quarters, bias)
}

/// The sums of a tile by the functions of a module of [`arm::narrow`].
macro_rules! narrow_sums {
    ($operands:ident, $bias:ident, $functions:ident, $groups:literal, $step:literal) => {{
        use arm::narrow::$functions::{add, add_two, first};
        let offset = |i| {
            let (pixels, [rows]) = $operands.offset::<2, 1, $groups, $step>(i)?;
            Some((rows, pixels.bytes().expect("two pixels")))
        };
        let Some((rows, x)) = offset(0) else {
            return whole(&[[[[vdupq_n_s32(0); 2]; 4]; NB]; P], $bias);
        };
        let mut sums = first(rows, x);
        let mut done = 1;
        if $operands.offsets.len().is_multiple_of(2)
            && let Some((rows, x)) = offset(1)
        {
            add(&mut sums, rows, x);
            done = 2;
        }
        for ([pixels, next], [rows]) in $operands.twos::<2, 1, $groups, $step>(done) {
            let pixels = each([pixels.bytes(), next.bytes()], |x| x.expect("two pixels"));
            add_two(&mut sums, rows, pixels);
        }
        sums
    }};
}

/// The same for narrow weights.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn narrow<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
    bias: [&[i32; LANE]; NB],
) -> [[[int32x4_t; 4]; NB]; P] {
    let halves = match (P, NB, G, STEP) {
        (2, 1, 4, 16) => narrow_sums!(operands, bias, neighbours, 4, 16),
        (2, 1, 4, 32) => narrow_sums!(operands, bias, apart, 4, 32),
        (2, 1, 3, 8) => narrow_sums!(operands, bias, image, 3, 8),
        // a pixel alone, or a group of it, has nothing to gain, and other strides are rare
        _ => return sums::<P, NB, G, STEP>(operands, bias),
    };
    whole(&std::array::from_fn(|p| [halves[p]; NB]), bias)
}

/// Sums of channels from those of their halves, biases added.
#[inline]
#[target_feature(enable = "neon")]
fn whole<const P: usize, const NB: usize>(
    quarters: &[[[[int32x4_t; 2]; 4]; NB]; P],
    bias: [&[i32; LANE]; NB],
) -> [[[int32x4_t; 4]; NB]; P] {
    let mut sums = [[[vdupq_n_s32(0); 4]; NB]; P];
    for (sums, quarters) in sums.iter_mut().zip(quarters) {
        for (b, (sums, quarters)) in sums.iter_mut().zip(quarters).enumerate() {
            let bias = bias[b].as_chunks().0;
            for (q, (sum, [low, high])) in sums.iter_mut().zip(quarters).enumerate() {
                let total = vpaddq_s32(*low, *high);
                *sum = vaddq_s32(total, arm::load_i32x4(&bias[q]));
            }
        }
    }
    sums
}
