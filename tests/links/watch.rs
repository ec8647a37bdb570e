//! `tarsier watch` in a real terminal: what it shows, and that the terminal is left as it was.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command as Process, Stdio},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use super::{
    feed::{Feeding, feed},
    place::{Folder, pty},
    until,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tarsier");

/// A program in a terminal of its own.
struct Terminal {
    master: File,
    /// Kept open, so that what the program wrote last can still be read.
    slave: File,
    child: Child,
    /// The terminal's settings before the program came.
    before: String,
    text: Vec<u8>,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Self {
        let (master, device) = pty();
        let open = || {
            let tty = File::options().read(true).write(true).open(&device);
            tty.expect("a tty")
        };
        let size = Winsize {
            ws_col: 100,
            ws_row: 20,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("a size");
        let slave = open();
        let before = settings(&slave);
        let end = || Stdio::from(OwnedFd::from(open()));
        let child = Process::new(PROGRAM)
            .args(arguments)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the program");
        Self {
            master,
            slave,
            child,
            before,
            text: Vec::new(),
        }
    }

    fn read(&mut self) {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).expect("poll") > 0 {
            let mut some = [0; 65_536];
            let n = self.master.read(&mut some).expect("a terminal");
            self.text.extend(&some[..n]);
        }
    }

    #[track_caller]
    fn shows(&mut self, words: &str) {
        until(words, || {
            self.read();
            String::from_utf8_lossy(&self.text).contains(words)
        });
        self.text.clear();
    }

    /// The text that it left behind, and its exit code.
    fn end(&mut self) -> (String, Option<i32>) {
        let mut code = None;
        until("its end", || {
            self.read();
            code = self.child.try_wait().expect("a child");
            code.is_some()
        });
        self.read();
        let text = String::from_utf8_lossy(&self.text).into_owned();
        (text, code.and_then(|c| c.code()))
    }
}

fn settings(tty: &File) -> String {
    format!("{:?}", tcgetattr(tty).expect("settings"))
}

fn fed(folder: &Folder, options: &str) -> (Feeding, String) {
    let path = folder.path("socket");
    let text = path.to_str().expect("UTF-8").to_owned();
    let feeding = feed(&format!("--socket {text} {options}"));
    until("the socket", || path.exists());
    (feeding, text)
}

#[test]
fn the_table_is_live_and_q_or_a_signal_leave_the_terminal_as_it_was() {
    let folder = Folder::new();
    // no multiple of how often a terminal is drawn: the reports drawn then differ
    let (_feeding, path) = fed(&folder, "--fps 37");
    for how in ["q", "\u{3}", "TERM", "HUP"] {
        let mut terminal = Terminal::start(&["watch", &path]);
        terminal.shows("\x1b[?1049h");
        terminal.shows("running  ");
        terminal.shows("猫");
        terminal.shows(" fps");
        let meanwhile = tcgetattr(&terminal.slave).expect("settings").local_modes;
        assert!(!meanwhile.intersects(LocalModes::ICANON | LocalModes::ECHO));
        match how {
            "q" | "\u{3}" => terminal.master.write_all(how.as_bytes()).expect("a key"),
            signal => {
                let pid = terminal.child.id().to_string();
                let status = Process::new("kill").args(["-s", signal, &pid]).status();
                assert!(status.expect("kill").success());
            }
        }
        let (text, code) = terminal.end();
        assert_eq!(code, Some(0), "{how:?}: {text}");
        assert!(
            text.ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l"),
            "{how:?}: {text:?}"
        );
        assert_eq!(settings(&terminal.slave), terminal.before, "{how:?}");
    }
}

#[test]
fn a_program_that_comes_back_is_shown_again() {
    let folder = Folder::new();
    let (feeding, path) = fed(&folder, "--fps 37");
    let mut terminal = Terminal::start(&["watch", &path]);
    terminal.shows("running  ");
    drop(feeding);
    terminal.shows("not connected");
    let (_feeding, path) = {
        let _ = std::fs::remove_file(&path);
        fed(&folder, "--fps 37")
    };
    terminal.shows("tarsier 0.1.0  running  ");
    assert!(std::path::Path::new(&path).exists());
    terminal.master.write_all(b"q").expect("a key");
    assert_eq!(terminal.end().1, Some(0));
}

#[test]
fn one_table_is_printed_where_there_is_no_terminal_or_one_is_asked_for() {
    let folder = Folder::new();
    let (_feeding, path) = fed(&folder, "--fps 37");
    let output = Process::new(PROGRAM)
        .args(["watch", "--once", &path])
        .output()
        .expect("the program");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && !text.contains('\x1b'), "{text}");
    assert!(
        text.starts_with("tarsier ") && text.contains("\nframe "),
        "{text}"
    );

    // a reader that goes away early ends it in silence
    let mut child = Process::new(PROGRAM)
        .args(["watch", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut some = [0; 20];
    let mut pipe = child.stdout.take().expect("a pipe");
    pipe.read_exact(&mut some).expect("a table");
    drop(pipe);
    let waiting = thread::spawn(move || child.wait_with_output().expect("the program"));
    let output = waiting.join().expect("an end");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn a_socket_that_is_not_there_is_an_error_and_touches_no_terminal() {
    let mut terminal = Terminal::start(&["watch", "/nowhere/socket"]);
    let (text, code) = terminal.end();
    assert_eq!(code, Some(66));
    assert!(
        text.contains("/nowhere/socket") && !text.contains("\x1b[?"),
        "{text:?}"
    );
}
