//! Running a program over its arena.

use std::fmt;

use bytemuck::AnyBitPattern;

use super::{
    Activation, ConvWeights, Epilogue, Kind, Operation, Place, Program, ProgramError, View, Window,
};
use crate::kernels::{
    self,
    add::{Add, add},
    conv::{Conv, conv},
    depthwise::{Depthwise, depthwise},
    gate::{Gate, gate},
    isa::Isa,
    layout::{GROUP, KernelShape, LANE, Magnitude},
    permute::{Permutation, Permute, permute},
    pool::{AveragePool, MaxPool, average_pool, max_pool},
    upsample::{upsample, upsample_linear},
};

/// A program ready to run: checked, with its tables and its arena.
///
/// The arena is allocated once, here; its size is [`Program::arena_bytes`].
#[derive(Clone)]
pub struct Executor {
    program: Program,
    /// One per operation.
    tables: Vec<Table>,
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

/// What an operation needs beside its constants, made from its shape when the program is loaded.
#[derive(Clone)]
enum Table {
    /// From an output's base to its inputs, and how large the weights are.
    Conv(Vec<u32>, Magnitude),
    /// From an output's base to its inputs.
    Offsets(Vec<u32>),
    Permutation(Permutation),
    None,
}

impl Table {
    fn new(op: &Operation, weights: &[u8]) -> Self {
        let input = op.input.planes();
        match &op.kind {
            Kind::Conv(Window { kernel, pad, .. }, c, _) => {
                let shape = op.kernel_shape(*kernel);
                let offsets = shape.offsets(&input, pad.map(|p| p as usize));
                let weights = conv_weights(op, &shape, c, weights);
                Self::Conv(offsets, Magnitude::of(weights, shape.groups()))
            }
            Kind::Depthwise(Window { kernel, pad, .. }, ..) => {
                let shape = op.depthwise_shape(*kernel);
                Self::Offsets(shape.offsets(&input, pad.map(|p| p as usize)))
            }
            Kind::Permute(map) => {
                let map = &weights[*map as usize..][..2 * LANE * op.output.blocks()];
                Self::Permutation(Permutation::new(bytemuck::cast_slice(map)))
            }
            _ => Self::None,
        }
    }
}

impl Executor {
    /// Checks a program against its weights section and prepares it.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Invalid`] if an operation reaches outside the arena, its inputs or the weights, or contradicts itself.
    pub fn new(program: Program, weights: &[u8]) -> Result<Self, ProgramError> {
        program.check(weights)?;
        let operations = program.operations.iter();
        Ok(Self {
            tables: operations.map(|op| Table::new(op, weights)).collect(),
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
    /// `inputs[i]` are the bytes of input `i`, `outputs[i]` those of output `i`, which are overwritten, `weights` the section that
    /// [`new`](Self::new) checked. `after` is called after each operation with its index and the planes that it wrote, for
    /// measuring and comparing.
    ///
    /// # Panics
    ///
    /// If there are more or fewer inputs or outputs than ports, one's length differs from its port's, or `weights` is shorter than the
    /// section that was checked.
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
        let operations = self.program.operations.iter().zip(&self.tables);
        for (i, (op, table)) in operations.enumerate() {
            let (y, readable) = lend(&mut self.arena, inputs, outputs, &op.output);
            run_operation(op, table, weights, &readable, y, (isa, threads));
            after(i, y);
        }
    }
}

/// Products below which a convolution is not shared: it takes less than some 10 µs, of which handing over eats up half.
const LEAST: u64 = 1 << 19;

/// `count` values of the weights section.
fn part<T: AnyBitPattern>(weights: &[u8], at: u32, count: usize) -> &[T] {
    bytemuck::cast_slice(&weights[at as usize..][..count * size_of::<T>()])
}

/// The packed weights of a convolution.
fn conv_weights<'a>(
    op: &Operation,
    shape: &KernelShape,
    constants: &ConvWeights,
    weights: &'a [u8],
) -> &'a [i8] {
    let channels = op.output.blocks() * LANE;
    part(weights, constants.weights, channels * shape.steps() * GROUP)
}

/// What a program says about requantisation, with its table.
fn epilogue<'a>(e: &Epilogue, weights: &'a [u8]) -> kernels::epilogue::Epilogue<'a> {
    use kernels::epilogue::Activation::{None, Slope, Table};
    let table = |at| weights.get(at as usize..)?.first_chunk();
    kernels::epilogue::Epilogue {
        zero_point: e.zero_point,
        low: e.clamp[0],
        high: e.clamp[1],
        activation: match e.activation {
            Activation::None => None,
            Activation::Table(at) => table(at).map_or(None, Table),
            Activation::Slope(slope) => Slope(slope),
        },
    }
}

