//! Grounding: which of a frame's objects a sentence means, or that it means none.
//!
//! ```text
//! candidates ─▶ thin (agnostic, IoU > 0.7) ─▶ up to 64 objects ─▶ describe, beside the sentence ─▶ [C, 8, 8] ─▶ (graph) ─▶ a logit each
//! ```
//!
//! A name is aligned with every object alone; "the left one" cannot be: it needs the others. So the sentence and all objects
//! go through a small network together, whose input is made here. Names never do, and cost nothing for it. It chooses among the
//! boxes that the detector found anyway: nothing of a sentence reaches the features that boxes are made of.
//!
//! Everything is elementwise or summed in a fixed order, and functions that differ between C libraries come from the
//! crate `libm`, so that every board makes the same bytes. The recipe's side is `models/recipe/tarsier_recipe/detector/ground.py`.

use crate::{
    detect::{Candidate, Field},
    frame::Frame,
    geometry::{BBox, Letterbox},
    kernels::layout::LANE,
    quant::Quant,
};

/// The objects lie in the network's input as a picture of 8 × 8, best first, row by row.
pub const SIDE: usize = 8;
/// Objects that a sentence is compared with, at most.
pub const OBJECTS: usize = SIDE * SIDE;
/// Numbers of an object's geometry.
pub const GEOMETRY: usize = 16;

/// Of two boxes that overlap by more, the one with less objectness goes.
const OVERLAP: f32 = 0.7;
/// What is beyond is cut: one int8 scale serves all channels.
const RANGE: f32 = 4.0;
/// Factors of embedding × sentence, embedding, sentence, feature and geometry.
const SCALES: [f32; 5] = [6.0, 0.5, 11.0, 0.8, 4.0];
/// Pixels along a side of a box, at most, that its mean colour is taken from.
const SAMPLES: usize = 32;

/// One of the objects that sentences are compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Where, in frame space and clipped to what was looked at.
    pub bbox: BBox,
    /// Which location of the head saw it.
    pub location: u32,
}

/// What a sentence means in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grounding {
    /// How likely it is that the best object is meant, `0..=1`.
    pub score: f32,
    /// That object, unless its score is too low: then the sentence means nothing in the frame.
    pub object: Option<Object>,
}

/// How an alignment logit is made of a unit sentence and an embedding, before any calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affinity {
    /// Factor of the dot product.
    pub scale: f32,
    /// Added to it.
    pub bias: f32,
}

/// A frame's objects and how they look; its buffers are kept from frame to frame.
#[derive(Debug)]
pub struct Scene {
    dimension: usize,
    features: usize,
    kept: Vec<BBox>,
    objects: Vec<Object>,
    /// `[objects, dimension + features + GEOMETRY]`.
    looks: Vec<f32>,
}

impl Scene {
    /// For embeddings of `dimension` and features of `features` channels.
    #[must_use]
    pub fn new(dimension: usize, features: usize) -> Self {
        Self {
            dimension,
            features,
            kept: Vec::with_capacity(OBJECTS),
            objects: Vec::with_capacity(OBJECTS),
            looks: Vec::with_capacity(OBJECTS * (dimension + features + GEOMETRY)),
        }
    }

    /// Channels of the network's input.
    #[must_use]
    pub const fn channels(&self) -> usize {
        3 * self.dimension + self.features + GEOMETRY
    }

