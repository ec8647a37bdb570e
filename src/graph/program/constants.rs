//! Where a program's constants lie in its weights section, and how to give them another.

use std::ops::Range;

use super::{Activation, ConvWeights, DepthwiseWeights, Epilogue, Kind, Operation, Program};
use crate::kernels::layout::{LANE, ROW};

/// What an operation refers to: a word for messages, where it starts, and how many bytes it has.
type Constant<'a> = (&'static str, &'a mut u32, usize);

impl Program {
    /// The same program for another weights section, to which `put` adds a part and says where it is.
    ///
    /// # Panics
    ///
    /// If a constant is not in `weights`, which [`Executor::new`](super::Executor::new) refuses.
    #[must_use]
    pub fn moved(mut self, weights: &[u8], mut put: impl FnMut(&[u8]) -> u32) -> Self {
        for op in &mut self.operations {
            let mut kind = op.kind;
            for (_, at, bytes) in all(op, &mut kind) {
                *at = put(&weights[*at as usize..][..bytes]);
            }
            op.kind = kind;
        }
        self
    }
}

/// The parts of a convolution's constants, and the bytes they occupy.
pub(super) fn of_convolution(op: &Operation) -> Vec<(&'static str, Range<usize>)> {
    let mut kind = op.kind;
    let parts = all(op, &mut kind).into_iter().map(|(what, at, bytes)| {
        let at = *at as usize;
        (what, at..at.saturating_add(bytes))
    });
    parts
        .filter(|(what, _)| *what != "table" && *what != "map")
        .collect()
}

/// All that an operation refers to, in a copy of its kind.
fn all<'k>(op: &Operation, kind: &'k mut Kind) -> Vec<Constant<'k>> {
    let channels = op.output.blocks() * LANE;
    let rows = match op.kind {
        Kind::Conv(w, ..) => op.output.blocks() * op.kernel_shape(w.kernel).steps() * ROW,
        Kind::Depthwise(w, ..) => op.depthwise_shape(w.kernel).taps() * channels,
        _ => 0,
    };
    let (mut parts, epilogue): (Vec<Constant<'_>>, Option<&mut Epilogue>) = match kind {
        Kind::Conv(_, c, epilogue) => {
            let ConvWeights {
                weights,
                bias,
                bias_s8,
                scale,
            } = c;
            let parts = vec![
                ("weights", weights, rows),
                ("biases", bias, channels * 4),
                ("signed biases", bias_s8, channels * 4),
                ("scales", scale, channels * 4),
            ];
            (parts, Some(epilogue))
        }
        Kind::Depthwise(_, c, epilogue) => {
            let DepthwiseWeights {
                weights,
                bias,
                scale,
            } = c;
            let parts = vec![
                ("weights", weights, rows),
                ("biases", bias, channels * 4),
                ("scales", scale, channels * 4),
            ];
            (parts, Some(epilogue))
        }
        Kind::Add(_, _, epilogue) => (vec![], Some(epilogue)),
        Kind::Permute(map) => (vec![("map", map, 2 * channels)], None),
        Kind::MaxPool(_)
        | Kind::AveragePool(_)
        | Kind::Upsample
        | Kind::UpsampleLinear
        | Kind::Copy
        | Kind::Gate(..) => (vec![], None),
    };
    if let Some(Epilogue {
        activation: Activation::Table(at),
        ..
    }) = epilogue
    {
        parts.push(("table", at, 256));
    }
    parts
}
