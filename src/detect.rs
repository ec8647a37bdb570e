//! From the head's outputs to detections.
//!
//! ```text
//! head outputs ─▶ propose ─▶ objects [O, D] ─▶ (products, elsewhere) ─▶ align: logit ≥ threshold
//!      │                                                                   │
//!      └────────────▶ select: decode boxes of the objects that passed ◀────┤ pairs
//!                                   │                                      │
//!                                   └──▶ clip ─▶ NMS, prompt by prompt ────┴─▶ the best of each ─▶ Report
//! ```
//!
//! | file | does |
//! |---|---|
//! | `propose` | the best locations by objectness, their embeddings gathered |
//! | `passing` | the scan over (object, prompt) pairs |
//! | `decode` | a location's box, in input space |
//! | `nms` | which objects overlap |
//! | `select` | greedy suppression over that |
//! | `room` | how many of each prompt a report holds |
//! | [`rules`] | groups and rejects, afterwards and only where they were asked for |
//! | [`exemplar`] | a row from boxes that were shown |
//!
//! **Prompts do not influence one another.** Pairs are not cut to a top k before
//! NMS, where a frequent prompt would push out a rare one: each prompt goes
//! through NMS with all of its own pairs, at most one per object. Of each prompt the best
//! [`MAX_PER_PROMPT`] are kept; where those of all prompts are more than [`MAX_DETECTIONS`], each
//! keeps its best *k*, the same *k* for all. [`Report::dropped`] counts
//! exactly those that a longer report would have held; while it is 0, what is reported of a prompt
//! is what it finds alone. This is affordable because
//! a box belongs to an object and not to a pair: which objects overlap is worked out
//! once, as bits, and NMS of one prompt only looks them up.
//!
//! The order is total (logit, then location, then prompt), and every
//! buffer is as long as it can get after the first frame with a given prompt set.
//! Masks are made elsewhere, and tracks in [`track`](crate::track).
//!
//! [`MAX_DETECTIONS`]: crate::scene::MAX_DETECTIONS
//! [`MAX_PER_PROMPT`]: crate::scene::MAX_PER_PROMPT

use std::{fmt, ops::Range};

use crate::geometry::{BBox, Letterbox};
use crate::head::{Floor, HeadForm, Objectness};
use crate::kernels::{
    align::Logits,
    layout::{LANE, Planes},
};
use crate::prompt::PromptSet;
use crate::quant::Quant;
use crate::scene::{Names, Report};

mod decode;
pub mod exemplar;
mod nms;
mod passing;
mod propose;
pub(crate) mod room;
pub mod rules;
mod select;

use passing::Passes;
use propose::Proposals;
use select::Selection;

/// One level of the head, as the graph promises it: the same for every frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadLevel {
    /// Input pixels between neighbouring locations.
    pub stride: u32,
    /// The embeddings' planes.
    pub embedding: Field,
    /// The geometry's planes.
    pub geometry: Field,
}

impl HeadLevel {
    /// How many locations the level has.
    pub const fn locations(&self) -> usize {
        let Planes { height, width, .. } = self.geometry.planes;
        height * width
    }

    /// Channel `channel` of the geometry of location `index`.
    fn value(&self, output: &HeadOutput<'_>, index: usize, channel: usize) -> f32 {
        let mut planes = self
            .geometry
            .at(output.geometry, index)
            .skip(channel / LANE);
        let pixel = planes.next().expect("the form's channels");
        self.geometry.quant.dequantise(pixel[channel % LANE])
    }
}

/// A quantised value per location and channel, in planes of 16 channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// The shape of a plane.
    pub planes: Planes,
    /// What a byte stands for.
    pub quant: Quant,
}

impl Field {
    /// The bytes of location `index`, 16 channels of each plane at a time.
    pub(crate) fn at<'a>(
        &self,
        bytes: &'a [u8],
        index: usize,
    ) -> impl Iterator<Item = &'a [u8; LANE]> + use<'a> {
        let Planes { width, .. } = self.planes;
        let (row, column) = (index / width, index % width);
        let at = self.planes.origin() + row * self.planes.row_bytes() + column * LANE;
        let planes = bytes.chunks_exact(self.planes.bytes());
        planes.map(move |plane| {
            plane[at..]
                .first_chunk()
                .expect("a location is in its plane")
        })
    }

    /// The rows of one plane without its border, each as pixels of 16 channels.
    fn rows<'a>(&self, plane: &'a [u8]) -> impl Iterator<Item = &'a [[u8; LANE]]> + use<'a> {
        let Planes { height, width, .. } = self.planes;
        let rows = plane[self.planes.origin()..].chunks(self.planes.row_bytes());
        rows.take(height)
            .map(move |row| row[..width * LANE].as_chunks().0)
    }
}

