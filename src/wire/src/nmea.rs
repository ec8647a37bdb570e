//! Lines for a microcontroller, in the manner of NMEA 0183: `$TSDET,1234,0,0,0.875,320.0,240.0,100.0,160.0,person*4A`.
//!
//! A sentence begins with `$`, ends with `*`, the exclusive or of all bytes between the two as two upper-case hexadecimal
//! digits, carriage return and line feed, and has at most [`MAX_SENTENCE`] characters, all of them printable ASCII. Fields are
//! separated by commas. What does not fit is cut from the last field, which is always words for people; a program goes by the
//! numbers before it. Sentences are listed in `WIRE.md`.
//!
//! | file | |
//! |---|---|
//! | `nmea/sentence.rs` | [`Sentence`]: the fields of each |
//! | `nmea/write.rs`, `nmea/read.rs` | its bytes, written and read |
//! | `nmea/command.rs` | `$TSCMD`, read and written |
//! | `nmea/lines.rs` | [`Lines`] and [`SentenceReader`]: what arrives byte by byte |

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    event::{Event, State, Telemetry},
    happening::Happening,
    reply::{Answer, Reply},
    report::{Report, ToReport},
};

mod command;
mod lines;
mod read;
mod sentence;
mod write;

pub use command::{Unsayable, read_request, write_request};
pub use lines::{Lines, SentenceReader};
pub use sentence::{Numbers, Sentence, SentenceError};

/// Longest sentence that is sent, `$` and line end included, as in NMEA 0183.
pub const MAX_SENTENCE: usize = 82;

/// Longest sentence that is read, in bytes, without its line feed: prompts may be long, and may be UTF-8.
pub const MAX_COMMAND: usize = 1024;

/// Most names in one answer to `get_prompts`.
const MAX_NAMES: usize = 100;

/// `*hh`, carriage return, line feed.
const END: usize = 5;

fn checksum(body: &[u8]) -> u8 {
    body.iter().fold(0, |sum, byte| sum ^ byte)
}

/// What stands between `$` and `*`, if the checksum after it is right.
fn body(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (rest, digits) = line.strip_prefix(b"$")?.split_last_chunk::<2>()?;
    let body = rest.strip_suffix(b"*")?;
    let sum = checksum(body);
    // lower-case digits are refused: a flipped bit makes them of upper-case ones
    let digit = |four: u8| b"0123456789ABCDEF".get(usize::from(four)).copied();
    let right = digits.map(Some) == [digit(sum >> 4), digit(sum & 15)];
    right.then_some(body)
}

/// Appends a report: one `REP` and one `DET` per detection, best first, at most `most` of them.
pub fn write_report(report: &impl ToReport, most: usize, out: &mut Vec<u8>) {
    report.to_report(|report| write_all(report, most, out));
}

fn write_all(report: &Report<'_>, most: usize, out: &mut Vec<u8>) {
    let sequence = report.header.seq;
    let found = report.detections.len();
    Sentence::Report {
        sequence,
        found: found as u32,
        prompts_version: report.prompts_version,
        captured_ms: report.captured_ns / 1_000_000,
        latency_us: report.latency_us,
    }
    .write(out);
    report.detections.each(most, |i, detection| {
        let [hypothesis] = &detection.results;
        Sentence::Detection {
            sequence,
            index: i as u32,
            prompt: detection.prompt,
            score: hypothesis.score,
            bbox: detection.bbox,
            name: &hypothesis.class_id,
        }
        .write(out);
    });
    write_presence(report, most, out);
    let has_id = report.detections.find(most, |_, d| d.id);
    if report.followed || has_id.is_some() {
        let mut ids = write::NumberWriter::new("TRK", sequence, out);
        report.detections.each(most, |i, d| match d.id {
            Some(id) => ids.push(i, &id),
            None => ids.push(i, &0),
        });
        ids.finish();
    }
    if report.is_smoothed() {
        let mut scores = write::NumberWriter::new("SMO", sequence, out);
        report.detections.each(most, |i, d| match d.smoothed_score {
            Some(score) => scores.push(i, &format_args!("{score:.3}")),
            None => scores.push(i, &""),
        });
        scores.finish();
    }
    let continued = (report.detections).find(most, |i, d| d.continued.then_some(i));
    if let Some(first) = continued {
        let first = first as u32;
        Sentence::Continued { sequence, first }.write(out);
    }
    report.detections.each(most, |i, detection| {
        if let Some(sight) = detection.sight {
            let index = i as u32;
            Sentence::Sight {
                sequence,
                index,
                sight,
            }
            .write(out);
        }
    });
}

