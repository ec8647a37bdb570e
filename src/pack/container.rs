//! The container of packs and of words: a ZIP archive whose entries are stored and start on multiples of [`ALIGN`] bytes.
//!
//! What an entry holds is not known here; that it is whole is: bounds, alignment and CRC-32 of every entry are verified when a
//! file is opened, and a file is written beside its place, brought to the disk, and renamed.

use std::{
    fs,
    io::{self, Cursor, Write},
    path::Path,
};

use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::{ALIGN, PackError, damaged, map::Bytes};

/// Most sections of a file: a pack has some twenty.
pub const MAX_SECTIONS: usize = 64;

/// The checked sections of a mapped file.
#[derive(Debug, Default)]
pub struct Sections(Vec<(String, Bytes)>);

impl Sections {
    /// Maps a file and verifies every section's bounds, alignment and CRC-32.
    ///
    /// # Errors
    ///
    /// [`PackError`] saying which section is wrong and how.
    pub fn open(path: &Path) -> Result<Self, PackError> {
        let open = |source| PackError::Open {
            path: path.to_owned(),
            source,
        };
        let file = fs::metadata(path).map_err(open)?;
        let not_one = |reason: String| PackError::Directory {
            path: path.to_owned(),
            bytes: usize::try_from(file.len()).unwrap_or(usize::MAX),
            reason,
        };
        if file.len() == 0 {
            return Err(not_one("it is empty".into()));
        }
        let map = Bytes::open(path).map_err(open)?;
        // before anything is made of the directory: entries cost time and memory, whatever they lead to
        if let Some(entries) = entries(&map).filter(|&n| n > MAX_SECTIONS as u64) {
            return Err(not_one(format!(
                "{entries} entries; a pack has up to {MAX_SECTIONS}"
            )));
        }
        let mut archive = ZipArchive::new(Cursor::new(&map[..])).map_err(|e| {
            not_one(match e {
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

/// Writes a file so that it is there whole or not at all, also when the power fails: beside its place, to the disk, renamed.
///
/// Whoever has the old file mapped keeps it.
///
/// # Errors
///
/// What the system says; the file is as it was then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // two programs that write at once do not write into one another's file
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = fs::File::create(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // that it could not be removed says nothing new
        let _ = fs::remove_file(&new);
        return written;
    }
    // the name is on the disk when its folder is; a system that cannot sync folders has its own ways
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Ok(folder) = fs::File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
    Ok(())
}
