//! Prompts: what to look for, as rows of a table.
//!
//! Each prompt is encoded alone and is one [`Row`]: a vocabulary prompt is looked up
//! ([`vocabulary`]), a sentence prompt is encoded on the device ([`sentence`]). The user's own
//! [`words`] are names too, made from a text or from boxes that were shown. Adding, removing or
//! reordering prompts therefore leaves every other prompt's logits bit-identical. A set is
//! immutable once made, so that it can be exchanged between two frames.
//!
//! ```text
//! row ◀─ cache ◀─ sentence ◀─ words ◀─ vocabulary ◀─ tsv, lexicon        (who names whom)
//!                 limits ◀──┴────┘
//! ```

use std::fmt;

use crate::{
    error::{Error, ErrorKind},
    input,
    kernels::align::Align,
    odds,
    quant::Quant,
};

use self::{
    limits::SetLimits, nested::Nested, rules::Rules, sentence::SentenceError, table::PromptTable,
    vocabulary::Vocabulary,
};

pub mod cache;
pub mod lexicon;
pub mod limits;
pub mod nested;
mod row;
pub mod rules;
pub mod sentence;
pub mod table;
pub mod tsv;
pub mod vocabulary;
pub mod words;

pub use row::{PARAMETERS, Row, UnitRow};

/// Most prompts that a set can hold; how many it may is the [limits'](SetLimits) business.
pub const MAX_PROMPTS: usize = 1 << 16;

/// Where a prompt's row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A row of the pack's table, or of the words beside it.
    Vocabulary(u32),
    /// The sentence encoder.
    Sentence,
}

/// What the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A name or synonym of the vocabulary.
    Name(String),
    /// Any text.
    Sentence(String),
    /// A name of the vocabulary if it is one, else a sentence.
    Either(String),
}

impl From<&str> for Request {
    /// A name if it is one, else a sentence.
    fn from(text: &str) -> Self {
        Self::Either(text.to_owned())
    }
}

impl From<String> for Request {
    /// A name if it is one, else a sentence.
    fn from(text: String) -> Self {
        Self::Either(text)
    }
}

impl Request {
    /// The text as given.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Name(t) | Self::Sentence(t) | Self::Either(t) => t,
        }
    }
}

/// A prompt of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The text as the user gave it.
    pub name: String,
    /// Where its row comes from.
    pub source: Source,
    /// Whether it is countable; what no table knows is.
    pub thing: bool,
    /// What it is reported as, together with others: the word's.
    pub group: Option<String>,
    /// What it finds is not reported, and nothing else at that place is that scores lower: the
    /// word's.
    pub reject: bool,
}

impl Prompt {
    /// What reports call it: its group, if it is in one.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.name)
    }
}

/// Prompts and their rows, ready to be aligned with objects.
#[derive(Clone, Debug)]
pub struct PromptSet {
    prompts: Vec<Prompt>,
    table: PromptTable,
    thresholds: Vec<f32>,
    rules: Rules,
    nested: Nested,
}

