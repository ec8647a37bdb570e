//! Channels in another order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Call, Constant, Ends, Lent, Operator, constants::part};
use crate::kernels::permute as kernel;

/// Channels in another order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Permute {
    /// Where in the weights section a u16 per channel of the output's planes lies: the channel of
    /// the input's planes that goes there, or [`u16::MAX`] for none.
    pub map: u32,
}

impl Operator for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn check(&self, ends: &Ends, weights: &[u8]) -> Result<(), String> {
        let (x, y) = (&ends.input, &ends.output);
        if (x.height, x.width, x.zero_point) != (y.height, y.width, y.zero_point) {
            return Err(format!("permutes {x:?} to {y:?}"));
        }
        let at = self.map as usize;
        let part = weights.get(at..at.saturating_add(2 * y.lanes()));
        let Some(Ok(map)) = part.map(bytemuck::try_cast_slice::<u8, u16>) else {
            let reason = "is not in the weights section";
            return Err(format!("its map at byte {at} {reason}"));
        };
        let (lanes, nothing) = (x.lanes(), kernel::Permutation::PADDING);
        let outside = |c: &&u16| **c != nothing && usize::from(**c) >= lanes;
        if let Some(bad) = map.iter().find(outside) {
            return Err(format!("takes channel {bad} of {lanes}"));
        }
        Ok(())
    }

    fn constants(&mut self, ends: &Ends) -> Vec<Constant<'_>> {
        let bytes = 2 * ends.output.lanes();
        vec![Constant::bytes("map", &mut self.map, bytes)]
    }

    fn prepare(&self, ends: &Ends, weights: &[u8]) -> Call {
        let ends = *ends;
        let permutation = kernel::Permutation::new(part(weights, self.map, ends.output.lanes()));
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            let call = kernel::Permute {
                permutation: &permutation,
                input: ends.input.planes(),
                out: ends.output.planes(),
                fill: ends.output.zero_point,
            };
            kernel::permute(lent.isa, lent.threads, &call, lent.input, y);
        })
    }
}
