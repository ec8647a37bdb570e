//! Whether names are in the picture at all, from frame to frame: what the loop keeps for it, and how much of it a report says.
//!
//! | what happens | states |
//! |---|---|
//! | prompts, their thresholds, another pack, the configuration | names that stay keep theirs, without an event; new ones begin as `unsure`; those that go end without `gone` |
//! | pause, lost source | time goes on: after `hold_s` all are `unsure` with the next frame |
//! | region, frames of another size | go on, with what is looked at now |
//! | `presence` taken out of the task | all end without `gone`; asked for again, all are new |
//!
//! Prompts of one name, as those of a group, are one: what is likeliest of them counts. Rejects are not reported, here as elsewhere.
//! The states themselves are [`track::presence`](crate::track::presence)'s.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use super::{
    Runner,
    presence_config::PresenceConfig,
    prompts::{PAGE_BYTES, Prompts, Refusal},
};
use crate::{
    protocol::{
        Answer, ErrorCode, Event, Happening, Outgoing, SharedNames, happening::Source,
        reply::NamePresence,
    },
    report::{json::Stamp, score},
    scene::{Presence, PresenceCounts, PresenceState, Report},
    track::presence::Roll,
};

/// No number of a name: the prompt is a reject.
const NONE: u32 = u32::MAX;

/// The names that are watched, and what they were last used with.
#[derive(Debug)]
pub(super) struct Watcher {
    roll: Roll,
    /// The prompts' names and their set's version.
    names: Option<(u32, SharedNames)>,
    /// Of each prompt: the number of its name.
    number: Vec<u32>,
    /// Of each name, by number: the last frame's presence, with its first prompt.
    all: Vec<Presence>,
    counts: PresenceCounts,
    /// Of each name: whether the report has a box of it.
    boxed: Vec<bool>,
    /// Numbers, those that matter most first.
    order: Vec<u32>,
}

