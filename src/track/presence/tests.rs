//! Sequences whose truth is known.

use super::*;
use PresenceState::{NotThere, There, Unsure};

const SETTINGS: Settings = Settings {
    bounds: Bounds {
        enter: 0.5,
        leave: 0.2,
    },
    frames: 3,
    dwell_s: 0.5,
    hold_s: 5.0,
};

/// A probability with a box, or without.
#[derive(Clone, Copy)]
struct Seen(f32, bool);

/// One name, watched: state and change of each frame.
fn watched(
    settings: Settings,
    frames: impl IntoIterator<Item = (f64, Seen)>,
) -> Vec<(PresenceState, Option<Change>)> {
    let mut roll = Roll::new(settings);
    roll.renumber([None].into_iter());
    let mut look = |(at, Seen(score, boxed)): (f64, Seen)| {
        let mut presences = [presence(score)];
        // not from 0: no clock is
        let counts = roll.update(
            7_000_000_000 + (at * 1e9).round() as u64,
            &mut presences,
            &[boxed],
        );
        assert_eq!(counts.there + counts.unsure + counts.not_there, 1);
        (presences[0].state, presences[0].change)
    };
    frames.into_iter().map(&mut look).collect()
}

fn presence(score: f32) -> Presence {
    Presence {
        prompt: 0,
        score,
        best: 0.0,
        state: Unsure,
        change: None,
    }
}

/// Probabilities at ten frames a second.
fn at_ten(scores: &[f32]) -> Vec<(f64, Seen)> {
    let time = |i: usize| i as f64 / 10.0;
    let scores = scores.iter().enumerate();
    scores.map(|(i, &p)| (time(i), Seen(p, false))).collect()
}

fn changes(seen: &[(PresenceState, Option<Change>)]) -> Vec<(usize, Change)> {
    let changes = seen.iter().enumerate();
    changes
        .filter_map(|(i, (_, change))| Some((i, (*change)?)))
        .collect()
}

#[test]
fn a_step_up_and_a_step_down_are_one_change_each_after_the_dwell() {
    let scores = [vec![0.05; 20], vec![0.9; 20], vec![0.05; 20]].concat();
    let seen = watched(SETTINGS, at_ten(&scores));
    // half a second is five intervals: the sixth frame that says so
    assert_eq!(changes(&seen), [(25, Change::Appeared), (45, Change::Gone)]);
    let states: Vec<_> = seen.iter().map(|(state, _)| *state).collect();
    assert_eq!(states[..5], [Unsure; 5]);
    assert_eq!(states[5..25], [NotThere; 20]);
    assert_eq!(states[25..45], [There; 20]);
    assert_eq!(states[45..], [NotThere; 15]);
}

#[test]
fn so_many_seconds_are_as_many_frames_as_they_say_whatever_their_digits() {
    for (dwell_s, frames) in [(0.1, 1), (0.2, 2), (0.3, 3), (0.6, 6), (0.7, 7), (1.1, 11)] {
        let settings = Settings {
            frames: 1,
            dwell_s,
            ..SETTINGS
        };
        let seen = watched(settings, at_ten(&[0.9; 20]));
        assert_eq!(changes(&seen), [(frames, Change::Appeared)], "{dwell_s}");
        // and a state holds for as long, not for a frame less
        let settings = Settings {
            frames: 1,
            dwell_s: 0.0,
            hold_s: dwell_s,
            ..SETTINGS
        };
        let scores = [vec![0.9; 5], vec![0.35; 20]].concat();
        let seen = watched(settings, at_ten(&scores));
        let unsure = seen.iter().position(|(state, _)| *state == Unsure);
        assert_eq!(unsure, Some(4 + frames + 1), "{dwell_s}");
    }
}

#[test]
fn what_is_there_from_the_start_appears_and_what_is_not_is_not_told_as_gone() {
    let there = watched(SETTINGS, at_ten(&[0.9; 10]));
    assert_eq!(changes(&there), [(5, Change::Appeared)]);
    let not = watched(SETTINGS, at_ten(&[0.1; 10]));
    assert_eq!((changes(&not), not[9].0), (vec![], NotThere));
}

/// Numbers without a pattern, the same on every run (SplitMix64), from 0 to 1.
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    })
}

