//! 4 channels at once.

use std::arch::aarch64::*;

use super::Epilogue;
use crate::kernels::{arm, layout::LANE};

/// An epilogue's constants in registers; `LEAKY` if it has a slope.
pub(crate) struct Registers<const LEAKY: bool> {
    slope: float32x4_t,
    bounds: [float32x4_t; 2],
    zero_point: int32x4_t,
}

impl<const LEAKY: bool> Registers<LEAKY> {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn new(epilogue: &Epilogue<'_>) -> Self {
        Self {
            slope: vdupq_n_f32(epilogue.slope().unwrap_or(1.0)),
            bounds: epilogue.bounds().map(|bound| vdupq_n_f32(bound)),
            zero_point: vdupq_n_s32(i32::from(epilogue.zero_point)),
        }
    }

    /// The bytes of 16 numbers of steps.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn bytes(&self, steps: [float32x4_t; 4]) -> uint8x16_t {
        let [low, high] = self.bounds;
        let [a, b, c, d] = steps.map(|steps| {
            let steps = if LEAKY {
                vmaxq_f32(steps, vmulq_f32(steps, self.slope))
            } else {
                steps
            };
            let steps = vminq_f32(vmaxq_f32(steps, low), high);
            vreinterpretq_s16_s32(vaddq_s32(vcvtnq_s32_f32(steps), self.zero_point))
        });
        // Every number is a byte now, so the lowest of four is all of it.
        let [low, high] = [vuzp1q_s16(a, b), vuzp1q_s16(c, d)];
        vuzp1q_u8(vreinterpretq_u8_s16(low), vreinterpretq_u8_s16(high))
    }
}

/// Applies the table, if there is one, to pixels whose bytes were just made.
///
/// `TBL` picks any of 64 entries in 4 registers and is zero for larger bytes,
/// `TBX` does the same and leaves what it finds for larger bytes: 4 of them, the
/// bytes 64 less each time, are the whole table.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn look_up(epilogue: &Epilogue<'_>, fresh: &mut [[u8; LANE]]) {
    let Some(table) = epilogue.table() else {
        return;
    };
    let table = table.as_chunks::<LANE>().0;
    let quarter = |q: usize| {
        let [a, b, c, d] = std::array::from_fn(|i| arm::load_u8x16(&table[4 * q + i]));
        uint8x16x4_t(a, b, c, d)
    };
    let quarters = [quarter(0), quarter(1), quarter(2), quarter(3)];
    let less = vdupq_n_u8(64);
    for pixel in fresh {
        let mut bytes = arm::load_u8x16(pixel);
        let mut entries = vqtbl4q_u8(quarters[0], bytes);
        for &quarter in &quarters[1..] {
            bytes = vsubq_u8(bytes, less);
            entries = vqtbx4q_u8(entries, quarter, bytes);
        }
        arm::store_u8x16(pixel, entries);
    }
}
