//! A look: one frame through backbone and head, once, and everything that can be asked of it.
//!
//! It is a loan of the pipeline, so there is one at a time, and what belongs to another frame cannot
//! be asked for: the compiler refuses it.
//!
//! | asked of | what |
//! |---|---|
//! | [`Look`] | detections, stuff, segments, sentences, all objects |
//! | [`Findings`], which are of a look | masks, presence, tracks, prompts inside others |

use std::{sync::Arc, time::Instant};

use tract_onnx::prelude::{IntoTValue, TValue, TVec, tvec};

use super::{Pipeline, StageTimes, levels_of};
use crate::{
    detect::{Candidate, exemplar::Object, rules},
    error::{Error, ErrorKind},
    frame::Frame,
    geometry::{BBox, Letterbox},
    graph::{
        op::Execution,
        program::{Port, nhwc_from_planes},
    },
    kernels::align::align,
    mask::Mask,
    prompt::PromptSet,
    scene::{Detection, Report},
};

/// A frame, seen once.
///
/// ```compile_fail,E0499
/// # fn two(model: &mut tarsier::Model, a: tarsier::Frame, b: tarsier::Frame, prompts: &tarsier::Prompts) -> Result<(), tarsier::Error> {
/// let mut first = model.look(a)?;
/// let second = model.look(b)?; // the model is lent to the first look, which is used below
/// first.detect(prompts)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Look<'m> {
    pub(super) pipeline: &'m mut Pipeline,
    pub(super) frame: Frame<'m>,
    /// Where nobody brings another.
    report: Report,
}

/// What was found in a look, and what can be asked about just that.
#[derive(Debug)]
pub struct Findings<'l> {
    pub(super) pipeline: &'l mut Pipeline,
    pub(super) frame: Frame<'l>,
    pub(super) prompts: &'l PromptSet,
    pub(super) report: &'l mut Report,
}

/// One thing that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found<'a> {
    /// What: the prompt as it was asked for, or its group.
    pub name: &'a str,
    /// How likely, `0..=1`.
    pub score: f32,
    /// Where, in pixels of the whole picture.
    pub bbox: BBox,
    /// Its pixels in the whole picture, where masks were made.
    pub mask: Option<&'a Mask>,
    /// The number that it keeps from frame to frame, where it is followed and has one.
    pub track: Option<u32>,
    /// The rest.
    pub detection: Detection,
}

/// What backbone and head made of a frame.
pub(super) struct Seen {
    features: TVec<TValue>,
    outputs: TVec<TValue>,
    letterbox: Option<Letterbox>,
    times: StageTimes,
}

impl Pipeline {
    /// Sees a frame: backbone and head run, once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if a graph fails, which a checked pack's does not.
    pub fn look<'m>(&'m mut self, frame: &Frame<'m>) -> Result<Look<'m>, Error> {
        let team = self.team.clone();
        let _sitting = team.sit();
        self.forget();
        let clock = Instant::now();
        let plane = Arc::make_mut(&mut self.image);
        let letterbox = self.letterboxer.write(frame, plane.as_bytes_mut());
        let mut times = StageTimes {
            letterbox: clock.elapsed(),
            ..StageTimes::default()
        };
        let clock = Instant::now();
        self.features.clear();
        self.outputs.clear();
        self.features = self
            .backbone
            .run(tvec!(Arc::clone(&self.image).into_tvalue()))?;
        times.backbone = clock.elapsed();
        let clock = Instant::now();
        self.outputs = self.head.run(self.features.clone())?;
        times.head = clock.elapsed();
        let clock = Instant::now();
        self.detector.propose(&levels_of(&self.outputs));
        times.align = clock.elapsed();
        self.letterbox = Some(letterbox);
        self.times = times;
        let (size, captured) = (frame.whole(), frame.captured);
        Ok(Look {
            pipeline: self,
            frame: *frame,
            report: Report::new(frame.sequence, captured, size),
        })
    }

    /// Forgets the frame that was seen last, as after one that nobody was told of.
    pub(crate) const fn forget(&mut self) {
        self.letterbox = None;
    }

    /// What was seen of a frame, to see others meanwhile.
    pub(super) fn lay_aside(&mut self) -> Seen {
        Seen {
            features: std::mem::take(&mut self.features),
            outputs: std::mem::take(&mut self.outputs),
            letterbox: self.letterbox.take(),
            times: self.times,
        }
    }

    /// Goes on with what was seen before.
    pub(super) fn take_up(&mut self, seen: Seen) {
        self.features = seen.features;
        self.outputs = seen.outputs;
        self.letterbox = seen.letterbox;
        self.times = seen.times;
        self.detector.propose(&levels_of(&self.outputs));
    }
}

