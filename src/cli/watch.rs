//! `tarsier watch`: what a running Tarsier sees, as a table in the terminal.
//!
//! | file | does |
//! |---|---|
//! | `view` | messages to lines of text |
//! | `screen` | lines to the terminal, and the terminal back as it was |
//!
//! Only escape sequences that every terminal of the last decades has; nothing is asked of the terminal but its size, so it works
//! over ssh, in tmux and on a serial console. Where standard output is no terminal, a table is printed every second.

use std::{
    io::{self, IsTerminal, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    screen::{Key, Screen},
    view::View,
};
use super::{Failure, exit, fail, output_failure};

mod screen;
mod view;

/// How often a terminal is drawn anew, at most.
const DRAW: Duration = Duration::from_millis(100);

/// How often a table is printed where there is no terminal.
const PRINT: Duration = Duration::from_secs(1);

/// How often a connection that was lost is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Longest line that is kept: a report of 4,096 detections has up to 1 MB, and with masks more.
const MAX_LINE: usize = 1 << 22;

/// Options of `watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The socket of a running `tarsier run`.
    #[arg(value_name = "SOCKET", default_value = "/run/tarsier/tarsier.sock")]
    socket: PathBuf,
    /// Print one table, of the first report that comes, and stop.
    #[arg(long)]
    once: bool,
}

impl Watch {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let name = self.socket.display();
        let first = self.connect().map_err(|e| {
            let what = format!("socket {name}: {e}; is `tarsier run` there, with this socket?");
            fail(exit::NO_INPUT, what)
        })?;
        let view = View::new(name.to_string());
        if self.once || !io::stdout().is_terminal() {
            return self.print(first, view).or_else(|e| output(&e));
        }
        self.show(first, view).or_else(|e| output(&e))
    }

    fn connect(&self) -> io::Result<Connection> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            bytes: Vec::new(),
        })
    }

    /// Tables on standard output, one after the other.
    fn print(&self, mut connection: Connection, mut view: View) -> io::Result<u8> {
        let mut out = io::stdout().lock();
        let mut print_at = Instant::now();
        loop {
            wait(&[PollFd::new(&connection.stream, PollFlags::IN)], PRINT);
            if let Err(e) = connection.read(|line| view.take(line)) {
                log::error!("socket {}: {e}", self.socket.display());
                return Ok(exit::NO_INPUT);
            }
            if !view.has_report() || Instant::now() < print_at {
                continue;
            }
            for line in view.lines(usize::MAX, usize::MAX) {
                writeln!(out, "{line}")?;
            }
            if self.once {
                return out.flush().map(|()| 0);
            }
            writeln!(out)?;
            out.flush()?;
            print_at = Instant::now() + PRINT;
        }
    }

    /// A table that changes in place, until somebody quits.
    fn show(&self, first: Connection, mut view: View) -> io::Result<u8> {
        let mut screen = Screen::open()?;
        let mut connection = Some(first);
        let (mut draw_at, mut retry_at) = (Instant::now(), Instant::now());
        loop {
            if connection.is_none() && Instant::now() >= retry_at {
                connection = self.connect().ok();
                retry_at = Instant::now() + RETRY;
            }
            let mut fds = vec![PollFd::new(&screen, PollFlags::IN)];
            fds.extend(
                connection
                    .iter()
                    .map(|c| PollFd::new(&c.stream, PollFlags::IN)),
            );
            wait(&fds, DRAW);
            if screen.key()? == Some(Key::Quit) {
                return Ok(0);
            }
            if let Some(open) = &mut connection
                && let Err(e) = open.read(|line| view.take(line))
            {
                view.lose(&e.to_string());
                connection = None;
                retry_at = Instant::now() + RETRY;
            }
            if Instant::now() >= draw_at {
                let (columns, rows) = screen.size();
                screen.draw(&view.lines(columns, rows))?;
                draw_at = Instant::now() + DRAW;
            }
        }
    }
}

fn output(e: &io::Error) -> Result<u8, Failure> {
    output_failure(io::Error::new(e.kind(), e.to_string())).map(|()| 0)
}

/// Sleeps until one of these is ready, a signal comes, or so long.
fn wait(fds: &[PollFd<'_>], longest: Duration) {
    let mut fds = fds.to_vec();
    if let Ok(longest) = Timespec::try_from(longest) {
        // whatever it says, the descriptors are looked at next
        let _ = poll(&mut fds, Some(&longest));
    }
}

/// A connection to the socket, and what has come of a line.
struct Connection {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Connection {
    /// Reads what has come and hands over each line.
    fn read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut some = [0; 65_536];
        loop {
            let n = match self.stream.read(&mut some) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed")),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.bytes.extend(&some[..n]);
            while let Some(end) = self.bytes.iter().position(|b| *b == b'\n') {
                take(&self.bytes[..end]);
                self.bytes.drain(..=end);
            }
            if self.bytes.len() > MAX_LINE {
                let what = "it does not speak as Tarsier does";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
    }
}
