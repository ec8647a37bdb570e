//! From coefficients and prototypes to masks.
//!
//! An object's mask logit is the sum of the prototypes, each times the object's coefficient for it (YOLACT, Bolya et al. 2019); above
//! zero, inside the object's box, is mask. Only selected objects get here, and only the prototypes' pixels around the box are summed:
//! integers, on the prototypes' grid. Between its points the logit is interpolated linearly (half-pixel centres, as torch's bilinear
//! `align_corners=False`) at the frame's pixels.
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

/// Makes masks; its buffers are kept.
#[derive(Debug, Default)]
pub struct Segmenter {
    /// The object's logits on the grid around its box, `[rows, columns]`, times an unknown positive factor.
    grid: Vec<i32>,
    /// Its coefficients around zero.
    coefficients: Vec<i16>,
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
}

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
        let [x, y] = axes(letterbox, stride, size, bbox);
        (joined(columns, &x), joined(rows, &y))
    });
    (all.0.unwrap_or(0..1), all.1.unwrap_or(0..1))
}

/// The pixels of a box on a grid of `size`.
fn axes(letterbox: &Letterbox, stride: u32, size: (usize, usize), bbox: &BBox) -> [Axis; 2] {
    let spans = ((bbox.x0, bbox.x1), (bbox.y0, bbox.y1));
    Axis::both(letterbox, stride, size, spans)
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
    /// `coefficients` are the object's, as many as there are prototypes, as bytes around `zero`; `bbox` is in frame space.
    ///
    /// # Panics
    ///
    /// If the coefficients are not as many as the prototypes, or the window of these does not hold [what the box needs](points).
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
        let [x, y] = axes(letterbox, prototypes.stride, prototypes.size, bbox);
        let (left, top) = prototypes.origin;
        assert!(
            left <= x.low
                && x.high < left + planes.width
                && top <= y.low
                && y.high < top + planes.height,
            "prototypes of another window than the box"
        );
        self.coefficients.clear();
        let centred = coefficients.iter().map(|&c| i16::from(c) - i16::from(zero));
        self.coefficients.extend(centred);
        self.sum(prototypes, &x, &y);
        x.stretches(&mut self.columns);
        y.stretches(&mut self.rows);
        let height = letterbox.frame.height;
        for i in 0..self.columns.len() {
            let columns = self.columns[i];
            self.pieces_of(columns.point, x.points());
            if self.pieces.is_empty() {
                continue;
            }
            for column in columns.first..columns.end {
                let (_, part) = x.place(column);
                for piece in &self.pieces {
                    let (first, end) = match *piece {
                        Piece::Inside(first, end) => (first, end),
                        Piece::Outline(rows, [a, b, c, d]) => {
                            inside(a + (b - a) * part, c + (d - c) * part, rows, &y)
                        }
                    };
                    mask.push(column * height + first, end - first);
                }
            }
        }
        mask.finish(letterbox.frame);
    }

    /// The logits on the grid, from integers.
    fn sum(&mut self, prototypes: &Prototypes<'_>, x: &Axis, y: &Axis) {
        let Field { planes, quant } = prototypes.field;
        let shift: i32 = self.coefficients.iter().map(|&c| i32::from(c)).sum();
        self.grid.clear();
        self.grid.resize(
            x.points() * y.points(),
            -shift * i32::from(quant.zero_point),
        );
        let planes_of = prototypes.bytes.chunks_exact(planes.bytes());
        for (plane, coefficients) in planes_of.zip(self.coefficients.as_chunks::<LANE>().0) {
            let rows = self
                .grid
                .chunks_exact_mut(x.points())
                .zip(y.low - prototypes.origin.1..);
            for (sums, row) in rows {
                let at = planes.origin()
                    + row * planes.row_bytes()
                    + (x.low - prototypes.origin.0) * LANE;
                let pixels = plane[at..].as_chunks::<LANE>().0;
                for (sum, pixel) in sums.iter_mut().zip(pixels) {
                    let products = pixel.iter().zip(coefficients);
                    *sum += products
                        .map(|(&p, &c)| i32::from(p) * i32::from(c))
                        .sum::<i32>();
                }
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
            if corners.iter().all(|&c| c > 0) {
                match self.pieces.last_mut() {
                    Some(Piece::Inside(_, end)) if *end == rows.first => *end = rows.end,
                    _ => self.pieces.push(Piece::Inside(rows.first, rows.end)),
                }
            } else if corners.iter().any(|&c| c > 0) {
                let corners = corners.map(|c| c as f32);
                self.pieces.push(Piece::Outline(rows, corners));
            }
        }
    }
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
