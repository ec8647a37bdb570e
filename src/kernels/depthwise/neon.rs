//! `SMULL`, `SMLAL`, `SADDW`: products of two taps in 16 bits, then sums in 32.
//!
//! Bytes are read as `u - 128`, so that two products fit 16 bits as in
//! [`tile::neon`](crate::kernels::tile), and the bias makes up for it. 4 pixels
//! × 16 channels are 16 sums of 32 registers.

use std::arch::aarch64::*;

use super::{Band, LANE, Plane, tap};
use crate::kernels::{
    arm,
    epilogue::neon::{Registers, look_up},
};

#[target_feature(enable = "neon")]
pub(super) fn rows(plane: &Plane<'_>, band: &mut Band<'_>) {
    let level = Level::new(plane);
    let step = plane.pixel_step;
    for (row, y) in band.rows() {
        let x = &plane.x[row * plane.row_step..];
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
            match (pixels, step) {
                (4, 16) => level.tile::<4, 16>(plane, x, y),
                (4, _) => level.tile::<4, 0>(plane, x, y),
                (2, _) => level.tile::<2, 0>(plane, x, y),
                _ => level.tile::<1, 0>(plane, x, y),
            }
            look_up(&plane.epilogue, y);
            done = start + pixels;
        }
    }
}

/// A plane's constants; register `q` holds channels `4q .. 4q + 4`.
struct Level {
    bias: [int32x4_t; 4],
    scale: [float32x4_t; 4],
    epilogue: Registers,
}

impl Level {
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

    /// `P` pixels; `STEP` is the pixel step, or 0 for any.
    #[inline]
    #[target_feature(enable = "neon")]
    fn tile<const P: usize, const STEP: usize>(
        &self,
        plane: &Plane<'_>,
        x: &[u8],
        y: &mut [[u8; LANE]],
    ) {
        let step = if STEP > 0 { STEP } else { plane.pixel_step };
        let flip = vdupq_n_u8(0x80);
        let pixels = |offset: u32| tap(x, offset as usize, (P - 1) * step + LANE);
        let signed = |x: &[u8], p: usize| {
            let x = arm::load_u8x16(&x[p * step..].as_chunks().0[0]);
            vreinterpretq_s8_u8(veorq_u8(x, flip))
        };
        let mut sums = [self.bias; P];
        let (pairs, last) = plane.offsets.as_chunks::<2>();
        let (weights, last_weights) = plane.weights.as_chunks::<2>();
        for (&offsets, weights) in pairs.iter().zip(weights) {
            let [first, second] = offsets.map(pixels);
            let [w0, w1] = weights.each_ref().map(|weights| arm::load_i8x16(weights));
            for (p, sums) in sums.iter_mut().enumerate() {
                let [x0, x1] = [signed(first, p), signed(second, p)];
                let low = vmull_s8(vget_low_s8(x0), vget_low_s8(w0));
                let high = vmull_high_s8(x0, w0);
                let low = vmlal_s8(low, vget_low_s8(x1), vget_low_s8(w1));
                *sums = widen(*sums, low, vmlal_high_s8(high, x1, w1));
            }
        }
        for (&offset, weights) in last.iter().zip(last_weights) {
            let (x, weights) = (pixels(offset), arm::load_i8x16(weights));
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = signed(x, p);
                let low = vmull_s8(vget_low_s8(x), vget_low_s8(weights));
                *sums = widen(*sums, low, vmull_high_s8(x, weights));
            }
        }
        for (sums, y) in sums.iter().zip(y) {
            let steps = std::array::from_fn(|q| vmulq_f32(vcvtq_f32_s32(sums[q]), self.scale[q]));
            arm::store_u8x16(y, self.epilogue.bytes(steps));
        }
    }
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
