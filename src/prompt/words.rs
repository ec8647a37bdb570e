//! Words of the user's own: a small file beside the pack, of the same container and checked like it.
//!
//! A word is a name with what belongs to it: synonyms, whether it is a thing or stuff, a group, whether it is a reject, a least
//! score; and where its row comes from ([`Origin`]). The file ([`crate::pack::container`]) holds:
//!
//! | section | content |
//! |---|---|
//! | `manifest.json` | layout, how many words, the space of their rows ([`Space`]) |
//! | `words.json` | a list of [`Word`]s |
//! | `words.rows` | i8 `[words, D]`; zeros where a word has no row of its own |
//! | `words.parameters` | f32 `[words, 3]`: scale, bias, threshold; of a sentence its factor and zeros |
//!
//! # What makes a file another pack's
//!
//! | a row made from | means the same in every pack whose | so it survives |
//! |---|---|---|
//! | a sentence | encoder gives the same vectors for a few sentences | new names, calibration, detector weights |
//! | exemplars | network gives the same outputs for the golden frame | new names, calibration, another encoder |
//! | a name of the pack | table has that name: nothing is stored | everything else |
//!
//! Digests of behaviour are compared and not digests of files: a pack that is built again for another reason does not take
//! anybody's words away, and one whose numbers mean something else is refused whatever it is called. Sentences are stored
//! without the alignment's factor and shift, which are the pack's.
//!
//! Names are compared [normalised](normalise). A name or synonym that is there twice, or that hides one of the pack, is refused unless
//! the word [says so](Word::replaces). A file from before accents were dropped opens too: `words/spelling.rs`.
//!
//! # Example
//!
//! ```
//! use tarsier::{
//!     graph::op::Execution, kernels::isa::Isa, pack::Pack,
//!     prompt::{sentence::SentenceEncoder, vocabulary::Vocabulary, words::{Space, Word, Words}},
//! };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pack = Pack::open("models/tarsier-s.tarsier".as_ref())?;
//! let mut encoder = SentenceEncoder::open(&pack, Execution { isa: Isa::best(), threads: 1 })?;
//! let space = Space::of(&pack, &mut encoder)?;
//!
//! let mut bin = Word::encoded("recycling bin", "a blue bin for waste paper", &mut encoder)?;
//! bin.synonyms.push("paper bin".into());
//! let mut words = Words::new(space.clone());
//! words.add([bin], false)?;
//!
//! let mut vocabulary = Vocabulary::open(&pack)?;
//! vocabulary.extend(&words, &space)?;
//! assert_eq!(vocabulary.find("paper bin"), vocabulary.find("recycling bin"));
//! # Ok(())
//! # }
//! ```

use std::{
    collections::HashMap,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    MAX_PROMPTS, PARAMETERS, Row,
    sentence::{SentenceEncoder, SentenceError},
};
use crate::{
    error::{Error, ErrorKind},
    files::Replacement,
    pack::{
        PackError,
        container::{self, Sections},
    },
    text::normalise,
};

pub use super::limits::MAX_TEXT;

mod space;
mod spelling;

pub use space::Space;

/// The version of the layout that this crate reads and writes.
pub const FORMAT: u32 = 1;

/// Most synonyms of a word.
pub const MAX_SYNONYMS: usize = 64;

/// The words that belong to a pack if nothing else is said: `name.words` beside `name.tarsier`.
#[must_use]
pub fn words_of(pack: &Path) -> PathBuf {
    pack.with_extension("words")
}

/// Where a word's row comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// This text, encoded.
    Sentence(String),
    /// So many boxes that were shown.
    Exemplars(u32),
    /// This name of the pack.
    Name(String),
}

/// A word and its row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// What it is called in prompts and reports.
    pub name: String,
    /// Whether it is countable (a thing) or not (stuff).
    #[serde(default = "yes")]
    pub thing: bool,
    /// Other names of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synonyms: Vec<String>,
    /// Words of one group are reported under the group's name, the best of them at each place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it finds is not reported, and nothing else at that place is that scores lower.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reject: bool,
    /// Least score of a detection; none: the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// It may hide a name or synonym that is there already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
    /// Where its row comes from.
    pub origin: Origin,
    /// Of a sentence: its vector, `scale` the factor that makes it one of unit length. Of exemplars: as the alignment takes it.
    /// Of a name: nothing.
    #[serde(skip, default = "no_row")]
    pub row: Row,
}

const fn yes() -> bool {
    true
}

