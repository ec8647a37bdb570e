//! What a writer writes, a reader reads back the same, for generated messages; and bytes that were
//! cut or changed are refused or are another message, never a panic: frames and what they carry.

mod generated;

use generated::{MANY, Make, SOME, near, owned, written};
use tarsier_wire::{
    Event, Message, Reply, State,
    binary::{self, Payload},
    buffer::Fixed,
    frame::{Deframer, Frame, Framer, Kind, encode, encoded_length},
    json,
    report::{BoundingBox, Sight},
};

/// The frame's payload, as it is read.
fn with_payload(kind: Kind, payload: &[u8], look: impl FnOnce(Payload<'_>)) {
    let frame = Frame {
        kind,
        sequence: 0,
        payload,
    };
    look(binary::read(&frame).expect("a payload"));
}

#[test]
fn every_report_in_frames_is_read_back_to_the_units_of_its_fields() {
    for seed in 0..MANY {
        let mut make = Make::new(seed);
        let mut sent = make.report();
        (sent.width, sent.height) = (make.0.u32(..8192), make.0.u32(..8192));
        let side = sent.width.max(sent.height);
        let bits = (0..=6).rev().find(|bits| side << bits <= 65_535);
        let unit = f32::from(1_u16 << bits.expect("not that wide"));
        let detections = owned(&sent.detections);
        let payload = written(|out| binary::write_report(&sent, out));
        with_payload(Kind::Report, &payload, |payload| {
            let Payload::Report(read) = payload else {
                panic!("{payload:?}");
            };
            assert_eq!((read.run, read.sequence), (sent.run, sent.header.seq));
            let times = (read.captured_ns, read.latency_us, read.prompts_version);
            assert_eq!(
                times,
                (sent.captured_ns, sent.latency_us, sent.prompts_version)
            );
            assert_eq!(
                (u32::from(read.width), u32::from(read.height)),
                (sent.width, sent.height)
            );
            assert_eq!(u32::from(read.crowded), sent.crowded.min(65_535));
            assert_eq!(read.dropped.late, sent.dropped.late & 0xffff_ffff);
            assert_eq!(read.detections.len(), detections.len());
            for (read, sent) in read.detections.iter().zip(&detections) {
                assert!(near(read.score, sent.results[0].score, 65_535.0));
                let track = sent.id.map_or(0, |id| (id.0 - 1) % 65_535 + 1);
                assert_eq!(u32::from(read.track), track);
                let sides = |b: &BoundingBox| [b.center.x, b.center.y, b.size_x, b.size_y];
                for (read, sent) in sides(&read.bbox).into_iter().zip(sides(&sent.bbox)) {
                    assert!(near(read, sent.min(65_535.0 / unit), unit), "{read} {sent}");
                }
            }
        });
        let payload = written(|out| binary::write_sights(&sent, out));
        with_payload(Kind::Sights, &payload, |payload| {
            let Payload::Sights(read) = payload else {
                panic!("{payload:?}");
            };
            let sights: Vec<Sight> = detections.iter().filter_map(|d| d.sight).collect();
            assert_eq!((read.run, read.sequence), (sent.run, sent.header.seq));
            assert_eq!(read.sights.len(), sights.len());
            for (read, sent) in read.sights.iter().zip(&sights) {
                assert!(near(read.bearing_deg, sent.bearing_deg, 100.0));
                assert!(near(read.elevation_deg, sent.elevation_deg, 100.0));
                assert_eq!(read.range_m.is_some(), sent.range_m.is_some());
                let ranges = read.range_m.zip(sent.range_m);
                assert!(ranges.is_none_or(|(a, b)| near(a, b, 100.0)));
            }
        });
        let payload = written(|out| binary::write_presence(&sent, out));
        with_payload(Kind::Presence, &payload, |payload| {
            let Payload::Presence(read) = payload else {
                panic!("{payload:?}");
            };
            let names = sent.presence.as_ref().map(owned).unwrap_or_default();
            assert_eq!(read.counts, sent.presence_counts.unwrap_or_default());
            assert_eq!(read.names.len(), names.len());
            for (read, sent) in read.names.iter().zip(&names) {
                assert_eq!((read.state, read.change), (sent.state, sent.change));
                assert!(near(read.score, sent.score, 65_535.0));
            }
        });
        let payload = written(|out| binary::write_smoothed(&sent, out));
        with_payload(Kind::Smoothed, &payload, |payload| {
            let Payload::Smoothed(read) = payload else {
                panic!("{payload:?}");
            };
            let any = detections.iter().any(|d| d.smoothed_score.is_some());
            assert_eq!(read.scores.len(), if any { detections.len() } else { 0 });
            for (read, sent) in read.scores.iter().zip(&detections) {
                assert!(near(read, sent.smoothed_score.unwrap_or(0.0), 65_535.0));
            }
        });
    }
}

#[test]
fn every_event_and_reply_in_frames_is_read_back_the_same() {
    for seed in 0..MANY {
        let mut make = Make::new(seed);
        let (event, reply) = (make.event(), make.reply());
        if let Event::Scene(happening) = &event {
            let payload = written(|out| binary::write_happening(&event, happening, out));
            with_payload(Kind::Happening, &payload, |payload| {
                let Payload::Happening(read) = payload else {
                    panic!("{payload:?}");
                };
                assert_eq!((read.run, read.sequence), (happening.run, happening.seq));
                assert_eq!((read.kind, read.source), (happening.kind, happening.source));
                assert_eq!(u32::from(read.prompt), happening.prompt.min(65_535));
                let json = json::read(read.json).expect("JSON");
                assert_eq!(json, Message::Event(event.clone()));
            });
        }
        let payload = written(|out| binary::write_event(&event, out));
        with_payload(Kind::Event, &payload, |payload| {
            let Payload::Event(read) = payload else {
                panic!("{payload:?}");
            };
            let json = json::read(read.json).expect("JSON");
            assert_eq!(json, Message::Event(event.clone()));
        });
        let payload = written(|out| binary::write_reply(&reply, out));
        with_payload(Kind::Reply, &payload, |payload| {
            let Payload::Reply(read) = payload else {
                panic!("{payload:?}");
            };
            let error = match &reply {
                Reply::Ack { .. } => None,
                Reply::Error { code, .. } => Some(*code),
            };
            assert_eq!((read.id, read.error), (reply.id(), error));
            let json = json::read(read.json).expect("JSON");
            assert_eq!(json, Message::Reply(reply.clone()));
        });
    }
}

/// Some payload of every kind.
fn payloads(make: &mut Make) -> Vec<(Kind, Vec<u8>)> {
    let (report, event, reply) = (make.report(), make.event(), make.reply());
    let happening = make.happening();
    let scene = Event::Scene(happening.clone());
    let state = make.maybe(|m| m.one(&State::ALL));
    let (run, sent, lost) = (make.u32(), make.u64(), make.u64());
    let request = make.request();
    vec![
        (
            Kind::Report,
            written(|out| binary::write_report(&report, out)),
        ),
        (
            Kind::Heartbeat,
            written(|out| binary::write_heartbeat(run, state, sent, lost, out)),
        ),
        (Kind::Reply, written(|out| binary::write_reply(&reply, out))),
        (Kind::Event, written(|out| binary::write_event(&event, out))),
        (
            Kind::JsonReport,
            written(|out| json::write_report(&report, out)),
        ),
        (
            Kind::Sights,
            written(|out| binary::write_sights(&report, out)),
        ),
        (
            Kind::Presence,
            written(|out| binary::write_presence(&report, out)),
        ),
        (
            Kind::Happening,
            written(|out| binary::write_happening(&scene, &happening, out)),
        ),
        (
            Kind::Smoothed,
            written(|out| binary::write_smoothed(&report, out)),
        ),
        (
            Kind::Command,
            written(|out| json::write_request(&request, out)),
        ),
    ]
}

#[test]
fn a_payload_that_is_cut_or_changed_is_refused_or_is_another_one() {
    for seed in 0..SOME {
        for (kind, payload) in payloads(&mut Make::new(seed)) {
            let read = |payload: &[u8]| {
                let frame = Frame {
                    kind,
                    sequence: 0,
                    payload,
                };
                // whatever it is, all of it can be looked at
                binary::read(&frame)
                    .map(|payload| format!("{payload:?}").len())
                    .is_ok()
            };
            assert!(read(&payload), "{kind:?}");
            let ends_in_json = matches!(
                kind,
                Kind::Reply | Kind::Event | Kind::JsonReport | Kind::Happening | Kind::Command
            );
            for cut in 0..payload.len() {
                assert!(!read(&payload[..cut]) || ends_in_json, "{kind:?} {cut}");
            }
            let mut changed = payload.clone();
            for at in 0..payload.len() {
                for byte in [0, 0xff, payload[at] ^ 1, payload[at] ^ 0x80] {
                    changed[at] = byte;
                    read(&changed);
                }
                changed[at] = payload[at];
            }
        }
    }
}

#[test]
fn frames_on_the_heap_and_in_a_fixed_place_are_the_same_and_no_changed_byte_is_accepted() {
    const ROOM: usize = encoded_length(3000);
    for seed in 0..SOME {
        let mut framer = Framer::new();
        for (sequence, (kind, payload)) in (0..).zip(payloads(&mut Make::new(seed))) {
            let bytes = written(|out| {
                let write = |out: &mut Vec<u8>| out.extend(&payload);
                framer.frame(kind, write, out).expect("short");
            });
            let mut place = vec![0; encoded_length(payload.len()) + 2];
            let length = encode(kind, sequence, &payload, &mut place);
            assert_eq!(length.map(|n| &place[..n]), Ok(&bytes[..]));
            for short in 0..bytes.len() {
                assert!(encode(kind, sequence, &payload, &mut place[..short]).is_err());
            }
            let read = |bytes: &[u8]| {
                let (mut heap, mut fixed) = (Vec::new(), Vec::new());
                Deframer::new().push(bytes, |f| heap.push(f.map(|f| f.payload.to_vec())));
                let mut deframer = Deframer::<Fixed<ROOM>>::fixed();
                deframer.push(bytes, |f| fixed.push(f.map(|f| f.payload.to_vec())));
                assert_eq!(heap, fixed);
                heap
            };
            assert_eq!(read(&bytes), [Ok(payload)]);
            let mut changed = bytes.clone();
            for at in 1..bytes.len() - 1 {
                changed[at] ^= 1 << (at % 8);
                assert!(read(&changed).iter().all(Result::is_err), "{kind:?} {at}");
                changed[at] = bytes[at];
            }
        }
    }
}

#[test]
fn a_fixed_place_passes_over_what_is_too_long_for_it_and_reads_what_follows() {
    let (mut framer, mut bytes) = (Framer::new(), Vec::new());
    for length in [10, 500, 12] {
        let payload = |out: &mut Vec<u8>| out.resize(length, 7);
        framer
            .frame(Kind::Event, payload, &mut bytes)
            .expect("short");
    }
    for size in [1, 5, 100, bytes.len()] {
        let mut deframer = Deframer::<Fixed<{ encoded_length(20) }>>::fixed();
        let mut seen = Vec::new();
        for piece in bytes.chunks(size) {
            deframer.push(piece, |f| seen.push(f.map(|f| f.payload.len()).ok()));
        }
        assert_eq!(seen, [Some(10), None, Some(12)], "pieces of {size}");
    }
}
