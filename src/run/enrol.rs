//! Teaching by showing: what lies in a box of the next frame becomes a prompt.
//!
//! The frame is looked at once more, for the objects in it; the prompt holds from that same frame on. It is forgotten when the
//! program ends: `tarsier vocab add --exemplar` keeps.

use std::time::{Duration, Instant};

use super::{Runner, engine::Engine, prompts::Prompts, prompts::Refusal};
use crate::{
    capture::picture::Crop,
    detect::exemplar,
    frame::Frame,
    geometry::{BBox, Size},
    link::Origin,
    prompt::words::{self, Word},
    protocol::{
        Answer, ErrorCode, PromptSpec, Reply,
        command::{PromptKind, Region},
    },
};

/// How long a frame is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most that wait for one frame.
const MOST: usize = 16;

/// A box that waits for a frame.
#[derive(Debug)]
pub(super) struct Enrolment {
    from: Origin,
    id: u32,
    name: String,
    region: Region,
    until: Instant,
}

impl Runner {
    /// Keeps a command until there is a frame; refuses it if too many wait.
    pub(super) fn enrol(
        &mut self,
        from: Origin,
        id: u32,
        (name, region): (String, Region),
    ) -> Result<(), Refusal> {
        if self.enrolments.len() >= MOST {
            let why = format!("{MOST} boxes wait for a frame already");
            return Err((ErrorCode::Busy, why));
        }
        self.enrolments.push(Enrolment {
            from,
            id,
            name,
            region,
            until: Instant::now() + PATIENCE,
        });
        Ok(())
    }

    /// Takes back all that wait: who asked, and the command's number.
    pub(super) fn forget_enrolments(&mut self) -> Vec<(Origin, u32)> {
        let all = self.enrolments.drain(..);
        all.map(|waiting| (waiting.from, waiting.id)).collect()
    }

    /// Refuses what has waited in vain.
    pub(super) fn look_at_enrolments(&mut self) {
        let now = Instant::now();
        for late in self.enrolments.extract_if(.., |e| e.until <= now) {
            let why = format!("no frame came within {} s", PATIENCE.as_secs());
            let reply = Reply::error(late.id, ErrorCode::Failed, why);
            self.links.reply(late.from, reply);
        }
    }
}

/// Looks at a frame for those that wait: each with its reply.
pub(super) fn look(
    waiting: &mut Vec<Enrolment>,
    frame: &Frame<'_>,
    (size, part): (Size, Crop),
    engine: &mut Engine,
    prompts: &mut Prompts,
) -> Vec<(Origin, Reply)> {
    let objects = engine.pipeline.objects_in(frame);
    let mut done = Vec::new();
    for Enrolment {
        from,
        id,
        name,
        region,
        ..
    } in waiting.drain(..)
    {
        let made = match &objects {
            Ok(objects) => shown(objects, region, (size, part))
                .and_then(|showing| learn(&name, &showing, engine, prompts)),
            Err(e) => Err((ErrorCode::Failed, e.to_string())),
        };
        let reply = match made {
            Ok(()) => Reply::Ack {
                id,
                answer: Answer::PromptsVersion(prompts.version()),
            },
            Err((code, why)) => Reply::error(id, code, why),
        };
        done.push((from, reply));
    }
    done
}

/// What a region of the frame shows, of the objects in the part of it that is looked at.
fn shown(
    objects: &[exemplar::Object],
    region: Region,
    (size, part): (Size, Crop),
) -> Result<exemplar::Showing, Refusal> {
    let (x, y) = (
        region.x_offset as f32 - part.x as f32,
        region.y_offset as f32 - part.y as f32,
    );
    let bbox = BBox::new(x, y, x + region.width as f32, y + region.height as f32);
    let bbox = bbox.clip(part.size);
    if bbox.is_empty() {
        let why = format!(
            "the region lies outside the frame of {size}, or the part of it that is looked at"
        );
        return Err((ErrorCode::Invalid, why));
    }
    exemplar::show(objects, bbox).map_err(|e| (ErrorCode::NotFound, e.to_string()))
}

/// Makes a word of it and a prompt of the word.
fn learn(
    name: &str,
    showing: &exemplar::Showing,
    engine: &mut Engine,
    prompts: &mut Prompts,
) -> Result<(), Refusal> {
    let invalid = |e: &dyn std::fmt::Display| (ErrorCode::Invalid, e.to_string());
    let row = exemplar::row(
        std::slice::from_ref(showing),
        engine.background.as_ref(),
        &engine.vocabulary,
    );
    let mut word = Word::new(name, words::Origin::Exemplars(1), Some(row));
    word.replaces = true;
    let mut vocabulary = engine.vocabulary.clone();
    vocabulary.insert(&word).map_err(|e| invalid(&e))?;
    std::mem::swap(&mut engine.vocabulary, &mut vocabulary);
    let spec = PromptSpec {
        kind: PromptKind::Name,
        ..name.into()
    };
    if let Err(refusal) = prompts.add(vec![spec], engine) {
        // what fails leaves everything as it was
        engine.vocabulary = vocabulary;
        return Err(refusal);
    }
    engine.enrolled.retain(|before| before.name != word.name);
    engine.enrolled.push(word);
    Ok(())
}
