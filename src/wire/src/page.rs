//! WIRE.md is right: its blocks are what this program writes and reads, byte by byte.

use std::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    Answer, Command, ErrorCode, Event, Message, Reply, Report, Request, State,
    binary::{self, Payload},
    buffer::Fixed,
    frame::{Deframer, Framer, Kind},
    json,
    list::List,
    nmea::{self, Sentence, SentenceReader},
    report::{Change, PresenceState},
    samples::{
        LOST, ack, appeared, error, fault, hello, names, of, page_of_prompts, present,
        prompts_changed, report, state, tasked, telemetry, tracked, who,
    },
};

const PAGE: &str = include_str!("../WIRE.md");

/// The named blocks of the page: direction and name, and what is in them.
fn blocks() -> BTreeMap<(&'static str, &'static str), &'static str> {
    let blocks = PAGE.split("<!-- ").skip(1).map(|part| {
        let (label, rest) = part
            .split_once(" -->\n```")
            .expect("a block after its name");
        let (direction, name) = label.split_once(' ').expect("a direction and a name");
        let (kind, rest) = rest.split_once('\n').expect("a kind of block");
        let extension = name.rsplit('.').next();
        let expected = if extension == Some("frame") {
            Some("hex")
        } else {
            extension
        };
        assert_eq!(Some(kind), expected, "{name}");
        let (block, _) = rest.split_once("```").expect("an end of the block");
        ((direction, name), block)
    });
    let blocks: BTreeMap<_, _> = blocks.collect();
    let fences = PAGE.matches("\n```json").count()
        + PAGE.matches("\n```hex").count()
        + PAGE.matches("\n```text").count();
    assert_eq!(
        blocks.len(),
        fences,
        "every block of bytes has a name of its own"
    );
    blocks
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// A frame with a number.
fn framed(kind: Kind, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut framer = Framer::new();
    for _ in 0..number {
        framer.frame(kind, |_| (), &mut Vec::new()).expect("short");
    }
    written(|out| {
        framer
            .frame(kind, |p| p.extend(payload), out)
            .expect("short")
    })
}

/// Bytes of a block of hexadecimal numbers; what follows a semicolon on a line is said for people.
fn bytes(block: &str) -> Vec<u8> {
    let words = block
        .lines()
        .flat_map(|line| line.split(';').next().unwrap_or("").split_whitespace());
    words
        .map(|word| u8::from_str_radix(word, 16).expect("a byte"))
        .collect()
}

