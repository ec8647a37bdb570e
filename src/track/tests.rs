use super::*;
use std::time::SystemTime;

const SIZE: Size = Size::new(640, 480);

/// A tracker, its clock, and what the last frame had.
struct World {
    tracker: Tracker,
    report: Report,
    ns: u64,
    evidence: Fake,
}

/// Looks by location, and places with their log odds for every prompt.
#[derive(Default)]
struct Fake {
    looks: Vec<(u32, [f32; 4])>,
    places: Vec<(BBox, f32)>,
}

impl Evidence for Fake {
    fn dimension(&self) -> usize {
        4
    }
    fn look(&self, location: u32, values: &mut [f32]) -> bool {
        let look = self.looks.iter().find(|(of, _)| *of == location);
        if let Some((_, look)) = look {
            values.copy_from_slice(look);
        }
        look.is_some()
    }
    fn places(&self) -> usize {
        self.places.len()
    }
    fn place(&self, index: usize) -> Place {
        Place {
            location: 9000 + index as u32,
            bbox: self.places[index].0,
        }
    }
    fn logit(&self, index: usize, _: u32) -> f32 {
        self.places[index].1
    }
}

fn at(x: f32, y: f32) -> BBox {
    BBox::new(x, y, x + 40.0, y + 80.0)
}

/// All thresholds are a score of 0.3.
const THRESHOLDS: [f32; 4] = [-0.847_298; 4];

impl World {
    fn new() -> Self {
        Self {
            tracker: Tracker::new(Settings::default()),
            report: Report::new(0, SystemTime::UNIX_EPOCH, SIZE),
            ns: 1_000_000_000,
            evidence: Fake::default(),
        }
    }

    /// A frame so many seconds later; detections are (box, score, prompt, location). The ids, in the order of the detections given.
    fn frame(&mut self, seconds: f64, found: &[(BBox, f32, u32, u32)]) -> Vec<u32> {
        self.ns += (seconds * 1e9) as u64;
        self.look(found)
    }

    fn look(&mut self, found: &[(BBox, f32, u32, u32)]) -> Vec<u32> {
        let detections = found
            .iter()
            .map(|&(bbox, score, prompt, location)| Detection {
                bbox,
                score,
                logit: odds::logit(score),
                prompt,
                location,
            });
        self.report.detections = detections.collect();
        let meaning = Meaning {
            classes: &[],
            thresholds: &THRESHOLDS,
        };
        self.tracker
            .update(self.ns, &mut self.report, meaning, &self.evidence);
        assert_eq!(self.report.tracks.len(), self.report.detections.len());
        assert_eq!(self.report.smoothed.len(), self.report.detections.len());
        let own = |d: &Detection| (d.bbox, d.score, d.prompt, d.location);
        let reported: Vec<_> = self.report.detections.iter().map(own).collect();
        assert_eq!(reported[..found.len()], *found, "what was found stays");
        let marked = (0..reported.len()).map(|i| self.report.continued(i));
        assert!(marked.eq((0..reported.len()).map(|i| i >= found.len())));
        let continued = &self.report.detections[found.len()..];
        assert!(
            continued.is_sorted_by(|a, b| a.logit >= b.logit),
            "best first"
        );
        let id = |bbox: &BBox| {
            let i = self.report.detections.iter().position(|d| d.bbox == *bbox);
            self.report.tracks[i.expect("every detection is reported")]
        };
        found.iter().map(|(bbox, ..)| id(bbox)).collect()
    }

    /// Frames of one thing that stands still until it has an id.
    fn known(&mut self, x: f32) -> u32 {
        let mut id = 0;
        for _ in 0..Settings::default().hits {
            id = self.frame(0.05, &[(at(x, 100.0), 0.8, 0, 1)])[0];
        }
        assert_ne!(id, 0);
        id
    }
}

#[test]
fn an_id_waits_for_as_many_frames_as_its_seconds_say_whatever_their_digits() {
    for (lost_s, kept) in [(0.3, 3), (0.7, 7), (1.1, 11)] {
        for (gap, stays) in [(kept, true), (kept + 1, false)] {
            let mut world = World::new();
            world.tracker.set(Settings {
                lost_s,
                ..Settings::default()
            });
            let id = world.known(100.0);
            (1..gap).for_each(|_| drop(world.frame(0.1, &[])));
            let seen = world.frame(0.1, &[(at(100.0, 100.0), 0.8, 0, 1)]);
            assert_eq!(seen[0] == id, stays, "{lost_s} s, {gap} frames");
        }
    }
}

