//! From coefficients and prototypes to masks.
//!
//! An object's coefficients are the weights of a small network of its own (CondInst, Tian et al. 2020). Each of its hidden units sees the
//! prototypes at a point and where in the object's box that point lies; the mask logit is the sum of the units that are above zero, each
//! times its weight. Above zero, inside the object's box, is mask. Only selected objects get here, and only the prototypes' points around
//! the box are computed. Between these the logit is interpolated linearly (half-pixel centres, as torch's bilinear `align_corners=False`)
//! at the frame's pixels.
//!
//! Runs go down the frame's columns, as COCO's run-length code does. A cell of the grid whose four corners are all inside is one run in
//! each of its columns, one whose corners are all outside is nothing, and in the others a column crosses zero once: there the pixel is
//! solved for, not searched. So a large mask costs what its outline costs.

use std::ops::Range;

use crate::{
    detect::Field,
    geometry::{BBox, Letterbox},
    kernels::layout::LANE,
    mask::Mask,
};

mod axis;

pub(crate) use axis::{Axis, Stretch};

/// Hidden units that are computed together.
const UNITS: usize = 8;

/// Makes masks; its buffers are kept.
#[derive(Debug, Default)]
pub struct Segmenter {
    /// The object's logits on the grid around its box, `[rows, columns]`, times an unknown positive factor.
    grid: Vec<f32>,
    /// The prototypes there, around zero: for each point, all of them.
    points: Vec<[f32; LANE]>,
    /// Where in the box the grid's columns lie: -1 at its left edge, 1 at its right.
    across: Vec<f32>,
    /// The object's network: see [`Segmenter::arrange`].
    units: Vec<[f32; UNITS]>,
    columns: Vec<Stretch>,
    rows: Vec<Stretch>,
    pieces: Vec<Piece>,
}

/// The prototypes of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Prototypes<'a> {
    /// Their planes: the whole grid over the input, or a window of it.
    pub field: Field,
    /// Their bytes.
    pub bytes: &'a [u8],
    /// Input pixels between neighbouring points of the grid.
    pub stride: u32,
    /// Columns and rows of the whole grid.
    pub size: (usize, usize),
    /// Column and row of the grid at which the planes begin.
    pub origin: (usize, usize),
    /// What a step of the coefficients is worth beside the box and the constant; beside the prototypes it is 1.
    pub unit: f32,
}

/// Coefficients that a hidden unit has besides one for each prototype: across, down, constant, out.
pub const BESIDES: usize = 4;

/// The columns and rows of a grid of `size` that the masks in some boxes need.
#[must_use]
pub fn points<'a>(
    letterbox: &Letterbox,
    stride: u32,
    size: (usize, usize),
    boxes: impl Iterator<Item = &'a BBox>,
) -> (Range<usize>, Range<usize>) {
    let joined = |a: Option<Range<usize>>, b: &Axis| {
        let (low, end) = (b.low, b.high + 1);
        Some(a.map_or(low..end, |a| a.start.min(low)..a.end.max(end)))
    };
    let all = boxes.fold((None, None), |(columns, rows), bbox| {
        let [x, y] = Axis::both(letterbox, stride, size, bbox);
        (joined(columns, &x), joined(rows, &y))
    });
    (all.0.unwrap_or(0..1), all.1.unwrap_or(0..1))
}

/// Some rows of the pixel columns between two grid columns.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// All of them are mask.
    Inside(u32, u32),
    /// The outline goes through: the cell's corners, top left first, row by row.
    Outline(Stretch, [f32; 4]),
}

