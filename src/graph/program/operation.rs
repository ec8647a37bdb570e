//! The operations of a program: one table that check, constants, cost and executor share.
//!
//! An operation is one file of this folder. It holds the operation's fields as they are stored,
//! and says everything about it by implementing [`Operator`]:
//!
//! | method | says | asked by |
//! |---|---|---|
//! | `name` | a word for tables and messages | `pack inspect`, `bench` |
//! | `second` | the tensor that it reads beside its input | check, executor, lowering |
//! | `check` | whether shapes, fields and constants fit each other | check |
//! | `constants` | its parts of the weights section | check, packs that borrow a program |
//! | `macs` | what it costs | limits of a pack, `pack inspect`, `bench` |
//! | `prepare` | its kernel call, with all that is computed once | executor |
//!
//! [`Kind`] enumerates the operations. It is the format of a file: the index of a variant is a
//! byte there, the fields follow in order. [`Kind::operator`] is the only way from a variant to
//! what it does, and the compiler asks for a line there. The rest of `program` knows the trait
//! and no operation by name, except `cut`, whose question is about convolutions.
//!
//! Both halves are needed. An enum alone spreads each operation over as many `match`es as there
//! are questions, which is how this was; a trait object alone cannot be read from a file without
//! a registry of names. A macro could save the second list, and nobody could jump to anything.
//! The indirect call is made once per operation and frame, some sixty times, for work of
//! 5 to 200 µs.
//!
//! # Adding an operation
//!
//! 1. the kernel, `kernels/NAME.rs`, and its line in `kernels.rs`;
//! 2. a file here: the fields, [`Operator`] for them;
//! 3. a variant at the **end** of [`Kind`], so that older packs stay readable, and its lines in
//!    `operator` and `operator_mut`;
//! 4. the ONNX operator that becomes it: a method in a file of [`lower`](crate::graph::lower), and
//!    its line in `Lowering::family`;
//! 5. tests: the graph against plain arithmetic in `lower/tests`, and the variant among those that
//!    `tests/hostile_pack.rs` puts into programs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::view::View;
use crate::kernels::{
    isa::Isa,
    layout::{DepthwiseShape, KernelShape},
};

mod add;
mod average_pool;
mod constants;
mod conv;
mod copy;
mod depthwise;
mod epilogue;
mod gate;
mod max_pool;
mod permute;
mod upsample;
mod window;

pub use add::Add;
pub use average_pool::AveragePool;
pub(super) use constants::Constant;
pub use conv::{Conv, ConvWeights};
pub use copy::CopyPlanes;
pub use depthwise::{Depthwise, DepthwiseWeights};
pub use epilogue::{Activation, Epilogue};
pub use gate::Gate;
pub use max_pool::MaxPool;
pub use permute::Permute;
pub use upsample::{Upsample, UpsampleLinear};
pub use window::Window;

/// One kernel call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The node of the ONNX graph it came from.
    pub name: String,
    /// The tensor that is read.
    pub input: View,
    /// The tensor that is written.
    pub output: View,
    /// The operation between them.
    pub kind: Kind,
}

/// What an [`Operation`] does: the table of all operations, in the order of their bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// Convolution of all input channels.
    Conv(Conv),
    /// Convolution of each channel by itself.
    Depthwise(Depthwise),
    /// Sum of two tensors.
    Add(Add),
    /// Maximum of each window.
    MaxPool(MaxPool),
    /// Mean over the whole picture.
    AveragePool(AveragePool),
    /// Nearest-neighbour upsampling by two.
    Upsample(Upsample),
    /// Linear upsampling by two.
    UpsampleLinear(UpsampleLinear),
    /// Whole planes to another place.
    Copy(CopyPlanes),
    /// Channels in another order.
    Permute(Permute),
    /// A tensor times a value per channel.
    Gate(Gate),
}

impl Kind {
    /// The fields and the behaviour of this operation.
    pub(in crate::graph) const fn operator(&self) -> &dyn Operator {
        match self {
            Self::Conv(o) => o,
            Self::Depthwise(o) => o,
            Self::Add(o) => o,
            Self::MaxPool(o) => o,
            Self::AveragePool(o) => o,
            Self::Upsample(o) => o,
            Self::UpsampleLinear(o) => o,
            Self::Copy(o) => o,
            Self::Permute(o) => o,
            Self::Gate(o) => o,
        }
    }

