//! All objects of a frame, whatever they are, each with the names that are nearest to it.

use super::{Findings, Look, levels_of, presence::Unread};
use crate::{
    error::Error,
    geometry::BBox,
    kept::Kept,
    odds,
    prompt::PromptSet,
    scene::{Detection, MAX_DETECTIONS, Nearest, Report},
};

/// Which objects, and how many names for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Everything {
    /// Objects, at most.
    pub objects: usize,
    /// Least score of an object, `0..=1`.
    pub least: f32,
    /// Overlap from which the lesser of two boxes is dropped.
    pub iou: f32,
    /// Names for each.
    pub names: usize,
}

impl Default for Everything {
    fn default() -> Self {
        Self {
            objects: 100,
            least: 0.3,
            iou: 0.6,
            names: 3,
        }
    }
}

/// What naming objects needs; kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Namer {
    /// Box, location, objectness.
    kept: Vec<(BBox, u32, f32)>,
    /// `[objects, D]`.
    embeddings: Vec<u8>,
    zeros: Vec<f32>,
    scale: Vec<f32>,
    unread: Unread,
    /// `[objects, prompts, rounded up to 16]`.
    dots: Vec<f32>,
    /// Prompts of one object, nearest first.
    order: Vec<u32>,
    /// Of each object that was found, in the order of the candidates.
    names: Kept<Nearest>,
    /// Objects, and the place of their names.
    found: Vec<(Detection, usize)>,
}

impl Look<'_> {
    /// Finds all objects and compares only those with the prompts, of which there may be thousands.
    ///
    /// Fills the report with a detection for each object, under its nearest name, best first; the score is how likely it is that there
    /// is an object at all. `nearest` becomes the nearest names of each, with the cosine between name and object. Boxes drop one
    /// another whatever they are called. Of a head without objectness of its own, the score is that of the nearest name.
    ///
    /// # Errors
    ///
    /// As [`detect`](Self::detect).
    pub fn everything<'l>(
        &'l mut self,
        prompts: &'l PromptSet,
        rules: Everything,
        report: &'l mut Report,
        nearest: &mut Kept<Nearest>,
    ) -> Result<Findings<'l>, Error> {
        nearest.clear();
        let mut found = self.nothing(prompts, report)?;
        found.name_all(rules, nearest);
        Ok(found)
    }
}

impl Findings<'_> {
    fn name_all(&mut self, rules: Everything, nearest: &mut Kept<Nearest>) {
        let Self {
            pipeline,
            prompts,
            report,
            ..
        } = self;
        let Some(letterbox) = pipeline.letterbox else {
            return;
        };
        let team = pipeline.team.clone();
        let _sitting = team.sit();
        let outputs = levels_of(&pipeline.outputs);
        let form = *pipeline.detector.form();
        let own = form.objectness_at().is_some();
        let Namer {
            kept,
            embeddings,
            zeros,
            scale,
            unread,
            dots,
            order,
            names,
            found,
        } = &mut pipeline.namer;
        kept.clear();
        embeddings.clear();
        for candidate in pipeline.detector.candidates(&outputs) {
            let logit = form.objectness_logit(candidate.objectness);
            if kept.len() == rules.objects {
                break;
            }
            if own && odds::score(logit) < rules.least {
                break; // the best come first
            }
            let bbox = letterbox.frame_from_input(candidate.bbox);
            let twin = |(other, ..): &(BBox, u32, f32)| other.iou(&bbox) > rules.iou;
            if bbox.is_empty() || kept.iter().any(twin) {
                continue;
            }
            kept.push((bbox, candidate.location, logit));
            embeddings.extend_from_slice(candidate.embedding);
        }
        // unit rows: every name's likeness by the same measure, whatever its calibration
        let units = prompts.table().units();
        zeros.clear();
        zeros.resize(units.len(), 0.0);
        scale.clear();
        scale.extend(units.iter().map(|unit| unit * pipeline.objects.scale));
        let table = prompts.table().align_with(scale, zeros);
        unread.align(pipeline.execution.isa, &table, embeddings, dots);
        let calibrated = prompts.align();
        let lengths = embeddings.chunks_exact(table.embedding).map(|e| {
            let squares = e
                .iter()
                .map(|&q| pipeline.objects.dequantise(q))
                .map(|v| v * v);
            squares.sum::<f32>().sqrt().max(f32::MIN_POSITIVE)
        });
        let dots = dots.chunks_exact(units.len());
        names.clear();
        found.clear();
        for (((bbox, location, objectness), dots), length) in kept.iter().zip(dots).zip(lengths) {
            let named = &dots[..prompts.prompts().len()];
            order.clear();
            order.extend(0..named.len() as u32);
            let better = |a: &u32, b: &u32| {
                let of = |i: u32| named[i as usize];
                of(*b).total_cmp(&of(*a)).then(a.cmp(b))
            };
            let count = rules.names.clamp(1, order.len());
            if count < order.len() {
                order.select_nth_unstable_by(count, better);
                order.truncate(count);
            }
            order.sort_unstable_by(better);
            let logit = if own {
                *objectness
            } else {
                let p = order[0] as usize;
                named[p] / scale[p] * calibrated.scale[p] + calibrated.bias[p]
            };
            if odds::score(logit) < rules.least {
                continue;
            }
            let detection = Detection {
                bbox: *bbox,
                score: odds::score(logit),
                logit,
                prompt: order[0],
                location: *location,
            };
            found.push((detection, names.len()));
            let own = names.next();
            own.clear();
            own.extend(order.iter().map(|&p| (p, named[p as usize] / length)));
        }
        found.sort_unstable_by(|a, b| b.0.logit.total_cmp(&a.0.logit).then(a.1.cmp(&b.1)));
        for &(detection, place) in &*found {
            if report.detections.len() < MAX_DETECTIONS {
                report.detections.push(detection);
                nearest.next().clone_from(&names[place]);
            } else {
                report.dropped += 1;
            }
        }
    }
}
