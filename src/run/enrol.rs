//! Teaching by showing: what lies in a box of the next frame becomes a prompt.
//!
//! The frame is looked at once more, for the objects in it; the prompt holds from that same frame on. It is forgotten when the
//! program ends: `tarsier vocab add --exemplar` keeps.

use std::time::{Duration, Instant};

use super::{
    Runner,
    engine::Kit,
    prepare::{For, Learned, Made},
    prompts::{Change, Refusal},
};
use crate::{
    detect::exemplar,
    error::Error,
    frame::Frame,
    geometry::{Crop, Size},
    link::Origin,
    prompt::words::Word,
    protocol::{
        ErrorCode, PromptSpec, Reply,
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
        (from, id): (Origin, u32),
        (name, region): (String, Region),
    ) -> Result<(), Refusal> {
        self.idle()?;
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
        let busy = self.preparing.is_some();
        for late in self.enrolments.extract_if(.., |e| e.until <= now) {
            let seconds = PATIENCE.as_secs();
            let reply = if busy {
                let why = format!("another change was still being prepared after {seconds} s");
                Reply::error(late.id, ErrorCode::Busy, why)
            } else {
                let why = format!("no frame came within {seconds} s");
                Reply::error(late.id, ErrorCode::Failed, why)
            };
            self.links.reply(late.from, reply);
        }
    }

    /// Makes prompts of what waiting boxes hold in a frame, of which the network said what is in it.
    pub(super) fn show(
        &mut self,
        objects: &Result<Vec<exemplar::Object>, Error>,
        frame: &Frame<'_>,
    ) {
        let mut lexicon = self.engine.model.lexicon().clone();
        let (mut words, mut specs, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in std::mem::take(&mut self.enrolments) {
            let Enrolment {
                from,
                id,
                name,
                region,
                ..
            } = waiting;
            let made = match objects {
                Ok(objects) => shown(objects, region, frame)
                    .and_then(|showing| self.word(&name, &showing, words.len()))
                    .and_then(|word| {
                        let inserted = lexicon.vocabulary_mut().insert(&word);
                        inserted.map_err(|e| (ErrorCode::Invalid, e.to_string()))?;
                        Ok(word)
                    }),
                Err(e) => Err((ErrorCode::Failed, format!("{e:#}"))),
            };
            match made {
                Ok(word) => {
                    specs.push(PromptSpec {
                        kind: PromptKind::Name,
                        ..name.as_str().into()
                    });
                    words.push(word);
                    asked.push((from, id));
                }
                Err((code, why)) => self.links.reply(from, Reply::error(id, code, why)),
            }
        }
        if asked.is_empty() {
            return;
        }
        let draft = self.prompts.draft(Change::Add(specs));
        let kit = Kit {
            lexicon: lexicon.clone(),
            ..self.kit()
        };
        let quick = draft.is_quick(&kit);
        let make = move |stop: &dyn Fn() -> bool| {
            Ok(Made::Shown(Box::new(Learned {
                prompts: draft.make(&kit, stop)?,
                lexicon,
                words,
            })))
        };
        let refused = if quick {
            match make(&|| false) {
                Ok(Made::Shown(learned)) => {
                    self.learn(*learned);
                    let answer = self.prompts_changed();
                    for (to, id) in asked {
                        let answer = answer.clone();
                        self.links.reply(to, Reply::Ack { id, answer });
                    }
                    return;
                }
                Ok(_) => return,
                Err(refused) => (asked, refused),
            }
        } else {
            match self.prepare(For::Commands(asked.clone()), make) {
                Ok(()) => return,
                Err(refused) => (asked, refused),
            }
        };
        let (asked, (code, why)) = refused;
        for (to, id) in asked {
            self.links.reply(to, Reply::error(id, code, why.clone()));
        }
    }

    /// A word of what was shown, if there may be one more.
    fn word(&self, name: &str, showing: &exemplar::Showing, more: usize) -> Result<Word, Refusal> {
        let enrolled = &self.engine.enrolled;
        let (count, most) = (enrolled.len() + more, self.config.limits.enrolled);
        if count >= most as usize && !enrolled.iter().any(|w| w.name == name.trim()) {
            let why = format!("{count} names were shown since the start; up to {most} may be");
            return Err((ErrorCode::Invalid, why));
        }
        Ok(self.engine.model.word(name, std::slice::from_ref(showing)))
    }

    /// Takes names that were shown into use, with their set.
    pub(super) fn learn(&mut self, learned: Learned) {
        let Learned {
            lexicon,
            words,
            prompts,
        } = learned;
        *self.engine.model.lexicon_mut() = lexicon;
        for word in words {
            let enrolled = &mut self.engine.enrolled;
            enrolled.retain(|before| before.name != word.name);
            enrolled.push(word);
        }
        self.prompts.become_next(prompts);
    }
}

/// What a region of the frame shows, of the objects in the part of it that is looked at.
fn shown(
    objects: &[exemplar::Object],
    region: Region,
    frame: &Frame<'_>,
) -> Result<exemplar::Showing, Refusal> {
    let region = Crop {
        x: region.x_offset,
        y: region.y_offset,
        size: Size::new(region.width, region.height),
    };
    let bbox = region.bbox().clip(frame.part());
    if bbox.is_empty() {
        let why = format!(
            "the region lies outside the frame of {}, or the part of it that is looked at",
            frame.whole()
        );
        return Err((ErrorCode::Invalid, why));
    }
    exemplar::show(objects, bbox).map_err(|e| (ErrorCode::NotFound, e.to_string()))
}
