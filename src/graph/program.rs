//! An int8 program: kernel calls over one arena, planned before the first frame.
//!
//! A [`Program`] is data: it is made on the host ([`lower`](super::lower)), stored in the pack as the attribute of one ONNX
//! node, and checked here against its weights and its arena before anything runs. An [`Executor`] adds what does not belong
//! in a file: tables of offsets and the arena itself. Running allocates nothing.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::kernels::{
    conv::{Conv, conv},
    isa::Isa,
    layout::{KernelShape, LANE, Planes},
    upsample::upsample,
};

/// Where a value lives while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the tensor given as this input; read in place.
    Input(u32),
    /// In the arena, from this byte.
    Arena(u32),
}

/// A tensor of the program: consecutive planes of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Where its first plane starts.
    pub place: Place,
    /// Channels that mean something; planes hold them in sixteens, or three of four in an image.
    pub channels: u32,
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Pixels around, filled with the zero point.
    pub border: u32,
    /// Whether this is an image: one plane with pixels of 4 bytes.
    pub image: bool,
    /// The byte that stands for zero.
    pub zero_point: u8,
}

impl View {
    /// The shape of one plane.
    #[must_use]
    pub const fn planes(&self) -> Planes {
        Planes {
            height: self.height as usize,
            width: self.width as usize,
            border: self.border as usize,
        }
    }

    /// Number of planes.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        if self.image {
            1
        } else {
            (self.channels as usize).div_ceil(LANE)
        }
    }

    /// Bytes of a pixel in one plane.
    #[must_use]
    pub const fn pixel_bytes(&self) -> usize {
        if self.image { 4 } else { LANE }
    }

    /// Bytes of all planes, borders included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes_u64() as usize
    }

    /// The same where it may not fit the address space: before a foreign view has been checked.
    const fn bytes_u64(&self) -> u64 {
        let side = 2 * self.border as u64;
        let pixels = (self.height as u64 + side) * (self.width as u64 + side);
        (self.blocks() * self.pixel_bytes()) as u64 * pixels
    }

    /// `[planes, rows, pixels, bytes]`, borders included: the shape of this view as a tensor of bytes.
    #[must_use]
    pub const fn tensor_shape(&self) -> [usize; 4] {
        let border = 2 * self.border as usize;
        [
            self.blocks(),
            self.height as usize + border,
            self.width as usize + border,
            self.pixel_bytes(),
        ]
    }
}

/// How an output leaves the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Unsigned bytes in planes, ready to be another program's input.
    Planes,
    /// Signed bytes `[height, width, channels]`.
    Nhwc,
}

/// An input or output, with the meaning of its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the ONNX graph.
    pub name: String,
    /// Where it lies.
    pub view: View,
    /// Its form outside.
    pub form: Form,
    /// `real = scale · (signed byte - zero_point)`.
    pub scale: f32,
    /// The signed byte that stands for zero.
    pub zero_point: i8,
}

impl Port {
    /// The shape of the tensor outside: `[planes, rows, pixels, bytes]` or `[height, width, channels]`.
    #[must_use]
    pub fn tensor_shape(&self) -> Vec<usize> {
        let v = &self.view;
        match self.form {
            Form::Planes => v.tensor_shape().to_vec(),
            Form::Nhwc => vec![v.height as usize, v.width as usize, v.channels as usize],
        }
    }
}

/// Where a convolution's constants lie in the weights section, in bytes; every part starts on a multiple of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvWeights {
    /// Packed weights, i8.
    pub weights: u32,
    /// Biases for unsigned bytes, i32 per padded output channel.
    pub bias: u32,
    /// Biases for signed bytes, i32.
    pub bias_s8: u32,
    /// Requantisation scales, f32.
    pub scale: u32,
}

/// One kernel call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The node of the ONNX graph it came from.
    pub name: String,
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// What is done.
    pub kind: Kind,
}

/// What an [`Operation`] does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// Convolution, bias, requantisation and clamp.
    Conv {
        /// Rows and columns of taps.
        kernel: [u32; 2],
        /// Vertical and horizontal stride.
        stride: [u32; 2],
        /// Padding above and on the left.
        pad: [u32; 2],
        /// Its constants.
        constants: ConvWeights,
        /// Least and greatest byte of the output.
        clamp: [u8; 2],
    },
    /// Nearest-neighbour upsampling by two.
    Upsample,
    /// Whole planes, borders included.
    Copy,
}

