//! Objects × prompts: the dot products that say which words fit which object.
//!
//! ```text
//! logits[o][p] = ((sum_bias[p] + Σ_d objects[o][d] · weights[p][d]) as f32) · scale[p] + bias[p]
//! ```
//!
//! Projection, temperature and bias of the model's head are folded into the
//! prompts' rows when they are made. The sums are those of a pointwise
//! convolution whose pixels are the objects ([`tile`](super)); multiplication
//! and addition stay two roundings, so that every level has the same bits.
//!
//! A logit becomes a score through the sigmoid, elsewhere. What is done here, where a
//! tile's logits are in registers still, is to compare them with the least that
//! counts: of thousands of prompts few reach it, and the others are not read again.

use super::{
    each::each,
    isa::{Isa, Level},
    layout::{GROUP, LANE, Magnitude},
    tile::{Operands, Tiles, tiles_of_level},
};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dot;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
mod scalar;

/// The longest embedding, in bytes.
pub const MAX_EMBEDDING: usize = 4096;

/// The rows of a prompt table, borrowed; padding rows are all zeros.
#[derive(Clone, Copy, Debug)]
pub struct Align<'a> {
    /// Bytes of an embedding, a multiple of 16.
    pub embedding: usize,
    /// `[blocks][embedding / 4][16][4]`, 16 prompts a block, none of them -128.
    pub weights: &'a [i8],
    /// How large they are, as [`Magnitude::of`] says; as in a [`Conv`](super::conv::Conv).
    pub magnitude: Magnitude,
    /// Per prompt, for unsigned bytes: `-zero_point · Σ weights` of the objects' zero point.
    pub sum_bias: &'a [i32],
    /// The same for signed bytes ([`bias_s8`](super::layout::bias_s8)).
    pub sum_bias_s8: &'a [i32],
    /// Per prompt, logits for one unit of the sum.
    pub scale: &'a [f32],
    /// Per prompt, added to the logit.
    pub bias: &'a [f32],
}

/// Where the results of [`align`] go, and what decides one of them.
#[derive(Debug)]
pub struct Logits<'a> {
    /// `[O, prompts]`, natural-log odds.
    pub values: &'a mut [f32],
    /// Per prompt, the least logit that passes; none passes one that is not a number.
    pub thresholds: &'a [f32],
    /// `[prompts / 16, O]`: bit `i` says whether the object's logit for the block's prompt `i` passes.
    pub passing: &'a mut [u16],
}

impl Logits<'_> {
    /// Says anew which of the values pass: the specification of what [`align`] does.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit one another.
    pub fn compare(&mut self) {
        let (thresholds, _) = self.thresholds.as_chunks::<LANE>();
        let objects = self.passing.len() / thresholds.len().max(1);
        let values = self.values.as_chunks::<LANE>().0;
        assert_eq!(values.len(), objects * thresholds.len(), "logits");
        for (i, values) in values.iter().enumerate() {
            let (object, block) = (i / thresholds.len(), i % thresholds.len());
            self.passing[block * objects + object] = passing(values, &thresholds[block]);
        }
    }
}

/// The bits of the values that reach their thresholds.
fn passing(values: &[f32; LANE], thresholds: &[f32; LANE]) -> u16 {
    let pairs = values.iter().zip(thresholds).enumerate();
    pairs.fold(0, |bits, (i, (value, threshold))| {
        bits | u16::from(value >= threshold) << i
    })
}