const fn no_row() -> Row {
    Row {
        values: Vec::new(),
        scale: 0.0,
        bias: 0.0,
        threshold: 0.0,
    }
}

impl Word {
    /// A thing without anything but a name and a row.
    #[must_use]
    pub fn new(name: &str, origin: Origin, row: Option<Row>) -> Self {
        Self {
            name: name.trim().to_owned(),
            thing: true,
            synonyms: Vec::new(),
            group: None,
            reject: false,
            threshold: None,
            replaces: false,
            origin,
            row: row.unwrap_or(no_row()),
        }
    }

    /// A word whose row is a text's.
    ///
    /// # Errors
    ///
    /// [`SentenceError`] if the text cannot be encoded.
    pub fn encoded(
        name: &str,
        text: &str,
        encoder: &mut SentenceEncoder,
    ) -> Result<Self, SentenceError> {
        let unit = encoder.unit(text)?;
        let row = Row {
            values: unit.values,
            scale: unit.factor,
            bias: 0.0,
            threshold: 0.0,
        };
        Ok(Self::new(
            name,
            Origin::Sentence(text.trim().to_owned()),
            Some(row),
        ))
    }

    /// Its name and synonyms, normalised, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys = vec![normalise(&self.name)];
        for synonym in &self.synonyms {
            let key = normalise(synonym);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// What is wrong with it, if something is: what no file can hold included.
    fn check(&self) -> Result<(), String> {
        self.check_texts()?;
        let names = std::iter::once(&self.name).chain(&self.synonyms);
        if let Some(text) = names.chain(&self.group).find(|text| text.contains('|')) {
            return Err(format!("has {text:?}: | separates synonyms"));
        }
        match self.threshold {
            Some(t) if !(0.0..=1.0).contains(&t) => {
                Err(format!("has the threshold {t}; 0 to 1 is expected"))
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with its texts: how many, how long, without a letter, with a control character.
    pub(super) fn check_texts(&self) -> Result<(), String> {
        let origin = match &self.origin {
            Origin::Sentence(text) | Origin::Name(text) => Some(text),
            Origin::Exemplars(0) => return Err("is made of 0 exemplars".into()),
            Origin::Exemplars(_) => None,
        };
        if self.synonyms.len() > MAX_SYNONYMS {
            let n = self.synonyms.len();
            return Err(format!("has {n} synonyms; up to {MAX_SYNONYMS} are taken"));
        }
        let names = std::iter::once(&self.name).chain(&self.synonyms);
        for text in names.chain(&self.group).chain(origin) {
            if text.len() > MAX_TEXT {
                let n = text.len();
                return Err(format!(
                    "has a text of {n} bytes; up to {MAX_TEXT} are taken"
                ));
            }
            if normalise(text).is_empty() {
                return Err(format!("has the text {text:?}: no letter or digit"));
            }
            if text.chars().any(char::is_control) {
                return Err(format!("has the text {text:?} with a control character"));
            }
        }
        Ok(())
    }
}

/// Why words were refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum WordsError {
    /// The file is missing, cut or damaged.
    File(PackError),
    /// A section is whole and makes no sense.
    Section {
        /// Which.
        section: &'static str,
        /// What is wrong, with the numbers.
        reason: String,
    },
    /// A word makes no sense.
    Word {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Rows of another pack's space.
    Space {
        /// What kind of rows, and a word that has one.
        word: String,
        /// `sentences` or `objects`.
        what: &'static str,
        /// The space of the words.
        theirs: String,
        /// That of the pack.
        ours: String,
    },
    /// A name or synonym that is there already.
    Duplicate {
        /// The name, normalised.
        name: String,
        /// What has it.
        of: String,
    },
    /// A word that stands for a name of the pack, and the pack has none.
    Missing {
        /// The word.
        word: String,
        /// The name.
        name: String,
    },
    /// It could not be written.
    Write(io::Error),
}

impl fmt::Display for WordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(PackError::Open { source, .. }) => source.fmt(f),
            Self::File(PackError::Directory { bytes, reason, .. }) => write!(
                f,
                "({bytes} bytes) is not a file of words or is cut short: {reason}"
            ),
            Self::File(PackError::Section { section, reason }) => {
                write!(f, "section {section}: {reason}")
            }
            Self::File(e @ PackError::Changed { .. }) => e.fmt(f),
            Self::Section { section, reason } => write!(f, "section {section}: {reason}"),
            Self::Word { name, reason } => write!(f, "word \"{name}\" {reason}"),
            Self::Space {
                word,
                what,
                theirs,
                ours,
            } => write!(
                f,
                "\"{word}\" belongs to another pack: its row is of the space of {what} {}, the pack's is {} \
                 (sentences can be exported and imported again, exemplars must be shown again)",
                theirs.get(..12).unwrap_or(theirs),
                ours.get(..12).unwrap_or(ours)
            ),
            Self::Duplicate { name, of } => write!(
                f,
                "\"{name}\" is already a name or synonym of {of}; to hide that, say --replace"
            ),
            Self::Missing { word, name } => write!(
                f,
                "\"{word}\" stands for \"{name}\", which the pack does not have"
            ),
            Self::Write(e) => write!(f, "cannot be written: {e}"),
        }
    }
}

impl From<WordsError> for Error {
    fn from(e: WordsError) -> Self {
        let kind = match &e {
            WordsError::File(PackError::Open { .. }) => ErrorKind::Missing,
            _ => ErrorKind::Words,
        };
        Self::new(kind, e)
    }
}

impl std::error::Error for WordsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(e) => Some(e),
            Self::Write(e) => Some(e),
            _ => None,
        }
    }
}

