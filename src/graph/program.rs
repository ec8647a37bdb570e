//! An int8 program: kernel calls over one arena, planned before the first frame.
//!
//! A [`Program`] is data: it is made on the host ([`lower`](super::lower)), stored in the pack as the attribute of one ONNX
//! node, and checked here against its weights and its arena before anything runs. An [`Executor`] adds what does not belong
//! in a file: tables of offsets and the arena itself. Running allocates nothing.
//!
//! | file | does |
//! |---|---|
//! | this one | what a program is |
//! | `check` | what a run relies on, so that a hostile file ends there |
//! | `cut` | one output by itself, over a part of the picture |
//! | `executor` | the arena, and running over it |

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kernels::layout::{DepthwiseShape, KernelShape, LANE, Planes};

mod check;
mod constants;
mod cut;
mod executor;

pub use executor::{Executor, nhwc_from_planes};

/// Most inputs and most outputs of a program.
pub const MAX_PORTS: usize = 16;

/// Where a value lives while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the tensor given as this input; read in place.
    Input(u32),
    /// In the arena, from this byte.
    Arena(u32),
    /// In the tensor handed back as this output, from this byte.
    Output(u32, u32),
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

    /// Number of values that mean something.
    #[must_use]
    pub const fn values(&self) -> usize {
        self.height as usize * self.width as usize * self.channels as usize
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

/// An input or output, with the meaning of its bytes: planes of unsigned bytes, borders included, `[planes, rows, pixels, bytes]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the ONNX graph.
    pub name: String,
    /// Where it lies, and the byte that stands for zero.
    pub view: View,
    /// `real = scale · (byte - zero point)`.
    pub scale: f32,
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

/// The same of a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthwiseWeights {
    /// Packed weights, i8.
    pub weights: u32,
    /// Biases for unsigned bytes, i32 per padded channel.
    pub bias: u32,
    /// Requantisation scales, f32.
    pub scale: u32,
}

/// The window of a convolution or a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Rows and columns of taps.
    pub kernel: [u32; 2],
    /// Vertical and horizontal stride.
    pub stride: [u32; 2],
    /// Padding above and on the left.
    pub pad: [u32; 2],
}

/// From a sum to the byte that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epilogue {
    /// The byte that stands for zero where the sum is requantised: the output's, unless a table follows.
    pub zero_point: u8,
    /// Least and greatest requantised byte.
    pub clamp: [u8; 2],
    /// An activation function that is no clamp.
    pub activation: Activation,
}

/// An activation function in an [`Epilogue`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// None; in bytes as the `None` of an optional table, which stood here before there were slopes.
    None,
    /// Where in the weights section 256 bytes lie that replace the requantised ones.
    Table(u32),
    /// Leaky ReLU before requantisation: what sums below zero count, more than 0 and at most 1.
    Slope(f32),
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
    /// Convolution of all input channels.
    Conv(Window, ConvWeights, Epilogue),
    /// Convolution of each channel by itself.
    Depthwise(Window, DepthwiseWeights, Epilogue),
    /// Sum of two tensors: the input and this one, each times its scale.
    Add(View, [f32; 2], Epilogue),
    /// Greatest byte under the window; what lies outside the picture is ignored.
    MaxPool(Window),
    /// Mean over the whole picture times this scale.
    AveragePool(f32),
    /// Nearest-neighbour upsampling by two.
    Upsample,
    /// Linear upsampling by two.
    UpsampleLinear,
    /// Whole planes, borders included.
    Copy,
    /// Channels in another order: where in the weights section a u16 per channel of the output's planes lies, the channel of
    /// the input's planes that goes there, or [`u16::MAX`] for none.
    Permute(u32),
    /// The input times this tensor, which has one pixel: a value per channel. The scale is of the product, in steps of the output.
    Gate(View, f32),
}

impl Kind {
    /// A word for tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv(..) => "conv",
            Self::Depthwise(..) => "depthwise",
            Self::Add(..) => "add",
            Self::MaxPool(_) => "max pool",
            Self::AveragePool(_) => "average pool",
            Self::Upsample => "upsample",
            Self::UpsampleLinear => "upsample linear",
            Self::Copy => "copy",
            Self::Permute(_) => "permute",
            Self::Gate(..) => "gate",
        }
    }
}

impl Operation {
    /// Multiply-accumulates, padding of channels not counted.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let outputs =
            u64::from(self.output.height * self.output.width) * u64::from(self.output.channels);
        match self.kind {
            Kind::Conv(Window { kernel, .. }, ..) => {
                outputs * u64::from(self.input.channels * kernel[0] * kernel[1])
            }
            Kind::Depthwise(Window { kernel, .. }, ..) => {
                outputs * u64::from(kernel[0] * kernel[1])
            }
            _ => 0,
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
}

impl Operation {
    fn depthwise_shape(&self, kernel: [u32; 2]) -> DepthwiseShape {
        DepthwiseShape {
            channels: self.output.channels as usize,
            height: kernel[0] as usize,
            width: kernel[1] as usize,
        }
    }

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
