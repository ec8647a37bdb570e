use std::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use serde_json::json;

use super::*;
use crate::{
    binary::MAX_DETECTIONS,
    command::{PromptKind, PromptSpec, Region, TaskSpec},
    event::{State, Telemetry},
    report::TrackId,
    samples::{appeared, full, of, report, tracked},
};

fn parsed(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    write(&mut out);
    assert!(!out.contains(&b'\n'));
    serde_json::from_slice(&out).expect("JSON")
}

fn refused(line: &str) -> (u32, ErrorCode, String) {
    match read_request(line.as_bytes()) {
        Err(Reply::Error { id, code, text }) => (id, code, text),
        other => panic!("{line} is {other:?}"),
    }
}

#[test]
fn a_report_has_the_envelope_and_the_fields_of_the_report_writer() {
    let line = parsed(|out| write_report(&report(), out));
    assert_eq!(line["type"], "report");
    assert_eq!(line["header"]["seq"], 1234);
    assert_eq!(line["header"]["stamp"]["sec"], 1_700_000_000);
    assert_eq!(line["captured_ns"], 5_000_000_000_u64);
    assert_eq!(line["dropped"], json!({"late":2,"damaged":1,"failed":0}));
    assert_eq!(line["detections"][1]["results"][0]["class_id"], "Öl, 猫");
    assert_eq!(line["detections"][0]["bbox"]["center"]["x"], 320.0);
    let line = parsed(|out| write_report(&full(), out));
    assert_eq!(
        line["detections"].as_array().map(Vec::len),
        Some(MAX_DETECTIONS)
    );
}

#[test]
fn a_full_report_with_tracks_and_directions_is_within_the_default_limit_and_a_longer_one_is_not() {
    let mut full = full();
    let mut small = tracked();
    let pattern = of(&mut small)[1].clone();
    let sight = of(&mut small)[0].sight;
    for (i, detection) in of(&mut full).iter_mut().enumerate() {
        detection.id = Some(TrackId(1_000_000 + i as u32));
        detection.smoothed_score = pattern.smoothed_score;
        detection.continued = pattern.continued;
        detection.sight = sight;
    }
    let mut out = Vec::new();
    let most = 1_310_720;
    assert!(write_report_within(&full, most, &mut out), "{}", out.len());
    let length = out.len();
    out.clear();
    assert!(write_report_within(&full, length, &mut out));
    out.clear();
    assert!(!write_report_within(&full, length - 1, &mut out));
    assert!(out.len() < length);
}

#[test]
fn events_are_read_back_as_they_were() {
    let events = [
        Event::Hello {
            wire: 1,
            version: "0.1.0".into(),
            run: 7,
        },
        Event::State {
            from: State::Running,
            to: State::Degraded,
            why: "camera\nlost \"here\"".into(),
        },
        Event::PromptsChanged {
            version: 3,
            count: 80,
        },
        Event::Fault {
            part: "pack".into(),
            text: "self-test failed".into(),
        },
        Event::Telemetry(Telemetry {
            fps: 12.5,
            temperature_c: Some(61.0),
            links: vec![Default::default()],
            ..Telemetry::default()
        }),
        Event::Scene(appeared()),
        Event::Lost {
            count: u64::MAX,
            others: 1,
        },
    ];
    for event in events {
        let mut line = parsed(|out| write_event(&event, out));
        let kind = line.as_object_mut().and_then(|o| o.remove("type"));
        assert_eq!(kind, Some("event".into()));
        let back: Event = serde_json::from_value(line).expect("an event");
        assert_eq!(back, event);
    }
}

#[test]
fn replies_say_whether_and_why() {
    let line = parsed(|out| write_reply(&Reply::done(9), out));
    assert_eq!(line, json!({"type":"reply","id":9,"ok":true}));
    let answer = Answer::PromptsVersion(4);
    let line = parsed(|out| write_reply(&Reply::Ack { id: 1, answer }, out));
    assert_eq!(line["answer"], json!({"prompts_version":4}));
    let reply = Reply::error(2, ErrorCode::UnknownPrompt, "no \"cupp\"");
    let line = parsed(|out| write_reply(&reply, out));
    let error = json!({"code":4,"name":"unknown_prompt","text":"no \"cupp\""});
    assert_eq!(
        line,
        json!({"type":"reply","id":2,"ok":false,"error":error})
    );
}

