//! What tracking needs of a frame beside its report: the places that the head proposed, what they look like, and what they score for a name.

use super::{Findings, Pipeline, levels_of};
use crate::{
    detect::Candidate,
    geometry::Letterbox,
    kernels::{
        align::{Logits, align},
        layout::LANE,
    },
    prompt::PromptSet,
    track::{Evidence, Meaning, Place, Tracker},
};

/// The proposals of a frame, for who follows things; their memory.
#[derive(Debug, Default)]
pub(super) struct Places {
    list: Vec<(Place, f32)>,
    /// Of each location: its proposal, and one more that is none.
    of: Vec<u16>,
}

const NONE: u16 = u16::MAX;

impl Places {
    fn clear(&mut self) {
        for (place, _) in &self.list {
            self.of[place.location as usize] = NONE;
        }
        self.list.clear();
    }

    fn fill<'a>(&mut self, candidates: impl Iterator<Item = Candidate<'a>>, letterbox: &Letterbox) {
        for candidate in candidates {
            let location = candidate.location as usize;
            if self.of.len() <= location {
                self.of.resize(location + 1, NONE);
            }
            self.of[location] = self.list.len() as u16;
            let place = Place {
                location: candidate.location,
                bbox: letterbox.frame_from_input(candidate.bbox),
            };
            self.list.push((place, candidate.objectness));
        }
    }
}

/// A frame as a tracker wants it.
#[derive(Debug)]
struct FrameEvidence<'a> {
    pipeline: &'a Pipeline,
    prompts: &'a PromptSet,
    low: bool,
}

impl Findings<'_> {
    /// Follows what was found, from frame to frame: tracks, smoothed scores, and what goes on although this frame alone did not
    /// find it.
    ///
    /// `captured_ns` is when the frame was captured, by a clock that only goes forwards; prompts of one number in `classes`, by
    /// prompt, are one class: empty where each is its own. What a set rejects must not come back because its score is low, so with
    /// rejects nothing goes on that is not detected.
    pub fn follow(&mut self, tracker: &mut Tracker, captured_ns: u64, classes: &[u32]) {
        let pipeline = &mut *self.pipeline;
        let outputs = levels_of(&pipeline.outputs);
        pipeline.places.clear();
        if let Some(letterbox) = &pipeline.letterbox {
            let candidates = pipeline.detector.candidates(&outputs);
            pipeline.places.fill(candidates, letterbox);
        }
        let meaning = Meaning {
            classes,
            thresholds: self.prompts.thresholds(),
        };
        let evidence = FrameEvidence {
            pipeline,
            prompts: self.prompts,
            low: !self.prompts.rules().reject(),
        };
        tracker.update(captured_ns, self.report, meaning, &evidence);
    }
}

impl FrameEvidence<'_> {
    /// The embedding of a proposal.
    fn embedding(&self, index: usize) -> &[u8] {
        let dimension = self.dimension();
        &self.pipeline.detector.embeddings()[index * dimension..][..dimension]
    }
}

impl Evidence for FrameEvidence<'_> {
    fn dimension(&self) -> usize {
        self.pipeline.detector.dimension()
    }

    fn look(&self, location: u32, values: &mut [f32]) -> bool {
        let of = self.pipeline.places.of.get(location as usize);
        let Some(&index) = of.filter(|&&index| index != NONE) else {
            return false;
        };
        let zero = f32::from(self.pipeline.objects.zero_point);
        for (value, &byte) in values.iter_mut().zip(self.embedding(index.into())) {
            *value = f32::from(byte) - zero;
        }
        true
    }

    fn places(&self) -> usize {
        if self.low {
            self.pipeline.places.list.len()
        } else {
            0
        }
    }

    fn place(&self, index: usize) -> Place {
        self.pipeline.places.list[index].0
    }

    fn logit(&self, index: usize, prompt: u32) -> f32 {
        // the kernel takes prompts in blocks; so the bits are those that the prompt always gets
        let first = prompt as usize / LANE * LANE;
        let table = self.prompts.align().prompts(first..first + LANE);
        let (mut values, mut passing) = ([0.0; LANE], [0]);
        let mut logits = Logits {
            values: &mut values,
            thresholds: &[f32::INFINITY; LANE],
            passing: &mut passing,
        };
        let isa = self.pipeline.execution.isa;
        align(isa, &table, self.embedding(index), &mut logits);
        let objectness = self.pipeline.places.list[index].1;
        let logit = values[prompt as usize - first];
        self.pipeline.detector.weighted(logit, objectness)
    }
}
