//! The model pack: one file, mapped read-only, that any unzip opens.
//!
//! A pack is a ZIP archive whose entries are stored, not compressed, and start on multiples of 64 bytes, so that a mapped
//! entry is usable in place. ZIP was preferred to a format of our own because every operating system can list and extract it,
//! and because its directory already carries each entry's length and CRC-32. Checksums are verified when a pack is opened;
//! `tarsier pack verify` also compares the SHA-256 of each entry with the manifest and runs the golden frame.
//!
//! | section | content |
//! |---|---|
//! | `manifest.json` | what this pack is ([`Manifest`]) |
//! | `backbone.onnx`, `head.onnx`, `sentence.onnx` | graphs with `Int8Program` nodes |
//! | `weights.bin` | their constants in kernel layout |
//! | `vocabulary.tsv` | a line per row: name, thing or stuff, synonyms separated by `\|` |
//! | `vocabulary.rows` | i8 `[names, D]` prompt embeddings |
//! | `vocabulary.parameters` | f32 `[names, 3]`: row scale, bias, threshold |
//! | `tokenizer.txt` | a subword per line, its number is its id |
//! | `tokens.rows` | i8 `[subwords, E]`, the sentence encoder's input rows |
//! | `golden.png` | the self-test's frame |
//! | `objects.statistics` | if there: f32 `[1 + D, D]`, the mean and the covariance of objects' embeddings, for exemplars |

use std::{
    fmt,
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{container::Sections, manifest::Manifest, map::Bytes};
use crate::{
    error::{Error, ErrorKind},
    files::exposed,
};

pub mod container;
pub mod manifest;
pub mod map;

/// Entries start on multiples of this many bytes.
pub const ALIGN: usize = 64;

/// Where the pack that was in use before is kept when another one is installed.
#[must_use]
pub fn previous_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".previous");
    name.into()
}

/// Bytes in hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Why a pack was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum PackError {
    /// The file could not be opened or mapped.
    Open {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is not a pack, or its directory is damaged, as after an interrupted copy.
    Directory {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file was written to after it was verified.
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A section is missing, cut or damaged.
    Section {
        /// The section.
        section: String,
        /// What is wrong, with the numbers.
        reason: String,
    },
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, source } => {
                write!(f, "cannot open pack {}: {source}", path.display())
            }
            Self::Directory {
                path,
                bytes,
                reason,
            } => {
                write!(
                    f,
                    "{} ({bytes} bytes) is not a pack or is cut short: {reason}",
                    path.display()
                )
            }
            Self::Changed { path } => write!(
                f,
                "pack {} was written to while it was in use: what it says now was not verified \
                 (replace it by renaming, as `tarsier pack install` does)",
                path.display()
            ),
            Self::Section { section, reason } => write!(f, "pack section {section}: {reason}"),
        }
    }
}

impl std::error::Error for PackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<PackError> for Error {
    fn from(e: PackError) -> Self {
        let kind = match e {
            PackError::Open { .. } => ErrorKind::Missing,
            _ => ErrorKind::Pack,
        };
        Self::new(kind, e)
    }
}

fn damaged<T>(section: &str, reason: impl Into<String>) -> Result<T, PackError> {
    Err(PackError::Section {
        section: section.to_owned(),
        reason: reason.into(),
    })
}

/// A pack in this program's own memory, and what is known of the file it was read from.
#[derive(Debug)]
pub struct Held {
    /// The pack.
    pub pack: Pack,
    /// The file as it was.
    pub stamp: Stamp,
    /// Who else may write to the file, in words.
    pub exposed: Option<String>,
}

/// What tells whether a file was changed or replaced: device and inode, length, times of its
/// content and of its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    bytes: u64,
    times: [i64; 4],
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        let (changed, inode) = (
            [found.mtime(), found.mtime_nsec()],
            [found.ctime(), found.ctime_nsec()],
        );
        Self {
            file: (found.dev(), found.ino()),
            bytes: found.len(),
            times: [changed[0], changed[1], inode[0], inode[1]],
        }
    }

    /// The stamp of what is at a path now.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|found| Self::of(&found))
    }

    /// Whether both are of one file, whatever happened to its content.
    #[must_use]
    pub fn same_file(&self, other: &Self) -> bool {
        self.file == other.file
    }

    /// The file's length.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A mapped file, and how it was before it was verified.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// The file itself: another one at its path is none of the map's business.
    file: File,
    was: (u64, [i64; 2]),
}

