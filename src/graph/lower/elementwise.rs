//! Operations of two tensors, pixel by pixel: sums, and products with one value per channel.

use tract_onnx::pb::NodeProto;

use super::{Lowering, Site, tensor::Value};
use crate::graph::{
    program::{Add, Gate, Kind},
    qdq::LowerError,
};

impl<'a> Lowering<'a> {
    pub(super) fn add(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let name = &site.node.name;
        let (mut a, mut b) = (self.input(site.node, 0)?, self.input(site.node, 1)?);
        if a.lanes != b.lanes {
            [a, b] = self.both_whole(name, [a, b]);
        }
        let [shape, other] = [&a, &b].map(|v| self.tensor(v).shape());
        if shape != other {
            return site.refuse(format!("adds tensors of {shape:?} and {other:?}"));
        }
        let scales = [&a, &b].map(|v| self.tensor(v).quant.scale / site.quant.scale);
        let output = self.define(&site, shape, Some(a.lanes));
        let kind = Kind::Add(Add {
            other: self.tensor(&b).unplaced(),
            scales,
            epilogue: self.epilogue(output, site.fused),
        });
        self.push(name, (a.tensor, Some(b.tensor)), output, kind);
        Ok(())
    }

    /// A product: of a tensor and its gates, or a function of one tensor.
    pub(super) fn multiply(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        match self.gated(site.node) {
            Some(values) => {
                self.gate(&site, values);
                Ok(())
            }
            None => self.activation(site),
        }
    }

    /// The tensor and the gates of a product of two dequantised activations, of which one is a
    /// pixel for the whole picture.
    fn gated(&self, node: &NodeProto) -> Option<[Value; 2]> {
        let [a, b] = [self.input(node, 0).ok()?, self.input(node, 1).ok()?];
        let pixel = |v: &Value| {
            let t = self.tensor(v);
            t.height == 1 && t.width == 1
        };
        match (pixel(&a), pixel(&b)) {
            _ if a.tensor == b.tensor || a.channels() != b.channels() => None,
            (_, true) => Some([a, b]),
            (true, false) => Some([b, a]),
            (false, false) => None,
        }
    }

    /// A tensor times a value per channel, as in squeeze-and-excitation.
    fn gate(&mut self, site: &Site<'a>, [mut x, mut gates]: [Value; 2]) {
        let name = &site.node.name;
        let planes = |v: &Value| self.tensor(v).blocks();
        if x.lanes != gates.lanes || planes(&x) != planes(&gates) {
            [x, gates] = self.both_whole(name, [x, gates]);
        }
        let (t, g) = (self.tensor(&x), self.tensor(&gates));
        let shape = t.shape();
        let kind = Kind::Gate(Gate {
            gates: g.unplaced(),
            scale: t.quant.scale * g.quant.scale / site.quant.scale,
        });
        let output = self.define(site, shape, Some(x.lanes));
        self.push(name, (x.tensor, Some(gates.tensor)), output, kind);
    }
}
