//! The whole way from head outputs to a report, on hand-made heads.

use std::time::SystemTime;

use super::*;
use crate::geometry::{BBox, Size};
use crate::odds;
use crate::scene::MAX_DETECTIONS;

const GEOMETRY: usize = 16;
const OBJECTNESS: usize = 4;

const D: usize = 16;
const EMBEDDING: Quant = Quant {
    scale: 0.1,
    zero_point: 123,
};

/// A head of two levels over a 64×64 input: 8×8 at stride 8, 4×4 at stride 16.
struct Head {
    levels: Vec<HeadLevel>,
    embedding: Vec<Vec<u8>>,
    geometry: Vec<Vec<u8>>,
}

impl Head {
    fn new() -> Self {
        // sixteen channels in planes without a border lie one location after the other
        let field = |side, quant| Field {
            planes: Planes {
                height: side,
                width: side,
                border: 0,
            },
            quant,
        };
        let level = |stride, side, scale| HeadLevel {
            stride,
            embedding: field(side, EMBEDDING),
            geometry: field(side, Quant::from_signed(scale, 0)),
        };
        let levels = vec![level(8, 8, 0.25), level(16, 4, 0.5)];
        let embedding = levels.iter().scan(0, |first, level| {
            let locations = *first..*first + level.locations();
            *first = locations.end;
            Some(locations.flat_map(|i| [i as u8 ^ 0x80; D]).collect())
        });
        let embedding = embedding.collect();
        // every box reaches half a stride to each side; nothing is an object
        let geometry = levels.iter().map(|level| {
            let half = 128 + (0.5 / level.geometry.quant.scale) as u8;
            let mut one = [128; GEOMETRY];
            one[..4].fill(half);
            one[OBJECTNESS] = 28;
            one.repeat(level.locations())
        });
        let geometry = geometry.collect();
        Self {
            levels,
            embedding,
            geometry,
        }
    }

    fn outputs(&self) -> Vec<HeadOutput<'_>> {
        let outputs = self.embedding.iter().zip(&self.geometry);
        outputs
            .map(|(embedding, geometry)| HeadOutput {
                embedding,
                geometry,
            })
            .collect()
    }

    fn detector(&self, proposals: usize, agnostic: bool) -> Detector {
        let settings = Settings {
            proposals,
            agnostic,
            ..Settings::default()
        };
        Detector::new(HeadForm::default(), &self.levels, D, settings).expect("a sound head")
    }

    fn detector_with_floor(&self, scale: f32, bias: f32) -> Result<Detector, DetectError> {
        let form = HeadForm {
            floor: Some(Floor { scale, bias }),
            ..HeadForm::default()
        };
        Detector::new(form, &self.levels, D, Settings::default())
    }

    fn set_objectness(&mut self, level: usize, index: usize, q: i8) {
        self.geometry[level][index * GEOMETRY + OBJECTNESS] = q.cast_unsigned() ^ 0x80;
    }

    fn set_distances(&mut self, level: usize, index: usize, ltrb: [i8; 4]) {
        let bytes = ltrb.map(|q| q.cast_unsigned() ^ 0x80);
        self.geometry[level][index * GEOMETRY..][..4].copy_from_slice(&bytes);
    }
}

fn letterbox() -> Letterbox {
    Letterbox::new(Size::new(64, 64), Size::new(64, 64))
}

fn report() -> Report {
    Report::new(0, SystemTime::UNIX_EPOCH, Size::new(64, 64))
}

/// Proposes and selects with one row of logits for each location.
fn detect(
    head: &Head,
    agnostic: bool,
    thresholds: &[f32],
    logit: impl Fn(u32, usize) -> f32 + Sync,
) -> Report {
    let outputs = head.outputs();
    let mut detector = head.detector(300, agnostic);
    detector.propose(&outputs);
    let mut report = report();
    align(&mut detector, &outputs, 1, thresholds, &logit);
    detector.select(&outputs, &letterbox(), &mut report);
    // however many threads look for pairs, the same ones are found
    align(&mut detector, &outputs, 3, thresholds, &logit);
    let mut again = report.clone();
    detector.select(&outputs, &letterbox(), &mut again);
    assert_eq!(again.detections, report.detections);
    assert_eq!(again.dropped, report.dropped);
    report
}

