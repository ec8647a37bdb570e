//! Encoded sentences, kept on disk between runs.
//!
//! ```text
//! magic: 8 | width: u32 | count: u32 | count × (key: 16 | factor: f32 | values: i8 × width) | CRC-32 of all before it
//! ```
//!
//! One file per encoder, named by its digest, so that another pack's rows are never read. A key is the SHA-256 of the text, cut
//! to 16 bytes: what somebody looks for is not readable from the file. The [`MAX_SENTENCES`] that were used last are kept.
//!
//! Several programs may use one file. Whoever writes it holds its lock from reading what the others have written meanwhile to the
//! rename, so that nothing of theirs is lost; of what all of them know, that which was used last is kept.
//!
//! A cache is never an error. A file that is damaged, cut or of another layout is not read, a line in the log says so, and it is
//! written anew; a file that cannot be written is a line in the log.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::UnitRow;
use crate::{files::Replacement, pack::Pack};

/// Most sentences that are kept; with vectors of 128 bytes 600 kB.
pub const MAX_SENTENCES: usize = 4096;

const MAGIC: &[u8; 8] = b"tarsier\x01";
const HEADER: usize = MAGIC.len() + 8;
/// Key and factor of a record.
const HEAD: usize = 16 + 4;

type Key = [u8; 16];

/// Sentences and their vectors.
#[derive(Debug)]
pub struct SentenceCache {
    path: PathBuf,
    width: usize,
    /// With when each was used last, in uses of the cache.
    rows: HashMap<Key, (UnitRow, u64)>,
    clock: u64,
    /// Uses from here on are this program's own; before, they are the file's order.
    own: u64,
    changed: bool,
}

impl SentenceCache {
    /// The cache of a pack's encoder in this folder; empty if there is no file yet, or none that can be read.
    #[must_use]
    pub fn open(folder: &Path, pack: &Pack) -> Self {
        let manifest = pack.manifest();
        let mut digest = Sha256::new();
        for section in [
            "sentence.onnx",
            "weights.bin",
            "tokenizer.txt",
            "tokens.rows",
        ] {
            digest.update(manifest.sha256.get(section).map_or("", String::as_str));
            digest.update("\n");
        }
        let digest = crate::pack::hex(&digest.finalize()[..8]);
        let mut cache = Self {
            path: folder.join(format!("sentences-{digest}.cache")),
            width: manifest.text.unwrap_or(manifest.embedding) as usize,
            rows: HashMap::new(),
            clock: 0,
            own: 0,
            changed: false,
        };
        match cache.read() {
            Ok(records) => cache.take_over(records),
            Err(Unread::Missing) => {}
            Err(Unread::System(e)) => {
                log::info!("{}: {e}; sentences are encoded", cache.path.display());
            }
            Err(Unread::Damaged(why)) => {
                log::info!("{}: {why}; it is made anew", cache.path.display());
                cache.changed = true;
            }
        }
        cache
    }

