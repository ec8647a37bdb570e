//! Frames for a line that loses and invents bytes.
//!
//! ```text
//! 00 | COBS( version 1 | kind 1 | sequence 4 | payload n | CRC-32 4 ) | 00
//! ```
//!
//! Numbers are little-endian; the CRC is that of Ethernet and zip, over everything before it. COBS (Cheshire and Baker, 1997)
//! leaves no zero byte inside, so a zero byte always ends a frame, and whatever was damaged before it is over. Frames also
//! *begin* with one: what a line makes up while nobody sends is then a frame of its own and costs no real one.
//!
//! [`Deframer`] takes bytes as they come, in pieces of any size, and never holds more than one frame.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    WIRE_VERSION,
    buffer::{Buffer, Fixed},
};

/// Longest payload, in bytes: room for some thousand prompts in one command. A reader of reports alone needs
/// [`MAX_REPORT_BYTES`](crate::binary::MAX_REPORT_BYTES).
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Version, kind, sequence.
const HEADER: usize = 6;

const CRC: usize = 4;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A report of fixed fields.
    Report = 1,
    /// A sign of life.
    Heartbeat = 2,
    /// The answer to a command.
    Reply = 3,
    /// Something that happened.
    Event = 4,
    /// A report as a line of JSON.
    JsonReport = 5,
    /// Where the detections of the report before it lie as seen from the camera.
    Sights = 6,
    /// Whether names are in the picture of the report before it at all.
    Presence = 7,
    /// Something that happened in the scene.
    Happening = 8,
    /// The smoothed scores of the detections of the report before it.
    Smoothed = 9,
    /// A command as a line of JSON.
    Command = 16,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Report,
        Self::Heartbeat,
        Self::Reply,
        Self::Event,
        Self::JsonReport,
        Self::Sights,
        Self::Presence,
        Self::Happening,
        Self::Smoothed,
        Self::Command,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Makes frames and counts them.
#[derive(Debug, Default)]
pub struct Framer {
    sequence: u32,
    plain: Vec<u8>,
}

impl Framer {
    /// A framer whose first frame has the number 0.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sequence: 0,
            plain: Vec::new(),
        }
    }

    /// Appends one frame to `out`, both zero bytes included; `payload` appends what it carries.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`] if the payload is longer than [`MAX_PAYLOAD`]; `out` is as it was and no number is used up.
    pub fn frame(
        &mut self,
        kind: Kind,
        payload: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let plain = &mut self.plain;
        plain.clear();
        payload(plain);
        if plain.len() > MAX_PAYLOAD {
            return Err(FrameError::TooLong);
        }
        let start = out.len();
        out.resize(start + encoded_length(plain.len()) + 2, 0);
        let place = out.get_mut(start..).unwrap_or_default();
        let length = encode(kind, self.sequence, plain, place)?;
        out.truncate(start + length);
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }
}

/// Makes one frame in a place that is there, both zero bytes included, without allocating; how many
/// bytes of `out` it has. [`encoded_length`] and 2 are always enough.
///
/// # Errors
///
/// [`FrameError::TooLong`] if the payload is longer than [`MAX_PAYLOAD`], or the frame than `out`.
pub fn encode(
    kind: Kind,
    sequence: u32,
    payload: &[u8],
    out: &mut [u8],
) -> Result<usize, FrameError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLong);
    }
    let [s0, s1, s2, s3] = sequence.to_le_bytes();
    let header = [WIRE_VERSION, kind as u8, s0, s1, s2, s3];
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header);
    crc.update(payload);
    let crc = crc.finalize().to_le_bytes();
    let Some((first, place)) = out.split_first_mut().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(FrameError::TooLong);
    };
    *first = 0;
    let mut cobs = cobs::CobsEncoder::new(place);
    for part in [&header[..], payload, &crc] {
        cobs.push(part).map_err(|_| FrameError::TooLong)?;
    }
    let length = cobs.finalize();
    *place.get_mut(length).ok_or(FrameError::TooLong)? = 0;
    Ok(length + 2)
}

/// A frame that arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// The sender's count of frames. A gap is a frame that the line damaged.
    pub sequence: u32,
    /// What it carries, at most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

