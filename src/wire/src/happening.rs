//! Something that happened in the scene: one message for all that can, whatever saw it.
//!
//! | field | of presence | room for |
//! |---|---|---|
//! | `kind` | `appeared`, `gone` | what things do at places |
//! | `source` | `presence` | tracks, zones, lines |
//! | `prompt`, `class_id`, `score` | the name, and how likely it is there | the same |
//! | in frames four and two bytes | 0 | a track's id; the number of a zone or line |
//!
//! A field that another source needs is added to the JSON, and is absent where it has nothing to
//! say.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::report::{Change, Stamp};

/// What saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Whether a name is in the picture at all.
    #[default]
    Presence,
}

impl Source {
    /// All of them, in the order of their numbers in frames, from 1.
    pub const ALL: [Self; 1] = [Self::Presence];

    /// As JSON and sentences write it.
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
    #[serde(default)]
    pub source: Source,
    /// As in [`Report`](crate::Report): which run it is of.
    #[serde(default)]
    pub run: u32,
    /// The report that it comes right behind.
    #[serde(default)]
    pub seq: u64,
    /// When that report's frame was captured, wall clock.
    #[serde(default)]
    pub stamp: Stamp,
    /// The same, `CLOCK_MONOTONIC`, nanoseconds.
    #[serde(default)]
    pub captured_ns: u64,
    /// The prompt set.
    #[serde(default)]
    pub prompts_version: u32,
    /// Index into it: of prompts that share a name, the first.
    #[serde(default)]
    pub prompt: u32,
    /// The prompt's name, or its group's.
    #[serde(default)]
    pub class_id: String,
    /// How likely it is there, `0..=1`.
    #[serde(default)]
    pub score: f32,
}