#[test]
fn every_block_of_the_wires_page_is_what_is_written() {
    use crate::json::{write_event, write_reply, write_report};
    let event = |e: Event| written(|out| write_event(&e, out));
    let reply = |r: Reply| written(|out| write_reply(&r, out));
    let plain = written(|out| binary::write_report(&report(), out));
    let heartbeat =
        written(|out| binary::write_heartbeat(0x1234_abcd, Some(State::Running), 1790, 10, out));
    let expected: BTreeMap<&str, Vec<u8>> = [
        ("report.json", written(|out| write_report(&report(), out))),
        ("tracked.json", written(|out| write_report(&tracked(), out))),
        ("task.json", written(|out| write_report(&tasked(), out))),
        ("hello.json", event(hello())),
        ("state.json", event(state())),
        ("prompts_changed.json", event(prompts_changed())),
        ("fault.json", event(fault())),
        ("telemetry.json", event(telemetry())),
        (
            "presence.json",
            written(|out| write_report(&present(), out)),
        ),
        ("scene.json", event(Event::Scene(appeared()))),
        ("names.json", reply(names())),
        ("lost.json", event(LOST)),
        ("done.json", reply(Reply::done(11))),
        ("version.json", reply(ack(4, Answer::PromptsVersion(5)))),
        ("prompts.json", reply(page_of_prompts())),
        ("who.json", reply(who())),
        ("error.json", reply(error())),
        ("report.frame", framed(Kind::Report, 7, &plain)),
        (
            "sights.frame",
            framed(
                Kind::Sights,
                8,
                &written(|out| binary::write_sights(&tracked(), out)),
            ),
        ),
        (
            "presence.frame",
            framed(
                Kind::Presence,
                8,
                &written(|out| binary::write_presence(&present(), out)),
            ),
        ),
        (
            "scene.frame",
            framed(
                Kind::Happening,
                9,
                &written(|out| {
                    binary::write_happening(&Event::Scene(appeared()), &appeared(), out);
                }),
            ),
        ),
        (
            "presence.text",
            written(|out| nmea::write_report(&present(), 16, out)),
        ),
        (
            "smoothed.frame",
            framed(
                Kind::Smoothed,
                10,
                &written(|out| binary::write_smoothed(&tracked(), out)),
            ),
        ),
        (
            "tracked.text",
            written(|out| nmea::write_report(&tracked(), 16, out)),
        ),
        ("heartbeat.frame", framed(Kind::Heartbeat, 8, &heartbeat)),
        (
            "error.frame",
            framed(
                Kind::Reply,
                9,
                &written(|out| binary::write_reply(&error(), out)),
            ),
        ),
        (
            "lost.frame",
            framed(
                Kind::Event,
                10,
                &written(|out| binary::write_event(&LOST, out)),
            ),
        ),
        (
            "report.text",
            written(|out| nmea::write_report(&report(), 16, out)),
        ),
        (
            "events.text",
            written(|out| {
                for event in [
                    hello(),
                    state(),
                    prompts_changed(),
                    fault(),
                    telemetry(),
                    Event::Scene(appeared()),
                    LOST,
                ] {
                    nmea::write_event(&event, out);
                }
                nmea::write_heartbeat(Some(State::Running), 1790, 10, out);
            }),
        ),
        (
            "replies.text",
            written(|out| {
                for reply in [Reply::done(11), page_of_prompts(), names(), who(), error()] {
                    nmea::write_reply(&reply, out);
                }
            }),
        ),
    ]
    .into();
    let blocks = blocks();
    let on_page: Vec<_> = blocks
        .keys()
        .filter(|k| k.0 == "out")
        .map(|k| k.1)
        .collect();
    assert_eq!(on_page, expected.keys().copied().collect::<Vec<_>>());
    for (name, expected) in expected {
        let block = blocks[&("out", name)];
        let text = String::from_utf8_lossy(&expected).into_owned();
        match name.rsplit('.').next() {
            Some("frame") => {
                let hex: Vec<_> = expected.iter().map(|b| format!("{b:02x}")).collect();
                assert!(bytes(block) == expected, "{name} is\n{}", hex.join(" "));
            }
            Some("json") => assert!(block.replace('\n', "") == text, "{name} is\n{text}"),
            _ => assert!(block.replace('\n', "\r\n") == text, "{name} is\n{text}"),
        }
    }
}

#[test]
fn every_command_of_the_wires_page_is_read_and_none_is_missing() {
    let blocks = blocks();
    let mut in_json = Vec::new();
    for line in blocks[&("in", "commands.json")].lines() {
        let request = json::read_request(line.as_bytes());
        in_json.push(request.unwrap_or_else(|reply| panic!("{line}: {reply:?}")));
    }
    let name = |command: &Command| {
        let value = serde_json::to_value(command).expect("JSON");
        value["command"].as_str().expect("a name").to_owned()
    };
    for known in Command::NAMES {
        assert!(in_json.iter().any(|r| name(&r.command) == known), "{known}");
        assert!(PAGE.contains(&format!("`{known}`")), "{known}");
    }
    let mut in_text = Vec::new();
    let text = blocks[&("in", "commands.text")].replace('\n', "\r\n");
    SentenceReader::new().push(text.as_bytes(), |r| in_text.push(r.expect("a command")));
    assert_eq!(in_text.len(), text.lines().count());
    for known in Command::NAMES {
        assert!(in_text.iter().any(|r| name(&r.command) == known), "{known}");
    }
    // the same id is the same command in both
    for request in in_text {
        assert!(in_json.contains(&request), "{request:?}");
    }
}