/// Scores every object embedding against every prompt; see the [module](self).
///
/// | argument | shape | type | unit |
/// |---|---|---|---|
/// | `objects` | `[O, embedding]` | u8 | object embeddings, one scale for all |
/// | `logits` | `[O, op.scale.len()]` | f32 | natural-log odds, and which of them pass |
///
/// The result does not depend on `isa`. Threads are the caller's: they take prompts
/// ([`Align::prompts`]).
///
/// # Panics
///
/// If the parts of `op` disagree about the number of prompts, if `embedding` is
/// no multiple of 16 up to [`MAX_EMBEDDING`], or if `objects` and the parts of
/// `logits` are not of the same number of objects and prompts.
///
/// # Source
///
/// `VisionLanguageAlign.forward` in APE's `ape/layers/vision_language_align.py`
/// (Shen et al., arXiv:2312.02153).
pub fn align(isa: Isa, op: &Align<'_>, objects: &[u8], logits: &mut Logits<'_>) {
    op.check(objects.len(), logits);
    // other levels have products of 32 bits, for which all weights are alike
    let tiles = match (op.magnitude, isa.level()) {
        #[cfg(target_arch = "x86_64")]
        (Magnitude::Calm, Level::Avx2) => &avx2::CALM,
        #[cfg(target_arch = "aarch64")]
        (Magnitude::Narrow | Magnitude::Calm, Level::Neon) => &neon::NARROW,
        _ => tiles_of_level!(isa),
    };
    let kind = KINDS.iter().position(|&step| step == op.embedding);
    let pass = Pass {
        op,
        tiles,
        kind: kind.unwrap_or(KINDS.len() - 1),
    };
    pass.objects(objects, logits);
}

impl<'a> Align<'a> {
    /// The table of some of the prompts, whole blocks of 16.
    ///
    /// # Panics
    ///
    /// If the range is not made of whole blocks or reaches beyond the table.
    #[must_use]
    pub fn prompts(&self, some: std::ops::Range<usize>) -> Self {
        assert!(
            some.start.is_multiple_of(LANE) && some.end.is_multiple_of(LANE),
            "prompts {some:?} are not whole blocks"
        );
        Self {
            embedding: self.embedding,
            weights: &self.weights[some.start * self.embedding..some.end * self.embedding],
            magnitude: self.magnitude,
            sum_bias: &self.sum_bias[some.clone()],
            sum_bias_s8: &self.sum_bias_s8[some.clone()],
            scale: &self.scale[some.clone()],
            bias: &self.bias[some],
        }
    }

    /// The contract of [`align`].
    fn check(&self, objects: usize, logits: &Logits<'_>) {
        let (prompts, embedding) = (self.scale.len(), self.embedding);
        assert_eq!(prompts % LANE, 0, "prompts come in blocks of {LANE}");
        assert!(
            embedding > 0 && embedding % LANE == 0 && embedding <= MAX_EMBEDDING,
            "an embedding of {embedding} bytes"
        );
        assert_eq!(self.weights.len(), prompts * embedding, "weights");
        debug_assert!(
            self.magnitude <= Magnitude::of(self.weights, LANE / GROUP),
            "a large weight"
        );
        assert_eq!(self.bias.len(), prompts, "one bias per prompt");
        assert_eq!(self.sum_bias.len(), prompts, "one bias of sums per prompt");
        assert_eq!(
            self.sum_bias_s8.len(),
            prompts,
            "one signed bias per prompt"
        );
        assert_eq!(objects % embedding, 0, "whole objects");
        let objects = objects / embedding;
        assert_eq!(logits.values.len(), objects * prompts, "logits");
        assert_eq!(logits.thresholds.len(), prompts, "one threshold per prompt");
        let bits = objects * prompts / LANE;
        assert_eq!(logits.passing.len(), bits, "a bit per logit");
    }
}

/// What one tile needs beside its sums.
struct Tile<'a> {
    operands: Operands<'a>,
    scale: &'a [f32],
    bias: &'a [f32],
    thresholds: &'a [f32],
    /// Objects in all.
    objects: usize,
    /// Values between the logits of neighbouring objects.
    stride: usize,
}

impl<'a> Tile<'a> {
    /// The scales, biases and thresholds of block `b`.
    #[inline(always)]
    fn line(&self, b: usize) -> [&'a [f32; LANE]; 3] {
        each([self.scale, self.bias, self.thresholds], |values| {
            &values.as_chunks::<LANE>().0[b]
        })
    }