#[test]
fn an_id_is_given_after_some_hits_and_stays() {
    let mut world = World::new();
    let ids: Vec<u32> = (0..20)
        .map(|i| world.frame(0.05, &[(at(5.0 * i as f32, 100.0), 0.8, 0, 1)])[0])
        .collect();
    assert_eq!(ids[..2], [0, 0]);
    assert!(ids[2..].iter().all(|&id| id == 1), "{ids:?}");
    // a thing that is new has a new one, also where another one left
    let other = at(400.0, 100.0);
    let ids: Vec<u32> = (0..3)
        .map(|_| world.frame(0.05, &[(other, 0.8, 0, 1)])[0])
        .collect();
    assert_eq!(ids, [0, 0, 2]);
}

#[test]
fn a_false_alarm_has_no_id_and_is_forgotten() {
    let mut world = World::new();
    for i in 0..50 {
        let x = [0.0, 300.0, 150.0, 450.0][i % 4];
        assert_eq!(world.frame(0.2, &[(at(x, 200.0), 0.4, 0, 1)]), [0]);
    }
    assert!(world.tracker.len() < 5, "{}", world.tracker.len());
}

#[test]
fn a_gap_is_bridged_up_to_its_limit_and_an_id_never_comes_again() {
    for (gap, same) in [(0.3, true), (1.5, true), (2.5, false), (3600.0, false)] {
        let mut world = World::new();
        let id = world.known(100.0);
        world.frame(0.05, &[]);
        world.frame(gap, &[]);
        let ids: Vec<u32> = (0..3)
            .map(|_| world.frame(0.05, &[(at(102.0, 100.0), 0.8, 0, 1)])[0])
            .collect();
        assert_eq!(ids[2], if same { id } else { id + 1 }, "{gap} s");
    }
}

#[test]
fn a_gap_between_two_frames_is_bridged_too_and_so_are_slow_cameras() {
    let mut world = World::new();
    let ids: Vec<u32> = (0..6)
        .map(|i| world.frame(1.0, &[(at(100.0 + 3.0 * i as f32, 100.0), 0.8, 0, 1)])[0])
        .collect();
    assert_eq!(ids[2..], [1, 1, 1, 1]);
}

#[test]
fn two_that_cross_keep_their_ids() {
    // without looks, by their motion; with looks, also if they wait for one another
    for looks in [false, true] {
        let mut world = World::new();
        if looks {
            world.evidence.looks = vec![(1, [1.0, 0.1, 0.0, 0.2]), (2, [0.1, 1.0, 0.3, 0.0])];
        }
        let mut ids = Vec::new();
        for i in 0..60 {
            let x = if looks {
                // both slow down where they meet
                let t = i as f32 / 59.0 * 2.0 - 1.0;
                200.0 * t * t * t
            } else {
                200.0 * (i as f32 / 59.0 * 2.0 - 1.0)
            };
            let (a, b) = (
                (at(300.0 + x, 100.0), 0.8, 0, 1),
                (at(300.0 - x, 104.0), 0.7, 0, 2),
            );
            ids.push(world.frame(0.05, &[a, b]));
        }
        assert!(
            ids[2..].iter().all(|pair| *pair == [1, 2]),
            "{looks}: {ids:?}"
        );
    }
}

#[test]
fn what_is_hidden_for_a_while_is_known_again_by_its_look_and_another_is_not() {
    let mine = [1.0, 0.1, 0.0, 0.2];
    for (look, same) in [(mine, true), ([0.0, 0.2, 1.0, 0.3], false)] {
        let mut world = World::new();
        world.evidence.looks = vec![(1, mine), (2, look)];
        let id = world.known(100.0);
        for _ in 0..20 {
            world.frame(0.05, &[]);
        }
        // a box's width to the right, where nothing overlaps
        let ids: Vec<u32> = (0..3)
            .map(|_| world.frame(0.05, &[(at(190.0, 100.0), 0.8, 0, 2)])[0])
            .collect();
        assert_eq!(ids[2] == id, same, "{ids:?}");
    }
}