/// One level of the head's output for one frame.
#[derive(Clone, Copy, Debug)]
pub struct HeadOutput<'a> {
    /// D channels in planes.
    pub embedding: &'a [u8],
    /// Planes of what the [`HeadForm`] says: box, objectness, unused. In the student's, distances
    /// left, top, right, bottom from `((x + 0.5) · stride, (y + 0.5) · stride)` in strides, then
    /// the objectness logit, then 11 unused.
    pub geometry: &'a [u8],
}

/// A location that was proposed, before any prompt is compared with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<'a> {
    /// The location: finest level first, row by row.
    pub location: u32,
    /// Its level.
    pub level: usize,
    /// Its index there.
    pub index: usize,
    /// Where, in input space, not clipped.
    pub bbox: BBox,
    /// As the head gives it; 0 if the head's form has none.
    pub objectness: f32,
    /// `[dimension]` bytes.
    pub embedding: &'a [u8],
}

/// What a user can choose about detection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How many locations are proposed, at most.
    pub proposals: usize,
    /// Above which intersection over union the lesser of two boxes is suppressed, `0..=1`.
    pub iou: f32,
    /// Whether one place has one name: boxes suppress one another across prompts, and
    /// an object keeps its best prompt only. Then prompts do compete.
    pub agnostic: bool,
}

impl Settings {
    /// Bytes that pairs of one prompt can need: with all places that are proposed.
    #[must_use]
    pub const fn pair_bytes(&self) -> u64 {
        self.proposals as u64 * passing::PAIR_BYTES
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            proposals: 300,
            iou: 0.6,
            agnostic: false,
        }
    }
}

/// The detector of one graph: its levels, its settings, and every buffer.
#[derive(Debug)]
pub struct Detector {
    form: HeadForm,
    levels: Vec<HeadLevel>,
    dimension: usize,
    proposals: Proposals,
    passes: Passes,
    selection: Selection,
}

impl Detector {
    /// For a head of this form with these levels, finest first, and embeddings of `dimension` bytes.
    ///
    /// # Errors
    ///
    /// [`DetectError`] if the levels cannot be aligned together or make no sense.
    pub fn new(
        form: HeadForm,
        levels: &[HeadLevel],
        dimension: usize,
        settings: Settings,
    ) -> Result<Self, DetectError> {
        check(&form, levels, settings)?;
        let locations: usize = levels.iter().map(HeadLevel::locations).sum();
        let objects = settings.proposals.min(locations);
        Ok(Self {
            form,
            levels: levels.to_vec(),
            dimension,
            proposals: Proposals::new(locations, objects, dimension),
            passes: Passes::new(objects),
            selection: Selection::new(objects, settings),
        })
    }

