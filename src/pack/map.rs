//! The memory that holds a pack: the file itself, mapped, or a copy that nobody can change.
//!
//! A command lives for seconds and maps the file. The daemon lives for months, and whoever writes
//! into a file that is mapped (`cp new.tarsier /usr/share/tarsier/…`, a flash card that goes bad)
//! kills it with SIGBUS or makes it say nonsense. So `run` reads its pack once, into memory that is
//! then made read-only. What was verified is what runs, whatever becomes of the file.
//!
//! What that costs, for the default pack (6.5 MB, in the page cache; one x86 thread, the quickest of
//! 101, checksums included; `what_a_copy_costs_in_time_and_memory` in `tests/hostile_pack.rs`):
//!
//! | held as | ready after | resident memory |
//! |---|---|---|
//! | the mapped file | 0.4 ms | 6.4 MB of the file |
//! | a copy in large pages, or in small ones | 2.3, 4.2 ms | 6.4 MB of its own |
//! | a copy in a sealed memfd | 7.9 ms | 6.4 MB of its own |
//!
//! On a machine that was busy with other things, half of the copies took more than 20 ms, for want of
//! free pages. Once in months that is nothing. The memory is as much in all cases, because checking
//! every section touches every page; but of a mapped file the kernel may take pages back when memory
//! is short, and of a copy it may not. Private anonymous memory serves as well as a memfd: it has no
//! name and no descriptor through which another program could write.
//!
//! Commands keep the map: where ten other programs want the two cores, a copy costs them 6 ms of the
//! processor, and in the middle 26 to 46 ms more by the clock; all of `detect` takes some 16 ms when
//! nothing else runs. What they map may be cut or overwritten too, so:
//!
//! | what happens to a mapped file | what a command does |
//! |---|---|
//! | replaced by renaming | nothing: the map is of the old one |
//! | cut short | the next look at what is gone ends it, with words and an exit code ([`end_where_cut`]) instead of SIGBUS |
//! | overwritten | the time of the file's last change is compared before results leave ([`Watch`](super::Watch)) |
//!
//! # Safety
//!
//! A mapped file must not be truncated or rewritten while it is mapped, or reads fault or change. Packs are therefore opened
//! read-only and installed by rename, which leaves the old file's pages alone; this is stated in README and relied on here.
//! Who does otherwise is found out as above: after the fact, and before results of it are believed.

#![allow(unsafe_code)]

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    ops::{Deref, Range},
    sync::{Arc, OnceLock},
};

use memmap2::{Advice, Mmap, MmapMut};
use signal_hook::{consts::SIGBUS, low_level};

/// What is said of a file that was cut short while it was mapped, and the exit code.
static CUT: OnceLock<(String, i32)> = OnceLock::new();

/// From now on whoever reads what is no longer in a mapped file ends the program with these words on stderr and this exit code,
/// and not with SIGBUS. The first call counts.
///
/// # Errors
///
/// What the system says of a handler for signals.
pub fn end_where_cut(words: String, code: u8) -> io::Result<()> {
    if CUT.set((words, code.into())).is_err() {
        return Ok(());
    }
    let end = || {
        if let Some((words, code)) = CUT.get() {
            let _ = rustix::io::write(rustix::stdio::stderr(), words.as_bytes());
            low_level::exit(*code);
        }
    };
    // SAFETY: `end` reads what was set before, writes once and ends the process; all of that a handler may.
    unsafe { low_level::register(SIGBUS, end) }.map(drop)
}

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
    /// What the system says: the file cannot be mapped (an empty file, a directory).
    pub fn map(file: &File) -> io::Result<Self> {
        // SAFETY: see the module's header: packs are replaced by rename, never written in place.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self::of(map))
    }

    /// Reads a whole file into memory that is read-only from then on.
    ///
    /// # Errors
    ///
    /// What the system says; that the file has become shorter meanwhile.
    pub fn copy(mut file: &File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut memory = MmapMut::map_anon(length)?;
        // a hint; a kernel without large pages takes small ones
        let _ = memory.advise(Advice::HugePage);
        file.read_exact(&mut memory)?;
        Ok(Self::of(memory.make_read_only()?))
    }

    fn of(map: Mmap) -> Self {
        let range = 0..map.len();
        Self {
            map: Arc::new(map),
            range,
        }
    }

    /// All of the memory that this is a part of.
    #[must_use]
    pub fn whole(&self) -> &[u8] {
        &self.map
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