impl WordsError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(PackError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A file's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    words: Vec<Word>,
    space: Space,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WordsManifest {
    format: u32,
    words: u32,
    built_by: String,
    space: Space,
}

impl Words {
    /// No words yet, in this space.
    #[must_use]
    pub const fn new(space: Space) -> Self {
        Self {
            words: Vec::new(),
            space,
        }
    }

    /// Reads a file and checks all of it but whether it fits a pack ([`fits`](Self::fits)).
    ///
    /// # Errors
    ///
    /// [`WordsError`] naming the section or the word, with the lengths that do not fit.
    pub fn open(path: &Path) -> Result<Self, WordsError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let sections = Sections::open(path).map_err(WordsError::File)?;
        let section = |name| sections.section(name).map_err(WordsError::File);
        let wrong = |section, reason: String| WordsError::Section { section, reason };
        let json = section("manifest.json")?;
        let bad = |e: serde_json::Error| wrong("manifest.json", e.to_string());
        // the version first: a newer layout may have other fields
        let Version { format } = serde_json::from_slice(&json).map_err(bad)?;
        if format != FORMAT {
            let reason = format!("layout version {format}; this program reads {FORMAT}");
            return Err(wrong("manifest.json", reason));
        }
        let manifest: WordsManifest = serde_json::from_slice(&json).map_err(bad)?;
        let json = section("words.json")?;
        let mut words: Vec<Word> =
            serde_json::from_slice(&json).map_err(|e| wrong("words.json", e.to_string()))?;
        let (count, width) = (words.len(), manifest.space.embedding as usize);
        if count != manifest.words as usize || count > MAX_PROMPTS {
            let reason = format!("{count} words, the manifest says {}", manifest.words);
            return Err(wrong("words.json", reason));
        }
        let rows = section("words.rows")?;
        if width == 0 || Some(rows.len()) != count.checked_mul(width) {
            let reason = format!("{} bytes for {count} words of {width}", rows.len());
            return Err(wrong("words.rows", reason));
        }
        if let Some(at) = rows.iter().position(|&b| b == i8::MIN.cast_unsigned()) {
            return Err(wrong("words.rows", format!("byte {at} is -128")));
        }
        let parameters = section("words.parameters")?;
        if parameters.len() != count * PARAMETERS * 4 {
            let bytes = parameters.len();
            let reason = format!("{bytes} bytes for {count} words of {PARAMETERS} floats");
            return Err(wrong("words.parameters", reason));
        }
        let numbers = parameters.as_chunks::<4>().0.as_chunks::<PARAMETERS>().0;
        let stored = rows.chunks_exact(width).zip(numbers);
        for (word, (row, numbers)) in words.iter_mut().zip(stored) {
            let [scale, bias, threshold] = numbers.map(f32::from_le_bytes);
            let own = !matches!(word.origin, Origin::Name(_));
            let finite = scale.is_finite() && bias.is_finite() && (0.0..=1.0).contains(&threshold);
            if !finite || (own && scale <= 0.0) {
                let reason = format!("\"{}\" has {scale}, {bias}, {threshold}", word.name);
                return Err(wrong("words.parameters", reason));
            }
            if own {
                word.row = Row {
                    values: bytemuck::cast_slice(row).to_vec(),
                    scale,
                    bias,
                    threshold,
                };
            }
        }
        spelling::one_of_each(path, &mut words);
        let words = Self {
            words,
            space: manifest.space,
        };
        words.check()?;
        Ok(words)
    }

    /// Every word for itself, and no name twice.
    fn check(&self) -> Result<(), WordsError> {
        let mut known = HashMap::new();
        for (number, word) in (1..).zip(&self.words) {
            word.check().map_err(|reason| WordsError::Word {
                name: word.name.clone(),
                reason,
            })?;
            for key in word.keys() {
                if let Some((first, other)) = known.insert(key.clone(), (number, &word.name)) {
                    let of = format!("\"{other}\" in the same file (words {first} and {number})");
                    return Err(WordsError::Duplicate { name: key, of });
                }
            }
        }
        Ok(())
    }

    /// Whether the rows mean in this space what they meant where they were made.
    ///
    /// # Errors
    ///
    /// [`WordsError::Space`] with the first word whose row does not.
    pub fn fits(&self, pack: &Space) -> Result<(), WordsError> {
        for word in &self.words {
            let (what, theirs, ours) = match word.origin {
                Origin::Name(_) => continue,
                Origin::Sentence(_) => ("sentences", &self.space.sentences, &pack.sentences),
                Origin::Exemplars(_) => ("objects", &self.space.objects, &pack.objects),
            };
            if theirs != ours || word.row.values.len() != pack.embedding as usize {
                return Err(WordsError::Space {
                    word: word.name.clone(),
                    what,
                    theirs: theirs.clone(),
                    ours: ours.clone(),
                });
            }
        }
        Ok(())
    }

    /// Writes them, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`WordsError`] if a word makes no sense, a name is there twice, or the file cannot be written; it is as it was then.
    pub fn save(&self, path: &Path) -> Result<(), WordsError> {
        self.save_as(Replacement::begin(path).map_err(WordsError::Write)?)
    }

    /// Writes the file that was begun: what was read after that, and is written here, loses no
    /// other writer's words.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub fn save_as(&self, mut file: Replacement) -> Result<(), WordsError> {
        self.check()?;
        let broken = |e: serde_json::Error| WordsError::Write(io::Error::other(e));
        let manifest = WordsManifest {
            format: FORMAT,
            words: self.words.len() as u32,
            built_by: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            space: self.space.clone(),
        };
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(broken)?;
        let list = serde_json::to_vec_pretty(&self.words).map_err(broken)?;
        let (mut rows, mut parameters) = (Vec::new(), Vec::new());
        for Word { row, .. } in &self.words {
            let end = rows.len() + self.space.embedding as usize;
            rows.extend(row.values.iter().map(|v| v.cast_unsigned()));
            rows.resize(end, 0);
            for value in [row.scale, row.bias, row.threshold] {
                parameters.extend(value.to_le_bytes());
            }
        }
        let sections = [
            ("manifest.json", &manifest[..]),
            ("words.json", &list),
            ("words.rows", &rows),
            ("words.parameters", &parameters),
        ];
        let bytes = container::bytes_of(sections).map_err(WordsError::Write)?;
        let written = file.file().write_all(&bytes).and_then(|()| file.commit());
        written.map_err(WordsError::Write)
    }

    /// Adds words; one of the same name is there instead of an older one if `replace` says so.
    ///
    /// # Errors
    ///
    /// [`WordsError`] if one makes no sense, or shares a name or synonym with another; nothing has changed then.
    pub fn add(
        &mut self,
        words: impl IntoIterator<Item = Word>,
        replace: bool,
    ) -> Result<(), WordsError> {
        let mut new = self.clone();
        let names = new.words.iter().map(|w| normalise(&w.name));
        let places: HashMap<String, usize> = names.zip(0..).collect();
        for word in words {
            match places.get(&normalise(&word.name)) {
                Some(&place) if replace => new.words[place] = word,
                _ => new.words.push(word),
            }
        }
        if new.words.len() > MAX_PROMPTS {
            let reason = format!(
                "{} words; a file holds up to {MAX_PROMPTS}",
                new.words.len()
            );
            return Err(WordsError::Section {
                section: "words.json",
                reason,
            });
        }
        new.check()?;
        *self = new;
        Ok(())
    }

    /// These words in another space, which they [fit](Self::fits).
    #[must_use]
    pub fn in_space(self, space: Space) -> Self {
        Self { space, ..self }
    }

    /// Takes the word of this name or synonym out.
    pub fn remove(&mut self, name: &str) -> Option<Word> {
        let key = normalise(name);
        let place = self.words.iter().position(|w| w.keys().contains(&key))?;
        Some(self.words.remove(place))
    }

    /// All of them, in the order in which they were added.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// What their rows mean.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }
}
