//! Non-maximum suppression over bits.
//!
//! A box belongs to an object, whatever the prompt, so which objects overlap is one
//! symmetric matrix of bits for the whole frame. Suppression for one prompt is then
//! "take the best object that is left, and take out those in its row".

use crate::geometry::BBox;

/// Which objects of a frame overlap by more than the IoU that is allowed.
#[derive(Debug)]
pub(super) struct Overlaps {
    words: usize,
    rows: Vec<u64>,
}

impl Overlaps {
    pub(super) fn new(objects: usize) -> Self {
        let words = objects.div_ceil(64);
        Self {
            words,
            rows: vec![0; objects * words],
        }
    }

    /// Compares the boxes that are there; an object always overlaps itself.
    pub(super) fn fill(&mut self, boxes: &[Option<BBox>], iou: f32) {
        self.rows.fill(0);
        for (a, box_a) in boxes.iter().enumerate() {
            let Some(box_a) = box_a else { continue };
            self.set(a, a);
            for (b, box_b) in boxes[..a].iter().enumerate() {
                if box_b.is_some_and(|box_b| box_a.iou(&box_b) > iou) {
                    self.set(a, b);
                    self.set(b, a);
                }
            }
        }
    }

    fn set(&mut self, a: usize, b: usize) {
        self.rows[a * self.words + b / 64] |= 1 << (b % 64);
    }

    /// The objects that an object suppresses, itself among them: bit `b % 64` of word `b / 64`.
    pub(super) fn of(&self, object: usize) -> &[u64] {
        &self.rows[object * self.words..][..self.words]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(boxes: &[Option<BBox>], iou: f32) -> Vec<usize> {
        let mut overlaps = Overlaps::new(boxes.len());
        overlaps.fill(boxes, iou);
        let mut left: Vec<_> = (0..boxes.len()).filter(|&i| boxes[i].is_some()).collect();
        let mut kept = Vec::new();
        while let Some(&first) = left.first() {
            kept.push(first);
            let row = overlaps.of(first).to_vec();
            left.retain(|&other| row[other / 64] >> (other % 64) & 1 == 0);
        }
        kept
    }

    fn row(x: f32) -> Option<BBox> {
        Some(BBox::new(x, 0.0, x + 10.0, 10.0))
    }

    #[test]
    fn a_suppressed_box_suppresses_nothing() {
        // 0 and 1 overlap by 0.67, 1 and 2 too, 0 and 2 by 0.43
        assert_eq!(kept(&[row(0.0), row(2.0), row(4.0)], 0.6), [0, 2]);
    }

    #[test]
    fn an_overlap_equal_to_the_limit_is_allowed() {
        assert_eq!(kept(&[row(0.0), row(5.0)], 1.0 / 3.0), [0, 1]);
        assert_eq!(kept(&[row(0.0), row(5.0)], 0.33), [0]);
        assert_eq!(kept(&[row(0.0), row(0.0)], 1.0), [0, 1]);
    }

    #[test]
    fn suppression_reaches_across_words_of_bits() {
        let mut boxes: Vec<_> = (0..300).map(|i| row(20.0 * i as f32)).collect();
        boxes[299] = row(0.0);
        boxes[64] = row(20.0 * 63.0);
        boxes[100] = None;
        let kept = kept(&boxes, 0.6);
        assert_eq!(kept.len(), 297);
        assert!(!kept.contains(&299) && !kept.contains(&64));
    }

    #[test]
    fn bits_equal_plain_greedy_suppression() {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 65536.0
        };
        let boxes: Vec<_> = (0..150)
            .map(|_| {
                let (x, y) = (next() * 30.0, next() * 30.0);
                BBox::new(x, y, x + 5.0 + next() * 20.0, y + 5.0 + next() * 20.0)
            })
            .collect();
        let mut plain: Vec<usize> = Vec::new();
        for (i, bbox) in boxes.iter().enumerate() {
            if plain.iter().all(|&j| boxes[j].iou(bbox) <= 0.5) {
                plain.push(i);
            }
        }
        let boxes: Vec<_> = boxes.into_iter().map(Some).collect();
        assert_eq!(kept(&boxes, 0.5), plain);
    }
}
