//! Something that happened in the scene: one message for all that can, whatever saw it.
//!
//! | field | of presence | room for |
//! |---|---|---|
//! | `kind` | `appeared`, `gone` | what things do at places |
//! | `source` | `presence` | tracks, zones, lines |
//! | `prompt`, `class_id`, `score` | the name, and how likely it is there | the same |
//! | in frames four and two bytes | 0 | a track's id; the number of a zone or line |
//!
//! A field that another source needs is added to the JSON, and is absent where it has nothing to say.

use serde::{Deserialize, Serialize};

use crate::{report::json::Stamp, scene::Change};

/// What saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Whether a name is in the picture at all.
    Presence,
}

impl Source {
    /// As the wire writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
        }
    }
}

/// Something that happened in the scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// What.
    pub kind: Change,
    /// What saw it.
    pub source: Source,
    /// As in [`Envelope`](super::Envelope): which run it is of.
    pub run: u32,
    /// The report that it comes right behind.
    pub seq: u64,
    /// When that report's frame was captured, wall clock.
    pub stamp: Stamp,
    /// The same, `CLOCK_MONOTONIC`, nanoseconds.
    pub captured_ns: u64,
    /// The prompt set.
    pub prompts_version: u32,
    /// Index into it: of prompts that share a name, the first.
    pub prompt: u32,
    /// The prompt's name, or its group's.
    pub class_id: String,
    /// How likely it is there, `0..=1`.
    pub score: f32,
}
