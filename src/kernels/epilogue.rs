//! From a number of steps to the byte that is stored, the end of every kernel.
//!
//! ```text
//! byte   = clamp(round(steps) + zero_point, low, high)      quant::nearest_byte
//! stored = table[byte], or byte where there is no table
//! ```
//!
//! A table is an activation that is no clamp: leaky ReLU, SiLU, hard-swish. It
//! may have a scale and zero point of its own, so the byte that stands for zero
//! in the output (`fill`, the border's) is not the `zero_point` here.
//!
//! A tile may repeat pixels of the one before, so a table is applied to bytes
//! that were just made and never to those that lie in the output.

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
    /// Each byte is replaced by this entry.
    Table(&'a [u8; 256]),
}

impl<'a> From<Option<&'a [u8; 256]>> for Activation<'a> {
    fn from(table: Option<&'a [u8; 256]>) -> Self {
        table.map_or(Self::None, Self::Table)
    }
}

impl<'a> Epilogue<'a> {
    /// The contract of every operation that has one.
    ///
    /// # Panics
    ///
    /// If no byte lies between the bounds.
    pub(super) fn check(&self) {
        assert!(self.low <= self.high, "{}..={}", self.low, self.high);
    }

    /// What replaces the bytes, if anything does.
    #[inline(always)]
    pub(super) const fn table(&self) -> Option<&'a [u8; 256]> {
        match self.activation {
            Activation::Table(table) => Some(table),
            Activation::None => None,
        }
    }

    /// The bounds in steps from the zero point.
    #[inline(always)]
    pub(super) fn bounds(&self) -> [f32; 2] {
        [self.low, self.high].map(|bound| f32::from(bound) - f32::from(self.zero_point))
    }

    /// The stored byte: the specification of what levels do to whole registers.
    pub(super) fn byte(&self, steps: f32) -> u8 {
        let byte = nearest_byte(steps, self.zero_point, self.low, self.high);
        self.table().map_or(byte, |table| table[usize::from(byte)])
    }
}
