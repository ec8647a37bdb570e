//! From a number of steps to the byte that is stored, the end of every kernel.
//!
//! ```text
//! steps  = steps, or slope · steps below zero               leaky ReLU
//! byte   = clamp(round(steps) + zero_point, low, high)      quant::nearest_byte
//! stored = table[byte], or byte where there is no table     SiLU, hard-swish, …
//! ```
//!
//! A slope is applied before anything is rounded, so nothing is lost below zero;
//! being in `0 < slope ≤ 1` it makes the greater of `steps` and `slope · steps`,
//! two instructions. Levels have code with and code without (`LEAKY`), chosen once
//! per tile or row: what has no slope pays nothing for it.
//!
//! A table is any other function. It may have a scale and zero point of its own,
//! so the byte that stands for zero in the output (`fill`, the border's) is not
//! the `zero_point` here.
//!
//! A tile may repeat pixels of the one before, so a table is applied to bytes
//! that were just made and never to those that lie in the output.

#[cfg(target_arch = "x86_64")]
use super::each::each;
use crate::quant::nearest_byte;

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512_vnni;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;

/// How steps become bytes; see the [module](self) for the formula.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// The byte of no steps.
    pub zero_point: u8,
    /// The least byte; the zero point after a ReLU.
    pub low: u8,
    /// The greatest byte.
    pub high: u8,
    /// An activation that is no clamp.
    pub activation: Activation<'a>,
}

/// What is done to sums or bytes beside the clamp.
#[derive(Clone, Copy, Debug)]
pub enum Activation<'a> {
    /// Nothing.
    None,
    /// Leaky ReLU: steps below zero count this much, more than 0 and at most 1.
    Slope(f32),
    /// Each byte is replaced by this entry.
    Table(&'a [u8; 256]),
}

impl<'a> Epilogue<'a> {
    /// The contract of every operation that has one.
    ///
    /// # Panics
    ///
    /// If no byte lies between the bounds, or a slope is not in `0 < slope ≤ 1`.
    pub(super) fn check(&self) {
        assert!(self.low <= self.high, "{}..={}", self.low, self.high);
        if let Some(slope) = self.slope() {
            assert!(slope > 0.0 && slope <= 1.0, "a slope of {slope}");
        }
    }

    /// What steps below zero count, if that is not 1.
    #[inline(always)]
    pub(super) const fn slope(&self) -> Option<f32> {
        match self.activation {
            Activation::Slope(slope) => Some(slope),
            Activation::None | Activation::Table(_) => None,
        }
    }

    /// What replaces the bytes, if anything does.
    #[inline(always)]
    pub(super) const fn table(&self) -> Option<&'a [u8; 256]> {
        match self.activation {
            Activation::Table(table) => Some(table),
            Activation::None | Activation::Slope(_) => None,
        }
    }

    /// The bounds in steps from the zero point.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn bounds(&self) -> [f32; 2] {
        each([self.low, self.high], |bound| {
            f32::from(bound) - f32::from(self.zero_point)
        })
    }

    /// The stored byte: the specification of what levels do to whole registers.
    pub(super) fn byte(&self, steps: f32) -> u8 {
        let steps = match self.slope() {
            Some(slope) if steps < 0.0 => slope * steps,
            _ => steps,
        };
        let byte = nearest_byte(steps, self.zero_point, self.low, self.high);
        self.table().map_or(byte, |table| table[usize::from(byte)])
    }
}
