//! How much of everything there may be: one table, `[limits]` in the configuration.
//!
//! | key | default | why so much |
//! |---|---|---|
//! | `text_bytes` | 512 | the longest prompt, name or group; the encoder reads 32 subwords, some 200 bytes, and a name stands in each report |
//! | `prompts` | 16,384 | those asked for twice included; a set's table is 2 MB then, and a frame takes a fifth longer |
//! | `set_bytes` | 1,048,576 | texts and groups of a set together: as much as the longest command holds |
//! | `sentences` | 4,096 | new texts of one command; a minute of encoding beside the loop, and what the cache keeps |
//! | `task_texts` | 64 | of `ground`, and of `stuff`; each text of `ground` costs time in every frame |
//! | `enrolled` | 256 | names that were shown since the start |
//! | `presences` | 64 | names of a report whose presence it says, those that matter most; of the others it says how many, and `get_presence` which |
//! | `report_bytes` | 1,310,720 | the fullest report, 4,096 detections, has a little less with tracks and directions; with masks 300 have a fifth of it |
//! | `clients` | 64 | of one socket; each may hold a line and a report |
//! | `commands` | 16 | of one client that are read and not yet answered |
//! | `sections` | 64 | of a pack: three times what one has |
//! | `operations` | 4,096 | of one network: twenty times what one has |
//! | `mmacs` | 20,000 | millions of multiply-accumulates of one network: half a minute on the slowest board |
//! | `pixels` | by the source | of a frame, before it is decoded: of photos 16 Mi (4096x4096: more than a board's camera has; the other commands, which hold one at a time, read 64 Mi), of cameras four times the frame that is asked for, 3840x2160 where none is; a larger one is damaged, and so is a JPEG of more than 4 bytes for each of them |
//! | `memory` | none | the most that may be needed, such as `"96M"`: see [`memory`](super::memory) |
//!
//! What goes over a limit is refused whole, with both numbers, and nothing has changed. The first three and `task_texts` hold in
//! every command and in the library too ([`prompt::limits`](crate::prompt::limits)), where only these defaults are known.

use serde::{Deserialize, Serialize};

use crate::{
    capture::{
        config::{Kind, SourceConfig},
        picture::DEFAULT_LIMIT,
    },
    frame::file::MAX_PIXELS,
    graph::op::{MAX_MACS, MAX_OPERATIONS},
    input,
    link::{LinkLimits, MAX_CLIENTS},
    pack::container::MAX_SECTIONS,
    prompt::{
        MAX_PROMPTS,
        limits::{self, MAX_TEXT, SetLimits, TASK_TEXTS},
    },
    protocol::{
        Command,
        binary::{MAX_REPORT_BYTES, PRESENCE, PRESENCE_HEADER},
        command::{self, PromptSpec, TaskSpec},
    },
};

/// The most that `presences` can be: a frame of them is shorter than the longest report then, for which readers have room.
const MAX_PRESENCES: u32 = 512;

/// Pixels of a photo of a source that are decoded where no limit is set: 4096x4096. A loop holds some photos at once, and room for
/// maps of them; whoever has larger ones says so, and is told what that can need.
const PHOTO: u64 = 16 << 20;

// what a set holds can be asked for
const _: () = assert!(MAX_PROMPTS == command::MAX_PROMPTS);

const _: () = assert!(PRESENCE_HEADER + MAX_PRESENCES as usize * PRESENCE <= MAX_REPORT_BYTES);

/// `[limits]`: see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a text, a name or a group.
    pub text_bytes: u32,
    /// Prompts of a set.
    pub prompts: u32,
    /// Bytes of all texts and groups of a set.
    pub set_bytes: u32,
    /// Texts of one command that must be encoded.
    pub sentences: u32,
    /// Texts of `ground`, and of `stuff`.
    pub task_texts: u32,
    /// Names that were shown since the start.
    pub enrolled: u32,
    /// Names of a report whose presence it says.
    pub presences: u32,
    /// Bytes of a report in JSON.
    pub report_bytes: u32,
    /// Clients of one socket.
    pub clients: u16,
    /// Commands of one client that wait.
    pub commands: u16,
    /// Sections of a pack.
    pub sections: u32,
    /// Operations of one network.
    pub operations: u32,
    /// Millions of multiply-accumulates of one network.
    pub mmacs: u32,
    /// The most pixels of a frame that is decoded; a larger one counts as damaged. None: of photos 16 Mi, of cameras four times the
    /// frame that the source is asked for, or 3840x2160 where it is asked for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<u64>,
    /// The most memory that may be needed, in bytes or with `K`, `M` or `G`; none: whatever the other limits come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        let LinkLimits {
            commands,
            report_bytes,
        } = LinkLimits::default();
        let set = SetLimits::default();
        Self {
            text_bytes: set.text_bytes as u32,
            prompts: set.prompts as u32,
            set_bytes: set.set_bytes as u32,
            sentences: 4096,
            task_texts: TASK_TEXTS as u32,
            enrolled: 256,
            presences: 64,
            report_bytes: report_bytes as u32,
            clients: 64,
            commands: commands as u16,
            sections: MAX_SECTIONS as u32,
            operations: MAX_OPERATIONS as u32,
            mmacs: (MAX_MACS / 1_000_000) as u32,
            pixels: None,
            memory: None,
        }
    }
}

