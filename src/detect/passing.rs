//! Which (object, prompt) pairs reach their prompt's threshold.
//!
//! 300 objects × 10,000 prompts are 3 million logits, 12 MB: written to memory and
//! read again they cost as much as the products themselves. So prompts are taken
//! a [`CHUNK`] at a time, whose logits stay in a near cache, and only what passes is
//! kept, prompt by prompt. Objects come best first, and a prompt is compared with no more of
//! them than its threshold allows: what scores high is object-like. Threads take prompts, not objects: each reads its own share
//! of the table and has its own [`Part`] of the result.
//!
//! What was measured and is not done: passing over groups of near prompts by an upper
//! bound of their products. With the default pack, 10,000 prompts and the exact span of a
//! frame's objects in 16 or 32 dimensions, bounds of sixteen near prompts left 88 to 100 %
//! of the (object, group) pairs to be computed, whichever of eight photos it was.

use std::ops::Range;

use crate::{
    kernels::{align::Logits, layout::LANE},
    team::join,
};

/// Prompts whose logits are computed together: 38 KB for 300 objects.
const CHUNK: usize = 32;

/// A pair of the prompt that it is listed under.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Passing {
    pub(super) logit: f32,
    pub(super) object: u32,
}

/// Bytes of one.
pub(super) const PAIR_BYTES: u64 = size_of::<Passing>() as u64;

const NOTHING: Passing = Passing {
    logit: 0.0,
    object: 0,
};

/// The pairs of one frame that pass.
#[derive(Debug)]
pub(super) struct Passes {
    /// The most objects that a frame has.
    limit: usize,
    parts: Vec<Part>,
    /// How many of the parts the frame used.
    used: usize,
}

