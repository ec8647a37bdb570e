//! The program as a child process, and a client of its socket: what tests of the loop and its bench share.

#![allow(dead_code)] // each of them uses its part

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of one test's own, removed when the test ends.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tarsier-run-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).expect("a temporary file");
        self.text(name)
    }

    pub(crate) fn fifo(&self, name: &str) -> String {
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, self.path(name), FileType::Fifo, mode, 0).expect("a FIFO");
        self.text(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `tarsier run`, killed when the test ends.
pub(crate) struct Program {
    pub(crate) child: Child,
    log: Arc<Mutex<String>>,
}

/// The program in this repository's folder, whatever is set where the tests run.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarsier"));
    command
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .env_remove("TARSIER_LOG")
        .env_remove("NOTIFY_SOCKET")
        // no cache in anybody's home
        .env_remove("HOME")
        .env_remove("XDG_CACHE_HOME")
        .env_remove("CACHE_DIRECTORY");
    command
}

/// What the program ends with, and says on stdout and stderr.
pub(crate) fn tarsier(arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = bare().args(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    command_on("1", arguments)
}

/// The same on a number of threads.
pub(crate) fn command_on(threads: &str, arguments: &[&str]) -> Command {
    let mut command = bare();
    command
        .args(["run", "--threads", threads])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(&mut command(arguments))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::<Mutex<String>>::default();
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = log.lock().expect("a log");
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("a log").clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(done.expect("kill").success(), "kill -{name}");
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end; its log:\n{}", self.log());
    }

    /// Waits until the log has these words.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        self.log_until(&format!("{words:?}"), |log| log.contains(words));
    }

    /// Waits until the log has these words just so many times.
    #[track_caller]
    pub(crate) fn says_so_often(&self, words: &str, times: usize) {
        self.log_until(&format!("{times} times {words:?}"), |log| {
            log.matches(words).count() == times
        });
    }

    #[track_caller]
    fn log_until(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !wanted(&self.log()) {
            assert!(
                Instant::now() < end,
                "no {what} in the log:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("a running program");
        let line = status.lines().find(|l| l.starts_with(key));
        line.expect("a line of that name")[key.len()..]
            .trim()
            .to_owned()
    }

    pub(crate) fn open_files(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        folder.expect("a running program").count()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the socket.
pub(crate) struct Client {
    stream: UnixStream,
    /// Bytes of an incomplete line.
    rest: Vec<u8>,
    lines: std::collections::VecDeque<Value>,
    id: u32,
}

impl Client {
    /// Connects, as soon as there is somebody.
    #[track_caller]
    pub(crate) fn connect(path: &str) -> Self {
        let end = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => {
                    return Self {
                        stream,
                        rest: Vec::new(),
                        lines: std::collections::VecDeque::new(),
                        id: 0,
                    };
                }
                Err(e) => assert!(Instant::now() < end, "{path}: {e}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next message, or none after that time or at the end.
    pub(crate) fn message(&mut self, patience: Duration) -> Option<Value> {
        let end = Instant::now() + patience;
        let mut buffer = vec![0; 1 << 16];
        while self.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).expect("a timeout");
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.rest.extend_from_slice(&buffer[..n]),
                Err(_) => continue,
            }
            while let Some(end) = self.rest.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let value = serde_json::from_slice(&line);
                self.lines
                    .push_back(value.unwrap_or_else(|e| panic!("{e}: {line:?}")));
            }
        }
        self.lines.pop_front()
    }

    /// Waits for a message that is wanted; others are passed over.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        let mut passed = Vec::new();
        while Instant::now() < end {
            if let Some(message) = self.message(Duration::from_millis(200)) {
                if wanted(&message) {
                    return message;
                }
                if message["type"] != "report" {
                    passed.push(message.to_string());
                }
            }
        }
        panic!("no {what}; what came:\n{}", passed.join("\n"));
    }

    #[track_caller]
    pub(crate) fn report(&mut self) -> Value {
        self.until("report", |m| m["type"] == "report")
    }

    /// Waits for a state.
    #[track_caller]
    pub(crate) fn state(&mut self, to: &str) -> Value {
        self.until(&format!("state {to}"), |m| {
            m["event"] == "state" && m["to"] == to
        })
    }

    #[track_caller]
    pub(crate) fn fault(&mut self, part: &str) -> String {
        let fault = self.until(&format!("fault of {part}"), |m| {
            m["event"] == "fault" && m["part"] == part
        });
        fault["text"].as_str().expect("a text").to_owned()
    }

    /// Gives a command and waits for nothing.
    pub(crate) fn give(&mut self, command: &Value) {
        let line = format!("{command}\n");
        self.stream.write_all(line.as_bytes()).expect("a command");
    }

    /// Gives a command and returns its whole reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, mut command: Value) -> Value {
        self.id += 1;
        let id = self.id;
        command["id"] = json!(id);
        let line = format!("{command}\n");
        self.stream.write_all(line.as_bytes()).expect("a command");
        self.until("reply", |m| m["type"] == "reply" && m["id"] == id)
    }

    /// Gives a command that must be obeyed and returns its answer.
    #[track_caller]
    pub(crate) fn command(&mut self, command: Value) -> Value {
        let reply = self.ask(command);
        assert_eq!(reply["ok"], true, "{reply}");
        reply["answer"].clone()
    }

    /// Gives a command that must be refused and returns the error's name and text.
    #[track_caller]
    pub(crate) fn refused(&mut self, command: Value) -> (String, String) {
        let reply = self.ask(command);
        assert_eq!(reply["ok"], false, "{reply}");
        let text = |key: &str| reply["error"][key].as_str().expect("a text").to_owned();
        (text("name"), text("text"))
    }

    #[track_caller]
    pub(crate) fn telemetry(&mut self) -> Value {
        self.command(json!({"command": "telemetry"}))["telemetry"].clone()
    }
}
