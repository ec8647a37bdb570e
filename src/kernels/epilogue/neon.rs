//! 4 channels at once.

use std::arch::aarch64::*;

use super::Epilogue;
use crate::kernels::{arm, each::each, layout::LANE};

/// Which steps of an epilogue are needed at all: each has code of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Steps are bytes, as behind a ReLU: saturation is all of the clamp.
    Plain,
    /// A zero point and bounds.
    Bounded,
    /// The same after a slope.
    Leaky,
}

impl Kind {
    #[inline(always)]
    pub(crate) fn of(epilogue: &Epilogue<'_>) -> Self {
        let Epilogue {
            zero_point,
            low,
            high,
            ..
        } = *epilogue;
        if epilogue.slope().is_some() {
            Self::Leaky
        } else if (zero_point, low, high) == (0, 0, u8::MAX) {
            Self::Plain
        } else {
            Self::Bounded
        }
    }
}

/// [`Kind`]s as constants.
pub(crate) const PLAIN: u8 = Kind::Plain as u8;
pub(crate) const BOUNDED: u8 = Kind::Bounded as u8;
pub(crate) const LEAKY: u8 = Kind::Leaky as u8;

/// An epilogue's constants in registers.
pub(crate) struct Registers<const KIND: u8> {
    slope: float32x4_t,
    zero_point: int16x8_t,
    bounds: [uint8x16_t; 2],
}

impl<const KIND: u8> Registers<KIND> {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn new(epilogue: &Epilogue<'_>) -> Self {
        Self {
            slope: vdupq_n_f32(epilogue.slope().unwrap_or(1.0)),
            zero_point: vdupq_n_s16(i16::from(epilogue.zero_point)),
            bounds: each([epilogue.low, epilogue.high], |bound| vdupq_n_u8(bound)),
        }
    }

    /// The bytes of 16 numbers of steps.
    ///
    /// The specification clamps before it rounds. Bounds are whole steps, so rounding
    /// first gives the same, and what is out of range saturates three times on its way to
    /// a byte: in the conversion, in narrowing to 16 bits, and from there to 8.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn bytes(&self, steps: [float32x4_t; 4]) -> uint8x16_t {
        let [a, b, c, d] = each(steps, |steps| {
            let steps = if KIND == LEAKY {
                vmaxq_f32(steps, vmulq_f32(steps, self.slope))
            } else {
                steps
            };
            vcvtnq_s32_f32(steps)
        });
        let low = vqmovn_high_s32(vqmovn_s32(a), b);
        let high = vqmovn_high_s32(vqmovn_s32(c), d);
        if KIND == PLAIN {
            return vqmovun_high_s16(vqmovun_s16(low), high);
        }
        let [low, high] = each([low, high], |steps| vqaddq_s16(steps, self.zero_point));
        let bytes = vqmovun_high_s16(vqmovun_s16(low), high);
        let [least, most] = self.bounds;
        vminq_u8(vmaxq_u8(bytes, least), most)
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
