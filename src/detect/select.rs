//! The scan over (object, prompt) pairs, and the best of what is left.
//!
//! Most pairs are far below their threshold: 300 objects × 10,000 prompts are three
//! million, of which a frame passes some dozens. So the first pass reads every logit
//! once, in order, and only marks which blocks of 16 prompts and which objects have a
//! pair that passes. Only those blocks are looked at again, prompt by prompt.

use std::collections::BinaryHeap;

use super::nms::{Objects, Overlaps};
use super::{Alignment, Settings, descending};
use crate::geometry::BBox;
use crate::odds;
use crate::scene::{Detection, MAX_DETECTIONS, Report};

/// Prompts that are marked together: a cache line of logits.
const BLOCK: usize = 16;

/// A pair that passed; sorts best first.
///
/// `order` is the logit turned around above and the location below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    order: u64,
    prompt: u32,
    object: u32,
}

impl Pair {
    fn new(logit: f32, location: u32, prompt: usize, object: usize) -> Self {
        Self {
            order: u64::from(descending(logit)) << 32 | u64::from(location),
            prompt: prompt as u32,
            object: object as u32,
        }
    }
}

/// Buffers for the pairs of one frame.
#[derive(Debug)]
pub(super) struct Selection {
    settings: Settings,
    /// Per object: its box in the frame, if a pair of it passed and the box is not empty.
    boxes: Vec<Option<BBox>>,
    overlaps: Overlaps,
    suppressed: Objects,
    /// Per block of prompts: whether a pair passed.
    blocks: Vec<bool>,
    /// The pairs of one block of prompts.
    pairs: Vec<Pair>,
    best: Best,
}

impl Selection {
    pub(super) fn new(objects: usize, settings: Settings) -> Self {
        Self {
            settings,
            boxes: Vec::with_capacity(objects),
            overlaps: Overlaps::new(objects),
            suppressed: Objects::none(objects),
            blocks: Vec::new(),
            pairs: Vec::with_capacity(objects * BLOCK),
            best: Best::default(),
        }
    }

    pub(super) fn run(
        &mut self,
        alignment: Alignment<'_>,
        locations: &[u32],
        report: &mut Report,
        bbox: impl Fn(u32) -> BBox,
    ) {
        self.best.clear();
        if !alignment.thresholds.is_empty() {
            self.mark(alignment, locations, bbox);
            self.overlaps.fill(&self.boxes, self.settings.iou);
            if self.settings.agnostic {
                self.all_prompts_together(alignment, locations);
            } else {
                self.prompt_by_prompt(alignment, locations);
            }
        }
        report.dropped = self.best.dropped;
        report.detections.clear();
        self.best.sort();
        for pair in &self.best.sorted {
            let object = pair.object as usize;
            let logit = alignment.logits[object * alignment.row + pair.prompt as usize];
            let detection = Detection {
                bbox: self.boxes[object].expect("only objects with a box are kept"),
                score: odds::score(logit),
                logit,
                prompt: pair.prompt,
                location: locations[object],
            };
            let room = report.detections.push(detection);
            debug_assert!(room.is_ok(), "no more are kept than a report holds");
        }
    }

    /// First pass: which blocks and objects have a pair that passes, and those objects' boxes.
    fn mark(&mut self, alignment: Alignment<'_>, locations: &[u32], bbox: impl Fn(u32) -> BBox) {
        let thresholds = alignment.thresholds;
        self.blocks.clear();
        self.blocks.resize(thresholds.len().div_ceil(BLOCK), false);
        self.boxes.clear();
        for (logits, &location) in alignment.logits.chunks_exact(alignment.row).zip(locations) {
            let logits = &logits[..thresholds.len()];
            let (logit_blocks, logit_rest) = logits.as_chunks::<BLOCK>();
            let (threshold_blocks, threshold_rest) = thresholds.as_chunks::<BLOCK>();
            let mut object = false;
            let pairs = logit_blocks.iter().zip(threshold_blocks);
            for ((logits, thresholds), block) in pairs.zip(&mut self.blocks) {
                let any = any_passes(logits, thresholds);
                *block |= any;
                object |= any;
            }
            if any_passes(logit_rest, threshold_rest) {
                *self.blocks.last_mut().expect("there is a rest") = true;
                object = true;
            }
            let bbox = object.then(|| bbox(location)).filter(|b| !b.is_empty());
            self.boxes.push(bbox);
        }
    }

