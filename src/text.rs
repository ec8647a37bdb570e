//! The tokenizer: a prompt's text becomes at most [`MAX_TOKENS`] ids of the sentence encoder's table.
//!
//! ```text
//! "A red, Café-table"  ->  a · red · cafe · table  ->  [2022, 6412, 2809, 7422]
//!        words: normalise, end at separators          ids: longest known piece first
//! ```
//!
//! Each character of the text is, in this order:
//!
//! | step | what | why |
//! |---|---|---|
//! | lower case | [`char::to_lowercase`], character by character | a prompt shouted is the same prompt |
//! | folded | `é` to `e`, `ß` to `ss`, … (`FOLDS`); combining accents vanish | a keyboard without accents |
//! | vanished | apostrophes: `man's` is `mans` | the training phrases are written so |
//! | separator | spaces, punctuation, controls end a word and leave nothing | **a comma or a space never changes how a prompt is treated** |
//! | anything else | belongs to the word | |
//!
//! A word is cut greedily: the longest piece of the vocabulary at its start, then the longest `##` continuation, and
//! so on. A run of characters at which no piece starts is one [`UNKNOWN`], and so is a word of more than 64 bytes.
//!
//! The vocabulary is the text of the pack's section itself, one token per line, id = line number: `[PAD]`, `[UNK]`, then
//! strictly ascending by bytes, so that all continuations stand before all words and a binary search runs on the
//! borrowed text. Loading checks this and keeps where each line starts, 4 bytes a token; no token is copied.
//!
//! `models/recipe/tarsier_recipe/text/tokenizer.py` does exactly the same; `tests/data/tokenizer.tsv` holds both to it. No table of
//! Unicode classes is used beyond `to_lowercase`, so that two versions of Unicode agree.
#![deny(clippy::indexing_slicing)]

use std::cmp::Ordering;
use std::fmt;

use crate::input;

/// How many tokens the sentence encoder reads; later ones are dropped and reported.
pub const MAX_TOKENS: usize = 32;

/// The id whose row fills the positions after the text.
pub const PADDING: u16 = 0;

/// The id of whatever the vocabulary cannot spell.
pub const UNKNOWN: u16 = 1;

/// Longest word that is looked up, in bytes after normalisation.
const MAX_WORD_BYTES: usize = 64;

/// The first two lines of every vocabulary.
const HEADER: [&str; 2] = ["[PAD]", "[UNK]"];

/// What a continuation starts with.
const CONTINUATION: &str = "##";

/// Plain spelling and the lower-case letters it stands for.
const FOLDS: [(&str, &str); 22] = [
    ("a", "àáâãäåāăą"),
    ("c", "çćĉċč"),
    ("d", "ďđ"),
    ("e", "èéêëēĕėęě"),
    ("g", "ĝğġģ"),
    ("h", "ĥħ"),
    ("i", "ìíîïĩīĭįı"),
    ("j", "ĵ"),
    ("k", "ķ"),
    ("l", "ĺļľŀł"),
    ("n", "ñńņňŉ"),
    ("o", "òóôõöøōŏő"),
    ("r", "ŕŗř"),
    ("s", "śŝşš"),
    ("t", "ţťŧ"),
    ("u", "ùúûüũūŭůűų"),
    ("w", "ŵ"),
    ("y", "ýÿŷ"),
    ("z", "źżž"),
    ("ss", "ß"),
    ("ae", "æ"),
    ("oe", "œ"),
];

/// Why a vocabulary or a prompt was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// The prompt has no word: it is empty, or all spaces and punctuation.
    Empty,
    /// The vocabulary does not begin with `[PAD]`, `[UNK]` and at least one token.
    Header,
    /// A line of the vocabulary is empty or not above the one before it in byte order.
    Order {
        /// The line, counted from 0 like the ids.
        line: usize,
    },
    /// The vocabulary has more lines than ids.
    TooLong {
        /// How many lines an id can name.
        max: usize,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the prompt has no word in it"),
            Self::Header => write!(
                f,
                "the vocabulary does not begin with the lines [PAD] and [UNK] and a token"
            ),
            Self::Order { line } => write!(
                f,
                "line {line} of the vocabulary is empty or out of byte order"
            ),
            Self::TooLong { max } => write!(f, "the vocabulary has more than {max} lines"),
        }
    }
}

impl std::error::Error for TextError {}

/// What [`Tokenizer::encode`] has to say about a text besides its ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The text had more than [`MAX_TOKENS`] tokens; the rest was dropped.
    pub truncated: bool,
    /// How many of the ids are [`UNKNOWN`]. Where all are, the prompt says nothing to the model.
    pub unknown: usize,
}