#[test]
fn a_low_score_goes_on_with_a_track_and_begins_none() {
    let mut world = World::new();
    let id = world.known(100.0);
    let low = odds::logit(0.15);
    world.evidence.places = vec![(at(101.0, 100.0), low), (at(400.0, 100.0), low)];
    world.frame(0.05, &[]);
    // reported, because its smoothed score still is enough; and where it is now
    assert_eq!(world.report.tracks, [id]);
    let d = world.report.detections[0];
    assert_eq!((d.bbox, d.location), (at(101.0, 100.0), 9000));
    // the frame's own score, and the smoothed one
    assert_eq!((d.logit, d.score), (low, odds::score(low)));
    let smoothed = world.report.smoothed_score(0).expect("it is followed");
    assert!(smoothed > 0.3 && smoothed < 0.8, "{smoothed}");
    assert!(world.report.continued(0));
    // after some time it is not, but the track lives on its places
    for _ in 0..200 {
        world.frame(0.05, &[]);
    }
    assert!(world.report.tracks.is_empty());
    assert_eq!(world.tracker.len(), 1);
    world.evidence.places.clear();
    let back = world.frame(0.05, &[(at(101.0, 100.0), 0.8, 0, 1)]);
    assert_eq!(back, [id]);
    // lower than that it does not count
    world.evidence.places = vec![(at(101.0, 100.0), odds::logit(0.05))];
    for _ in 0..60 {
        world.frame(0.05, &[]);
    }
    assert!(world.tracker.is_empty());
}

#[test]
fn a_place_that_a_detection_suppresses_is_nobodys() {
    let mut world = World::new();
    let id = world.known(100.0);
    // two tracks at nearly one place, and one detection
    world.evidence.places = vec![(at(104.0, 100.0), 2.0)];
    for _ in 0..5 {
        let ids = world.frame(0.05, &[(at(100.0, 100.0), 0.8, 0, 1)]);
        assert_eq!(ids, [id]);
        assert_eq!(world.report.detections.len(), 1);
    }
}

#[test]
fn names_of_one_place_have_one_id_and_scores_are_smoothed() {
    let mut world = World::new();
    for i in 0..40 {
        let score = if i % 2 == 0 { 0.9 } else { 0.5 };
        world.frame(
            0.05,
            &[
                (at(100.0, 100.0), score, 0, 1),
                (at(100.0, 100.0), 0.4, 1, 1),
            ],
        );
    }
    assert_eq!(world.report.tracks, [1, 1]);
    let scores: Vec<f32> = world.report.detections.iter().map(|d| d.score).collect();
    assert_eq!(scores, [0.5, 0.4], "of the frame alone");
    let smoothed: Vec<f32> = world.report.smoothed.iter().map(|s| s.score).collect();
    assert!((smoothed[0] - 0.7).abs() < 0.06, "{smoothed:?}");
    assert_eq!(
        smoothed[1], 0.4,
        "what stays the same is the same to the bit"
    );
}

#[test]
fn another_name_in_one_frame_is_reported_and_the_name_before_continued() {
    let mut world = World::new();
    let place = at(100.0, 100.0);
    for _ in 0..10 {
        world.frame(0.05, &[(place, 0.6, 0, 9000)]);
    }
    let low = odds::logit(0.2);
    world.evidence.places = vec![(place, low)];
    assert_eq!(world.frame(0.05, &[(place, 0.7, 1, 9000)]), [1]);
    // one thing, two names: that of the frame, and the one it had, with what the frame gives for it
    assert_eq!(world.report.tracks, [1, 1]);
    let before = world.report.detections[1];
    assert_eq!((before.prompt, before.logit), (0, low));
    assert_eq!((before.bbox, before.location), (place, 9000));
    let smoothed = [0, 1].map(|i| world.report.smoothed_score(i).expect("followed"));
    assert!(
        smoothed[1] > 0.3 && smoothed[1] > smoothed[0],
        "{smoothed:?}"
    );
    // a place that is not known, or where a detection of that name is near, has nothing to continue
    world.evidence.places.clear();
    world.frame(0.05, &[(place, 0.7, 1, 9000)]);
    assert_eq!(world.report.detections.len(), 1);
    world.evidence.places = vec![(place, low)];
    for _ in 0..40 {
        world.frame(0.05, &[(place, 0.7, 1, 9000)]);
    }
    assert_eq!(world.report.detections.len(), 1, "it is one after all");
    assert_eq!(world.report.tracks, [1]);
}

