//! What comes in, and the answers to it.
//!
//! A command is checked here as far as it can be without knowing the model: numbers are finite and in range, lists are not
//! empty. What it does is not decided here.

use std::fmt;

use serde::{Deserialize, Serialize, de};

use super::{message::Telemetry, rate::rate};
use crate::{
    input,
    prompt::MAX_PROMPTS,
    scene::{PresenceCounts, PresenceState},
};

/// A command and the number by which its answer is told from others; 0 if the sender gave none.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Echoed in the reply.
    pub id: u32,
    /// What to do.
    pub command: Command,
}

/// What a reader of reports can ask for. Each is answered once, and takes effect between two frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Who is there: answered with [`Answer::Hello`].
    Hello {},
    /// The prompts in use, `count` of them beginning with number `from`: answered with [`Answer::Prompts`].
    GetPrompts {
        /// First index.
        #[serde(default)]
        from: u32,
        /// How many at most.
        #[serde(default = "page")]
        count: u32,
    },
    /// Look for these and nothing else.
    SetPrompts {
        /// At least one.
        #[serde(deserialize_with = "few")]
        prompts: Vec<PromptSpec>,
    },
    /// Look for these too.
    AddPrompts {
        /// At least one.
        #[serde(deserialize_with = "few")]
        prompts: Vec<PromptSpec>,
    },
    /// No longer look for these.
    RemovePrompts {
        /// Their texts, as they were given.
        #[serde(deserialize_with = "few")]
        prompts: Vec<String>,
    },
    /// The least score of a detection.
    SetThreshold {
        /// 0 to 1; none: what the pack says.
        threshold: Option<f32>,
        /// The prompt that it holds for; none: all that have no threshold of their own.
        #[serde(default)]
        prompt: Option<String>,
    },
    /// Most frames per second.
    SetRate {
        /// In [`RATES`](super::rate::RATES); none: as fast as they come.
        fps: Option<f32>,
    },
    /// The part of the frame to look at.
    SetRegion {
        /// None: all of it.
        region: Option<Region>,
    },
    /// Look at no frames until [`Resume`](Self::Resume).
    Pause {},
    /// Look at frames again.
    Resume {},
    /// Look at one frame and report it, paused or not.
    ReportOnce {},
    /// The mask of a detection of the last report: answered with [`Answer::Mask`].
    Mask {
        /// The report; an older one's masks are gone.
        sequence: u64,
        /// Which of its detections, from 0.
        detection: u32,
        /// Its box as bits instead of run lengths.
        #[serde(default)]
        bits: bool,
    },
    /// What is made of each frame beside boxes, from the next one on.
    SetTask {
        /// All of it: what is not said is not made.
        task: TaskSpec,
    },
    /// Make a prompt of what a box holds in the next frame: answered with [`Answer::PromptsVersion`] when it has come.
    Enrol {
        /// What to call it.
        name: String,
        /// Where it is, in pixels of the next frame.
        region: Region,
    },
    /// How are you: answered with [`Answer::Telemetry`].
    Telemetry {},
    /// The presence of names in use as of the last report, `count` of them beginning with number `from`: answered with
    /// [`Answer::Presence`].
    GetPresence {
        /// First number.
        #[serde(default)]
        from: u32,
        /// How many at most.
        #[serde(default = "page")]
        count: u32,
    },
    /// Run the golden frame and compare: answered with [`Answer::Text`].
    SelfTest {},
    /// Open the pack's file and the words beside it again.
    ReloadPack {},
}

const fn page() -> u32 {
    100
}

impl Command {
    /// Every command's name on the wire.
    pub const NAMES: [&'static str; 18] = [
        "hello",
        "get_prompts",
        "set_prompts",
        "add_prompts",
        "remove_prompts",
        "set_threshold",
        "set_rate",
        "set_region",
        "pause",
        "resume",
        "report_once",
        "mask",
        "set_task",
        "enrol",
        "telemetry",
        "get_presence",
        "self_test",
        "reload_pack",
    ];

    /// Whether it asks and changes nothing: what a client may that may only read.
    #[must_use]
    pub const fn only_asks(&self) -> bool {
        matches!(
            self,
            Self::Hello {}
                | Self::GetPrompts { .. }
                | Self::GetPresence { .. }
                | Self::Telemetry {}
        )
    }

    /// Whether all values are possible.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::SetPrompts { prompts } | Self::AddPrompts { prompts } => {
                count(prompts.len())?;
                prompts.iter().try_for_each(PromptSpec::check)
            }
            Self::RemovePrompts { prompts } => count(prompts.len()),
            Self::SetThreshold {
                threshold: Some(t), ..
            } => unit(*t),
            Self::SetRate { fps: Some(fps) } => rate(*fps).map_err(|why| format!("fps {why}")),
            Self::SetRegion {
                region: Some(region),
            } => region.check().map_err(|why| format!("region {why}")),
            Self::SetTask { task } => task.check(),
            Self::Enrol { name, region } => {
                if name.trim().is_empty() {
                    return Err("name is empty".into());
                }
                region.check().map_err(|why| format!("region {why}"))
            }
            _ => Ok(()),
        }
    }
}