#[test]
fn every_command_is_read_back_as_it_was_written() {
    let region = Region {
        x_offset: 1,
        y_offset: 2,
        width: 3,
        height: 4,
    };
    let spec = PromptSpec {
        text: "a red cup".into(),
        kind: PromptKind::Sentence,
        threshold: Some(0.25),
        group: Some("cups".into()),
        reject: true,
    };
    let prompts = || vec![spec.clone(), "person".into()];
    let commands = [
        Command::Hello {},
        Command::GetPrompts { from: 5, count: 6 },
        Command::SetPrompts { prompts: prompts() },
        Command::AddPrompts { prompts: prompts() },
        Command::RemovePrompts {
            prompts: vec!["person".into()],
        },
        Command::SetThreshold {
            threshold: Some(0.5),
            prompt: Some("person".into()),
        },
        Command::SetRate { fps: Some(2.5) },
        Command::SetRegion {
            region: Some(region),
        },
        Command::Pause {},
        Command::Resume {},
        Command::ReportOnce {},
        Command::Mask {
            sequence: u64::MAX,
            detection: 3,
            bits: true,
        },
        Command::SetTask {
            task: TaskSpec {
                semantic: true,
                ground: vec!["the red cup".into()],
                ..TaskSpec::default()
            },
        },
        Command::Enrol {
            name: "mine".into(),
            region,
        },
        Command::Telemetry {},
        Command::GetPresence { from: 5, count: 6 },
        Command::SelfTest {},
        Command::ReloadPack {},
    ];
    assert_eq!(commands.len(), Command::NAMES.len());
    for (command, name) in commands.into_iter().zip(Command::NAMES) {
        let mut line = serde_json::to_value(&command).expect("JSON");
        assert_eq!(line["command"], name);
        line["id"] = 77.into();
        let request = read_request(line.to_string().as_bytes());
        assert_eq!(request, Ok(Request { id: 77, command }));
    }
}

#[test]
fn what_is_no_command_is_refused_with_its_id_and_a_reason() {
    use ErrorCode::{Invalid, Malformed, UnknownCommand};
    let cases = [
        ("", 0, Malformed, "no JSON object"),
        ("[1]", 0, Malformed, "no JSON object"),
        (r#"{"id":-1,"command":"pause"}"#, 0, Malformed, "id is -1"),
        (r#"{"id":3}"#, 3, Malformed, "no field command"),
        (r#"{"id":3,"command":7}"#, 3, Malformed, "no field command"),
        (
            r#"{"id":3,"command":"puase"}"#,
            3,
            UnknownCommand,
            "no command \"puase\"",
        ),
        (
            r#"{"id":3,"command":"pause","now":1}"#,
            3,
            Invalid,
            "unknown field `now`",
        ),
        (
            r#"{"id":3,"command":"set_prompts"}"#,
            3,
            Invalid,
            "missing field `prompts`",
        ),
        (
            r#"{"id":3,"command":"set_prompts","prompts":[]}"#,
            3,
            Invalid,
            "empty",
        ),
        (
            r#"{"id":3,"command":"set_prompts","prompts":[" "]}"#,
            3,
            Invalid,
            "empty",
        ),
        (
            r#"{"id":3,"command":"set_prompts","prompts":[{"text":"a","treshold":1}]}"#,
            3,
            Invalid,
            "unknown field `treshold`",
        ),
        (
            r#"{"id":3,"command":"set_prompts","prompts":[7]}"#,
            3,
            Invalid,
            "a text or an object",
        ),
        (
            r#"{"id":3,"command":"set_threshold","threshold":1.5}"#,
            3,
            Invalid,
            "0 to 1",
        ),
        (
            r#"{"id":3,"command":"set_rate","fps":0}"#,
            3,
            Invalid,
            "fps is 0; it must be from 0.001 to 1000",
        ),
        (
            r#"{"id":3,"command":"set_region","region":{"x_offset":0,"y_offset":0,"width":0,"height":4}}"#,
            3,
            Invalid,
            "empty",
        ),
    ];
    for (line, id, code, words) in cases {
        let (got_id, got_code, text) = refused(line);
        assert_eq!((got_id, got_code), (id, code), "{line}: {text}");
        assert!(text.contains(words), "{line}: {text}");
    }
}

#[test]
fn nesting_without_end_is_an_error_and_no_overflow() {
    let deep = format!("{{\"command\":{}", "[".repeat(500_000));
    assert_eq!(refused(&deep).1, ErrorCode::Malformed);
}