#[test]
fn the_framed_command_of_the_wires_page_is_read() {
    let mut read = Vec::new();
    Deframer::new().push(&bytes(blocks()[&("in", "pause.frame")]), |frame| {
        let frame = frame.expect("a frame");
        assert_eq!((frame.kind, frame.sequence), (Kind::Command, 0));
        read.push(json::read_request(frame.payload).expect("a command"));
    });
    let command = Command::Pause {};
    assert_eq!(read, [Request { id: 7, command }]);
}

#[test]
fn the_tables_of_the_wires_page_have_every_number() {
    for code in ErrorCode::ALL {
        let name = serde_json::to_value(code).expect("JSON");
        let row = format!("| {} | `{}` |", code as u8, name.as_str().expect("a name"));
        assert!(PAGE.contains(&row), "{row}");
    }
    for state in State::ALL {
        assert!(PAGE.contains(&format!("`{}`", state.name())), "{state:?}");
    }
    let spelled = |n: usize| {
        let digits = n.to_string();
        let (head, tail) = digits.split_at(digits.len() - 3);
        format!("{head},{tail}")
    };
    assert!(PAGE.contains(&format!("at most {}.", spelled(binary::MAX_REPORT_BYTES))));
    assert!(PAGE.contains(&format!(
        "0 to {} bytes",
        spelled(crate::frame::MAX_PAYLOAD)
    )));
    assert!(PAGE.contains("1,048,576 bytes") && json::MAX_LINE == 1_048_576);
}

