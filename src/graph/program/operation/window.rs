//! The window that a convolution or a pooling slides over its input.

use serde::{Deserialize, Serialize};

use super::Ends;
use crate::kernels::pool;

/// The longest side of a convolution's window.
pub(super) const MAX_KERNEL: u32 = 8;

/// The longest side of a pooling's window.
pub(super) const MAX_POOL: u32 = pool::MAX_KERNEL as u32;

/// The window of a convolution or a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Rows and columns of taps.
    pub kernel: [u32; 2],
    /// Vertical and horizontal stride.
    pub stride: [u32; 2],
    /// Padding above and on the left.
    pub pad: [u32; 2],
}

impl Window {
    /// Refuses a window whose padding is not in the input's border, or that reads past it at the
    /// right or below: convolutions read borders instead of testing for the edge.
    pub(super) fn check_border(&self, ends: &Ends) -> Result<(), String> {
        let Self { kernel, pad, .. } = self;
        let border = ends.input.border;
        if pad.iter().any(|&p| p > border) {
            return Err(format!("padding {pad:?} in a border of {border}"));
        }
        for axis in 0..2 {
            let last = self.last_tap(ends, axis);
            let size = [ends.input.height, ends.input.width][axis];
            if last + border > size + 2 * border + pad[axis] {
                return Err(format!(
                    "kernel {kernel:?} reads {last} of {size} inputs with padding {}",
                    pad[axis]
                ));
            }
        }
        Ok(())
    }

    /// Refuses sides and strides of 0 or above `maximum`, and outputs that see only padding.
    pub(super) fn check(&self, ends: &Ends, maximum: u32) -> Result<(), String> {
        let Self {
            kernel,
            stride,
            pad,
        } = self;
        let bad = |n: &u32| *n == 0 || *n > maximum;
        if kernel.iter().chain(stride).any(bad) || pad.iter().any(|&p| p >= maximum) {
            return Err(format!(
                "kernel {kernel:?}, stride {stride:?}, padding {pad:?}"
            ));
        }
        for axis in 0..2 {
            let first = self.last_tap(ends, axis) - kernel[axis];
            if first >= [ends.input.height, ends.input.width][axis] + pad[axis] {
                return Err(format!(
                    "its last window starts at {first}, outside the picture"
                ));
            }
        }
        Ok(())
    }

    /// One past the last row or column that is read, counted from the first of the padding.
    ///
    /// Asked of windows that were not checked yet, hence the minima: the product must not overflow.
    fn last_tap(&self, ends: &Ends, axis: usize) -> u32 {
        let out = [ends.output.height, ends.output.width][axis];
        (out - 1) * self.stride[axis].min(MAX_POOL) + self.kernel[axis].min(MAX_POOL)
    }

    /// The padding, as kernels count.
    pub(super) fn padding(&self) -> [usize; 2] {
        self.pad.map(|p| p as usize)
    }

    /// Number of taps.
    pub(super) fn taps(&self) -> u64 {
        u64::from(self.kernel[0] * self.kernel[1])
    }
}
