//! Sum of two tensors, each times its scale.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Call, Constant, Ends, Epilogue, Lent, Operator};
use crate::{graph::program::view::View, kernels::add as kernel};

/// Sum of two tensors, each times its scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Add {
    /// The tensor that is added to the input.
    pub other: View,
    /// The input's scale and the other's, in steps of the output.
    pub scales: [f32; 2],
    /// From a sum to a byte.
    pub epilogue: Epilogue,
}

impl Operator for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn second(&self) -> Option<&View> {
        Some(&self.other)
    }

    fn second_mut(&mut self) -> Option<&mut View> {
        Some(&mut self.other)
    }

    fn check(&self, ends: &Ends, weights: &[u8]) -> Result<(), String> {
        let (x, y, other) = (&ends.input, &ends.output, &self.other);
        if x.shape() != y.shape() || other.shape() != y.shape() || other.image {
            return Err(format!("adds {x:?} and {other:?} to {y:?}"));
        }
        if !self.scales.iter().all(|s| s.is_finite()) {
            return Err(format!("scales {:?}", self.scales));
        }
        self.epilogue.check(y, weights)
    }

    fn constants(&mut self, _: &Ends) -> Vec<Constant<'_>> {
        self.epilogue.constant().into_iter().collect()
    }

    fn prepare(&self, ends: &Ends, _: &[u8]) -> Call {
        let (add, ends) = (*self, *ends);
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            let call = kernel::Add {
                a: ends.input.planes(),
                b: add.other.planes(),
                out: ends.output.planes(),
                scales: add.scales,
                zero_points: [ends.input.zero_point, add.other.zero_point],
                epilogue: add.epilogue.with_table(lent.weights),
                fill: ends.output.zero_point,
            };
            kernel::add(lent.isa, lent.threads, &call, lent.input, lent.second, y);
        })
    }
}