/// A vocabulary, ready to encode.
///
/// `S` is whatever holds the vocabulary's text: a `&str`, or an owner of the map it lies in.
#[derive(Clone, Debug)]
pub struct Tokenizer<S> {
    lines: S,
    /// Where each line starts; one more for the end, as if the text ended in a newline.
    starts: Box<[u32]>,
    /// The id of the first token that is not a continuation.
    first_word: usize,
    /// The longest token, in bytes, without `##`.
    longest: usize,
}

impl<S: AsRef<str>> Tokenizer<S> {
    /// Checks the vocabulary and notes where its lines start.
    ///
    /// # Errors
    ///
    /// [`TextError::Header`], [`TextError::Order`] or [`TextError::TooLong`]: see there.
    pub fn from_lines(lines: S) -> Result<Self, TextError> {
        const MAX_LINES: usize = 1 << 16;
        let text = lines.as_ref();
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.split('\n').take(HEADER.len()).ne(HEADER) {
            return Err(TextError::Header);
        }
        let count = text.split('\n').count();
        if count > MAX_LINES || u32::try_from(text.len()).is_err() {
            return Err(TextError::TooLong { max: MAX_LINES });
        }
        let mut starts = Vec::with_capacity(count + 1);
        let mut start = 0;
        let (mut before, mut first_word, mut longest) = ("", count, 0);
        for (line, token) in text.split('\n').enumerate() {
            starts.push(start);
            start += token.len() as u32 + 1;
            if line < HEADER.len() {
                continue;
            }
            let piece = token.strip_prefix(CONTINUATION);
            if token <= before || piece == Some("") || (piece.is_some() && first_word < count) {
                return Err(TextError::Order { line });
            }
            if piece.is_none() {
                first_word = first_word.min(line);
            }
            longest = longest.max(piece.unwrap_or(token).len());
            before = token;
        }
        if first_word == count {
            return Err(TextError::Header);
        }
        starts.push(start);
        Ok(Self {
            starts: starts.into_boxed_slice(),
            first_word,
            longest,
            lines,
        })
    }

    /// How many tokens there are: the rows that the encoder's table must have.
    pub fn tokens(&self) -> usize {
        self.starts.len() - 1
    }

    /// Encodes a text into `ids`, which is cleared first. Nothing is allocated.
    ///
    /// # Errors
    ///
    /// [`TextError::Empty`] if the text has no word.
    pub fn encode(
        &self,
        text: &str,
        ids: &mut heapless::Vec<u16, MAX_TOKENS>,
    ) -> Result<Encoded, TextError> {
        ids.clear();
        let mut words = Words::new(text);
        let mut truncated = false;
        while let Some(word) = words.next_word() {
            truncated = match word {
                Some(word) => self.push_word(word, ids).is_err(),
                None => ids.push(UNKNOWN).is_err(),
            };
            if truncated {
                break;
            }
        }
        if ids.is_empty() {
            return Err(TextError::Empty);
        }
        Ok(Encoded {
            truncated,
            unknown: ids.iter().filter(|&&id| id == UNKNOWN).count(),
        })
    }

    /// Appends the pieces of one word; `Err` with the id that found no room.
    fn push_word(&self, word: &str, ids: &mut heapless::Vec<u16, MAX_TOKENS>) -> Result<(), u16> {
        let mut rest = word;
        let mut in_unknown = false;
        while let Some(first) = rest.chars().next() {
            let length = match self.longest_piece(rest, rest.len() < word.len()) {
                Some((id, length)) => {
                    ids.push(id)?;
                    in_unknown = false;
                    length
                }
                None => {
                    if !in_unknown {
                        ids.push(UNKNOWN)?;
                    }
                    in_unknown = true;
                    first.len_utf8()
                }
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// The longest piece that `rest` starts with, and its bytes.
    fn longest_piece(&self, rest: &str, continuation: bool) -> Option<(u16, usize)> {
        let longest = rest.len().min(self.longest);
        (1..=longest).rev().find_map(|length| {
            let piece = rest.get(..length)?; // none inside a character
            Some((self.find(piece, continuation)?, length))
        })
    }

    /// Binary search among the continuations or among the words.
    fn find(&self, piece: &str, continuation: bool) -> Option<u16> {
        let (mut low, mut high) = if continuation {
            (HEADER.len(), self.first_word)
        } else {
            (self.first_word, self.tokens())
        };
        let skipped = if continuation { CONTINUATION.len() } else { 0 };
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.line(middle)?.get(skipped..)?.cmp(piece) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return u16::try_from(middle).ok(),
            }
        }
        None
    }

    /// How a token is written: `##` before what continues a word; none if there is no such id.
    pub fn token(&self, id: u16) -> Option<&str> {
        self.line(id.into())
    }

    /// The text of a line.
    fn line(&self, id: usize) -> Option<&str> {
        let (start, next) = (
            *self.starts.get(id)? as usize,
            *self.starts.get(id + 1)? as usize,
        );
        self.lines.as_ref().get(start..next - 1)
    }
}

/// A text as the encoder reads it: its words in lower case, folded, with one space between. Names are compared by it too, so that
/// what is one sentence is one name.
///
/// A comma, a second space, an accent or an apostrophe changes nothing.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut between = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        // texts come here without what cannot be seen; names of a table may not
        if vanishes(c) || input::invisible(c) {
            continue;
        }
        if is_separator(c) {
            between = !out.is_empty();
            continue;
        }
        if std::mem::take(&mut between) {
            out.push(' ');
        }
        match folded(c) {
            Some(plain) => out.push_str(plain),
            None => out.push(c),
        }
    }
    out
}

