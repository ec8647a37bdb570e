//! Payloads of fixed fields, for readers that are smaller than a JSON parser.
//!
//! A report is [`HEADER`] bytes and [`DETECTION`] bytes per detection; tables of both are in `WIRE.md`. Events and replies begin
//! with the numbers that a program acts on, and end with the same JSON that a socket would get. All numbers are little-endian.
//!
//! Here they are written; what reads them is in [`read`](self::read()) and the types that it gives.

use alloc::vec::Vec;

use crate::{
    event::{Event, State},
    happening::{Happening, Source},
    json,
    reply::Reply,
    report::{Change, Drops, PresenceCounts, PresenceState, ToReport},
    rounded::{share, whole},
};

mod read;

pub use read::{
    Detection, EventNumbers, HappeningNumbers, Heartbeat, NamePresence, Payload, PayloadError,
    Presence, Record, Records, ReplyNumbers, Report, Sight, Sights, SmoothedScores, read,
    read_report,
};

/// Most detections of a report.
pub const MAX_DETECTIONS: usize = 4096;

/// Bytes of a report before its detections.
pub const HEADER: usize = 50;

/// Bytes of one detection.
pub const DETECTION: usize = 14;

/// Bytes of the longest report.
pub const MAX_REPORT_BYTES: usize = HEADER + MAX_DETECTIONS * DETECTION;

/// Appends a report.
///
/// Counts of lost frames are sent modulo 2³². A prompt is sent by its index; the command `get_prompts` tells its name.
pub fn write_report(report: &impl ToReport, out: &mut Vec<u8>) {
    report.to_report(|report| {
        let bits = fraction_bits(report.width, report.height);
        out.extend(report.run.to_le_bytes());
        out.extend(report.header.seq.to_le_bytes());
        out.extend(report.prompts_version.to_le_bytes());
        out.extend(report.captured_ns.to_le_bytes());
        out.extend(report.latency_us.to_le_bytes());
        let Drops {
            late,
            damaged,
            failed,
        } = report.dropped;
        for lost in [late, damaged, failed] {
            out.extend((lost as u32).to_le_bytes());
        }
        for side in [report.width, report.height] {
            out.extend(saturated(side).to_le_bytes());
        }
        out.extend([bits, 0]);
        out.extend(saturated(report.crowded).to_le_bytes());
        out.extend((report.detections.len() as u16).to_le_bytes());
        let unit = f32::from(1_u16 << bits);
        report.detections.each(usize::MAX, |_, detection| {
            let bbox = &detection.bbox;
            let [hypothesis] = &detection.results;
            out.extend(saturated(detection.prompt).to_le_bytes());
            let track = detection.id.map_or(0, |id| short_track(id.0));
            out.extend(track.to_le_bytes());
            out.extend(share(hypothesis.score).to_le_bytes());
            for length in [bbox.center.x, bbox.center.y, bbox.size_x, bbox.size_y] {
                out.extend((whole(length * unit) as u16).to_le_bytes());
            }
        });
    });
}

/// A track in two bytes: from 1 to 65,535, then from 1 again. Tracks that live at the same time never meet: there are fewer of them.
const fn short_track(id: u32) -> u16 {
    match id.checked_sub(1) {
        Some(before) => (before % 65_535 + 1) as u16,
        None => 0,
    }
}

/// Bytes of sights before the first of them.
pub const SIGHTS_HEADER: usize = 14;

/// Bytes of one sight.
pub const SIGHT: usize = 8;

/// Appends where the detections of a report lie as seen from the camera, in their order. A report without sights has none.
pub fn write_sights(report: &impl ToReport, out: &mut Vec<u8>) {
    report.to_report(|report| {
        out.extend(report.run.to_le_bytes());
        out.extend(report.header.seq.to_le_bytes());
        let count = out.len();
        out.extend([0; 2]);
        let mut sights = 0_u16;
        // `as` saturates: what is farther than 655.34 m is 65,534 and no range 65,535
        let hundredths = |value: f32| whole(value * 100.0);
        report.detections.each(usize::MAX, |_, detection| {
            let Some(sight) = &detection.sight else {
                return;
            };
            sights += 1;
            for angle in [sight.bearing_deg, sight.elevation_deg] {
                out.extend((hundredths(angle) as i16).to_le_bytes());
            }
            for metres in [sight.range_m, sight.range_sd_m] {
                let metres = metres.map_or(u16::MAX, |m| (hundredths(m) as u16).min(u16::MAX - 1));
                out.extend(metres.to_le_bytes());
            }
        });
        set(out, count, sights);
    });
}

/// Writes a number over two bytes.
fn set(out: &mut [u8], at: usize, number: u16) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Bytes of presence before the first name.
pub const PRESENCE_HEADER: usize = 26;

/// Bytes of one name's presence.
pub const PRESENCE: usize = 6;

