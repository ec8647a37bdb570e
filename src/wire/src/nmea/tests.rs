use std::{format, string::String, vec, vec::Vec};

use super::*;
use crate::{
    binary::MAX_DETECTIONS,
    command::{Command, Region, Request},
    reply::ErrorCode,
    report::TrackId,
    samples::{full, of, report, tracked},
};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).expect("ASCII");
    assert!(text.ends_with("\r\n"));
    let lines: Vec<String> = text.split_terminator("\r\n").map(str::to_owned).collect();
    for line in &lines {
        assert!(line.len() + 2 <= MAX_SENTENCE, "{line}");
        assert!(body(line.as_bytes()).is_some(), "{line}");
        let reserved = |c: char| !(' '..='}').contains(&c) || "!\\^".contains(c);
        assert!(!line.contains(reserved), "{line}");
    }
    lines
}

fn command_line(body: &str) -> Vec<u8> {
    format!("${body}*{:02X}\r\n", checksum(body.as_bytes())).into_bytes()
}

fn read(reader: &mut SentenceReader, bytes: &[u8]) -> Vec<Result<Request, Option<Reply>>> {
    let mut found = Vec::new();
    reader.push(bytes, |r| found.push(r));
    found
}

#[test]
fn a_report_is_a_sentence_and_one_per_detection() {
    let lines = written(|out| write_report(&report(), 16, out));
    assert_eq!(lines[0], "$TSREP,1234,2,3,5000,21500*5A");
    assert!(lines[1].starts_with("$TSDET,1234,0,0,0.875,320.0,240.0,100.0,160.0,person*4A"));
    assert!(lines[2].starts_with("$TSDET,1234,1,1,0.500,30.2,30.2,40.0,20.5,_l  _*"));
    assert_eq!(written(|out| write_report(&full(), 5, out)).len(), 6);
}

#[test]
fn every_track_and_direction_that_is_shown_is_told_once() {
    let lines = written(|out| write_report(&tracked(), 1, out));
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[2].starts_with("$TSTRK,1234,0,7*"));
    assert!(lines[3].starts_with("$TSSMO,1234,0,0.812*"), "{lines:?}");
    let mut many = full();
    many.header.seq = u64::MAX;
    let sent: Vec<u32> = (0..MAX_DETECTIONS as u32).map(|i| u32::MAX - i).collect();
    for (detection, id) in of(&mut many).iter_mut().zip(&sent) {
        detection.id = Some(TrackId(*id));
    }
    let lines = written(|out| write_report(&many, 5000, out));
    let mut ids = Vec::new();
    for line in lines.iter().filter(|l| l.starts_with("$TSTRK,")) {
        let fields: Vec<&str> = line[7..line.len() - 3].split(',').collect();
        assert_eq!(fields[1].parse(), Ok(ids.len()), "{line}");
        ids.extend(
            fields[2..]
                .iter()
                .map(|id| id.parse::<u32>().expect("an id")),
        );
    }
    assert_eq!(ids, sent);
}

#[test]
fn the_longest_numbers_and_any_words_keep_to_the_length() {
    let mut huge = full();
    huge.header.seq = u64::MAX;
    (huge.captured_ns, huge.latency_us) = (u64::MAX, u32::MAX);
    huge.prompts_version = u32::MAX;
    let long = "x,$*!\\^~\u{0}\r\nä".repeat(50);
    for detection in of(&mut huge) {
        detection.results[0].class_id = long.clone().into();
    }
    written(|out| write_report(&huge, 5000, out));
    let fault = Event::Fault {
        part: long.clone(),
        text: long.clone(),
    };
    written(|out| write_event(&fault, out));
    let telemetry = Telemetry {
        fps: f32::MAX,
        rss_bytes: u64::MAX,
        ..Telemetry::default()
    };
    written(|out| write_event(&Event::Telemetry(telemetry), out));
    written(|out| write_reply(&Reply::error(u32::MAX, ErrorCode::TooLong, long), out));
    written(|out| write_heartbeat(Some(State::Degraded), u64::MAX, u64::MAX, out));
}