    /// The same, for moving its constants and placing its second tensor.
    pub(in crate::graph) const fn operator_mut(&mut self) -> &mut dyn Operator {
        match self {
            Self::Conv(o) => o,
            Self::Depthwise(o) => o,
            Self::Add(o) => o,
            Self::MaxPool(o) => o,
            Self::AveragePool(o) => o,
            Self::Upsample(o) => o,
            Self::UpsampleLinear(o) => o,
            Self::Copy(o) => o,
            Self::Permute(o) => o,
            Self::Gate(o) => o,
        }
    }

    /// A word for tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.operator().name()
    }
}

/// All that a program needs to know of an operation.
pub(in crate::graph) trait Operator {
    /// A word for tables and messages.
    fn name(&self) -> &'static str;

    /// Whether the input may be an image, whose pixels have 4 bytes.
    fn reads_images(&self) -> bool {
        false
    }

    /// The tensor that is read beside the input.
    fn second(&self) -> Option<&View> {
        None
    }

    /// The same, to be placed once all tensors have their places.
    fn second_mut(&mut self) -> Option<&mut View> {
        None
    }

    /// Refuses what the kernel takes for granted and this operation does not hold: shapes that
    /// contradict each other, a window or a constant outside of what it reads.
    ///
    /// Views were checked before: each lies in its buffer, and `ends.output` overlaps no other.
    fn check(&self, ends: &Ends, weights: &[u8]) -> Result<(), String>;

    /// The parts of the weights section that it refers to, in the order in which they are stored.
    fn constants(&mut self, _: &Ends) -> Vec<Constant<'_>> {
        Vec::new()
    }

    /// Multiply-accumulates, padding of channels not counted.
    fn macs(&self, _: &Ends) -> u64 {
        0
    }

    /// The kernel call. What depends on shapes and weights alone is computed here, once; the call
    /// allocates nothing. `weights` and `ends` have passed [`check`](Self::check).
    fn prepare(&self, ends: &Ends, weights: &[u8]) -> Call;
}

/// A kernel call that waits for its tensors. Shared by clones of an executor, since it holds no
/// state that a run changes.
pub(in crate::graph) type Call = Arc<dyn Fn(&Lent<'_>, &mut [u8]) + Send + Sync>;

/// What a kernel call reads, beside the bytes that it writes.
pub(in crate::graph) struct Lent<'a> {
    pub(super) isa: Isa,
    pub(super) threads: usize,
    /// The whole section.
    pub(super) weights: &'a [u8],
    pub(super) input: &'a [u8],
    /// The planes of [`Operator::second`], or nothing.
    pub(super) second: &'a [u8],
}

/// The tensors at the two ends of an operation.
#[derive(Clone, Copy)]
pub(in crate::graph) struct Ends {
    pub(in crate::graph) input: View,
    pub(in crate::graph) output: View,
}

impl Operation {
    /// Multiply-accumulates, padding of channels not counted.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.kind.operator().macs(&self.ends())
    }

    /// Its parts of the weights section, to be read or moved.
    pub(super) fn constants(&mut self) -> Vec<Constant<'_>> {
        let ends = self.ends();
        self.kind.operator_mut().constants(&ends)
    }

    pub(super) const fn ends(&self) -> Ends {
        Ends {
            input: self.input,
            output: self.output,
        }
    }
}

impl Ends {
    /// Number of values of the output that mean something.
    fn outputs(&self) -> u64 {
        let View {
            channels,
            height,
            width,
            ..
        } = self.output;
        u64::from(height * width) * u64::from(channels)
    }

    const fn depthwise_shape(&self, window: &Window) -> DepthwiseShape {
        DepthwiseShape {
            channels: self.output.channels as usize,
            height: window.kernel[0] as usize,
            width: window.kernel[1] as usize,
        }
    }

    const fn kernel_shape(&self, window: &Window) -> KernelShape {
        KernelShape {
            out_channels: self.output.channels as usize,
            in_channels: self.input.channels as usize,
            height: window.kernel[0] as usize,
            width: window.kernel[1] as usize,
            image: self.input.image,
        }
    }
}
