//! Payloads, read in place: nothing is copied and nothing allocated, but by [`read_report`].

use alloc::vec::Vec;
use core::{fmt, marker::PhantomData};

use super::{
    DETECTION, HAPPENING, HEADER, PRESENCE, PRESENCE_HEADER, SIGHT, SIGHTS_HEADER, SMOOTHED,
    SMOOTHED_HEADER,
};
use crate::{
    event::State,
    frame::{Frame, Kind},
    happening::Source,
    reply::ErrorCode,
    report::{BoundingBox, Change, Drops, Point, PresenceCounts, PresenceState},
};

/// What a frame carries, as it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payload<'a> {
    /// What was found in a frame of the camera.
    Report(Report<Records<'a, Detection>>),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// The answer to a command.
    Reply(ReplyNumbers<'a>),
    /// Something that happened.
    Event(EventNumbers<'a>),
    /// A report as a line of JSON, for [`json::read`](crate::json::read).
    JsonReport(&'a [u8]),
    /// Where the detections of the report before it lie.
    Sights(Sights<'a>),
    /// Whether names are in the picture of the report before it.
    Presence(Presence<'a>),
    /// Something that happened in the scene.
    Happening(HappeningNumbers<'a>),
    /// The smoothed scores of the report before it.
    Smoothed(SmoothedScores<'a>),
    /// A command in JSON, for [`json::read_request`](crate::json::read_request).
    Command(&'a [u8]),
}

/// Why a payload is not what its frame says. The CRC was right: another program sent it, or a later
/// version; pass over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// It is not as long as it says.
    Length {
        /// Bytes that it has.
        got: usize,
        /// Bytes that it says it has; the header's if it has not even that.
        expected: usize,
    },
    /// A number stands for nothing in this version.
    Unknown {
        /// The field.
        field: &'static str,
        /// What it has.
        number: u8,
    },
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got, expected } => {
                write!(f, "a payload of {expected} bytes came in {got}")
            }
            Self::Unknown { field, number } => write!(f, "no {field} has the number {number}"),
        }
    }
}

impl core::error::Error for PayloadError {}

/// Reads what a frame carries.
///
/// # Errors
///
/// [`PayloadError`].
pub fn read<'a>(frame: &Frame<'a>) -> Result<Payload<'a>, PayloadError> {
    let payload = frame.payload;
    Ok(match frame.kind {
        Kind::Report => Payload::Report(report(payload)?),
        Kind::Heartbeat => Payload::Heartbeat(heartbeat(payload)?),
        Kind::Reply => Payload::Reply(reply(payload)?),
        Kind::Event => Payload::Event(event(payload)?),
        Kind::JsonReport => Payload::JsonReport(payload),
        Kind::Sights => Payload::Sights(sights(payload)?),
        Kind::Presence => Payload::Presence(presence(payload)?),
        Kind::Happening => Payload::Happening(happening(payload)?),
        Kind::Smoothed => Payload::Smoothed(smoothed(payload)?),
        Kind::Command => Payload::Command(payload),
    })
}

/// Something of which a payload has many, all of the same size.
pub trait Record: Sized {
    /// Its bytes.
    const SIZE: usize;
    /// Takes it off the front of so many bytes; `bits` are the binary digits behind the point.
    fn take(fields: &mut &[u8], bits: u8) -> Self;
}

/// The records of a payload, where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records<'a, R> {
    bytes: &'a [u8],
    bits: u8,
    of: PhantomData<R>,
}

impl<'a, R: Record> Records<'a, R> {
    /// Those of a payload's rest, if it has just so many bytes.
    fn new(bytes: &'a [u8], count: usize, bits: u8, header: usize) -> Result<Self, PayloadError> {
        if bytes.len() != count * R::SIZE {
            return Err(PayloadError::Length {
                got: header + bytes.len(),
                expected: header + count * R::SIZE,
            });
        }
        let of = PhantomData;
        Ok(Self { bytes, bits, of })
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / R::SIZE
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One of them; none if there are not so many.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<R> {
        let start = index.checked_mul(R::SIZE)?;
        let mut fields = self.bytes.get(start..start.checked_add(R::SIZE)?)?;
        Some(R::take(&mut fields, self.bits))
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = R> + 'a {
        let bits = self.bits;
        let records = self.bytes.chunks_exact(R::SIZE);
        records.map(move |mut fields| R::take(&mut fields, bits))
    }
}

/// The first bytes of fields whose length was checked.
fn take<const N: usize>(fields: &mut &[u8]) -> [u8; N] {
    match fields.split_first_chunk() {
        Some((bytes, rest)) => {
            *fields = rest;
            *bytes
        }
        None => [0; N],
    }
}

fn byte(fields: &mut &[u8]) -> u8 {
    let [byte] = take(fields);
    byte
}

fn short(fields: &mut &[u8]) -> u16 {
    u16::from_le_bytes(take(fields))
}

fn long(fields: &mut &[u8]) -> u32 {
    u32::from_le_bytes(take(fields))
}

fn number(fields: &mut &[u8]) -> u64 {
    u64::from_le_bytes(take(fields))
}

fn share(fields: &mut &[u8]) -> f32 {
    f32::from(short(fields)) / 65_535.0
}

/// The fixed fields of a payload, and what follows them.
fn split(payload: &[u8], header: usize) -> Result<(&[u8], &[u8]), PayloadError> {
    payload
        .split_at_checked(header)
        .ok_or(PayloadError::Length {
            got: payload.len(),
            expected: header,
        })
}

/// The value of a number, counted from 1.
fn among<T: Copy>(all: &[T], number: u8, field: &'static str) -> Result<T, PayloadError> {
    let place = usize::from(number).checked_sub(1);
    let value = place.and_then(|place| all.get(place));
    value
        .copied()
        .ok_or(PayloadError::Unknown { field, number })
}

/// A report of fixed fields. Its detections are in a list, or where they lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report<L = Vec<Detection>> {
    /// As in [`Report`](crate::Report).
    pub run: u32,
    /// Counts reports of this run from 0.
    pub sequence: u64,
    /// As in [`Report`](crate::Report).
    pub prompts_version: u32,
    /// As in [`Report`](crate::Report).
    pub captured_ns: u64,
    /// As in [`Report`](crate::Report).
    pub latency_us: u32,
    /// As in [`Report`](crate::Report), modulo 2³².
    pub dropped: Drops,
    /// Columns of the frame; 65,535 if more.
    pub width: u16,
    /// Rows of the frame; 65,535 if more.
    pub height: u16,
    /// Detections that found no room in the report.
    pub crowded: u16,
    /// What was found, best first.
    pub detections: L,
}

/// A detection of fixed fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Index into the prompts of this version.
    pub prompt: u16,
    /// 0: not tracked.
    pub track: u16,
    /// `0..=1`.
    pub score: f32,
    /// Where, in pixels of the frame.
    pub bbox: BoundingBox,
}