    /// What the file has now, oldest first.
    fn read(&self) -> Result<Vec<(Key, UnitRow)>, Unread> {
        let bytes = fs::read(&self.path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Unread::Missing,
            _ => Unread::System(e),
        })?;
        records(&bytes, self.width).map_err(Unread::Damaged)
    }

    /// Holds these, oldest first, and nothing else.
    fn take_over(&mut self, records: Vec<(Key, UnitRow)>) {
        let dated = records.into_iter().zip(0..);
        self.rows = dated.map(|((key, row), at)| (key, (row, at))).collect();
        self.own = self.rows.len() as u64;
        self.clock = self.own;
    }

    /// How many sentences it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where it is kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The vector of a text, if it is known.
    pub fn find(&mut self, text: &str) -> Option<UnitRow> {
        let (row, used) = self.rows.get_mut(&key(text))?;
        // a look alone is no reason to write the file
        *used = self.clock;
        self.clock += 1;
        Some(row.clone())
    }

    /// Keeps a text's vector.
    pub fn insert(&mut self, text: &str, row: &UnitRow) {
        if row.values.len() != self.width {
            return;
        }
        self.rows.insert(key(text), (row.clone(), self.clock));
        self.clock += 1;
        self.changed = true;
    }

    /// Writes the file if something is new, with what others have written into it: the [`MAX_SENTENCES`] that were used last.
    /// Waits while another program writes it.
    pub fn save(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = fs::create_dir_all(folder).and_then(|()| self.merge());
        if let Err(e) = written {
            log::info!("{}: {e}; sentences are not kept", self.path.display());
        }
    }

    fn merge(&mut self) -> io::Result<()> {
        // from here to the end nobody else changes the file
        let mut new = Replacement::begin(&self.path)?;
        // one that cannot be read is made anew
        let theirs = self.read().unwrap_or_default();
        let there: HashSet<Key> = theirs.iter().map(|(key, _)| *key).collect();
        let mut all: Vec<_> = std::mem::take(&mut self.rows).into_iter().collect();
        all.sort_unstable_by_key(|(_, (_, used))| *used);
        let is_own = |(_, (_, used)): &(Key, (UnitRow, u64))| *used >= self.own;
        let (own, loaded): (Vec<_>, Vec<_>) = all.into_iter().partition(is_own);
        let used: HashSet<Key> = own.iter().map(|(key, _)| *key).collect();
        let undated = |(key, (row, _))| (key, row);
        // what they have no more, what they have, what was used here
        let gone = loaded.into_iter().filter(|(key, _)| !there.contains(key));
        let theirs = theirs.into_iter().filter(|(key, _)| !used.contains(key));
        let mut kept: Vec<(Key, UnitRow)> = gone.map(undated).chain(theirs).collect();
        kept.extend(own.into_iter().map(undated));
        kept.drain(..kept.len().saturating_sub(MAX_SENTENCES));
        let bytes = self.bytes(&kept);
        self.take_over(kept);
        new.file().write_all(&bytes)?;
        new.commit()
    }

    /// A file of these, oldest first.
    fn bytes(&self, kept: &[(Key, UnitRow)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((self.width as u32).to_le_bytes());
        bytes.extend((kept.len() as u32).to_le_bytes());
        for (key, row) in kept {
            bytes.extend(*key);
            bytes.extend(row.factor.to_le_bytes());
            bytes.extend(row.values.iter().map(|v| v.cast_unsigned()));
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }
}

/// Why a file gives nothing.
enum Unread {
    Missing,
    System(io::Error),
    Damaged(String),
}

/// Where sentences are kept if nothing else is said: systemd's cache folder of the service, else the user's, else nowhere.
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    // the first of several, as systemd writes them
    let service = std::env::var_os("CACHE_DIRECTORY")
        .and_then(|v| std::env::split_paths(&v).next().filter(|p| p.is_absolute()));
    let absolute = |variable| {
        let path = PathBuf::from(std::env::var_os(variable)?);
        path.is_absolute().then_some(path)
    };
    service
        .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("tarsier")))
        .or_else(|| Some(absolute("HOME")?.join(".cache/tarsier")))
}

fn key(text: &str) -> Key {
    let digest = Sha256::digest(text.trim().as_bytes());
    let mut key = Key::default();
    key.copy_from_slice(&digest[..16]);
    key
}

/// The records of a file, or what is wrong with it.
fn records(bytes: &[u8], width: usize) -> Result<Vec<(Key, UnitRow)>, String> {
    let u32_at = |at: usize| {
        let four = bytes.get(at..at + 4).and_then(|b| b.first_chunk());
        four.map_or(0, |b| u32::from_le_bytes(*b))
    };
    if !bytes.starts_with(MAGIC) {
        return Err("is not a cache of sentences".into());
    }
    let (own, count) = (u32_at(8) as usize, u32_at(12) as usize);
    let record = HEAD + width;
    let expected = count
        .checked_mul(record)
        .and_then(|n| n.checked_add(HEADER + 4));
    if own != width || count > MAX_SENTENCES || expected != Some(bytes.len()) {
        return Err(format!(
            "{} bytes for {count} sentences of {own} numbers",
            bytes.len()
        ));
    }
    let end = bytes.len() - 4;
    let (found, stated) = (crc32fast::hash(&bytes[..end]), u32_at(end));
    if found != stated {
        return Err(format!("has CRC-32 {found:08x} and says {stated:08x}"));
    }
    let mut rows = Vec::with_capacity(count);
    for record in bytes[HEADER..end].chunks_exact(record) {
        let mut key = Key::default();
        key.copy_from_slice(&record[..16]);
        let mut factor = [0; 4];
        factor.copy_from_slice(&record[16..HEAD]);
        let factor = f32::from_le_bytes(factor);
        let values: Vec<i8> = record[HEAD..].iter().map(|b| b.cast_signed()).collect();
        if !(factor.is_finite() && factor > 0.0) || values.contains(&i8::MIN) {
            return Err("has a vector that no encoder makes".into());
        }
        rows.push((key, UnitRow { values, factor }));
    }
    Ok(rows)
}
