//! Whole planes to another place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Call, Ends, Lent, Operator};

/// Whole planes, borders included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyPlanes;

impl Operator for CopyPlanes {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn check(&self, ends: &Ends, _: &[u8]) -> Result<(), String> {
        let (x, y) = (&ends.input, &ends.output);
        if x.tensor_shape() != y.tensor_shape() {
            return Err(format!("copies {x:?} to {y:?}"));
        }
        Ok(())
    }

    fn prepare(&self, _: &Ends, _: &[u8]) -> Call {
        Arc::new(|lent: &Lent<'_>, y: &mut [u8]| y.copy_from_slice(lent.input))
    }
}