    /// Second pass: every prompt for itself, a block of them at a time.
    fn prompt_by_prompt(&mut self, alignment: Alignment<'_>, locations: &[u32]) {
        let marked = self
            .blocks
            .iter()
            .enumerate()
            .filter(|(_, passes)| **passes);
        for (block, _) in marked {
            let first = block * BLOCK;
            let end = (first + BLOCK).min(alignment.thresholds.len());
            let thresholds = &alignment.thresholds[first..end];
            self.pairs.clear();
            for (object, &location) in locations.iter().enumerate() {
                let logits = &alignment.logits[object * alignment.row..][first..end];
                if self.boxes[object].is_none() || !any_passes(logits, thresholds) {
                    continue;
                }
                for ((logit, threshold), prompt) in logits.iter().zip(thresholds).zip(first..) {
                    if logit >= threshold {
                        self.pairs.push(Pair::new(*logit, location, prompt, object));
                    }
                }
            }
            self.pairs
                .sort_unstable_by_key(|pair| (pair.prompt, pair.order));
            for pairs in self.pairs.chunk_by(|a, b| a.prompt == b.prompt) {
                suppress(pairs, &self.overlaps, &mut self.suppressed, &mut self.best);
            }
        }
    }

    /// Second pass: every object with its best prompt.
    fn all_prompts_together(&mut self, alignment: Alignment<'_>, locations: &[u32]) {
        self.pairs.clear();
        for (object, &location) in locations.iter().enumerate() {
            if self.boxes[object].is_none() {
                continue;
            }
            let logits = &alignment.logits[object * alignment.row..];
            let passing = logits.iter().zip(alignment.thresholds).enumerate();
            self.pairs.extend(
                passing
                    .filter(|(_, (logit, threshold))| logit >= threshold)
                    .map(|(prompt, (&logit, _))| Pair::new(logit, location, prompt, object))
                    .min(),
            );
        }
        self.pairs.sort_unstable();
        suppress(
            &self.pairs,
            &self.overlaps,
            &mut self.suppressed,
            &mut self.best,
        );
    }
}

/// Whether any logit reaches its threshold; without branches, so that it vectorises.
fn any_passes(logits: &[f32], thresholds: &[f32]) -> bool {
    logits
        .iter()
        .zip(thresholds)
        .fold(false, |any, (logit, threshold)| any | (logit >= threshold))
}

/// NMS of pairs that come best first; those that survive are offered to `best`.
fn suppress(pairs: &[Pair], overlaps: &Overlaps, suppressed: &mut Objects, best: &mut Best) {
    let mut kept = pairs.iter();
    let objects = pairs.iter().map(|pair| pair.object as usize);
    overlaps.suppress(objects, suppressed, |object| {
        let pair = kept.find(|pair| pair.object as usize == object);
        best.offer(*pair.expect("a kept object is one of the pairs"));
    });
}

/// The best pairs so far, no more than a report holds; the worst of them on top.
#[derive(Debug)]
struct Best {
    heap: BinaryHeap<Pair>,
    sorted: Vec<Pair>,
    dropped: u32,
}

impl Default for Best {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::with_capacity(MAX_DETECTIONS),
            sorted: Vec::with_capacity(MAX_DETECTIONS),
            dropped: 0,
        }
    }
}

impl Best {
    fn clear(&mut self) {
        self.heap.clear();
        self.dropped = 0;
    }

    fn offer(&mut self, pair: Pair) {
        if self.heap.len() < MAX_DETECTIONS {
            self.heap.push(pair);
            return;
        }
        self.dropped = self.dropped.saturating_add(1);
        if let Some(mut worst) = self.heap.peek_mut()
            && pair < *worst
        {
            *worst = pair;
        }
    }

    fn sort(&mut self) {
        self.sorted.clear();
        self.sorted.extend(self.heap.drain());
        self.sorted.sort_unstable();
    }
}