#[test]
fn the_sentences_of_a_page_of_prompts_carry_the_commands_id() {
    let answer = Answer::Prompts {
        prompts_version: 3,
        count: 80,
        from: 7,
        names: vec!["cat".into(), "dog".into()],
    };
    let lines = written(|out| write_reply(&Reply::Ack { id: 5, answer }, out));
    assert!(lines[0].starts_with("$TSNAM,5,7,cat*") && lines[1].starts_with("$TSNAM,5,8,dog*"));
    assert!(lines[2].starts_with("$TSACK,5,80*"));
}

#[test]
fn commands_are_read_with_their_values() {
    let command = |body: &str| {
        let mut found = read(&mut SentenceReader::new(), &command_line(body));
        assert_eq!(found.len(), 1, "{body}");
        found.remove(0)
    };
    let ok = |body: &str, id, expected| {
        let request = Request {
            id,
            command: expected,
        };
        assert_eq!(command(body), Ok(request), "{body}");
    };
    ok("TSCMD,7,pause", 7, Command::Pause {});
    let prompts = vec!["person".into(), "eine rote Tür".into()];
    ok(
        "TSCMD,0,set_prompts,person,eine rote Tür",
        0,
        Command::SetPrompts { prompts },
    );
    ok("TSCMD,1,set_rate,", 1, Command::SetRate { fps: None });
    let threshold = |threshold| Command::SetThreshold {
        threshold,
        prompt: None,
    };
    ok("TSCMD,1,set_threshold,0.4", 1, threshold(Some(0.4)));
    let region = Region {
        x_offset: 1,
        y_offset: 2,
        width: 3,
        height: 4,
    };
    ok(
        "TSCMD,1,set_region,1,2,3,4",
        1,
        Command::SetRegion {
            region: Some(region),
        },
    );
    let refused = |body: &str, id, code| match command(body) {
        Err(Some(Reply::Error {
            id: got_id,
            code: got_code,
            ..
        })) => assert_eq!((got_id, got_code), (id, code), "{body}"),
        other => panic!("{body}: {other:?}"),
    };
    refused("TSCMD,9,pause,now", 9, ErrorCode::Invalid);
    refused("TSCMD,9,puase", 9, ErrorCode::UnknownCommand);
    refused("TSCMD,9,set_prompts", 9, ErrorCode::Invalid);
    refused("TSCMD,9,set_rate,0", 9, ErrorCode::Invalid);
    refused("TSCMD,9,set_rate,nan", 9, ErrorCode::Invalid);
    refused("TSCMD,x,pause", 0, ErrorCode::Malformed);
    refused("GPGGA,1", 0, ErrorCode::Malformed);
}

#[test]
fn no_single_flipped_bit_of_a_command_is_accepted_and_the_next_one_is_read() {
    let (whole, next) = (
        command_line("TSCMD,7,set_threshold,0.4"),
        command_line("TSCMD,8,pause"),
    );
    let expected = Ok(Request {
        id: 8,
        command: Command::Pause {},
    });
    // the line end is no part of the message: without it the message is over at the next `$`
    for bit in 0..(whole.len() - 2) * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes.extend(&next);
        let mut found = read(&mut SentenceReader::new(), &bytes);
        assert_eq!(found.pop(), Some(expected.clone()), "bit {bit}");
        assert!(found.iter().all(|f| *f == Err(None)), "bit {bit}");
    }
}

#[test]
fn a_sentence_cut_at_any_byte_is_refused_and_the_next_one_is_read() {
    let whole = command_line("TSCMD,7,pause");
    for cut in 1..whole.len() - 2 {
        for piece in [&whole[..cut], &whole[cut..]] {
            let bytes = [piece, &whole].concat();
            let found = read(&mut SentenceReader::new(), &bytes);
            assert!(matches!(found[..], [Err(None), Ok(_)]), "{cut}: {found:?}");
        }
    }
}

#[test]
fn a_line_without_end_is_passed_over_and_kept_short() {
    let mut reader = SentenceReader::new();
    assert!(read(&mut reader, &[b'x'; 1_000_000]).is_empty());
    assert!(reader.lines.kept() <= MAX_COMMAND);
    let found = read(
        &mut reader,
        &[b"\n".as_slice(), &command_line("TSCMD,1,pause")].concat(),
    );
    assert!(matches!(found[..], [Err(None), Ok(_)]), "{found:?}");
}
