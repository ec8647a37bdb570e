//! Upsampling by two.

use super::{Lowering, Site};
use crate::graph::{
    program::{Kind, Upsample, UpsampleLinear},
    qdq::{LowerError, attribute_string, floats},
};

impl<'a> Lowering<'a> {
    pub(super) fn resize(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let node = site.node;
        let value = self.input(node, 0)?;
        let scales = match node.input.get(2).filter(|n| !n.is_empty()) {
            Some(name) => floats(self.qdq.constant(name)?)?,
            None => Vec::new(),
        };
        let mode = attribute_string(node, "mode", "nearest");
        let place = attribute_string(node, "coordinate_transformation_mode", "half_pixel");
        let kind = match (mode.as_str(), place.as_str()) {
            ("nearest", _) => Kind::Upsample(Upsample),
            ("linear", "half_pixel" | "pytorch_half_pixel") => Kind::UpsampleLinear(UpsampleLinear),
            _ => return site.refuse(format!("resizes {mode}, {place}")),
        };
        if scales != [1.0, 1.0, 2.0, 2.0] {
            return site.refuse(format!("resizes by {scales:?}; by [1, 1, 2, 2] is lowered"));
        }
        self.alike(&site, &value)?;
        let value = self.compact(&node.name, value);
        let [channels, height, width] = self.tensor(&value).shape();
        let shape = [channels, 2 * height, 2 * width];
        let output = self.define(&site, shape, Some(value.lanes));
        self.push(&node.name, (value.tensor, None), output, kind);
        Ok(())
    }
}
