//! WIRE.md is right: its blocks are what this program writes and reads, byte by byte.

use std::collections::BTreeMap;

use super::{
    Answer, Command, Drops, ErrorCode, Event, LinkHealth, Reply, Request, State, Telemetry,
    WIRE_VERSION, binary,
    command::NamePresence,
    frame::{Deframer, Framer, Kind},
    json,
    message::tests::{appeared, envelope, present, tasked, tracked},
    sentence::{self, SentenceReader},
};

const PAGE: &str = include_str!("WIRE.md");

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

fn hello() -> Event {
    Event::Hello {
        wire: WIRE_VERSION,
        version: "0.1.0".into(),
        run: 0x1234_abcd,
    }
}

fn state() -> Event {
    Event::State {
        from: State::Running,
        to: State::Degraded,
        why: "camera lost".into(),
    }
}

fn prompts_changed() -> Event {
    Event::PromptsChanged {
        version: 4,
        count: 80,
    }
}

fn fault() -> Event {
    Event::Fault {
        part: "pack".into(),
        text: "self-test failed".into(),
    }
}

fn telemetry() -> Event {
    Event::Telemetry(Telemetry {
        state: Some(State::Running),
        uptime_ms: 60_000,
        frames: 1800,
        fps: 30.0,
        rate_fps: None,
        latency_p50_us: 21_000,
        latency_p99_us: 25_000,
        inference_p50_us: 15_000,
        dropped: Drops {
            late: 2,
            damaged: 1,
            failed: 0,
        },
        rss_bytes: 25_000_000,
        temperature_c: Some(61.5),
        throttled: Some(false),
        prompts_version: 4,
        prompts: 80,
        pack: "tarsier-s 1".into(),
        links: vec![LinkHealth {
            name: "/dev/ttyAMA0".into(),
            up: true,
            clients: 1,
            sent: 1790,
            lost: 10,
            bytes: 140_000,
            commands: 2,
            garbled: 0,
        }],
    })
}

const LOST: Event = Event::Lost {
    count: 17,
    others: 0,
};

fn ack(id: u32, answer: Answer) -> Reply {
    Reply::Ack { id, answer }
}

fn page_of_prompts() -> Reply {
    let answer = Answer::Prompts {
        prompts_version: 3,
        count: 2,
        from: 0,
        names: envelope().names.to_vec(),
    };
    ack(2, answer)
}

fn who() -> Reply {
    let answer = Answer::Hello {
        wire: WIRE_VERSION,
        version: "0.1.0".into(),
        run: 0x1234_abcd,
        pack: "tarsier-s 1".into(),
        prompts_version: 3,
        prompts: 2,
    };
    ack(1, answer)
}

fn names() -> Reply {
    let envelope = present();
    let names = envelope.report.presences.iter().map(|p| NamePresence {
        prompt: p.prompt,
        class_id: envelope.names[p.prompt as usize].clone(),
        state: p.state,
        score: p.score,
    });
    let answer = Answer::Presence {
        prompts_version: envelope.prompts_version,
        seq: envelope.sequence,
        counts: envelope.report.presence_counts,
        from: 0,
        names: names.collect(),
    };
    ack(24, answer)
}

fn error() -> Reply {
    Reply::error(
        4,
        ErrorCode::UnknownPrompt,
        "\"cupp\" is not in the vocabulary",
    )
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
    use super::json::{write_event, write_reply, write_report};
    let event = |e: Event| written(|out| write_event(&e, out));
    let reply = |r: Reply| written(|out| write_reply(&r, out));
    let report = written(|out| binary::write_report(&envelope(), out));
    let heartbeat =
        written(|out| binary::write_heartbeat(0x1234_abcd, Some(State::Running), 1790, 10, out));
    let expected: BTreeMap<&str, Vec<u8>> = [
        ("report.json", written(|out| write_report(&envelope(), out))),
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
        ("report.frame", framed(Kind::Report, 7, &report)),
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
            written(|out| sentence::write_report(&present(), 16, out)),
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
            written(|out| sentence::write_report(&tracked(), 16, out)),
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
            written(|out| sentence::write_report(&envelope(), 16, out)),
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
                    sentence::write_event(&event, out);
                }
                sentence::write_heartbeat(Some(State::Running), 1790, 10, out);
            }),
        ),
        (
            "replies.text",
            written(|out| {
                for reply in [Reply::done(11), page_of_prompts(), names(), who(), error()] {
                    sentence::write_reply(&reply, out);
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
        spelled(super::frame::MAX_PAYLOAD)
    )));
    assert!(PAGE.contains("1,048,576 bytes") && json::MAX_LINE == 1_048_576);
}