#[test]
fn noise_at_either_border_makes_no_flicker() {
    for seed in 0..200 {
        for border in [0.5, 0.2] {
            // 0.15 either way: across one threshold, and not the other
            let around = noise(seed).map(|n| border + 0.3 * (n - 0.5));
            let up = [vec![0.9; 10], around.take(3000).collect()].concat();
            let seen = watched(SETTINGS, at_ten(&up));
            let told = changes(&seen);
            assert_eq!(told[0], (5, Change::Appeared));
            let states: Vec<_> = seen[5..].iter().map(|(state, _)| *state).collect();
            let flips = states.windows(2).filter(|w| w[0] != w[1]).count();
            if border == 0.5 {
                // never as low as `leave`, and every few frames as high as `enter`
                assert_eq!((told.len(), flips), (1, 0), "seed {seed}");
            } else {
                // at most once: doubtful, then gone for good
                assert!(told.len() <= 2 && flips <= 2, "seed {seed}: {flips}");
                assert_ne!(states[states.len() - 1], There);
            }
        }
    }
}

#[test]
fn one_threshold_and_no_dwell_would_flicker_on_the_same_noise() {
    let naive = Settings {
        bounds: Bounds {
            enter: 0.5,
            leave: 0.5,
        },
        frames: 1,
        dwell_s: 0.0,
        ..SETTINGS
    };
    let around: Vec<f32> = noise(1).map(|n| 0.5 + 0.3 * (n - 0.5)).take(3000).collect();
    assert!(changes(&watched(naive, at_ten(&around))).len() > 1000);
}

#[test]
fn blips_shorter_than_the_dwell_are_nothing() {
    let blip = |level: f32, other: f32| {
        let mut scores = vec![level; 100];
        for at in [20, 40, 41, 60, 61, 62, 63, 64] {
            scores[at] = other;
        }
        watched(SETTINGS, at_ten(&scores))
    };
    assert_eq!(changes(&blip(0.05, 0.95)), []);
    assert_eq!(changes(&blip(0.95, 0.05)), [(5, Change::Appeared)]);
    assert!(blip(0.05, 0.95)[6..].iter().all(|s| s.0 == NotThere));
}

#[test]
fn at_one_frame_a_second_three_frames_must_agree() {
    let frames = |scores: &[f32]| {
        let scores = scores.iter().enumerate();
        let frames = scores.map(|(i, &p)| (i as f64, Seen(p, false)));
        watched(SETTINGS, frames)
    };
    // the dwell is over with the second frame; two are a coincidence
    assert_eq!(changes(&frames(&[0.1, 0.1, 0.1, 0.9, 0.9, 0.1, 0.1])), []);
    let seen = frames(&[0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.1]);
    assert_eq!(changes(&seen), [(5, Change::Appeared)]);
}

#[test]
fn dropped_frames_change_nothing_but_when_it_is_noticed() {
    // every frame, and only one of three: the same truth, the same changes
    let truth = |at: f64| if (2.0..4.0).contains(&at) { 0.9 } else { 0.1 };
    let all = (0..180).map(|i| f64::from(i) / 30.0);
    let few = all.clone().enumerate().filter(|(i, _)| i % 3 == 0);
    let run = |times: Vec<f64>| {
        let frames = times.iter().map(|&t| (t, Seen(truth(t), false)));
        let seen = watched(SETTINGS, frames);
        let told = changes(&seen);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!((told[0].1, told[1].1), (Change::Appeared, Change::Gone));
        [times[told[0].0], times[told[1].0]]
    };
    let (whole, thinned) = (run(all.collect()), run(few.map(|(_, t)| t).collect()));
    for (a, b) in whole.iter().zip(thinned) {
        assert!((a - b).abs() <= 0.101, "{whole:?} {thinned:?}");
    }
}

#[test]
fn between_the_thresholds_a_state_holds_for_a_while_and_is_then_unsure() {
    let scores = [vec![0.9; 10], vec![0.35; 100], vec![0.9; 20]].concat();
    let seen = watched(SETTINGS, at_ten(&scores));
    // the last frame that said so is number 9, at 0.9 s
    assert_eq!((seen[59].0, seen[60].0), (There, Unsure));
    assert_eq!(seen[129].0, There);
    // it was never told as gone, so it does not appear again
    assert_eq!(changes(&seen), [(5, Change::Appeared)]);
    // and is told as gone if it turns out to be
    let scores = [vec![0.9; 10], vec![0.35; 100], vec![0.1; 20]].concat();
    let seen = watched(SETTINGS, at_ten(&scores));
    assert_eq!(changes(&seen), [(5, Change::Appeared), (115, Change::Gone)]);
}

