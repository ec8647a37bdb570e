//! `SMULL`, `SMLAL`, `SADDW`: products of two taps in 16 bits, then sums in 32.
//!
//! Bytes are read as `u - 128`, so that two products fit 16 bits as in
//! [`tile::neon`](crate::kernels::tile), and the bias makes up for it. 4 pixels
//! × 16 channels are 16 sums of 32 registers.
//!
//! A kernel 3 or 5 wide of stride 1 has a loop of its own, in which neighbouring
//! pixels share their inputs.

use std::arch::aarch64::*;

use super::{Band, LANE, Plane, tap};
use crate::kernels::{
    arm,
    epilogue::neon::{BOUNDED, Kind, LEAKY, PLAIN, Registers, look_up},
};

#[target_feature(enable = "neon")]
pub(super) fn rows(plane: &Plane<'_>, band: &mut Band<'_>) {
    match Kind::of(&plane.epilogue) {
        Kind::Plain => tiles::<PLAIN>(plane, band),
        Kind::Bounded => tiles::<BOUNDED>(plane, band),
        Kind::Leaky => tiles::<LEAKY>(plane, band),
    }
}

/// The same for one kind of epilogue.
#[inline]
#[target_feature(enable = "neon")]
fn tiles<const KIND: u8>(plane: &Plane<'_>, band: &mut Band<'_>) {
    let level = Level::<KIND>::new(plane);
    let step = plane.pixel_step;
    let row = if step == LANE { row_of_taps(plane) } else { 0 };
    for (row_index, y) in band.rows() {
        let x = &plane.x[row_index * plane.row_step..];
        let (mut done, width) = (0, y.len());
        while done < width {
            // Tiles may repeat pixels of the one before.
            let pixels = match (width, width - done) {
                (4.., 3..) => 4,
                (2.., 2..) => 2,
                _ => 1,
            };
            let start = done.min(width - pixels);
            let (x, y) = (&x[start * step..], &mut y[start..start + pixels]);
            match (pixels, step, row) {
                (4, _, 3) => level.store(&level.sums_by_rows::<4, 3>(plane, x), y),
                (4, _, 5) => level.store(&level.sums_by_rows::<4, 5>(plane, x), y),
                (4, 16, _) => level.store(&level.sums::<4, 16>(plane, x), y),
                (4, 32, _) => level.store(&level.sums::<4, 32>(plane, x), y),
                (4, _, _) => level.store(&level.sums::<4, 0>(plane, x), y),
                (2, _, _) => level.store(&level.sums::<2, 0>(plane, x), y),
                _ => level.store(&level.sums::<1, 0>(plane, x), y),
            }
            look_up(&plane.epilogue, y);
            done = start + pixels;
        }
    }
}

/// The number of taps in each row, 3 or 5, if all rows' taps are neighbours; or 0.
fn row_of_taps(plane: &Plane<'_>) -> usize {
    let neighbours = |taps: &[u32]| taps.windows(2).all(|t| t[1] == t[0] + LANE as u32);
    let rows_of = |count: &usize| {
        let rows = plane.offsets.chunks_exact(*count);
        rows.remainder().is_empty() && rows.into_iter().all(neighbours)
    };
    [3, 5].into_iter().find(rows_of).unwrap_or(0)
}

/// A plane's constants; register `q` holds channels `4q .. 4q + 4`.
struct Level<const KIND: u8> {
    bias: [int32x4_t; 4],
    scale: [float32x4_t; 4],
    epilogue: Registers<KIND>,
}

impl<const KIND: u8> Level<KIND> {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(plane: &Plane<'_>) -> Self {
        let mut words = [vdupq_n_s16(0); 2];
        for weights in plane.weights {
            let weights = arm::load_i8x16(weights);
            words[0] = vaddw_s8(words[0], vget_low_s8(weights));
            words[1] = vaddw_high_s8(words[1], weights);
        }
        let sums = [
            vmovl_s16(vget_low_s16(words[0])),
            vmovl_high_s16(words[0]),
            vmovl_s16(vget_low_s16(words[1])),
            vmovl_high_s16(words[1]),
        ];
        let bias = plane.bias.as_chunks().0;
        let scale = plane.scale.as_chunks().0;
        Self {
            bias: std::array::from_fn(|q| {
                vaddq_s32(arm::load_i32x4(&bias[q]), vshlq_n_s32::<7>(sums[q]))
            }),
            scale: std::array::from_fn(|q| arm::load_f32x4(&scale[q])),
            epilogue: Registers::new(&plane.epilogue),
        }
    }

