//! Mean of each channel over the whole picture.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Call, Ends, Lent, Operator};
use crate::kernels::pool as kernel;

/// Mean of each channel over the whole picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragePool {
    /// The factor of the sum of all pixels, in steps of the output.
    pub scale: f32,
}

impl Operator for AveragePool {
    fn name(&self) -> &'static str {
        "average pool"
    }

    fn check(&self, ends: &Ends, _: &[u8]) -> Result<(), String> {
        let (x, y, scale) = (&ends.input, &ends.output, self.scale);
        if y.shape() != [x.channels, 1, 1] || !scale.is_finite() {
            return Err(format!("averages {x:?} to {y:?} with a scale of {scale}"));
        }
        Ok(())
    }

    fn prepare(&self, ends: &Ends, _: &[u8]) -> Call {
        let call = kernel::AveragePool {
            input: ends.input.planes(),
            out_border: ends.output.planes().border,
            scale: self.scale,
            zero_points: [ends.input.zero_point, ends.output.zero_point],
        };
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| kernel::average_pool(&call, lent.input, y))
    }
}