/// Aligns with the logits of locations and prompts.
fn align(
    detector: &mut Detector,
    outputs: &[HeadOutput<'_>],
    threads: usize,
    thresholds: &[f32],
    logit: &(impl Fn(u32, usize) -> f32 + Sync),
) {
    let locations = detector.proposals.locations().to_vec();
    let score = |prompts: Range<usize>, objects: &[u8], logits: &mut Logits<'_>| {
        let count = objects.len() / D;
        assert!(objects.len().is_multiple_of(D) && count <= locations.len());
        assert!(prompts.start.is_multiple_of(LANE) && prompts.end.is_multiple_of(LANE));
        let rows = logits.values.chunks_exact_mut(prompts.len());
        assert_eq!(rows.len(), count);
        for (row, &location) in rows.zip(&locations) {
            for (value, prompt) in row.iter_mut().zip(prompts.clone()) {
                // behind the last prompt is rubbish that must not be looked at
                *value = if prompt < thresholds.len() {
                    logit(location, prompt)
                } else {
                    1e9
                };
            }
        }
        logits.compare();
    };
    detector.align(outputs, threads, thresholds, score);
}

fn found(report: &Report) -> Vec<(u32, u32)> {
    report
        .detections
        .iter()
        .map(|d| (d.location, d.prompt))
        .collect()
}

#[test]
fn proposals_are_the_best_by_value_and_not_by_byte() {
    let mut head = Head::new();
    head.set_objectness(0, 9, 40); // 10.0
    head.set_objectness(1, 3, 30); // 15.0
    head.set_objectness(0, 60, 39); // 9.75
    let mut detector = head.detector(3, false);
    detector.propose(&head.outputs());
    assert_eq!(detector.proposals.locations(), [64 + 3, 9, 60]);
    assert_eq!(detector.objects(), 3);
}

#[test]
fn equal_objectness_goes_to_the_lower_location() {
    let mut head = Head::new();
    head.set_objectness(0, 50, 8); // 2.0
    head.set_objectness(1, 0, 4); // 2.0
    head.set_objectness(0, 7, 8); // 2.0
    let mut detector = head.detector(2, false);
    detector.propose(&head.outputs());
    assert_eq!(detector.proposals.locations(), [7, 50]);
}

#[test]
fn embeddings_are_gathered_in_the_order_of_objects_and_relabelled() {
    let mut head = Head::new();
    head.set_objectness(0, 9, 40);
    head.set_objectness(1, 3, 30);
    let mut detector = head.detector(2, false);
    let outputs = head.outputs();
    let objects = detector.propose(&outputs);
    assert_eq!(objects.len(), 2 * D);
    assert_eq!(objects[..D], [(64 + 3) ^ 0x80; D]);
    assert_eq!(objects[D..], [9 ^ 0x80; D]);
}

#[test]
fn fewer_locations_than_proposals_are_all_kept_and_a_second_frame_starts_afresh() {
    let head = Head::new();
    let mut detector = head.detector(300, false);
    for _ in 0..2 {
        assert_eq!(detector.propose(&head.outputs()).len(), 80 * D);
        assert_eq!(detector.objects(), 80);
    }
}

#[test]
fn a_box_spans_its_distances_from_the_grid_point() {
    let mut head = Head::new();
    head.set_distances(0, 8 * 2 + 3, [4, 8, 2, 1]); // · 0.25 · 8
    let levels = &head.levels;
    let bbox = decode::bbox(&HeadForm::default(), levels, &head.outputs(), 8 * 2 + 3);
    assert_eq!(
        bbox,
        BBox::new(28.0 - 8.0, 20.0 - 16.0, 28.0 + 4.0, 20.0 + 2.0)
    );

    head.set_distances(1, 4 + 2, [1, 1, 2, -9]); // · 0.5 · 16, the last below zero
    let bbox = decode::bbox(
        &HeadForm::default(),
        &head.levels,
        &head.outputs(),
        64 + 4 + 2,
    );
    assert_eq!(bbox, BBox::new(40.0 - 8.0, 24.0 - 8.0, 40.0 + 16.0, 24.0));
}