    /// Sums of `P` pixels, taps anywhere; `STEP` is the pixel step, or 0 for any.
    #[inline]
    #[target_feature(enable = "neon")]
    fn sums<const P: usize, const STEP: usize>(
        &self,
        plane: &Plane<'_>,
        x: &[u8],
    ) -> [[int32x4_t; 4]; P] {
        let step = if STEP > 0 { STEP } else { plane.pixel_step };
        let pixels = |offset: u32| tap(x, offset as usize, (P - 1) * step + LANE);
        let mut sums = [self.bias; P];
        let (pairs, last) = plane.offsets.as_chunks::<2>();
        let (weights, last_weights) = plane.weights.as_chunks::<2>();
        for (&[first, second], [w0, w1]) in pairs.iter().zip(weights) {
            let (first, second) = (pixels(first), pixels(second));
            let (w0, w1) = (arm::load_i8x16(w0), arm::load_i8x16(w1));
            for (p, sums) in sums.iter_mut().enumerate() {
                add_two(
                    sums,
                    signed(first, p * step),
                    w0,
                    signed(second, p * step),
                    w1,
                );
            }
        }
        for (&offset, weights) in last.iter().zip(last_weights) {
            let (x, weights) = (pixels(offset), arm::load_i8x16(weights));
            for (p, sums) in sums.iter_mut().enumerate() {
                add_one(sums, signed(x, p * step), weights);
            }
        }
        sums
    }

    /// Sums of `P` pixels whose taps are rows of `ROW` neighbours, stride 1: a
    /// pixel of the input is loaded once for all the pixels that it is a tap of.
    #[inline]
    #[target_feature(enable = "neon")]
    fn sums_by_rows<const P: usize, const ROW: usize>(
        &self,
        plane: &Plane<'_>,
        x: &[u8],
    ) -> [[int32x4_t; 4]; P] {
        let mut sums = [self.bias; P];
        let rows = plane.offsets.as_chunks::<ROW>().0;
        for (offsets, weights) in rows.iter().zip(plane.weights.as_chunks::<ROW>().0) {
            let row = tap(x, offsets[0] as usize, (P + ROW - 1) * LANE);
            let mut x = [vdupq_n_s8(0); MAX_SHARED];
            for (i, x) in x.iter_mut().take(P + ROW - 1).enumerate() {
                *x = signed(row, i * LANE);
            }
            let (pairs, last) = weights.as_chunks::<2>();
            for (t, [w0, w1]) in pairs.iter().enumerate() {
                let (w0, w1) = (arm::load_i8x16(w0), arm::load_i8x16(w1));
                for (p, sums) in sums.iter_mut().enumerate() {
                    add_two(sums, x[p + 2 * t], w0, x[p + 2 * t + 1], w1);
                }
            }
            for weights in last {
                let weights = arm::load_i8x16(weights);
                for (p, sums) in sums.iter_mut().enumerate() {
                    add_one(sums, x[p + ROW - 1], weights);
                }
            }
        }
        sums
    }

    /// Requantises sums.
    #[inline]
    #[target_feature(enable = "neon")]
    fn store<const P: usize>(&self, sums: &[[int32x4_t; 4]; P], y: &mut [[u8; LANE]]) {
        for (sums, y) in sums.iter().zip(y) {
            let steps = std::array::from_fn(|q| vmulq_f32(vcvtq_f32_s32(sums[q]), self.scale[q]));
            arm::store_u8x16(y, self.epilogue.bytes(steps));
        }
    }
}

/// The most pixels of the input that [`Level::sums_by_rows`] loads from a row.
const MAX_SHARED: usize = 8;

/// A pixel as signed bytes, `u - 128`.
#[inline]
#[target_feature(enable = "neon")]
fn signed(x: &[u8], at: usize) -> int8x16_t {
    let bytes = arm::load_u8x16(&x[at..].as_chunks().0[0]);
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
}

/// Adds the products of two taps.
#[inline]
#[target_feature(enable = "neon")]
fn add_two(sums: &mut [int32x4_t; 4], x0: int8x16_t, w0: int8x16_t, x1: int8x16_t, w1: int8x16_t) {
    let low = vmull_s8(vget_low_s8(x0), vget_low_s8(w0));
    let high = vmull_high_s8(x0, w0);
    let low = vmlal_s8(low, vget_low_s8(x1), vget_low_s8(w1));
    *sums = widen(*sums, low, vmlal_high_s8(high, x1, w1));
}

/// Adds the products of one tap.
#[inline]
#[target_feature(enable = "neon")]
fn add_one(sums: &mut [int32x4_t; 4], x: int8x16_t, weights: int8x16_t) {
    let low = vmull_s8(vget_low_s8(x), vget_low_s8(weights));
    *sums = widen(*sums, low, vmull_high_s8(x, weights));
}

/// Adds 16 sums of 16 bits to those of 32.
#[inline]
#[target_feature(enable = "neon")]
fn widen(sums: [int32x4_t; 4], low: int16x8_t, high: int16x8_t) -> [int32x4_t; 4] {
    [
        vaddw_s16(sums[0], vget_low_s16(low)),
        vaddw_high_s16(sums[1], low),
        vaddw_s16(sums[2], vget_low_s16(high)),
        vaddw_high_s16(sums[3], high),
    ]
}
