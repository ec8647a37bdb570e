//! Lines for a microcontroller, in the manner of NMEA 0183: `$TSDET,1234,0,0,0.875,320.0,240.0,100.0,160.0,person*4A`.
//!
//! A sentence begins with `$`, ends with `*`, the exclusive or of all bytes between the two as two upper-case hexadecimal
//! digits, carriage return and line feed, and has at most [`MAX_SENTENCE`] characters, all of them printable ASCII. Fields are
//! separated by commas. What does not fit is cut from the last field, which is always words for people; a program goes by the
//! numbers before it. Sentences are listed in `WIRE.md`.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use super::{
    command::{Answer, Command, ErrorCode, PromptSpec, Region, Reply, Request, TaskSpec},
    happening::Happening,
    json::{checked, unknown_command},
    message::{Envelope, Event, State},
};
use crate::{
    geometry::camera::Range,
    scene::{Change, PresenceCounts},
};

/// Longest sentence that is sent, `$` and line end included, as in NMEA 0183.
pub const MAX_SENTENCE: usize = 82;

/// Longest sentence that is read, in bytes, without its line feed: prompts may be long, and may be UTF-8.
pub const MAX_COMMAND: usize = 1024;

/// Most names in one answer to `get_prompts`.
const MAX_NAMES: usize = 100;

/// `*hh`, carriage return, line feed.
const END: usize = 5;

/// Appends one sentence: the fields as they are, and words that may be cut.
fn sentence(out: &mut Vec<u8>, fields: std::fmt::Arguments<'_>, words: Option<&str>) {
    let start = out.len();
    // a Vec takes everything
    let _ = write!(out, "$TS{fields}");
    if let Some(words) = words {
        out.push(b',');
        let room = (MAX_SENTENCE - END).saturating_sub(out.len() - start);
        out.extend(words.chars().take(room).map(printable));
    }
    out.truncate(start + MAX_SENTENCE - END);
    let sum = checksum(out.get(start + 1..).unwrap_or_default());
    let _ = write!(out, "*{sum:02X}\r\n");
}

/// What NMEA 0183 reserves, and all that is not ASCII, becomes an underscore; a comma would end the field and becomes a space.
fn printable(c: char) -> u8 {
    match c {
        ',' => b' ',
        '$' | '*' | '!' | '\\' | '^' | '~' => b'_',
        ' '..='~' => c as u8,
        _ => b'_',
    }
}

fn checksum(body: &[u8]) -> u8 {
    body.iter().fold(0, |sum, byte| sum ^ byte)
}

/// Appends a report: one `REP` and one `DET` per detection, best first, at most `most` of them.
pub fn write_report(envelope: &Envelope, most: usize, out: &mut Vec<u8>) {
    let report = &envelope.report;
    let Envelope {
        sequence,
        prompts_version,
        latency_us,
        ..
    } = envelope;
    let found = report.detections.len();
    let captured_ms = envelope.captured_ns / 1_000_000;
    sentence(
        out,
        format_args!("REP,{sequence},{found},{prompts_version},{captured_ms},{latency_us}"),
        None,
    );
    for (i, detection) in report.detections.iter().take(most).enumerate() {
        let (x, y) = detection.bbox.center();
        let (width, height) = (detection.bbox.width(), detection.bbox.height());
        let (prompt, score) = (detection.prompt, detection.score);
        let name = envelope.names.get(prompt as usize).map_or("", |n| n);
        sentence(
            out,
            format_args!(
                "DET,{sequence},{i},{prompt},{score:.3},{x:.1},{y:.1},{width:.1},{height:.1}"
            ),
            Some(name),
        );
    }
    let shown = found.min(most);
    write_presence(envelope, most, out);
    let tracks = report.tracks.iter().take(shown);
    write_list("TRK", *sequence, tracks.map(|id| Number::Id(*id)), out);
    if report.is_smoothed() {
        let scores = (0..shown).map(|i| Number::Score(report.smoothed_score(i)));
        write_list("SMO", *sequence, scores, out);
    }
    if let Some(first) = (0..shown).find(|&i| report.continued(i)) {
        sentence(out, format_args!("CON,{sequence},{first}"), None);
    }
    for (i, sight) in report.sights.iter().take(shown).enumerate() {
        let (bearing, elevation) = (sight.bearing_deg, sight.elevation_deg);
        match sight.range {
            Some(Range { metres, sd }) => sentence(
                out,
                format_args!("DIR,{sequence},{i},{bearing:.2},{elevation:.2},{metres:.2},{sd:.2}"),
                None,
            ),
            None => sentence(
                out,
                format_args!("DIR,{sequence},{i},{bearing:.2},{elevation:.2},,"),
                None,
            ),
        }
    }
}

