//! From coefficients and prototypes to masks.
//!
//! An object's mask logit is the sum of the prototypes, each times the object's coefficient for it (YOLACT, Bolya et al. 2019); above
//! zero, inside the object's box, is mask. Only selected objects get here, and only the prototypes' pixels around the box are summed:
//! integers, on the prototypes' grid. Between its points the logit is interpolated linearly (half-pixel centres, as torch's bilinear
//! `align_corners=False`) at the frame's pixels.
//!
//! Interpolation runs down the frame's columns, as COCO's run-length code does. Between two grid points it is a straight line, so where
//! both ends are inside, or both outside, no pixel between them is looked at: a large mask costs what its outline costs.

use crate::{
    detect::Field,
    geometry::{BBox, Letterbox},
    kernels::layout::LANE,
    mask::Mask,
};

/// Makes masks; its buffers are kept.
#[derive(Debug, Default)]
pub struct Segmenter {
    /// The object's logits on the grid around its box, `[rows, columns]`, times an unknown positive factor.
    grid: Vec<f32>,
    /// One column of the frame, at the grid's rows.
    column: Vec<f32>,
}

/// The prototypes of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Prototypes<'a> {
    /// Their planes.
    pub field: Field,
    /// Their bytes.
    pub bytes: &'a [u8],
    /// Input pixels between neighbouring points of their grid.
    pub stride: u32,
}

/// Pixels of the frame along one axis in the grid's coordinates: pixel `i` lies at `scale · i + shift`.
#[derive(Clone, Copy, Debug)]
struct Axis {
    scale: f32,
    shift: f32,
    /// Pixels whose centres lie in the box.
    first: u32,
    end: u32,
    /// Points of the grid that these pixels need, and that there are.
    low: usize,
    high: usize,
}

impl Axis {
    fn new(
        frame: u32,
        resized: u32,
        offset: u32,
        stride: u32,
        points: usize,
        span: (f32, f32),
    ) -> Self {
        let scale = resized as f32 / frame as f32 / stride as f32;
        let shift = 0.5 * scale + offset as f32 / stride as f32 - 0.5;
        let first = (span.0 - 0.5).ceil().clamp(0.0, frame as f32) as u32;
        let end = ((span.1 - 0.5).floor() + 1.0).clamp(first as f32, frame as f32) as u32;
        let point = |pixel: u32| scale * pixel as f32 + shift;
        let last = points - 1;
        Self {
            scale,
            shift,
            first,
            end,
            low: (point(first).floor().max(0.0) as usize).min(last),
            high: (point(end.max(1) - 1).floor().max(0.0) as usize + 1).min(last),
        }
    }

    /// The grid point at or before a pixel, counted from `low`, and how far behind it the pixel lies, 0 to 1.
    fn place(&self, pixel: u32) -> (usize, f32) {
        let at = (self.scale * pixel as f32 + self.shift - self.low as f32)
            .clamp(0.0, (self.high - self.low) as f32);
        let point = (at as usize).min((self.high - self.low).saturating_sub(1));
        (point, at - point as f32)
    }
}

impl Segmenter {
    /// Writes the mask of one object.
    ///
    /// `coefficients` are the object's, as many as there are prototypes, as bytes around `zero`; `bbox` is in frame space.
    ///
    /// # Panics
    ///
    /// If the coefficients are not as many as the prototypes.
    pub fn run(
        &mut self,
        prototypes: &Prototypes<'_>,
        coefficients: &[u8],
        zero: u8,
        bbox: &BBox,
        letterbox: &Letterbox,
        mask: &mut Mask,
    ) {
        mask.clear();
        let planes = prototypes.field.planes;
        let count = prototypes.bytes.len() / planes.bytes() * LANE;
        assert_eq!(coefficients.len(), count, "coefficients");
        let (frame, resized, offset) = (letterbox.frame, letterbox.resized(), letterbox.offset());
        let stride = prototypes.stride;
        let x = Axis::new(
            frame.width,
            resized.width,
            offset.0,
            stride,
            planes.width,
            (bbox.x0, bbox.x1),
        );
        let y = Axis::new(
            frame.height,
            resized.height,
            offset.1,
            stride,
            planes.height,
            (bbox.y0, bbox.y1),
        );
        self.sum(prototypes, coefficients, zero, (&x, &y));
        let columns = x.high - x.low + 1;
        for column in x.first..x.end {
            let (point, part) = x.place(column);
            self.column.clear();
            let rows = self.grid.chunks_exact(columns);
            self.column.extend(rows.map(|row| {
                let next = row[(point + 1).min(columns - 1)];
                row[point] + (next - row[point]) * part
            }));
            inside(&self.column, &y, |first, end| {
                mask.push(column * frame.height + first, end - first);
            });
        }
        mask.finish(frame);
    }

    /// The logits on the grid, from integers.
    fn sum(
        &mut self,
        prototypes: &Prototypes<'_>,
        coefficients: &[u8],
        zero: u8,
        (x, y): (&Axis, &Axis),
    ) {
        let Field { planes, quant } = prototypes.field;
        let centred = |byte: u8, zero: u8| i32::from(byte) - i32::from(zero);
        self.grid.clear();
        for row in y.low..=y.high {
            for column in x.low..=x.high {
                let pixel = prototypes
                    .field
                    .at(prototypes.bytes, row * planes.width + column);
                let blocks = pixel.zip(coefficients.as_chunks::<LANE>().0);
                let sum: i32 = blocks
                    .map(|(p, c)| {
                        let products = p.iter().zip(c);
                        products
                            .map(|(&p, &c)| centred(p, quant.zero_point) * centred(c, zero))
                            .sum::<i32>()
                    })
                    .sum();
                self.grid.push(sum as f32);
            }
        }
    }
}

/// Calls `run` for each run of pixels above zero in one column, whose values at the grid's points are given.
fn inside(values: &[f32], axis: &Axis, mut run: impl FnMut(u32, u32)) {
    let mut row = axis.first;
    while row < axis.end {
        let (point, _) = axis.place(row);
        let (a, b) = (values[point], values[(point + 1).min(values.len() - 1)]);
        // the pixels of this stretch of the grid
        let mut end = row + 1;
        let left = (point as f32 + 1.0 - (axis.scale * row as f32 + axis.shift - axis.low as f32))
            / axis.scale;
        end = end.max(row + left.clamp(0.0, (axis.end - row) as f32) as u32);
        while end > row + 1 && axis.place(end - 1).0 > point {
            end -= 1;
        }
        while end < axis.end && axis.place(end).0 == point {
            end += 1;
        }
        if a > 0.0 && b > 0.0 {
            run(row, end);
        } else if a > 0.0 || b > 0.0 {
            for pixel in row..end {
                let (_, part) = axis.place(pixel);
                if a + (b - a) * part > 0.0 {
                    run(pixel, pixel + 1);
                }
            }
        }
        row = end;
    }
}

#[cfg(test)]
mod tests;