/// The normalised words of a text, one at a time in one small buffer.
struct Words<'a> {
    text: std::str::Chars<'a>,
    word: heapless::String<MAX_WORD_BYTES>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text: text.chars(),
            word: heapless::String::new(),
        }
    }

    /// The next word; `Some(None)` is a word longer than [`MAX_WORD_BYTES`].
    fn next_word(&mut self) -> Option<Option<&str>> {
        self.word.clear();
        let mut overlong = false;
        for original in self.text.by_ref() {
            let mut ended = false;
            for c in original.to_lowercase() {
                if vanishes(c) {
                    continue;
                }
                if is_separator(c) {
                    // A separator never lower-cases to several characters, so nothing follows it in this loop.
                    ended = overlong || !self.word.is_empty();
                    continue;
                }
                overlong |= match folded(c) {
                    Some(plain) => self.word.push_str(plain).is_err(),
                    None => self.word.push(c).is_err(),
                };
            }
            if ended {
                break;
            }
        }
        if overlong {
            return Some(None);
        }
        (!self.word.is_empty()).then_some(Some(self.word.as_str()))
    }
}

/// Apostrophes, and accents that stand after their letter.
fn vanishes(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '\u{b4}' | '\u{2018}' | '\u{2019}' | '\u{300}'..='\u{36f}'
    )
}

/// The plain spelling of an accented Latin letter.
fn folded(c: char) -> Option<&'static str> {
    if !('\u{c0}'..='\u{17f}').contains(&c) {
        return None;
    }
    FOLDS
        .iter()
        .find(|(_, letters)| letters.contains(c))
        .map(|&(plain, _)| plain)
}

