//! The terminal: taken over, drawn on, given back as it was.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
};

/// The other screen, cleared; no cursor; no wrapping of long lines.
const ENTER: &str = "\x1b[?1049h\x1b[2J\x1b[?25l\x1b[?7l";

/// All of that back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// To leave: `q`, Ctrl-C, or a signal that says so.
    Quit,
}

/// A terminal that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    /// The keyboard's settings as they were; none where standard input is no terminal.
    before: Option<Termios>,
    quit: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        let quit = Arc::default();
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            flag::register(signal, Arc::clone(&quit))?;
        }
        let before = tcgetattr(io::stdin()).ok();
        let screen = Self { before, quit };
        if let Some(before) = &screen.before {
            let mut keys = before.clone();
            // each key at once and unseen; reading does not wait. Ctrl-C is a key too, also where this terminal controls nothing,
            // and Ctrl-Z nothing: it would leave a screen behind that nobody draws
            keys.local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            keys.special_codes[SpecialCodeIndex::VMIN] = 0;
            keys.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        }
        write_out(ENTER)?;
        Ok(screen)
    }

    /// What somebody wants, if anything.
    pub(super) fn key(&self) -> io::Result<Option<Key>> {
        let mut keys = [0; 16];
        let quit = if self.before.is_some() {
            let n = rustix::io::read(io::stdin(), &mut keys).unwrap_or(0);
            keys[..n].iter().any(|k| matches!(k, b'q' | b'Q' | 3))
        } else {
            false
        };
        Ok((quit || self.quit.load(Relaxed)).then_some(Key::Quit))
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            // a serial console does not know its size
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => (80, 24),
        }
    }

    /// Draws lines from the top, over what was there: nothing is cleared first, so nothing flickers.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (i, line) in lines.iter().enumerate() {
            if i > 0 {
                text += "\r\n";
            }
            text += line;
            text += "\x1b[0m\x1b[K";
        }
        text += "\x1b[J";
        write_out(&text)
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

impl Drop for Screen {
    fn drop(&mut self) {
        // if the terminal is gone there is nothing to give back
        let _ = write_out(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

impl AsFd for Screen {
    /// Readable when a key was pressed, if keys can be: standard output never is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.before.is_some() {
            rustix::stdio::stdin()
        } else {
            rustix::stdio::stdout()
        }
    }
}
