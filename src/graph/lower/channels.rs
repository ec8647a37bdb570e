//! Operators that only say where channels lie: gathers, concatenations, second names.
//!
//! Nothing moves here unless it must: lanes are followed, and parts of a concatenation are written
//! where it lies.

use super::{
    Lowering, Site,
    tensor::{Tensor, Value},
};
use crate::{
    graph::{
        program::{CopyPlanes, Kind},
        qdq::{LowerError, attribute_int, integers},
    },
    kernels::layout::LANE,
};

impl<'a> Lowering<'a> {
    /// Channels of a tensor in another order: their lanes are followed, nothing moves until
    /// somebody needs them in planes.
    pub(super) fn gather(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let value = self.input(site.node, 0)?;
        self.alike(&site, &value)?;
        if attribute_int(site.node, "axis", 0) != 1 {
            return site.refuse("gathers along another axis than channels");
        }
        let indices = integers(self.qdq.constant(&site.node.input[1])?)?;
        let lane = |&i: &i32| {
            let i = usize::try_from(i).ok()?;
            value.lanes.get(i).copied()
        };
        let Some(lanes) = indices.iter().map(lane).collect::<Option<Vec<u16>>>() else {
            let channels = value.channels();
            return site.refuse(format!("gathers {indices:?} of {channels} channels"));
        };
        if lanes.is_empty() {
            return site.refuse("gathers nothing");
        }
        let tensor = value.tensor;
        self.by_name.insert(site.key, Value { tensor, lanes });
        Ok(())
    }

    /// A tensor under a second name.
    pub(super) fn alias(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let node = site.node;
        let known = match node.op_type.as_str() {
            "Identity" => self.input(node, 0)?,
            _ => match self.by_name.get(node.input[0].as_str()) {
                Some(value) => value.clone(),
                None => return site.refuse("dequantises something that was not lowered"),
            },
        };
        if self.tensor(&known).quant != site.quant {
            return site.refuse(
                "changes the scale of a tensor without computing anything: quantise both alike",
            );
        }
        self.by_name.insert(site.key, known);
        Ok(())
    }

    /// Channels side by side: the parts are written there in the first place.
    pub(super) fn concat(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        if attribute_int(site.node, "axis", 0) != 1 {
            return site.refuse("concatenates another axis than channels");
        }
        let parts = self.parts(&site)?;
        // a part starts on a plane, so lanes behind channels that are not whole planes stay empty
        let (mut lanes, mut plane) = (Vec::new(), 0);
        for &part in &parts {
            let t = &self.tensors[part];
            let first = (plane * LANE as u32) as u16;
            lanes.extend((0..t.channels as u16).map(|c| first + c));
            plane += t.blocks();
        }
        let Tensor { height, width, .. } = self.tensors[parts[0]];
        let channels = lanes.last().map_or(0, |&l| u32::from(l) + 1);
        let whole = self.define(&site, [channels, height, width], Some(lanes));
        let mut plane = 0;
        for part in parts {
            self.tensors[part].within = Some((whole, plane));
            plane += self.tensors[part].blocks();
        }
        Ok(())
    }

    /// The tensors of a concatenation, each free to lie in it.
    fn parts(&mut self, site: &Site<'_>) -> Result<Vec<usize>, LowerError> {
        let values = (0..site.node.input.len())
            .map(|i| self.input(site.node, i))
            .collect::<Result<Vec<_>, _>>()?;
        let name = &site.node.name;
        let mut parts = Vec::new();
        for value in values {
            self.alike(site, &value)?;
            let part = self.whole(name, value);
            let t = &self.tensors[part];
            let taken = t.within.is_some() || t.input.is_some() || parts.contains(&part);
            parts.push(if taken { self.copy(name, part) } else { part });
        }
        Ok(parts)
    }

    /// A second home for a tensor that is already part of another concatenation, or an input.
    pub(super) fn copy(&mut self, name: &str, of: usize) -> usize {
        let t = &self.tensors[of];
        let output = self.new_tensor(name, t.shape(), t.quant);
        self.push(name, (of, None), output, Kind::Copy(CopyPlanes));
        output
    }
}