/// Whether a lower-case character ends a word.
fn is_separator(c: char) -> bool {
    match c {
        '0'..='9' | 'a'..='z' => false,
        '\0'..'\u{c0}' | '\u{d7}' | '\u{f7}' => true,
        '\u{1680}' | '\u{2000}'..='\u{206f}' | '\u{3000}'..='\u{303f}' => true,
        '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ff00}'..='\u{ff0f}'
        | '\u{ff1a}'..='\u{ff20}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = include_str!("../tests/data/tokenizer.txt");
    const GOLDEN: &str = include_str!("../tests/data/tokenizer.tsv");
    const TINY: &str = "[PAD]\n[UNK]\n##b\n##bc\na\nab\nb\n";

    fn encode<S: AsRef<str>>(
        tokenizer: &Tokenizer<S>,
        text: &str,
    ) -> Result<(Vec<u16>, Encoded), TextError> {
        let mut ids = heapless::Vec::new();
        tokenizer
            .encode(text, &mut ids)
            .map(|encoded| (ids.to_vec(), encoded))
    }

    /// Undoes the golden file's `\u{1f}`.
    fn unescape(text: &str) -> String {
        let mut parts = text.split("\\u{");
        let mut out = parts.next().unwrap().to_owned();
        for part in parts {
            let (hex, rest) = part.split_once('}').unwrap();
            out.push(char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap());
            out.push_str(rest);
        }
        out
    }

    #[test]
    fn every_golden_text_has_the_ids_that_python_gives_it() {
        let tokenizer = Tokenizer::from_lines(VOCABULARY).unwrap();
        let mut wrong = Vec::new();
        for line in GOLDEN.lines() {
            let (text, expected) = line.split_once('\t').unwrap();
            let expected: Vec<u16> = expected
                .split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect();
            let got = match encode(&tokenizer, &unescape(text)) {
                Ok((ids, _)) => ids,
                Err(error) => {
                    assert_eq!(error, TextError::Empty);
                    Vec::new()
                }
            };
            if got != expected {
                wrong.push(format!("{text:?}: {got:?}, expected {expected:?}"));
            }
        }
        assert!(GOLDEN.lines().count() > 190);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_token_that_is_a_word_encodes_to_its_own_line() {
        let tokenizer = Tokenizer::from_lines(VOCABULARY).unwrap();
        assert_eq!(tokenizer.tokens(), VOCABULARY.lines().count());
        for (line, token) in VOCABULARY.lines().enumerate().skip(tokenizer.first_word) {
            assert_eq!(
                encode(&tokenizer, token).unwrap().0,
                [line as u16],
                "{token}"
            );
        }
    }

    #[test]
    fn commas_and_spaces_change_nothing() {
        let tokenizer = Tokenizer::from_lines(VOCABULARY).unwrap();
        let plain = encode(&tokenizer, "red car").unwrap();
        for text in [
            "red, car",
            " red  car.",
            "\tRED\u{a0}car\n",
            "red,car",
            "\u{feff}“red” car!",
            "red-car",
        ] {
            assert_eq!(encode(&tokenizer, text).unwrap(), plain, "{text:?}");
        }
    }

    #[test]
    fn a_text_without_a_word_is_refused() {
        let tokenizer = Tokenizer::from_lines(TINY).unwrap();
        for text in ["", " ", ", . -", "'", "\u{301}", "\u{200b}"] {
            assert_eq!(encode(&tokenizer, text), Err(TextError::Empty), "{text:?}");
        }
    }

    #[test]
    fn the_longest_piece_comes_first_and_unknown_runs_are_one_token() {
        let tokenizer = Tokenizer::from_lines(TINY).unwrap();
        let encoded = |unknown| Encoded {
            truncated: false,
            unknown,
        };
        assert_eq!(
            encode(&tokenizer, "abbc").unwrap(),
            (vec![5, 3], encoded(0))
        );
        assert_eq!(
            encode(&tokenizer, "abab").unwrap(),
            (vec![5, 1, 2], encoded(1))
        );
        assert_eq!(
            encode(&tokenizer, "猫猫b 猫").unwrap(),
            (vec![1, 2, 1], encoded(2))
        );
        assert_eq!(
            encode(&tokenizer, &"a".repeat(65)).unwrap(),
            (vec![1], encoded(1))
        );
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_said() {
        let tokenizer = Tokenizer::from_lines(TINY).unwrap();
        let (ids, encoded) = encode(&tokenizer, &"a ".repeat(MAX_TOKENS)).unwrap();
        assert_eq!((ids.len(), encoded.truncated), (MAX_TOKENS, false));
        let (ids, encoded) = encode(&tokenizer, &"a ".repeat(MAX_TOKENS + 1)).unwrap();
        assert_eq!((ids.len(), encoded.truncated), (MAX_TOKENS, true));
    }

    #[test]
    fn a_vocabulary_out_of_order_is_refused_with_its_line() {
        let refused = |lines: &str| Tokenizer::from_lines(lines.to_owned()).unwrap_err();
        assert_eq!(refused(""), TextError::Header);
        assert_eq!(refused("[PAD]\na\nb"), TextError::Header);
        assert_eq!(refused("[PAD]\n[UNK]"), TextError::Header);
        assert_eq!(refused("[PAD]\n[UNK]\n##a"), TextError::Header);
        assert_eq!(refused("[PAD]\n[UNK]\n\nb"), TextError::Order { line: 2 });
        assert_eq!(refused("[PAD]\n[UNK]\nb\na"), TextError::Order { line: 3 });
        assert_eq!(refused("[PAD]\n[UNK]\na\na"), TextError::Order { line: 3 });
        assert_eq!(
            refused("[PAD]\n[UNK]\n!\n##a\nb"),
            TextError::Order { line: 3 }
        );
        assert_eq!(refused("[PAD]\n[UNK]\n##\nb"), TextError::Order { line: 2 });
        assert!(
            refused(&format!("[PAD]\n[UNK]\n{}", "a\n".repeat(1 << 16)))
                == TextError::TooLong { max: 1 << 16 }
        );
    }
}
