//! Payloads of fixed fields, for readers that are smaller than a JSON parser.
//!
//! A report is [`HEADER`] bytes and [`DETECTION`] bytes per detection; tables of both are in `WIRE.md`. Events and replies begin
//! with the numbers that a program acts on, and end with the same JSON that a socket would get. All numbers are little-endian.

use std::fmt;

use super::{
    command::{ErrorCode, Reply},
    happening::{Happening, Source},
    json,
    message::{Drops, Envelope, Event, State},
};
use crate::{
    geometry::{BBox, Size},
    scene::{Change, MAX_DETECTIONS, PresenceCounts, PresenceState, Smoothed},
};

/// Bytes of a report before its detections.
pub const HEADER: usize = 50;

/// Bytes of one detection.
pub const DETECTION: usize = 14;

/// Bytes of the longest report.
pub const MAX_REPORT_BYTES: usize = HEADER + MAX_DETECTIONS * DETECTION;

/// Appends a report.
///
/// Counts of lost frames are sent modulo 2³². A prompt is sent by its index; the command `get_prompts` tells its name.
pub fn write_report(envelope: &Envelope, out: &mut Vec<u8>) {
    let report = &envelope.report;
    let bits = fraction_bits(report.size);
    out.extend(envelope.run.to_le_bytes());
    out.extend(envelope.sequence.to_le_bytes());
    out.extend(envelope.prompts_version.to_le_bytes());
    out.extend(envelope.captured_ns.to_le_bytes());
    out.extend(envelope.latency_us.to_le_bytes());
    let Drops {
        late,
        damaged,
        failed,
    } = envelope.dropped;
    for lost in [late, damaged, failed] {
        out.extend((lost as u32).to_le_bytes());
    }
    for side in [report.size.width, report.size.height] {
        out.extend(saturated(side).to_le_bytes());
    }
    out.extend([bits, 0]);
    out.extend(saturated(report.dropped).to_le_bytes());
    out.extend((report.detections.len() as u16).to_le_bytes());
    let unit = f32::from(1_u16 << bits);
    for (i, detection) in report.detections.iter().enumerate() {
        let (x, y) = detection.bbox.center();
        let (width, height) = (detection.bbox.width(), detection.bbox.height());
        out.extend(saturated(detection.prompt).to_le_bytes());
        out.extend(report.track(i).map_or(0, short_track).to_le_bytes());
        out.extend(share(detection.score).to_le_bytes());
        for length in [x, y, width, height] {
            out.extend(((length * unit).round_ties_even() as u16).to_le_bytes());
        }
    }
}

/// A track in two bytes: from 1 to 65,535, then from 1 again. Tracks that live at the same time never meet: there are at most
/// [`MAX_TRACKS`](crate::track::MAX_TRACKS).
const fn short_track(id: u32) -> u16 {
    ((id - 1) % 65_535 + 1) as u16
}

/// Bytes of sights before the first of them.
pub const SIGHTS_HEADER: usize = 14;

/// Bytes of one sight.
pub const SIGHT: usize = 8;

/// Appends where the detections of a report lie as seen from the camera, in their order. A report without sights has none.
pub fn write_sights(envelope: &Envelope, out: &mut Vec<u8>) {
    out.extend(envelope.run.to_le_bytes());
    out.extend(envelope.sequence.to_le_bytes());
    out.extend((envelope.report.sights.len() as u16).to_le_bytes());
    // `as` saturates: what is farther than 655.34 m is 65,534 and no range 65,535
    let hundredths = |value: f32| (value * 100.0).round_ties_even();
    for sight in &envelope.report.sights {
        for angle in [sight.bearing_deg, sight.elevation_deg] {
            out.extend((hundredths(angle) as i16).to_le_bytes());
        }
        let range = sight.range.map(|r| [r.metres, r.sd]);
        for metres in range.map_or([u16::MAX; 2], |r| {
            r.map(|m| (hundredths(m) as u16).min(u16::MAX - 1))
        }) {
            out.extend(metres.to_le_bytes());
        }
    }
}

/// Bytes of presence before the first name.
pub const PRESENCE_HEADER: usize = 26;

/// Bytes of one name's presence.
pub const PRESENCE: usize = 6;

/// Appends whether names are in the picture of a report at all. A report of which that was not asked has none.
pub fn write_presence(envelope: &Envelope, out: &mut Vec<u8>) {
    let report = &envelope.report;
    out.extend(envelope.run.to_le_bytes());
    out.extend(envelope.sequence.to_le_bytes());
    let PresenceCounts {
        there,
        unsure,
        not_there,
    } = report.presence_counts;
    for count in [there, unsure, not_there] {
        out.extend(count.to_le_bytes());
    }
    out.extend((report.presences.len() as u16).to_le_bytes());
    for presence in &report.presences {
        out.extend(saturated(presence.prompt).to_le_bytes());
        out.push(match presence.state {
            PresenceState::There => 1,
            PresenceState::Unsure => 2,
            PresenceState::NotThere => 3,
        });
        out.push(presence.change.map_or(0, change_number));
        out.extend(share(presence.score).to_le_bytes());
    }
}

