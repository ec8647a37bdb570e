//! From the pairs that passed to the best of them: NMS prompt by prompt.
//!
//! A frame with thousands of prompts can have a hundred thousand such pairs. Those of one
//! prompt are not sorted: the best of them is looked for and all that it suppresses are
//! taken out, again and again. Most go with the first few, so this reads each pair some
//! few times, and a sort would do more.

use super::nms::Overlaps;
use super::passing::Passes;
use super::room::Room;
use super::{Settings, ascending, descending};
use crate::geometry::BBox;
use crate::odds;
use crate::scene::{Detection, Report};

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

    fn logit(self) -> f32 {
        ascending((self.order >> 32) as u32)
    }
}

/// Buffers for the pairs of one frame.
#[derive(Debug)]
pub(super) struct Selection {
    settings: Settings,
    /// Per object: its box in the frame, if a pair of it passed and the box is not empty.
    boxes: Vec<Option<BBox>>,
    overlaps: Overlaps,
    /// Pairs that nothing has suppressed yet.
    left: Vec<Pair>,
    /// Per object: its best pair, where places have one name.
    bests: Vec<Option<Pair>>,
    room: Room<Pair>,
}

impl Selection {
    pub(super) fn new(objects: usize, settings: Settings) -> Self {
        Self {
            settings,
            boxes: Vec::with_capacity(objects),
            overlaps: Overlaps::new(objects),
            left: Vec::with_capacity(objects),
            bests: Vec::with_capacity(objects),
            room: Room::default(),
        }
    }

    pub(super) fn run(
        &mut self,
        passes: &Passes,
        locations: &[u32],
        report: &mut Report,
        bbox: impl Fn(u32) -> BBox,
    ) {
        self.room.clear();
        self.boxes.clear();
        let boxes = locations.iter().enumerate().map(|(object, &location)| {
            let bbox = passes.has(object).then(|| bbox(location));
            bbox.filter(|b| !b.is_empty())
        });
        self.boxes.extend(boxes);
        self.overlaps.fill(&self.boxes, self.settings.iou);
        if self.settings.agnostic {
            self.all_prompts_together(passes, locations);
        } else {
            self.prompt_by_prompt(passes, locations);
        }
        report.dropped = self.room.settle();
        report.detections.clear();
        let boxes = &self.boxes;
        report.detections.extend(self.room.kept().map(|pair| {
            let object = pair.object as usize;
            let logit = pair.logit();
            Detection {
                bbox: boxes[object].expect("only objects with a box are kept"),
                score: odds::score(logit),
                logit,
                prompt: pair.prompt,
                location: locations[object],
            }
        }));
    }

    /// Every prompt for itself.
    fn prompt_by_prompt(&mut self, passes: &Passes, locations: &[u32]) {
        for (prompt, pairs) in passes.by_prompt() {
            let boxed = pairs
                .iter()
                .filter(|pair| self.boxes[pair.object as usize].is_some());
            self.left.clear();
            self.left.extend(boxed.map(|pair| {
                let object = pair.object as usize;
                Pair::new(pair.logit, locations[object], prompt, object)
            }));
            let room = &mut self.room;
            suppress(&mut self.left, &self.overlaps, |rank, pair| {
                room.offer(rank, pair);
            });
        }
    }

    /// Every object with its best prompt; then prompts do compete, and the best of all are kept.
    fn all_prompts_together(&mut self, passes: &Passes, locations: &[u32]) {
        self.bests.clear();
        self.bests.resize(locations.len(), None);
        for (prompt, pairs) in passes.by_prompt() {
            for pair in pairs {
                let object = pair.object as usize;
                let pair = Pair::new(pair.logit, locations[object], prompt, object);
                let best = &mut self.bests[object];
                *best = Some(best.map_or(pair, |best| best.min(pair)));
            }
        }
        let bests = self.bests.iter().zip(&self.boxes);
        self.left.clear();
        self.left
            .extend(bests.filter_map(|(best, bbox)| best.filter(|_| bbox.is_some())));
        let room = &mut self.room;
        suppress(&mut self.left, &self.overlaps, |_, pair| {
            room.offer(0, pair);
        });
    }
}

/// Greedy NMS: keeps the best that is left, the how manieth it is, and takes out what overlaps it,
/// until nothing is left.
fn suppress(left: &mut Vec<Pair>, overlaps: &Overlaps, mut keep: impl FnMut(usize, Pair)) {
    // orders differ, because objects have different locations
    let better = |a: Pair, b: Pair| if b.order < a.order { b } else { a };
    let mut next = left.iter().copied().reduce(better);
    let mut rank = 0;
    while let Some(kept) = next {
        keep(rank, kept);
        rank += 1;
        // what it does not overlap moves to the front; it overlaps itself, so there is less each time
        let suppressed = overlaps.of(kept.object as usize);
        let mut count = 0;
        next = None;
        for i in 0..left.len() {
            let pair = left[i];
            left[count] = pair;
            let object = pair.object as usize;
            if suppressed[object / 64] >> (object % 64) & 1 == 0 {
                count += 1;
                next = Some(next.map_or(pair, |next| better(next, pair)));
            }
        }
        left.truncate(count);
    }
}
