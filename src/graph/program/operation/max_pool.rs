//! Maximum of each window.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Call, Ends, Lent, Operator, Window, window::MAX_POOL};
use crate::kernels::pool as kernel;

/// The maximum of the bytes under a window; what lies outside the picture is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPool {
    /// The window, and how it moves.
    pub window: Window,
}

impl Operator for MaxPool {
    fn name(&self) -> &'static str {
        "max pool"
    }

    fn check(&self, ends: &Ends, _: &[u8]) -> Result<(), String> {
        let (x, y, window) = (&ends.input, &ends.output, &self.window);
        // no window lies in the padding alone: it would have no maximum
        let outside = (0..2).any(|i| window.pad[i] >= window.kernel[i]);
        if x.channels != y.channels || x.zero_point != y.zero_point || outside {
            return Err(format!("pools {x:?} to {y:?}"));
        }
        window.check(ends, MAX_POOL)
    }

    fn prepare(&self, ends: &Ends, _: &[u8]) -> Call {
        let Window { kernel, stride, .. } = self.window;
        let call = kernel::MaxPool {
            input: ends.input.planes(),
            out: ends.output.planes(),
            kernel: kernel.map(|n| n as usize),
            stride: stride.map(|n| n as usize),
            pad: self.window.padding(),
            fill: ends.output.zero_point,
        };
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            kernel::max_pool(lent.threads, &call, lent.input, y);
        })
    }
}
