//! The answers to commands.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    event::Telemetry,
    report::{PresenceCounts, PresenceState},
};

/// Why a command was not obeyed. The numbers are on the wire: they are never given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ErrorCode {
    /// Not a command at all: no JSON object, no such fields.
    Malformed = 1,
    /// No command has that name.
    UnknownCommand = 2,
    /// A value is out of range.
    Invalid = 3,
    /// A name that the vocabulary does not have, or a prompt that is not in use.
    UnknownPrompt = 4,
    /// This program or this model cannot do it.
    Unsupported = 5,
    /// Too many commands are waiting.
    Busy = 6,
    /// The report or detection, or an object in the box, is not there (any more).
    NotFound = 7,
    /// It was tried and failed; what was before still holds.
    Failed = 8,
    /// The line or frame is longer than this link takes.
    TooLong = 9,
    /// This user may not connect, or too many clients are connected.
    Denied = 10,
    /// A code that was added after this version; it is read and never sent.
    #[serde(other)]
    Unknown = 255,
}

impl ErrorCode {
    /// All that are sent, in the order of their numbers, which begin with 1.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::UnknownCommand,
        Self::Invalid,
        Self::UnknownPrompt,
        Self::Unsupported,
        Self::Busy,
        Self::NotFound,
        Self::Failed,
        Self::TooLong,
        Self::Denied,
    ];

    /// That of a number in a reply; none if it is 0, which is no error.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|code| *code as u8 == number);
        known.or((number != 0).then_some(Self::Unknown))
    }
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It was done.
    Ack {
        /// The command's.
        id: u32,
        /// What was asked for, if anything.
        answer: Answer,
    },
    /// It was not.
    Error {
        /// The command's; 0 if it could not be read.
        id: u32,
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        text: String,
    },
}

impl Reply {
    /// Done, with nothing to tell.
    #[must_use]
    pub const fn done(id: u32) -> Self {
        Self::Ack {
            id,
            answer: Answer::Done,
        }
    }

    /// Not done.
    pub fn error(id: u32, code: ErrorCode, text: impl Into<String>) -> Self {
        Self::Error {
            id,
            code,
            text: text.into(),
        }
    }

    /// The command's.
    #[must_use]
    pub const fn id(&self) -> u32 {
        match self {
            Self::Ack { id, .. } | Self::Error { id, .. } => *id,
        }
    }
}

/// Whether a name is in the picture at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamePresence {
    /// The prompt, or the first one of the group.
    pub prompt: u32,
    /// The prompt's name, or its group's.
    pub class_id: String,
    /// What holds.
    pub state: PresenceState,
    /// How likely it was there in the last report, `0..=1`.
    pub score: f32,
}

/// What a command asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing: it was done.
    Done,
    /// The prompt set that holds from the next frame on.
    PromptsVersion(u32),
    /// Who is there.
    Hello {
        /// [`WIRE_VERSION`](crate::WIRE_VERSION).
        wire: u8,
        /// The program's version.
        version: String,
        /// As in reports.
        run: u32,
        /// The pack's name and version.
        pack: String,
        /// The prompt set in use.
        prompts_version: u32,
        /// How many prompts it has.
        prompts: u32,
    },
    /// A page of the prompts in use.
    Prompts {
        /// Their set.
        prompts_version: u32,
        /// How many there are in all.
        count: u32,
        /// Index of the first name here.
        from: u32,
        /// The names, in order.
        names: Vec<String>,
    },
    /// How the program is doing.
    Telemetry(Box<Telemetry>),
    /// A page of the names in use and their presence.
    Presence {
        /// Their prompts' set.
        prompts_version: u32,
        /// The report that it is of.
        seq: u64,
        /// How many names there are in each state.
        counts: PresenceCounts,
        /// Number of the first name here.
        from: u32,
        /// The names, in the order of the set.
        names: Vec<NamePresence>,
    },
    /// Words, as of the self-test.
    Text(String),
    /// The pixels of a detection.
    Mask {
        /// Height and width of the part of the frame that was looked at.
        size: [u32; 2],
        /// Column and row of the frame at which that part begins.
        offset: [u32; 2],
        /// Run lengths down the columns, as COCO's tools compress them.
        counts: String,
        /// Pixels inside.
        area: u64,
    },
    /// The pixels of a detection, for slow links.
    Bits {
        /// Rows and columns.
        size: [usize; 2],
        /// Row by row, eight columns in a byte, the leftmost highest, in base64; over the detection's box.
        bits: String,
        /// Pixels inside.
        area: u64,
    },
}
