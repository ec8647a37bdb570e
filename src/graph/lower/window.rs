//! The window of a convolution or a pooling, as a node's attributes state it.

use tract_onnx::pb::NodeProto;

use super::tensor::Tensor;
use crate::graph::{
    program::Window,
    qdq::{LowerError, attribute_ints, attribute_string, refuse},
};

/// Sides, strides and channels above this are refused.
pub(super) const MAX_SIDE: i64 = 4096;

/// The widest padding.
const MAX_PADDING: i64 = 8;

/// A window over a tensor.
pub(super) struct Sliding {
    pub(super) window: Window,
    /// Rows and columns of what it makes.
    pub(super) size: [u32; 2],
    /// The widest of the four paddings: the border that the tensor needs if it is read there.
    pub(super) padding: u32,
}

impl Sliding {
    /// A node's window of so many rows and columns, over `x`.
    pub(super) fn over(
        x: &Tensor,
        node: &NodeProto,
        [rows, columns]: [i64; 2],
    ) -> Result<Self, LowerError> {
        let dilated = attribute_ints(node, "dilations", &[1, 1])
            .iter()
            .any(|&d| d != 1);
        if dilated || attribute_string(node, "auto_pad", "NOTSET") != "NOTSET" {
            return refuse(
                &node.name,
                "a dilated or automatically padded window is not lowered",
            );
        }
        let stride = attribute_ints(node, "strides", &[1, 1]);
        let pads = attribute_ints(node, "pads", &[0, 0, 0, 0]);
        let (&[sy, sx], &[top, left, bottom, right]) = (stride.as_slice(), pads.as_slice()) else {
            return refuse(&node.name, format!("strides {stride:?}, pads {pads:?}"));
        };
        let sane = [rows, columns, sy, sx]
            .iter()
            .all(|n| (1..=MAX_SIDE).contains(n))
            && pads.iter().all(|p| (0..=MAX_PADDING).contains(p));
        let size = [
            outputs(x.height, [top, bottom], rows, sy.max(1)),
            outputs(x.width, [left, right], columns, sx.max(1)),
        ];
        if !sane || size.iter().any(|&n| n < 1) {
            return refuse(
                &node.name,
                format!(
                    "kernel {rows}×{columns}, strides {stride:?}, pads {pads:?} over {} × {}",
                    x.height, x.width
                ),
            );
        }
        let pair = |a: i64, b: i64| [a as u32, b as u32];
        Ok(Self {
            window: Window {
                kernel: pair(rows, columns),
                stride: pair(sy, sx),
                pad: pair(top, left),
            },
            size: size.map(|n| n as u32),
            padding: pads.iter().copied().max().unwrap_or(0) as u32,
        })
    }
}

/// How often a window fits along one side.
fn outputs(side: u32, [before, after]: [i64; 2], kernel: i64, stride: i64) -> i64 {
    (i64::from(side) + before + after - kernel).div_euclid(stride) + 1
}