/// The frame of a block.
fn payload(name: &str, read: impl FnOnce(Payload<'_>)) {
    let (mut read, block) = (Some(read), bytes(blocks()[&("out", name)]));
    Deframer::<Fixed<400>>::fixed().push(&block, |frame| {
        let frame = frame.expect("a frame");
        let read = read.take().expect("one frame");
        read(binary::read(&frame).unwrap_or_else(|e| panic!("{name}: {e}")));
    });
    assert!(read.is_none(), "{name}");
}

#[test]
fn every_line_of_json_of_the_wires_page_is_read_as_what_was_written() {
    // what JSON does not say
    fn said(mut report: Report<'static>) -> Message<'static> {
        of(&mut report).iter_mut().for_each(|d| d.prompt = 0);
        if let Some(List::Owned(names)) = &mut report.presence {
            names.iter_mut().for_each(|name| name.prompt = 0);
        }
        Message::Report(report)
    }
    let expected = [
        ("report.json", said(report())),
        ("tracked.json", said(tracked())),
        ("task.json", said(tasked())),
        ("presence.json", said(present())),
        ("hello.json", Message::Event(hello())),
        ("state.json", Message::Event(state())),
        ("prompts_changed.json", Message::Event(prompts_changed())),
        ("fault.json", Message::Event(fault())),
        ("telemetry.json", Message::Event(telemetry())),
        ("scene.json", Message::Event(Event::Scene(appeared()))),
        ("lost.json", Message::Event(LOST)),
        ("names.json", Message::Reply(names())),
        ("done.json", Message::Reply(Reply::done(11))),
        (
            "version.json",
            Message::Reply(ack(4, Answer::PromptsVersion(5))),
        ),
        ("prompts.json", Message::Reply(page_of_prompts())),
        ("who.json", Message::Reply(who())),
        ("error.json", Message::Reply(error())),
    ];
    let blocks = blocks();
    let lines = |key: &&(&str, &str)| key.0 == "out" && key.1.ends_with(".json");
    assert_eq!(blocks.keys().filter(lines).count(), expected.len());
    for (name, expected) in expected {
        let line = blocks[&("out", name)];
        let read = json::read(line.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(read, expected, "{name}");
    }
}

#[test]
fn every_frame_of_the_wires_page_is_read() {
    payload("report.frame", |payload| {
        let Payload::Report(read) = payload else {
            panic!("{payload:?}");
        };
        let sent = report();
        assert_eq!((read.run, read.sequence), (sent.run, sent.header.seq));
        assert_eq!(read.prompts_version, sent.prompts_version);
        assert_eq!((read.width, read.height, read.crowded), (640, 480, 0));
        let boxes: Vec<_> = read.detections.iter().map(|d| d.bbox).collect();
        assert_eq!(
            boxes,
            of(&mut report()).iter().map(|d| d.bbox).collect::<Vec<_>>()
        );
    });
    payload("heartbeat.frame", |payload| {
        let heartbeat = binary::Heartbeat {
            run: 0x1234_abcd,
            state: Some(State::Running),
            sent: 1790,
            lost: 10,
        };
        assert_eq!(payload, Payload::Heartbeat(heartbeat));
    });
    payload("error.frame", |payload| {
        let Payload::Reply(reply) = payload else {
            panic!("{payload:?}");
        };
        assert_eq!((reply.id, reply.error), (4, Some(ErrorCode::UnknownPrompt)));
        let json = json::read(reply.json).expect("JSON");
        assert_eq!(json, Message::Reply(error()));
    });
    payload("lost.frame", |payload| {
        let Payload::Event(event) = payload else {
            panic!("{payload:?}");
        };
        assert_eq!((event.number, event.value), (6, 17));
        assert_eq!(json::read(event.json).expect("JSON"), Message::Event(LOST));
    });
    payload("sights.frame", |payload| {
        let Payload::Sights(sights) = payload else {
            panic!("{payload:?}");
        };
        let sent: Vec<_> = of(&mut tracked()).iter().filter_map(|d| d.sight).collect();
        assert_eq!(sights.sights.iter().collect::<Vec<_>>(), sent);
    });
    payload("presence.frame", |payload| {
        let Payload::Presence(presence) = payload else {
            panic!("{payload:?}");
        };
        assert_eq!(Some(presence.counts), present().presence_counts);
        let names: Vec<_> = presence
            .names
            .iter()
            .map(|n| (n.prompt, n.state, n.change))
            .collect();
        let appeared = Some(Change::Appeared);
        let (there, unsure) = (PresenceState::There, PresenceState::Unsure);
        assert_eq!(names, [(0, there, appeared), (1, unsure, None)]);
    });
    payload("scene.frame", |payload| {
        let Payload::Happening(happening) = payload else {
            panic!("{payload:?}");
        };
        assert_eq!(
            (happening.kind, happening.sequence),
            (Change::Appeared, 1234)
        );
        assert_eq!(
            (happening.prompt, happening.track, happening.place),
            (0, 0, 0)
        );
        let json = json::read(happening.json).expect("JSON");
        assert_eq!(json, Message::Event(Event::Scene(appeared())));
    });
    payload("smoothed.frame", |payload| {
        let Payload::Smoothed(smoothed) = payload else {
            panic!("{payload:?}");
        };
        assert_eq!((smoothed.scores.len(), smoothed.continued), (2, 1));
    });
}

#[test]
fn every_sentence_of_the_wires_page_is_read_and_written_again() {
    let mut names = Vec::new();
    for ((_, name), block) in blocks() {
        if !name.ends_with(".text") || name == "commands.text" {
            continue;
        }
        for line in block.lines() {
            let read = Sentence::read(line.as_bytes());
            let read = read.unwrap_or_else(|e| panic!("{line}: {e}"));
            let again = written(|out| read.write(out));
            assert_eq!(String::from_utf8_lossy(&again), std::format!("{line}\r\n"));
            names.push(&line[..6]);
        }
    }
    // each of the page's table
    for row in PAGE.lines().filter(|line| line.starts_with("| `$TS")) {
        let name = row.split('`').nth(1).expect("a name");
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn every_command_of_the_wires_page_is_written_again() {
    let blocks = blocks();
    for line in blocks[&("in", "commands.json")].lines() {
        let request = json::read_request(line.as_bytes()).expect("a command");
        let again = written(|out| json::write_request(&request, out));
        assert_eq!(json::read_request(&again), Ok(request), "{line}");
    }
    for line in blocks[&("in", "commands.text")].lines() {
        let request = nmea::read_request(line.as_bytes()).expect("a command");
        let again = written(|out| nmea::write_request(&request, out).expect("sayable"));
        assert_eq!(String::from_utf8_lossy(&again), std::format!("{line}\r\n"));
    }
}
