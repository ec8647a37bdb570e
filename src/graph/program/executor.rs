//! Running a program over its arena.

use std::fmt;

use super::{
    Operation, Program, ProgramError, View,
    lend::lend,
    operation::{Call, Lent},
};
use crate::{
    kernels::{isa::Isa, layout::LANE},
    team::background::give_way,
};

/// A program ready to run: checked, with its prepared kernel calls and its arena.
///
/// The arena is allocated once, here; its size is [`Program::arena_bytes`].
#[derive(Clone)]
pub struct Executor {
    program: Program,
    /// One per operation.
    calls: Vec<Call>,
    arena: Vec<u8>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Executor of {} operations",
            self.program.operations.len()
        )
    }
}

impl Executor {
    /// Checks a program against its weights section and prepares it.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Invalid`] if an operation reaches outside the arena, its inputs or the
    /// weights, or contradicts itself.
    pub fn new(program: Program, weights: &[u8]) -> Result<Self, ProgramError> {
        program.check(weights)?;
        let prepare = |op: &Operation| op.kind.operator().prepare(&op.ends(), weights);
        Ok(Self {
            calls: program.operations.iter().map(prepare).collect(),
            arena: vec![0; program.arena_bytes as usize],
            program,
        })
    }

    /// What is run.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Buffers for the outputs of [`run`](Self::run).
    #[must_use]
    pub fn outputs(&self) -> Vec<Vec<u8>> {
        let ports = self.program.outputs.iter();
        ports.map(|port| vec![0; port.view.bytes()]).collect()
    }

    /// Runs all operations.
    ///
    /// `inputs[i]` are the bytes of input `i`, `outputs[i]` those of output `i`, which are
    /// overwritten, `weights` the section that [`new`](Self::new) checked. `after` is called after
    /// each operation with its index and the planes that it wrote, for measuring and comparing.
    ///
    /// # Panics
    ///
    /// If there are more or fewer inputs or outputs than ports, one's length differs from its
    /// port's, or `weights` is shorter than the section that was checked.
    pub fn run(
        &mut self,
        isa: Isa,
        threads: usize,
        weights: &[u8],
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        mut after: impl FnMut(usize, &[u8]),
    ) {
        let Program {
            inputs: from,
            outputs: to,
            ..
        } = &self.program;
        assert_eq!(
            (inputs.len(), outputs.len()),
            (from.len(), to.len()),
            "inputs, outputs"
        );
        for (port, input) in from.iter().zip(inputs) {
            assert_eq!(input.len(), port.view.bytes(), "bytes of {}", port.name);
        }
        for (port, output) in to.iter().zip(&*outputs) {
            assert_eq!(output.len(), port.view.bytes(), "bytes of {}", port.name);
        }
        let operations = self.program.operations.iter().zip(&self.calls);
        for (i, (op, call)) in operations.enumerate() {
            let (y, readable) = lend(&mut self.arena, inputs, outputs, &op.output);
            let second = op.kind.operator().second();
            let lent = Lent {
                isa,
                threads,
                weights,
                input: readable.view(&op.input),
                second: second.map_or(&[], |view| readable.view(view)),
            };
            call(&lent, y);
            after(i, y);
            // a text that is encoded beside the loop lets a frame pass
            give_way();
        }
    }
}

/// Planes of unsigned bytes, borders included, to `[height, width, channels]` of signed ones.
///
/// # Panics
///
/// If `from` are not the view's planes or `to` has another length than the shape.
pub fn nhwc_from_planes(view: &View, from: &[u8], to: &mut [u8]) {
    let (planes, channels) = (view.planes(), view.channels as usize);
    assert_eq!(
        to.len(),
        planes.height * planes.width * channels,
        "bytes of an output"
    );
    for (block, plane) in from.chunks_exact(planes.bytes()).enumerate() {
        let first = block * LANE;
        let count = LANE.min(channels - first);
        for row in 0..planes.height {
            let start = planes.origin() + row * planes.row_bytes();
            let pixels = plane[start..start + planes.width * LANE].chunks_exact(LANE);
            let rows = to[row * planes.width * channels..].chunks_exact_mut(channels);
            for (pixel, out) in pixels.zip(rows) {
                for (o, p) in out[first..first + count].iter_mut().zip(pixel) {
                    *o = p ^ 0x80;
                }
            }
        }
    }
}