/// A list that is no longer than a set can be: of more, nothing is kept but how many there are.
fn few<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Few<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of prompts")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while all.len() < MAX_PROMPTS {
                match list.next_element()? {
                    Some(one) => all.push(one),
                    None => return Ok(all),
                }
            }
            let mut length = all.len();
            while list.next_element::<de::IgnoredAny>()?.is_some() {
                length += 1;
            }
            count(length).map_err(de::Error::custom)?;
            Ok(all)
        }
    }
    from.deserialize_seq(Few(std::marker::PhantomData))
}

fn count(n: usize) -> Result<(), String> {
    match n {
        0 => Err("prompts is empty".into()),
        n if n > MAX_PROMPTS => Err(format!("{n} prompts; a set holds up to {MAX_PROMPTS}")),
        _ => Ok(()),
    }
}

fn unit(threshold: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&threshold) {
        return Ok(());
    }
    Err(format!("threshold is {threshold}; 0 to 1 is expected"))
}

/// A rectangle in pixels of the frame, as in ROS `sensor_msgs/RegionOfInterest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Left edge.
    pub x_offset: u32,
    /// Top edge.
    pub y_offset: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

impl Region {
    /// Whether it has pixels, and ends where a number can say.
    ///
    /// # Errors
    ///
    /// What is wrong, for people, behind the word region.
    pub fn check(&self) -> Result<(), String> {
        if self.width == 0 || self.height == 0 {
            return Err(format!("of {}x{} pixels is empty", self.width, self.height));
        }
        let ends = [(self.x_offset, self.width), (self.y_offset, self.height)];
        match ends
            .iter()
            .find(|(from, side)| from.checked_add(*side).is_none())
        {
            Some((from, side)) => Err(format!(
                "ends at pixel {}, beyond {}, the last that a number can say",
                u64::from(*from) + u64::from(*side),
                u32::MAX
            )),
            None => Ok(()),
        }
    }
}

/// What is made of each frame beside boxes; of `[task]` and of [`Command::SetTask`]. Only reports in JSON have a place for it, but for
/// `presence`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskSpec {
    /// Which pixels each detection has, as run lengths.
    pub masks: bool,
    /// The pixels of each name: things by their masks, stuff by its own network.
    pub semantic: bool,
    /// Every pixel to one thing or region of stuff.
    pub panoptic: bool,
    /// Of `panoptic`: whether regions of one stuff that do not touch are segments of their own.
    pub separate_stuff: bool,
    /// Names or texts that are stuff, for `semantic` and `panoptic`; none: all stuff of the vocabulary.
    pub stuff: Vec<String>,
    /// Sentences that are answered for each frame: the one object that is meant, or none.
    pub ground: Vec<String>,
    /// All objects, whatever they are, each with the nearest names of the whole vocabulary.
    pub everything: bool,
    /// Whether each prompt is in the picture at all, over time; and events where that changes.
    pub presence: bool,
}

impl TaskSpec {
    /// Whether its parts can be asked for together.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.semantic && self.panoptic {
            return Err("semantic and panoptic both fill segments: ask for one".into());
        }
        for text in self.stuff.iter().chain(&self.ground) {
            match input::clean(text) {
                Ok(clean) if clean.is_empty() => {
                    return Err("a text of stuff or ground is empty".into());
                }
                Ok(_) => {}
                Err(c) => return Err(format!("{text:?} {}", input::control(c))),
            }
        }
        Ok(())
    }
}

/// How a prompt's text is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// A name of the vocabulary if it is one, else a sentence.
    #[default]
    Either,
    /// A name or synonym of the vocabulary.
    Name,
    /// Any text.
    Sentence,
}

/// A prompt as somebody asks for it: in JSON a text, or an object of these fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PromptSpec {
    /// What to look for.
    pub text: String,
    /// How to take it.
    pub kind: PromptKind,
    /// Least score; none: what [`Command::SetThreshold`] or the pack says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Prompts of one group are reported under the group's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it finds is not reported, and nothing else at that place is.
    pub reject: bool,
}

impl PromptSpec {
    fn check(&self) -> Result<(), String> {
        if self.text.trim().is_empty() {
            return Err("a prompt's text is empty".into());
        }
        self.threshold.map_or(Ok(()), unit)
    }
}

impl From<&str> for PromptSpec {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for PromptSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Keeps the messages of the two forms, which an untagged enum would not.
        struct TextOrObject;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            text: String,
            #[serde(default)]
            kind: PromptKind,
            #[serde(default)]
            threshold: Option<f32>,
            #[serde(default)]
            group: Option<String>,
            #[serde(default)]
            reject: bool,
        }

        impl<'de> de::Visitor<'de> for TextOrObject {
            type Value = PromptSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an object with the field text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PromptSpec, E> {
                Ok(text.into())
            }

            fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<PromptSpec, M::Error> {
                let object = Object::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(PromptSpec {
                    text: object.text,
                    kind: object.kind,
                    threshold: object.threshold,
                    group: object.group,
                    reject: object.reject,
                })
            }
        }
        deserializer.deserialize_any(TextOrObject)
    }
}

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
}

impl ErrorCode {
    /// All of them, in the order of their numbers, which begin with 1.
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
        /// [`WIRE_VERSION`](super::WIRE_VERSION).
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
