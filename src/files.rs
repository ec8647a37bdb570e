//! Files that are there whole or not at all, and files that are what they are said to be.
//!
//! ```text
//! begin ──▶ .name.new, created for this, locked ──▶ write ──▶ to the disk ──▶ renamed to name ──▶ folder to the disk
//!   ▲             └── another writer waits here ──────────────────────────────────────┘
//! ```
//!
//! * Whoever reads, or has the old file mapped, sees the old bytes or the new ones, also after a
//!   power cut.
//! * The lock on the file beside holds from [`Replacement::begin`] to the end, so what is read
//!   after `begin`, changed and written loses nothing of what another program writes at the same
//!   time.
//! * The kernel frees the lock of a program that was killed: the next writer finds its file
//!   unlocked and removes it. So at most one stays behind per file, until that is written again.
//! * Nothing is followed or opened that somebody else left at that name.
//!
//! What is not a regular file (`/dev/stdout`, a FIFO) cannot be renamed over and is written as it
//! is. A symbolic link at the place stays, and what it points to is replaced.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::OFlags;

/// How long another writer of the same file is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at whether it is done.
const STEP: Duration = Duration::from_millis(5);

/// A file being written beside its place. Dropped without [`commit`](Self::commit), it leaves
/// everything as it was.
#[derive(Debug)]
pub struct Replacement {
    place: PathBuf,
    /// Beside the place; none: the place is no regular file and is written itself.
    new: Option<PathBuf>,
    file: File,
}

impl Replacement {
    /// Begins to replace what is at `path`; waits while another program does.
    ///
    /// # Errors
    ///
    /// What the system says of the folder; [`io::ErrorKind::TimedOut`] if another program goes on
    /// for half a minute; [`io::ErrorKind::IsADirectory`] for a folder.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path).ok();
        if let Some(there) = &there
            && !there.is_file()
        {
            if there.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder"));
            }
            return Ok(Self {
                place: path.to_owned(),
                new: None,
                file: OpenOptions::new().write(true).open(path)?,
            });
        }
        // the link stays, what it points to is replaced
        let place = match path.is_symlink() && there.is_some() {
            true => fs::canonicalize(path)?,
            false => path.to_owned(),
        };
        let Some(name) = place.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "names no file"));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        let new = place.with_file_name(hidden);
        let file = exclusive(&new)?;
        if let Some(there) = there {
            // that its owner is another cannot always be kept; who may read it can
            let _ = file.set_permissions(fs::Permissions::from_mode(there.mode() & 0o777));
        }
        Ok(Self {
            place,
            new: Some(new),
            file,
        })
    }

    /// Where the bytes go.
    pub const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where the bytes lie until they are committed.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.new.as_deref().unwrap_or(&self.place)
    }

    /// Brings the bytes to the disk and puts them in the place.
    ///
    /// # Errors
    ///
    /// What the system says; everything is as it was then.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.flush()?;
        let Some(new) = &self.new else {
            return Ok(());
        };
        self.file.sync_all()?;
        fs::rename(new, &self.place)?;
        self.new = None;
        sync_folder_of(&self.place);
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // while the lock still holds: nobody else's file has this name
        if let Some(new) = &self.new {
            let _ = fs::remove_file(new);
        }
    }
}

/// Creates a file and locks it; takes the place of one that a killed program left, and waits for
/// one that lives.
fn exclusive(path: &Path) -> io::Result<File> {
    let end = Instant::now() + PATIENCE;
    loop {
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path);
        let file = match made {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                clear(path)?;
                if Instant::now() >= end {
                    let text = format!(
                        "another program has been writing {} for 30 s",
                        path.display()
                    );
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                continue;
            }
            Err(e) => return Err(e),
        };
        // a file system without locks leaves it at the name; and between creation and lock another
        // program may have taken the file for left behind
        let locked = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if locked && is_at(&file, path) {
            return Ok(file);
        }
    }
}

/// Removes what a killed program left at this name, or waits a moment for one that lives.
fn clear(path: &Path) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let left = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(left) => left,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => {
            let text = format!("{} is in the way: {e}", path.display());
            return Err(io::Error::new(e.kind(), text));
        }
    };
    match left.try_lock() {
        Ok(()) if is_at(&left, path) => fs::remove_file(path),
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            thread::sleep(STEP);
            Ok(())
        }
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Whether this is the file that the path names now.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |m: fs::Metadata| (m.dev(), m.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(own), Ok(there)) => id(own) == id(there),
        _ => false,
    }
}

/// The name is on the disk when its folder is; a system that cannot sync folders has its own ways.
fn sync_folder_of(path: &Path) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}

/// Replaces a file by these bytes.
///
/// # Errors
///
/// As [`Replacement::begin`] and [`Replacement::commit`].
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = Replacement::begin(path)?;
    new.file().write_all(bytes)?;
    new.commit()
}

/// Replaces a file by what `write` writes.
///
/// # Errors
///
/// What `write` answers; as [`Replacement::begin`] and [`Replacement::commit`].
pub fn write<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    let mut new = Replacement::begin(path)?;
    let mut out = BufWriter::new(new.file());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    Ok(new.commit()?)
}

