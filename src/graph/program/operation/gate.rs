//! A tensor times a value per channel, as in squeeze-and-excitation.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Call, Ends, Lent, Operator};
use crate::{graph::program::view::View, kernels::gate as kernel};

/// A tensor times a value per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The values: a tensor of one pixel.
    pub gates: View,
    /// The scale of the product, in steps of the output.
    pub scale: f32,
}

impl Operator for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn second(&self) -> Option<&View> {
        Some(&self.gates)
    }

    fn second_mut(&mut self) -> Option<&mut View> {
        Some(&mut self.gates)
    }

    fn check(&self, ends: &Ends, _: &[u8]) -> Result<(), String> {
        let (x, y, Self { gates, scale }) = (&ends.input, &ends.output, self);
        let pixel = [y.channels, 1, 1];
        if x.shape() != y.shape() || gates.shape() != pixel || gates.image || !scale.is_finite() {
            return Err(format!(
                "multiplies {x:?} by {gates:?} and {scale} to {y:?}"
            ));
        }
        Ok(())
    }

    fn prepare(&self, ends: &Ends, _: &[u8]) -> Call {
        let call = kernel::Gate {
            input: ends.input.planes(),
            gate_border: self.gates.border as usize,
            out: ends.output.planes(),
            scale: self.scale,
            zero_points: [ends.input.zero_point, self.gates.zero_point],
            fill: ends.output.zero_point,
        };
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            kernel::gate(lent.isa, lent.threads, &call, lent.input, lent.second, y);
        })
    }
}