impl Operation {
    /// Multiply-accumulates, padding of channels not counted.
    #[must_use]
    pub fn macs(&self) -> u64 {
        match self.kind {
            Kind::Conv { kernel, .. } => {
                u64::from(self.output.height * self.output.width)
                    * u64::from(self.output.channels)
                    * u64::from(self.input.channels * kernel[0] * kernel[1])
            }
            Kind::Upsample | Kind::Copy => 0,
        }
    }
}

/// Kernel calls over one arena.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Tensors given by the caller.
    pub inputs: Vec<Port>,
    /// Tensors handed back.
    pub outputs: Vec<Port>,
    /// In the order in which they run.
    pub operations: Vec<Operation>,
    /// Size of the arena.
    pub arena_bytes: u32,
}

/// Why a program was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramError {
    /// The bytes are not a program of this version.
    Decode(String),
    /// An operation contradicts itself, its arena or its weights.
    Invalid {
        /// The operation or port.
        name: String,
        /// What is wrong, with the numbers.
        reason: String,
    },
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(why) => write!(f, "not an int8 program of this version: {why}"),
            Self::Invalid { name, reason } => write!(f, "program operation {name}: {reason}"),
        }
    }
}

impl std::error::Error for ProgramError {}

/// Dimensions and counts above this are refused, so that no product below overflows.
const MAX_DIMENSION: u32 = 1 << 12;

/// Arenas and tensors above this are refused: a few damaged bytes must not ask for more memory than a board has.
const MAX_BYTES: u64 = 1 << 28;

