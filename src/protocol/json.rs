//! One message, one line of JSON, without its line feed.
//!
//! Every line is an object whose first field, `type`, is `report`, `event` or `reply`. A report is that of
//! [`report::json`](crate::report::json), whose names follow ROS `vision_msgs`, and what [`Envelope`] adds. Commands are objects
//! with a field `command`, and are strict: an unknown field is an error and not a typing mistake that passes for a default.

use std::io;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    command::{Answer, Command, ErrorCode, Reply, Request},
    extras::{Groundings, Objects, Segments},
    message::{Drops, Envelope, Event, Outgoing},
};
use crate::{
    report::json::{Detections, Header, Presences},
    scene::PresenceCounts,
};

/// Longest line that is read, in bytes, the line feed left out.
pub const MAX_LINE: usize = 1 << 20;

/// Appends a message.
pub fn write(message: &Outgoing, out: &mut Vec<u8>) {
    match message {
        Outgoing::Report(envelope) => write_report(envelope, out),
        Outgoing::Event(event) => write_event(event, out),
        Outgoing::Reply(reply) => write_reply(reply, out),
    }
}

/// Appends a report.
pub fn write_report(envelope: &Envelope, out: &mut Vec<u8>) {
    let whole = write_report_within(envelope, usize::MAX, out);
    debug_assert!(whole, "all keys of our messages are texts");
}

/// Appends a report, if it has no more than so many bytes: whether it has. If not, a part of it was written, and no more memory used.
pub fn write_report_within(envelope: &Envelope, most: usize, out: &mut Vec<u8>) -> bool {
    #[derive(Serialize)]
    #[serde(tag = "type", rename = "report")]
    struct Line<'a> {
        header: Header,
        run: u32,
        prompts_version: u32,
        captured_ns: u64,
        latency_us: u32,
        width: u32,
        height: u32,
        dropped: &'a Drops,
        crowded: u32,
        detections: Detections<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        presence: Option<Presences<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        presence_counts: Option<PresenceCounts>,
        #[serde(skip_serializing_if = "Option::is_none")]
        segments: Option<Segments<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        groundings: Option<Groundings<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        objects: Option<Objects<'a>>,
    }
    let extras = &envelope.extras;
    let report = &envelope.report;
    let presence = Presences::new(&*envelope.names, report);
    let line = Line {
        header: Header::new(envelope.sequence, report.captured),
        run: envelope.run,
        prompts_version: envelope.prompts_version,
        captured_ns: envelope.captured_ns,
        latency_us: envelope.latency_us,
        width: report.size.width,
        height: report.size.height,
        dropped: &envelope.dropped,
        crowded: report.dropped,
        detections: Detections::new(&*envelope.names, report),
        presence_counts: presence.is_some().then_some(report.presence_counts),
        presence,
        segments: (extras.segments.as_deref()).map(|all| Segments(all, report.size)),
        groundings: extras.groundings.as_deref().map(Groundings),
        objects: extras.objects.as_deref().map(Objects),
    };
    serde_json::to_writer(Within { out, left: most }, &line).is_ok()
}

/// Bytes to a Vec, as long as there are not too many.
struct Within<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl io::Write for Within<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends an event.
pub fn write_event(event: &Event, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    #[serde(tag = "type", rename = "event")]
    struct Line<'a> {
        #[serde(flatten)]
        event: &'a Event,
    }
    append(out, &Line { event });
}

/// Appends a reply.
pub fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    #[serde(tag = "type", rename = "reply")]
    struct Line<'a> {
        id: u32,
        ok: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        answer: Option<&'a Answer>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Refusal<'a>>,
    }
    #[derive(Serialize)]
    struct Refusal<'a> {
        code: u8,
        name: ErrorCode,
        text: &'a str,
    }
    let line = match reply {
        Reply::Ack { id, answer } => Line {
            id: *id,
            ok: true,
            answer: Some(answer).filter(|a| **a != Answer::Done),
            error: None,
        },
        Reply::Error { id, code, text } => Line {
            id: *id,
            ok: false,
            answer: None,
            error: Some(Refusal {
                code: *code as u8,
                name: *code,
                text,
            }),
        },
    };
    append(out, &line);
}

fn append(out: &mut Vec<u8>, line: &impl Serialize) {
    // a Vec takes everything, and all keys of our messages are texts
    let written: Result<(), io::Error> = serde_json::to_writer(out, line).map_err(Into::into);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Reads a command.
///
/// # Errors
///
/// The reply that says what is wrong with it.
pub fn read_request(line: &[u8]) -> Result<Request, Reply> {
    let malformed = |text: String| Reply::error(0, ErrorCode::Malformed, text);
    let mut object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|e| malformed(format!("no JSON object: {e}")))?;
    let id = match object.remove("id") {
        None => 0,
        Some(id) => id
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| malformed(format!("id is {id}; 0 to {} is expected", u32::MAX)))?,
    };
    let Some(name) = object.get("command").and_then(Value::as_str) else {
        return Err(Reply::error(
            id,
            ErrorCode::Malformed,
            "no field command with a text",
        ));
    };
    if !Command::NAMES.contains(&name) {
        return Err(unknown_command(id, name));
    }
    let command: Command = serde_json::from_value(Value::Object(object))
        .map_err(|e| Reply::error(id, ErrorCode::Invalid, e.to_string()))?;
    checked(id, command)
}

/// The command if all its values are possible.
pub(super) fn checked(id: u32, command: Command) -> Result<Request, Reply> {
    match command.check() {
        Ok(()) => Ok(Request { id, command }),
        Err(why) => Err(Reply::error(id, ErrorCode::Invalid, why)),
    }
}

/// The reply to a command that there is not, with the name that is written most like it.
pub(super) fn unknown_command(id: u32, name: &str) -> Reply {
    let name: String = name.chars().take(40).collect();
    let likeness = |known: &&&str| (strsim::jaro_winkler(known, &name) * 1e6) as u32;
    let nearest = Command::NAMES.iter().max_by_key(likeness).unwrap_or(&"");
    Reply::error(
        id,
        ErrorCode::UnknownCommand,
        format!("no command {name:?}; nearest is {nearest}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        command::{PromptKind, PromptSpec, Region, TaskSpec},
        message::{
            State, Telemetry,
            tests::{appeared, envelope, full, tracked},
        },
    };
    use crate::scene::MAX_DETECTIONS;
    use serde_json::json;

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
        let line = parsed(|out| write_report(&envelope(), out));
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
    fn a_full_report_with_tracks_and_directions_is_within_the_default_limit_and_a_longer_one_is_not()
     {
        let mut full = full();
        let small = tracked();
        for i in 0..MAX_DETECTIONS {
            full.report.tracks.push(1_000_000 + i as u32);
            full.report.smoothed.push(small.report.smoothed[1]);
            full.report.sights.push(small.report.sights[0]);
        }
        let mut out = Vec::new();
        let most = crate::link::LinkLimits::default().report_bytes;
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
                "nearest is pause",
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
}
