//! Ids that stay: which detection of this frame is which of the frames before.
//!
//! ```text
//! report ─▶ things (detections of one place) ─▶ 1 tracks with an id ─▶ 2 new tracks ─▶ 4 tracks long unseen, by look ─▶ births
//!                                                   │ left over                          ▲ left over
//!                                                   └─▶ 3 places of the head whose score is too low to report
//! ```
//!
//! | file | does |
//! |---|---|
//! | `associate` | which thing is which track |
//! | `evidence` | what is known of a frame beside its report |
//! | `motion` | where a track's box will be at the time of the frame |
//! | `look` | embeddings, and how alike they are |
//! | `pairs` | who goes with whom |
//! | `names` | what a track is called, and how surely |
//! | [`presence`] | beside tracks: whether names are in the picture at all |
//!
//! The rounds are those of ByteTrack (Zhang et al., arXiv:2110.06864): first what was found surely, then, for tracks that found nothing,
//! what scored low. The low ones are not detections below another threshold: they are the places that the head proposed, scored for
//! the one name that the track has. So nothing that is reported without tracking changes, and thousands of names cost no more
//! than one. A place that a detection of that name suppresses is none.
//!
//! **What is reported.** Tracking takes nothing from a frame's detections and changes no box, name, score or order of them: they stay
//! what they are without it, and so does their independence of one another's prompts. Each gets the id of its thing and, beside its own score, the
//! smoothed one of its name. Behind them come those that a track *continues*: what it is called by its smoothed scores, at the place where it is in this
//! frame, where the frame's own score for that name is too low (flicker, half hidden, another name in its place) and the smoothed one is not.
//! Their score is the frame's own, too, and they are marked. As in ByteTrack and DeepSORT, what is not seen at all is not reported: its id waits.
//! Ids are of things and not of names, so they are joint by nature: which prompts are asked decides what is one thing, and with it ids, smoothed scores and
//! what is continued.
//!
//! **Time** is the capture's, not the count of frames: a slow board and a fast one follow alike, and a pause is a long time.
//! **Names.** Detections of different names at one place are one thing and have one id. A track knows its last names with smoothed
//! scores, [`NAMES`] of them.
//! **Deterministic**: the same frames at the same times give the same ids, on every board. Every buffer is made in [`Tracker::new`] or with
//! the first frame.

use crate::{
    geometry::{BBox, Size},
    odds,
    scene::{Detection, MAX_DETECTIONS, Report, Smoothed},
};

mod associate;
mod evidence;
mod look;
mod motion;
mod names;
mod pairs;
pub mod presence;

use associate::{SUPPRESSED, completed, suppressed};
pub use evidence::{Evidence, Place};
use look::Looks;
use motion::Motion;
pub use names::NAMES;
use names::{Name, Names};
use pairs::Pairs;

/// How many tracks are followed at once, those that are not seen at the moment included.
pub const MAX_TRACKS: usize = 512;

/// How many things of one frame are given to tracks, the best ones: as many as can be followed.
const MAX_THINGS: usize = MAX_TRACKS;
/// Seconds for which a track without an id is remembered.
const DOUBTFUL_S: f64 = 0.25;

/// Seconds in nanoseconds, the nearest: 0.3 s are three frames of a tenth, which as floats they may be more or less than.
fn ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// What a user can choose about tracking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// In how many frames something must have been found before it has an id, from 1.
    pub hits: u32,
    /// For how many seconds something that is not seen keeps its id.
    pub lost_s: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hits: 3,
            lost_s: 2.0,
        }
    }
}

/// What prompts mean to a tracker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meaning<'a> {
    /// Per prompt: its class; prompts of one class are one name. Empty: each is its own.
    pub classes: &'a [u32],
    /// Per prompt: the least log odds of a detection.
    pub thresholds: &'a [f32],
}

impl Meaning<'_> {
    fn class(&self, prompt: u32) -> u32 {
        let class = self.classes.get(prompt as usize);
        class.copied().unwrap_or(prompt)
    }

    fn threshold(&self, prompt: u32) -> f32 {
        let threshold = self.thresholds.get(prompt as usize);
        threshold.copied().unwrap_or(f32::NEG_INFINITY)
    }
}

/// Something that is followed.
#[derive(Debug)]
struct Track {
    /// 0 until it was found often enough.
    id: u32,
    motion: Motion,
    /// Where it is believed to be in this frame.
    bbox: BBox,
    /// Seconds since it was seen.
    unseen: f32,
    /// The same in nanoseconds, which add up without an error: what the limits of time are compared with.
    unseen_ns: u64,
    /// Frames in which it was found surely.
    hits: u32,
    names: Names,
    /// Whether this frame has it.
    taken: bool,
}