impl Limits {
    /// The most pixels of a frame of this source.
    #[must_use]
    pub fn pixels_of(&self, source: &SourceConfig) -> u64 {
        let usual = match source.kind {
            Kind::Files => PHOTO,
            _ => source.size().map_or(DEFAULT_LIMIT, |asked| {
                asked.pixels().saturating_mul(4).min(MAX_PIXELS)
            }),
        };
        self.pixels.unwrap_or(usual)
    }

    fn check_pixels(&self, source: Option<&SourceConfig>) -> Result<(), (&'static str, String)> {
        let Some(pixels) = self.pixels else {
            return Ok(());
        };
        if !(1..=MAX_PIXELS).contains(&pixels) {
            let why = format!("is {pixels}; 1 to {MAX_PIXELS} is expected");
            return Err(("pixels", why));
        }
        let asked = source.and_then(SourceConfig::size);
        match asked.filter(|size| size.pixels() > pixels) {
            Some(size) => Err((
                "pixels",
                format!(
                    "is {pixels}, and a frame of {size}, which the source is asked for, has {}",
                    size.pixels()
                ),
            )),
            None => Ok(()),
        }
    }

    /// What cannot be: the key and why.
    ///
    /// # Errors
    ///
    /// The first such key.
    pub fn check(&self, source: Option<&SourceConfig>) -> Result<(), (&'static str, String)> {
        self.check_pixels(source)?;
        let all = [
            ("text_bytes", self.text_bytes, MAX_TEXT as u32),
            ("prompts", self.prompts, MAX_PROMPTS as u32),
            ("set_bytes", self.set_bytes, 64 << 20),
            ("sentences", self.sentences, MAX_PROMPTS as u32),
            ("task_texts", self.task_texts, 4096),
            ("enrolled", self.enrolled, MAX_PROMPTS as u32),
            ("presences", self.presences, MAX_PRESENCES),
            ("report_bytes", self.report_bytes, 64 << 20),
            ("clients", self.clients.into(), MAX_CLIENTS as u32),
            ("commands", self.commands.into(), 1024),
            ("sections", self.sections, MAX_SECTIONS as u32),
            ("operations", self.operations, MAX_OPERATIONS as u32),
            ("mmacs", self.mmacs, (MAX_MACS / 1_000_000) as u32),
        ];
        for (key, value, most) in all {
            if !(1..=most).contains(&value) {
                return Err((key, format!("is {value}; 1 to {most} is expected")));
            }
        }
        match &self.memory {
            Some(text) if bytes_of(text).is_none() => {
                let why = format!("is {text:?}; a size such as \"96M\" is expected");
                Err(("memory", why))
            }
            _ => Ok(()),
        }
    }

    /// The most memory that may be needed, if that is limited.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        bytes_of(self.memory.as_deref()?)
    }

    /// What links have to know of it.
    #[must_use]
    pub const fn of_links(&self) -> LinkLimits {
        LinkLimits {
            commands: self.commands as usize,
            report_bytes: self.report_bytes as usize,
        }
    }

    /// What there may be of a set.
    #[must_use]
    pub const fn of_a_set(&self) -> SetLimits {
        SetLimits {
            prompts: self.prompts as usize,
            text_bytes: self.text_bytes as usize,
            set_bytes: self.set_bytes as usize,
        }
    }

    /// Whether a text may be a prompt, a name or a group: `what` it is.
    ///
    /// # Errors
    ///
    /// How long it is and may be, or which control character it has.
    pub fn text(&self, what: &str, text: &str) -> Result<(), String> {
        limits::text(what, text, self.text_bytes as usize)
    }

    /// Whether there may be so many prompts of such texts.
    ///
    /// # Errors
    ///
    /// The first limit that is passed, with both numbers.
    pub fn specs(&self, specs: &[PromptSpec]) -> Result<(), String> {
        let set = self.of_a_set();
        set.count(specs.len())?;
        for spec in specs {
            self.text("a prompt's text", &spec.text)?;
            if let Some(group) = &spec.group {
                self.text("a prompt's group", group)?;
            }
        }
        let group = |spec: &PromptSpec| spec.group.as_ref().map_or(0, String::len);
        let bytes = specs.iter().map(|s| s.text.len() + group(s));
        set.bytes(bytes.sum())
    }

    /// Whether a task has no more texts, and no longer ones, than it may.
    ///
    /// # Errors
    ///
    /// The first limit that is passed, with both numbers.
    pub fn task(&self, task: &TaskSpec) -> Result<(), String> {
        for (what, texts) in [("stuff", &task.stuff), ("ground", &task.ground)] {
            limits::texts(what, texts.len(), self.task_texts as usize)?;
            let what = format!("a text of {what}");
            for text in texts {
                self.text(&what, text)?;
                seen(text)?;
            }
        }
        Ok(())
    }

    /// Whether a command stays within them.
    ///
    /// # Errors
    ///
    /// The first limit that is passed, with both numbers.
    pub fn command(&self, command: &Command) -> Result<(), String> {
        match command {
            Command::SetPrompts { prompts } | Command::AddPrompts { prompts } => {
                self.specs(prompts)
            }
            Command::RemovePrompts { prompts } => {
                self.of_a_set().count(prompts.len())?;
                (prompts.iter()).try_for_each(|text| self.text("a prompt's text", text))
            }
            Command::SetThreshold {
                prompt: Some(text), ..
            } => self.text("a prompt's text", text),
            Command::Enrol { name, .. } => self.text("the name", name),
            Command::SetTask { task } => self.task(task),
            _ => Ok(()),
        }
    }
}