#[test]
fn a_pair_is_found_exactly_from_its_threshold_on() {
    let head = Head::new();
    let thresholds = [0.5, 1.0, f32::INFINITY];
    let report = detect(&head, false, &thresholds, |location, prompt| {
        match (location, prompt) {
            (10, 0) => 0.5,
            (11, 0) => 0.499_999_97,
            (20, 1) => 1.5,
            (30, 1) => 0.7,
            (40, 2) => 100.0,
            (50, _) => f32::NAN,
            _ => -3.0,
        }
    });
    assert_eq!(found(&report), [(20, 1), (10, 0)]);
    assert_eq!(report.detections[0].score, odds::score(1.5));
    assert_eq!(report.detections[1].logit, 0.5);
    assert_eq!(report.detections[1].bbox, BBox::new(16.0, 8.0, 24.0, 16.0));
    assert_eq!(report.dropped, 0);
}

#[test]
fn boxes_come_out_in_frame_space_and_clipped() {
    let mut head = Head::new();
    head.set_distances(0, 8 * 2, [127, 1, 4, 4]);
    let outputs = head.outputs();
    let mut detector = head.detector(300, false);
    detector.propose(&outputs);
    // the box of location 0 lies in the padding
    let logit = |location, _| {
        if matches!(location, 0 | 16) {
            1.0
        } else {
            -9.0
        }
    };
    align(&mut detector, &outputs, 1, &[0.0], &logit);
    let letterbox = Letterbox::new(Size::new(640, 320), Size::new(64, 64)); // ·10, 16 rows down
    let mut report = report();
    detector.select(&outputs, &letterbox, &mut report);
    assert_eq!(found(&report), [(16, 0)]);
    assert_eq!(
        report.detections[0].bbox,
        BBox::new(0.0, 20.0, 120.0, 120.0)
    );
}

#[test]
fn nms_works_within_a_prompt_and_not_across_prompts() {
    let mut head = Head::new();
    for index in [0, 1] {
        // both reach over the whole input
        head.set_distances(0, index, [127; 4]);
    }
    let logit = |location, prompt| match (location, prompt) {
        (0, 0) => 2.0,
        (1, 0) => 3.0,
        (0, 1) => 1.0,
        _ => -1.0,
    };
    let report = detect(&head, false, &[0.0; 2], logit);
    assert_eq!(found(&report), [(1, 0), (0, 1)]);
    let agnostic = detect(&head, true, &[0.0; 2], logit);
    assert_eq!(found(&agnostic), [(1, 0)]);
}

#[test]
fn agnostic_gives_an_object_its_best_prompt_and_the_lower_one_of_equals() {
    let head = Head::new();
    let report = detect(&head, true, &[0.0; 40], |location, prompt| {
        match (location, prompt) {
            (5, 3) => 1.0,
            (5, 37) => 1.5,
            (6, 20) | (6, 4) => 0.25,
            _ => -1.0,
        }
    });
    assert_eq!(found(&report), [(5, 37), (6, 4)]);
}

#[test]
fn equal_logits_are_ordered_by_location_then_prompt() {
    let head = Head::new();
    let report = detect(&head, false, &[0.0; 20], |location, prompt| {
        let yes = matches!((location, prompt), (7, 18) | (7, 2) | (3, 19) | (70, 0));
        if yes { 1.0 } else { -1.0 }
    });
    assert_eq!(found(&report), [(3, 19), (7, 2), (7, 18), (70, 0)]);
}

#[test]
fn the_best_are_kept_and_the_rest_is_counted() {
    let head = Head::new();
    // 80 disjoint objects × 60 prompts; the coarse boxes hide nothing of the fine ones
    let report = detect(&head, false, &[0.0; 60], |location, prompt| {
        (location * 60) as f32 / 100.0 + prompt as f32 / 100.0
    });
    let each = MAX_DETECTIONS / 60;
    assert_eq!(report.detections.len(), 60 * each);
    assert_eq!(report.dropped as usize, 60 * (80 - each));
    assert_eq!(found(&report)[..2], [(79, 59), (79, 58)]);
    let logits: Vec<f32> = report.detections.iter().map(|d| d.logit).collect();
    assert!(logits.is_sorted_by(|a, b| a >= b));
    assert_eq!(found(&report).last(), Some(&((80 - each) as u32, 0)));
}