impl Record for Detection {
    const SIZE: usize = DETECTION;

    fn take(fields: &mut &[u8], bits: u8) -> Self {
        let unit = 1.0 / (1_u32 << bits.min(16)) as f32;
        let (prompt, track, score) = (short(fields), short(fields), share(fields));
        let [x, y, size_x, size_y] = [(); 4].map(|()| f32::from(short(fields)) * unit);
        Self {
            prompt,
            track,
            score,
            bbox: BoundingBox {
                center: Point { x, y },
                size_x,
                size_y,
            },
        }
    }
}

/// Reads a report, into memory of its own.
///
/// # Errors
///
/// [`PayloadError::Length`] if it is not as long as it says. Its CRC was checked with the frame;
/// nothing else can be wrong with it.
pub fn read_report(payload: &[u8]) -> Result<Report, PayloadError> {
    let report = report(payload)?;
    Ok(Report {
        detections: report.detections.iter().collect(),
        run: report.run,
        sequence: report.sequence,
        prompts_version: report.prompts_version,
        captured_ns: report.captured_ns,
        latency_us: report.latency_us,
        dropped: report.dropped,
        width: report.width,
        height: report.height,
        crowded: report.crowded,
    })
}

fn report(payload: &[u8]) -> Result<Report<Records<'_, Detection>>, PayloadError> {
    let (mut fields, rest) = split(payload, HEADER)?;
    let f = &mut fields;
    let (run, sequence, prompts_version) = (long(f), number(f), long(f));
    let (captured_ns, latency_us) = (number(f), long(f));
    let dropped = Drops {
        late: long(f).into(),
        damaged: long(f).into(),
        failed: long(f).into(),
    };
    let (width, height) = (short(f), short(f));
    let [bits, _] = take(f);
    let (crowded, count) = (short(f), usize::from(short(f)));
    Ok(Report {
        run,
        sequence,
        prompts_version,
        captured_ns,
        latency_us,
        dropped,
        width,
        height,
        crowded,
        detections: Records::new(rest, count, bits, HEADER)?,
    })
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which run of the program.
    pub run: u32,
    /// What it is doing; none: not told yet.
    pub state: Option<State>,
    /// Reports sent over this link, modulo 2³².
    pub sent: u32,
    /// Reports lost, modulo 2³².
    pub lost: u32,
}