/// Whether something of a text of a task can be seen.
///
/// # Errors
///
/// That it is empty, or which control character it has.
fn seen(text: &str) -> Result<(), String> {
    match input::clean(text) {
        Ok(clean) if clean.is_empty() => Err("a text of stuff or ground is empty".into()),
        Ok(_) => Ok(()),
        Err(c) => Err(format!("{text:?} {}", input::control(c))),
    }
}

/// `96M` in bytes.
fn bytes_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 1 << 10),
        (at, 'm' | 'M') => (text.get(..at)?, 1 << 20),
        (at, 'g' | 'G') => (text.get(..at)?, 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_of_pixels_it_follows_from_the_source() {
        let of = |source: &str| Limits::default().pixels_of(&source.parse().expect("a source"));
        assert_eq!(of("files:photos"), 16 << 20);
        // a frame of 4K
        assert_eq!(of("mjpeg:-"), 3840 * 2160);
        assert_eq!(of("rgb24:4056x3040:-"), 4 * 4056 * 3040);
        let limits = pixels(5);
        assert_eq!(limits.pixels_of(&"mjpeg:-".parse().expect("a source")), 5);
    }

    fn pixels(most: u64) -> Limits {
        Limits {
            pixels: Some(most),
            ..Limits::default()
        }
    }

    #[test]
    fn a_limit_below_what_the_source_is_asked_for_is_refused_with_both_numbers() {
        let source: SourceConfig = "grey:640x480:-".parse().expect("a source");
        let (key, why) = pixels(307_199).check(Some(&source)).expect_err("one less");
        assert_eq!(key, "pixels");
        assert!(why.contains("307199") && why.contains("307200"), "{why}");
        assert!(pixels(307_200).check(Some(&source)).is_ok());
        assert!(pixels(0).check(None).is_err());
    }

    #[test]
    fn sizes_are_read_with_and_without_a_letter() {
        for (text, bytes) in [
            ("96M", Some(96 << 20)),
            ("1G", Some(1 << 30)),
            ("512k", Some(512 << 10)),
            ("1000", Some(1000)),
            ("", None),
            ("M", None),
            ("-1M", None),
            ("9999999999999999G", None),
        ] {
            assert_eq!(bytes_of(text), bytes, "{text}");
        }
    }

    #[test]
    fn what_goes_over_a_limit_is_named_with_both_numbers() {
        let limits = Limits {
            prompts: 2,
            set_bytes: 10,
            task_texts: 1,
            ..Limits::default()
        };
        assert_eq!(limits.check(None), Ok(()));
        let refused = |specs: &[&str]| {
            let specs: Vec<PromptSpec> = specs.iter().map(|&s| s.into()).collect();
            limits.specs(&specs).expect_err("over the limit")
        };
        assert_eq!(refused(&["a"; 3]), "3 prompts; a set holds up to 2");
        assert_eq!(
            refused(&["123456"; 2]),
            "texts and groups of 12 bytes; those of a set have up to 10"
        );
        assert_eq!(
            refused(&[&"x".repeat(513)]),
            "a prompt's text has 513 bytes; up to 512 are taken"
        );
        assert!(refused(&["a\nb"]).contains("U+000A at byte 1"));
        let task = TaskSpec {
            ground: vec!["a".into(), "b".into()],
            ..TaskSpec::default()
        };
        let why = limits.task(&task).expect_err("over the limit");
        assert_eq!(why, "2 texts of ground; up to 1 are taken");
        let none = Limits {
            commands: 0,
            ..Limits::default()
        };
        assert_eq!(none.check(None).expect_err("none").0, "commands");
    }
}
