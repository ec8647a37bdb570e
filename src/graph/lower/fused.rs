//! Activations that belong to the requantisation of the operation before them.
//!
//! ReLU and leaky ReLU right behind a convolution or an addition, with no quantisation between:
//! nothing is rounded before them, so they are a clamp, or a slope of the sums.

use tract_onnx::pb::NodeProto;

use super::Lowering;
use crate::graph::{
    program::{Activation, Epilogue},
    qdq::{LowerError, attribute_float, floats, refuse},
};

/// The slope of a `LeakyRelu` that states none.
pub(super) const DEFAULT_SLOPE: f32 = 0.01;

/// The activation that an operation applies to its sums before it rounds them.
#[derive(Clone, Copy)]
pub(super) enum Fused {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// Leaky ReLU with this slope.
    Leaky(f32),
}

impl Fused {
    /// Refuses what no epilogue does.
    pub(super) fn check(self, node: &NodeProto) -> Result<(), LowerError> {
        match self {
            Self::Leaky(slope) if !(slope > 0.0 && slope <= 1.0) => refuse(
                &node.name,
                format!(
                    "a slope of {slope}; 0 to 1 is lowered, others where the input is quantised"
                ),
            ),
            _ => Ok(()),
        }
    }
}

impl Lowering<'_> {
    /// The activation that `node` is to the operation right before it.
    pub(super) fn fused(&self, node: &NodeProto) -> Result<Fused, LowerError> {
        let slope = match node.op_type.as_str() {
            "Relu" => return Ok(Fused::Relu),
            "LeakyRelu" => {
                attribute_float(node, "alpha").map_or(DEFAULT_SLOPE, |alpha| alpha as f32)
            }
            "PRelu" => match node.input.get(1).map(|slope| self.qdq.constant(slope)) {
                Some(slope) => match floats(slope?)?.as_slice() {
                    &[slope] => slope,
                    slopes => {
                        return refuse(
                            &node.name,
                            format!("{} slopes; one is lowered", slopes.len()),
                        );
                    }
                },
                None => return refuse(&node.name, "has no slope"),
            },
            _ => return Ok(Fused::Nothing),
        };
        Ok(if slope == 0.0 {
            Fused::Relu
        } else {
            Fused::Leaky(slope)
        })
    }

    /// Requantisation to a tensor, behind what is fused and before any table.
    pub(super) fn epilogue(&self, output: usize, fused: Fused) -> Epilogue {
        let zero_point = self.tensors[output].quant.unsigned_zero();
        let (low, activation) = match fused {
            Fused::Nothing => (0, Activation::None),
            Fused::Relu => (zero_point, Activation::None),
            Fused::Leaky(slope) => (0, Activation::Slope(slope)),
        };
        Epilogue {
            zero_point,
            clamp: [low, 255],
            activation,
        }
    }
}