/// Why a prompt was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum PromptError {
    /// A prompt without a letter or digit.
    Empty {
        /// Which of the prompts, from 1.
        position: usize,
    },
    /// A prompt with a character that no name has.
    Control {
        /// Which of the prompts, from 1.
        position: usize,
        /// The character.
        character: char,
    },
    /// A name that the vocabulary does not have.
    Unknown {
        /// The name.
        name: String,
        /// The names that are written most like it.
        nearest: Vec<String>,
    },
    /// A text with `>` that is not one prompt inside another.
    Nested {
        /// The text.
        text: String,
    },
    /// A sentence that cannot be encoded.
    Sentence {
        /// The sentence.
        text: String,
        /// Why.
        source: SentenceError,
    },
    /// No prompt at all, or more than any set can hold.
    Count(usize),
    /// More than the [limits](SetLimits) allow.
    Limit {
        /// Which of the prompts it is about, from 1; none: all together.
        position: Option<usize>,
        /// What, with both numbers.
        reason: String,
    },
    /// It was told to stop before it was done.
    Stopped,
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { position } => {
                write!(f, "prompt {position} is empty: it has no letter or digit")
            }
            Self::Control {
                position,
                character,
            } => write!(f, "prompt {position} {}", input::control(*character)),
            Self::Unknown { name, nearest } => {
                write!(f, "\"{name}\" is not in the vocabulary")?;
                if !nearest.is_empty() {
                    write!(f, "; nearest names: {}", nearest.join(", "))?;
                }
                // the encoder's pieces are of Latin letters and digits: it would be refused there too
                if vocabulary::normalise(name).contains(|c: char| c.is_ascii_alphanumeric()) {
                    write!(
                        f,
                        "; to have it encoded as a sentence, use --sentence \"{name}\""
                    )
                } else {
                    f.write_str("; nor can it be encoded: the model reads Latin letters only")
                }
            }
            Self::Nested { text } => write!(
                f,
                "\"{text}\": a prompt inside another is written \"door > handle\""
            ),
            Self::Sentence { text, source } => write!(f, "sentence \"{text}\": {source}"),
            Self::Stopped => f.write_str("stopped before all prompts were encoded"),
            Self::Count(0) => f.write_str("no prompts"),
            Self::Count(n) => write!(f, "{n} prompts; a set holds up to {MAX_PROMPTS}"),
            Self::Limit { reason, .. } => f.write_str(reason),
        }
    }
}

impl PromptError {
    /// Which of the prompts it is about, from 1, where it says so.
    #[must_use]
    pub const fn position(&self) -> Option<usize> {
        match self {
            Self::Empty { position } | Self::Control { position, .. } => Some(*position),
            Self::Limit { position, .. } => *position,
            _ => None,
        }
    }

    /// The same, where prompts are counted otherwise.
    fn counted(mut self, count: impl Fn(usize) -> usize) -> Self {
        match &mut self {
            Self::Empty { position }
            | Self::Control { position, .. }
            | Self::Limit {
                position: Some(position),
                ..
            } => *position = count(*position),
            _ => {}
        }
        self
    }
}

impl From<PromptError> for Error {
    fn from(e: PromptError) -> Self {
        Self::new(ErrorKind::Prompt, e)
    }
}