/// How many names are in each state, and the names that matter most.
fn write_presence(envelope: &Envelope, most: usize, out: &mut Vec<u8>) {
    let (report, sequence) = (&envelope.report, envelope.sequence);
    if report.presences.is_empty() {
        return;
    }
    let PresenceCounts {
        there,
        unsure,
        not_there,
    } = report.presence_counts;
    sentence(
        out,
        format_args!("PRC,{sequence},{there},{unsure},{not_there}"),
        None,
    );
    for (i, presence) in report.presences.iter().take(most).enumerate() {
        let (prompt, score) = (presence.prompt, presence.score);
        let (state, change) = (presence.state.name(), presence.change);
        let change = change.map_or("", Change::name);
        let name = envelope.names.get(prompt as usize).map_or("", |n| n);
        sentence(
            out,
            format_args!("PRE,{sequence},{i},{prompt},{state},{score:.3},{change}"),
            Some(name),
        );
    }
}

/// What a list of numbers has of one detection.
enum Number {
    Id(u32),
    Score(Option<f32>),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Score(Some(score)) => write!(f, "{score:.3}"),
            Self::Score(None) => Ok(()),
        }
    }
}

/// A number of each of the first detections, as many to a sentence as it holds.
fn write_list(name: &str, sequence: u64, numbers: impl Iterator<Item = Number>, out: &mut Vec<u8>) {
    let mut fields = heapless::String::<{ MAX_SENTENCE - END - 3 }>::new();
    let begin = |fields: &mut heapless::String<_>, first: usize| {
        fields.clear();
        // three letters, a sequence of at most twenty digits, two commas, an index of four: there is room
        let _ = write!(fields, "{name},{sequence},{first}");
    };
    for (i, number) in numbers.enumerate() {
        if i == 0 {
            begin(&mut fields, i);
        }
        let whole = fields.len();
        if write!(fields, ",{number}").is_err() {
            fields.truncate(whole);
            sentence(out, format_args!("{fields}"), None);
            begin(&mut fields, i);
            let _ = write!(fields, ",{number}");
        }
    }
    if !fields.is_empty() {
        sentence(out, format_args!("{fields}"), None);
    }
}

/// Appends a sign of life: the state, and how many reports this link sent and lost.
pub fn write_heartbeat(state: Option<State>, sent: u64, lost: u64, out: &mut Vec<u8>) {
    let state = state.map_or("", State::name);
    sentence(out, format_args!("HBT,{state},{sent},{lost}"), None);
}

/// Appends an event.
pub fn write_event(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Hello { wire, version, run } => {
            sentence(out, format_args!("HEL,{wire},{run}"), Some(version));
        }
        Event::State { to, why, .. } => {
            sentence(out, format_args!("STA,{}", to.name()), Some(why));
        }
        Event::PromptsChanged { version, count } => {
            sentence(out, format_args!("PRM,{version},{count}"), None);
        }
        Event::Fault { part, text } => {
            let words = format!("{part}: {text}");
            sentence(out, format_args!("FLT"), Some(&words));
        }
        Event::Telemetry(telemetry) => write_telemetry(telemetry, out),
        Event::Lost { count, others } => sentence(out, format_args!("LST,{count},{others}"), None),
        Event::Scene(happening) => write_happening(happening, out),
    }
}

/// The empty field is the track's, of what is seen by one.
fn write_happening(happening: &Happening, out: &mut Vec<u8>) {
    let Happening {
        seq, prompt, score, ..
    } = happening;
    let captured_ms = happening.captured_ns / 1_000_000;
    let (kind, source) = (happening.kind.name(), happening.source.name());
    sentence(
        out,
        format_args!("EVT,{seq},{captured_ms},{kind},{source},{prompt},{score:.3},"),
        Some(&happening.class_id),
    );
}

fn write_telemetry(telemetry: &super::Telemetry, out: &mut Vec<u8>) {
    let temperature = telemetry
        .temperature_c
        .map_or_else(String::new, |t| format!("{t:.0}"));
    let lost = telemetry.dropped;
    sentence(
        out,
        format_args!(
            "TEL,{:.1},{},{},{},{temperature},{}",
            telemetry.fps,
            telemetry.latency_p50_us,
            telemetry.latency_p99_us,
            telemetry.rss_bytes / 1024,
            lost.late + lost.damaged + lost.failed
        ),
        None,
    );
}

