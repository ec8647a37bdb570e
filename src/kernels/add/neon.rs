//! 16 channels in four registers.
//!
//! A step is at most 255 either way, so 16 bits hold it until it becomes a float.

use std::arch::aarch64::*;

use super::{LANE, Terms};
use crate::kernels::{
    arm,
    each::each,
    epilogue::neon::{BOUNDED, Kind, LEAKY, PLAIN, Registers, look_up},
};

#[target_feature(enable = "neon")]
pub(super) fn row(terms: &Terms<'_>, a: &[[u8; LANE]], b: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    match Kind::of(&terms.epilogue) {
        Kind::Plain => sums::<PLAIN>(terms, a, b, y),
        Kind::Bounded => sums::<BOUNDED>(terms, a, b, y),
        Kind::Leaky => sums::<LEAKY>(terms, a, b, y),
    }
}

/// The same for one kind of epilogue.
#[inline]
#[target_feature(enable = "neon")]
fn sums<const KIND: u8>(
    terms: &Terms<'_>,
    a: &[[u8; LANE]],
    b: &[[u8; LANE]],
    y: &mut [[u8; LANE]],
) {
    let epilogue = Registers::<KIND>::new(&terms.epilogue);
    let scales = each(terms.scales, |scale| vdupq_n_f32(scale));
    let zeros = each(terms.zero_points, |zero| vdupq_n_u8(zero));
    for ((a, b), y) in a.iter().zip(b).zip(y.iter_mut()) {
        let steps = |i: usize, pixel| {
            let (bytes, zero) = (arm::load_u8x16(pixel), zeros[i]);
            let low = vsubl_u8(vget_low_u8(bytes), vget_low_u8(zero));
            let [low, high] = each([low, vsubl_high_u8(bytes, zero)], |w| {
                vreinterpretq_s16_u16(w)
            });
            let steps = [
                vmovl_s16(vget_low_s16(low)),
                vmovl_high_s16(low),
                vmovl_s16(vget_low_s16(high)),
                vmovl_high_s16(high),
            ];
            each(steps, |steps| vmulq_f32(vcvtq_f32_s32(steps), scales[i]))
        };
        let (a, b) = (steps(0, a), steps(1, b));
        let steps = std::array::from_fn(|q| vaddq_f32(a[q], b[q]));
        arm::store_u8x16(y, epilogue.bytes(steps));
    }
    look_up(&terms.epilogue, y);
}
