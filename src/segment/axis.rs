//! Pixels of a frame in the coordinates of a grid over the network's input.

use crate::geometry::{BBox, Letterbox};

/// Pixels along one axis of what was looked at of a frame, counted from its edge: pixel `i` lies at `scale · i + shift` on the grid (half-pixel centres, as torch's bilinear
/// `align_corners=False`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    scale: f32,
    shift: f32,
    /// Pixels whose centres lie in the span.
    pub(crate) first: u32,
    pub(crate) end: u32,
    /// Points of the grid that these pixels need, and that there are.
    pub(crate) low: usize,
    pub(crate) high: usize,
}

/// Consecutive pixels that lie between the same two points of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The point before them, counted from the axis' `low`.
    pub(crate) point: usize,
    /// The first pixel.
    pub(crate) first: u32,
    /// The pixel after the last.
    pub(crate) end: u32,
}

impl Axis {
    fn new(
        length: u32,
        resized: u32,
        offset: u32,
        stride: u32,
        points: usize,
        span: (f32, f32),
    ) -> Self {
        let scale = resized as f32 / length as f32 / stride as f32;
        let shift = 0.5 * scale + offset as f32 / stride as f32 - 0.5;
        let first = (span.0 - 0.5).ceil().clamp(0.0, length as f32) as u32;
        let end = ((span.1 - 0.5).floor() + 1.0).clamp(first as f32, length as f32) as u32;
        let point = |pixel: u32| scale * pixel as f32 + shift;
        let last = points - 1;
        let low = (point(first).floor().max(0.0) as usize).min(last);
        Self {
            scale,
            shift,
            first,
            end,
            low,
            // of a span between two centres there is no pixel, and the one before it lies before `low`
            high: (point(end.max(1) - 1).floor().max(0.0) as usize + 1)
                .min(last)
                .max(low),
        }
    }

    /// Columns and rows whose centres lie in a box of the whole frame, on a grid of `columns` by `rows`.
    pub(crate) fn both(
        letterbox: &Letterbox,
        stride: u32,
        (columns, rows): (usize, usize),
        bbox: &BBox,
    ) -> [Self; 2] {
        let BBox { x0, y0, x1, y1 } = letterbox.part.local(bbox);
        let (size, resized) = (letterbox.part.size, letterbox.resized());
        let (left, top) = letterbox.offset();
        let (x, y) = ((x0, x1), (y0, y1));
        [
            Self::new(size.width, resized.width, left, stride, columns, x),
            Self::new(size.height, resized.height, top, stride, rows, y),
        ]
    }

    /// A place in pixels from the edge, on the grid: 0 at the first point, counted from the whole grid's.
    pub(crate) fn point_at(&self, place: f32) -> f32 {
        self.scale * (place - 0.5) + self.shift
    }

    /// Points that the pixels need.
    pub(crate) const fn points(&self) -> usize {
        self.high - self.low + 1
    }

    /// The grid point at or before a pixel, counted from `low`, and how far behind it the pixel lies, 0 to 1.
    pub(crate) fn place(&self, pixel: u32) -> (usize, f32) {
        let at = (self.scale * pixel as f32 + self.shift - self.low as f32)
            .clamp(0.0, (self.high - self.low) as f32);
        let point = (at as usize).min((self.high - self.low).saturating_sub(1));
        (point, at - point as f32)
    }

    /// About the pixel that lies at this place; it may be one off, or outside.
    pub(crate) fn pixel_near(&self, point: usize, part: f32) -> u32 {
        (((self.low + point) as f32 + part - self.shift).max(0.0) / self.scale) as u32
    }

    /// The pixels, by what they lie between.
    pub(crate) fn stretches(&self, out: &mut Vec<Stretch>) {
        out.clear();
        let mut first = self.first;
        while first < self.end {
            let (point, _) = self.place(first);
            let mut end = self.pixel_near(point, 1.0).clamp(first + 1, self.end);
            while end > first + 1 && self.place(end - 1).0 > point {
                end -= 1;
            }
            while end < self.end && self.place(end).0 == point {
                end += 1;
            }
            out.push(Stretch { point, first, end });
            first = end;
        }
    }
}
