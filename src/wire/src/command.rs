//! What comes in.
//!
//! A command is checked here as far as it can be without knowing the model: numbers are finite and in range, lists are not
//! empty. What it does is not decided here.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{fmt, marker::PhantomData};

use serde::{Deserialize, Serialize, de};

use crate::rate::rate;

/// Most prompts that a command may have, and a set.
pub const MAX_PROMPTS: usize = 1 << 16;

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
    /// Who is there: answered with [`Answer::Hello`](crate::Answer::Hello).
    Hello {},
    /// The prompts in use, `count` of them beginning with number `from`: answered with [`Answer::Prompts`](crate::Answer::Prompts).
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
        /// In [`RATES`](crate::rate::RATES); none: as fast as they come.
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
    /// The mask of a detection of the last report: answered with [`Answer::Mask`](crate::Answer::Mask).
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
    /// Make a prompt of what a box holds in the next frame: answered with [`Answer::PromptsVersion`](crate::Answer::PromptsVersion) when it has come.
    Enrol {
        /// What to call it.
        name: String,
        /// Where it is, in pixels of the next frame.
        region: Region,
    },
    /// How are you: answered with [`Answer::Telemetry`](crate::Answer::Telemetry).
    Telemetry {},
    /// The presence of names in use as of the last report, `count` of them beginning with number `from`: answered with
    /// [`Answer::Presence`](crate::Answer::Presence).
    GetPresence {
        /// First number.
        #[serde(default)]
        from: u32,
        /// How many at most.
        #[serde(default = "page")]
        count: u32,
    },
    /// Run the golden frame and compare: answered with [`Answer::Text`](crate::Answer::Text).
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
    struct Few<T>(PhantomData<T>);

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
    from.deserialize_seq(Few(PhantomData))
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
        let mut texts = self.stuff.iter().chain(&self.ground);
        if texts.any(|text| text.trim().is_empty()) {
            return Err("a text of stuff or ground is empty".into());
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