impl Passes {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            parts: Vec::new(),
            used: 0,
        }
    }

    /// Finds them, in as many parts as there are threads.
    ///
    /// `objects` says how many of the objects, from the first on, a prompt with some threshold may be a pair with. `score`
    /// writes the logits of some prompts and so many objects and says which of them pass; it is asked for whole blocks of
    /// prompts.
    pub(super) fn fill(
        &mut self,
        threads: usize,
        thresholds: &[f32],
        objects: &(impl Fn(f32) -> usize + Sync),
        score: &(impl Fn(Range<usize>, usize, &mut Logits<'_>) + Sync),
    ) {
        let blocks = thresholds.len().div_ceil(LANE);
        self.used = threads.min(blocks);
        let limit = self.limit;
        if self.parts.len() < self.used {
            self.parts.resize_with(self.used, || Part::new(limit));
        }
        for (i, part) in self.parts[..self.used].iter_mut().enumerate() {
            let edge = |i: usize| (i * blocks / threads.min(blocks) * LANE).min(thresholds.len());
            part.prompts = edge(i)..edge(i + 1);
        }
        split(&mut self.parts[..self.used], &|part: &mut Part| {
            part.fill(thresholds, objects, score);
        });
    }

    /// Every prompt that has pairs, in order, with its pairs in the order of objects.
    pub(super) fn by_prompt(&self) -> impl Iterator<Item = (usize, &[Passing])> {
        self.parts[..self.used].iter().flat_map(|part| {
            let starts = [0].into_iter().chain(part.ends.iter().copied());
            let ranges = starts.zip(part.ends.iter().copied());
            (part.prompts.clone().zip(ranges))
                .filter(|(_, (start, end))| start < end)
                .map(|(prompt, (start, end))| (prompt, &part.pairs[start..end]))
        })
    }

    /// Whether an object has a pair.
    pub(super) fn has(&self, object: usize) -> bool {
        self.parts[..self.used].iter().any(|part| part.seen[object])
    }
}

/// Works on all parts at once, or on the only one here.
fn split(parts: &mut [Part], work: &(impl Fn(&mut Part) + Sync)) {
    match parts {
        [] => (),
        [one] => work(one),
        more => {
            let (a, b) = more.split_at_mut(more.len() / 2);
            join(|| split(a, work), || split(b, work));
        }
    }
}

/// Some consecutive prompts, and their pairs.
#[derive(Debug)]
struct Part {
    prompts: Range<usize>,
    pairs: Vec<Passing>,
    /// Per prompt: where its pairs end.
    ends: Vec<usize>,
    /// Per object: whether it has a pair here.
    seen: Vec<bool>,
    /// Of one chunk, as in [`Logits`].
    logits: Vec<f32>,
    passing: Vec<u16>,
    /// The pairs of one block, a row for each of its prompts.
    lists: Vec<Passing>,
    limit: usize,
}

impl Part {
    fn new(limit: usize) -> Self {
        Self {
            prompts: 0..0,
            pairs: Vec::new(),
            ends: Vec::new(),
            seen: Vec::with_capacity(limit),
            logits: vec![0.0; limit * CHUNK],
            passing: vec![0; limit * CHUNK / LANE],
            lists: vec![NOTHING; limit * LANE],
            limit,
        }
    }

    fn fill(
        &mut self,
        thresholds: &[f32],
        objects: &impl Fn(f32) -> usize,
        score: &impl Fn(Range<usize>, usize, &mut Logits<'_>),
    ) {
        self.pairs.clear();
        // As many as can get here: no frame allocates later. Memory that is not written is not used.
        self.pairs.reserve(self.limit * self.prompts.len());
        self.ends.clear();
        self.ends.reserve(self.prompts.len());
        self.seen.clear();
        self.seen.resize(self.limit, false);
        let mut last = (f32::NAN, 0);
        for first in self.prompts.clone().step_by(CHUNK) {
            let prompts = first..self.prompts.end.min(first + CHUNK);
            let row = prompts.len().next_multiple_of(LANE);
            // nothing reaches what is not a number
            let mut least = [f32::NAN; CHUNK];
            least[..prompts.len()].copy_from_slice(&thresholds[prompts.clone()]);
            let mut allowed = [0; CHUNK];
            for (allowed, &threshold) in allowed.iter_mut().zip(&thresholds[prompts.clone()]) {
                // most prompts have the same threshold
                if threshold != last.0 {
                    last = (threshold, objects(threshold));
                }
                *allowed = last.1;
            }
            let count = allowed.into_iter().max().unwrap_or(0);
            let mut logits = Logits {
                values: &mut self.logits[..count * row],
                thresholds: &least[..row],
                passing: &mut self.passing[..count * row / LANE],
            };
            score(first..first + row, count, &mut logits);
            let prompts = allowed[..prompts.len()].chunks(LANE);
            for (block, allowed) in prompts.enumerate() {
                self.block(row, block, count, allowed);
            }
        }
    }

    /// The pairs of one block in a chunk with rows of `row` logits: with how many objects, `allowed` says of each of its prompts.
    fn block(&mut self, row: usize, block: usize, objects: usize, allowed: &[usize]) {
        let mut lengths = [0; LANE];
        for (object, &bits) in self.passing[block * objects..][..objects]
            .iter()
            .enumerate()
        {
            if bits == 0 {
                continue;
            }
            let logits = &self.logits[object * row..].as_chunks::<LANE>().0[block];
            let mut bits = bits;
            while bits != 0 {
                let prompt = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if object >= allowed[prompt] {
                    continue;
                }
                self.seen[object] = true;
                self.lists[prompt * self.limit + lengths[prompt]] = Passing {
                    logit: logits[prompt],
                    object: object as u32,
                };
                lengths[prompt] += 1;
            }
        }
        let lists = self.lists.chunks_exact(self.limit).zip(lengths);
        for (list, length) in lists.take(allowed.len()) {
            self.pairs.extend_from_slice(&list[..length]);
            self.ends.push(self.pairs.len());
        }
    }
}
