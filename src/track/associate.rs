//! Which thing is which track: detections to things, and the rounds of pairs.

use super::{Evidence, Low, MAX_THINGS, Meaning, Thing, Track, Tracker, look::dot};
use crate::{geometry::BBox, scene::Report};

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
pub(super) const SUPPRESSED: f32 = 0.6;
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
impl Tracker {
    /// Detections of one place become one thing.
    pub(super) fn gather<E: Evidence>(
        &mut self,
        report: &Report,
        meaning: Meaning<'_>,
        evidence: &E,
    ) {
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
                if slot == MAX_THINGS {
                    return slot;
                }
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
            if let Some(thing) = self.things.get_mut(thing) {
                let _ = thing.members.push(i as u16);
                let _ = thing.classes.push(class);
            }
            self.thing_of.push(thing as u16);
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
    pub(super) fn pair_by_place(&mut self, kind: impl Fn(&Track) -> bool) {
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
    pub(super) fn pair_low<E: Evidence>(
        &mut self,
        report: &Report,
        meaning: Meaning<'_>,
        evidence: &E,
    ) {
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
                if suppressed(report, meaning, name.class, &place) {
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
                    logit: evidence.logit(i, prompt),
                });
            },
        );
    }

    /// Tracks that were not seen for a while, with things elsewhere that look just like them.
    pub(super) fn pair_by_look(&mut self) {
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
}

/// Whether a detection of a name takes that name from a place.
pub(super) fn suppressed(report: &Report, meaning: Meaning<'_>, class: u32, place: &BBox) -> bool {
    report.detections.iter().any(|d| {
        touch(&d.bbox, place) && meaning.class(d.prompt) == class && d.bbox.iou(place) >= SUPPRESSED
    })
}

/// A box with so much of its size more on every side.
fn widened(bbox: &BBox, by: f32) -> BBox {
    let (w, h) = (bbox.width() * by, bbox.height() * by);
    BBox::new(bbox.x0 - w, bbox.y0 - h, bbox.x1 + w, bbox.y1 + h)
}

/// A box with those of its sides that lie in what may cover it where they were expected, if that is farther out: a box ends there because
/// the other one begins.
pub(super) fn completed(seen: &BBox, expected: &BBox, cover: Option<BBox>) -> BBox {
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