/// Why the bytes between two zero bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// They are not what COBS makes.
    Cobs,
    /// Fewer than a header and a CRC.
    TooShort(usize),
    /// More than the longest frame.
    TooLong,
    /// The CRC is that of other bytes.
    Crc {
        /// Of the bytes that came.
        computed: u32,
        /// That came with them.
        received: u32,
    },
    /// A whole frame of another wire version.
    Version(u8),
    /// A whole frame of a kind that this version does not have.
    Kind(u8),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cobs => f.write_str("not COBS"),
            Self::TooShort(n) => write!(f, "{n} bytes are no frame, {} are", HEADER + CRC),
            Self::TooLong => write!(f, "more than {MAX_PAYLOAD} bytes of payload"),
            Self::Crc { computed, received } => {
                write!(f, "crc is {computed:08x}, the frame says {received:08x}")
            }
            Self::Version(v) => write!(f, "wire version {v}, this is {WIRE_VERSION}"),
            Self::Kind(k) => write!(f, "no kind {k}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Finds frames in bytes. They wait in `B`: on the heap as many as the longest frame has, or in a
/// [`Fixed`] place, which needs [`encoded_length`] of the longest payload that is to be read; a
/// longer frame is passed over.
#[derive(Debug, Default)]
pub struct Deframer<B = Vec<u8>> {
    encoded: B,
    /// How many bytes that are.
    length: usize,
    /// More came than fits; all of it up to the next zero byte is passed over.
    overflown: bool,
}

/// Longest frame between its zero bytes.
const MAX_ENCODED: usize = encoded_length(MAX_PAYLOAD);

/// How many bytes a frame with such a payload has at most, its zero bytes left out.
#[must_use]
pub const fn encoded_length(payload: usize) -> usize {
    cobs::max_encoding_length(HEADER + payload + CRC)
}

impl Deframer {
    /// A decoder that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            encoded: Vec::new(),
            length: 0,
            overflown: false,
        }
    }
}

impl<const N: usize> Deframer<Fixed<N>> {
    /// A decoder that has seen nothing and allocates nothing.
    #[must_use]
    pub const fn fixed() -> Self {
        Self {
            encoded: Fixed::new(),
            length: 0,
            overflown: false,
        }
    }
}

impl<B: Buffer> Deframer<B> {
    /// Takes some bytes and hands over each frame that they complete, and each thing that was to be one and is not.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Result<Frame<'_>, FrameError>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == 0) {
            self.append(&rest[..end]);
            rest = &rest[end + 1..];
            if self.overflown {
                take(Err(FrameError::TooLong));
            } else if self.length > 0 {
                take(unframe(self.encoded.bytes()));
            }
            self.clear();
        }
        self.append(rest);
    }

    /// Forgets what has come of a frame, as after a line was lost.
    pub fn clear(&mut self) {
        self.encoded.clear();
        self.length = 0;
        self.overflown = false;
    }

    fn append(&mut self, bytes: &[u8]) {
        let fits = self.length + bytes.len() <= MAX_ENCODED;
        if self.overflown || !fits || !self.encoded.add(bytes) {
            self.overflown = true;
            self.encoded.clear();
            self.length = 0;
        } else {
            self.length += bytes.len();
        }
    }
}

