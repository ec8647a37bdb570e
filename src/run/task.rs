//! What is made of each frame beside boxes: `[task]`, or what `set_task` said last.
//!
//! All of it comes from the one run of the network that found the boxes. Stuff and the names of all objects are prompt sets of their
//! own, so that what is looked for, its indices and its version stay what they are.

use std::cmp::Reverse;

use super::{
    engine::Kit,
    prompts::{self, Refusal},
};
use crate::{
    error::Error,
    ground::Grounding,
    input,
    kept::Kept,
    labels::LabelMap,
    mask::Mask,
    panoptic::{self, Segments},
    pipeline::{Look, everything::Everything},
    prompt::{PromptSet, Request, Row, limits::SetLimits},
    protocol::{ErrorCode, command::TaskSpec, extras::Extras},
    report::maps::mean_score,
    scene::{Names, Nearest, Report},
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
    /// What every pixel of the frame is of.
    map: LabelMap,
    kept: Memory,
}

/// What is made anew for every frame, in the memory that it had before.
#[derive(Debug, Default)]
struct Memory {
    found: Vec<Grounding>,
    /// All objects, and their names.
    objects: Option<Report>,
    nearest: Kept<Nearest>,
    /// The report, its prompts numbered behind stuff.
    things: Option<Report>,
    segments: Segments,
    masks: Kept<Mask>,
    /// Places of segments, the largest first.
    order: Vec<(Reverse<u64>, usize)>,
}

/// Writes a text over another, into its memory.
fn write_over(text: &mut String, by: &str) {
    text.clear();
    text.push_str(by);
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
            (spec.masks || maps, kit.able.masks, "masks"),
            (maps, kit.able.stuff, "stuff"),
            (spec.presence, kit.able.presence, "presence"),
            (
                !spec.ground.is_empty(),
                kit.able.ground,
                "sentences that mean one object",
            ),
        ];
        if let Some((.., what)) = needs.iter().find(|(wanted, there, _)| *wanted && !there) {
            let why = format!("{} has no network for {what}", kit.name);
            return Err((ErrorCode::Unsupported, why));
        }
        if maps {
            let requests: Vec<Request> = if spec.stuff.is_empty() {
                kit.lexicon.names(|e| !e.thing)
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
            let row = kit.lexicon.meaning(text);
            let row = row.map_err(|e| (ErrorCode::Invalid, format!("sentence \"{text}\": {e}")))?;
            task.sentences.push(row);
        }
        if spec.everything {
            task.names = Some(set(&kit.lexicon.names(|_| true), kit, stop)?);
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

    /// What a look yields beside detections.
    pub(super) fn look(&mut self, look: &mut Look<'_>, extras: &mut Extras) -> Result<(), Error> {
        let Self {
            spec,
            stuff,
            places,
            sentences,
            names,
            map,
            kept,
        } = self;
        extras.segments = extras.segments.take().filter(|_| stuff.is_some());
        extras.groundings = extras.groundings.take().filter(|_| !sentences.is_empty());
        extras.objects = extras.objects.take().filter(|_| names.is_some());
        if !sentences.is_empty() {
            let answers = extras.groundings.get_or_insert_default();
            answers.clear();
            look.ground(sentences, None, &mut kept.found)?;
            for (sentence, found) in spec.ground.iter().zip(&kept.found) {
                let answer = answers.next();
                write_over(&mut answer.sentence, sentence);
                answer.score = found.score;
                answer.bbox = found.object.map(|o| o.bbox);
            }
        }
        if let Some(set) = names {
            let (sequence, captured) = (look.frame().sequence, look.frame().captured);
            let new = || Report::new(sequence, captured, look.frame().whole());
            let report = kept.objects.get_or_insert_with(new);
            let nearest = &mut kept.nearest;
            look.everything(set, Everything::default(), report, nearest)?;
            let objects = extras.objects.get_or_insert_default();
            objects.clear();
            for (found, nearest) in report.detections.iter().zip(&*nearest) {
                let object = objects.next();
                object.bbox = found.bbox;
                object.objectness = found.score;
                object.names.clear();
                for &(prompt, likeness) in nearest {
                    let named = object.names.next();
                    write_over(&mut named.name, &set.prompts()[prompt as usize].name);
                    named.likeness = likeness;
                }
            }
        }
        if let Some(set) = stuff {
            look.stuff(set, places, None, map)?;
        }
        Ok(())
    }

    /// The segments of a frame, from its report with masks.
    pub(super) fn segments(&mut self, report: &Report, names: &dyn Names, extras: &mut Extras) {
        let Self {
            spec,
            stuff: Some(set),
            map,
            kept,
            ..
        } = self
        else {
            return;
        };
        let Memory {
            things,
            segments,
            masks,
            order,
            ..
        } = kept;
        let count = set.prompts().len() as u32;
        let new = || Report::new(report.sequence, report.captured, report.size);
        let things = things.get_or_insert_with(new);
        things.clone_from(report);
        // things are numbered behind stuff
        for thing in &mut things.detections {
            thing.prompt += count;
        }
        let is_stuff = |prompt: u32| prompt < count;
        order.clear();
        if spec.panoptic {
            let rules = panoptic::Rules {
                separate: spec.separate_stuff,
                ..panoptic::Rules::default()
            };
            segments.make(map, things, is_stuff, rules);
            segments.masks_into(masks);
            order.extend((0..masks.len()).map(|i| (Reverse(masks[i].area()), i)));
        } else {
            Painter::things(things, is_stuff, map);
            let most = things.detections.iter().map(|d| d.prompt + 1).max();
            map.masks_into(most.unwrap_or(count).max(count) as usize, masks);
            let areas = (0..masks.len()).map(|i| (Reverse(masks[i].area()), i));
            order.extend(areas.filter(|(area, _)| area.0 > 0));
        }
        order.sort_unstable();
        let out = extras.segments.get_or_insert_default();
        out.clear();
        for &(_, i) in &*order {
            let (prompt, thing, score) = match segments.segments().get(i) {
                Some(one) if spec.panoptic => (one.prompt, one.thing, one.score),
                _ => {
                    let prompt = i as u32;
                    (prompt, !is_stuff(prompt), mean_score(things, map, prompt))
                }
            };
            let segment = out.next();
            let stuff = set.prompts().get(prompt as usize);
            let name = stuff.map_or_else(|| names.name(prompt - count), |p| &p.name);
            write_over(&mut segment.class_id, name);
            (segment.thing, segment.score) = (thing, score);
            segment.mask.clone_from(&masks[i]);
        }
    }
}

/// Prompts that nothing is detected with.
fn set(requests: &[Request], kit: &Kit, stop: &dyn Fn() -> bool) -> Result<PromptSet, Refusal> {
    // what was asked for was compared with the limits; the rest is the pack's
    let requests = (requests, SetLimits::PACK);
    let mut encode = |text: &str| kit.lexicon.encoder().encode(text);
    let mut go_on = |_| !stop();
    let made = (kit.lexicon).set_by(requests, &mut encode, kit.objects, None, &mut go_on);
    made.map_err(|e| (prompts::code(&e), e.to_string()))
}
