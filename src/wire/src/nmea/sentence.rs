//! The fields of each sentence: one enum, which is written and read.

use core::{fmt, str::FromStr};

use crate::{
    event::State,
    happening::Source,
    report::{BoundingBox, Change, PresenceCounts, PresenceState, Sight},
};

/// A sentence that the program sends. Words are cut where a sentence would have more than
/// [`MAX_SENTENCE`](super::MAX_SENTENCE) characters, and have underscores for what is not ASCII.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sentence<'a> {
    /// `$TSREP`: a frame was looked at.
    Report {
        /// Counts reports of a run from 0.
        sequence: u64,
        /// Detections found; fewer may be told.
        found: u32,
        /// The prompt set.
        prompts_version: u32,
        /// When the frame was captured: `CLOCK_MONOTONIC`, milliseconds.
        captured_ms: u64,
        /// From capture until the report was ready.
        latency_us: u32,
    },
    /// `$TSDET`: something was found.
    Detection {
        /// The report's.
        sequence: u64,
        /// Which one, from 0.
        index: u32,
        /// Index into the prompt set.
        prompt: u32,
        /// `0..=1`.
        score: f32,
        /// Where, in pixels.
        bbox: BoundingBox,
        /// The prompt's text.
        name: &'a str,
    },
    /// `$TSTRK`: ids of some detections, one after the other; 0: none.
    Tracks {
        /// The report's.
        sequence: u64,
        /// The detection that the first id is of.
        first: u32,
        /// The ids.
        ids: Numbers<'a>,
    },
    /// `$TSSMO`: smoothed scores of some detections, one after the other; some may have none.
    Smoothed {
        /// The report's.
        sequence: u64,
        /// The detection that the first score is of.
        first: u32,
        /// The scores.
        scores: Numbers<'a>,
    },
    /// `$TSCON`: from one detection on they are continued.
    Continued {
        /// The report's.
        sequence: u64,
        /// That detection.
        first: u32,
    },
    /// `$TSDIR`: where a detection lies as seen from the camera.
    Sight {
        /// The report's.
        sequence: u64,
        /// Which detection, from 0.
        index: u32,
        /// Where.
        sight: Sight,
    },
    /// `$TSPRC`: how many names are in each state of presence.
    PresenceCounts {
        /// The report's.
        sequence: u64,
        /// How many.
        counts: PresenceCounts,
    },
    /// `$TSPRE`: whether a name is in the picture.
    Presence {
        /// The report's.
        sequence: u64,
        /// Which name, from 0.
        index: u32,
        /// Index into the prompt set.
        prompt: u32,
        /// What holds.
        state: PresenceState,
        /// How likely it is there, `0..=1`.
        score: f32,
        /// What became of it in this report.
        change: Option<Change>,
        /// The prompt's text.
        name: &'a str,
    },
    /// `$TSEVT`: something happened in the scene.
    Happening {
        /// The report's that it comes right behind.
        sequence: u64,
        /// When its frame was captured, milliseconds.
        captured_ms: u64,
        /// What.
        kind: Change,
        /// What saw it.
        source: Source,
        /// Index into the prompt set.
        prompt: u32,
        /// How likely it is there, `0..=1`.
        score: f32,
        /// The track, of what is seen by one.
        track: Option<u32>,
        /// The prompt's text.
        name: &'a str,
    },
    /// `$TSHEL`: the first one.
    Hello {
        /// The wire's version.
        wire: u8,
        /// Which run of the program.
        run: u32,
        /// The program's version.
        version: &'a str,
    },
    /// `$TSSTA`: the state changed.
    State {
        /// What it is.
        state: State,
        /// Why.
        why: &'a str,
    },
    /// `$TSPRM`: another prompt set holds.
    PromptsChanged {
        /// Its version.
        version: u32,
        /// How many prompts it has.
        count: u32,
    },
    /// `$TSFLT`: something went wrong.
    Fault {
        /// The part, and what happened.
        text: &'a str,
    },
    /// `$TSTEL`: how the program is doing.
    Telemetry {
        /// Frames per second lately.
        fps: f32,
        /// Median time from capture to emission, microseconds.
        latency_p50_us: u32,
        /// 99th percentile of the same.
        latency_p99_us: u32,
        /// Resident memory, KiB.
        rss_kib: u64,
        /// The hottest sensor, degrees Celsius.
        temperature_c: Option<f32>,
        /// Frames lost since the start.
        dropped: u64,
    },
    /// `$TSLST`: what was not sent over this line.
    Lost {
        /// Reports.
        reports: u64,
        /// Other messages.
        others: u64,
    },
    /// `$TSHBT`: a sign of life.
    Heartbeat {
        /// What the program is doing; none: not told yet.
        state: Option<State>,
        /// Reports sent.
        sent: u64,
        /// Reports lost.
        lost: u64,
    },
    /// `$TSACK`: a command was obeyed.
    Done {
        /// The command's.
        id: u32,
        /// The answer, if there is one.
        answer: Option<&'a str>,
    },
    /// `$TSERR`: a command was not obeyed.
    Error {
        /// The command's.
        id: u32,
        /// The number of an [`ErrorCode`](crate::ErrorCode).
        code: u8,
        /// Why.
        text: &'a str,
    },
    /// `$TSNAM`: a name of the prompt set, before the `$TSACK` of `get_prompts`.
    Name {
        /// The command's.
        id: u32,
        /// Index into the prompt set.
        prompt: u32,
        /// The prompt's text.
        name: &'a str,
    },
    /// `$TSPRA`: the presence of a name, before the `$TSACK` of `get_presence`.
    NamePresence {
        /// The command's.
        id: u32,
        /// Index into the prompt set.
        prompt: u32,
        /// What holds.
        state: PresenceState,
        /// How likely it was there in the last report, `0..=1`.
        score: f32,
        /// The prompt's text.
        name: &'a str,
    },
}

/// Numbers of a sentence as they stand in it, separated by commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers<'a>(pub &'a str);

impl<'a> Numbers<'a> {
    /// Each of them; none where there is nothing between two commas, or no such number.
    pub fn iter<T: FromStr>(self) -> impl Iterator<Item = Option<T>> + use<'a, T> {
        self.0.split(',').map(|field| field.parse().ok())
    }
}

/// Why a line is no sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SentenceError {
    /// Its checksum is missing or wrong: the line damaged it.
    Checksum,
    /// It is none of this version's: pass over it.
    Name,
    /// Its fields are not those of its name.
    Fields,
}

impl fmt::Display for SentenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checksum => "the checksum is missing or wrong",
            Self::Name => "no sentence has that name",
            Self::Fields => "the fields are not those of the sentence's name",
        })
    }
}

impl core::error::Error for SentenceError {}
