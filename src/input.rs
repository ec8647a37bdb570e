//! Texts that people write: lists of prompts, sentences, configurations.
//!
//! | what such files have | what happens |
//! |---|---|
//! | no end (a FIFO, `/dev/zero`) | refused before a byte is read: nothing is waited for |
//! | a byte order mark | UTF-8's is taken off; UTF-16 is refused by name |
//! | line ends of Unix, Windows (CR LF) and old editors (CR) | all are line ends |
//! | characters without width or shape (U+200B, U+FEFF, marks of direction …) | taken out |
//! | control characters | refused: they are never part of a name |

use std::{
    borrow::Cow,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// The longest list of prompts or sentences: 65,536 prompts of 250 bytes.
pub const MAX_LIST_BYTES: u64 = 16 << 20;

/// The longest configuration.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Why a text is not taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum InputError {
    /// The system does not give it.
    Read(io::Error),
    /// It is no regular file.
    NotAFile(&'static str),
    /// It is longer than anything of its kind.
    TooLong {
        /// The most bytes that are read.
        limit: u64,
    },
    /// It is no UTF-8: another encoding, if its first bytes say which, and the line.
    Encoding(Option<&'static str>, usize),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(e) => e.fmt(f),
            Self::NotAFile(kind) => write!(f, "is {kind}; only a regular file is read"),
            Self::TooLong { limit } => {
                write!(f, "is longer than {limit} bytes, the most that is read")
            }
            Self::Encoding(Some(name), _) => write!(f, "is not UTF-8 but {name}"),
            Self::Encoding(None, line) => write!(f, "is not UTF-8 (line {line})"),
        }
    }
}

impl std::error::Error for InputError {}

impl From<InputError> for io::Error {
    fn from(e: InputError) -> Self {
        let kind = match e {
            InputError::Read(e) => return e,
            InputError::NotAFile(_) => io::ErrorKind::InvalidInput,
            InputError::TooLong { .. } => io::ErrorKind::FileTooLarge,
            InputError::Encoding(..) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, e.to_string())
    }
}

/// What a thing of the file system is, if it is no regular file.
#[must_use]
pub fn special(kind: std::fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// Opens a regular file, and nothing that would be waited for.
///
/// # Errors
///
/// [`InputError::Read`] and [`InputError::NotAFile`].
pub fn open_regular(path: &Path) -> Result<File, InputError> {
    // without waiting: a FIFO may have no writer for ever
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(InputError::Read)?;
    let kind = file.metadata().map_err(InputError::Read)?.file_type();
    match special(kind) {
        Some(kind) => Err(InputError::NotAFile(kind)),
        None => Ok(file),
    }
}

/// A whole text of up to `limit` bytes, without its byte order mark, lines ending in line feeds.
///
/// # Errors
///
/// [`InputError`].
pub fn read_text(path: &Path, limit: u64) -> Result<String, InputError> {
    let mut bytes = Vec::new();
    // a file may grow while it is read, and those of /proc say that they are empty
    open_regular(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(InputError::Read)?;
    if bytes.len() as u64 > limit {
        return Err(InputError::TooLong { limit });
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(InputError::Encoding(Some("UTF-16"), 1));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        InputError::Encoding(None, 1 + good.iter().filter(|&&b| b == b'\n').count())
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// Whether a character has neither width nor shape: it cannot be seen, so nobody means it.
#[must_use]
pub const fn invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'                      // soft hyphen
        | '\u{34F}' | '\u{61C}'
        | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' // fillers
        | '\u{180B}'..='\u{180E}'
        | '\u{200B}'..='\u{200F}'     // zero width, marks of direction
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FE00}'..='\u{FE0F}'     // variation selectors
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E0FFF}' // tags, more selectors
    )
}

/// A prompt's or sentence's text without what cannot be seen and without space around it.
///
/// # Errors
///
/// A control character or line separator that stands in it; a tab is a space.
pub fn clean(text: &str) -> Result<Cow<'_, str>, char> {
    let separates = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    let bad = |&c: &char| (c.is_control() && c != '\t') || separates(c);
    // line ends around a text are space, as those of a shell's $(cat file) are
    let text = text.trim_matches(|c: char| c.is_whitespace() || invisible(c));
    if let Some(c) = text.chars().find(bad) {
        return Err(c);
    }
    let plain = |c: char| !invisible(c) && c != '\t';
    if text.chars().all(plain) {
        return Ok(Cow::Borrowed(text));
    }
    let tabless = text.chars().map(|c| if c == '\t' { ' ' } else { c });
    Ok(Cow::Owned(tabless.filter(|&c| !invisible(c)).collect()))
}

/// What is said of a control character.
#[must_use]
pub fn control(c: char) -> String {
    format!("has the control character U+{:04X}", c as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_taken_out_and_control_characters_are_refused() {
        assert_eq!(clean("\u{FEFF}person"), Ok("person".into()));
        assert_eq!(clean(" cu\u{200B}p\u{200D} "), Ok("cup".into()));
        assert_eq!(clean("red\tcup\r\n"), Ok("red cup".into()));
        assert_eq!(clean("\u{202E}\u{200B}"), Ok("".into()));
        for c in [
            '\0', '\u{7}', '\u{1B}', '\u{7F}', '\u{85}', '\u{2028}', '\n', '\r',
        ] {
            assert_eq!(clean(&format!("cup{c}dog")), Err(c), "{c:?}");
        }
        // accents that are characters of their own, and any script
        for text in ["cafe\u{301}", "чашка", "猫 🐈", "Öl"] {
            assert_eq!(clean(text), Ok(text.into()));
        }
    }
}
