//! Results on standard output, photo by photo: what is done has left, whatever happens next.
//!
//! ```text
//! writer ─▶ pending ──commit, after each photo──▶ standard output │ tail ("]" of an array, in a file)
//!              └─rollback, after a panic                          └─ overwritten by the next photo
//! ```
//!
//! Nothing leaves that a pack may have said which was written to meanwhile.
//!
//! A photo's results are written whole or not at all, as far as the output allows: of a file, what
//! a full disk took of a photo is cut off again. A reader that is gone is noticed before a photo is
//! looked at, and one that does not read holds up no signal.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fstat, ftruncate, seek},
    io::Errno,
    stdio::stdout,
};

use tarsier::pack::{PackError, Watch};

use super::stop;

/// What a pipe takes without waiting when it says that it is ready: `PIPE_BUF`.
const PIECE: usize = 4096;
/// How long a reader that does not read is waited for after a signal.
const GRACE: Duration = Duration::from_secs(1);

/// Standard output; clones write to the same.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    inner: Rc<RefCell<Inner>>,
    /// Of the pack that says what is written.
    pack: Option<Arc<Watch>>,
}

#[derive(Debug)]
struct Inner {
    pending: Vec<u8>,
    kind: Kind,
    /// What completes the output, should the program end now.
    tail: &'static [u8],
    /// The error that ended it: nothing can be written behind half a result.
    failed: Option<io::ErrorKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A regular file that is written where it ends, or appended to.
    File { append: bool },
    /// A pipe, a terminal, a socket.
    Stream,
}

impl Output {
    /// Standard output; `tail` completes it after every commit, where it is a file.
    pub(crate) fn new(tail: &'static [u8]) -> Self {
        let file = fstat(stdout())
            .is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::RegularFile);
        let append = fcntl_getfl(stdout()).is_ok_and(|flags| flags.contains(OFlags::APPEND));
        let inner = Inner {
            pending: Vec::new(),
            kind: if file {
                Kind::File { append }
            } else {
                Kind::Stream
            },
            tail,
            failed: None,
        };
        Self {
            inner: Rc::new(RefCell::new(inner)),
            pack: None,
        }
    }

    /// For what this pack says.
    pub(crate) fn of_pack(self, pack: Option<Arc<Watch>>) -> Self {
        Self { pack, ..self }
    }

    /// Whether the pack is still what was verified.
    pub(crate) fn check_pack(&self) -> Result<(), PackError> {
        self.pack.as_ref().map_or(Ok(()), |pack| pack.check())
    }

    /// Forgets what was written since the last commit.
    pub(crate) fn rollback(&self) {
        self.inner.borrow_mut().pending.clear();
    }

    /// Whether nobody reads any more.
    pub(crate) fn reader_gone(&self) -> bool {
        if self.inner.borrow().kind != Kind::Stream {
            return false;
        }
        let out = stdout();
        let mut fds = [PollFd::from_borrowed_fd(out, PollFlags::empty())];
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().intersects(gone)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.inner.borrow_mut();
        if let Some(kind) = inner.failed {
            return Err(kind.into());
        }
        inner.pending.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Commits what was written.
    fn flush(&mut self) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        if let Some(kind) = inner.failed {
            return Err(kind.into());
        }
        let done = inner.commit();
        inner.pending.clear();
        inner.failed = done.as_ref().err().map(io::Error::kind);
        done
    }
}

impl Inner {
    fn commit(&self) -> io::Result<()> {
        match self.kind {
            Kind::Stream => stream(&self.pending),
            Kind::File { append } => self.file(append),
        }
    }

    fn file(&self, append: bool) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let out = stdout();
        let start = if append {
            u64::try_from(fstat(out)?.st_size).unwrap_or(0)
        } else {
            seek(out, SeekFrom::Current(0))?
        };
        if let Err(e) = all(&self.pending) {
            // half a result is none
            if ftruncate(out, start).is_ok() && !append {
                let _ = seek(out, SeekFrom::Start(start));
                if start > 0 {
                    let _ = all(self.tail);
                }
            }
            return Err(e);
        }
        if !(append || self.tail.is_empty() || self.pending.ends_with(self.tail)) {
            let end = seek(out, SeekFrom::Current(0))?;
            // the tail is no result: without room for it, the next photo says so
            let _ = all(self.tail);
            seek(out, SeekFrom::Start(end))?;
        }
        Ok(())
    }
}

/// Writes all of it.
fn all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stdout(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Writes all of it to somebody who may read slowly, or no more.
fn stream(mut bytes: &[u8]) -> io::Result<()> {
    let step = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let mut asked: Option<Instant> = None;
    while !bytes.is_empty() {
        let out = stdout();
        let mut fds = [PollFd::from_borrowed_fd(out, PollFlags::OUT)];
        let ready = match poll(&mut fds, Some(&step)) {
            Ok(n) => n > 0,
            Err(Errno::INTR) => false,
            Err(e) => return Err(e.into()),
        };
        if !ready {
            let since = stop::asked().map(|_| *asked.get_or_insert_with(Instant::now));
            if since.is_some_and(|since| since.elapsed() > GRACE) {
                let words = "nobody reads them, and a signal says to end";
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            continue;
        }
        match rustix::io::write(out, &bytes[..bytes.len().min(PIECE)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
