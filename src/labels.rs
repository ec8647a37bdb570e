//! A name for every pixel of a frame.
//!
//! A [`LabelMap`] lies in memory as masks count pixels: down the columns. So a mask is painted run by run, and the run lengths of
//! every prompt come out of one pass. Pictures of it are written row by row ([`LabelMap::rows`]).

use crate::{geometry::Size, kept::Kept, mask::Mask};

/// The label of a pixel that no prompt names.
pub const NOTHING: u16 = u16::MAX;

/// The best prompt of every pixel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelMap {
    width: u32,
    height: u32,
    /// `[columns, rows]`: an index into the prompt set, or [`NOTHING`].
    labels: Vec<u16>,
    /// `[columns, rows]`: of stuff, how sure that is: natural-log odds in eighths.
    odds: Vec<i8>,
}

impl LabelMap {
    /// A map without any name for a frame of this size; the memory is kept.
    pub fn reset(&mut self, size: Size) {
        (self.width, self.height) = (size.width, size.height);
        let pixels = size.pixels() as usize;
        self.labels.clear();
        self.labels.resize(pixels, NOTHING);
        self.odds.clear();
        self.odds.resize(pixels, 0);
    }

    /// The frame's size.
    #[must_use]
    pub const fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }

    /// Labels down the columns, from the top left corner.
    #[must_use]
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The label of a pixel.
    ///
    /// # Panics
    ///
    /// If it is not in the frame.
    #[must_use]
    pub fn label(&self, x: u32, y: u32) -> u16 {
        assert!(y < self.height, "row {y} of {}", self.height);
        self.labels[x as usize * self.height as usize + y as usize]
    }

    /// The natural-log odds that a pixel of stuff is what its label says; 0 elsewhere.
    #[must_use]
    pub fn logit(&self, pixel: usize) -> f32 {
        f32::from(self.odds[pixel]) / 8.0
    }

    /// Labels of row after row.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = u16> + '_> + '_ {
        let step = self.height as usize;
        (0..step).map(move |row| self.labels.iter().skip(row).step_by(step).copied())
    }

    /// Names a run of pixels in one column.
    pub(crate) fn paint(
        &mut self,
        column: u32,
        rows: std::ops::Range<u32>,
        label: u16,
        logit: f32,
    ) {
        let first = column as usize * self.height as usize;
        let run = first + rows.start as usize..first + rows.end as usize;
        self.labels[run.clone()].fill(label);
        self.odds[run].fill((logit * 8.0).clamp(-127.0, 127.0) as i8);
    }

    /// Gives all pixels of a mask to a prompt.
    ///
    /// # Panics
    ///
    /// If the mask is of a larger frame.
    pub fn paint_mask(&mut self, mask: &Mask, label: u16) {
        for run in mask.runs() {
            let run = run.start as usize..run.end as usize;
            self.labels[run.clone()].fill(label);
            self.odds[run].fill(0);
        }
    }

    /// Pixels of each of so many prompts.
    #[must_use]
    pub fn areas(&self, prompts: usize) -> Vec<u64> {
        let mut areas = vec![0; prompts];
        for &label in &self.labels {
            if let Some(area) = areas.get_mut(usize::from(label)) {
                *area += 1;
            }
        }
        areas
    }

    /// The pixels of each of so many prompts.
    #[must_use]
    pub fn masks(&self, prompts: usize) -> Vec<Mask> {
        let mut masks = Kept::new();
        self.masks_into(prompts, &mut masks);
        masks.into()
    }

    /// The same, into masks whose memory is used again.
    pub fn masks_into(&self, prompts: usize, masks: &mut Kept<Mask>) {
        masks.clear();
        (0..prompts).for_each(|_| masks.next().clear());
        let mut first = 0;
        for run in self.labels.chunk_by(|a, b| a == b) {
            if let Some(mask) = masks.get_mut(usize::from(run[0])) {
                mask.push(first as u32, run.len() as u32);
            }
            first += run.len();
        }
        for mask in masks {
            mask.finish(self.size());
        }
    }

    /// Keeps the names of those pixels of which `keep` says so, by column and row.
    pub fn retain(&mut self, keep: impl Fn(u32, u32) -> bool) {
        let height = self.height.max(1);
        let pixels = self.labels.iter_mut().zip(&mut self.odds);
        for (i, (label, odds)) in (0..).zip(pixels) {
            if !keep(i / height, i % height) {
                (*label, *odds) = (NOTHING, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_a_map_are_what_was_painted_last() {
        let mut map = LabelMap::default();
        map.reset(Size::new(3, 4));
        map.paint(0, 1..4, 0, 2.0);
        map.paint(1, 0..2, 0, 2.0);
        let mut mask = Mask::default();
        mask.push(2, 3);
        mask.finish(map.size());
        map.paint_mask(&mask, 1);
        assert_eq!(map.areas(2), [2, 3]);
        let masks = map.masks(2);
        assert_eq!(masks[1], mask);
        assert_eq!(masks[0].runs().collect::<Vec<_>>(), [1..2, 5..6]);
        let rows: Vec<Vec<u16>> = map.rows().map(Iterator::collect).collect();
        assert_eq!(rows[0], [NOTHING, 1, NOTHING]);
        assert_eq!(rows[1], [0, 0, NOTHING]);
        assert_eq!((map.label(0, 1), map.label(0, 2)), (0, 1));
        assert_eq!((map.logit(1), map.logit(2)), (2.0, 0.0));
    }

    #[test]
    fn pixels_that_do_not_count_have_no_name() {
        let mut map = LabelMap::default();
        map.reset(Size::new(2, 3));
        map.paint(0, 0..3, 5, 1.0);
        map.paint(1, 0..3, 5, 1.0);
        map.retain(|x, y| x == 1 && y < 2);
        assert_eq!(map.labels(), [NOTHING, NOTHING, NOTHING, 5, 5, NOTHING]);
        assert_eq!((map.logit(0), map.logit(3)), (0.0, 1.0));
    }
}
