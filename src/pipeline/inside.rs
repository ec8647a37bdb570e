//! Prompts inside others: the handle of a door, looked for again on each door that was found.
//!
//! The network's input is small: a handle that has two of its pixels in the whole frame has twenty in a picture of the door alone. So a
//! frame is done once as always; then each object of the outer prompt, best first, is cut out with a margin and done again, where that
//! magnifies it ([`Rules::gain`]), up to [`Rules::passes`] times a frame. Where it does not, the inner objects of the first pass that lie
//! in it are taken.

use std::collections::HashMap;

use super::{Pipeline, PipelineError};
use crate::{
    detect::room::Room,
    frame::Frame,
    geometry::{BBox, Crop, Size},
    mask::Mask,
    prompt::PromptSet,
    scene::{Detection, Report},
};

/// A prompt that counts only inside another's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The outer prompt: an index into the prompt set.
    pub outer: u32,
    /// The inner prompt.
    pub inner: u32,
    /// What a detection of it is reported as: an index that the reader of the report knows, beyond the prompt set's.
    pub report_as: u32,
}

/// How often and where to look again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Passes over a frame beside the first, at most.
    pub passes: usize,
    /// An object is looked at again if it then has this many times as many pixels along a side, at least.
    pub gain: f32,
    /// Of the object's box, added on each side.
    pub margin: f32,
    /// Whether detections get their masks.
    pub masks: bool,
    /// Overlap from which the lesser of two boxes of one nested prompt is dropped.
    pub iou: f32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            passes: 8,
            gain: 1.3,
            margin: 0.1,
            masks: false,
            iou: 0.6,
        }
    }
}

/// A detection and, where masks are made, its mask.
type Found = (Detection, Option<Mask>);

impl Pipeline {
    /// Looks for inner prompts on what a report found of their outer ones, and adds what it finds.
    ///
    /// The report is the one that the last [`detect`](Self::detect) filled for this frame, with masks if the rules ask for them. If
    /// there is no room, every prompt keeps its best, as in [`detect`](crate::detect), and the others are counted as dropped.
    ///
    /// # Errors
    ///
    /// As [`detect`](Self::detect) and [`segment`](Self::segment).
    pub fn detect_inside(
        &mut self,
        frame: &Frame<'_>,
        prompts: &PromptSet,
        nested: &[Inside],
        rules: Rules,
        report: &mut Report,
    ) -> Result<(), PipelineError> {
        let mut first: Vec<Found> = take(report);
        let outers: Vec<Detection> = (first.iter().map(|(d, _)| *d))
            .filter(|d| nested.iter().any(|n| n.outer == d.prompt))
            .collect();
        let mut found: Vec<Found> = Vec::new();
        let mut passes = 0;
        let mut pixels = Vec::new();
        for outer in outers {
            let own = nested.iter().filter(|n| n.outer == outer.prompt);
            let size = frame.size();
            let part = around(&outer.bbox, rules.margin, frame.part());
            let gain = size.width.max(size.height) as f32
                / part.size.width.max(part.size.height).max(1) as f32;
            let second;
            let candidates = if gain >= rules.gain && passes < rules.passes {
                passes += 1;
                // boxes lie in the frame that they were found in
                let Ok(closer) = frame.cut(part, &mut pixels) else {
                    continue;
                };
                let mut close = Report::new(frame.sequence, frame.captured, frame.whole());
                self.detect(&closer, prompts, &mut close)?;
                if rules.masks {
                    self.segment(&mut close)?;
                }
                second = take(&mut close);
                &second
            } else {
                &first
            };
            for nested in own {
                let inner = candidates.iter().filter(|(d, _)| {
                    d.prompt == nested.inner && holds(&outer.bbox, d.bbox.center())
                });
                found.extend(inner.map(|(d, mask)| {
                    let prompt = nested.report_as;
                    (Detection { prompt, ..*d }, mask.clone())
                }));
            }
        }
        found.sort_by(|a, b| b.0.logit.total_cmp(&a.0.logit));
        for (detection, mask) in found {
            let twin = |(other, _): &Found| {
                other.prompt == detection.prompt && other.bbox.iou(&detection.bbox) > rules.iou
            };
            if !first.iter().any(twin) {
                first.push((detection, mask));
            }
        }
        first.sort_by(|a, b| b.0.logit.total_cmp(&a.0.logit));
        let (mut room, mut ranks) = (Room::default(), HashMap::new());
        for (i, (detection, _)) in first.iter().enumerate() {
            let rank: &mut usize = ranks.entry(detection.prompt).or_default();
            room.offer(*rank, i);
            *rank += 1;
        }
        report.dropped = report.dropped.saturating_add(room.settle());
        for i in room.kept() {
            let (detection, mask) = &mut first[i];
            report.detections.push(*detection);
            report.masks.extend(mask.take());
        }
        Ok(())
    }
}

/// A report's detections, each with its mask; the report has none then.
fn take(report: &mut Report) -> Vec<Found> {
    let mut masks = std::mem::take(&mut report.masks).into_iter();
    let all = report.detections.iter().map(|d| (*d, masks.next()));
    let all = all.collect();
    report.detections.clear();
    all
}

fn holds(bbox: &BBox, (x, y): (f32, f32)) -> bool {
    (bbox.x0..bbox.x1).contains(&x) && (bbox.y0..bbox.y1).contains(&y)
}

/// The pixels of a box and a margin, inside of what is looked at.
fn around(bbox: &BBox, margin: f32, looked_at: Crop) -> Crop {
    let (dx, dy) = (bbox.width() * margin, bbox.height() * margin);
    let wide = BBox::new(bbox.x0 - dx, bbox.y0 - dy, bbox.x1 + dx, bbox.y1 + dy).clip(looked_at);
    let (x, y) = (wide.x0.floor() as u32, wide.y0.floor() as u32);
    let (right, low) = (wide.x1.ceil() as u32, wide.y1.ceil() as u32);
    Crop {
        x,
        y,
        size: Size::new(right.max(x + 1) - x, low.max(y + 1) - y),
    }
}