fn heartbeat(payload: &[u8]) -> Result<Heartbeat, PayloadError> {
    const BYTES: usize = 13;
    let (mut fields, rest) = split(payload, BYTES)?;
    if !rest.is_empty() {
        return Err(PayloadError::Length {
            got: payload.len(),
            expected: BYTES,
        });
    }
    let f = &mut fields;
    let (run, state) = (long(f), byte(f));
    Ok(Heartbeat {
        run,
        state: match state {
            0 => None,
            state => Some(among(&State::ALL, state, "state")?),
        },
        sent: long(f),
        lost: long(f),
    })
}

/// An answer: the numbers that a program acts on, and all of it in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyNumbers<'a> {
    /// The command's.
    pub id: u32,
    /// Why it was not obeyed; none if it was.
    pub error: Option<ErrorCode>,
    /// For [`json::read`](crate::json::read).
    pub json: &'a [u8],
}

fn reply(payload: &[u8]) -> Result<ReplyNumbers<'_>, PayloadError> {
    let (mut fields, json) = split(payload, 5)?;
    Ok(ReplyNumbers {
        id: long(&mut fields),
        error: ErrorCode::from_number(byte(&mut fields)),
        json,
    })
}

/// An event: the numbers that a program acts on, and all of it in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventNumbers<'a> {
    /// Which: 1 `hello`, 2 `state`, 3 `prompts_changed`, 4 `fault`, 5 `telemetry`, 6 `lost`; others
    /// may be added.
    pub number: u8,
    /// The run; the new state's number; the version; 0; 0; how many reports were lost.
    pub value: u32,
    /// For [`json::read`](crate::json::read).
    pub json: &'a [u8],
}

fn event(payload: &[u8]) -> Result<EventNumbers<'_>, PayloadError> {
    let (mut fields, json) = split(payload, 5)?;
    Ok(EventNumbers {
        number: byte(&mut fields),
        value: long(&mut fields),
        json,
    })
}

/// Where the detections of a report lie as seen from the camera, in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sights<'a> {
    /// The report's.
    pub run: u32,
    /// The report's.
    pub sequence: u64,
    /// One for each detection.
    pub sights: Records<'a, Sight>,
}

/// Where a detection lies as seen from the camera.
pub use crate::report::Sight;

impl Record for Sight {
    const SIZE: usize = SIGHT;

    fn take(fields: &mut &[u8], _: u8) -> Self {
        let mut angle = || f32::from(i16::from_le_bytes(take(fields))) / 100.0;
        let (bearing_deg, elevation_deg) = (angle(), angle());
        let mut metres = || match short(fields) {
            u16::MAX => None,
            hundredths => Some(f32::from(hundredths) / 100.0),
        };
        Self {
            bearing_deg,
            elevation_deg,
            range_m: metres(),
            range_sd_m: metres(),
        }
    }
}

fn sights(payload: &[u8]) -> Result<Sights<'_>, PayloadError> {
    let (mut fields, rest) = split(payload, SIGHTS_HEADER)?;
    let f = &mut fields;
    let (run, sequence, count) = (long(f), number(f), usize::from(short(f)));
    Ok(Sights {
        run,
        sequence,
        sights: Records::new(rest, count, 0, SIGHTS_HEADER)?,
    })
}