/// How many names are in each state, and the names that matter most.
fn write_presence(report: &Report<'_>, most: usize, out: &mut Vec<u8>) {
    let sequence = report.header.seq;
    let Some(names) = report.presence.as_ref().filter(|names| !names.is_empty()) else {
        return;
    };
    let counts = report.presence_counts.unwrap_or_default();
    Sentence::PresenceCounts { sequence, counts }.write(out);
    names.each(most, |i, presence| {
        Sentence::Presence {
            sequence,
            index: i as u32,
            prompt: presence.prompt,
            state: presence.state,
            score: presence.score,
            change: presence.change,
            name: &presence.class_id,
        }
        .write(out);
    });
}

/// Appends a sign of life: the state, and how many reports this link sent and lost.
pub fn write_heartbeat(state: Option<State>, sent: u64, lost: u64, out: &mut Vec<u8>) {
    Sentence::Heartbeat { state, sent, lost }.write(out);
}

/// Appends an event.
pub fn write_event(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Hello { wire, version, run } => Sentence::Hello {
            wire: *wire,
            run: *run,
            version,
        }
        .write(out),
        Event::State { to, why, .. } => Sentence::State { state: *to, why }.write(out),
        Event::PromptsChanged { version, count } => Sentence::PromptsChanged {
            version: *version,
            count: *count,
        }
        .write(out),
        Event::Fault { part, text } => {
            let text = &format!("{part}: {text}");
            Sentence::Fault { text }.write(out);
        }
        Event::Telemetry(telemetry) => write_telemetry(telemetry, out),
        Event::Lost { count, others } => Sentence::Lost {
            reports: *count,
            others: *others,
        }
        .write(out),
        Event::Scene(happening) => write_happening(happening, out),
    }
}

fn write_happening(happening: &Happening, out: &mut Vec<u8>) {
    Sentence::Happening {
        sequence: happening.seq,
        captured_ms: happening.captured_ns / 1_000_000,
        kind: happening.kind,
        source: happening.source,
        prompt: happening.prompt,
        score: happening.score,
        track: None,
        name: &happening.class_id,
    }
    .write(out);
}

fn write_telemetry(telemetry: &Telemetry, out: &mut Vec<u8>) {
    let lost = telemetry.dropped;
    Sentence::Telemetry {
        fps: telemetry.fps,
        latency_p50_us: telemetry.latency_p50_us,
        latency_p99_us: telemetry.latency_p99_us,
        rss_kib: telemetry.rss_bytes / 1024,
        temperature_c: telemetry.temperature_c,
        dropped: lost.late + lost.damaged + lost.failed,
    }
    .write(out);
}

/// Appends a reply: what was asked for, then `ACK`; or `ERR`.
pub fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    let (id, answer) = match reply {
        Reply::Error { id, code, text } => {
            return Sentence::Error {
                id: *id,
                code: *code as u8,
                text,
            }
            .write(out);
        }
        Reply::Ack { id, answer } => (*id, answer),
    };
    let words: Option<String> = match answer {
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
                Sentence::NamePresence {
                    id,
                    prompt: name.prompt,
                    state: name.state,
                    score: name.score,
                    name: &name.class_id,
                }
                .write(out);
            }
            Some((counts.there + counts.unsure + counts.not_there).to_string())
        }
        Answer::Prompts {
            count, from, names, ..
        } => {
            for (name, prompt) in names.iter().take(MAX_NAMES).zip(*from..) {
                Sentence::Name { id, prompt, name }.write(out);
            }
            Some(count.to_string())
        }
    };
    let answer = words.as_deref();
    Sentence::Done { id, answer }.write(out);
}

#[cfg(test)]
mod tests;
