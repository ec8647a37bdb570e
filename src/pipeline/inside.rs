//! Prompts inside others: the handle of a door, looked for again on each door that was found.
//!
//! The network's input is small: a handle that has two of its pixels in the whole frame has twenty in a picture of the door alone. So a
//! frame is done once as always; then each object of the outer prompt, best first, is cut out with a margin and done again, where that
//! magnifies it ([`Rules::gain`]), up to [`Rules::passes`] times a frame. Where it does not, the inner objects of the first pass that lie
//! in it are taken.

use std::collections::HashMap;

use super::{Findings, Pipeline};
use crate::{
    detect::room::Room,
    error::Error,
    frame::Frame,
    geometry::{BBox, Crop, Size},
    mask::Mask,
    prompt::PromptSet,
    scene::{Detection, Report},
};

/// How often and where to look again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Passes over a frame beside the first, at most.
    pub passes: usize,
    /// An object is looked at again if it then has this many times as many pixels along a side, at least.
    pub gain: f32,
    /// Of the object's box, added on each side.
    pub margin: f32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            passes: 8,
            gain: 1.3,
            margin: 0.1,
        }
    }
}

/// A detection and, where masks are made, its mask.
type Found = (Detection, Option<Mask>);

impl<'l> Findings<'l> {
    /// Looks for prompts inside others on what was found of their outer ones, adds what it finds, and leaves out what is there only
    /// as a part of others. Where masks were made, that has them too.
    ///
    /// The frame is seen again in parts, so nothing else can be asked of these findings; what remains is the report. If there is no
    /// room, every prompt keeps its best, as in [`detect`](crate::detect), and the others are counted as dropped.
    ///
    /// # Errors
    ///
    /// As [`masks`](Self::masks).
    pub fn inside(self, rules: Rules) -> Result<&'l mut Report, Error> {
        let Self {
            pipeline,
            frame,
            prompts,
            report,
        } = self;
        let nested = prompts.nested();
        if nested.inside().is_empty() {
            return Ok(report);
        }
        let kept = pipeline.lay_aside();
        let done = again(pipeline, &frame, prompts, rules, report);
        pipeline.take_up(kept);
        done?;
        report.retain(|d| !nested.hides(d.prompt));
        Ok(report)
    }
}

/// Looks again at what was found of outer prompts.
fn again(
    pipeline: &mut Pipeline,
    frame: &Frame<'_>,
    prompts: &PromptSet,
    rules: Rules,
    report: &mut Report,
) -> Result<(), Error> {
    let (nested, iou) = (prompts.nested().inside(), pipeline.iou);
    let masks = !report.masks.is_empty();
    let mut first: Vec<Found> = take(report);
    let outers: Vec<Detection> = (first.iter().map(|(d, _)| *d))
        .filter(|d| nested.iter().any(|n| n.outer == d.prompt))
        .collect();
    let mut found: Vec<Found> = Vec::new();
    let mut passes = 0;
    let mut pixels = Vec::new();
    let size = frame.size();
    for outer in outers {
        let own = nested.iter().filter(|n| n.outer == outer.prompt);
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
            let mut look = pipeline.look(&closer)?;
            let mut close = look.detect(prompts)?;
            if masks {
                close.masks()?;
            }
            second = take(close.report_mut());
            &second
        } else {
            &first
        };
        for nested in own {
            let inner = candidates
                .iter()
                .filter(|(d, _)| d.prompt == nested.inner && holds(&outer.bbox, d.bbox.center()));
            found.extend(inner.map(|(d, mask)| {
                let prompt = nested.report_as;
                (Detection { prompt, ..*d }, mask.clone())
            }));
        }
    }
    found.sort_by(|a, b| b.0.logit.total_cmp(&a.0.logit));
    for (detection, mask) in found {
        let twin = |(other, _): &Found| {
            other.prompt == detection.prompt && other.bbox.iou(&detection.bbox) > iou
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