/// Detections of one place.
#[derive(Debug)]
struct Thing {
    bbox: BBox,
    location: u32,
    /// Its best detections, of so many names as count.
    members: heapless::Vec<u16, NAMES>,
    /// Their classes.
    classes: heapless::Vec<u32, NAMES>,
    /// Whether another thing of its name covers a part of it, or it one of the other: then its box and its look may be half another's.
    hidden: bool,
    /// The other one of its name that covers the most of it, if one touches it.
    cover: Option<BBox>,
    /// The track that it was given.
    track: Option<u16>,
}

/// A track that goes on with a place that scores low.
#[derive(Clone, Copy, Debug)]
struct Low {
    track: u16,
    place: u16,
    logit: f32,
}

/// Follows things from frame to frame.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tarsier::{geometry::{BBox, Size}, scene::{Detection, Report}, track::{Meaning, Settings, Tracker}};
///
/// let mut tracker = Tracker::new(Settings { hits: 2, ..Settings::default() });
/// let mut report = Report::new(0, SystemTime::now(), Size::new(640, 480));
/// for (x, id) in [(100.0, 0), (104.0, 1), (108.0, 1)] {
///     report.detections.clear();
///     report.detections.extend([Detection {
///         bbox: BBox::new(x, 50.0, x + 60.0, 200.0), score: 0.8, logit: 1.386, prompt: 0, location: 0,
///     }]);
///     // capture times in nanoseconds; `()`: nothing is known but boxes and names
///     tracker.update(x as u64 * 10_000_000, &mut report, Meaning::default(), &());
///     assert_eq!(report.tracks, [id]);
/// }
/// ```
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    tracks: Vec<Track>,
    /// The look of each track, at its index.
    looks: Looks,
    next_id: u32,
    /// The capture time of the last frame, and its size.
    last: Option<(u64, Size)>,

    things: Vec<Thing>,
    /// The look of each thing.
    seen: Looks,
    /// Of each detection: its thing; one that there is not, if there were too many.
    thing_of: Vec<u16>,
    pairs: Pairs,
    lows: Vec<Low>,
    /// Of this frame: what tracks continue, and which.
    continued: Vec<(Detection, u16)>,
}