#[test]
fn floods_of_some_prompts_take_nothing_from_another() {
    let head = Head::new();
    // prompt 77 finds three places, each less surely than a hundred others find all 80
    let logit = |location: u32, prompt: usize| match (prompt, location) {
        (77, 5 | 30 | 70) => 0.25 + location as f32 / 1000.0,
        (77, _) => -1.0,
        _ => 5.0 + (location * 101 + prompt as u32) as f32 / 1e4,
    };
    let report = detect(&head, false, &[0.0; 101], logit);
    assert!(report.dropped > 3000, "{}", report.dropped);
    let alone = detect(&head, false, &[0.0], |location, _| logit(location, 77));
    let mut own = report.detections.clone();
    own.retain(|d| d.prompt == 77);
    own.iter_mut().for_each(|d| d.prompt = 0);
    assert_eq!(own, alone.detections);
    assert_eq!(own.len(), 3);
}

#[test]
fn a_prompt_finds_the_same_alone_as_among_a_thousand() {
    let head = Head::new();
    let logit = |location: u32, prompt: usize| {
        let mess = (location * 7919 + prompt as u32 * 104_729) % 1009;
        if mess < 3 { mess as f32 } else { -5.0 }
    };
    let many = detect(&head, false, &[0.0; 1000], logit);
    assert!(
        many.dropped == 0 && many.detections.len() > 100,
        "{}",
        many.detections.len()
    );
    for prompt in [0u32, 15, 16, 500, 999] {
        let alone = detect(&head, false, &[0.0], |location, _| {
            logit(location, prompt as usize)
        });
        let among: Vec<_> = many
            .detections
            .iter()
            .filter(|d| d.prompt == prompt)
            .collect();
        assert_eq!(alone.detections.len(), among.len());
        for (alone, among) in alone.detections.iter().zip(among) {
            assert_eq!((alone.bbox, alone.logit), (among.bbox, among.logit));
        }
    }
}

#[test]
fn a_report_is_filled_afresh_and_no_prompts_find_nothing() {
    let head = Head::new();
    let outputs = head.outputs();
    let mut detector = head.detector(300, false);
    let mut report = detect(&head, false, &[0.0], |_, _| 1.0);
    assert!(!report.detections.is_empty());
    detector.propose(&outputs);
    align(&mut detector, &outputs, 2, &[], &|_, _| 1.0);
    detector.select(&outputs, &letterbox(), &mut report);
    assert_eq!((report.detections.len(), report.dropped), (0, 0));
}

#[test]
fn a_head_whose_levels_quantise_embeddings_differently_is_refused() {
    let mut levels = Head::new().levels;
    levels[1].embedding.quant.zero_point = 3;
    let error = Detector::new(HeadForm::default(), &levels, D, Settings::default())
        .expect_err("two scales");
    let text = error.to_string();
    assert!(
        text.contains("level 1") && text.contains("zero point 3"),
        "{text}"
    );
}

#[test]
fn senseless_heads_and_settings_are_refused() {
    let levels = Head::new().levels;
    let new = |levels: &[HeadLevel], settings| {
        Detector::new(HeadForm::default(), levels, D, settings).map(|_| ())
    };
    let defaults = Settings::default();
    assert_eq!(new(&[], defaults), Err(DetectError::NoLevels));
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut levels = levels.clone();
        levels[1].geometry.quant.scale = scale;
        assert!(matches!(
            new(&levels, defaults),
            Err(DetectError::Level { index: 1, .. })
        ));
    }
    for iou in [-0.1, 1.1, f32::NAN] {
        let settings = Settings { iou, ..defaults };
        assert!(matches!(
            new(&levels, settings),
            Err(DetectError::Settings(_))
        ));
    }
    assert!(
        new(
            &levels,
            Settings {
                proposals: 0,
                ..defaults
            }
        )
        .is_err()
    );
}

#[test]
fn descending_orders_floats_from_best_to_worst() {
    let best_first = [
        f32::INFINITY,
        3.0,
        1e-20,
        0.0,
        -1e-20,
        -3.0,
        f32::NEG_INFINITY,
    ];
    assert!(best_first.map(descending).is_sorted());
    let back = best_first.map(|value| ascending(descending(value)));
    assert_eq!(back.map(f32::to_bits), best_first.map(f32::to_bits));
}