/// Whether names are in the picture of a report at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Presence<'a> {
    /// The report's.
    pub run: u32,
    /// The report's.
    pub sequence: u64,
    /// How many names are in each state, those that are not listed too.
    pub counts: PresenceCounts,
    /// The names that matter most.
    pub names: Records<'a, NamePresence>,
}

/// The presence of one name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamePresence {
    /// Index into the prompts of this version.
    pub prompt: u16,
    /// What holds; a number that stands for nothing in this version is `Unsure`.
    pub state: PresenceState,
    /// What became of it in this report; likewise none.
    pub change: Option<Change>,
    /// How likely it is there, `0..=1`.
    pub score: f32,
}

impl Record for NamePresence {
    const SIZE: usize = PRESENCE;

    fn take(fields: &mut &[u8], _: u8) -> Self {
        Self {
            prompt: short(fields),
            state: among(&PresenceState::ALL, byte(fields), "state").unwrap_or_default(),
            change: among(&Change::ALL, byte(fields), "change").ok(),
            score: share(fields),
        }
    }
}

fn presence(payload: &[u8]) -> Result<Presence<'_>, PayloadError> {
    let (mut fields, rest) = split(payload, PRESENCE_HEADER)?;
    let f = &mut fields;
    let (run, sequence) = (long(f), number(f));
    let counts = PresenceCounts {
        there: long(f),
        unsure: long(f),
        not_there: long(f),
    };
    let count = usize::from(short(f));
    Ok(Presence {
        run,
        sequence,
        counts,
        names: Records::new(rest, count, 0, PRESENCE_HEADER)?,
    })
}

/// Something that happened in the scene: all that a program acts on, and all of it in JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HappeningNumbers<'a> {
    /// As in [`Happening`](crate::Happening).
    pub run: u32,
    /// The report that it comes right behind.
    pub sequence: u64,
    /// As in [`Happening`](crate::Happening).
    pub captured_ns: u64,
    /// As in [`Happening`](crate::Happening).
    pub prompts_version: u32,
    /// What.
    pub kind: Change,
    /// What saw it.
    pub source: Source,
    /// Index into the prompts of this version.
    pub prompt: u16,
    /// How likely it is there, `0..=1`.
    pub score: f32,
    /// Of sources that have one, the track; 0.
    pub track: u32,
    /// Of sources that have one, the number of the zone or line; 0.
    pub place: u16,
    /// For [`json::read`](crate::json::read).
    pub json: &'a [u8],
}

fn happening(payload: &[u8]) -> Result<HappeningNumbers<'_>, PayloadError> {
    let (mut fields, json) = split(payload, HAPPENING)?;
    let f = &mut fields;
    Ok(HappeningNumbers {
        run: long(f),
        sequence: number(f),
        captured_ns: number(f),
        prompts_version: long(f),
        kind: among(&Change::ALL, byte(f), "kind")?,
        source: among(&Source::ALL, byte(f), "source")?,
        prompt: short(f),
        score: share(f),
        track: long(f),
        place: short(f),
        json,
    })
}

/// The smoothed scores of a report's detections, in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothedScores<'a> {
    /// The report's.
    pub run: u32,
    /// The report's.
    pub sequence: u64,
    /// How many of the last detections are continued.
    pub continued: u16,
    /// `0..=1`; 0: none.
    pub scores: Records<'a, f32>,
}

impl Record for f32 {
    const SIZE: usize = SMOOTHED;

    fn take(fields: &mut &[u8], _: u8) -> Self {
        share(fields)
    }
}

fn smoothed(payload: &[u8]) -> Result<SmoothedScores<'_>, PayloadError> {
    let (mut fields, rest) = split(payload, SMOOTHED_HEADER)?;
    let f = &mut fields;
    let (run, sequence, count) = (long(f), number(f), usize::from(short(f)));
    let continued = short(f);
    Ok(SmoothedScores {
        run,
        sequence,
        continued,
        scores: Records::new(rest, count, 0, SMOOTHED_HEADER)?,
    })
}
