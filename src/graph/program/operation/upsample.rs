//! Upsampling by two, of the nearest pixel or linear between two.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Call, Ends, Lent, Operator};
use crate::kernels::upsample as kernel;

/// Nearest-neighbour upsampling by two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upsample;

/// Linear upsampling by two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpsampleLinear;

impl Operator for Upsample {
    fn name(&self) -> &'static str {
        "upsample"
    }

    fn check(&self, ends: &Ends, _: &[u8]) -> Result<(), String> {
        check(ends)
    }

    fn prepare(&self, ends: &Ends, _: &[u8]) -> Call {
        let (from, to) = (ends.input.planes(), ends.output);
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            kernel::upsample(from, to.border as usize, to.zero_point, lent.input, y);
        })
    }
}

impl Operator for UpsampleLinear {
    fn name(&self) -> &'static str {
        "upsample linear"
    }

    fn check(&self, ends: &Ends, _: &[u8]) -> Result<(), String> {
        check(ends)
    }

    fn prepare(&self, ends: &Ends, _: &[u8]) -> Call {
        let (from, to) = (ends.input.planes(), ends.output);
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            kernel::upsample_linear(from, to.border as usize, to.zero_point, lent.input, y);
        })
    }
}

/// Both double the size and nothing else.
fn check(ends: &Ends) -> Result<(), String> {
    let (x, y) = (&ends.input, &ends.output);
    let doubled = [x.channels, 2 * x.height, 2 * x.width];
    if doubled != y.shape() || x.zero_point != y.zero_point {
        return Err(format!("upsamples {x:?} to {y:?}"));
    }
    Ok(())
}
