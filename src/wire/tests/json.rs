//! What a writer writes, a reader reads back the same, for generated messages; and bytes that were
//! cut or changed are refused or are another message, never a panic: lines of JSON.

mod generated;

use std::borrow::Cow;

use generated::{MANY, Make, SOME, written};
use tarsier_wire::{ErrorCode, Message, Reply, Report, binary, json, nmea};

/// Lines of JSON of every kind of message.
fn lines(make: &mut Make) -> [(Vec<u8>, Message<'static>); 3] {
    let (report, event, reply) = (make.report(), make.event(), make.reply());
    [
        (
            written(|out| json::write_report(&report, out)),
            Message::Report(report),
        ),
        (
            written(|out| json::write_event(&event, out)),
            Message::Event(event),
        ),
        (
            written(|out| json::write_reply(&reply, out)),
            Message::Reply(reply),
        ),
    ]
}

#[test]
fn every_message_in_json_is_read_back_the_same() {
    for seed in 0..MANY {
        for (line, sent) in lines(&mut Make::new(seed)) {
            let text = String::from_utf8_lossy(&line);
            let read = json::read(&line).unwrap_or_else(|e| panic!("{e:?}: {text}"));
            // as texts: a message that borrows and one that owns are of two types
            assert_eq!(format!("{read:?}"), format!("{sent:?}"), "{text}");
            assert!(!line.contains(&b'\n'), "{text}");
        }
    }
}

#[test]
fn a_message_that_was_read_is_written_as_it_was() {
    for seed in 0..MANY {
        for (line, _) in lines(&mut Make::new(seed)) {
            let again = match json::read(&line).expect("a message") {
                Message::Report(report) => written(|out| json::write_report(&report, out)),
                Message::Event(event) => written(|out| json::write_event(&event, out)),
                Message::Reply(reply) => written(|out| json::write_reply(&reply, out)),
            };
            assert_eq!(again, line, "{}", String::from_utf8_lossy(&line));
        }
    }
}

#[test]
fn a_line_that_is_cut_is_refused_and_one_with_a_changed_byte_never_panics() {
    for seed in 0..SOME {
        for (line, _) in lines(&mut Make::new(seed)) {
            for cut in 0..line.len() {
                assert!(json::read(&line[..cut]).is_err(), "{cut}");
            }
            let mut changed = line.clone();
            for at in 0..line.len() {
                for byte in [
                    b'"',
                    b'0',
                    b'}',
                    b',',
                    0,
                    0xff,
                    line[at] ^ 1,
                    line[at] ^ 0x80,
                ] {
                    changed[at] = byte;
                    // refused, or another message that can be written
                    if let Ok(Message::Report(report)) = json::read(&changed) {
                        written(|out| binary::write_report(&report, out));
                        written(|out| nmea::write_report(&report, 16, out));
                    }
                    let _ = json::read_request(&changed);
                }
                changed[at] = line[at];
            }
        }
    }
}

#[test]
fn every_command_is_read_back_the_same_in_json_and_where_it_can_be_said_in_a_sentence() {
    let mut said = 0;
    for seed in 0..3 * MANY {
        let request = Make::new(seed).request();
        let line = written(|out| json::write_request(&request, out));
        let text = String::from_utf8_lossy(&line);
        assert_eq!(json::read_request(&line).as_ref(), Ok(&request), "{text}");
        let mut sentence = vec![b'#'];
        match nmea::write_request(&request, &mut sentence) {
            Ok(()) => {
                let line = sentence[1..].strip_suffix(b"\n").expect("a line");
                assert_eq!(nmea::read_request(line), Ok(request), "{text}");
                said += 1;
            }
            Err(_) => assert_eq!(sentence, b"#", "{text}"),
        }
    }
    assert!(said > MANY, "{said} commands had a sentence");
}

#[test]
fn texts_without_escapes_are_not_copied() {
    let line = br#"{"type":"report","detections":[{"results":[{"class_id":"cup","score":1}]},{"results":[{"class_id":"a \"cup\"","score":1}]}]}"#;
    let Ok(Message::Report(report)) = json::read(line) else {
        panic!("a report");
    };
    let borrowed = owned_names(&report);
    assert_eq!(borrowed, [true, false]);
}

fn owned_names(report: &Report<'_>) -> Vec<bool> {
    let mut borrowed = Vec::new();
    report.detections.each(usize::MAX, |_, d| {
        borrowed.push(matches!(d.results[0].class_id, Cow::Borrowed(_)));
    });
    borrowed
}

#[test]
fn what_was_added_after_this_version_is_passed_over() {
    let line = br#"{"type":"report","header":{"seq":7,"new":[]},"new":{"a":1},"width":3,"detections":[{"new":0}]}"#;
    let Ok(Message::Report(report)) = json::read(line) else {
        panic!("a report");
    };
    assert_eq!(
        (report.header.seq, report.width, report.detections.len()),
        (7, 3, 1)
    );
    let code =
        br#"{"type":"reply","id":3,"ok":false,"error":{"code":77,"name":"tired","text":"later"}}"#;
    let reply = Reply::error(3, ErrorCode::Unknown, "later");
    assert_eq!(json::read(code).expect("a reply"), Message::Reply(reply));
    for line in [
        &br#"{"type":"news"}"#[..],
        br#"{"type":"event","event":"news"}"#,
        br#"{"type":"event","event":"scene","kind":"fell","class_id":"cup"}"#,
        br#"{"event":"lost"}"#,
        b"[1]",
        b"",
    ] {
        assert!(
            json::read(line).is_err(),
            "{}",
            String::from_utf8_lossy(line)
        );
    }
}
