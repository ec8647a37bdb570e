//! Poolings: the maximum of each window, the mean of the whole picture.

use super::{Lowering, Site, window::Sliding};
use crate::graph::{
    program::{AveragePool, Kind, MaxPool},
    qdq::{LowerError, attribute_int, attribute_ints},
};

impl<'a> Lowering<'a> {
    pub(super) fn max_pool(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let node = site.node;
        let value = self.input(node, 0)?;
        self.alike(&site, &value)?;
        let value = self.compact(&node.name, value);
        let kernel = attribute_ints(node, "kernel_shape", &[]);
        let &[rows, columns] = kernel.as_slice() else {
            return site.refuse(format!("kernel {kernel:?}"));
        };
        if attribute_int(node, "ceil_mode", 0) != 0 {
            return site.refuse("rounds its size up");
        }
        let x = self.tensor(&value);
        // no border is needed: pooling looks at the picture alone
        let Sliding { window, size, .. } = Sliding::over(x, node, [rows, columns])?;
        let shape = [x.channels, size[0], size[1]];
        let output = self.define(&site, shape, Some(value.lanes));
        let kind = Kind::MaxPool(MaxPool { window });
        self.push(&node.name, (value.tensor, None), output, kind);
        Ok(())
    }

    pub(super) fn average_pool(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let value = self.input(site.node, 0)?;
        let x = self.tensor(&value);
        let (shape, pixels) = ([x.channels, 1, 1], x.height * x.width);
        let scale = x.quant.scale / (pixels as f32 * site.quant.scale);
        let output = self.define(&site, shape, Some(value.lanes));
        let kind = Kind::AveragePool(AveragePool { scale });
        self.push(&site.node.name, (value.tensor, None), output, kind);
        Ok(())
    }
}