/// Appends a reply: what was asked for, then `ACK`; or `ERR`.
pub fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Error { id, code, text } => {
            sentence(out, format_args!("ERR,{id},{}", *code as u8), Some(text));
        }
        Reply::Ack { id, answer } => {
            let words = match answer {
                Answer::Done => None,
                Answer::PromptsVersion(version) => Some(version.to_string()),
                Answer::Hello { version, pack, .. } => Some(format!("{version} {pack}")),
                Answer::Text(text) => Some(text.clone()),
                Answer::Mask { area, .. } | Answer::Bits { area, .. } => Some(area.to_string()),
                Answer::Telemetry(telemetry) => {
                    write_telemetry(telemetry, out);
                    None
                }
                Answer::Presence { counts, names, .. } => {
                    for name in names.iter().take(MAX_NAMES) {
                        let (prompt, state, score) = (name.prompt, name.state.name(), name.score);
                        sentence(
                            out,
                            format_args!("PRA,{id},{prompt},{state},{score:.3}"),
                            Some(&name.class_id),
                        );
                    }
                    Some((counts.there + counts.unsure + counts.not_there).to_string())
                }
                Answer::Prompts {
                    count, from, names, ..
                } => {
                    for (name, i) in names.iter().take(MAX_NAMES).zip(*from..) {
                        sentence(out, format_args!("NAM,{id},{i}"), Some(name));
                    }
                    Some(count.to_string())
                }
            };
            sentence(out, format_args!("ACK,{id}"), words.as_deref());
        }
    }
}

/// Finds sentences in bytes: one is over at a line feed, and begins at its last `$`.
#[derive(Debug, Default)]
pub struct SentenceReader {
    line: Vec<u8>,
    overflown: bool,
}

impl SentenceReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: Vec::new(),
            overflown: false,
        }
    }

    /// Takes some bytes and hands over each command that they complete; the error is the reply to one that makes no sense, or
    /// none where not even the checksum is right: who knows who sent that.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Result<Request, Option<Reply>>)) {
        for &byte in bytes {
            match byte {
                b'\n' if self.overflown => take(Err(None)),
                b'\n' if !self.line.is_empty() => take(read_request(&self.line)),
                b'\n' => {}
                // the line before it was cut short
                b'$' if !self.line.is_empty() => take(Err(None)),
                _ if self.line.len() == MAX_COMMAND => {
                    self.overflown = true;
                    continue;
                }
                _ => {
                    self.line.push(byte);
                    continue;
                }
            }
            self.clear();
            if byte == b'$' {
                self.line.push(byte);
            }
        }
    }

    /// Forgets what has come of a line, as after a line was lost.
    pub fn clear(&mut self) {
        self.line.clear();
        self.overflown = false;
    }
}

/// The command of a line: `$TSCMD,<id>,<command>,<value>,…*hh`, a carriage return at the end allowed.
///
/// # Errors
///
/// The reply that says what is wrong with it; none if its checksum is missing or wrong.
pub fn read_request(line: &[u8]) -> Result<Request, Option<Reply>> {
    let body = body(line).ok_or(None)?;
    let malformed = |text: &str| Some(Reply::error(0, ErrorCode::Malformed, text));
    let text = std::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?;
    let mut fields = text.split(',');
    if fields.next() != Some("TSCMD") {
        return Err(malformed("only TSCMD is read here"));
    }
    let id = fields.next().unwrap_or_default();
    let id = id.parse().map_err(|_| malformed("the id is no number"))?;
    let name = fields.next().unwrap_or_default();
    let values: Vec<&str> = fields.collect();
    if !Command::NAMES.contains(&name) {
        return Err(Some(unknown_command(id, name)));
    }
    let invalid = |text| Some(Reply::error(id, ErrorCode::Invalid, text));
    let command = command(name, &values).map_err(invalid)?;
    checked(id, command).map_err(Some)
}

/// What stands between `$` and `*`, if the checksum after it is right.
fn body(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (rest, digits) = line.strip_prefix(b"$")?.split_last_chunk::<2>()?;
    let body = rest.strip_suffix(b"*")?;
    // lower-case digits are refused: a flipped bit makes them of upper-case ones
    (*digits == *format!("{:02X}", checksum(body)).as_bytes()).then_some(body)
}

