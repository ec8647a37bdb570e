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
//! | `motion` | where a track's box will be at the time of the frame |
//! | `look` | embeddings, and how alike they are |
//! | `pairs` | who goes with whom |
//! | `names` | what a track is called, and how surely |
//!
//! The rounds are those of ByteTrack (Zhang et al., arXiv:2110.06864): first what was found surely, then, for tracks that found nothing,
//! what scored low. The low ones are not detections below another threshold: they are the places that the head proposed, scored for
//! the one name that the track has. So nothing that is reported without tracking changes, and thousands of names cost no more
//! than one. A place that a detection of that name suppresses is none.
//!
//! **Time** is the capture's, not the count of frames: a slow board and a fast one follow alike, and a pause is a long time.
//! **Names.** Detections of different names at one place are one thing and have one id. A track knows its last names with smoothed
//! scores: those are reported. Where a name is missing in one frame and another one stands in its place, the better smoothed one is reported.
//! **Deterministic**: the same frames at the same times give the same ids, on every board. Every buffer is made in [`Tracker::new`] or with
//! the first frame.

use crate::{
    geometry::{BBox, Size},
    odds,
    scene::{Detection, MAX_DETECTIONS, Report},
};

mod look;
mod motion;
mod names;
mod pairs;

use look::{Looks, dot};
use motion::Motion;
use names::Names;
use pairs::Pairs;

/// How many tracks are followed at once, those that are not seen at the moment included.
pub const MAX_TRACKS: usize = 512;

/// How far below a name's threshold a place may score to go on with a track of that name, in log odds: 0.3 becomes 0.09.
const LOW: f32 = 1.5;
/// Overlap from which two boxes of different names are one thing.
const SAME: f32 = 0.8;
/// By how much of its size a box is widened on each side before two are compared, so that small things may jump …
const WIDER: f32 = 0.15;
/// … and how much more for each second in which the track was not seen, up to a second and a half.
const WIDER_UNSEEN: f32 = 0.4;
/// Least overlap of the widened boxes.
const NEAR: f32 = 0.12;
/// Least overlap with a place that scores low.
const NEAR_LOW: f32 = 0.4;
/// Overlap from which a detection of a name suppresses a place for that name.
const SUPPRESSED: f32 = 0.6;
/// Cosine below which two do not look alike. With the default pack a person has 0.95 to 1 with the same person in another frame, less where half
/// hidden, and 0.85 to 0.9 with another one.
const UNLIKE: f32 = 0.75;
/// Cosine from which something that comes back elsewhere is the same.
const ALIKE: f32 = 0.93;
/// Share of the look in an affinity.
const LOOK: f32 = 0.4;
/// What is left of an affinity where no name is shared: "bowl" may be the "cup" of before, if it is just there.
const OTHER_NAME: f32 = 0.5;
/// Share of a box that another one must cover to hide it.
const HIDDEN: f32 = 0.3;
/// Names of one thing that count, the best ones.
const MEMBERS: usize = 8;
/// Seconds for which a track without an id is remembered.
const DOUBTFUL_S: f32 = 0.25;

/// What a user can choose about tracking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// In how many frames something must have been found before it has an id, from 1.
    pub hits: u32,
    /// For how many seconds something that is not seen keeps its id.
    pub lost_s: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hits: 3,
            lost_s: 2.0,
        }
    }
}

/// A place that the head proposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Its location in the head, as in [`Detection::location`].
    pub location: u32,
    /// Where, in frame space and clipped to the frame.
    pub bbox: BBox,
}

/// What else is known of a frame, beside its report. `()` knows nothing: then boxes and names alone decide.
pub trait Evidence {
    /// Values of an embedding; 0 where there are none.
    fn dimension(&self) -> usize;
    /// Writes the embedding of a location, of any length but nothing; false if it is not known.
    fn look(&self, location: u32, values: &mut [f32]) -> bool;
    /// How many places were proposed.
    fn places(&self) -> usize;
    /// One of them.
    fn place(&self, index: usize) -> Place;
    /// Its log odds for a prompt.
    fn logit(&self, index: usize, prompt: u32) -> f32;
}