/// Appends whether names are in the picture of a report at all. A report of which that was not asked has none.
pub fn write_presence(report: &impl ToReport, out: &mut Vec<u8>) {
    report.to_report(|report| {
        out.extend(report.run.to_le_bytes());
        out.extend(report.header.seq.to_le_bytes());
        let PresenceCounts {
            there,
            unsure,
            not_there,
        } = report.presence_counts.unwrap_or_default();
        for count in [there, unsure, not_there] {
            out.extend(count.to_le_bytes());
        }
        let count = report.presence.as_ref().map_or(0, |names| names.len());
        out.extend((count as u16).to_le_bytes());
        let Some(names) = &report.presence else {
            return;
        };
        names.each(usize::MAX, |_, presence| {
            out.extend(saturated(presence.prompt).to_le_bytes());
            out.push(number(&PresenceState::ALL, presence.state));
            out.push(presence.change.map_or(0, |c| number(&Change::ALL, c)));
            out.extend(share(presence.score).to_le_bytes());
        });
    });
}

/// The number of a value in frames: its place among all, from 1.
fn number<T: PartialEq>(all: &[T], one: T) -> u8 {
    let at = all.iter().position(|t| *t == one);
    at.map_or(0, |at| at as u8 + 1)
}

/// Bytes of a happening before its JSON.
pub const HAPPENING: usize = 36;

/// Appends something that happened: its fixed fields, then its JSON. The track, and the zone or line, are 0 where there is none.
pub fn write_happening(event: &Event, happening: &Happening, out: &mut Vec<u8>) {
    out.extend(happening.run.to_le_bytes());
    out.extend(happening.seq.to_le_bytes());
    out.extend(happening.captured_ns.to_le_bytes());
    out.extend(happening.prompts_version.to_le_bytes());
    out.push(number(&Change::ALL, happening.kind));
    out.push(number(&Source::ALL, happening.source));
    out.extend(saturated(happening.prompt).to_le_bytes());
    out.extend(share(happening.score).to_le_bytes());
    out.extend([0; 6]);
    json::write_event(event, out);
}

/// Bytes of smoothed scores before the first of them.
pub const SMOOTHED_HEADER: usize = 16;

/// Bytes of one smoothed score.
pub const SMOOTHED: usize = 2;

/// Appends the smoothed scores of a report's detections, in their order, 0 for one that has none, and how many of the last of them
/// are continued. A report of a frame that is not followed has none.
pub fn write_smoothed(report: &impl ToReport, out: &mut Vec<u8>) {
    report.to_report(|report| {
        out.extend(report.run.to_le_bytes());
        out.extend(report.header.seq.to_le_bytes());
        let counts = out.len();
        out.extend([0; 4]);
        let mut continued = 0_u16;
        if !report.is_smoothed() {
            return;
        }
        report.detections.each(usize::MAX, |_, detection| {
            continued = if detection.continued {
                continued + 1
            } else {
                0
            };
            let smoothed = detection.smoothed_score.unwrap_or(0.0);
            out.extend(share(smoothed).to_le_bytes());
        });
        set(out, counts, report.detections.len() as u16);
        set(out, counts + 2, continued);
    });
}

fn saturated(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// As many binary digits behind the point as leave room for the longer side in 16 bits, at most 6.
fn fraction_bits(width: u32, height: u32) -> u8 {
    let side = width.max(height);
    (0..=6)
        .rev()
        .find(|bits| u64::from(side) << bits <= u64::from(u16::MAX))
        .unwrap_or(0)
}

/// Appends a sign of life: which run, in what state (0: not told yet), how many reports this link sent and lost (modulo 2³²).
pub fn write_heartbeat(run: u32, state: Option<State>, sent: u64, lost: u64, out: &mut Vec<u8>) {
    out.extend(run.to_le_bytes());
    out.push(state.map_or(0, |s| number(&State::ALL, s)));
    out.extend((sent as u32).to_le_bytes());
    out.extend((lost as u32).to_le_bytes());
}

/// Appends an event: its number, its value, its JSON.
pub fn write_event(event: &Event, out: &mut Vec<u8>) {
    let (which, value): (u8, u32) = match event {
        Event::Hello { run, .. } => (1, *run),
        Event::State { to, .. } => (2, number(&State::ALL, *to).into()),
        Event::PromptsChanged { version, .. } => (3, *version),
        Event::Fault { .. } => (4, 0),
        Event::Telemetry(_) => (5, 0),
        Event::Lost { count, .. } => (6, u32::try_from(*count).unwrap_or(u32::MAX)),
        // a frame of its own kind has more numbers
        Event::Scene(happening) => (7, happening.prompt),
    };
    out.push(which);
    out.extend(value.to_le_bytes());
    json::write_event(event, out);
}

/// Appends a reply: the command's id, the error's number or 0, its JSON.
pub fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    out.extend(reply.id().to_le_bytes());
    out.push(match reply {
        Reply::Ack { .. } => 0,
        Reply::Error { code, .. } => *code as u8,
    });
    json::write_reply(reply, out);
}

#[cfg(test)]
mod tests;
