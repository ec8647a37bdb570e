//! From a QDQ graph to an int8 program.
//!
//! | ONNX between two Q/DQ pairs | becomes | file |
//! |---|---|---|
//! | `Conv` dense or depthwise | one convolution | `conv` |
//! | `Add`; `Mul` by one value per channel | one call each | `elementwise` |
//! | `MaxPool`; `GlobalAveragePool` | one call each | `pool` |
//! | `Resize` × 2, nearest or linear | one call | `resize` |
//! | `Relu`, `LeakyRelu`, `PRelu` right behind `Conv`, `Add` | nothing (1) | `fused` |
//! | any function of one tensor | a table of 256 bytes (2) | `activation` |
//! | `Concat` over channels | nothing, or copies (3) | `channels` |
//! | `Gather` of channels: a shuffle, a slice | nothing, or a permutation (4) | `channels` |
//! | `Identity`, a second quantisation alike | nothing: another name | `channels` |
//!
//! 1. The lower clamp of the call, or a slope before it requantises; one slope for all channels.
//! 2. In the call that makes the tensor: `LeakyRelu`, `HardSwish`, `Sigmoid` and `Mul`, …
//! 3. Its inputs are written next to each other; a copy is made of one that is in two.
//! 4. One permutation where planes would be half empty.
//!
//! Inputs and outputs are planes, quantised in the graph or not: a quantised one (s8) is another
//! program's, which needs a border, a dequantised output is read by a stage of the runtime
//! (`ports`).
//!
//! ```text
//! each QuantizeLinear:  Site ──family──▶ tensors (`tensor`), constants (`weights`), a Draft
//! at the end (`arena`): lifetimes and borders ──▶ places ──▶ Program
//! ```
//!
//! Any other operator is refused by name. Mixed graphs, where tract would run float operators
//! between programs, are not lowered yet: no network of ours has one.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::{
    program::{Kind, Program},
    qdq::{LowerError, Qdq, SignedQuant, refuse},
};

mod activation;
mod arena;
mod channels;
mod conv;
mod elementwise;
mod fused;
mod pool;
mod ports;
mod resize;
mod tensor;
mod weights;
mod window;

use fused::Fused;
use tensor::{Tensor, Value};
pub use weights::WeightsWriter;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "compared within a tolerance")]
mod tests;

/// Lowers a whole graph; its constants are appended to `weights`.
///
/// # Errors
///
/// [`LowerError`] naming the node if the graph is not QDQ with s8 activations and weights, or has
/// an operator, an attribute or a shape that is not lowered.
pub fn lower(graph: &GraphProto, weights: &mut WeightsWriter) -> Result<Program, LowerError> {
    let mut lowering = Lowering {
        graph,
        qdq: Qdq::new(graph),
        tensors: Vec::new(),
        by_name: HashMap::new(),
        drafts: Vec::new(),
        outputs: Vec::new(),
        weights,
    };
    lowering.nodes()?;
    Ok(lowering.finish())
}

/// A graph while its program is being made.
struct Lowering<'a> {
    graph: &'a GraphProto,
    qdq: Qdq<'a>,
    tensors: Vec<Tensor>,
    /// Values by the name of their quantised form.
    by_name: HashMap<&'a str, Value>,
    drafts: Vec<Draft>,
    outputs: Vec<(String, usize)>,
    weights: &'a mut WeightsWriter,
}

/// An operation whose tensors have no place yet.
struct Draft {
    name: String,
    input: usize,
    /// The tensor that is read beside the input.
    second: Option<usize>,
    output: usize,
    kind: Kind,
}

/// One quantised tensor to be made: what a `QuantizeLinear` asks of the nodes before it.
#[derive(Clone, Copy)]
struct Site<'a> {
    /// The node that makes the tensor, behind which only an activation may stand; errors name it.
    node: &'a NodeProto,
    /// The activation that belongs to the node's requantisation.
    fused: Fused,
    /// The name of the quantised tensor.
    key: &'a str,
    /// The real numbers that its bytes stand for.
    quant: SignedQuant,
}

impl Site<'_> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, LowerError> {
        refuse(&self.node.name, reason)
    }
}

/// Lowers one site whose node is an operator of this family.
type Family<'a> = fn(&mut Lowering<'a>, Site<'a>) -> Result<(), LowerError>;

/// Operators that belong to the lowering of others.
const PARTS_OF_OTHERS: [&str; 2] = ["Constant", "PRelu"];

impl<'a> Lowering<'a> {
    /// Which operators are lowered, and by what.
    fn family(op_type: &str) -> Option<Family<'a>> {
        let family: Family<'a> = match op_type {
            "Conv" => Self::conv,
            "Add" => Self::add,
            "Mul" => Self::multiply,
            "MaxPool" => Self::max_pool,
            "GlobalAveragePool" => Self::average_pool,
            "Concat" => Self::concat,
            "Gather" => Self::gather,
            "Resize" => Self::resize,
            // quantised twice, as exporters do for a tensor that is also an output
            "Identity" | "DequantizeLinear" => Self::alias,
            function if activation::is_function(function) => Self::activation,
            _ => return None,
        };
        Some(family)
    }

    fn nodes(&mut self) -> Result<(), LowerError> {
        self.quantised_inputs()?;
        for node in &self.graph.node {
            match node.op_type.as_str() {
                "QuantizeLinear" => self.quantize(node)?,
                // the others are read backwards from the node that quantises their result
                name if Self::family(name).is_some() || PARTS_OF_OTHERS.contains(&name) => {}
                other => return refuse(&node.name, format!("operator {other} is not lowered")),
            }
        }
        self.outputs()
    }

    /// One `QuantizeLinear`: what makes its float input names the operation.
    fn quantize(&mut self, node: &'a NodeProto) -> Result<(), LowerError> {
        let quant = self.qdq.activation(node)?;
        let Some(last) = self.qdq.producer(&node.input[0]) else {
            return self.float_input(node, quant);
        };
        let mut site = Site {
            node: last,
            fused: self.fused(last)?,
            key: &node.output[0],
            quant,
        };
        if let Fused::Relu | Fused::Leaky(_) = site.fused {
            match self.qdq.producer(&last.input[0]) {
                Some(before) if matches!(before.op_type.as_str(), "Conv" | "Add") => {
                    site.fused.check(last)?;
                    site.node = before;
                }
                _ => return self.activation(site),
            }
        }
        let family = Self::family(&site.node.op_type).unwrap_or(Self::activation);
        family(self, site)
    }
}