#[test]
fn after_a_long_time_without_frames_nothing_is_sure() {
    let mut frames = at_ten(&[0.9; 10]);
    frames.extend((0..10).map(|i| (60.0 + f64::from(i) / 10.0, Seen(0.9, false))));
    let seen = watched(SETTINGS, frames);
    assert_eq!((seen[9].0, seen[10].0, seen[15].0), (There, Unsure, There));
    assert_eq!(changes(&seen), [(5, Change::Appeared)]);
    // a short one, and the reading of before it goes on
    let frames = [0.0, 0.1, 3.0, 3.1].map(|t| (t, Seen(0.9, false)));
    assert_eq!(changes(&watched(SETTINGS, frames)), [(2, Change::Appeared)]);
}

#[test]
fn a_report_never_says_not_there_beside_a_box() {
    let mut frames = at_ten(&[0.05; 40]);
    for i in [20, 21, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39] {
        frames[i].1.1 = true;
    }
    let seen = watched(SETTINGS, frames.clone());
    for (i, ((_, Seen(_, boxed)), (state, _))) in frames.iter().zip(&seen).enumerate() {
        assert!(!boxed || *state != NotThere, "frame {i}");
    }
    // a box of two frames is doubt and no change
    assert_eq!((seen[19].0, seen[20].0), (NotThere, Unsure));
    assert_eq!((seen[26].0, seen[27].0), (Unsure, NotThere));
    // one that lasts is a thing, whatever the probability
    assert_eq!(changes(&seen), [(35, Change::Appeared)]);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let times = [0.0, 0.3, 0.1, 0.2, 0.6, 0.4];
    let seen = watched(SETTINGS, times.map(|t| (t, Seen(0.9, false))));
    assert_eq!(changes(&seen), [(4, Change::Appeared)]);
}

#[test]
fn what_is_no_number_is_unsure() {
    let seen = watched(SETTINGS, at_ten(&[f32::NAN; 10]));
    assert!(seen.iter().all(|s| *s == (Unsure, None)));
}

#[test]
fn names_keep_their_state_under_other_numbers_and_new_ones_are_unsure() {
    let mut roll = Roll::new(SETTINGS);
    roll.renumber([None, None].into_iter());
    let look = |roll: &mut Roll, frame: u64, scores: &[f32]| -> Vec<Presence> {
        let mut presences: Vec<_> = scores.iter().map(|&p| presence(p)).collect();
        roll.update(
            frame * 100_000_000,
            &mut presences,
            &vec![false; scores.len()],
        );
        presences
    };
    for frame in 0..10 {
        look(&mut roll, frame, &[0.9, 0.1]);
    }
    roll.renumber([None, Some(0), Some(7)].into_iter());
    let seen = look(&mut roll, 10, &[0.9, 0.9, 0.1]);
    let states: Vec<_> = seen.iter().map(|p| p.state).collect();
    assert_eq!(states, [Unsure, There, Unsure]);
    assert!(seen.iter().all(|p| p.change.is_none()));
    roll.renumber([Some(1)].into_iter());
    for frame in 11..30 {
        assert_eq!(look(&mut roll, frame, &[0.9])[0].change, None);
    }
}

#[test]
fn ten_thousand_names_at_once_are_told_one_by_one_and_none_twice() {
    const NAMES: usize = 10_000;
    let mut roll = Roll::new(SETTINGS);
    roll.renumber(std::iter::repeat_n(None, NAMES));
    let boxed = vec![false; NAMES];
    let mut told = vec![0; NAMES];
    for frame in 0..1000_u64 {
        let mut presences = vec![presence(0.9); NAMES];
        let counts = roll.update(frame * 100_000_000, &mut presences, &boxed);
        let appeared = presences.iter().enumerate();
        let appeared = appeared.filter(|(_, p)| p.change.is_some());
        let mut now = 0;
        for (i, presence) in appeared {
            assert_eq!(presence.change, Some(Change::Appeared));
            assert_eq!(presence.state, There);
            told[i] += 1;
            now += 1;
        }
        assert!(now <= MAX_CHANGES, "{now} in one frame");
        assert_eq!(counts.there as usize, told.iter().sum::<usize>());
    }
    assert!(told.iter().all(|n| *n == 1));
}