    /// Takes the best locations by objectness and gathers their embeddings.
    ///
    /// Returns `[O, dimension]` bytes, best object first. Equal objectness goes to the lower location.
    ///
    /// # Panics
    ///
    /// If the outputs are not those of the levels that the detector was made for.
    pub fn propose(&mut self, outputs: &[HeadOutput<'_>]) -> &[u8] {
        self.assert_outputs(outputs);
        self.proposals.fill(&self.form, &self.levels, outputs)
    }

    /// Finds the pairs of an object and a prompt whose logit is at least the prompt's threshold, and whose object is one of
    /// those that the threshold allows ([`HeadForm::floor`]).
    ///
    /// `score` writes the logits of some consecutive prompts, whole blocks of 16, and which of them pass, for the
    /// best objects of the last [`propose`](Self::propose), as many as it is given; `thresholds` are the least logits that count
    /// ([`logit`](crate::odds::logit)), one per prompt. Prompts are split for that many threads of the
    /// calling one's [`team`](crate::team).
    ///
    /// # Panics
    ///
    /// If the outputs are not those of the levels.
    pub fn align(
        &mut self,
        outputs: &[HeadOutput<'_>],
        threads: usize,
        thresholds: &[f32],
        score: impl Fn(Range<usize>, &[u8], &mut Logits<'_>) + Sync,
    ) {
        self.assert_outputs(outputs);
        let proposals = &self.proposals;
        let weight = match (self.form.objectness, self.form.objectness_at()) {
            (Objectness::Multiplies, Some(at)) => Some(at),
            _ => None,
        };
        let scored = |prompts: Range<usize>, count: usize, logits: &mut Logits<'_>| {
            let row = prompts.len();
            score(
                prompts,
                &proposals.objects()[..count * self.dimension],
                logits,
            );
            let Some(at) = weight else { return };
            let rows = logits.values.chunks_exact_mut(row);
            for (logits, &location) in rows.zip(proposals.locations()) {
                let (level, output, index) = decode::locate(&self.levels, outputs, location);
                let objectness = level.value(output, index, at);
                for logit in logits {
                    *logit = both(*logit, objectness);
                }
            }
            logits.compare();
        };
        let form = &self.form;
        let objects = |threshold| proposals.above(form.least_value(threshold));
        self.passes.fill(threads, thresholds, &objects, &scored);
    }

    /// How the head writes what it found.
    #[must_use]
    pub const fn form(&self) -> &HeadForm {
        &self.form
    }

    /// Bytes of an embedding.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.dimension
    }

    /// The log odds of an object for a prompt, from those of its embedding and its objectness.
    #[must_use]
    pub fn weighted(&self, logit: f32, objectness: f32) -> f32 {
        match self.form.objectness {
            Objectness::Multiplies => both(logit, objectness),
            Objectness::Ranks | Objectness::BestClass => logit,
        }
    }

    /// The level of a location, and its index there.
    #[must_use]
    pub fn place(&self, location: u32) -> (usize, usize) {
        decode::place(&self.levels, location)
    }

    /// `[O, dimension]`: the embeddings that the last [`propose`](Self::propose) gave.
    #[must_use]
    pub fn embeddings(&self) -> &[u8] {
        self.proposals.objects()
    }

    /// What the last [`propose`](Self::propose) took, best first.
    pub fn candidates<'a>(
        &'a self,
        outputs: &'a [HeadOutput<'a>],
    ) -> impl Iterator<Item = Candidate<'a>> {
        let embeddings = self.proposals.objects().chunks_exact(self.dimension);
        let locations = self.proposals.locations().iter().zip(embeddings);
        locations.map(move |(&location, embedding)| {
            let (level, index) = decode::place(&self.levels, location);
            let objectness = self.form.objectness_at();
            let value = |at| self.levels[level].value(&outputs[level], index, at);
            Candidate {
                location,
                level,
                index,
                bbox: decode::bbox(&self.form, &self.levels, outputs, location),
                objectness: objectness.map_or(0.0, value),
                embedding,
            }
        })
    }

    /// How many objects the last [`propose`](Self::propose) gave.
    pub fn objects(&self) -> usize {
        self.proposals.locations().len()
    }

    /// Fills a report with what was found: replaces its detections and `dropped`.
    ///
    /// Call it after [`align`](Self::align), with the same outputs. A pair whose box has
    /// no area inside the frame is no detection.
    ///
    /// # Panics
    ///
    /// If the outputs are not those of the levels.
    pub fn select(
        &mut self,
        outputs: &[HeadOutput<'_>],
        letterbox: &Letterbox,
        report: &mut Report,
    ) {
        self.assert_outputs(outputs);
        let (form, levels) = (&self.form, &self.levels);
        let locations = self.proposals.locations();
        self.selection
            .run(&self.passes, locations, report, |location| {
                let bbox = decode::bbox(form, levels, outputs, location);
                letterbox.frame_from_input(bbox)
            });
    }

    fn assert_outputs(&self, outputs: &[HeadOutput<'_>]) {
        assert_eq!(outputs.len(), self.levels.len(), "one output per level");
        for (level, output) in self.levels.iter().zip(outputs) {
            let bytes = |field: &Field, channels: usize| channels / LANE * field.planes.bytes();
            let embedding = bytes(&level.embedding, self.dimension);
            assert_eq!(output.embedding.len(), embedding, "embedding");
            let geometry = bytes(&level.geometry, self.form.channels());
            assert_eq!(output.geometry.len(), geometry, "geometry");
        }
    }
}

impl Names for PromptSet {
    fn name(&self, prompt: u32) -> &str {
        Self::name(self, prompt)
    }
}

fn check(form: &HeadForm, levels: &[HeadLevel], settings: Settings) -> Result<(), DetectError> {
    let first = levels.first().ok_or(DetectError::NoLevels)?;
    if settings.proposals == 0 || !(0.0..=1.0).contains(&settings.iou) {
        return Err(DetectError::Settings(settings));
    }
    if let Some(floor) = form.floor {
        let numbers = floor.scale.is_finite() && floor.scale >= 0.0 && floor.bias.is_finite();
        // the best class is no logit of there being something
        if !numbers || form.objectness != Objectness::Ranks {
            return Err(DetectError::Floor(floor));
        }
    }
    for (index, level) in levels.iter().enumerate() {
        let scales = [level.embedding.quant.scale, level.geometry.quant.scale];
        let numbers = scales.iter().all(|s| s.is_finite() && *s > 0.0);
        let size = |field: &Field| (field.planes.height, field.planes.width);
        let same = size(&level.embedding) == size(&level.geometry);
        if !numbers || !same || level.stride == 0 || level.locations() == 0 {
            return Err(DetectError::Level {
                index,
                level: *level,
            });
        }
        if level.embedding.quant != first.embedding.quant {
            return Err(DetectError::EmbeddingsDiffer {
                index,
                first: first.embedding.quant,
                other: level.embedding.quant,
            });
        }
    }
    Ok(())
}

/// Why a head cannot be used.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum DetectError {
    /// The head has no level.
    NoLevels,
    /// A level has no locations or two numbers of them, no stride, or a scale that is not a positive number.
    Level {
        /// Which, from 0.
        index: usize,
        /// What it says.
        level: HeadLevel,
    },
    /// Two levels quantise their embeddings differently, so one table cannot align both.
    EmbeddingsDiffer {
        /// The level that differs from level 0.
        index: usize,
        /// How level 0 quantises.
        first: Quant,
        /// How that level does.
        other: Quant,
    },
    /// The objectness that a score needs is no rising line, or the head has no such objectness.
    Floor(Floor),
    /// No proposals, or an IoU outside `0..=1`.
    Settings(Settings),
}