/// Gives a file that is there a second name, in the place of what has that name; follows no links.
///
/// # Errors
///
/// What the system says; everything is as it was then.
pub fn keep_as(path: &Path, kept: &Path) -> io::Result<()> {
    let mut beside = Replacement::begin(kept)?;
    let Some(new) = beside.new.clone() else {
        let text = format!("{} is not a file", kept.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    };
    // the name is ours while the lock holds
    fs::remove_file(&new)?;
    fs::hard_link(path, &new)?;
    fs::rename(&new, kept)?;
    beside.new = None;
    sync_folder_of(kept);
    Ok(())
}

/// Opens a regular file for reading: a FIFO would wait for ever, and a device has no end.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::InvalidInput`] with what it is instead of a file; with
/// `links` false also for a symbolic link.
pub fn open_regular(path: &Path, links: bool) -> io::Result<File> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}"));
    let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    if !links {
        if path.is_symlink() {
            return Err(wrong("a symbolic link, which is not followed here"));
        }
        flags |= OFlags::NOFOLLOW;
    }
    let flags = flags.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(wrong("a folder"))
    } else if kind.is_fifo() {
        Err(wrong("a pipe"))
    } else {
        Err(wrong("a device or a socket"))
    }
}

/// Whether somebody else than root and this user may write to a file, in words.
///
/// # Errors
///
/// What the system says.
pub fn exposed(file: &File) -> io::Result<Option<String>> {
    let found = file.metadata()?;
    let (owner, own) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != 0 && owner != own {
        return Ok(Some(format!(
            "it belongs to user {owner}, not to root or user {own}"
        )));
    }
    let mode = found.mode() & 0o7777;
    Ok((mode & 0o022 != 0)
        .then(|| format!("others than its owner may write to it (mode {mode:o})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Read,
        sync::atomic::{AtomicU32, Ordering},
    };

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("tarsier-files-{}-{n}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let all = fs::read_dir(&self.0).expect("a folder");
            let name = |e: io::Result<fs::DirEntry>| {
                let name = e.expect("an entry").file_name();
                name.into_string().expect("UTF-8")
            };
            let mut all: Vec<_> = all.map(name).collect();
            all.sort();
            all
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_its_mode_stays() {
        let folder = Folder::new();
        let path = folder.0.join("a");
        replace(&path, b"one").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        let mut old = File::open(&path).expect("a file");
        replace(&path, b"second").expect("written");
        let mut text = String::new();
        old.read_to_string(&mut text).expect("text");
        assert_eq!(text, "one", "who has the old file open keeps it");
        assert_eq!(fs::read(&path).expect("a file"), b"second");
        let mode = fs::metadata(&path).expect("a file").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(folder.names(), ["a"]);
    }

    #[test]
    fn what_fails_leaves_the_old_file_and_nothing_else() {
        let folder = Folder::new();
        let path = folder.0.join("a");
        replace(&path, b"one").expect("written");
        let failed = write(&path, |out| {
            out.write_all(&[7; 100_000])?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.expect_err("as said").to_string(), "no more");
        assert_eq!(fs::read(&path).expect("a file"), b"one");
        assert_eq!(folder.names(), ["a"]);
    }

    #[test]
    fn what_a_killed_program_left_is_cleaned_and_a_living_one_is_waited_for() {
        let folder = Folder::new();
        let path = folder.0.join("a");
        fs::write(folder.0.join(".a.new"), "half").expect("left behind");
        replace(&path, b"whole").expect("written");
        assert_eq!(folder.names(), ["a"]);
        let first = Replacement::begin(&path).expect("begun");
        let other = path.clone();
        let second = thread::spawn(move || replace(&other, b"second"));
        thread::sleep(10 * STEP);
        assert!(!second.is_finished(), "it does not wait");
        let mut first = first;
        first.file().write_all(b"first").expect("written");
        first.commit().expect("in place");
        second.join().expect("a thread").expect("written");
        assert_eq!(fs::read(&path).expect("a file"), b"second");
        assert_eq!(folder.names(), ["a"]);
    }

    #[test]
    fn of_many_who_read_change_and_write_none_loses_anything() {
        let folder = Folder::new();
        let path = folder.0.join("count");
        let add = || {
            let mut new = Replacement::begin(&path).expect("begun");
            let before = fs::read_to_string(&path).unwrap_or_default();
            write!(new.file(), "{before}x").expect("written");
            new.commit().expect("in place");
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| add()));
            }
        });
        assert_eq!(fs::read(&path).expect("a file").len(), 160);
    }

    #[test]
    fn a_link_stays_and_one_that_lies_in_the_way_is_not_followed() {
        let folder = Folder::new();
        let (real, link) = (folder.0.join("real"), folder.0.join("link"));
        replace(&real, b"one").expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        replace(&link, b"two").expect("written");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&real).expect("a file"), b"two");
        let victim = folder.0.join("victim");
        fs::write(&victim, "mine").expect("a file");
        std::os::unix::fs::symlink(&victim, folder.0.join(".b.new")).expect("a link");
        let refused = replace(&folder.0.join("b"), b"x").expect_err("in the way");
        assert!(refused.to_string().contains("in the way"), "{refused}");
        assert_eq!(fs::read(&victim).expect("a file"), b"mine");
    }

    #[test]
    fn only_regular_files_are_opened_and_what_else_it_is_is_said() {
        let folder = Folder::new();
        let path = folder.0.join("a");
        replace(&path, b"one").expect("written");
        assert!(open_regular(&path, false).is_ok());
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(open_regular(&link, true).is_ok());
        for (path, links, what) in [
            (link.as_path(), false, "symbolic link"),
            (&folder.0, true, "a folder"),
            (Path::new("/dev/zero"), true, "a device"),
        ] {
            let e = open_regular(path, links).expect_err(what);
            assert!(e.to_string().contains(what), "{e}");
        }
    }

    #[test]
    fn what_others_may_write_is_told_from_what_is_ones_own() {
        let folder = Folder::new();
        let path = folder.0.join("a");
        replace(&path, b"one").expect("written");
        for (mode, bad) in [(0o644, false), (0o600, false), (0o664, true), (0o646, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            let file = File::open(&path).expect("a file");
            let found = exposed(&file).expect("known");
            assert_eq!(found.is_some(), bad, "{mode:o}: {found:?}");
        }
    }
}