impl Look<'_> {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> &Frame<'_> {
        &self.frame
    }

    /// Detects prompts, best first, their groups and rejects applied.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Prompt`] if the prompts were made for another network.
    pub fn detect<'l>(&'l mut self, prompts: &'l PromptSet) -> Result<Findings<'l>, Error> {
        let Self {
            pipeline,
            frame,
            report,
        } = self;
        let mut found = Findings::none(pipeline, *frame, prompts, report)?;
        found.find();
        Ok(found)
    }

    /// The same, into a report whose memory is used again.
    ///
    /// # Errors
    ///
    /// As [`detect`](Self::detect).
    pub fn detect_into<'l>(
        &'l mut self,
        prompts: &'l PromptSet,
        report: &'l mut Report,
    ) -> Result<Findings<'l>, Error> {
        let mut found = self.nothing(prompts, report)?;
        found.find();
        Ok(found)
    }

    /// Findings without anything in them.
    pub(super) fn nothing<'l>(
        &'l mut self,
        prompts: &'l PromptSet,
        report: &'l mut Report,
    ) -> Result<Findings<'l>, Error> {
        Findings::none(self.pipeline, self.frame, prompts, report)
    }

    /// The objects that are proposed, best first, before any prompt is compared with them.
    #[must_use]
    pub fn objects(&self) -> Vec<Object> {
        let outputs = levels_of(&self.pipeline.outputs);
        let Some(letterbox) = self.pipeline.letterbox else {
            return Vec::new();
        };
        let quant = self.pipeline.objects;
        let object = |candidate: Candidate<'_>| Object {
            bbox: letterbox.frame_from_input(candidate.bbox),
            objectness: candidate.objectness,
            embedding: (candidate.embedding.iter())
                .map(|&byte| quant.dequantise(byte))
                .collect(),
        };
        let objects = self.pipeline.detector.candidates(&outputs).map(object);
        objects.filter(|o| !o.bbox.is_empty()).collect()
    }

    /// The head's raw outputs, one after the other, each as signed bytes `[height, width, channels]`: what the golden test compares.
    #[must_use]
    pub fn raw_outputs(&self) -> Vec<Vec<u8>> {
        let ports = &self.pipeline.head.program().outputs;
        let values = |(t, port): (&TValue, &Port)| {
            let mut values = vec![0; port.view.values()];
            nhwc_from_planes(&port.view, t.as_bytes(), &mut values);
            values
        };
        self.pipeline
            .outputs
            .iter()
            .zip(ports)
            .map(values)
            .collect()
    }

    /// Gives detections their masks that were made of this look's objects otherwise than by [`detect`](Self::detect), such as a
    /// sentence's.
    ///
    /// # Errors
    ///
    /// As [`Findings::masks`]; [`ErrorKind::Internal`] if the report is of another frame.
    pub fn masks_of(&mut self, report: &mut Report) -> Result<(), Error> {
        let frame = &self.frame;
        let own = (frame.sequence, frame.captured, frame.whole());
        if own != (report.sequence, report.captured, report.size) {
            return Err(Error::new(ErrorKind::Internal, "a report of another frame"));
        }
        self.pipeline.segment(report)
    }
}

impl<'l> Findings<'l> {
    fn none(
        pipeline: &'l mut Pipeline,
        frame: Frame<'l>,
        prompts: &'l PromptSet,
        report: &'l mut Report,
    ) -> Result<Self, Error> {
        if prompts.align().embedding != pipeline.detector.dimension() {
            let why = "the prompts were made for another network";
            return Err(Error::new(ErrorKind::Prompt, why));
        }
        report.clear();
        report.sequence = frame.sequence;
        report.captured = frame.captured;
        report.size = frame.whole();
        Ok(Self {
            pipeline,
            frame,
            prompts,
            report,
        })
    }
}

impl Findings<'_> {
    /// Compares the objects with the prompts.
    fn find(&mut self) {
        let (pipeline, prompts) = (&mut *self.pipeline, self.prompts);
        let Some(letterbox) = pipeline.letterbox else {
            return;
        };
        let team = pipeline.team.clone();
        let _sitting = team.sit();
        let clock = Instant::now();
        let (outputs, table) = (levels_of(&pipeline.outputs), prompts.align());
        let Execution { isa, threads } = pipeline.execution;
        let detector = &mut pipeline.detector;
        detector.align(
            &outputs,
            threads,
            prompts.thresholds(),
            |some, objects, logits| align(isa, &table.prompts(some), objects, logits),
        );
        pipeline.times.align += clock.elapsed();
        let clock = Instant::now();
        detector.select(&outputs, &letterbox, self.report);
        pipeline.times.select = clock.elapsed();
        rules::apply(prompts.rules(), pipeline.iou, self.report);
    }

    /// Everything that was found.
    #[must_use]
    pub const fn report(&self) -> &Report {
        self.report
    }

    /// The same, to leave some of it out.
    pub const fn report_mut(&mut self) -> &mut Report {
        self.report
    }

    /// How long each stage took.
    #[must_use]
    pub const fn times(&self) -> StageTimes {
        self.pipeline.times
    }

    /// Each thing that was found, best first.
    pub fn iter(&self) -> FoundIter<'_> {
        FoundIter {
            prompts: self.prompts,
            report: self.report,
            next: 0,
        }
    }

    /// Gives each detection its mask.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the pack has no mask network; [`ErrorKind::Internal`] if it fails, which a checked pack's does
    /// not.
    pub fn masks(&mut self) -> Result<(), Error> {
        self.pipeline.segment(self.report)
    }
}

/// Goes through what was found, best first.
#[derive(Clone, Debug)]
pub struct FoundIter<'a> {
    prompts: &'a PromptSet,
    report: &'a Report,
    next: usize,
}

impl<'a> Iterator for FoundIter<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let i = self.next;
        let detection = self.report.detections.get(i)?;
        self.next += 1;
        Some(Found {
            name: self.prompts.name(detection.prompt),
            score: detection.score,
            bbox: detection.bbox,
            mask: self.report.masks.get(i),
            track: self.report.track(i),
            detection: *detection,
        })
    }
}

impl<'l> IntoIterator for Findings<'l> {
    type Item = Found<'l>;
    type IntoIter = FoundIter<'l>;

    fn into_iter(self) -> FoundIter<'l> {
        FoundIter {
            prompts: self.prompts,
            report: self.report,
            next: 0,
        }
    }
}

impl<'a> IntoIterator for &'a Findings<'_> {
    type Item = Found<'a>;
    type IntoIter = FoundIter<'a>;

    fn into_iter(self) -> FoundIter<'a> {
        self.iter()
    }
}
