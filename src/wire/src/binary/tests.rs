use std::{vec, vec::Vec};

use super::*;
use crate::{
    report,
    samples::{appeared, full, of, present, report, tracked},
};

fn payload(report: &report::Report<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_report(report, &mut out);
    out
}

#[test]
fn a_report_comes_back_to_the_units_of_its_fields() {
    let mut sent = report();
    let got = read_report(&payload(&sent)).expect("a report");
    assert_eq!(got.sequence, sent.header.seq);
    assert_eq!(got.captured_ns, sent.captured_ns);
    assert_eq!((got.run, got.latency_us), (sent.run, sent.latency_us));
    assert_eq!(got.dropped, sent.dropped);
    assert_eq!((got.width, got.height), (640, 480));
    assert_eq!(got.detections.len(), 2);
    for (g, s) in got.detections.iter().zip(of(&mut sent)) {
        assert_eq!((u32::from(g.prompt), g.track), (s.prompt, 0));
        let score = s.results[0].score;
        assert!((g.score - score).abs() <= 0.5 / 65_535.0, "{g:?} {s:?}");
        // 640 pixels: 6 digits behind the point; each number is half a unit off at most
        let sides = |b: &report::BoundingBox| [b.center.x, b.center.y, b.size_x, b.size_y];
        for (g, s) in sides(&g.bbox).into_iter().zip(sides(&s.bbox)) {
            assert!((g - s).abs() <= 0.5 / 64.0 + 1e-4, "{g} {s}");
        }
    }
}

#[test]
fn tracks_go_round_in_two_bytes_and_never_are_none() {
    let tracks = |r| read_report(&payload(&r)).expect("a report").detections;
    let tracks: Vec<u16> = tracks(tracked()).iter().map(|d| d.track).collect();
    assert_eq!(tracks, [7, 4465]);
    for (id, short) in [(1, 1), (65_535, 65_535), (65_536, 1), (131_070, 65_535)] {
        assert_eq!(short_track(id), short);
    }
    assert_ne!(short_track(u32::MAX), 0);
    let mut none = tracked();
    of(&mut none)[0].id = None;
    assert_eq!(payload(&none)[52..54], [0, 0]);
}

#[test]
fn sights_are_hundredths_and_saturate() {
    let mut far = tracked();
    let sight = of(&mut far)[1].sight.as_mut().expect("a direction");
    (sight.range_m, sight.range_sd_m) = (Some(5000.0), Some(0.004));
    let mut out = Vec::new();
    write_sights(&far, &mut out);
    assert_eq!(out.len(), SIGHTS_HEADER + 2 * SIGHT);
    let short = |at: usize| u16::from_le_bytes([out[at], out[at + 1]]);
    let fields = [14, 16, 18, 20, 22, 24, 26, 28].map(short);
    let (down, left) = (-425_i16 as u16, -2850_i16 as u16);
    assert_eq!(fields, [0, down, 250, 25, left, 3075, 65_534, 0]);
}

#[test]
fn presence_has_fixed_fields_whatever_it_is_asked_of() {
    let mut asked = present();
    let Some(crate::list::List::Owned(names)) = &mut asked.presence else {
        panic!("the samples own their lists");
    };
    names[1].prompt = 70_000;
    names[1].score = f32::NAN;
    let mut out = Vec::new();
    write_presence(&asked, &mut out);
    assert_eq!(out.len(), PRESENCE_HEADER + 2 * PRESENCE);
    assert_eq!(out[12..26], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    assert_eq!(out[26..], [0, 0, 1, 1, 255, 239, 255, 255, 2, 0, 0, 0]);
}

#[test]
fn a_happening_has_its_json_behind_its_numbers() {
    let event = Event::Scene(appeared());
    let (mut out, mut line) = (Vec::new(), Vec::new());
    write_happening(&event, &appeared(), &mut out);
    json::write_event(&event, &mut line);
    assert_eq!(out[HAPPENING..], line);
    assert_eq!(out[24..HAPPENING], [1, 1, 0, 0, 255, 239, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn smoothed_scores_are_as_many_as_detections_and_say_which_are_continued() {
    let mut out = Vec::new();
    write_smoothed(&tracked(), &mut out);
    assert_eq!(out.len(), SMOOTHED_HEADER + 2 * SMOOTHED);
    let short = |at: usize| u16::from_le_bytes([out[at], out[at + 1]]);
    assert_eq!([12, 14, 16, 18].map(short), [2, 1, 53_247, 36_863]);
    out.clear();
    write_smoothed(&report(), &mut out);
    assert_eq!(out[12..], [0; 4]);
}

#[test]
fn the_longest_report_is_as_long_as_promised_and_fits_a_frame() {
    assert_eq!(payload(&full()).len(), MAX_REPORT_BYTES);
    const { assert!(MAX_REPORT_BYTES < crate::frame::MAX_PAYLOAD) }
}

#[test]
fn large_frames_have_coarser_units_and_nothing_wraps() {
    let side = |n| fraction_bits(n, 1);
    assert_eq!(
        [640, 1023, 1024, 4096, 65_535, 100_000].map(side),
        [6, 6, 5, 3, 0, 0]
    );
    let mut huge = report();
    (huge.width, huge.height) = (100_000, 70_000);
    let first = &mut of(&mut huge)[0];
    (first.bbox.size_x, first.bbox.size_y) = (1e9, f32::NAN);
    first.prompt = 70_000;
    let got = read_report(&payload(&huge)).expect("a report");
    assert_eq!((got.width, got.height), (65_535, 65_535));
    let first = got.detections[0];
    assert_eq!(first.prompt, u16::MAX);
    assert_eq!((first.bbox.size_x, first.bbox.size_y), (65_535.0, 0.0));
}

#[test]
fn a_report_of_any_other_length_is_refused_with_both_lengths() {
    let whole = payload(&report());
    for cut in 0..whole.len() {
        match read_report(&whole[..cut]) {
            Err(PayloadError::Length { got, expected }) => {
                assert_eq!(got, cut);
                assert_eq!(expected, if cut < HEADER { HEADER } else { whole.len() });
            }
            other => panic!("{cut}: {other:?}"),
        }
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(read_report(&longer).is_err());
}

#[test]
fn records_are_reached_by_their_place_and_no_other() {
    let payload = payload(&report());
    let frame = crate::frame::Frame {
        kind: crate::frame::Kind::Report,
        sequence: 0,
        payload: &payload,
    };
    let Ok(Payload::Report(report)) = read(&frame) else {
        panic!("a report");
    };
    let all: Vec<Detection> = report.detections.iter().collect();
    let each: Vec<Detection> = (0..3).filter_map(|i| report.detections.get(i)).collect();
    assert_eq!(all, each);
    assert_eq!(report.detections.get(usize::MAX), None);
    assert_eq!(vec![0, 1], all.iter().map(|d| d.prompt).collect::<Vec<_>>());
}
