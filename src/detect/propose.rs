//! The best locations of all levels, and their embeddings side by side.

use super::{HeadLevel, HeadOutput, ascending, decode::locate, descending};
use crate::{head::HeadForm, kernels::layout::LANE};

/// Buffers for the locations of one frame.
#[derive(Debug)]
pub(super) struct Proposals {
    /// One per location: objectness turned around above, location below, so that a plain
    /// sort of integers is the order we want.
    keys: Vec<u64>,
    /// How many are kept.
    limit: usize,
    locations: Vec<u32>,
    objects: Vec<u8>,
}

impl Proposals {
    pub(super) fn new(locations: usize, limit: usize, dimension: usize) -> Self {
        Self {
            keys: Vec::with_capacity(locations),
            limit,
            locations: Vec::with_capacity(limit),
            objects: Vec::with_capacity(limit * dimension),
        }
    }

    /// The kept locations, best first.
    pub(super) fn locations(&self) -> &[u32] {
        &self.locations
    }

    /// How many of them have at least this objectness, as the head gives it.
    pub(super) fn above(&self, least: f32) -> usize {
        let reaches = |&key: &u64| ascending((key >> 32) as u32) >= least;
        self.keys.partition_point(reaches)
    }

    /// Their embeddings, side by side.
    pub(super) fn objects(&self) -> &[u8] {
        &self.objects
    }

    pub(super) fn fill(
        &mut self,
        form: &HeadForm,
        levels: &[HeadLevel],
        outputs: &[HeadOutput<'_>],
    ) -> &[u8] {
        self.keys.clear();
        for (level, output) in levels.iter().zip(outputs) {
            let first = self.keys.len();
            let key = |(i, objectness): (usize, f32)| {
                u64::from(descending(objectness)) << 32 | (first + i) as u64
            };
            match form.objectness_at() {
                Some(at) => {
                    let field = &level.geometry;
                    let planes = output.geometry.chunks_exact(field.planes.bytes());
                    let plane = planes.skip(at / LANE).take(1);
                    let pixels = plane.flat_map(|plane| field.rows(plane)).flatten();
                    let objectness = pixels.map(|pixel| field.quant.dequantise(pixel[at % LANE]));
                    self.keys.extend(objectness.enumerate().map(key));
                }
                None => {
                    let field = &level.embedding;
                    let best = |i: usize| {
                        let values = field.at(output.embedding, i).flatten();
                        let best = values.fold(0, |best, &q| best.max(q));
                        (i, field.quant.dequantise(best))
                    };
                    self.keys
                        .extend((0..level.locations()).map(|i| key(best(i))));
                }
            }
        }
        if self.limit < self.keys.len() {
            self.keys.select_nth_unstable(self.limit);
            self.keys.truncate(self.limit);
        }
        self.keys.sort_unstable();

        self.locations.clear();
        self.locations
            .extend(self.keys.iter().map(|&key| key as u32));
        self.objects.clear();
        for &location in &self.locations {
            let (level, output, index) = locate(levels, outputs, location);
            let planes = level.embedding.at(output.embedding, index);
            self.objects.extend(planes.flatten());
        }
        &self.objects
    }
}
