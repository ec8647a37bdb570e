//! The tracker alone: `cargo bench --bench track -- cost [things] | follow`.
//!
//! | part | does |
//! |---|---|
//! | `cost` | what following 20 and 100 things costs, per frame, with places and looks as the head gives them |
//! | `follow` | reads boxes from standard input, writes which track each has: `tests/bench/tracks.py` measures that |
//!
//! A line of `follow` begins a frame (`frame <seconds>`) or is a box in it: left, top, right, bottom, score, prompt, and any count of numbers that are
//! what it looks like. A frame's answer is a line with the track of each reported box: left, top, right, bottom, id.

use std::{
    io::{BufRead, Write},
    process::ExitCode,
    time::{Instant, SystemTime},
};

use tarsier::{
    geometry::{BBox, Size},
    scene::{Detection, Report},
    track::{Evidence, Meaning, Place, Settings, Tracker},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    match arguments.first().map(String::as_str) {
        Some("cost") => {
            let only = arguments.get(1).map(|n| n.parse().expect("a number"));
            cost(&only.map_or(vec![0, 20, 100, 300], |n| vec![n]));
        }
        Some("follow") => follow(),
        _ => {
            eprintln!("cargo bench --bench track -- cost [things] | follow < boxes");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

/// What a frame knows beside its report: looks by location, and places.
#[derive(Default)]
struct Known {
    dimension: usize,
    looks: Vec<Vec<f32>>,
    places: Vec<(BBox, f32)>,
}

impl Evidence for Known {
    fn dimension(&self) -> usize {
        self.dimension
    }
    fn look(&self, location: u32, values: &mut [f32]) -> bool {
        let look = self.looks.get(location as usize);
        if let Some(look) = look {
            values.copy_from_slice(look);
        }
        look.is_some()
    }
    fn places(&self) -> usize {
        self.places.len()
    }
    fn place(&self, index: usize) -> Place {
        Place {
            location: 100_000 + index as u32,
            bbox: self.places[index].0,
        }
    }
    fn logit(&self, index: usize, _: u32) -> f32 {
        self.places[index].1
    }
}

fn detection(bbox: BBox, score: f32, prompt: u32, location: usize) -> Detection {
    Detection {
        bbox,
        score,
        logit: tarsier::odds::logit(score),
        prompt,
        location: location as u32,
    }
}

/// Boxes with a score below this go in as places, the others as detections.
const THRESHOLD: f32 = 0.3;

fn follow() {
    let mut tracker = Tracker::new(Settings::default());
    let (mut known, mut found, mut seconds) = (Known::default(), Vec::new(), None::<f64>);
    let mut out = std::io::stdout().lock();
    let lines = std::io::stdin().lock().lines();
    for line in lines.chain([Ok("frame 0".into())]) {
        let line = line.expect("text");
        if let Some(next) = line.strip_prefix("frame ") {
            if let Some(at) = seconds {
                let mut report = Report::new(0, SystemTime::UNIX_EPOCH, Size::new(640, 480));
                found.sort_by(|a: &Detection, b: &Detection| b.logit.total_cmp(&a.logit));
                report.detections = std::mem::take(&mut found);
                let meaning = Meaning {
                    classes: &[],
                    thresholds: &[tarsier::odds::logit(THRESHOLD); 16],
                };
                let ns = (at * 1e9) as u64;
                tracker.update(ns, &mut report, meaning, &known);
                for (d, id) in report.detections.iter().zip(&report.tracks) {
                    let BBox { x0, y0, x1, y1 } = d.bbox;
                    write!(out, "{x0} {y0} {x1} {y1} {id} ").expect("a reader");
                }
                writeln!(out).expect("a reader");
            }
            seconds = Some(next.trim().parse().expect("seconds"));
            (known.looks, known.places) = (Vec::new(), Vec::new());
            continue;
        }
        let numbers: Vec<f32> = line
            .split_whitespace()
            .map(|n| n.parse().expect("a number"))
            .collect();
        let [x0, y0, x1, y1, score, prompt, look @ ..] = &numbers[..] else {
            panic!("{line}");
        };
        let bbox = BBox::new(*x0, *y0, *x1, *y1);
        if *score < THRESHOLD {
            known.places.push((bbox, tarsier::odds::logit(*score)));
            continue;
        }
        found.push(detection(bbox, *score, *prompt as u32, known.looks.len()));
        known.dimension = look.len();
        known.looks.push(look.to_vec());
    }
}

/// Things that walk about in 640 × 480, some of them not found in some frames; 300 places; looks of 128 numbers.
fn cost(counts: &[usize]) {
    println!("things  least, us  p50, us  with an id  tracks");
    for &things in counts {
        let mut state = 9u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u32 << 24) as f32
        };
        let mut walkers: Vec<[f32; 4]> = (0..things)
            .map(|_| {
                [
                    560.0 * next(),
                    360.0 * next(),
                    60.0 * (next() - 0.5),
                    40.0 * (next() - 0.5),
                ]
            })
            .collect();
        let looks: Vec<Vec<f32>> = (0..things)
            .map(|_| (0..128).map(|_| next()).collect())
            .collect();
        let mut tracker = Tracker::new(Settings::default());
        let mut report = Report::new(0, SystemTime::UNIX_EPOCH, Size::new(640, 480));
        let mut known = Known {
            dimension: 128,
            looks,
            places: Vec::new(),
        };
        let (mut times, mut named, mut tracks) = (Vec::new(), 0, 0);
        for frame in 0..600_u64 {
            report.detections.clear();
            known.places.clear();
            for (i, w) in walkers.iter_mut().enumerate() {
                for (at, speed, most) in [(0, 2, 600.0), (1, 3, 400.0)] {
                    w[at] += w[speed] / 30.0;
                    if !(0.0..most).contains(&w[at]) {
                        w[speed] = -w[speed];
                    }
                }
                let jitter = 2.0 * next();
                let (x, y) = (w[0] + jitter, w[1] + jitter);
                let bbox = BBox::new(x, y, x + 30.0 + (i % 20) as f32, y + 60.0);
                // one of ten is found with too low a score
                if next() < 0.1 {
                    known.places.push((bbox, -1.5));
                } else {
                    let found = detection(bbox, 0.5 + 0.4 * next(), (i % 80) as u32, i);
                    report.detections.extend([found]);
                }
            }
            report
                .detections
                .sort_by(|a, b| b.logit.total_cmp(&a.logit));
            while known.places.len() < 300 {
                let (x, y) = (600.0 * next(), 420.0 * next());
                known
                    .places
                    .push((BBox::new(x, y, x + 40.0, y + 60.0), -6.0));
            }
            let meaning = Meaning {
                classes: &[],
                thresholds: &[-0.847; 80],
            };
            let clock = Instant::now();
            tracker.update(frame * 33_333_333, &mut report, meaning, &known);
            let time = clock.elapsed();
            if frame >= 100 {
                times.push(time.as_secs_f64() * 1e6);
                named += report.tracks.iter().filter(|id| **id != 0).count();
                tracks += tracker.len();
            }
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{things:>6}  {:>9.1}  {:>7.1}  {:>10}  {:>6}",
            times[0],
            times[times.len() / 2],
            named / times.len(),
            tracks / times.len()
        );
    }
}