fn command(name: &str, values: &[&str]) -> Result<Command, String> {
    let prompts = || {
        let specs = values.iter().map(|text| PromptSpec::from(*text));
        specs.collect::<Vec<_>>()
    };
    let command = match (name, values) {
        ("set_prompts", [_, ..]) => Command::SetPrompts { prompts: prompts() },
        ("add_prompts", [_, ..]) => Command::AddPrompts { prompts: prompts() },
        ("remove_prompts", [_, ..]) => Command::RemovePrompts {
            prompts: values.iter().map(|text| (*text).to_owned()).collect(),
        },
        ("get_prompts", []) => Command::GetPrompts { from: 0, count: 20 },
        ("get_prompts", [from, count]) => Command::GetPrompts {
            from: number(from)?,
            count: number(count)?,
        },
        ("get_presence", []) => Command::GetPresence { from: 0, count: 20 },
        ("get_presence", [from, count]) => Command::GetPresence {
            from: number(from)?,
            count: number(count)?,
        },
        ("set_threshold", [threshold]) => Command::SetThreshold {
            threshold: optional(threshold)?,
            prompt: None,
        },
        ("set_threshold", [threshold, prompt]) => Command::SetThreshold {
            threshold: optional(threshold)?,
            prompt: Some((*prompt).to_owned()),
        },
        ("set_rate", [fps]) => Command::SetRate {
            fps: optional(fps)?,
        },
        ("set_region", []) => Command::SetRegion { region: None },
        ("set_region", sides) => Command::SetRegion {
            region: Some(region(sides)?),
        },
        ("mask", [sequence, detection]) => Command::Mask {
            sequence: number(sequence)?,
            detection: number(detection)?,
            bits: false,
        },
        ("set_task", parts) => Command::SetTask { task: task(parts)? },
        ("enrol", [name, sides @ ..]) => Command::Enrol {
            name: (*name).to_owned(),
            region: region(sides)?,
        },
        ("hello", []) => Command::Hello {},
        ("pause", []) => Command::Pause {},
        ("resume", []) => Command::Resume {},
        ("report_once", []) => Command::ReportOnce {},
        ("telemetry", []) => Command::Telemetry {},
        ("self_test", []) => Command::SelfTest {},
        ("reload_pack", []) => Command::ReloadPack {},
        _ => return Err(format!("{name} does not take {} values", values.len())),
    };
    Ok(command)
}

/// The parts of a task that need no text: their names.
fn task(parts: &[&str]) -> Result<TaskSpec, String> {
    let mut task = TaskSpec::default();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        match *part {
            "masks" => task.masks = true,
            "semantic" => task.semantic = true,
            "panoptic" => task.panoptic = true,
            "separate_stuff" => task.separate_stuff = true,
            "everything" => task.everything = true,
            "presence" => task.presence = true,
            other => {
                return Err(format!(
                    "{other:?} is no part of a task that can be set here"
                ));
            }
        }
    }
    Ok(task)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not the number that is expected"))
}

/// An empty field is no value.
fn optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    number(text).map(Some)
}

fn region(sides: &[&str]) -> Result<Region, String> {
    let [x, y, width, height] = sides else {
        return Err(format!("a region has 4 numbers, not {}", sides.len()));
    };
    Ok(Region {
        x_offset: number(x)?,
        y_offset: number(y)?,
        width: number(width)?,
        height: number(height)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{
        Telemetry,
        tests::{envelope, full, tracked},
    };
    use crate::scene::MAX_DETECTIONS;

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
        let lines = written(|out| write_report(&envelope(), 16, out));
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
        many.sequence = u64::MAX;
        many.report.tracks = (0..MAX_DETECTIONS as u32).map(|i| u32::MAX - i).collect();
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
        assert_eq!(ids, many.report.tracks.as_slice());
    }

    #[test]
    fn the_longest_numbers_and_any_words_keep_to_the_length() {
        let mut huge = full();
        huge.sequence = u64::MAX;
        (huge.captured_ns, huge.latency_us) = (u64::MAX, u32::MAX);
        huge.prompts_version = u32::MAX;
        let long = "x,$*!\\^~\u{0}\r\nä".repeat(50);
        huge.names = std::sync::Arc::new(vec![long.clone(), long.clone()]);
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
        assert!(reader.line.len() <= MAX_COMMAND);
        let found = read(
            &mut reader,
            &[b"\n".as_slice(), &command_line("TSCMD,1,pause")].concat(),
        );
        assert!(matches!(found[..], [Err(None), Ok(_)]), "{found:?}");
    }
}