    /// The objects, in the order in which the network sees them.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Takes the objects of a frame.
    ///
    /// `candidates` come best first; `embedding` is what their bytes stand for; `levels` are the backbone's features, a field with
    /// its bytes for each level of the head. A candidate with no area inside the frame is none.
    pub fn look<'a>(
        &mut self,
        candidates: impl Iterator<Item = Candidate<'a>>,
        embedding: Quant,
        levels: &[(Field, &[u8])],
        letterbox: &Letterbox,
        frame: &Frame<'_>,
    ) {
        self.kept.clear();
        self.objects.clear();
        self.looks.clear();
        let size = frame.size();
        let (width, height) = (size.width as f32, size.height as f32);
        for candidate in candidates {
            if self.objects.len() == OBJECTS {
                break;
            }
            let overlaps = |other: &BBox| other.iou(&candidate.bbox) > OVERLAP;
            if self.kept.iter().any(overlaps) {
                continue;
            }
            self.kept.push(candidate.bbox);
            let bbox = letterbox.frame_from_input(candidate.bbox);
            if bbox.is_empty() {
                continue;
            }
            self.objects.push(Object {
                bbox,
                location: candidate.location,
            });
            let values = candidate.embedding.iter();
            self.looks.extend(values.map(|&q| embedding.dequantise(q)));
            let (field, bytes) = levels[candidate.level];
            let values = field.at(bytes, candidate.index).flatten();
            self.looks
                .extend(values.map(|&q| field.quant.dequantise(q)));
            // all of it in parts of what was looked at
            let bbox = letterbox.part.local(&bbox);
            let (w, h) = (
                (bbox.width() / width).max(1e-3),
                (bbox.height() / height).max(1e-3),
            );
            let (x, y) = bbox.center();
            let [red, green, blue] = colour(frame, &bbox);
            let aspect = libm::log2f(w * width / (h * height)) / 4.0;
            self.looks.extend([x / width, y / height, w, h]);
            self.looks
                .extend([(w * h).sqrt(), aspect, candidate.objectness / 8.0, 0.0]);
            self.looks
                .extend([red, green, blue, 1.0, 0.0, 0.0, 0.0, 0.0]);
        }
    }

    /// Writes the network's input for one sentence: planes of 16 channels, `SIDE` × `SIDE` within the field's border.
    ///
    /// `sentence` has unit length.
    ///
    /// # Panics
    ///
    /// If the sentence or the bytes have another length.
    pub fn describe(&self, sentence: &[f32], affinity: Affinity, input: &Field, bytes: &mut [u8]) {
        assert_eq!(sentence.len(), self.dimension, "a sentence's width");
        let plane = input.planes.bytes();
        assert_eq!(bytes.len(), self.channels().div_ceil(LANE) * plane, "input");
        bytes.fill(input.quant.zero_point);
        let looks = self.dimension + self.features + GEOMETRY;
        for (i, look) in self.looks.chunks_exact(looks).enumerate() {
            let (row, column) = (i / SIDE, i % SIDE);
            let at = input.planes.origin() + row * input.planes.row_bytes() + column * LANE;
            let mut channel = 0;
            let mut put = |value: f32| {
                let q = input.quant.quantise(value.clamp(-RANGE, RANGE));
                bytes[channel / LANE * plane + at + channel % LANE] = q;
                channel += 1;
            };
            let (embedding, rest) = look.split_at(self.dimension);
            let (feature, geometry) = rest.split_at(self.features);
            let mut dot = 0.0;
            for (e, s) in embedding.iter().zip(sentence) {
                dot += e * s;
                put(SCALES[0] * (e * s));
            }
            embedding.iter().for_each(|e| put(SCALES[1] * e));
            sentence.iter().for_each(|s| put(SCALES[2] * s));
            feature.iter().for_each(|f| put(SCALES[3] * f));
            let logit = affinity.scale * dot + affinity.bias;
            for (k, g) in geometry.iter().enumerate() {
                put(SCALES[4] * if k == 7 { logit / 8.0 } else { *g });
            }
        }
    }

    /// The object that matches best, and its logit, from the network's output: one plane of 16 channels, of which the first counts.
    #[must_use]
    pub fn best(&self, output: &Field, bytes: &[u8]) -> Option<(Object, f32)> {
        let logit = |i: usize| {
            let pixel = output.at(bytes, i).next();
            pixel.map_or(f32::MIN, |p| output.quant.dequantise(p[0]))
        };
        let logits = self.objects.iter().enumerate();
        let logits = logits.map(|(i, object)| (*object, logit(i)));
        // of equals the first, which has more objectness
        logits.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }
}

/// The row of a sentence as real numbers of unit length.
#[must_use]
pub fn unit(values: &[i8]) -> Vec<f32> {
    let mut unit = Vec::new();
    unit_into(values, &mut unit);
    unit
}

/// The same, into memory that is used again.
pub fn unit_into(values: &[i8], unit: &mut Vec<f32>) {
    let sum: i32 = values.iter().map(|&v| i32::from(v) * i32::from(v)).sum();
    let length = (sum.max(1) as f32).sqrt();
    unit.clear();
    unit.extend(values.iter().map(|&v| f32::from(v) / length));
}

/// Mean red, green and blue of a box's inner half, `0..=1`; the box as seen from the pixels' corner.
fn colour(frame: &Frame<'_>, bbox: &BBox) -> [f32; 3] {
    let span = |low: f32, high: f32, size: u32| {
        let quarter = (high - low) / 4.0;
        let first = ((low + quarter) as usize).min(size as usize - 1);
        let end = ((high - quarter) as usize).min(size as usize);
        let end = end.max(first + 1);
        (first..end).step_by((end - first).div_ceil(SAMPLES))
    };
    let size = frame.size();
    let (rows, columns) = (
        span(bbox.y0, bbox.y1, size.height),
        span(bbox.x0, bbox.x1, size.width),
    );
    let (mut sums, mut count) = ([0u32; 3], 0u32);
    for row in rows {
        for column in columns.clone() {
            let at = (row * size.width as usize + column) * 3;
            for (sum, &value) in sums.iter_mut().zip(&frame.pixels()[at..at + 3]) {
                *sum += u32::from(value);
            }
            count += 1;
        }
    }
    sums.map(|s| s as f32 / count as f32 / 255.0)
}

#[cfg(test)]
mod tests;
