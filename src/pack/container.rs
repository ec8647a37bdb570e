//! The container of packs and of words: a ZIP archive whose entries are stored and start on multiples of [`ALIGN`] bytes.
//!
//! What an entry holds is not known here; that it is whole is: bounds, alignment and CRC-32 of every entry are verified when a
//! file is opened.

use std::{
    fs::File,
    io::{self, Cursor, Write},
    path::Path,
};

use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::{ALIGN, PackError, damaged, map::Bytes};
use crate::files::open_regular;

/// Most sections of a file: a pack has some twenty.
pub const MAX_SECTIONS: usize = 64;

/// The checked sections of a file.
#[derive(Debug, Default)]
pub struct Sections(Vec<(String, Bytes)>);

impl Sections {
    /// Reads a file, which nobody can change under it then, and verifies every section's bounds, alignment and CRC-32.
    ///
    /// # Errors
    ///
    /// [`PackError`] saying which section is wrong and how.
    pub fn open(path: &Path) -> Result<Self, PackError> {
        Self::read(path, &file_of(path, true)?, Bytes::copy)
    }

    /// The same in the memory that `hold` puts an open file into.
    pub(super) fn read(
        path: &Path,
        file: &File,
        hold: fn(&File) -> io::Result<Bytes>,
    ) -> Result<Self, PackError> {
        let open = |source| PackError::Open {
            path: path.to_owned(),
            source,
        };
        let length = file.metadata().map_err(open)?.len();
        let not_one = |reason: String| PackError::Directory {
            path: path.to_owned(),
            bytes: usize::try_from(length).unwrap_or(usize::MAX),
            reason,
        };
        if length == 0 {
            return Err(not_one("it is empty".into()));
        }
        let map = hold(file).map_err(open)?;
        // before anything is made of the directory: entries cost time and memory, whatever they lead to
        if let Some(entries) = entries(&map).filter(|&n| n > MAX_SECTIONS as u64) {
            return Err(not_one(format!(
                "{entries} entries; a pack has up to {MAX_SECTIONS}"
            )));
        }
        let mut archive = ZipArchive::new(Cursor::new(&map[..])).map_err(|e| {
            not_one(match e {
                ZipError::InvalidArchive(why) if why.contains("EOCD") => what_else(&map).into(),
                ZipError::InvalidArchive(why) => why.into_owned(),
                other => other.to_string(),
            })
        })?;
        if archive.len() > MAX_SECTIONS {
            let n = archive.len();
            return Err(not_one(format!(
                "{n} entries; a pack has up to {MAX_SECTIONS}"
            )));
        }
        let mut taken: Vec<(usize, usize, String)> = Vec::with_capacity(archive.len());
        let mut sections = Vec::with_capacity(archive.len());
        for i in 0..archive.len() {
            let entry = archive
                .by_index_raw(i)
                .map_err(|e| not_one(format!("entry {i}: {e}")))?;
            let name = entry
                .name()
                .map_err(|e| not_one(format!("entry {i}: {e}")))?
                .into_owned();
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return damaged(
                    &name,
                    format!("is {} where a pack stores", entry.compression()),
                );
            }
            let Some(start) = entry.data_start() else {
                return damaged(&name, "has no start");
            };
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let length = usize::try_from(entry.size()).unwrap_or(usize::MAX);
            let end = start.saturating_add(length);
            let Some(bytes) = map.part(start..end) else {
                return damaged(
                    &name,
                    format!("ends at byte {end} of a file of {}", map.len()),
                );
            };
            let over = |(from, to, _): &&(usize, usize, String)| start < *to && *from < end;
            if let Some((from, to, other)) = taken.iter().find(over) {
                return damaged(
                    &name,
                    format!("at bytes {start} to {end} lies over {other}, at {from} to {to}"),
                );
            }
            taken.push((start, end, name.clone()));
            if start % ALIGN != 0 {
                return damaged(
                    &name,
                    format!("starts at byte {start}, not on a multiple of {ALIGN}"),
                );
            }
            let (found, stated) = (crc32fast::hash(&bytes), entry.crc32());
            if found != stated {
                return damaged(
                    &name,
                    format!(
                        "{length} bytes have CRC-32 {found:08x}, the directory says {stated:08x}"
                    ),
                );
            }
            sections.push((name, bytes));
        }
        Ok(Self(sections))
    }

    /// A section by name.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] if there is none of that name.
    pub fn section(&self, name: &str) -> Result<Bytes, PackError> {
        match self.find(name) {
            Some(bytes) => Ok(bytes),
            None => damaged(name, "is missing"),
        }
    }

    /// A section by name, or none.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Bytes> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, bytes)| bytes.clone())
    }

    /// Names and contents, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, bytes)| (name.as_str(), bytes))
    }
}

/// How many entries the end of a ZIP archive says that it has; none if there is no such end, which is said elsewhere.
///
/// The record has 22 bytes and a comment of up to 65,535 behind it; where it says 65,535, another record has the true number,
/// which is no less.
fn entries(bytes: &[u8]) -> Option<u64> {
    const END: &[u8] = b"PK\x05\x06";
    const LONGEST: usize = 22 + 65_535;
    let tail = bytes.get(bytes.len().saturating_sub(LONGEST)..)?;
    let at = tail.windows(END.len()).rposition(|four| four == END)?;
    let count = tail.get(at + 10..)?.first_chunk()?;
    Some(u16::from_le_bytes(*count).into())
}

/// The bytes of a file with these sections.
///
/// # Errors
///
/// If a name is not one that an archive can have, or the whole is too long for one.
pub fn bytes_of<'a>(
    sections: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> io::Result<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGN as u16);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in sections {
        zip.start_file(name, options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Opens a file for reading; what is no file is refused with what it is instead.
pub(super) fn file_of(path: &Path, links: bool) -> Result<File, PackError> {
    open_regular(path, links).map_err(|source| PackError::Open {
        path: path.to_owned(),
        source,
    })
}

/// What a file is that is no archive, for those that often come in a pack's place.
fn what_else(bytes: &[u8]) -> &'static str {
    let start = bytes.get(..512).unwrap_or(bytes);
    let text = start.trim_ascii_start().to_ascii_lowercase();
    let is = |magic: &[u8]| start.starts_with(magic);
    if is(b"version https://git-lfs") {
        "it is a Git LFS pointer, which says where the pack is; `git lfs pull` fetches that"
    } else if text.starts_with(b"<!doctype") || text.starts_with(b"<html") {
        "it is a web page and not the file that it offers"
    } else if is(b"PK\x03\x04") {
        "its end, with the directory, is missing"
    } else if is(b"\x1f\x8b") || is(b"\xfd7zXZ") || is(b"\x28\xb5\x2f\xfd") {
        "it is compressed; unpack it first"
    } else if is(b"\x89PNG") || is(b"\xff\xd8\xff") {
        "it is a picture"
    } else if is(b"\x7fELF") {
        "it is a program"
    } else {
        "it has no directory of a ZIP archive"
    }
}
