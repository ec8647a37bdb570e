//! Which pixels of a frame belong to an object.
//!
//! A [`Mask`] is a run-length code, column by column, as COCO has it: it is what comes out of decoding, what is written, and what is
//! drawn; no bitmap is ever made. [`Mask::compressed`] is the string that `pycocotools` reads and writes.

use crate::geometry::Size;

/// The pixels of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Runs of pixels, from the top of the first column downwards, then the next column: first outside, then inside, and so on. They
    /// add up to the frame's pixels; only the first may be 0.
    counts: Vec<u32>,
    /// Pixels before the run that is being written.
    end: u32,
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
    pub fn runs(&self) -> impl Iterator<Item = std::ops::Range<u32>> + '_ {
        let mut at = 0;
        self.counts.chunks(2).filter_map(move |pair| {
            let first = at + pair[0];
            at = first + pair.get(1)?;
            Some(first..at)
        })
    }

    /// COCO's compressed `counts`, appended to `text`.
    ///
    /// Each run, from the third on as its difference from the one two before, in groups of five bits, lowest first, each a printable
    /// character (P. Dollár's `rleToString`, <https://github.com/cocodataset/cocoapi>).
    pub fn compressed(&self, text: &mut String) {
        for (i, &count) in self.counts.iter().enumerate() {
            let before = if i > 2 { self.counts[i - 2] } else { 0 };
            let mut x = i64::from(count) - i64::from(before);
            loop {
                let low = (x & 0x1f) as u8;
                x >>= 5;
                // the rest says nothing more than the sign of these five bits
                let last = x == if low & 0x10 != 0 { -1 } else { 0 };
                text.push(char::from(48 + if last { low } else { low | 0x20 }));
                if last {
                    break;
                }
            }
        }
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
            mask(Size::new(size.0, size.1), runs).compressed(&mut text);
            assert_eq!(text, expected);
        }
    }
}