    /// Where the logits of object `p` for block `b` go.
    #[inline(always)]
    fn logits<'y>(&self, logits: &'y mut [f32], p: usize, b: usize) -> &'y mut [f32; LANE] {
        &mut logits[p * self.stride..].as_chunks_mut().0[b]
    }

    /// Where the bits of `P` objects for block `b` go.
    #[inline(always)]
    fn passing<'y, const P: usize>(&self, passing: &'y mut [u16], b: usize) -> &'y mut [u16; P] {
        passing[b * self.objects..]
            .first_chunk_mut()
            .expect("P objects")
    }
}

/// Writes the logits of `P` objects for `NB` blocks and which of them pass, given from the first on.
type TileFn = unsafe fn(&Tile<'_>, &mut [f32], &mut [u16]);

/// The lengths of embeddings that have tiles of their own; 0 is any.
const KINDS: [usize; 3] = [128, 256, 0];

/// [`tiles`](super::tile::tiles) for [`KINDS`].
macro_rules! align_tiles {
    ($tile:ident, signed: $signed:literal, blocks: $blocks:tt, widths: $widths:tt) => {
        $crate::kernels::tile::tiles!($tile, signed: $signed, blocks: $blocks,
            kinds: [(4, 128), (4, 256), (4, 0)], widths: $widths)
    };
}
use align_tiles;

/// Where the 16 bytes of each block of an embedding start.
static OFFSETS: [u32; MAX_EMBEDDING / LANE] = {
    let mut offsets = [0; MAX_EMBEDDING / LANE];
    let mut i = 0;
    while i < offsets.len() {
        offsets[i] = (i * LANE) as u32;
        i += 1;
    }
    offsets
};

/// One call of [`align`].
struct Pass<'a> {
    op: &'a Align<'a>,
    tiles: &'static Tiles<TileFn>,
    /// Which of [`KINDS`] the tiles are of.
    kind: usize,
}

impl Pass<'_> {
    /// Some objects against all prompts, one group of blocks after another: the
    /// objects fit a near cache, a large table does not.
    #[allow(unsafe_code)]
    fn objects(&self, objects: &[u8], logits: &mut Logits<'_>) {
        let Align {
            embedding, scale, ..
        } = *self.op;
        let count = objects.len() / embedding;
        let per_group = self.tiles.blocks() * LANE;
        for first in (0..scale.len()).step_by(per_group) {
            let prompts = first..scale.len().min(first + per_group);
            let mut tile = self.tile(prompts.clone(), objects);
            tile.thresholds = &logits.thresholds[prompts.clone()];
            let passing = &mut logits.passing[first / LANE * count..];
            let functions = self.tiles.functions[prompts.len() / LANE - 1][self.kind];
            let mut done = 0;
            while done < count {
                let (start, width) = self.tiles.next(done, count);
                tile.operands.x = &objects[start * embedding..];
                let values = &mut logits.values[start * scale.len() + first..];
                // SAFETY: `self.tiles` are those of a level that this CPU was proven
                // to have, which is all that a tile asks of its caller.
                unsafe { functions[width](&tile, values, &mut passing[start..]) }
                done = start + self.tiles.widths[width];
            }
        }
    }

    /// The tile of some prompts and the first objects.
    fn tile<'t>(&'t self, prompts: std::ops::Range<usize>, x: &'t [u8]) -> Tile<'t> {
        let op = self.op;
        let sum_bias = if self.tiles.signed {
            op.sum_bias_s8
        } else {
            op.sum_bias
        };
        Tile {
            operands: Operands {
                x,
                step: op.embedding,
                offsets: &OFFSETS[..op.embedding / LANE],
                weights: &op.weights[prompts.start * op.embedding..prompts.end * op.embedding],
                bias: &sum_bias[prompts.clone()],
            },
            scale: &op.scale[prompts.clone()],
            bias: &op.bias[prompts],
            thresholds: &[],
            objects: x.len() / op.embedding,
            stride: op.scale.len(),
        }
    }
}

#[cfg(test)]
mod tests;