impl Segmenter {
    /// Writes the mask of one object.
    ///
    /// `coefficients` are the object's, as bytes around `zero`: for each hidden unit one for each prototype, then for each hidden unit
    /// those [`BESIDES`]. `bbox` is in frame space, and the mask is one of the whole frame.
    ///
    /// # Panics
    ///
    /// If the coefficients are not those of whole units, or the window of the prototypes does not hold [what the box needs](points).
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
        assert!(
            coefficients.len().is_multiple_of(count + BESIDES),
            "coefficients"
        );
        let [x, y] = Axis::both(letterbox, prototypes.stride, prototypes.size, bbox);
        let (left, top) = prototypes.origin;
        assert!(
            left <= x.low
                && x.high < left + planes.width
                && top <= y.low
                && y.high < top + planes.height,
            "prototypes of another window than the box"
        );
        self.arrange(coefficients, zero, count);
        self.logits(prototypes, &letterbox.part.local(bbox), &x, &y);
        x.stretches(&mut self.columns);
        y.stretches(&mut self.rows);
        let (height, part) = (letterbox.frame.height, letterbox.part);
        for i in 0..self.columns.len() {
            let columns = self.columns[i];
            self.pieces_of(columns.point, x.points());
            if self.pieces.is_empty() {
                continue;
            }
            for column in columns.first..columns.end {
                let (_, behind) = x.place(column);
                let top = (part.x + column) * height + part.y;
                for piece in &self.pieces {
                    let (first, end) = match *piece {
                        Piece::Inside(first, end) => (first, end),
                        Piece::Outline(rows, [a, b, c, d]) => {
                            inside(a + (b - a) * behind, c + (d - c) * behind, rows, &y)
                        }
                    };
                    mask.push(top + first, end - first);
                }
            }
        }
        mask.finish(letterbox.frame);
    }

    /// The logits on the grid; `bbox` as seen from the part that was looked at.
    ///
    /// All in `f32`, in the order that is written here, which gives the same on every machine.
    fn logits(&mut self, prototypes: &Prototypes<'_>, bbox: &BBox, x: &Axis, y: &Axis) {
        self.gather(prototypes, x, y);
        let (left, right) = (x.point_at(bbox.x0), x.point_at(bbox.x1));
        let (top, bottom) = (y.point_at(bbox.y0), y.point_at(bbox.y1));
        self.across.clear();
        self.across
            .extend((x.low..=x.high).map(|p| within(p, left, right)));
        self.grid.clear();
        let blocks = self.points.len() / (x.points() * y.points());
        let scale = prototypes.field.quant.scale;
        for (row, points) in (y.low..).zip(self.points.chunks_exact(blocks * x.points())) {
            let down = within(row, top, bottom);
            for (point, &across) in points.chunks_exact(blocks).zip(&self.across) {
                let units = self.units.chunks_exact(blocks * LANE + BESIDES);
                let logit = units.fold(0.0, |logit, units| {
                    let (weights, besides) = units.split_at(blocks * LANE);
                    let sums = sums(point.as_flattened(), weights);
                    let lanes = (0..UNITS).map(|unit| {
                        let [by_across, by_down, constant, out] =
                            [0, 1, 2, 3].map(|i| besides[i][unit]);
                        let place = by_across * across + (by_down * down + constant);
                        let hidden = sums[unit] * scale + place * prototypes.unit;
                        out * hidden.max(0.0)
                    });
                    lanes.fold(logit, |logit, out| logit + out)
                });
                self.grid.push(logit);
            }
        }
    }

    /// The object's coefficients around zero, unit beside unit: for each [`UNITS`] of them, which the last of the object's fill up with
    /// zeros, one row for each prototype and then for each of those [`BESIDES`].
    fn arrange(&mut self, coefficients: &[u8], zero: u8, count: usize) {
        let units = coefficients.len() / (count + BESIDES);
        let (weights, besides) = coefficients.split_at(units * count);
        self.units.clear();
        for first in (0..units).step_by(UNITS) {
            let mut rows = |of: &[u8], each: usize| {
                for i in 0..each {
                    let own = (first..first + UNITS).map(|unit| of.get(unit * each + i));
                    let mut row = [0.0; UNITS];
                    for (to, own) in row.iter_mut().zip(own) {
                        *to = own.map_or(0.0, |&c| f32::from(c) - f32::from(zero));
                    }
                    self.units.push(row);
                }
            };
            rows(weights, count);
            rows(besides, BESIDES);
        }
    }

    /// The prototypes around the box, point by point.
    fn gather(&mut self, prototypes: &Prototypes<'_>, x: &Axis, y: &Axis) {
        let Field { planes, quant } = prototypes.field;
        let (left, top) = prototypes.origin;
        let zero = f32::from(quant.zero_point);
        self.points.clear();
        for row in y.low - top..=y.high - top {
            for column in x.low - left..=x.high - left {
                let at = planes.origin() + row * planes.row_bytes() + column * LANE;
                let of = |plane: &[u8]| {
                    let bytes = plane[at..].as_chunks::<LANE>().0[0];
                    bytes.map(|byte| f32::from(byte) - zero)
                };
                let all = prototypes.bytes.chunks_exact(planes.bytes());
                self.points.extend(all.map(of));
            }
        }
    }

    /// What lies in the pixel columns behind a grid column, from the top.
    fn pieces_of(&mut self, column: usize, columns: usize) {
        self.pieces.clear();
        let next = (column + 1).min(columns - 1);
        let last = self.grid.len() / columns - 1;
        for &rows in &self.rows {
            let [top, low] = [rows.point, (rows.point + 1).min(last)].map(|row| {
                let row = &self.grid[row * columns..][..columns];
                [row[column], row[next]]
            });
            let corners = [top[0], top[1], low[0], low[1]];
            if corners.iter().all(|&c| c > 0.0) {
                match self.pieces.last_mut() {
                    Some(Piece::Inside(_, end)) if *end == rows.first => *end = rows.end,
                    _ => self.pieces.push(Piece::Inside(rows.first, rows.end)),
                }
            } else if corners.iter().any(|&c| c > 0.0) {
                self.pieces.push(Piece::Outline(rows, corners));
            }
        }
    }
}

/// For each unit the sum of the prototypes at a point, each times the unit's weight. Exact: these are integers, far below 2^24.
fn sums(point: &[f32], weights: &[[f32; UNITS]]) -> [f32; UNITS] {
    let mut sums = [0.0; UNITS];
    for (&value, weights) in point.iter().zip(weights) {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += value * weight;
        }
    }
    sums
}

/// Where a point of the grid lies between two places: -1 at `low`, 1 at `high`, and as far again beyond them at most.
///
/// Half a box is half a cell at the least.
fn within(point: usize, low: f32, high: f32) -> f32 {
    let half = ((high - low) / 2.0).max(0.5);
    ((point as f32 - (low + high) / 2.0) / half).clamp(-2.0, 2.0)
}

/// The pixels above zero of a stretch, from the values at its two ends; an empty run at its start if there are none.
fn inside(a: f32, b: f32, rows: Stretch, axis: &Axis) -> (u32, u32) {
    let Stretch { point, first, end } = rows;
    match (a > 0.0, b > 0.0) {
        (true, true) => (first, end),
        (false, false) => (first, first),
        (down, _) => {
            let above = |pixel: u32| a + (b - a) * axis.place(pixel).1 > 0.0;
            // the first pixel that is on the other side
            let near = axis.pixel_near(point, a / (a - b));
            let mut cross = near.clamp(first, end);
            while cross > first && above(cross - 1) != down {
                cross -= 1;
            }
            while cross < end && above(cross) == down {
                cross += 1;
            }
            if down { (first, cross) } else { (cross, end) }
        }
    }
}

#[cfg(test)]
mod tests;