impl Evidence for () {
    fn dimension(&self) -> usize {
        0
    }
    fn look(&self, _: u32, _: &mut [f32]) -> bool {
        false
    }
    fn places(&self) -> usize {
        0
    }
    fn place(&self, _: usize) -> Place {
        Place {
            location: 0,
            bbox: BBox::default(),
        }
    }
    fn logit(&self, _: usize, _: u32) -> f32 {
        f32::NEG_INFINITY
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
    members: heapless::Vec<u16, MEMBERS>,
    /// Their classes.
    classes: heapless::Vec<u32, MEMBERS>,
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
    score: f32,
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
    /// Of each detection: its thing.
    thing_of: heapless::Vec<u16, MAX_DETECTIONS>,
    pairs: Pairs,
    lows: Vec<Low>,
    sorted: Vec<(Detection, u32)>,
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
            things: Vec::with_capacity(MAX_DETECTIONS),
            seen: Looks::new(MAX_DETECTIONS),
            thing_of: heapless::Vec::new(),
            pairs: Pairs::new(4 * MAX_TRACKS),
            lows: Vec::with_capacity(MAX_TRACKS),
            sorted: Vec::with_capacity(MAX_DETECTIONS),
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

    /// Takes a frame's report and fills its `tracks`; scores, names and order of its detections are then those of the tracks, and
    /// detections that a track went on with are added.
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
        let dt = captured_ns.saturating_sub(last) as f32 * 1e-9;
        let lost_s = self.settings.lost_s;
        let patience = |track: &Track| match track.id {
            0 => DOUBTFUL_S.min(lost_s),
            _ => lost_s,
        };
        // a frame that comes late is no reason to forget: what was seen in the last one is compared with this one in any case
        self.bury(|track| track.unseen > 0.0 && track.unseen + dt > patience(track));
        self.bury(|track| dt > patience(track).max(1.0));
        for track in &mut self.tracks {
            track.motion.predict(dt, track.unseen);
            track.unseen += dt;
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

    /// Detections of one place become one thing.
    fn gather<E: Evidence>(&mut self, report: &Report, meaning: Meaning<'_>, evidence: &E) {
        self.things.clear();
        self.thing_of.clear();
        self.looks.fit(evidence.dimension());
        self.seen.fit(evidence.dimension());
        let found = &report.detections;
        for (i, detection) in found.iter().enumerate() {
            let class = meaning.class(detection.prompt);
            let same = self.things.iter().position(|thing| {
                touch(&thing.bbox, &detection.bbox)
                    && if thing.location == detection.location {
                        thing.bbox == detection.bbox
                    } else {
                        thing.classes.first() != Some(&class)
                            && thing.bbox.iou(&detection.bbox) >= SAME
                    }
            });
            let thing = same.unwrap_or_else(|| {
                let slot = self.things.len();
                self.things.push(Thing {
                    bbox: detection.bbox,
                    location: detection.location,
                    members: heapless::Vec::new(),
                    classes: heapless::Vec::new(),
                    hidden: false,
                    cover: None,
                    track: None,
                });
                self.seen
                    .put(slot, |values| evidence.look(detection.location, values));
                slot
            });
            // they come best first; what has no room does not count
            let _ = self.things[thing].members.push(i as u16);
            let _ = self.things[thing].classes.push(class);
            let room = self.thing_of.push(thing as u16);
            debug_assert!(room.is_ok(), "one for each detection");
        }
        for i in 0..self.things.len() {
            let (bbox, mut most) = (self.things[i].bbox, 0.0);
            for j in 0..self.things.len() {
                let (thing, other) = (&self.things[i], &self.things[j]);
                if i == j
                    || !touch(&bbox, &other.bbox)
                    || thing.classes.first() != other.classes.first()
                {
                    continue;
                }
                let both = shared(&bbox, &other.bbox);
                if both > most {
                    most = both;
                    self.things[i].cover = Some(other.bbox);
                }
            }
            self.things[i].hidden = most >= HIDDEN * bbox.area();
        }
    }

    /// Whether a thing and a track share a name.
    fn share_name(&self, thing: usize, track: usize) -> bool {
        let names = &self.tracks[track].names;
        let classes = &self.things[thing].classes;
        classes.iter().any(|&class| names.has(class))
    }

    /// Tracks of one kind with the things that are near to where they should be.
    fn pair_by_place(&mut self, kind: impl Fn(&Track) -> bool) {
        self.pairs.clear();
        for (t, track) in self.tracks.iter().enumerate() {
            if track.taken || !kind(track) {
                continue;
            }
            let wider = WIDER + WIDER_UNSEEN * track.unseen.min(1.5);
            let place = widened(&track.bbox, wider);
            for (i, thing) in self.things.iter().enumerate() {
                if thing.track.is_some() {
                    continue;
                }
                let thing_place = widened(&thing.bbox, wider);
                if !touch(&place, &thing_place) {
                    continue;
                }
                let near = place.iou(&thing_place);
                if near < NEAR {
                    continue;
                }
                let mut affinity = near;
                if let (Some(a), Some(b)) = (self.looks.get(t), self.seen.get(i)) {
                    let alike = dot(a, b);
                    if alike < UNLIKE && near < 0.5 {
                        continue;
                    }
                    let alike = ((alike - UNLIKE) / (1.0 - UNLIKE)).max(0.0);
                    affinity = (1.0 - LOOK) * near + LOOK * alike;
                }
                if !self.share_name(i, t) {
                    if near < 0.5 {
                        continue;
                    }
                    affinity *= OTHER_NAME;
                }
                // squared: two poor pairs must not outweigh a good one whose rival is out of reach of all
                self.pairs.offer(t, i, affinity * affinity);
            }
        }
        self.take_pairs();
    }

    fn take_pairs(&mut self) {
        let (tracks, things) = (&mut self.tracks, &mut self.things);
        self.pairs.choose(|t, i| {
            tracks[t].taken = true;
            things[i].track = Some(t as u16);
        });
    }

    /// Tracks that were seen lately and found nothing, with places that score too low to be reported.
    fn pair_low<E: Evidence>(&mut self, report: &Report, meaning: Meaning<'_>, evidence: &E) {
        self.lows.clear();
        if evidence.places() == 0 {
            return;
        }
        self.pairs.clear();
        for (t, track) in self.tracks.iter().enumerate() {
            if track.taken || track.id == 0 {
                continue;
            }
            let Some(name) = track.names.best() else {
                continue;
            };
            // the nearest places alone are scored
            let mut nearest = [(0.0f32, usize::MAX); 3];
            for i in 0..evidence.places() {
                let place = evidence.place(i).bbox;
                if !touch(&track.bbox, &place) {
                    continue;
                }
                let near = track.bbox.iou(&place);
                if near >= NEAR_LOW && near > nearest[2].0 {
                    nearest[2] = (near, i);
                    nearest.sort_by(|a, b| b.0.total_cmp(&a.0));
                }
            }
            for (near, i) in nearest {
                if i == usize::MAX {
                    continue;
                }
                let place = evidence.place(i).bbox;
                let suppressed = (report.detections.iter()).any(|d| {
                    touch(&d.bbox, &place)
                        && meaning.class(d.prompt) == name.class
                        && d.bbox.iou(&place) >= SUPPRESSED
                });
                if suppressed {
                    continue;
                }
                let logit = evidence.logit(i, name.prompt);
                if logit >= meaning.threshold(name.prompt) - LOW {
                    self.pairs.offer(t, i, near);
                    break;
                }
            }
        }
        let (tracks, lows) = (
            std::cell::RefCell::new(&mut self.tracks),
            std::cell::RefCell::new(&mut self.lows),
        );
        self.pairs.choose_greedily(
            |t, i| {
                let place = evidence.place(i).bbox;
                let free = |low: &Low| {
                    let other = evidence.place(low.place.into()).bbox;
                    !touch(&other, &place) || other.iou(&place) < SUPPRESSED
                };
                !tracks.borrow()[t].taken && lows.borrow().iter().all(free)
            },
            |t, i| {
                let track = &mut tracks.borrow_mut()[t];
                track.taken = true;
                let prompt = track.names.best().map_or(0, |name| name.prompt);
                lows.borrow_mut().push(Low {
                    track: t as u16,
                    place: i as u16,
                    score: odds::score(evidence.logit(i, prompt)),
                });
            },
        );
    }

    /// Tracks that were not seen for a while, with things elsewhere that look just like them.
    fn pair_by_look(&mut self) {
        self.pairs.clear();
        for (t, track) in self.tracks.iter().enumerate() {
            if track.taken || track.id == 0 {
                continue;
            }
            let Some(look) = self.looks.get(t) else {
                continue;
            };
            for (i, thing) in self.things.iter().enumerate() {
                if thing.track.is_some() || !reachable(track, &thing.bbox) {
                    continue;
                }
                let alike = self.seen.get(i).map_or(0.0, |seen| dot(look, seen));
                if alike >= ALIKE && self.share_name(i, t) {
                    self.pairs.offer(t, i, alike);
                }
            }
        }
        self.take_pairs();
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
            track.unseen = 0.0;
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
            let track = &mut self.tracks[usize::from(low.track)];
            let share = share(track);
            // what scores low is often hidden in part
            track.motion.correct(&place.bbox, true);
            track.bbox = place.bbox;
            track.unseen = 0.0;
            if let Some(name) = track.names.best() {
                track.names.begin();
                track
                    .names
                    .see(name.class, name.prompt, low.score, low.score, share);
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

    /// The report as the tracks have it.
    fn tell<E: Evidence>(&mut self, report: &mut Report, meaning: Meaning<'_>, evidence: &E) {
        self.sorted.clear();
        for (i, detection) in report.detections.iter().enumerate() {
            let (mut detection, of) = (*detection, usize::from(self.thing_of[i]));
            let thing = &self.things[of];
            let track = thing.track.map(|t| &self.tracks[usize::from(t)]);
            let id = track.map_or(0, |track| track.id);
            if let (Some(track), true) = (track, id != 0) {
                let own = track.names.of(meaning.class(detection.prompt));
                let best = track.names.best();
                // another name stands for the best one, which this frame does not have
                let renamed = best.filter(|best| {
                    thing.members.first() == Some(&(i as u16))
                        && !best.seen
                        && own.is_none_or(|o| o.score < best.score)
                });
                let reported = renamed.or(own).filter(|name| {
                    name.score != detection.score
                        && odds::logit(name.score) >= meaning.threshold(name.prompt)
                });
                if let Some(name) = reported {
                    (detection.prompt, detection.score) = (name.prompt, name.score);
                    detection.logit = odds::logit(name.score);
                }
            }
            self.sorted.push((detection, id));
        }
        for low in &self.lows {
            let track = &self.tracks[usize::from(low.track)];
            let Some(name) = track.names.best() else {
                continue;
            };
            let logit = odds::logit(name.score);
            let Place { location, bbox } = evidence.place(low.place.into());
            if logit < meaning.threshold(name.prompt) || bbox.is_empty() {
                continue;
            }
            if self.sorted.len() == MAX_DETECTIONS {
                report.dropped = report.dropped.saturating_add(1);
                continue;
            }
            let (score, prompt) = (name.score, name.prompt);
            let detection = Detection {
                bbox,
                score,
                logit,
                prompt,
                location,
            };
            self.sorted.push((detection, track.id));
        }
        self.sorted.sort_unstable_by(|(a, _), (b, _)| {
            (b.logit.total_cmp(&a.logit))
                .then(a.location.cmp(&b.location))
                .then(a.prompt.cmp(&b.prompt))
        });
        report.detections.clear();
        report.tracks.clear();
        for (detection, id) in &self.sorted {
            // as many as there is room for were sorted
            let _ = report.detections.push(*detection);
            let _ = report.tracks.push(*id);
        }
    }
}

/// How much of what is seen now goes into a smoothed score: an average at first, later half a second's worth.
fn share(track: &Track) -> f32 {
    let time = track.unseen / (0.5 + track.unseen);
    time.max(1.0 / track.hits.max(1) as f32)
}

/// A box with so much of its size more on every side.
fn widened(bbox: &BBox, by: f32) -> BBox {
    let (w, h) = (bbox.width() * by, bbox.height() * by);
    BBox::new(bbox.x0 - w, bbox.y0 - h, bbox.x1 + w, bbox.y1 + h)
}

/// A box with those of its sides that lie in what may cover it where they were expected, if that is farther out: a box ends there because
/// the other one begins.
fn completed(seen: &BBox, expected: &BBox, cover: Option<BBox>) -> BBox {
    let Some(cover) = cover else { return *seen };
    let across = |side: f32| cover.x0 < side && side < cover.x1;
    let down = |side: f32| cover.y0 < side && side < cover.y1;
    let less = |side: f32, expected: f32, covered| if covered { side.min(expected) } else { side };
    let more = |side: f32, expected: f32, covered| if covered { side.max(expected) } else { side };
    // one above the other hides rows, one beside the other columns
    let beside = across(seen.x0) != across(seen.x1);
    BBox {
        x0: less(seen.x0, expected.x0, across(seen.x0)),
        y0: less(seen.y0, expected.y0, !beside && down(seen.y0)),
        x1: more(seen.x1, expected.x1, across(seen.x1)),
        y1: more(seen.y1, expected.y1, !beside && down(seen.y1)),
    }
}

/// What two boxes share, in square pixels.
fn shared(a: &BBox, b: &BBox) -> f32 {
    let (width, height) = (
        a.x1.min(b.x1) - a.x0.max(b.x0),
        a.y1.min(b.y1) - a.y0.max(b.y0),
    );
    width.max(0.0) * height.max(0.0)
}

/// Whether two boxes overlap at all: most do not, and this is a quarter of the work of saying how much.
fn touch(a: &BBox, b: &BBox) -> bool {
    a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1
}

/// Whether a track can have come there in the time in which it was not seen.
fn reachable(track: &Track, bbox: &BBox) -> bool {
    let size = 0.5 * (track.bbox.width() + track.bbox.height());
    let ((x, y), (to_x, to_y)) = (track.bbox.center(), bbox.center());
    let reach = size * (1.0 + 3.0 * track.unseen);
    let ratio = track.bbox.area() / bbox.area();
    (to_x - x).abs() <= reach && (to_y - y).abs() <= reach && (0.33..3.0).contains(&ratio)
}

#[cfg(test)]
mod tests;