/// One kernel call.
fn run_operation(
    op: &Operation,
    table: &Table,
    weights: &[u8],
    readable: &Readable<'_, '_>,
    y: &mut [u8],
    (isa, threads): (Isa, usize),
) {
    let (from, to) = (op.input.planes(), op.output.planes());
    let fill = op.output.zero_point;
    let x = readable.view(&op.input);
    let channels = op.output.blocks() * LANE;
    match (&op.kind, table) {
        (Kind::Conv(window, c, e), Table::Conv(offsets, magnitude)) => {
            let shape = op.kernel_shape(window.kernel);
            let call = Conv {
                offsets,
                groups: shape.groups(),
                pixel_step: window.stride[1] as usize * op.input.pixel_bytes(),
                row_step: window.stride[0] as usize * shape.row_bytes(&from),
                out: to,
                weights: conv_weights(op, &shape, c, weights),
                magnitude: *magnitude,
                bias: part(weights, c.bias, channels),
                bias_s8: part(weights, c.bias_s8, channels),
                scale: part(weights, c.scale, channels),
                epilogue: epilogue(e, weights),
                fill,
            };
            let threads = if op.macs() < LEAST { 1 } else { threads };
            conv(isa, threads, &call, x, y);
        }
        (Kind::Depthwise(window, c, e), Table::Offsets(offsets)) => {
            let taps = op.depthwise_shape(window.kernel).taps();
            let call = Depthwise {
                offsets,
                pixel_step: window.stride[1] as usize * LANE,
                row_step: window.stride[0] as usize * from.row_bytes(),
                input: from,
                out: to,
                weights: part(weights, c.weights, channels * taps),
                bias: part(weights, c.bias, channels),
                scale: part(weights, c.scale, channels),
                epilogue: epilogue(e, weights),
                fill,
            };
            depthwise(isa, threads, &call, x, y);
        }
        (Kind::Add(other, scales, e), _) => {
            let call = Add {
                a: from,
                b: other.planes(),
                out: to,
                scales: *scales,
                zero_points: [op.input.zero_point, other.zero_point],
                epilogue: epilogue(e, weights),
                fill,
            };
            add(isa, threads, &call, x, readable.view(other), y);
        }
        (Kind::Gate(gates, scale), _) => {
            let call = Gate {
                input: from,
                gate_border: gates.border as usize,
                out: to,
                scale: *scale,
                zero_points: [op.input.zero_point, gates.zero_point],
                fill,
            };
            gate(isa, threads, &call, x, readable.view(gates), y);
        }
        (Kind::MaxPool(window), _) => {
            let call = MaxPool {
                input: from,
                out: to,
                kernel: window.kernel.map(|n| n as usize),
                stride: window.stride.map(|n| n as usize),
                pad: window.pad.map(|n| n as usize),
                fill,
            };
            max_pool(threads, &call, x, y);
        }
        (Kind::AveragePool(scale), _) => {
            let call = AveragePool {
                input: from,
                out_border: to.border,
                scale: *scale,
                zero_points: [op.input.zero_point, fill],
            };
            average_pool(&call, x, y);
        }
        (Kind::Permute(_), Table::Permutation(permutation)) => {
            let call = Permute {
                permutation,
                input: from,
                out: to,
                fill,
            };
            permute(isa, threads, &call, x, y);
        }
        (Kind::Upsample, _) => upsample(from, to.border, fill, x, y),
        (Kind::UpsampleLinear, _) => upsample_linear(from, to.border, fill, x, y),
        (Kind::Copy, _) => y.copy_from_slice(x),
        _ => unreachable!("`new` made each operation's table"),
    }
}

/// Everything that an operation may read while it holds its output; `check` has shown that they do not overlap.
struct Readable<'a, 'b> {
    /// What lies before and behind the output in the same buffer: the arena, or the output of this index.
    before: &'a [u8],
    behind: &'a [u8],
    /// Where `behind` starts in that buffer.
    behind_at: usize,
    home: Option<usize>,
    /// The arena, if it is not the home.
    arena: &'a [u8],
    inputs: &'a [&'a [u8]],
    /// The program's outputs before and behind the home; all of them before if the arena is.
    outputs: [&'a [&'b mut [u8]]; 2],
}

/// Lends an operation its output, and the rest to read.
fn lend<'a, 'b>(
    arena: &'a mut [u8],
    inputs: &'a [&'a [u8]],
    outputs: &'a mut [&'b mut [u8]],
    output: &View,
) -> (&'a mut [u8], Readable<'a, 'b>) {
    let (buffer, at, home, arena, outputs): (&'a mut [u8], _, _, &'a [u8], _) = match output.place {
        Place::Arena(at) => (arena, at, None, &[], [&*outputs, &[]]),
        Place::Output(i, at) => {
            let (left, rest) = outputs.split_at_mut(i as usize);
            let (home, right) = rest.split_first_mut().expect("checked in `new`");
            (home, at, Some(i as usize), arena, [&*left, &*right])
        }
        Place::Input(_) => unreachable!("checked in `new`: nothing writes an input"),
    };
    let (before, rest) = buffer.split_at_mut(at as usize);
    let (output, behind) = rest.split_at_mut(output.bytes());
    let readable = Readable {
        behind_at: before.len() + output.len(),
        before,
        behind,
        home,
        arena,
        inputs,
        outputs,
    };
    (output, readable)
}

impl<'a> Readable<'a, '_> {
    /// The planes of an input.
    fn view(&self, view: &View) -> &'a [u8] {
        let bytes = view.bytes();
        let around = |at: u32| match (at as usize).checked_sub(self.behind_at) {
            Some(at) => &self.behind[at..][..bytes],
            None => &self.before[at as usize..][..bytes],
        };
        match (view.place, self.home) {
            (Place::Input(i), _) => self.inputs[i as usize],
            (Place::Arena(at), None) => around(at),
            (Place::Arena(at), Some(_)) => &self.arena[at as usize..][..bytes],
            (Place::Output(i, at), Some(home)) if i as usize == home => around(at),
            (Place::Output(i, at), home) => {
                let [left, right] = self.outputs;
                let buffer: &[u8] =
                    match (i as usize).checked_sub(home.map_or(left.len(), |h| h + 1)) {
                        Some(i) => right[i],
                        None => left[i as usize],
                    };
                &buffer[at as usize..][..bytes]
            }
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
