//! The best locations of all levels, and their embeddings side by side.

use super::{GEOMETRY, HeadLevel, HeadOutput, OBJECTNESS, descending};

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

    pub(super) fn fill(
        &mut self,
        levels: &[HeadLevel],
        outputs: &[HeadOutput<'_>],
        dimension: usize,
    ) -> &[u8] {
        self.keys.clear();
        for (level, output) in levels.iter().zip(outputs) {
            let first = self.keys.len();
            let (locations, _) = output.geometry.as_chunks::<GEOMETRY>();
            self.keys
                .extend(locations.iter().enumerate().map(|(i, geometry)| {
                    let objectness = level.geometry.value(geometry[OBJECTNESS]);
                    u64::from(descending(objectness)) << 32 | (first + i) as u64
                }));
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
            let mut index = location as usize;
            for (level, output) in levels.iter().zip(outputs) {
                let Some(beyond) = index.checked_sub(level.locations()) else {
                    let embedding = &output.embedding[index * dimension..][..dimension];
                    self.objects
                        .extend(embedding.iter().map(|&q| q as u8 ^ 0x80));
                    break;
                };
                index = beyond;
            }
        }
        &self.objects
    }
}