impl Program {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Decode`] if the bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        postcard::from_bytes(bytes).map_err(|e| ProgramError::Decode(e.to_string()))
    }

    /// The program as bytes (postcard).
    ///
    /// # Errors
    ///
    /// [`ProgramError::Decode`] if it cannot be written, which only running out of memory causes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ProgramError> {
        postcard::to_allocvec(self).map_err(|e| ProgramError::Decode(e.to_string()))
    }

    /// Multiply-accumulates of one run.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.operations.iter().map(Operation::macs).sum()
    }

    /// Checks everything that a run relies on, so that a hostile file ends here and not in a kernel.
    fn check(&self, weights: &[u8]) -> Result<(), ProgramError> {
        if u64::from(self.arena_bytes) > MAX_BYTES {
            return Err(invalid(
                "arena",
                format!("{} bytes; up to {MAX_BYTES} are allowed", self.arena_bytes),
            ));
        }
        for (i, port) in self.inputs.iter().enumerate() {
            self.check_view(&port.name, &port.view)?;
            if port.view.place != Place::Input(i as u32) || port.form != Form::Planes {
                return Err(invalid(&port.name, format!("input {i} lies elsewhere")));
            }
        }
        for port in &self.outputs {
            self.check_view(&port.name, &port.view)?;
            if !matches!(port.view.place, Place::Arena(_)) || port.view.image {
                return Err(invalid(
                    &port.name,
                    "an output lies outside the arena".into(),
                ));
            }
        }
        self.operations
            .iter()
            .try_for_each(|op| self.check_operation(op, weights))
    }

    fn check_view(&self, name: &str, v: &View) -> Result<(), ProgramError> {
        for (what, n) in [
            ("channels", v.channels),
            ("rows", v.height),
            ("columns", v.width),
        ] {
            if n == 0 || n > MAX_DIMENSION {
                return Err(invalid(name, format!("{n} {what}")));
            }
        }
        if v.border > 8 {
            return Err(invalid(name, format!("a border of {}", v.border)));
        }
        if v.image && v.channels > 4 {
            return Err(invalid(
                name,
                format!("an image of {} channels", v.channels),
            ));
        }
        if v.bytes_u64() > MAX_BYTES {
            return Err(invalid(
                name,
                format!("{} bytes; up to {MAX_BYTES} are allowed", v.bytes_u64()),
            ));
        }
        match v.place {
            Place::Arena(at) => {
                let end = u64::from(at) + v.bytes_u64();
                if end > u64::from(self.arena_bytes) {
                    return Err(invalid(
                        name,
                        format!("ends at byte {end} of an arena of {}", self.arena_bytes),
                    ));
                }
            }
            Place::Input(i) => {
                let same = |port: &Port| port.view.tensor_shape() == v.tensor_shape();
                if !self.inputs.get(i as usize).is_some_and(same) {
                    return Err(invalid(
                        name,
                        format!("reads input {i} in another shape than it has"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_operation(&self, op: &Operation, weights: &[u8]) -> Result<(), ProgramError> {
        let fail = |reason: String| Err(invalid(&op.name, reason));
        self.check_view(&op.name, &op.input)?;
        self.check_view(&op.name, &op.output)?;
        let Place::Arena(to) = op.output.place else {
            return fail("writes its input".into());
        };
        if let Place::Arena(from) = op.input.place {
            let (from, to) = (from as usize, to as usize);
            if from < to + op.output.bytes() && to < from + op.input.bytes() {
                return fail("reads what it writes".into());
            }
        }
        if op.output.image {
            return fail("writes an image".into());
        }
        let (x, y) = (&op.input, &op.output);
        match op.kind {
            Kind::Upsample => {
                let doubled = (2 * x.height, 2 * x.width, x.channels, x.zero_point);
                if x.image || doubled != (y.height, y.width, y.channels, y.zero_point) {
                    return fail(format!("upsamples {x:?} to {y:?}"));
                }
            }
            Kind::Copy => {
                if (x.image, x.tensor_shape()) != (false, y.tensor_shape()) {
                    return fail(format!("copies {x:?} to {y:?}"));
                }
            }
            Kind::Conv {
                kernel,
                stride,
                pad,
                constants,
                clamp,
            } => {
                if kernel.iter().chain(&stride).any(|&n| n == 0 || n > 8) {
                    return fail(format!("kernel {kernel:?}, stride {stride:?}"));
                }
                if pad.iter().any(|&p| p > x.border) {
                    return fail(format!("padding {pad:?} in a border of {}", x.border));
                }
                if clamp[0] > clamp[1] {
                    return fail(format!("clamps to {clamp:?}"));
                }
                for axis in 0..2 {
                    let (size, out) = ([x.height, x.width][axis], [y.height, y.width][axis]);
                    let last = (out - 1) * stride[axis] + kernel[axis];
                    if last + x.border > size + 2 * x.border + pad[axis] {
                        return fail(format!(
                            "{out} outputs read {last} of {size} inputs with padding {}",
                            pad[axis]
                        ));
                    }
                }
                let shape = op.kernel_shape(kernel);
                for (what, range) in shape_ranges(&shape, &constants) {
                    let end = range.end;
                    let Some(part) = weights.get(range) else {
                        return fail(format!(
                            "{what} end at byte {end} of a weights section of {}",
                            weights.len()
                        ));
                    };
                    if what != "weights" && bytemuck::try_cast_slice::<u8, i32>(part).is_err() {
                        return fail(format!("{what} end at byte {end}, which is not aligned"));
                    }
                    // what kernels of all levels agree on, and only that
                    if what == "weights" && part.contains(&i8::MIN.cast_unsigned()) {
                        return fail("a weight is -128".into());
                    }
                    let finite =
                        |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite();
                    if what == "scales" && !part.chunks_exact(4).all(finite) {
                        return fail("a scale is not finite".into());
                    }
                }
            }
        }
        Ok(())
    }
}

impl Operation {
    fn kernel_shape(&self, kernel: [u32; 2]) -> KernelShape {
        KernelShape {
            out_channels: self.output.channels as usize,
            in_channels: self.input.channels as usize,
            height: kernel[0] as usize,
            width: kernel[1] as usize,
            image: self.input.image,
        }
    }
}

/// The parts of a convolution's constants and the bytes they occupy.
fn shape_ranges(shape: &KernelShape, c: &ConvWeights) -> [(&'static str, Range<usize>); 4] {
    let channels = shape.out_blocks() * LANE;
    let range = |at: u32, bytes: usize| at as usize..(at as usize).saturating_add(bytes);
    [
        ("weights", range(c.weights, channels * shape.steps() * 4)),
        ("biases", range(c.bias, channels * 4)),
        ("signed biases", range(c.bias_s8, channels * 4)),
        ("scales", range(c.scale, channels * 4)),
    ]
}

fn invalid(name: &str, reason: String) -> ProgramError {
    ProgramError::Invalid {
        name: name.to_owned(),
        reason,
    }
}

/// A program ready to run: checked, with its tables and its arena.
///
/// The arena is allocated once, here; its size is [`Program::arena_bytes`].
#[derive(Clone)]
pub struct Executor {
    program: Program,
    /// Offsets of all convolutions, one after the other, and where each operation's end.
    offsets: Vec<u32>,
    ends: Vec<usize>,
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
    /// [`ProgramError::Invalid`] if an operation reaches outside the arena, its inputs or the weights, or contradicts itself.
    pub fn new(program: Program, weights: &[u8]) -> Result<Self, ProgramError> {
        program.check(weights)?;
        let (mut offsets, mut ends) = (Vec::new(), Vec::new());
        for op in &program.operations {
            if let Kind::Conv { kernel, pad, .. } = op.kind {
                let shape = op.kernel_shape(kernel);
                offsets.extend(shape.offsets(&op.input.planes(), pad.map(|p| p as usize)));
            }
            ends.push(offsets.len());
        }
        let arena = vec![0; program.arena_bytes as usize];
        Ok(Self {
            program,
            offsets,
            ends,
            arena,
        })
    }

    /// What is run.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Runs all operations; afterwards [`output`](Self::output) holds the results.
    ///
    /// `inputs[i]` are the bytes of input `i` in planes, `weights` the section that [`new`](Self::new) checked. `after` is
    /// called after each operation with its index and the planes that it wrote, for measuring and comparing.
    ///
    /// # Panics
    ///
    /// If an input's length differs from its port's, or `weights` is shorter than the section that was checked.
    pub fn run(
        &mut self,
        isa: Isa,
        threads: usize,
        weights: &[u8],
        inputs: &[&[u8]],
        mut after: impl FnMut(usize, &[u8]),
    ) {
        assert_eq!(inputs.len(), self.program.inputs.len(), "inputs");
        for (port, input) in self.program.inputs.iter().zip(inputs) {
            assert_eq!(input.len(), port.view.bytes(), "bytes of {}", port.name);
        }
        let mut start = 0;
        for (i, op) in self.program.operations.iter().enumerate() {
            let offsets = &self.offsets[start..self.ends[i]];
            start = self.ends[i];
            let (x, y) = lend(&mut self.arena, inputs, &op.input, &op.output);
            match op.kind {
                Kind::Conv {
                    kernel,
                    stride,
                    constants,
                    clamp,
                    ..
                } => {
                    let shape = op.kernel_shape(kernel);
                    let [w, b, s8, s] =
                        shape_ranges(&shape, &constants).map(|(_, range)| &weights[range]);
                    let input = op.input.planes();
                    let call = Conv {
                        offsets,
                        groups: shape.groups(),
                        pixel_step: stride[1] as usize * op.input.pixel_bytes(),
                        row_step: stride[0] as usize * shape.row_bytes(&input),
                        out: op.output.planes(),
                        weights: bytemuck::cast_slice(w),
                        bias: bytemuck::cast_slice(b),
                        bias_s8: bytemuck::cast_slice(s8),
                        scale: bytemuck::cast_slice(s),
                        zero_point: op.output.zero_point,
                        low: clamp[0],
                        high: clamp[1],
                        table: None,
                        fill: op.output.zero_point,
                    };
                    conv(isa, threads, &call, x, y);
                }
                Kind::Copy => y.copy_from_slice(x),
                Kind::Upsample => upsample(
                    op.input.planes(),
                    op.output.planes().border,
                    op.output.zero_point,
                    x,
                    y,
                ),
            }
            after(i, y);
        }
    }

    /// Copies output `i` into `to`, in the form its port names.
    ///
    /// # Panics
    ///
    /// If there is no such output or `to` is not exactly as long as [`Port::tensor_shape`] says.
    pub fn output(&self, i: usize, to: &mut [u8]) {
        let port = &self.program.outputs[i];
        let Place::Arena(at) = port.view.place else {
            unreachable!("checked in `new`: outputs lie in the arena")
        };
        let from = &self.arena[at as usize..at as usize + port.view.bytes()];
        match port.form {
            Form::Planes => to.copy_from_slice(from),
            Form::Nhwc => nhwc_from_planes(&port.view, from, to),
        }
    }
}

/// Borrows an operation's input and output from the arena at once; `check` has shown that they do not overlap.
fn lend<'a>(
    arena: &'a mut [u8],
    inputs: &[&'a [u8]],
    x: &View,
    y: &View,
) -> (&'a [u8], &'a mut [u8]) {
    let Place::Arena(to) = y.place else {
        unreachable!("checked in `new`: operations write the arena")
    };
    let (to, y_len) = (to as usize, y.bytes());
    match x.place {
        Place::Input(i) => (inputs[i as usize], &mut arena[to..to + y_len]),
        Place::Arena(from) if (from as usize) < to => {
            let (left, right) = arena.split_at_mut(to);
            (
                &left[from as usize..from as usize + x.bytes()],
                &mut right[..y_len],
            )
        }
        Place::Arena(from) => {
            let (left, right) = arena.split_at_mut(from as usize);
            (&right[..x.bytes()], &mut left[to..to + y_len])
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
