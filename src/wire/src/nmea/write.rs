//! The bytes of each sentence.

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::{END, MAX_SENTENCE, Numbers, Sentence, checksum};
use crate::{
    event::State,
    report::{BoundingBox, Change, Point, PresenceCounts, Sight},
};

/// Appends one sentence: the fields as they are, and words that may be cut.
fn line(out: &mut Vec<u8>, fields: fmt::Arguments<'_>, words: Option<&str>) {
    let start = begin(out, fields);
    if let Some(words) = words {
        out.push(b',');
        let room = (MAX_SENTENCE - END).saturating_sub(out.len() - start);
        out.extend(words.chars().take(room).map(printable));
    }
    out.truncate(start + MAX_SENTENCE - END);
    end(out, start);
}

fn begin(out: &mut Vec<u8>, fields: fmt::Arguments<'_>) -> usize {
    let start = out.len();
    // a Vec takes everything
    let _ = write!(Bytes(out), "$TS{fields}");
    start
}

pub(super) fn end(out: &mut Vec<u8>, start: usize) {
    let sum = checksum(out.get(start + 1..).unwrap_or_default());
    let _ = write!(Bytes(out), "*{sum:02X}\r\n");
}

/// Text to a Vec.
pub(super) struct Bytes<'a>(pub(super) &'a mut Vec<u8>);

impl fmt::Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
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

/// Numbers of detections in a row, as many to a sentence as it holds.
pub(super) struct NumberWriter<'a> {
    name: &'static str,
    sequence: u64,
    /// Where the sentence begins that is not ended yet.
    start: Option<usize>,
    out: &'a mut Vec<u8>,
}

impl<'a> NumberWriter<'a> {
    pub(super) const fn new(name: &'static str, sequence: u64, out: &'a mut Vec<u8>) -> Self {
        let start = None;
        Self {
            name,
            sequence,
            start,
            out,
        }
    }

    /// The number of detection `index`.
    pub(super) fn push(&mut self, index: usize, number: &dyn fmt::Display) {
        let (name, sequence) = (self.name, self.sequence);
        let first = format_args!("{name},{sequence},{index}");
        let start = *self.start.get_or_insert_with(|| begin(self.out, first));
        let before = self.out.len();
        let _ = write!(Bytes(self.out), ",{number}");
        if self.out.len() > start + MAX_SENTENCE - END {
            self.out.truncate(before);
            end(self.out, start);
            let start = begin(self.out, format_args!("{name},{sequence},{index}"));
            let _ = write!(Bytes(self.out), ",{number}");
            self.start = Some(start);
        }
    }

    pub(super) fn finish(self) {
        if let Some(start) = self.start {
            end(self.out, start);
        }
    }
}

/// Nothing, or the value.
struct Optional<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Optional<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

impl Sentence<'_> {
    /// Appends it, line end included.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Report {
                sequence,
                found,
                prompts_version,
                captured_ms,
                latency_us,
            } => line(
                out,
                format_args!("REP,{sequence},{found},{prompts_version},{captured_ms},{latency_us}"),
                None,
            ),
            Self::Detection {
                sequence,
                index,
                prompt,
                score,
                bbox,
                name,
            } => {
                let BoundingBox {
                    center: Point { x, y },
                    size_x,
                    size_y,
                } = bbox;
                line(
                    out,
                    format_args!(
                        "DET,{sequence},{index},{prompt},{score:.3},{x:.1},{y:.1},{size_x:.1},{size_y:.1}"
                    ),
                    Some(name),
                );
            }
            Self::Tracks {
                sequence,
                first,
                ids: Numbers(numbers),
            } => line(out, format_args!("TRK,{sequence},{first},{numbers}"), None),
            Self::Smoothed {
                sequence,
                first,
                scores: Numbers(numbers),
            } => line(out, format_args!("SMO,{sequence},{first},{numbers}"), None),
            Self::Continued { sequence, first } => {
                line(out, format_args!("CON,{sequence},{first}"), None);
            }
            Self::Sight {
                sequence,
                index,
                sight,
            } => {
                let Sight {
                    bearing_deg: bearing,
                    elevation_deg: elevation,
                    range_m,
                    range_sd_m,
                } = sight;
                let (range, sd) = (Optional(range_m), Optional(range_sd_m));
                line(
                    out,
                    format_args!(
                        "DIR,{sequence},{index},{bearing:.2},{elevation:.2},{range:.2},{sd:.2}"
                    ),
                    None,
                );
            }
            Self::PresenceCounts { sequence, counts } => {
                let PresenceCounts {
                    there,
                    unsure,
                    not_there,
                } = counts;
                line(
                    out,
                    format_args!("PRC,{sequence},{there},{unsure},{not_there}"),
                    None,
                );
            }
            Self::Presence {
                sequence,
                index,
                prompt,
                state,
                score,
                change,
                name,
            } => {
                let (state, change) = (state.name(), change.map_or("", Change::name));
                line(
                    out,
                    format_args!("PRE,{sequence},{index},{prompt},{state},{score:.3},{change}"),
                    Some(name),
                );
            }
            Self::Happening {
                sequence,
                captured_ms,
                kind,
                source,
                prompt,
                score,
                track,
                name,
            } => {
                let (kind, source, track) = (kind.name(), source.name(), Optional(track));
                line(
                    out,
                    format_args!(
                        "EVT,{sequence},{captured_ms},{kind},{source},{prompt},{score:.3},{track}"
                    ),
                    Some(name),
                );
            }
            Self::Hello { wire, run, version } => {
                line(out, format_args!("HEL,{wire},{run}"), Some(version));
            }
            Self::State { state, why } => {
                line(out, format_args!("STA,{}", state.name()), Some(why));
            }
            Self::PromptsChanged { version, count } => {
                line(out, format_args!("PRM,{version},{count}"), None);
            }
            Self::Fault { text } => line(out, format_args!("FLT"), Some(text)),
            Self::Telemetry {
                fps,
                latency_p50_us: p50,
                latency_p99_us: p99,
                rss_kib,
                temperature_c,
                dropped,
            } => {
                let temperature = Optional(temperature_c);
                line(
                    out,
                    format_args!("TEL,{fps:.1},{p50},{p99},{rss_kib},{temperature:.0},{dropped}"),
                    None,
                );
            }
            Self::Lost { reports, others } => {
                line(out, format_args!("LST,{reports},{others}"), None);
            }
            Self::Heartbeat { state, sent, lost } => {
                let state = state.map_or("", State::name);
                line(out, format_args!("HBT,{state},{sent},{lost}"), None);
            }
            Self::Done { id, answer } => line(out, format_args!("ACK,{id}"), answer),
            Self::Error { id, code, text } => {
                line(out, format_args!("ERR,{id},{code}"), Some(text));
            }
            Self::Name { id, prompt, name } => {
                line(out, format_args!("NAM,{id},{prompt}"), Some(name));
            }
            Self::NamePresence {
                id,
                prompt,
                state,
                score,
                name,
            } => {
                let state = state.name();
                line(
                    out,
                    format_args!("PRA,{id},{prompt},{state},{score:.3}"),
                    Some(name),
                );
            }
        }
    }
}