/// The frame in some bytes without zeros, which are overwritten.
fn unframe(encoded: &mut [u8]) -> Result<Frame<'_>, FrameError> {
    let length = cobs::decode_in_place(encoded).map_err(|_| FrameError::Cobs)?;
    let plain = &encoded[..length];
    let short = FrameError::TooShort(length);
    let (body, crc) = plain.split_last_chunk::<CRC>().ok_or(short)?;
    let (header, payload) = body.split_first_chunk::<HEADER>().ok_or(short)?;
    let (computed, received) = (crc32fast::hash(body), u32::from_le_bytes(*crc));
    if computed != received {
        return Err(FrameError::Crc { computed, received });
    }
    let [version, kind, sequence @ ..] = *header;
    if version != WIRE_VERSION {
        return Err(FrameError::Version(version));
    }
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLong);
    }
    Ok(Frame {
        kind: Kind::from_byte(kind).ok_or(FrameError::Kind(kind))?,
        sequence: u32::from_le_bytes(sequence),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    fn framed(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Framer::new()
            .frame(kind, |p| p.extend(payload), &mut out)
            .expect("short enough");
        out
    }

    /// Payloads of all frames in some bytes, and how much else there was.
    fn read<B: Buffer>(
        deframer: &mut Deframer<B>,
        bytes: &[u8],
    ) -> (Vec<Vec<u8>>, Vec<FrameError>) {
        let (mut payloads, mut errors) = (Vec::new(), Vec::new());
        deframer.push(bytes, |frame| match frame {
            Ok(frame) => payloads.push(frame.payload.to_vec()),
            Err(e) => errors.push(e),
        });
        (payloads, errors)
    }

    const COMMAND: &[u8] = br#"{"id":7,"command":"set_threshold","threshold":0.4}"#;

    /// Numbers without a pattern, the same on every run (SplitMix64).
    fn noise(seed: u64) -> impl Iterator<Item = u8> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) as u8
        })
    }

    #[test]
    fn payloads_of_every_length_around_cobs_blocks_come_back() {
        let lengths = (0..1100).chain([4000, MAX_PAYLOAD]);
        let mut out = Vec::new();
        let mut framer = Framer::new();
        for (length, sequence) in lengths.zip(0..) {
            let payload: Vec<u8> = noise(length as u64).map(|b| b & 3).take(length).collect();
            out.clear();
            framer
                .frame(Kind::Event, |p| p.extend(&payload), &mut out)
                .expect("short enough");
            assert_eq!(out.iter().filter(|b| **b == 0).count(), 2, "{length}");
            let mut seen = 0;
            Deframer::new().push(&out, |frame| {
                let expected = Frame {
                    kind: Kind::Event,
                    sequence,
                    payload: &payload,
                };
                assert_eq!(frame, Ok(expected));
                seen += 1;
            });
            assert_eq!(seen, 1, "{length}");
        }
    }

    #[test]
    fn a_payload_that_is_too_long_is_refused_and_leaves_nothing() {
        let (mut framer, mut out) = (Framer::new(), vec![9]);
        let result = framer.frame(Kind::Event, |p| p.resize(MAX_PAYLOAD + 7, 1), &mut out);
        assert_eq!(result, Err(FrameError::TooLong));
        assert_eq!((out, framer.sequence), (vec![9], 0));
    }

    #[test]
    fn frames_arrive_in_pieces_of_any_size() {
        let mut bytes = framed(Kind::Command, COMMAND);
        bytes.extend(framed(Kind::Command, b""));
        for size in 1..bytes.len() {
            let mut deframer = Deframer::new();
            let payloads: Vec<_> = bytes
                .chunks(size)
                .flat_map(|c| read(&mut deframer, c).0)
                .collect();
            assert_eq!(payloads, [COMMAND, b""], "pieces of {size}");
        }
    }

    #[test]
    fn a_million_bytes_of_noise_are_no_frame_and_the_next_one_is_read() {
        // zeros as rare as in noise, common, and absent
        let streams: [fn(u8) -> u8; 3] = [|b| b, |b| b & 7, |b| b | 1];
        for (n, spice) in streams.into_iter().enumerate() {
            let mut deframer = Deframer::new();
            let bytes: Vec<u8> = noise(n as u64).map(spice).take(1_000_000).collect();
            let (frames, errors) = read(&mut deframer, &bytes);
            assert!(frames.is_empty(), "stream {n}");
            assert!(n == 2 || errors.len() > 1000, "stream {n}");
            assert!(deframer.encoded.capacity() <= 2 * MAX_ENCODED, "stream {n}");
            let (frames, _) = read(&mut deframer, &framed(Kind::Command, COMMAND));
            assert_eq!(frames, [COMMAND], "stream {n}");
        }
    }

    #[test]
    fn a_frame_cut_at_any_byte_is_refused_and_the_next_one_is_read() {
        let whole = framed(Kind::Command, COMMAND);
        // neither zero byte alone is a loss: the next frame brings its own
        for cut in 2..whole.len() - 1 {
            for piece in [&whole[..cut], &whole[cut..]] {
                let mut bytes = piece.to_vec();
                bytes.extend(&whole);
                let (frames, errors) = read(&mut Deframer::new(), &bytes);
                assert_eq!(frames, [COMMAND], "cut at {cut}");
                assert!(errors.len() == 1, "cut at {cut}: {errors:?}");
            }
        }
    }

    #[test]
    fn bytes_lost_or_doubled_inside_a_frame_are_noticed() {
        let whole = framed(Kind::Command, COMMAND);
        for at in 1..whole.len() - 1 {
            let (mut lost, mut doubled) = (whole.clone(), whole.clone());
            lost.remove(at);
            doubled.insert(at, whole[at]);
            assert!(read(&mut Deframer::new(), &lost).0.is_empty(), "{at}");
            assert!(read(&mut Deframer::new(), &doubled).0.is_empty(), "{at}");
        }
    }

    #[test]
    fn no_single_flipped_bit_of_a_command_is_accepted_and_the_next_frame_is_read() {
        let whole = framed(Kind::Command, COMMAND);
        let next = framed(Kind::Command, b"next");
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes.extend(&next);
            let (frames, _) = read(&mut Deframer::new(), &bytes);
            assert_eq!(frames, [b"next"], "bit {bit}");
        }
    }

    #[test]
    fn no_two_flipped_bits_of_a_short_command_are_accepted() {
        let whole = framed(Kind::Command, br#"{"command":"pause"}"#);
        let bits = whole.len() * 8;
        for first in 8..bits - 8 {
            for second in first + 1..bits - 8 {
                let mut bytes = whole.clone();
                bytes[first / 8] ^= 1 << (first % 8);
                bytes[second / 8] ^= 1 << (second % 8);
                let (frames, _) = read(&mut Deframer::new(), &bytes);
                assert!(frames.is_empty(), "bits {first} and {second}");
            }
        }
    }

    #[test]
    fn a_frame_of_another_version_or_kind_is_named() {
        let other = |change: fn(&mut Vec<u8>)| {
            let mut plain = vec![WIRE_VERSION, Kind::Event as u8, 0, 0, 0, 0];
            change(&mut plain);
            plain.extend(crc32fast::hash(&plain).to_le_bytes());
            let mut bytes = vec![0; encoded_length(plain.len())];
            let length = cobs::encode(&plain, &mut bytes);
            bytes.truncate(length);
            bytes.push(0);
            read(&mut Deframer::new(), &bytes).1
        };
        assert_eq!(other(|p| p[0] = 9), [FrameError::Version(9)]);
        assert_eq!(other(|p| p[1] = 77), [FrameError::Kind(77)]);
        assert_eq!(other(|p| p.truncate(3)), [FrameError::TooShort(7)]);
        assert_eq!(other(|_| ()), []);
    }
}
