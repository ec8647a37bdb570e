//! Which pixels of a frame belong to an object.
//!
//! A [`Mask`] is a run-length code, column by column, as COCO has it: it is what comes out of decoding, what is written, and what is
//! drawn; no bitmap is ever made. [`Mask::compressed`] is the string that `pycocotools` reads and writes.

use std::{fmt, ops::Range};

use crate::geometry::{BBox, Crop, Size};

mod outline;

/// Columns and rows of [`Mask::bits`].
pub const BITS_SIDE: usize = 128;
/// Bytes of [`Mask::bits`].
pub const BITS_BYTES: usize = BITS_SIDE * BITS_SIDE / 8;

/// The pixels of one object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Runs of pixels, from the top of the first column downwards, then the next column: first outside, then inside, and so on. They
    /// add up to the frame's pixels; only the first may be 0.
    counts: Vec<u32>,
    /// Pixels before the run that is being written.
    end: u32,
}

impl Clone for Mask {
    fn clone(&self) -> Self {
        Self {
            counts: self.counts.clone(),
            end: self.end,
        }
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        self.counts.clone_from(&source.counts);
        self.end = source.end;
    }
}

impl Mask {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.end = 0;
    }

    /// Adds a run of pixels inside; runs come in order and do not overlap.
    ///
    /// `first` counts pixels down the columns, from the frame's top left corner.
    ///
    /// # Panics
    ///
    /// If the run begins before the last one ended.
    pub fn push(&mut self, first: u32, length: u32) {
        let gap = first.checked_sub(self.end).expect("runs in order");
        if length == 0 {
            return;
        }
        match self.counts.last_mut() {
            Some(last) if gap == 0 => *last += length,
            _ => self.counts.extend([gap, length]),
        }
        self.end = first + length;
    }

    /// Ends the mask of a frame of this size: what is left is outside.
    pub fn finish(&mut self, frame: Size) {
        let left = frame.pixels() as u32 - self.end;
        if left > 0 {
            self.counts.push(left);
            self.end += left;
        }
    }

    /// Runs outside and inside in turn, outside first: COCO's uncompressed `counts`.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Pixels inside.
    #[must_use]
    pub fn area(&self) -> u64 {
        self.counts
            .iter()
            .skip(1)
            .step_by(2)
            .map(|&n| u64::from(n))
            .sum()
    }

    /// The runs inside, as ranges of pixels that are counted down the columns.
    pub fn runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut at = 0;
        self.counts.chunks(2).filter_map(move |pair| {
            let first = at + pair[0];
            at = first + pair.get(1)?;
            Some(first..at)
        })
    }

    /// The runs inside, cut at the columns of a frame of this height: column, rows.
    pub fn column_runs(&self, height: u32) -> impl Iterator<Item = (u32, Range<u32>)> + '_ {
        let height = height.max(1);
        self.runs().flat_map(move |run| {
            let columns = run.start / height..run.end.div_ceil(height);
            columns.map(move |column| {
                let first = column * height;
                let rows = run.start.max(first) - first..run.end.min(first + height) - first;
                (column, rows)
            })
        })
    }

    /// The mask of a frame of `height` rows as one of a part of it, in which all of its pixels lie.
    ///
    /// # Panics
    ///
    /// If one of its pixels does not.
    #[must_use]
    pub fn cut(&self, height: u32, part: Crop) -> Self {
        let mut cut = Self::default();
        for (column, rows) in self.column_runs(height) {
            assert!(part.x <= column && part.y <= rows.start, "outside the part");
            let first = (column - part.x) * part.size.height + rows.start - part.y;
            cut.push(first, rows.end - rows.start);
        }
        cut.finish(part.size);
        cut
    }

    /// What lies in a box, as 128 × 128 bits: 2 KiB for a slow link, whatever the size of the object.
    ///
    /// Row by row, eight columns in a byte, the leftmost highest. A bit is the mask's pixel under the centre of its share of the box.
    /// The box is in pixels of the mask's frame, which has `height` rows.
    #[must_use]
    pub fn bits(&self, bbox: &BBox, height: u32) -> Vec<u8> {
        let mut bits = vec![0; BITS_BYTES];
        let centre = |low: f32, length: f32, i: usize| {
            (low + length * (i as f32 + 0.5) / BITS_SIDE as f32).max(0.0) as u32
        };
        let columns: [u32; BITS_SIDE] = std::array::from_fn(|i| centre(bbox.x0, bbox.width(), i));
        let rows: [u32; BITS_SIDE] = std::array::from_fn(|i| centre(bbox.y0, bbox.height(), i));
        for (column, run) in self.column_runs(height) {
            let first = columns.partition_point(|&c| c < column);
            let end = columns.partition_point(|&c| c <= column);
            let (top, low) = (
                rows.partition_point(|&r| r < run.start),
                rows.partition_point(|&r| r < run.end),
            );
            for bit in first..end {
                for row in top..low {
                    bits[(row * BITS_SIDE + bit) / 8] |= 0x80 >> (bit % 8);
                }
            }
        }
        bits
    }

    /// COCO's compressed `counts`, appended to `text`.
    ///
    /// # Errors
    ///
    /// Those of `text`; a `String` has none.
    ///
    /// Each run, from the third on as its difference from the one two before, in groups of five bits, lowest first, each a printable
    /// character (P. Dollár's `rleToString`, <https://github.com/cocodataset/cocoapi>).
    pub fn compressed(&self, text: &mut impl fmt::Write) -> fmt::Result {
        for (i, &count) in self.counts.iter().enumerate() {
            let before = if i > 2 { self.counts[i - 2] } else { 0 };
            let mut x = i64::from(count) - i64::from(before);
            loop {
                let low = (x & 0x1f) as u8;
                x >>= 5;
                // the rest says nothing more than the sign of these five bits
                let last = x == if low & 0x10 != 0 { -1 } else { 0 };
                text.write_char(char::from(48 + if last { low } else { low | 0x20 }))?;
                if last {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// As COCO's tools read it ([`Mask::compressed`]), written without being made first.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = Pieces {
            held: heapless::String::new(),
            out: f,
        };
        self.compressed(&mut pieces)?;
        let Pieces { held, out } = pieces;
        out.write_str(&held)
    }
}

/// Characters on their way to a formatter, which wants many at a time.
struct Pieces<'a, 'b> {
    held: heapless::String<256>,
    out: &'a mut fmt::Formatter<'b>,
}

impl fmt::Write for Pieces<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if self.held.push(c).is_err() {
            self.out.write_str(&self.held)?;
            self.held.clear();
            self.held.push(c).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(frame: Size, runs: &[(u32, u32)]) -> Mask {
        let mut mask = Mask::default();
        for &(first, length) in runs {
            mask.push(first, length);
        }
        mask.finish(frame);
        mask
    }

    #[test]
    fn runs_that_touch_are_one_and_all_add_up_to_the_frame() {
        let m = mask(Size::new(10, 4), &[(3, 2), (5, 1), (9, 0), (20, 4)]);
        assert_eq!(m.counts(), [3, 3, 14, 4, 16]);
        assert_eq!(m.area(), 7);
        assert_eq!(m.runs().collect::<Vec<_>>(), [3..6, 20..24]);
        assert_eq!(mask(Size::new(2, 2), &[]).counts(), [4]);
        assert_eq!(mask(Size::new(2, 2), &[(0, 4)]).counts(), [0, 4]);
        assert_eq!(mask(Size::new(2, 2), &[(2, 2)]).counts(), [2, 2]);
    }

    #[test]
    fn a_part_of_a_frame_has_the_pixels_that_the_whole_has_there() {
        // a column and a half of a part of 3 rows
        let whole = mask(Size::new(8, 10), &[(31, 3), (41, 2)]);
        let part = Crop {
            x: 2,
            y: 1,
            size: Size::new(4, 3),
        };
        assert_eq!(whole.cut(10, part), mask(part.size, &[(3, 5)]));
    }

    #[test]
    fn bits_are_the_pixels_under_the_centres() {
        let size = Size::new(256, 300);
        // the left half of a box of 128 x 256 at 10, 20: two rows of the frame for each bit's row
        let runs: Vec<(u32, u32)> = (10..74).map(|x| (x * 300 + 20, 256)).collect();
        let bits = mask(size, &runs).bits(&BBox::new(10.0, 20.0, 138.0, 276.0), 300);
        assert_eq!(bits.len(), BITS_BYTES);
        for row in bits.chunks(16) {
            assert_eq!(row, [[0xff; 8], [0; 8]].concat());
        }
        // a single pixel in a box of 2 x 2 is a quarter of all bits
        let one = mask(size, &[(11 * 300 + 20, 1)]);
        let bits = one.bits(&BBox::new(10.0, 20.0, 12.0, 22.0), 300);
        let ones: u32 = bits.iter().map(|b| b.count_ones()).sum();
        assert_eq!(
            (ones, bits[0], bits[8], bits[127 * 16 + 8]),
            (64 * 64, 0, 0xff, 0)
        );
        assert!(
            mask(size, &[])
                .bits(&BBox::new(0.0, 0.0, 5.0, 5.0), 300)
                .iter()
                .all(|&b| b == 0)
        );
    }

    #[test]
    fn the_compressed_string_is_that_of_pycocotools() {
        // written by pycocotools 2.0
        for (size, runs, expected) in [
            ((10, 4), &[(3, 3), (20, 4)][..], "33>12"),
            (
                (640, 480),
                &[
                    (1000, 33),
                    (1480, 40),
                    (1955, 50),
                    (100000, 1),
                    (100480, 300),
                    (300000, 7200),
                ][..],
                "Xo0Q1o=7D:hXo2_NdhPM[9eRR6dg6",
            ),
            ((3, 3), &[][..], "9"),
            ((3, 3), &[(0, 9)][..], "09"),
            (
                (4000, 3000),
                &[(5, 1), (11999000, 900)][..],
                "51bhU^;Sl0bZjaD",
            ),
        ] {
            let mut text = String::new();
            let mask = mask(Size::new(size.0, size.1), runs);
            mask.compressed(&mut text).expect("a string");
            assert_eq!(text, expected);
        }
    }
}
