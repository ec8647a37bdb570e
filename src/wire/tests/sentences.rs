//! What a writer writes, a reader reads back the same, for generated messages; and bytes that were
//! cut or changed are refused or are another message, never a panic: sentences.

mod generated;

use generated::{MANY, Make, SOME, near, owned, written};
use tarsier_wire::{
    State,
    buffer::Fixed,
    nmea::{self, Sentence},
};

/// All sentences of some messages.
fn sentences(make: &mut Make) -> Vec<u8> {
    let (report, event, reply) = (make.report(), make.event(), make.reply());
    written(|out| {
        nmea::write_report(&report, 16, out);
        nmea::write_event(&event, out);
        nmea::write_reply(&reply, out);
        let state = make.maybe(|m| m.one(&State::ALL));
        nmea::write_heartbeat(state, make.u64(), make.u64(), out);
    })
}

#[test]
fn every_sentence_is_read_and_written_again_as_it_was() {
    for seed in 0..MANY {
        let bytes = sentences(&mut Make::new(seed));
        let mut read = 0;
        nmea::Lines::<Fixed<82>>::fixed().push(&bytes, |line| {
            let line = line.expect("a whole line");
            let text = String::from_utf8_lossy(line);
            let sentence = Sentence::read(line).unwrap_or_else(|e| panic!("{e}: {text}"));
            let again = written(|out| sentence.write(out));
            assert_eq!(again, [line, b"\n"].concat(), "{text}");
            read += 1;
        });
        assert_eq!(read, bytes.iter().filter(|b| **b == b'\n').count());
    }
}

#[test]
fn what_a_report_says_in_sentences_is_what_it_says() {
    for seed in 0..MANY {
        let sent = Make::new(seed).report();
        let detections = owned(&sent.detections);
        let bytes = written(|out| nmea::write_report(&sent, 16, out));
        let (mut found, mut ids) = (0, Vec::new());
        nmea::Lines::new().push(&bytes, |line| {
            match Sentence::read(line.expect("a line")).expect("a sentence") {
                Sentence::Report {
                    sequence, found, ..
                } => {
                    assert_eq!(
                        (sequence, found as usize),
                        (sent.header.seq, detections.len())
                    );
                }
                Sentence::Detection {
                    index, score, bbox, ..
                } => {
                    let sent = &detections[index as usize];
                    assert_eq!(index as usize, found);
                    assert!(near(score, sent.results[0].score, 1000.0));
                    assert!(near(bbox.size_x, sent.bbox.size_x, 10.0));
                    found += 1;
                }
                Sentence::Tracks {
                    first, ids: more, ..
                } => {
                    assert_eq!(first as usize, ids.len());
                    ids.extend(more.iter::<u32>().flatten());
                }
                Sentence::Continued { first, .. } => assert!(detections[first as usize].continued),
                _ => {}
            }
        });
        assert_eq!(found, detections.len());
        if detections.iter().any(|d| d.id.is_some()) {
            let sent = detections.iter().map(|d| d.id.map_or(0, |id| id.0));
            assert_eq!(ids, sent.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_sentence_that_is_cut_or_has_a_changed_bit_is_refused() {
    for seed in 0..SOME {
        let bytes = sentences(&mut Make::new(seed));
        for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let line = line.strip_suffix(b"\r").expect("a carriage return");
            for cut in 0..line.len() {
                assert!(Sentence::read(&line[..cut]).is_err());
                assert!(nmea::read_request(&line[..cut]).is_err());
            }
            let mut changed = line.to_vec();
            for at in 0..line.len() {
                for bit in 0..8 {
                    changed[at] ^= 1 << bit;
                    assert!(Sentence::read(&changed).is_err(), "{at} {bit}");
                    changed[at] = line[at];
                }
            }
        }
    }
}
