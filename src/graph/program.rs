//! An int8 program: kernel calls over one arena, planned before the first frame.
//!
//! A [`Program`] is data: it is made on the host ([`lower`](super::lower)), stored in the pack as
//! the attribute of one ONNX node, and checked here against its weights and its arena before
//! anything runs. An [`Executor`] adds what does not belong in a file: tables of offsets and the
//! arena itself. Running allocates nothing.
//!
//! | file | does |
//! |---|---|
//! | this one | what a program is, and its bytes |
//! | `view` | a tensor of it: place and shape |
//! | `operation` | the table of operations, each in a file of its own |
//! | `check` | what a run relies on, so that a hostile file ends there |
//! | `cut` | one output by itself, over a part of the picture |
//! | `executor` | the arena, and running over it |
//! | `lend` | what an operation may write and read while it runs |

use std::fmt;

use serde::{Deserialize, Serialize};

mod check;
mod cut;
mod executor;
mod lend;
mod operation;
mod view;

pub use executor::{Executor, nhwc_from_planes};
pub use operation::{
    Activation, Add, AveragePool, Conv, ConvWeights, CopyPlanes, Depthwise, DepthwiseWeights,
    Epilogue, Gate, Kind, MaxPool, Operation, Permute, Upsample, UpsampleLinear, Window,
};
pub use view::{Place, View};

/// Maximum number of inputs, and of outputs, of a program.
pub const MAX_PORTS: usize = 16;

/// An input or output, with the meaning of its bytes: planes of unsigned bytes, borders included,
/// `[planes, rows, pixels, bytes]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the ONNX graph.
    pub name: String,
    /// Where it lies, and the byte that stands for zero.
    pub view: View,
    /// `real = scale · (byte - zero point)`.
    pub scale: f32,
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

    /// The same program for another weights section, to which `put` adds a part and says where it
    /// is.
    ///
    /// # Panics
    ///
    /// If a constant is not in `weights`, which [`Executor::new`] refuses.
    #[must_use]
    pub fn moved(mut self, weights: &[u8], mut put: impl FnMut(&[u8]) -> u32) -> Self {
        for op in &mut self.operations {
            for constant in op.constants() {
                let part = &weights[*constant.at as usize..][..constant.bytes];
                *constant.at = put(part);
            }
        }
        self
    }
}