#[test]
fn suppression_equals_plain_greedy_suppression_of_sorted_pairs() {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    };
    let mut head = Head::new();
    for (level, locations) in [(0, 64), (1, 16)] {
        for index in 0..locations {
            let ltrb = [(); 4].map(|()| 2 + random(40) as i8);
            head.set_distances(level, index, ltrb);
        }
    }
    // few different values, so that many are equal
    const PROMPTS: usize = 1800;
    let table: Vec<f32> = (0..80 * PROMPTS).map(|_| random(9) as f32 - 5.0).collect();
    let logit = |location: u32, prompt: usize| table[location as usize * PROMPTS + prompt];
    let thresholds: Vec<f32> = (0..PROMPTS).map(|p| (p % 5) as f32).collect();
    let report = detect(&head, false, &thresholds, logit);

    let outputs = head.outputs();
    let boxes: Vec<BBox> = (0..80)
        .map(|l| decode::bbox(&HeadForm::default(), &head.levels, &outputs, l))
        .map(|b| letterbox().frame_from_input(b))
        .collect();
    let mut each: Vec<Vec<(u32, u32, u32)>> = Vec::new();
    for (prompt, threshold) in thresholds.iter().enumerate() {
        let passes = |l: &u32| logit(*l, prompt) >= *threshold && !boxes[*l as usize].is_empty();
        let mut pairs: Vec<u32> = (0..80).filter(passes).collect();
        pairs.sort_by_key(|&l| (descending(logit(l, prompt)), l));
        let mut kept: Vec<u32> = Vec::new();
        for l in pairs {
            let alone = |&k: &u32| boxes[k as usize].iou(&boxes[l as usize]) <= 0.6;
            if kept.iter().all(alone) {
                kept.push(l);
            }
        }
        let kept = kept.iter();
        each.push(
            kept.map(|&l| (descending(logit(l, prompt)), l, prompt as u32))
                .collect(),
        );
    }
    let all: usize = each.iter().map(Vec::len).sum();
    let cut = |k: usize| each.iter().flat_map(move |own| own.iter().take(k)).copied();
    let k = (1..)
        .find(|&k| cut(k + 1).count() > MAX_DETECTIONS)
        .expect("too many");
    let mut expected: Vec<(u32, u32, u32)> = cut(k).collect();
    expected.sort_unstable();
    let dropped = all - expected.len();
    assert!(dropped > 1000, "{dropped}");
    let expected: Vec<_> = expected.iter().map(|&(_, l, p)| (l, p)).collect();
    assert_eq!(found(&report), expected);
    assert_eq!(report.dropped as usize, dropped);
}

#[test]
fn a_prompt_is_compared_with_what_is_object_like_enough_for_its_threshold() {
    let mut head = Head::new();
    // logits of 1, 0 and -1 of there being something
    for (index, q) in [(0, 22), (9, 20), (18, 18)] {
        head.set_objectness(0, index, q);
    }
    let outputs = head.outputs();
    let mut detector = head.detector_with_floor(1.0, 0.0).expect("a floor");
    // with many prompts between them, so that neither chunks nor threads change anything
    let mut thresholds = vec![f32::INFINITY; 100];
    thresholds[3] = 0.5;
    thresholds[40] = -0.5;
    thresholds[41] = -1.0;
    thresholds[99] = f32::NAN;
    for threads in [1, 3] {
        detector.propose(&outputs);
        align(&mut detector, &outputs, threads, &thresholds, &|_, _| 3.0);
        let mut report = report();
        detector.select(&outputs, &letterbox(), &mut report);
        let mut found = found(&report);
        found.sort_unstable();
        let expected = [(0, 3), (0, 40), (0, 41), (9, 40), (9, 41), (18, 41)];
        assert_eq!(found, expected);
    }
}

#[test]
fn a_floor_that_falls_or_is_no_number_is_refused() {
    let head = Head::new();
    for (scale, bias) in [(-0.1, 0.0), (f32::NAN, 0.0), (0.1, f32::INFINITY)] {
        let refused = head.detector_with_floor(scale, bias).expect_err("refused");
        assert!(matches!(refused, DetectError::Floor(_)), "{refused}");
    }
}
