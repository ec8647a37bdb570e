//! Whether names are in the picture, over time: three words with hysteresis, and what changed.
//!
//! ```text
//! a frame's reading                                     the state that is reported
//!   a box is reported, or probability >= enter  there ─┐ as many frames and as long in a row    ┌─▶ there      appeared
//!   probability <= leave                    not_there ─┼────────────────────────────────────────┼─▶ not_there  gone
//!   between                                    unsure ─┘ no frame said the state for `hold_s`,  └─▶ unsure
//!                                                        or a box contradicts `not_there`
//! ```
//!
//! | rule | why |
//! |---|---|
//! | `enter` is the pack's calibrated threshold, `leave` has a quarter of its odds | two thresholds: noise at one of them cannot reach the other |
//! | a reading counts once it has come in `frames` frames in a row and for `dwell_s` | a blip in one frame changes nothing, at any rate of frames |
//! | a box is a reading of `there`, whatever the probability | a box has passed a threshold of its own, and whoever reads a report must not find both |
//! | a box where the state is `not_there` makes it `unsure` at once | the same, until the box has lasted |
//! | between the thresholds the state stays, for `hold_s` | what was settled is the best guess for a while and not for ever |
//! | longer than `hold_s` without a frame: `unsure` | nobody looked |
//! | `appeared` and `gone` take turns for each name, `unsure` between them or not | a robot that counts them is never one off |
//! | in one frame so many changes at most, the others with the next frames | ten thousand names at once must not flood a line |
//!
//! Time is the capture's. The same frames at the same times give the same states, on every board.

use super::ns;
use crate::{
    odds,
    scene::{Change, Presence, PresenceCounts, PresenceState},
};

/// Changes of one frame: those that come at the same time wait for the next ones.
pub const MAX_CHANGES: u32 = 16;

/// How much lower the odds of `leave` are than those of `enter`: a quarter.
const QUARTER: f32 = 1.386_294_4;

/// From and up to which probability a frame says something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// From here on it is there.
    pub enter: f32,
    /// Up to here it is not.
    pub leave: f32,
}

impl Bounds {
    /// Those that belong to a least probability of what is there.
    ///
    /// ```
    /// let bounds = tarsier::track::presence::Bounds::from_enter(0.5);
    /// assert_eq!((bounds.enter, (bounds.leave * 100.0).round()), (0.5, 20.0));
    /// ```
    #[must_use]
    pub fn from_enter(enter: f32) -> Self {
        let leave = odds::score(odds::logit(enter) - QUARTER);
        Self { enter, leave }
    }

    /// What one frame says by itself.
    #[must_use]
    pub fn reading(&self, probability: f32, boxed: bool) -> PresenceState {
        if boxed || probability >= self.enter {
            PresenceState::There
        } else if probability <= self.leave {
            PresenceState::NotThere
        } else {
            PresenceState::Unsure
        }
    }
}

/// What a user can choose about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// What a frame says.
    pub bounds: Bounds,
    /// In how many frames in a row it must have said so, from 1.
    pub frames: u32,
    /// And for how many seconds.
    pub dwell_s: f64,
    /// For how many seconds a state holds that no frame says again.
    pub hold_s: f64,
}

/// One name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watch {
    state: PresenceState,
    /// Whether the last thing told was that it appeared.
    told: bool,
    /// What the last frames said.
    reading: PresenceState,
    /// In how many, and since when.
    frames: u32,
    since_ns: u64,
    /// When a frame last said what the state is.
    held_ns: u64,
}

impl Watch {
    /// Takes one frame's reading; `room`: changes that may be told still.
    fn look(
        &mut self,
        now_ns: u64,
        (reading, boxed): (PresenceState, bool),
        settings: &Settings,
        room: &mut u32,
    ) -> Option<Change> {
        if reading != self.reading || self.frames == 0 {
            (self.reading, self.since_ns, self.frames) = (reading, now_ns, 0);
        }
        self.frames = self.frames.saturating_add(1);
        if reading == self.state {
            self.held_ns = now_ns;
            return None;
        }
        let lasts = self.frames >= settings.frames
            && now_ns - self.since_ns >= ns(settings.dwell_s)
            && reading != PresenceState::Unsure;
        if lasts {
            let change = match (reading, self.told) {
                (PresenceState::There, false) => Some(Change::Appeared),
                (PresenceState::NotThere, true) => Some(Change::Gone),
                _ => None,
            };
            if change.is_none() || *room > 0 {
                *room -= u32::from(change.is_some());
                (self.state, self.held_ns) = (reading, now_ns);
                self.told = reading == PresenceState::There;
                return change;
            }
        }
        let contradicted = boxed && self.state == PresenceState::NotThere;
        if contradicted || now_ns.saturating_sub(self.held_ns) > ns(settings.hold_s) {
            self.state = PresenceState::Unsure;
        }
        None
    }

    /// Nobody looked for too long.
    const fn forget(&mut self) {
        self.state = PresenceState::Unsure;
        self.frames = 0;
    }
}

/// All names that are watched, by number.
#[derive(Clone, Debug)]
pub struct Roll {
    settings: Settings,
    watches: Vec<Watch>,
    last_ns: Option<u64>,
}

impl Roll {
    /// A roll of no names.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            watches: Vec::new(),
            last_ns: None,
        }
    }

    /// Other settings from now on.
    pub const fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Forgets all names: those that come are new.
    pub fn clear(&mut self) {
        self.watches.clear();
        self.last_ns = None;
    }

    /// Names have other numbers from now on: for each, the number that it had, none for a new one. New ones begin as `unsure`; those
    /// that are left out end without being told as gone.
    pub fn renumber(&mut self, before: impl Iterator<Item = Option<usize>>) {
        let old = std::mem::take(&mut self.watches);
        let watch = |at: Option<usize>| at.and_then(|at| old.get(at).copied()).unwrap_or_default();
        self.watches = before.map(watch).collect();
    }

    /// Takes a frame: of each name, in the order of their numbers, its probability, and whether a box of it is reported. Fills states
    /// and changes, and says how many names are in each state. A time before the last one's counts as the same time.
    pub fn update(
        &mut self,
        captured_ns: u64,
        presences: &mut [Presence],
        boxed: &[bool],
    ) -> PresenceCounts {
        let now = self.last_ns.map_or(captured_ns, |t| t.max(captured_ns));
        let unseen = now - self.last_ns.unwrap_or(now) > ns(self.settings.hold_s);
        self.last_ns = Some(now);
        let (mut counts, mut room) = (PresenceCounts::default(), MAX_CHANGES);
        for ((watch, presence), &boxed) in self.watches.iter_mut().zip(presences).zip(boxed) {
            if unseen {
                watch.forget();
            }
            let reading = self.settings.bounds.reading(presence.score, boxed);
            presence.change = watch.look(now, (reading, boxed), &self.settings, &mut room);
            presence.state = watch.state;
            match watch.state {
                PresenceState::There => counts.there += 1,
                PresenceState::Unsure => counts.unsure += 1,
                PresenceState::NotThere => counts.not_there += 1,
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests;