impl fmt::Display for DetectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLevels => f.write_str("the head has no levels"),
            Self::Level { index, level } => write!(
                f,
                "level {index} of the head is {}x{} at stride {} with scales {} and {}",
                level.geometry.planes.width,
                level.geometry.planes.height,
                level.stride,
                level.embedding.quant.scale,
                level.geometry.quant.scale
            ),
            Self::EmbeddingsDiffer {
                index,
                first,
                other,
            } => write!(
                f,
                "embeddings of level {index} have scale {} and zero point {}, those of level 0 have {} and {}",
                other.scale, other.zero_point, first.scale, first.zero_point
            ),
            Self::Floor(floor) => write!(
                f,
                "an objectness of at least {} times a threshold plus {} makes no sense in this head",
                floor.scale, floor.bias
            ),
            Self::Settings(settings) => write!(
                f,
                "cannot detect with {} proposals and an IoU of {}",
                settings.proposals, settings.iou
            ),
        }
    }
}

impl std::error::Error for DetectError {}

/// The log odds of two independent things at once, from those of each: of p·q, where p and q have the odds 1/l and 1/o.
fn both(logit: f32, other: f32) -> f32 {
    let (l, o) = (libm::expf(-logit), libm::expf(-other));
    -libm::logf(l + o + l * o)
}

/// `value` as a number that is less the better the value is: best first when sorted.
///
/// The order of [`f32::total_cmp`], turned around.
pub(crate) fn descending(value: f32) -> u32 {
    let bits = value.to_bits();
    let ascending = bits ^ ((((bits as i32) >> 31) as u32) | 0x8000_0000);
    !ascending
}

/// The value that [`descending`] made this of.
fn ascending(order: u32) -> f32 {
    let ascending = !order;
    f32::from_bits(ascending ^ (((!ascending as i32 >> 31) as u32) | 0x8000_0000))
}

#[cfg(test)]
mod tests;