impl std::error::Error for PromptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sentence { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Refuses what is more than there may be, before anything is made of it.
fn within(requests: &[Request], limits: SetLimits) -> Result<(), PromptError> {
    let over = |position| move |reason| PromptError::Limit { position, reason };
    limits.count(requests.len()).map_err(over(None))?;
    let mut bytes = 0;
    for (position, request) in (1..).zip(requests) {
        let text = request.text();
        if text.len() > limits.text_bytes {
            limits::text("a prompt's text", text, limits.text_bytes)
                .map_err(over(Some(position)))?;
        }
        bytes += text.len();
    }
    limits.bytes(bytes).map_err(over(None))
}

impl PromptSet {
    /// Looks up or encodes every request; a prompt that is asked for twice is kept once: see
    /// [`Lexicon::set_by`](lexicon::Lexicon::set_by).
    fn new(
        (requests, limits): (&[Request], SetLimits),
        vocabulary: &Vocabulary,
        encode: &mut dyn FnMut(&str) -> Result<Row, SentenceError>,
        objects: Quant,
        threshold: Option<f32>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Self, PromptError> {
        if requests.is_empty() || requests.len() > MAX_PROMPTS {
            return Err(PromptError::Count(requests.len()));
        }
        within(requests, limits)?;
        let count = requests.len();
        let (mut prompts, mut rows) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut thresholds = Vec::with_capacity(count);
        let mut known = std::collections::HashSet::with_capacity(count);
        for (i, request) in requests.iter().enumerate() {
            if !go_on(i) {
                return Err(PromptError::Stopped);
            }
            let text = input::clean(request.text()).map_err(|character| PromptError::Control {
                position: i + 1,
                character,
            })?;
            let text = text.as_ref();
            let normal = vocabulary::normalise(text);
            if normal.is_empty() {
                return Err(PromptError::Empty { position: i + 1 });
            }
            let found = match request {
                // what a word of the user's own means is known, whatever it would be read as
                Request::Sentence(_) => vocabulary
                    .find(&normal)
                    .filter(|&row| vocabulary.entries()[row as usize].origin.is_some()),
                Request::Name(_) | Request::Either(_) => vocabulary.find(&normal),
            };
            let source = match (found, request) {
                (Some(row), _) => Source::Vocabulary(row),
                (None, Request::Name(_)) => {
                    return Err(PromptError::Unknown {
                        name: text.to_owned(),
                        nearest: vocabulary.nearest(&normal, 3),
                    });
                }
                (None, _) => Source::Sentence,
            };
            if !known.insert(normal) {
                log::warn!("prompt \"{text}\" is asked for twice; kept once");
                continue;
            }
            rows.push(match source {
                Source::Vocabulary(row) => vocabulary.row(row),
                Source::Sentence => {
                    let row = encode(text).map_err(|source| PromptError::Sentence {
                        text: text.to_owned(),
                        source,
                    })?;
                    match vocabulary.nearest_meaning(&row) {
                        Some((nearest, cosine)) => {
                            let name = &vocabulary.entries()[nearest as usize].name;
                            log::warn!(
                                "\"{text}\" is taken for \"{name}\" (cosine {cosine:.2}): this pack has a closed vocabulary"
                            );
                            vocabulary.row(nearest)
                        }
                        None => row,
                    }
                }
            });
            let word = match source {
                Source::Vocabulary(row) => Some(&vocabulary.entries()[row as usize]),
                Source::Sentence => None,
            };
            let row = &rows[rows.len() - 1];
            let least = word.and_then(|word| word.threshold).or(threshold);
            thresholds.push(odds::logit(least.unwrap_or(row.threshold)));
            prompts.push(Prompt {
                name: text.to_owned(),
                source,
                thing: word.is_none_or(|word| word.thing),
                group: word.and_then(|word| word.group.clone()),
                reject: word.is_some_and(|word| word.reject),
            });
        }
        let mut set = Self {
            table: PromptTable::new(&rows, objects),
            prompts,
            thresholds,
            rules: Rules::default(),
            nested: Nested::default(),
        };
        set.regroup(|_, _| ());
        Ok(set)
    }

    /// Changes groups and rejects: `change` is called with each prompt and its index.
    pub fn regroup(&mut self, mut change: impl FnMut(usize, &mut Prompt)) {
        for (i, prompt) in self.prompts.iter_mut().enumerate() {
            change(i, prompt);
        }
        let rules = self.prompts.iter();
        self.rules = Rules::new(rules.map(|p| (p.group.as_deref(), p.reject)));
    }

    /// Its groups and rejects.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Which of its prompts count inside others only.
    #[must_use]
    pub const fn nested(&self) -> &Nested {
        &self.nested
    }

    /// What reports call a prompt; of one inside another `door > handle`.
    ///
    /// # Panics
    ///
    /// If there is no such prompt.
    #[must_use]
    pub fn name(&self, prompt: u32) -> &str {
        let at = prompt as usize;
        match self.prompts.get(at) {
            Some(prompt) => prompt.shown(),
            None => (self.nested.name(at - self.prompts.len())).expect("a prompt of the set"),
        }
    }

    /// The prompts, in the order of the logits' columns.
    #[must_use]
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// The rows as the alignment kernel takes them.
    #[must_use]
    pub fn align(&self) -> Align<'_> {
        self.table.align()
    }

    /// The rows themselves.
    #[must_use]
    pub const fn table(&self) -> &PromptTable {
        &self.table
    }

    /// Sets the least score of a detection for one prompt.
    ///
    /// # Panics
    ///
    /// If there is no such prompt.
    pub fn set_threshold(&mut self, prompt: usize, threshold: f32) {
        self.thresholds[prompt] = odds::logit(threshold);
    }

    /// Least logit of a detection, per prompt.
    #[must_use]
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }
}