/// Bytes of a happening before its JSON.
pub const HAPPENING: usize = 36;

/// Appends something that happened: its fixed fields, then its JSON. The track, and the zone or line, are 0 where there is none.
pub fn write_happening(event: &Event, happening: &Happening, out: &mut Vec<u8>) {
    out.extend(happening.run.to_le_bytes());
    out.extend(happening.seq.to_le_bytes());
    out.extend(happening.captured_ns.to_le_bytes());
    out.extend(happening.prompts_version.to_le_bytes());
    out.push(change_number(happening.kind));
    out.push(match happening.source {
        Source::Presence => 1,
    });
    out.extend(saturated(happening.prompt).to_le_bytes());
    out.extend(share(happening.score).to_le_bytes());
    out.extend([0; 6]);
    json::write_event(event, out);
}

/// What happened, from 1.
const fn change_number(change: Change) -> u8 {
    match change {
        Change::Appeared => 1,
        Change::Gone => 2,
    }
}

/// A probability in two bytes; `as` saturates and takes what is not a number for 0.
fn share(score: f32) -> u16 {
    (score * 65_535.0).round_ties_even() as u16
}

/// Bytes of smoothed scores before the first of them.
pub const SMOOTHED_HEADER: usize = 16;

/// Bytes of one smoothed score.
pub const SMOOTHED: usize = 2;

/// Appends the smoothed scores of a report's detections, in their order, 0 for one that has none, and how many of the last of them
/// are continued. A report of a frame that is not followed has none.
pub fn write_smoothed(envelope: &Envelope, out: &mut Vec<u8>) {
    let smoothed = &envelope.report.smoothed;
    let continued = smoothed.iter().rev().take_while(|s| s.continued).count();
    out.extend(envelope.run.to_le_bytes());
    out.extend(envelope.sequence.to_le_bytes());
    out.extend((smoothed.len() as u16).to_le_bytes());
    out.extend((continued as u16).to_le_bytes());
    for Smoothed { score, .. } in smoothed {
        out.extend(share(*score).to_le_bytes());
    }
}

fn saturated(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// As many binary digits behind the point as leave room for the longer side in 16 bits, at most 6.
fn fraction_bits(size: Size) -> u8 {
    let side = size.width.max(size.height);
    (0..=6)
        .rev()
        .find(|bits| u64::from(side) << bits <= u64::from(u16::MAX))
        .unwrap_or(0)
}

/// Appends a sign of life: which run, in what state (0: not told yet), how many reports this link sent and lost (modulo 2³²).
pub fn write_heartbeat(run: u32, state: Option<State>, sent: u64, lost: u64, out: &mut Vec<u8>) {
    out.extend(run.to_le_bytes());
    out.push(state.map_or(0, state_number));
    out.extend((sent as u32).to_le_bytes());
    out.extend((lost as u32).to_le_bytes());
}

/// A state's number on the wire, from 1.
fn state_number(state: State) -> u8 {
    let at = State::ALL.iter().position(|s| *s == state);
    at.map_or(0, |at| at as u8 + 1)
}

/// Appends an event: its number, its value, its JSON.
pub fn write_event(event: &Event, out: &mut Vec<u8>) {
    let (number, value): (u8, u32) = match event {
        Event::Hello { run, .. } => (1, *run),
        Event::State { to, .. } => (2, state_number(*to).into()),
        Event::PromptsChanged { version, .. } => (3, *version),
        Event::Fault { .. } => (4, 0),
        Event::Telemetry(_) => (5, 0),
        Event::Lost { count, .. } => (6, u32::try_from(*count).unwrap_or(u32::MAX)),
        // a frame of its own kind has more numbers
        Event::Scene(happening) => (7, happening.prompt),
    };
    out.push(number);
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

/// A report as it was read from a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryReport {
    /// As in [`Envelope`].
    pub run: u32,
    /// As in [`Envelope`].
    pub sequence: u64,
    /// As in [`Envelope`].
    pub prompts_version: u32,
    /// As in [`Envelope`].
    pub captured_ns: u64,
    /// As in [`Envelope`].
    pub latency_us: u32,
    /// As in [`Envelope`], modulo 2³².
    pub dropped: Drops,
    /// The frame's size.
    pub size: Size,
    /// Detections that found no room in the report.
    pub crowded: u16,
    /// What was found, best first.
    pub detections: Vec<BinaryDetection>,
}

/// A detection as it was read from a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryDetection {
    /// Index into the prompts of this version.
    pub prompt: u16,
    /// 0: not tracked.
    pub track: u16,
    /// `0..=1`.
    pub score: f32,
    /// Where, in pixels of the frame.
    pub bbox: BBox,
}

