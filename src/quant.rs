//! What a quantised byte means, and the one rule by which sums become bytes.
//!
//! A tensor stores `u`, an unsigned byte, and stands for the real number
//! `scale · (u - zero_point)`. ONNX stores the same tensor as `s = u - 128`
//! with the zero point shifted alike: relabelling, not arithmetic, so both
//! forms stand for the same numbers ([`Quant::from_signed`]).
//!
//! A layer sums products of inputs and weights, `acc = Σ (u_in - zp_in) · w`,
//! which stands for the real number `s_in · s_w · acc`. Its output byte is the
//! nearest `u` with `s_out · (u - zp_out) = s_in · s_w · acc`, that is
//! `u = zp_out + round(acc · s_in·s_w/s_out)`: one multiplication by a factor
//! known in advance, [`requantise`].
//!
//! The order of its steps is what makes the rule the same on every processor:
//!
//! | step | why there |
//! |---|---|
//! | multiply in `f32`, alone | no addition follows at once, so no compiler or level can fuse it |
//! | clamp | before the conversion, because an out-of-range `f32` becomes a different integer on x86 and Arm |
//! | round, ties to even | the mode all vector units share without a table |
//! | add the zero point | last, in integers; it cannot overflow after the clamp |
//!
//! Method: B. Jacob et al., arXiv:1712.05877, and gemmlowp's
//! `doc/quantization.md`; the multiplier is `f32` here, not fixed point.

/// The real numbers that a tensor's unsigned bytes stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// The real distance between two neighbouring bytes; positive and finite.
    pub scale: f32,
    /// The byte that stands for zero.
    pub zero_point: u8,
}

impl Quant {
    /// The same meaning from ONNX's signed terms, where bytes are `u - 128`.
    #[must_use]
    pub const fn from_signed(scale: f32, zero_point: i8) -> Self {
        Self {
            scale,
            zero_point: zero_point.cast_unsigned() ^ 0x80,
        }
    }

    /// The byte nearest to a real number; saturates, ties to even, NaN is zero.
    #[must_use]
    pub fn quantise(self, real: f32) -> u8 {
        let zero_point = f32::from(self.zero_point);
        let steps = (real / self.scale).clamp(-zero_point, 255.0 - zero_point);
        byte(steps, self.zero_point)
    }

    /// The real number that a byte stands for.
    #[must_use]
    pub fn dequantise(self, byte: u8) -> f32 {
        self.scale * f32::from(i16::from(byte) - i16::from(self.zero_point))
    }
}

/// The output byte for one sum: `clamp(zero_point + round(acc · scale), low, high)`.
///
/// `acc` already holds the bias; `scale` is `s_in · s_w / s_out` and finite;
/// `low ..= high` holds `zero_point`'s side of an activation (a ReLU has
/// `low = zero_point`). Every level of every kernel equals this bit for bit.
///
/// # Panics
///
/// If `low > high`.
#[must_use]
pub fn requantise(acc: i32, scale: f32, zero_point: u8, low: u8, high: u8) -> u8 {
    nearest_byte(acc as f32 * scale, zero_point, low, high)
}

/// The byte nearest to `zero_point + steps` in `low ..= high`: all of
/// [`requantise`] but the product.
///
/// # Panics
///
/// If `low > high`.
#[must_use]
pub fn nearest_byte(steps: f32, zero_point: u8, low: u8, high: u8) -> u8 {
    let from_zero = |bound: u8| f32::from(bound) - f32::from(zero_point);
    byte(steps.clamp(from_zero(low), from_zero(high)), zero_point)
}

/// Rounds steps that were clamped to the bytes' range around `zero_point`.
fn byte(steps: f32, zero_point: u8) -> u8 {
    (steps.round_ties_even() as i32 + i32::from(zero_point)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_even_step() {
        let bytes = [1, 3, 5, -1, -3].map(|acc| requantise(acc, 0.5, 10, 0, 255));
        assert_eq!(bytes, [10, 12, 12, 10, 8]);
    }

    #[test]
    fn the_step_is_made_even_before_the_zero_point_is_added() {
        assert_eq!(requantise(1, 0.5, 11, 0, 255), 11);
        assert_eq!(requantise(3, 0.5, 11, 0, 255), 13);
    }

    #[test]
    fn sums_beyond_the_bounds_saturate() {
        for (acc, scale) in [(i32::MAX, 1.0), (i32::MAX, f32::MAX), (300, 1.0)] {
            assert_eq!(requantise(acc, scale, 3, 0, 255), 255, "{acc} · {scale}");
            assert_eq!(requantise(-acc, scale, 3, 0, 255), 0, "-{acc} · {scale}");
        }
        assert_eq!(requantise(i32::MIN, 1.0, 128, 128, 200), 128);
        assert_eq!(requantise(i32::MAX, 1.0, 128, 128, 200), 200);
    }

    #[test]
    fn the_clamp_comes_before_the_rounding() {
        assert_eq!(requantise(5, 0.5, 0, 0, 2), 2);
        assert_eq!(requantise(-5, 0.5, 7, 7, 255), 7);
    }

    #[test]
    fn signed_terms_relabel_the_same_numbers() {
        let quant = Quant::from_signed(0.25, -128);
        assert_eq!(quant.zero_point, 0);
        assert_eq!(Quant::from_signed(0.25, 127).zero_point, 255);
        assert_eq!(Quant::from_signed(0.25, 0).zero_point, 128);
    }

    #[test]
    fn every_byte_survives_a_round_trip() {
        for zero_point in [0, 7, 128, 255] {
            let quant = Quant {
                scale: 0.037,
                zero_point,
            };
            for byte in 0..=255 {
                assert_eq!(quant.quantise(quant.dequantise(byte)), byte);
            }
        }
    }

    #[test]
    fn numbers_out_of_range_and_nan_become_bytes() {
        let quant = Quant {
            scale: 0.1,
            zero_point: 9,
        };
        let bytes = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN].map(|real| quant.quantise(real));
        assert_eq!(bytes, [255, 0, 9]);
    }
}