impl Watcher {
    pub(super) fn new(config: &PresenceConfig, threshold: Option<f32>) -> Self {
        Self {
            roll: Roll::new(config.settings(threshold)),
            names: None,
            number: Vec::new(),
            all: Vec::new(),
            counts: PresenceCounts::default(),
            boxed: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Takes over a new configuration, or another pack.
    pub(super) fn configure(&mut self, config: &PresenceConfig, threshold: Option<f32>) {
        self.roll.set(config.settings(threshold));
    }

    /// Forgets all names.
    pub(super) fn clear(&mut self) {
        if self.names.is_some() {
            self.roll.clear();
            self.names = None;
            self.all.clear();
        }
    }

    /// Takes a frame's report, of whose prompts each has a presence, and leaves those names that matter most, `most` of them.
    pub(super) fn look(
        &mut self,
        captured_ns: u64,
        prompts: &Prompts,
        most: usize,
        report: &mut Report,
    ) {
        self.learn_names(prompts);
        for presence in &mut self.all {
            (presence.score, presence.best) = (0.0, 0.0);
        }
        for presence in &report.presences {
            let number = self.number.get(presence.prompt as usize);
            if let Some(all) = number.and_then(|&n| self.all.get_mut(n as usize)) {
                all.score = all.score.max(presence.score);
                all.best = all.best.max(presence.best);
            }
        }
        self.boxed.fill(false);
        for detection in &report.detections {
            let number = self.number.get(detection.prompt as usize);
            if let Some(boxed) = number.and_then(|&n| self.boxed.get_mut(n as usize)) {
                *boxed = true;
            }
        }
        self.counts = self.roll.update(captured_ns, &mut self.all, &self.boxed);
        report.presence_counts = self.counts;
        self.select(most, &mut report.presences);
    }

    /// Those that changed, then what is there, what is doubtful, and the rest; the likeliest first.
    fn select(&mut self, most: usize, selected: &mut Vec<Presence>) {
        let all = &self.all;
        let key = |&number: &u32| {
            let presence = &all[number as usize];
            let rank = match (presence.change, presence.state) {
                (Some(_), _) => 0,
                (None, PresenceState::There) => 1,
                (None, PresenceState::Unsure) => 2,
                (None, PresenceState::NotThere) => 3_u8,
            };
            // scores are not negative: their bits are in their order
            (rank, Reverse(presence.score.to_bits()), number)
        };
        self.order.clear();
        self.order.extend(0..all.len() as u32);
        if most < self.order.len() {
            self.order.select_nth_unstable_by_key(most, key);
            self.order.truncate(most);
        }
        self.order.sort_unstable_by_key(key);
        selected.clear();
        selected.extend(self.order.iter().map(|&number| all[number as usize]));
    }

    /// After a change of the set, names keep their states.
    fn learn_names(&mut self, prompts: &Prompts) {
        let version = prompts.version();
        if self.names.as_ref().is_some_and(|(v, _)| *v == version) {
            return;
        }
        let (names, rules) = (prompts.names(), prompts.set_in_use().rules());
        let mut before: HashMap<&str, usize> = HashMap::new();
        if let Some((_, names)) = &self.names {
            let of = |(number, presence): (usize, &Presence)| {
                Some((names.get(presence.prompt as usize)?.as_str(), number))
            };
            before.extend(self.all.iter().enumerate().filter_map(of));
        }
        let mut known: HashMap<&str, u32> = HashMap::with_capacity(names.len());
        let mut watched = Vec::new();
        self.number.clear();
        for (prompt, name) in (0..).zip(names.iter()) {
            if rules.of(prompt).reject {
                self.number.push(NONE);
                continue;
            }
            let number = *known.entry(name).or_insert_with(|| {
                watched.push(Presence {
                    prompt,
                    score: 0.0,
                    best: 0.0,
                    state: PresenceState::Unsure,
                    change: None,
                });
                watched.len() as u32 - 1
            });
            self.number.push(number);
        }
        let name = |presence: &Presence| names[presence.prompt as usize].as_str();
        self.roll
            .renumber(watched.iter().map(|p| before.get(name(p)).copied()));
        self.boxed.clear();
        self.boxed.resize(watched.len(), false);
        self.all = watched;
        self.names = Some((version, Arc::clone(names)));
    }
}

impl Runner {
    /// Tells what appeared and what is gone, right behind the report that was just sent.
    pub(super) fn tell_changes(&mut self, captured_ns: u64) {
        let (Some((version, names)), Some(seq)) =
            (&self.watcher.names, self.sequence.checked_sub(1))
        else {
            return;
        };
        let changed = self.report.presences.iter();
        for presence in changed.filter(|presence| presence.change.is_some()) {
            let (Some(kind), Some(name)) = (presence.change, names.get(presence.prompt as usize))
            else {
                continue;
            };
            let happening = Happening {
                kind,
                source: Source::Presence,
                run: self.links.run(),
                seq,
                stamp: Stamp::new(self.report.captured),
                captured_ns,
                prompts_version: *version,
                prompt: presence.prompt,
                class_id: name.clone(),
                score: score(presence.score),
            };
            log::debug!("{} {name}", kind.name());
            let event = Arc::new(Event::Scene(happening));
            self.publish(&Outgoing::Event(event));
        }
    }

    /// The presence of all names as of the last report, a page of them.
    pub(super) fn presence(&self, from: u32, count: u32) -> Result<Answer, Refusal> {
        let watcher = &self.watcher;
        let (Some((version, names)), Some(seq)) = (&watcher.names, self.sequence.checked_sub(1))
        else {
            let why = if self.task.spec().presence {
                "nothing has been reported with presence yet"
            } else {
                "presence is not asked for: set_task with \"presence\":true, or [task] presence"
            };
            return Err((ErrorCode::NotFound, why.into()));
        };
        let mut bytes = 0;
        let page = watcher.all.iter().skip(from as usize).take(count as usize);
        let page = page
            .filter_map(|presence| Some((presence, names.get(presence.prompt as usize)?)))
            .take_while(|(_, name)| {
                // the other fields of an answer's entry are as long as a name is, or longer
                bytes += name.len().max(NAME_BYTES);
                bytes <= PAGE_BYTES
            });
        let names = page.map(|(presence, name)| NamePresence {
            prompt: presence.prompt,
            class_id: name.clone(),
            state: presence.state,
            score: score(presence.score),
        });
        Ok(Answer::Presence {
            prompts_version: *version,
            seq,
            counts: watcher.counts,
            from,
            names: names.collect(),
        })
    }
}

/// Bytes that a name counts at least for in a page: with its fields it has four times as many.
const NAME_BYTES: usize = 32;
