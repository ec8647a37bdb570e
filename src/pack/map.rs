//! The one memory map.
//!
//! # Safety
//!
//! A mapped file must not be truncated or rewritten while it is mapped, or reads fault or change. Packs are therefore opened
//! read-only and installed by rename, which leaves the old file's pages alone; this is stated in README and relied on here.

#![allow(unsafe_code)]

use std::{fmt, fs::File, io, ops::Deref, ops::Range, path::Path, sync::Arc};

use memmap2::Mmap;

/// A range of a mapped file; clones share the map.
#[derive(Clone)]
pub struct Bytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl Bytes {
    /// Maps a whole file read-only.
    ///
    /// # Errors
    ///
    /// What the system says: the file is missing, unreadable, or cannot be mapped (an empty file, a directory).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: see the module's header: packs are replaced by rename, never written in place.
        let map = unsafe { Mmap::map(&file) }?;
        let range = 0..map.len();
        Ok(Self {
            map: Arc::new(map),
            range,
        })
    }

    /// A part of this range, relative to its start; `None` if it ends outside.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.range.start;
        Some(Self {
            map: Arc::clone(&self.map),
            range: start + range.start..start + range.end,
        })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mapped bytes", self.len())
    }
}