impl Watch {
    fn new(path: &Path, file: File) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            was: Self::state(&file)?,
            file,
        })
    }

    /// Length and time of the last change of the content; a new name of the file, or the loss of one, changes neither.
    fn state(file: &File) -> io::Result<(u64, [i64; 2])> {
        let found = file.metadata()?;
        Ok((found.len(), [found.mtime(), found.mtime_nsec()]))
    }

    /// Whether nobody has written to the file since: what the map says is what was verified.
    ///
    /// # Errors
    ///
    /// [`PackError::Changed`] if somebody has; [`PackError::Open`] if the system does not say.
    pub fn check(&self) -> Result<(), PackError> {
        match Self::state(&self.file) {
            Ok(is) if is == self.was => Ok(()),
            Ok(_) => Err(PackError::Changed {
                path: self.path.clone(),
            }),
            Err(source) => Err(PackError::Open {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

/// An open pack: checked sections and its manifest.
#[derive(Debug)]
pub struct Pack {
    sections: Sections,
    manifest: Manifest,
    watch: Option<Arc<Watch>>,
}

impl Pack {
    /// Maps a pack and verifies every section's bounds, alignment and CRC-32.
    ///
    /// # Errors
    ///
    /// [`PackError`] saying which section is wrong and how.
    pub fn open(path: &Path) -> Result<Self, PackError> {
        let watch = Watch::new(path, container::file_of(path, true)?);
        let watch = watch.map_err(|source| PackError::Open {
            path: path.to_owned(),
            source,
        })?;
        let sections = Sections::read(path, &watch.file, Bytes::map)?;
        Ok(Self {
            watch: Some(Arc::new(watch)),
            ..Self::of(sections)?
        })
    }

    /// What tells whether the mapped file was written to; none of a copy, which nobody can write to.
    #[must_use]
    pub fn watch(&self) -> Option<Arc<Watch>> {
        self.watch.clone()
    }

    /// Reads a pack into memory of this program's own and verifies it there: nobody can change it
    /// afterwards.
    ///
    /// With `links` false, a symbolic link is refused.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_copy(path: &Path, links: bool) -> Result<Held, PackError> {
        let file = container::file_of(path, links)?;
        let known = |e| PackError::Open {
            path: path.to_owned(),
            source: e,
        };
        // before reading: what is written meanwhile is seen as a change
        let stamp = Stamp::of(&file.metadata().map_err(known)?);
        let exposed = exposed(&file).map_err(known)?;
        Ok(Held {
            pack: Self::of(Sections::read(path, &file, Bytes::copy)?)?,
            stamp,
            exposed,
        })
    }

    fn of(sections: Sections) -> Result<Self, PackError> {
        let mut pack = Self {
            sections,
            manifest: Manifest::default(),
            watch: None,
        };
        pack.manifest = Manifest::from_json(&pack.section("manifest.json")?)
            .or_else(|e| damaged("manifest.json", e))?;
        for name in pack.manifest.sha256.keys() {
            pack.section(name)?;
        }
        Ok(pack)
    }

    /// A section by name.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] if the pack has none of that name.
    pub fn section(&self, name: &str) -> Result<Bytes, PackError> {
        self.sections.section(name)
    }

    /// A section by name, or none.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Bytes> {
        self.sections.find(name)
    }

    /// A section of text.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] if it is missing or not UTF-8.
    pub fn text(&self, name: &str) -> Result<String, PackError> {
        let bytes = self.section(name)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => damaged(name, format!("is not UTF-8 from byte {}", e.valid_up_to())),
        }
    }

    /// Names and contents, in the order of the file.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.sections.iter()
    }

    /// The whole file's bytes.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        let first = self.sections.iter().next();
        first.map_or(&[], |(_, bytes)| bytes.whole())
    }

    /// What this pack is.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