impl Tracker {
    /// A tracker that follows nothing yet. Ids begin with 1.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tracks: Vec::with_capacity(MAX_TRACKS),
            looks: Looks::new(MAX_TRACKS),
            next_id: 1,
            last: None,
            things: Vec::with_capacity(MAX_THINGS),
            seen: Looks::new(MAX_THINGS),
            thing_of: Vec::with_capacity(MAX_DETECTIONS),
            pairs: Pairs::new(4 * MAX_TRACKS),
            lows: Vec::with_capacity(MAX_TRACKS),
            continued: Vec::with_capacity(MAX_TRACKS),
        }
    }

    /// Other settings from now on.
    pub const fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Forgets everything but which ids were given: they do not come again.
    pub fn clear(&mut self) {
        self.tracks.clear();
        self.last = None;
    }

    /// Looks are of another kind from now on; tracks go on by place.
    pub fn forget_looks(&mut self) {
        (0..MAX_TRACKS).for_each(|slot| self.looks.forget(slot));
    }

    /// The prompts have other indices from now on: `new` says which, none for one that is gone. A track without a name that is left
    /// is forgotten.
    pub fn rename(&mut self, meaning: Meaning<'_>, mut new: impl FnMut(u32) -> Option<u32>) {
        for track in &mut self.tracks {
            track.names.rename(&mut new, |prompt| meaning.class(prompt));
        }
        self.bury(|track| track.names.is_empty());
    }

    /// How many things are followed, those that are not seen now and those without an id included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether nothing is followed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Takes a frame's report and fills its `tracks` and `smoothed`; its detections stay what they are, and behind them come those that
    /// tracks continue, as far as there is room.
    ///
    /// `captured_ns` is when the frame was captured; a time before the last one's counts as the same time. A frame of
    /// another size ends all tracks.
    pub fn update<E: Evidence>(
        &mut self,
        captured_ns: u64,
        report: &mut Report,
        meaning: Meaning<'_>,
        evidence: &E,
    ) {
        self.begin(captured_ns, report.size);
        self.gather(report, meaning, evidence);
        self.pair_by_place(|track| track.id != 0);
        self.pair_by_place(|track| track.id == 0);
        self.pair_low(report, meaning, evidence);
        self.pair_by_look();
        self.learn(report, meaning, evidence);
        self.bear(report, meaning);
        self.tell(report, meaning, evidence);
    }

    /// Time passes: tracks move, and some are forgotten.
    fn begin(&mut self, captured_ns: u64, size: Size) {
        let (last, size_before) = self.last.unwrap_or((captured_ns, size));
        if size != size_before {
            self.tracks.clear();
        }
        self.last = Some((captured_ns, size));
        let passed = captured_ns.saturating_sub(last);
        let dt = passed as f32 * 1e-9;
        let lost = ns(self.settings.lost_s);
        let patience = |track: &Track| match track.id {
            0 => ns(DOUBTFUL_S).min(lost),
            _ => lost,
        };
        // a frame that comes late is no reason to forget: what was seen in the last one is compared with this one in any case
        self.bury(|t| t.unseen_ns > 0 && t.unseen_ns.saturating_add(passed) > patience(t));
        self.bury(|track| passed > patience(track).max(ns(1.0)));
        for track in &mut self.tracks {
            track.motion.predict(dt, track.unseen);
            track.unseen += dt;
            track.unseen_ns = track.unseen_ns.saturating_add(passed);
            track.bbox = track.motion.bbox();
            track.taken = false;
        }
    }

    fn bury(&mut self, dead: impl Fn(&Track) -> bool) {
        let mut i = 0;
        while i < self.tracks.len() {
            if dead(&self.tracks[i]) {
                let last = self.tracks.len() - 1;
                self.looks.copy(last, i);
                self.tracks.swap_remove(i);
            } else {
                i += 1;
            }
        }
    }

    /// Tracks take over what was seen of them.
    fn learn<E: Evidence>(&mut self, report: &mut Report, meaning: Meaning<'_>, evidence: &E) {
        for i in 0..self.things.len() {
            let Some(t) = self.things[i].track.map(usize::from) else {
                continue;
            };
            let track = &mut self.tracks[t];
            track.hits = track.hits.saturating_add(1);
            let share = share(track);
            let hidden = self.things[i].hidden;
            let whole = completed(&self.things[i].bbox, &track.bbox, self.things[i].cover);
            track.motion.correct(&whole, hidden);
            track.bbox = self.things[i].bbox;
            (track.unseen, track.unseen_ns) = (0.0, 0);
            track.names.begin();
            for &member in &self.things[i].members {
                let d = &report.detections[usize::from(member)];
                let doubt = 0.5 * odds::score(meaning.threshold(d.prompt));
                let class = meaning.class(d.prompt);
                track.names.see(class, d.prompt, d.score, doubt, share);
            }
            track
                .names
                .end(share, |prompt| 0.5 * odds::score(meaning.threshold(prompt)));
            if !hidden {
                self.looks.follow(t, self.seen.get(i));
            }
            if track.id == 0 && track.hits >= self.settings.hits {
                track.id = self.next_id;
                self.next_id = self.next_id.saturating_add(1);
            }
        }
        for low in &self.lows {
            let place = evidence.place(low.place.into());
            let score = odds::score(low.logit);
            let track = &mut self.tracks[usize::from(low.track)];
            let share = share(track);
            // what scores low is often hidden in part
            track.motion.correct(&place.bbox, true);
            track.bbox = place.bbox;
            (track.unseen, track.unseen_ns) = (0.0, 0);
            if let Some(name) = track.names.best() {
                track.names.begin();
                track
                    .names
                    .see(name.class, name.prompt, score, score, share);
            }
        }
    }

    /// Things that no track wanted become tracks.
    fn bear(&mut self, report: &Report, meaning: Meaning<'_>) {
        for i in 0..self.things.len() {
            if self.things[i].track.is_some() {
                continue;
            }
            let Some(slot) = self.room() else { return };
            let bbox = self.things[i].bbox;
            let mut names = Names::default();
            for &member in &self.things[i].members {
                let d = &report.detections[usize::from(member)];
                names.see(meaning.class(d.prompt), d.prompt, d.score, d.score, 1.0);
            }
            let id = if self.settings.hits <= 1 {
                self.next_id = self.next_id.saturating_add(1);
                self.next_id - 1
            } else {
                0
            };
            let track = Track {
                id,
                motion: Motion::new(&bbox),
                bbox,
                unseen: 0.0,
                unseen_ns: 0,
                hits: 1,
                names,
                taken: true,
            };
            if slot == self.tracks.len() {
                self.tracks.push(track);
            } else {
                self.tracks[slot] = track;
            }
            self.looks.forget(slot);
            self.looks.follow(slot, self.seen.get(i));
            self.things[i].track = Some(slot as u16);
        }
    }

    /// Where a new track goes: behind the others, or in the place of the one that was not seen for the longest time.
    fn room(&self) -> Option<usize> {
        if self.tracks.len() < MAX_TRACKS {
            return Some(self.tracks.len());
        }
        let unseen = self.tracks.iter().enumerate().filter(|(_, t)| !t.taken);
        let longest = unseen.max_by(|(_, a), (_, b)| a.unseen.total_cmp(&b.unseen));
        longest.map(|(slot, _)| slot)
    }

    /// What tracks say of the report's detections, and what they continue.
    fn tell<E: Evidence>(&mut self, report: &mut Report, meaning: Meaning<'_>, evidence: &E) {
        report.tracks.clear();
        report.smoothed.clear();
        for (detection, &of) in report.detections.iter().zip(&self.thing_of) {
            let thing = self.things.get(usize::from(of));
            let track = thing.and_then(|thing| thing.track);
            let track = track.map(|t| &self.tracks[usize::from(t)]);
            let track = track.filter(|track| track.id != 0);
            let class = meaning.class(detection.prompt);
            let name = track.and_then(|track| track.names.of(class));
            report.tracks.push(track.map_or(0, |track| track.id));
            report.smoothed.push(Smoothed {
                score: name.map_or(0.0, |name| name.score),
                continued: false,
            });
        }
        self.go_on(report, meaning, evidence);
        for (detection, track) in &self.continued {
            if report.detections.len() == MAX_DETECTIONS {
                report.dropped = report.dropped.saturating_add(1);
                continue;
            }
            let track = &self.tracks[usize::from(*track)];
            report.detections.push(*detection);
            report.tracks.push(track.id);
            report.smoothed.push(Smoothed {
                score: track.names.best().map_or(0.0, |name| name.score),
                continued: true,
            });
        }
    }

    /// Finds what tracks continue: their best names, where this frame has them no more than at a low score.
    fn go_on<E: Evidence>(&mut self, report: &Report, meaning: Meaning<'_>, evidence: &E) {
        self.continued.clear();
        for low in &self.lows {
            let Place { location, bbox } = evidence.place(low.place.into());
            let track = &self.tracks[usize::from(low.track)];
            let best = track.names.best().filter(|_| !bbox.is_empty());
            if let Some(name) = best.filter(|name| lasts(name, meaning)) {
                let detection = Detection {
                    bbox,
                    score: odds::score(low.logit),
                    logit: low.logit,
                    prompt: name.prompt,
                    location,
                };
                self.continued.push((detection, low.track));
            }
        }
        for thing in &self.things {
            let Some(t) = thing.track else { continue };
            let track = &self.tracks[usize::from(t)];
            let best = track.names.best().filter(|_| track.id != 0);
            let Some(name) = best.filter(|name| !name.seen && lasts(name, meaning)) else {
                continue;
            };
            let mut places = 0..evidence.places();
            let place = places.find(|&i| evidence.place(i).location == thing.location);
            let twin = |(other, _): &(Detection, u16)| {
                meaning.class(other.prompt) == name.class
                    && other.bbox.iou(&thing.bbox) >= SUPPRESSED
            };
            let bbox = &thing.bbox;
            if suppressed(report, meaning, name.class, bbox) || self.continued.iter().any(twin) {
                continue;
            }
            if let Some(place) = place {
                let logit = evidence.logit(place, name.prompt);
                let detection = Detection {
                    bbox: thing.bbox,
                    score: odds::score(logit),
                    logit,
                    prompt: name.prompt,
                    location: thing.location,
                };
                self.continued.push((detection, t));
            }
        }
        self.continued.sort_unstable_by(|(a, _), (b, _)| {
            (b.logit.total_cmp(&a.logit))
                .then(a.location.cmp(&b.location))
                .then(a.prompt.cmp(&b.prompt))
        });
    }
}

/// Whether a name's smoothed score is enough to report it.
fn lasts(name: &Name, meaning: Meaning<'_>) -> bool {
    odds::logit(name.score) >= meaning.threshold(name.prompt)
}

/// How much of what is seen now goes into a smoothed score: an average at first, later half a second's worth.
fn share(track: &Track) -> f32 {
    let time = track.unseen / (0.5 + track.unseen);
    time.max(1.0 / track.hits.max(1) as f32)
}

#[cfg(test)]
mod tests;
