//! What is made of each frame beside boxes: `[task]`, or what `set_task` said last.
//!
//! All of it comes from the one run of the network that found the boxes. Stuff and the names of all objects are prompt sets of their
//! own, so that what is looked for, its indices and its version stay what they are.

use super::{
    engine::{Engine, Kit},
    prompts::{self, Refusal},
};
use crate::{
    frame::Frame,
    input,
    labels::LabelMap,
    panoptic::{self, Segments},
    pipeline::{PipelineError, everything::Everything},
    prompt::{PromptSet, Request, Row},
    protocol::{
        ErrorCode,
        command::TaskSpec,
        extras::{Extras, Grounded, Object, Segment},
    },
    report::maps::mean_score,
    scene::{Names, Report},
    semantic::Painter,
};

/// A task that the pack in use can do.
#[derive(Debug, Default)]
pub(super) struct Task {
    spec: TaskSpec,
    /// Stuff, as prompts.
    stuff: Option<PromptSet>,
    /// Its indices: all of them.
    places: Vec<u32>,
    sentences: Vec<Row>,
    /// The whole vocabulary, for naming objects.
    names: Option<PromptSet>,
    /// What every pixel of the part that was looked at is of.
    map: LabelMap,
}

impl Task {
    /// What `spec` asks for, with a pack; refused whole if the pack lacks a network for it, or does not know a name.
    pub(super) fn new(
        spec: &TaskSpec,
        kit: &Kit,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, Refusal> {
        let within = spec.check().and_then(|()| kit.limits.task(spec));
        within.map_err(|why| (ErrorCode::Invalid, why))?;
        let mut task = Self {
            spec: spec.clone(),
            ..Self::default()
        };
        let maps = spec.semantic || spec.panoptic;
        let needs = [
            (spec.masks || maps, kit.segments, "masks"),
            (maps, kit.covers, "stuff"),
            (spec.presence, kit.senses, "presence"),
            (
                !spec.ground.is_empty(),
                kit.grounds,
                "sentences that mean one object",
            ),
        ];
        if let Some((.., what)) = needs.iter().find(|(wanted, there, _)| *wanted && !there) {
            let why = format!("{} has no network for {what}", kit.name);
            return Err((ErrorCode::Unsupported, why));
        }
        if maps {
            let entries = kit.vocabulary.entries().iter();
            let requests: Vec<Request> = if spec.stuff.is_empty() {
                let stuff = entries.filter(|e| !e.thing);
                stuff.map(|e| Request::Name(e.name.clone())).collect()
            } else {
                spec.stuff.iter().cloned().map(Request::Either).collect()
            };
            let set = set(&requests, kit, stop)?;
            task.places = (0..set.prompts().len() as u32).collect();
            task.stuff = Some(set);
        }
        for text in &mut task.spec.ground {
            if stop() {
                return Err((ErrorCode::Failed, "stopped before all was encoded".into()));
            }
            // checked above: no control characters
            if let Ok(clean) = input::clean(text) {
                *text = clean.into_owned();
            }
            // a word of the user's own means here what it means everywhere
            let row = kit
                .vocabulary
                .own(text)
                .map_or_else(|| kit.encode(text), Ok);
            let row = row.map_err(|e| (ErrorCode::Invalid, format!("sentence \"{text}\": {e}")))?;
            task.sentences.push(row);
        }
        if spec.everything {
            let entries = kit.vocabulary.entries().iter();
            let all: Vec<Request> = entries.map(|e| Request::Name(e.name.clone())).collect();
            task.names = Some(set(&all, kit, stop)?);
        }
        Ok(task)
    }

    /// Whether it is made at once: nothing has to be encoded or laid out for it.
    pub(super) fn is_quick(spec: &TaskSpec) -> bool {
        !spec.semantic && !spec.panoptic && !spec.everything && spec.ground.is_empty()
    }

    pub(super) const fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// Whether the report's detections need masks, to be sent or to be laid over a map.
    pub(super) const fn needs_masks(&self) -> bool {
        self.spec.masks || self.stuff.is_some()
    }

    /// What a frame yields that was just looked at; boxes are moved by `(x, y)`, to where the frame lies in the whole one.
    pub(super) fn look(
        &mut self,
        frame: &Frame<'_>,
        (x, y): (f32, f32),
        engine: &mut Engine,
        extras: &mut Extras,
    ) -> Result<(), PipelineError> {
        *extras = Extras::default();
        let pipeline = &mut engine.pipeline;
        if !self.sentences.is_empty() {
            let found = pipeline.ground_again(frame, &self.sentences, None)?;
            let answers = self.spec.ground.iter().zip(found);
            extras.groundings = Some(
                answers
                    .map(|(sentence, found)| Grounded {
                        sentence: sentence.clone(),
                        score: found.score,
                        bbox: found.object.map(|o| o.bbox.moved(x, y)),
                    })
                    .collect(),
            );
        }
        if let Some(set) = &self.names {
            let mut report = Report::new(frame.sequence, frame.captured, frame.size());
            let nearest = pipeline.everything_again(set, Everything::default(), &mut report);
            let name = |(prompt, likeness): (u32, f32)| {
                (set.prompts()[prompt as usize].name.clone(), likeness)
            };
            let objects = report.detections.iter().zip(nearest);
            extras.objects = Some(
                objects
                    .map(|(found, names)| Object {
                        bbox: found.bbox.moved(x, y),
                        objectness: found.score,
                        names: names.into_iter().map(name).collect(),
                    })
                    .collect(),
            );
        }
        if let Some(set) = &self.stuff {
            pipeline.cover(set, &self.places, None, &mut self.map)?;
        }
        Ok(())
    }

    /// The segments of a frame, from its report with masks; the map is laid where the part lies that was looked at.
    pub(super) fn segments(
        &mut self,
        report: &Report,
        names: &dyn Names,
        at: (u32, u32),
        extras: &mut Extras,
    ) {
        let Some(set) = &self.stuff else { return };
        let count = set.prompts().len() as u32;
        let placed;
        let map = if self.map.size() == report.size {
            &mut self.map
        } else {
            placed = self.map.placed(at, report.size, |_, _| true);
            self.map = placed;
            &mut self.map
        };
        // things are numbered behind stuff
        let mut things = report.clone();
        for thing in &mut things.detections {
            thing.prompt += count;
        }
        let is_stuff = |prompt: u32| prompt < count;
        let class_id = |prompt: u32| {
            let stuff = set.prompts().get(prompt as usize);
            stuff
                .map_or_else(|| names.name(prompt - count), |p| &p.name)
                .to_owned()
        };
        let mut segments: Vec<Segment> = if self.spec.panoptic {
            let rules = panoptic::Rules {
                separate: self.spec.separate_stuff,
                ..panoptic::Rules::default()
            };
            let made = Segments::new(map, &things, is_stuff, rules);
            let all = made.segments().iter().zip(made.masks());
            all.map(|(segment, mask)| Segment {
                class_id: class_id(segment.prompt),
                thing: segment.thing,
                score: segment.score,
                mask,
            })
            .collect()
        } else {
            Painter::things(&things, is_stuff, map);
            let most = things.detections.iter().map(|d| d.prompt + 1).max();
            let masks = map.masks(most.unwrap_or(count).max(count) as usize);
            let all = (0..).zip(masks).filter(|(_, mask)| mask.area() > 0);
            all.map(|(prompt, mask)| Segment {
                class_id: class_id(prompt),
                thing: !is_stuff(prompt),
                score: mean_score(&things, map, prompt),
                mask,
            })
            .collect()
        };
        segments.sort_by_key(|segment| std::cmp::Reverse(segment.mask.area()));
        extras.segments = Some(segments);
    }
}

/// Prompts that nothing is detected with.
fn set(requests: &[Request], kit: &Kit, stop: &dyn Fn() -> bool) -> Result<PromptSet, Refusal> {
    let made = PromptSet::encoded_by(
        requests,
        &kit.vocabulary,
        &mut |text| kit.encode(text),
        kit.objects,
        None,
        &mut |_| !stop(),
    );
    made.map_err(|e| (prompts::code(&e), e.to_string()))
}