/// Why a payload is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportLength {
    /// Bytes that it has.
    pub got: usize,
    /// Bytes that it says it has; the header's if it has not even that.
    pub expected: usize,
}

impl fmt::Display for ReportLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a report of {} bytes came in {}",
            self.expected, self.got
        )
    }
}

impl std::error::Error for ReportLength {}

/// Reads a report.
///
/// # Errors
///
/// [`ReportLength`] if it is not as long as it says. Its CRC was checked with the frame; nothing else can be wrong with it.
pub fn read_report(payload: &[u8]) -> Result<BinaryReport, ReportLength> {
    let length = |expected| ReportLength {
        got: payload.len(),
        expected,
    };
    let (header, mut rest) = payload
        .split_first_chunk::<HEADER>()
        .ok_or(length(HEADER))?;
    let mut fields = &header[..];
    let run = u32::from_le_bytes(take(&mut fields));
    let sequence = u64::from_le_bytes(take(&mut fields));
    let prompts_version = u32::from_le_bytes(take(&mut fields));
    let captured_ns = u64::from_le_bytes(take(&mut fields));
    let latency_us = u32::from_le_bytes(take(&mut fields));
    let mut lost = || u64::from(u32::from_le_bytes(take(&mut fields)));
    let dropped = Drops {
        late: lost(),
        damaged: lost(),
        failed: lost(),
    };
    let mut short = || u16::from_le_bytes(take(&mut fields));
    let size = Size::new(short().into(), short().into());
    let [bits, _] = take(&mut fields);
    let mut short = || u16::from_le_bytes(take(&mut fields));
    let (crowded, count) = (short(), usize::from(short()));
    if rest.len() != count * DETECTION {
        return Err(length(HEADER + count * DETECTION));
    }
    let unit = 1.0 / (1_u32 << bits.min(16)) as f32;
    let detections = (0..count)
        .map(|_| {
            let mut short = || u16::from_le_bytes(take(&mut rest));
            let (prompt, track, score) = (short(), short(), f32::from(short()) / 65_535.0);
            let [x, y, width, height] = [(); 4].map(|()| f32::from(short()) * unit);
            let (half_width, half_height) = (width / 2.0, height / 2.0);
            BinaryDetection {
                prompt,
                track,
                score,
                bbox: BBox::new(
                    x - half_width,
                    y - half_height,
                    x + half_width,
                    y + half_height,
                ),
            }
        })
        .collect();
    Ok(BinaryReport {
        run,
        sequence,
        prompts_version,
        captured_ns,
        latency_us,
        dropped,
        size,
        crowded,
        detections,
    })
}

/// The next bytes of fields whose length was checked.
fn take<const N: usize>(fields: &mut &[u8]) -> [u8; N] {
    match fields.split_first_chunk() {
        Some((bytes, rest)) => {
            *fields = rest;
            *bytes
        }
        None => [0; N],
    }
}

