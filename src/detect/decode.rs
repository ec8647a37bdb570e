//! Where a location's object is.

use super::{GEOMETRY, HeadLevel, HeadOutput};
use crate::geometry::BBox;

/// The box that a location's four distances span, in input space.
///
/// A distance below zero, which only quantisation can make, counts as zero: a
/// box is never inside out.
pub(super) fn bbox(levels: &[HeadLevel], outputs: &[HeadOutput<'_>], location: u32) -> BBox {
    let mut index = location as usize;
    let mut remaining = levels.iter().zip(outputs);
    let (level, output) = loop {
        let (level, output) = remaining.next().expect("locations are those of the levels");
        match index.checked_sub(level.locations()) {
            Some(beyond) => index = beyond,
            None => break (level, output),
        }
    };
    let stride = level.stride as f32;
    let (x, y) = (index % level.width as usize, index / level.width as usize);
    let (x, y) = ((x as f32 + 0.5) * stride, (y as f32 + 0.5) * stride);
    let distance = |i: usize| {
        let q = output.geometry[index * GEOMETRY + i];
        level.geometry.value(q).max(0.0) * stride
    };
    BBox {
        x0: x - distance(0),
        y0: y - distance(1),
        x1: x + distance(2),
        y1: y + distance(3),
    }
}