#[test]
fn a_report_that_is_full_keeps_its_detections_and_counts_what_is_not_continued() {
    let mut world = World::new();
    world.known(100.0);
    world.evidence.places = vec![(at(101.0, 100.0), odds::logit(0.15))];
    let elsewhere = at(400.0, 300.0);
    let names = |count: usize| -> Vec<_> {
        let scored = (0..count).map(|i| (elsewhere, 0.9 - 1e-4 * i as f32, i as u32 + 4, 77));
        scored.collect()
    };
    world.frame(0.05, &names(MAX_DETECTIONS));
    assert_eq!(world.report.detections.len(), MAX_DETECTIONS);
    assert_eq!(world.report.dropped, 1);
    world.report.dropped = 0;
    world.frame(0.05, &names(MAX_DETECTIONS - 1));
    assert_eq!(world.report.detections.len(), MAX_DETECTIONS);
    assert!(world.report.continued(MAX_DETECTIONS - 1));
    assert_eq!(world.report.dropped, 0);
}

#[test]
fn tracks_keep_their_names_when_prompts_have_other_indices() {
    let mut world = World::new();
    let id = world.known(100.0);
    let meaning = Meaning::default();
    // prompt 0 is number 3 now
    world
        .tracker
        .rename(meaning, |prompt| (prompt == 0).then_some(3));
    assert_eq!(world.frame(0.05, &[(at(100.0, 100.0), 0.8, 3, 1)]), [id]);
    // and now it is gone
    world.tracker.rename(meaning, |_| None);
    assert!(world.tracker.is_empty());
}

#[test]
fn time_that_goes_back_stands_still_and_frames_of_another_size_are_another_world() {
    let mut world = World::new();
    let id = world.known(100.0);
    world.ns = 5;
    assert_eq!(world.look(&[(at(100.0, 100.0), 0.8, 0, 1)]), [id]);
    assert_eq!(world.frame(0.05, &[(at(100.0, 100.0), 0.8, 0, 1)]), [id]);
    world.report.size = Size::new(320, 240);
    assert_eq!(world.frame(0.05, &[(at(100.0, 100.0), 0.8, 0, 1)]), [0]);
}

#[test]
fn a_full_frame_and_more_tracks_than_there_is_room_for_are_survived() {
    let mut world = World::new();
    for frame in 0..6 {
        // small boxes side by side, other ones each two frames
        let found: Vec<_> = (0..2 * MAX_TRACKS)
            .map(|i| {
                let (x, y) = (
                    (i % 40) as f32 * 16.0,
                    (i / 40) as f32 * 16.0 + (frame / 2 * 8) as f32,
                );
                (
                    BBox::new(x, y, x + 6.0, y + 6.0),
                    0.8 - 0.0004 * i as f32,
                    0,
                    i as u32,
                )
            })
            .collect();
        world.frame(0.05, &found);
        assert_eq!(world.report.detections.len(), 2 * MAX_TRACKS);
        assert!(world.tracker.len() <= MAX_TRACKS);
    }
}

#[test]
fn the_same_frames_give_the_same_ids() {
    let run = || {
        let mut world = World::new();
        let mut state = 3u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u32 << 24) as f32
        };
        let mut all = Vec::new();
        for _ in 0..100 {
            let found: Vec<_> = (0..20)
                .map(|i| {
                    (
                        at(600.0 * next(), 300.0 * next()),
                        0.3 + 0.6 * next(),
                        i % 3,
                        i,
                    )
                })
                .collect();
            world.frame(0.03 + 0.1 * f64::from(next()), &found);
            all.extend(world.report.tracks.iter().copied());
        }
        all
    };
    assert_eq!(run(), run());
}