/// The number of an error code, as replies have it.
#[must_use]
pub fn error_from_number(number: u8) -> Option<ErrorCode> {
    ErrorCode::ALL
        .into_iter()
        .find(|code| *code as u8 == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::tests::{appeared, envelope, full, present, tracked};

    fn payload(envelope: &Envelope) -> Vec<u8> {
        let mut out = Vec::new();
        write_report(envelope, &mut out);
        out
    }

    #[test]
    fn a_report_comes_back_to_the_units_of_its_fields() {
        let sent = envelope();
        let got = read_report(&payload(&sent)).expect("a report");
        assert_eq!(got.sequence, sent.sequence);
        assert_eq!(got.captured_ns, sent.captured_ns);
        assert_eq!((got.run, got.latency_us), (sent.run, sent.latency_us));
        assert_eq!((got.dropped, got.size), (sent.dropped, sent.report.size));
        assert_eq!(got.detections.len(), sent.report.detections.len());
        for (g, s) in got.detections.iter().zip(&sent.report.detections) {
            assert_eq!((u32::from(g.prompt), g.track), (s.prompt, 0));
            assert!((g.score - s.score).abs() <= 0.5 / 65_535.0, "{g:?} {s:?}");
            // 640 pixels: 6 digits behind the point; centre and half the size are each half a unit off at most
            let edges = |b: &BBox| [b.x0, b.y0, b.x1, b.y1];
            for (g, s) in edges(&g.bbox).into_iter().zip(edges(&s.bbox)) {
                assert!((g - s).abs() <= 0.75 / 64.0 + 1e-4, "{g} {s}");
            }
        }
    }

    #[test]
    fn tracks_go_round_in_two_bytes_and_never_are_none() {
        let tracks = |e| read_report(&payload(&e)).expect("a report").detections;
        let tracks: Vec<u16> = tracks(tracked()).iter().map(|d| d.track).collect();
        assert_eq!(tracks, [7, 4465]);
        for (id, short) in [(1, 1), (65_535, 65_535), (65_536, 1), (131_070, 65_535)] {
            assert_eq!(short_track(id), short);
        }
        assert_ne!(short_track(u32::MAX), 0);
        let mut none = tracked();
        none.report.tracks[0] = 0;
        assert_eq!(payload(&none)[52..54], [0, 0]);
    }

    #[test]
    fn sights_are_hundredths_and_saturate() {
        let mut envelope = tracked();
        let far = crate::geometry::camera::Range {
            metres: 5000.0,
            sd: 0.004,
        };
        envelope.report.sights[1].range = Some(far);
        let mut out = Vec::new();
        write_sights(&envelope, &mut out);
        assert_eq!(out.len(), SIGHTS_HEADER + 2 * SIGHT);
        let short = |at: usize| u16::from_le_bytes([out[at], out[at + 1]]);
        let fields = [14, 16, 18, 20, 22, 24, 26, 28].map(short);
        let (down, left) = (-425_i16 as u16, -2850_i16 as u16);
        assert_eq!(fields, [0, down, 250, 25, left, 3075, 65_534, 0]);
    }

    #[test]
    fn presence_has_fixed_fields_whatever_it_is_asked_of() {
        let mut asked = present();
        asked.report.presences[1].prompt = 70_000;
        asked.report.presences[1].score = f32::NAN;
        let mut out = Vec::new();
        write_presence(&asked, &mut out);
        assert_eq!(out.len(), PRESENCE_HEADER + 2 * PRESENCE);
        assert_eq!(out[12..26], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(out[26..], [0, 0, 1, 1, 255, 239, 255, 255, 2, 0, 0, 0]);
    }

    #[test]
    fn a_happening_has_its_json_behind_its_numbers() {
        let event = Event::Scene(appeared());
        let (mut out, mut line) = (Vec::new(), Vec::new());
        write_happening(&event, &appeared(), &mut out);
        json::write_event(&event, &mut line);
        assert_eq!(out[HAPPENING..], line);
        assert_eq!(out[24..HAPPENING], [1, 1, 0, 0, 255, 239, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn smoothed_scores_are_as_many_as_detections_and_say_which_are_continued() {
        let mut out = Vec::new();
        write_smoothed(&tracked(), &mut out);
        assert_eq!(out.len(), SMOOTHED_HEADER + 2 * SMOOTHED);
        let short = |at: usize| u16::from_le_bytes([out[at], out[at + 1]]);
        assert_eq!([12, 14, 16, 18].map(short), [2, 1, 53_247, 36_863]);
        out.clear();
        write_smoothed(&envelope(), &mut out);
        assert_eq!(out[12..], [0; 4]);
    }

    #[test]
    fn the_longest_report_is_as_long_as_promised_and_fits_a_frame() {
        assert_eq!(payload(&full()).len(), MAX_REPORT_BYTES);
        const { assert!(MAX_REPORT_BYTES < super::super::frame::MAX_PAYLOAD) }
    }

    #[test]
    fn large_frames_have_coarser_units_and_nothing_wraps() {
        let side = |n| fraction_bits(Size::new(n, 1));
        assert_eq!(
            [640, 1023, 1024, 4096, 65_535, 100_000].map(side),
            [6, 6, 5, 3, 0, 0]
        );
        let mut huge = envelope();
        huge.report.size = Size::new(100_000, 70_000);
        huge.report.detections[0].bbox = BBox::new(0.0, 0.0, 1e9, f32::NAN);
        huge.report.detections[0].prompt = 70_000;
        let got = read_report(&payload(&huge)).expect("a report");
        assert_eq!(got.size, Size::new(65_535, 65_535));
        assert_eq!(got.detections[0].prompt, u16::MAX);
    }

    #[test]
    fn a_report_of_any_other_length_is_refused_with_both_lengths() {
        let whole = payload(&envelope());
        for cut in 0..whole.len() {
            let error = read_report(&whole[..cut]).expect_err("cut");
            assert_eq!(error.got, cut);
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(read_report(&longer).is_err());
    }
}
