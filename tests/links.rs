//! Links as a robot meets them: real sockets, real pseudo-terminals, readers that stop, lines that vanish.
//!
//! The test is the loop: it publishes reports and answers commands; the other end of each link is read by hand.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{MetadataExt, PermissionsExt, symlink},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{ControlModes, LocalModes, tcgetattr},
};
use serde_json::{Value, json};
use tarsier::{
    link::{LinkConfig, Links, Pool, SerialConfig, SocketConfig, TextConfig, config::Payload},
    protocol::{
        Command, Envelope, ErrorCode, Event, Outgoing, Reply, State, binary,
        frame::{Deframer, Framer, Kind},
    },
};

#[path = "links/clients.rs"]
mod clients;
#[path = "links/feed.rs"]
mod feed;
#[path = "links/place.rs"]
mod place;
#[path = "links/presence.rs"]
mod presence;
#[path = "links/report.rs"]
mod report;
#[path = "links/watch.rs"]
mod watch;

use feed::feeder;
use place::{Folder, pty};
use report::envelope;

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until it is so.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A loop without a camera: reports when told to.
struct Loop {
    links: Links,
    pool: Pool<Envelope>,
    sequence: u64,
}

impl Loop {
    fn new(configs: &[LinkConfig]) -> Self {
        Self {
            links: Links::start(configs).expect("links"),
            pool: Pool::new(),
            sequence: 0,
        }
    }

    fn report(&mut self, detections: usize) {
        let (run, sequence) = (self.links.run(), self.sequence);
        let report = self.pool.share(
            || envelope(run, sequence, detections),
            |e| e.clone_from(&envelope(run, sequence, detections)),
        );
        self.links.publish(&Outgoing::Report(report));
        self.sequence += 1;
    }

    fn state(&self, from: State, to: State) {
        let event = Event::State {
            from,
            to,
            why: "test".into(),
        };
        self.links.publish(&Outgoing::Event(event.into()));
    }

    /// Answers all commands that have come: `done`, or `invalid` to those with the id 13. What they were.
    fn answer(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for (origin, request) in self.links.commands() {
            let reply = if request.id == 13 {
                Reply::error(13, ErrorCode::Invalid, "bad luck")
            } else {
                Reply::done(request.id)
            };
            self.links.reply(origin, reply);
            commands.push(request.command);
        }
        commands
    }

    fn up(&self) -> bool {
        self.links.health().iter().all(|l| l.up)
    }
}

/// A reader of a socket.
struct Reader {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Reader {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("a socket that listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let lines = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, lines }
    }

    /// The next line; none at the end.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let n = self.lines.read_line(&mut line).expect("a line in time");
        (n > 0).then(|| serde_json::from_str(&line).expect("a line of JSON"))
    }

    #[track_caller]
    fn expect(&mut self, kind: &str) -> Value {
        let line = self.line().expect("a line");
        assert!(
            line["type"] == kind || line["event"] == kind,
            "{kind}: {line}"
        );
        line
    }

    fn send(&mut self, line: &str) {
        writeln!(self.stream, "{line}").expect("a server that reads");
    }
}

/// The far end of a serial line.
struct Wire {
    master: File,
    deframer: Deframer,
    framer: Framer,
    frames: Vec<(Kind, u32, Vec<u8>)>,
    garbled: usize,
    /// The line's device; a link that can be made to lead to another one.
    path: PathBuf,
}

impl Wire {
    fn new(folder: &Folder) -> Self {
        let (master, device) = pty();
        let path = folder.path("tty");
        symlink(device, &path).expect("a link");
        Self {
            master,
            deframer: Deframer::new(),
            framer: Framer::new(),
            frames: Vec::new(),
            garbled: 0,
            path,
        }
    }

    /// Pulls the plug and puts in another device under the same name.
    fn replug(&mut self) {
        let (master, device) = pty();
        fs::remove_file(&self.path).expect("the link");
        symlink(device, &self.path).expect("a link");
        self.master = master;
    }

    /// Bytes that come within this time, at least one unless there are none.
    fn read(&mut self, patience: Duration) -> Vec<u8> {
        let timeout = Timespec::try_from(patience).expect("a time");
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let ready = poll(&mut fds, Some(&timeout)).expect("poll");
        if ready == 0 || !fds[0].revents().contains(PollFlags::IN) {
            return Vec::new();
        }
        let mut bytes = vec![0; 65_536];
        let n = self.master.read(&mut bytes).unwrap_or(0);
        bytes.truncate(n);
        bytes
    }

    /// Reads frames as long as any come within this time.
    fn receive(&mut self, patience: Duration) -> bool {
        let bytes = self.read(patience);
        let (frames, garbled) = (&mut self.frames, &mut self.garbled);
        self.deframer.push(&bytes, |frame| match frame {
            Ok(f) => frames.push((f.kind, f.sequence, f.payload.to_vec())),
            Err(_) => *garbled += 1,
        });
        !bytes.is_empty()
    }

    /// Reads until there is a frame of this kind that was not there before.
    #[track_caller]
    fn expect(&mut self, kind: Kind) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        let mut seen = 0;
        loop {
            if let Some(at) = self.frames[seen..].iter().position(|f| f.0 == kind) {
                let mut upto: Vec<_> = self.frames.drain(..=seen + at).collect();
                return upto.pop().expect("it was there").2;
            }
            seen = self.frames.len();
            assert!(Instant::now() < end, "no {kind:?} among {:?}", self.frames);
            self.receive(Duration::from_millis(50));
        }
    }

    fn command(&mut self, json: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let framed = self
            .framer
            .frame(Kind::Command, |p| p.extend(json.as_bytes()), &mut bytes);
        framed.expect("a short command");
        bytes
    }

    fn send(&mut self, json: &str) {
        let bytes = self.command(json);
        self.master.write_all(&bytes).expect("the line");
    }
}

fn socket(path: &Path) -> SocketConfig {
    SocketConfig::new(path)
}

fn serial(path: &Path) -> SerialConfig {
    SerialConfig {
        speed: 4_000_000,
        heartbeat_ms: 0,
        ..SerialConfig::new(path)
    }
}

/// Reports and what was told to be lost, in frames.
fn tally(frames: &[(Kind, u32, Vec<u8>)]) -> (Vec<u64>, u64) {
    let (mut sequences, mut lost) = (Vec::new(), 0);
    for (kind, _, payload) in frames {
        match kind {
            Kind::Report => sequences.push(binary::read_report(payload).expect("whole").sequence),
            Kind::Event if payload[0] == 6 => {
                lost += u64::from(u32::from_le_bytes(payload[1..5].try_into().expect("four")));
            }
            _ => {}
        }
    }
    (sequences, lost)
}

#[test]
fn clients_of_a_socket_are_greeted_and_all_get_every_report() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let mut main = Loop::new(&[LinkConfig::Socket(socket(&path))]);
    let mut first = Reader::connect(&path);
    let hello = first.expect("hello");
    assert_eq!(
        (&hello["wire"], &hello["run"]),
        (&json!(1), &json!(main.links.run()))
    );
    main.state(State::Starting, State::Running);
    assert_eq!(first.expect("state")["to"], "running");
    let mut second = Reader::connect(&path);
    second.expect("hello");
    assert_eq!(
        second.expect("state")["to"],
        "running",
        "told to whoever comes later"
    );
    for sequence in 0..50 {
        main.report(3);
        for reader in [&mut first, &mut second] {
            let report = reader.expect("report");
            assert_eq!(report["header"]["seq"], sequence);
            assert_eq!(report["detections"].as_array().map(Vec::len), Some(3));
        }
    }
    // a report is counted just after it is written, which may be after it was read
    until("all are counted", || main.links.health()[0].sent == 100);
    let health = &main.links.health()[0];
    assert_eq!((health.clients, health.lost), (2, 0));
    drop(first);
    until("the client is gone", || main.links.health()[0].clients == 1);
}

#[test]
fn commands_are_answered_to_the_client_that_gave_them_and_to_no_other() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let main = Loop::new(&[LinkConfig::Socket(socket(&path))]);
    let (mut first, mut second) = (Reader::connect(&path), Reader::connect(&path));
    first.expect("hello");
    second.expect("hello");
    // in pieces, and several in one
    first.stream.write_all(br#"{"id":1,"comm"#).expect("sent");
    std::thread::sleep(Duration::from_millis(20));
    first.send("and\":\"pause\"}\n{\"id\":13,\"command\":\"resume\"}");
    second.send(r#"{"id":2,"command":"nonsense"}"#);
    let mut commands = Vec::new();
    until("two commands", || {
        commands.extend(main.answer());
        commands.len() == 2
    });
    assert_eq!(commands, [Command::Pause {}, Command::Resume {}]);
    assert_eq!(
        first.expect("reply"),
        json!({"type":"reply","id":1,"ok":true})
    );
    assert_eq!(first.expect("reply")["error"]["name"], "invalid");
    let refused = second.expect("reply");
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!(2), &json!(2))
    );

    second.send(&"x".repeat(1 << 21));
    assert_eq!(second.expect("reply")["error"]["name"], "too_long");
    second.send(r#"{"id":4,"command":"pause"}"#);
    until("the line after the long one", || !main.answer().is_empty());
    assert_eq!(second.expect("reply")["id"], 4);
    let health = &main.links.health()[0];
    assert_eq!((health.commands, health.garbled), (3, 2));
}

#[test]
fn a_client_that_sends_faster_than_it_is_served_is_not_read_from_and_loses_no_reply() {
    const COMMANDS: u64 = 3000;
    let folder = Folder::new();
    let path = folder.path("socket");
    let main = Loop::new(&[LinkConfig::Socket(socket(&path))]);
    let mut reader = Reader::connect(&path);
    reader.expect("hello");
    let mut writer = reader.stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        for id in 0..COMMANDS {
            // some of them are none
            let name = if id % 3 == 0 { "nonsense" } else { "pause" };
            writeln!(writer, r#"{{"id":{id},"command":"{name}"}}"#).expect("it is read, some time");
        }
    });
    until("some have come", || main.links.health()[0].commands > 4);
    std::thread::sleep(Duration::from_millis(100));
    let taken = main.links.health()[0].commands;
    assert!(taken <= 16, "{taken} were read though none was answered");
    let serving = std::thread::spawn(move || {
        let mut served = 0;
        let end = Instant::now() + PATIENCE;
        while served < 2000 && Instant::now() < end {
            served += main.answer().len();
        }
        (main, served)
    });
    let mut ids: Vec<u64> = (0..COMMANDS)
        .map(|_| reader.expect("reply")["id"].as_u64().expect("an id"))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..COMMANDS).collect::<Vec<_>>());
    sending.join().expect("all sent");
    let (main, served) = serving.join().expect("all served");
    assert_eq!(served, 2000);
    let health = &main.links.health()[0];
    assert_eq!((health.commands, health.garbled), (2000, 1000));
}

#[test]
fn a_serial_line_that_sends_faster_than_it_is_served_loses_no_reply_either() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let main = Loop::new(&[LinkConfig::Serial(serial(&wire.path))]);
    wire.expect(Kind::Event);
    let mut sent = Vec::new();
    for id in 0..60 {
        sent.extend(wire.command(&format!(r#"{{"id":{id},"command":"pause"}}"#)));
    }
    wire.master
        .write_all(&sent)
        .expect("the driver holds that much");
    let (mut served, mut ids) = (0, Vec::new());
    until("all are answered", || {
        served += main.answer().len();
        wire.receive(Duration::from_millis(5));
        ids = wire
            .frames
            .iter()
            .filter(|f| f.0 == Kind::Reply)
            .map(|f| f.2[0])
            .collect();
        ids.len() == 60
    });
    assert_eq!(served, 60);
    assert!(ids.is_sorted() && ids[59] == 59);
}

#[test]
fn a_client_that_shuts_its_writing_side_down_gets_its_answers_and_then_the_end() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let main = Loop::new(&[LinkConfig::Socket(socket(&path))]);
    let mut reader = Reader::connect(&path);
    reader.expect("hello");
    reader.send(r#"{"id":1,"command":"pause"}"#);
    reader.send(r#"{"id":2,"command":"pause"}"#);
    reader
        .stream
        .shutdown(std::net::Shutdown::Write)
        .expect("shut down");
    std::thread::sleep(Duration::from_millis(50));
    let mut served = 0;
    until("both have come", || {
        served += main.answer().len();
        served == 2
    });
    assert_eq!(reader.expect("reply")["id"], 1);
    assert_eq!(reader.expect("reply")["id"], 2);
    assert_eq!(reader.line(), None, "and the door is closed");
    until("its place is free", || main.links.health()[0].clients == 0);

    // and one that is gone altogether is obeyed all the same
    let mut reader = Reader::connect(&path);
    reader.send(r#"{"id":3,"command":"resume"}"#);
    drop(reader);
    until("it has come", || main.answer() == [Command::Resume {}]);
    until("its place is free", || main.links.health()[0].clients == 0);
}

#[test]
fn who_may_only_read_may_ask_and_not_command() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let own = fs::metadata(folder.path("")).expect("a folder").uid();
    let mut read = socket(&path);
    read.role = tarsier::link::Role::Read;
    let mut main = Loop::new(&[LinkConfig::Socket(read.clone())]);
    let mut reader = Reader::connect(&path);
    reader.expect("hello");
    reader.send(r#"{"id":1,"command":"pause"}"#);
    let reply = reader.expect("reply");
    assert_eq!(
        (&reply["id"], &reply["error"]["name"]),
        (&json!(1), &json!("denied"))
    );
    assert!(main.answer().is_empty());
    reader.send(r#"{"id":2,"command":"hello"}"#);
    until("the question", || main.answer() == [Command::Hello {}]);
    assert_eq!(reader.expect("reply")["ok"], true);
    main.report(1);
    reader.expect("report");
    drop(main);
    // but for those who are named
    read.command_uids = vec![own];
    let main = Loop::new(&[LinkConfig::Socket(read)]);
    let mut reader = Reader::connect(&path);
    reader.send(r#"{"id":1,"command":"pause"}"#);
    until("the command", || main.answer() == [Command::Pause {}]);
}

#[test]
fn silent_clients_do_not_hold_the_last_places() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let config = SocketConfig {
        max_clients: 4,
        ..socket(&path)
    };
    let main = Loop::new(&[LinkConfig::Socket(config)]);
    let mut readers: Vec<Reader> = (0..4).map(|_| Reader::connect(&path)).collect();
    readers.iter_mut().for_each(|r| drop(r.expect("hello")));
    let mut fifth = Reader::connect(&path);
    let why = fifth.expect("reply")["error"]["text"].clone();
    assert!(
        why.as_str()
            .is_some_and(|w| w.contains("4 are connected, up to 4")),
        "{why}"
    );
    // the last one says nothing: its place is free some seconds later, the others stay
    let told = readers[3].expect("reply");
    assert_eq!(told["error"]["name"], "denied", "{told}");
    assert_eq!(readers[3].line(), None);
    let mut speaker = Reader::connect(&path);
    speaker.expect("hello");
    speaker.send(r#"{"id":1,"command":"pause"}"#);
    until("the command", || !main.answer().is_empty());
    assert_eq!(speaker.expect("reply")["id"], 1);
    assert_eq!(main.links.health()[0].clients, 4);
}

#[test]
fn a_squatted_path_whose_listener_lets_nobody_in_is_refused_at_once() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let _squatter = full_listener(&path);
    let began = Instant::now();
    let error = Links::start(&[LinkConfig::Socket(socket(&path))]).expect_err("it is served");
    assert!(
        error.to_string().contains("another program serves it"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// A listener whose queue is full, and those that wait in it.
fn full_listener(path: &Path) -> Vec<OwnedFd> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    };
    let new = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket")
    };
    let address = SocketAddrUnix::new(path).expect("an address");
    let listener = new();
    bind(&listener, &address).expect("bound");
    listen(&listener, 1).expect("it listens");
    let mut all = vec![listener];
    loop {
        let client = new();
        if connect(&client, &address).is_err() {
            return all;
        }
        all.push(client);
    }
}

#[test]
fn a_client_that_stops_reading_loses_reports_is_told_how_many_and_delays_nobody() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let mut main = Loop::new(&[LinkConfig::Socket(socket(&path))]);
    let (mut stopped, mut reading) = (Reader::connect(&path), Reader::connect(&path));
    stopped.expect("hello");
    reading.expect("hello");
    const REPORTS: u64 = 600;
    for sequence in 0..REPORTS {
        main.report(40);
        // as fast as this one reads: whatever it loses would be the other's doing
        let report = reading.expect("report");
        assert_eq!(report["header"]["seq"], sequence);
    }
    // wakes up, and gets what the kernel kept, what it lost, and the newest
    let (mut received, mut told, mut last) = (0, 0, None);
    while last != Some(REPORTS - 1) {
        let line = stopped.line().expect("a line");
        if line["type"] == "report" {
            let sequence = line["header"]["seq"].as_u64().expect("a number");
            // what was told since the last report is just what is missing before this one
            assert_eq!(received + told, sequence, "{line}");
            (received, last) = (received + 1, Some(sequence));
        } else {
            assert_eq!(line["event"], "lost");
            told += line["count"].as_u64().expect("a number");
        }
    }
    assert_eq!(received + told, REPORTS);
    assert!(
        told > REPORTS / 2,
        "only {told} were lost: nothing was stopped"
    );
    let health = &main.links.health()[0];
    assert_eq!((health.sent, health.lost), (REPORTS + received, told));
}

#[test]
fn a_stopped_process_is_a_stopped_reader_too() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let mut main = Loop::new(&[LinkConfig::Socket(socket(&path))]);
    // a process whose standard input is the connection
    let stream = UnixStream::connect(&path).expect("connected");
    let mut child = Process::new("cat")
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::piped())
        .spawn()
        .expect("cat");
    let signal = |name: &str, pid: u32| {
        let status = Process::new("kill").args([name, &pid.to_string()]).status();
        assert!(status.expect("kill").success());
    };
    signal("-STOP", child.id());
    until("it is connected", || main.links.health()[0].clients == 1);
    const REPORTS: u64 = 400;
    for _ in 0..REPORTS {
        main.report(40);
        std::thread::sleep(Duration::from_micros(300));
    }
    until("the last was taken", || {
        let health = &main.links.health()[0];
        // four wait for the client, one is being written
        health.sent + health.lost + 5 >= REPORTS && health.lost > 0
    });
    signal("-CONT", child.id());
    let (mut received, mut told) = (0, 0);
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        received += u64::from(line["type"] == "report");
        told += line["count"].as_u64().unwrap_or(0);
        if line["header"]["seq"] == REPORTS - 1 {
            break;
        }
    }
    assert_eq!(received + told, REPORTS);
    drop(main);
    assert!(child.wait().expect("cat").success());
}

#[test]
fn the_sockets_file_is_as_restricted_as_asked_replaces_a_dead_one_and_goes_with_its_program() {
    let folder = Folder::new();
    let path = folder.path("socket");
    // what a killed program leaves
    drop(UnixListener::bind(&path).expect("a socket"));
    let group = fs::metadata(folder.path("")).expect("a folder").gid();
    let config = SocketConfig {
        group: Some(group.to_string()),
        ..socket(&path)
    };
    let main = Loop::new(&[LinkConfig::Socket(config.clone())]);
    let found = fs::metadata(&path).expect("a file");
    assert_eq!(
        (found.permissions().mode() & 0o7777, found.gid()),
        (0o660, group)
    );

    let error = Links::start(&[LinkConfig::Socket(config)]).expect_err("it is served");
    assert!(
        error.to_string().contains("another program serves it"),
        "{error}"
    );
    Reader::connect(&path).expect("hello");

    fs::remove_file(&path).expect("removed");
    until("it is made again", || path.exists());
    Reader::connect(&path).expect("hello");

    drop(main);
    assert!(!path.exists());
    assert_eq!(fs::read_dir(folder.path("")).expect("a folder").count(), 0);
}

#[test]
fn a_socket_that_cannot_be_made_says_which_and_why() {
    let folder = Folder::new();
    let missing = folder.path("missing/socket");
    let error = Links::start(&[LinkConfig::Socket(socket(&missing))]).expect_err("no folder");
    assert!(error.to_string().contains("missing/socket"), "{error}");
    let file = folder.path("notes.txt");
    fs::write(&file, "mine").expect("a file");
    let error = Links::start(&[LinkConfig::Socket(socket(&file))]).expect_err("a file");
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(fs::read_to_string(&file).expect("still there"), "mine");
    let config = SocketConfig {
        group: Some("no such group".into()),
        ..socket(&folder.path("socket"))
    };
    let error = Links::start(&[LinkConfig::Socket(config)]).expect_err("no group");
    assert!(error.to_string().contains("no such group"), "{error}");
}

#[test]
fn only_listed_users_and_groups_are_let_in_and_the_others_are_told_so() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let own = fs::metadata(folder.path("")).expect("a folder");
    let with = |uids: &[u32], gids: &[u32]| {
        let config = SocketConfig {
            allow_uids: uids.to_vec(),
            allow_gids: gids.to_vec(),
            ..socket(&path)
        };
        let main = Loop::new(&[LinkConfig::Socket(config)]);
        let mut reader = Reader::connect(&path);
        let line = reader.line().expect("a line");
        if line["event"] == "hello" {
            return true;
        }
        assert_eq!(line["error"]["name"], "denied", "{line}");
        assert_eq!(reader.line(), None, "and the door is closed");
        assert_eq!(main.links.health()[0].clients, 0);
        false
    };
    let (uid, gid) = (own.uid(), own.gid());
    assert!(with(&[], &[]) && with(&[uid], &[]) && with(&[7, uid], &[9]) && with(&[], &[gid]));
    assert!(!with(&[uid + 1], &[]) && !with(&[], &[gid + 1]));
}

#[test]
fn one_client_too_many_is_told_so_and_the_others_stay() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let config = SocketConfig {
        max_clients: 2,
        ..socket(&path)
    };
    let mut main = Loop::new(&[LinkConfig::Socket(config)]);
    let mut let_in = [Reader::connect(&path), Reader::connect(&path)];
    let_in.iter_mut().for_each(|r| drop(r.expect("hello")));
    let mut third = Reader::connect(&path);
    assert_eq!(third.expect("reply")["error"]["name"], "denied");
    assert_eq!(third.line(), None);
    main.report(1);
    let_in.iter_mut().for_each(|r| drop(r.expect("report")));
}

#[test]
fn a_socket_that_systemd_passes_is_taken_over_and_left_in_place() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    // as systemd does it: descriptor 3, and two variables
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let feeder = feeder("--activated /nowhere/socket --reports 3");
    let mut child = Process::new("sh")
        .args(["-c", script, "sh"])
        .arg(feeder.get_program())
        .args(feeder.get_args())
        .envs(feeder.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::inherit())
        .spawn()
        .expect("sh");
    let mut reader = Reader::connect(&path);
    reader.expect("hello");
    // the feeder begins when it has a client
    for sequence in 0..3 {
        let mut line = reader.line().expect("a line");
        while line["type"] != "report" {
            line = reader.line().expect("a line");
        }
        assert_eq!(line["header"]["seq"], sequence);
    }
    drop(reader);
    assert!(child.wait().expect("the feeder").success());
    assert!(path.exists(), "systemd's file is systemd's");
}

#[test]
fn links_that_do_not_change_keep_their_clients_when_others_do() {
    let folder = Folder::new();
    let paths = ["a", "b", "c"].map(|n| folder.path(n));
    let [a, b, c] = paths.each_ref().map(|p| LinkConfig::Socket(socket(p)));
    let mut main = Loop::new(&[a.clone(), b.clone()]);
    main.state(State::Starting, State::Running);
    let (mut in_a, mut in_b) = (Reader::connect(&paths[0]), Reader::connect(&paths[1]));
    in_a.expect("hello");
    in_a.expect("state");
    // a client that has not been let in yet would be reset, not told goodbye
    in_b.expect("hello");
    in_b.expect("state");
    main.links.reconfigure(&[a.clone(), c]).expect("changed");
    assert_eq!(in_b.line(), None, "b is closed");
    assert!(!paths[1].exists());
    let mut in_c = Reader::connect(&paths[2]);
    in_c.expect("hello");
    assert_eq!(in_c.expect("state")["to"], "running");
    main.report(1);
    in_a.expect("report");
    in_c.expect("report");

    let wrong = LinkConfig::Socket(socket(&folder.path("missing/d")));
    main.links.reconfigure(&[a, wrong]).expect_err("no folder");
    main.report(1);
    in_a.expect("report");
    Reader::connect(&paths[2]).expect("hello");
}

#[test]
fn a_serial_line_is_set_and_carries_binary_reports_events_and_replies() {
    let folder = Folder::new();
    for speed in [115_200, 921_600, 4_000_000] {
        let mut wire = Wire::new(&folder);
        let config = SerialConfig {
            speed,
            ..serial(&wire.path)
        };
        let mut main = Loop::new(&[LinkConfig::Serial(config)]);
        assert_eq!(wire.expect(Kind::Event)[0], 1, "hello");
        let modes = tcgetattr(&wire.master).expect("the line's settings");
        assert_eq!(modes.output_speed(), speed);
        assert!(
            !modes
                .local_modes
                .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
        );
        assert!(
            modes
                .control_modes
                .contains(ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL)
        );
        main.report(2);
        let report = binary::read_report(&wire.expect(Kind::Report)).expect("whole");
        assert_eq!((report.run, report.sequence), (main.links.run(), 0));
        assert_eq!(report.detections.len(), 2);
        wire.send(r#"{"id":5,"command":"pause"}"#);
        until("the command", || main.answer() == [Command::Pause {}]);
        let reply = wire.expect(Kind::Reply);
        assert_eq!(reply[..5], [5, 0, 0, 0, 0]);
        let body: Value = serde_json::from_slice(&reply[5..]).expect("JSON");
        assert_eq!(body["ok"], true);
        wire.send(r#"{"id":13,"command":"pause"}"#);
        until("the command", || !main.answer().is_empty());
        assert_eq!(
            wire.expect(Kind::Reply)[..5],
            [13, 0, 0, 0, ErrorCode::Invalid as u8]
        );
        wire.send(r#"{"id":6,"command":"puase"}"#);
        assert_eq!(
            wire.expect(Kind::Reply)[..5],
            [6, 0, 0, 0, ErrorCode::UnknownCommand as u8]
        );
        assert_eq!(wire.garbled, 0);
        fs::remove_file(&wire.path).expect("the link");
    }
}

#[test]
fn reports_on_a_serial_line_are_json_if_asked_for() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let config = SerialConfig {
        format: Payload::Json,
        ..serial(&wire.path)
    };
    let mut main = Loop::new(&[LinkConfig::Serial(config)]);
    wire.expect(Kind::Event);
    main.report(300);
    let report: Value = serde_json::from_slice(&wire.expect(Kind::JsonReport)).expect("JSON");
    assert_eq!(report["detections"].as_array().map(Vec::len), Some(300));
}

#[test]
fn a_quiet_serial_line_has_a_heartbeat() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let config = SerialConfig {
        heartbeat_ms: 30,
        ..serial(&wire.path)
    };
    let mut main = Loop::new(&[LinkConfig::Serial(config)]);
    main.state(State::Starting, State::Running);
    main.report(1);
    wire.expect(Kind::Report);
    for _ in 0..3 {
        let run = main.links.run().to_le_bytes();
        let expected = [&run[..], &[2], &[1, 0, 0, 0], &[0; 4]].concat();
        assert_eq!(wire.expect(Kind::Heartbeat), expected);
    }
}

#[test]
fn noise_and_flipped_bits_on_the_line_are_no_commands_and_the_next_command_is_obeyed() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let main = Loop::new(&[LinkConfig::Serial(serial(&wire.path))]);
    wire.expect(Kind::Event);
    let mut state = 1_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let mut bytes: Vec<u8> = (0..1_000_000).map(|_| noise()).collect();
    let command = wire.command(r#"{"id":1,"command":"set_threshold","threshold":0.4}"#);
    for bit in 8..(command.len() - 1) * 8 {
        let mut flipped = command.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        bytes.extend(flipped);
    }
    for cut in 2..command.len() - 1 {
        bytes.extend(&command[..cut]);
        bytes.push(0);
        bytes.extend(&command[cut..]);
    }
    wire.master.write_all(&bytes).expect("a line that reads");
    wire.master.write_all(&command).expect("a line that reads");
    let mut commands = Vec::new();
    until("the whole command", || {
        commands.extend(main.answer());
        wire.receive(Duration::ZERO);
        !commands.is_empty()
    });
    let expected = Command::SetThreshold {
        threshold: Some(0.4),
        prompt: None,
    };
    assert_eq!(commands, [expected]);
    assert_eq!(wire.expect(Kind::Reply)[..5], [1, 0, 0, 0, 0]);
    let health = &main.links.health()[0];
    assert!(
        health.garbled > 1000 && health.commands == 1 && health.up,
        "{health:?}"
    );
}

#[test]
fn a_full_serial_line_loses_whole_reports_counts_them_and_keeps_the_newest() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let mut main = Loop::new(&[LinkConfig::Serial(serial(&wire.path))]);
    wire.expect(Kind::Event);
    const REPORTS: u64 = 300;
    // nobody reads: what a tty takes is some kilobytes
    for _ in 0..REPORTS {
        main.report(100);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(main.up());
    until("telemetry counts them while the line is full", || {
        main.links.health()[0].lost > REPORTS / 2
    });
    let mut idle = 0;
    while idle < 3 {
        idle = if wire.receive(Duration::from_millis(100)) {
            0
        } else {
            idle + 1
        };
    }
    let (sequences, lost) = tally(&wire.frames);
    assert_eq!(wire.garbled, 0, "reports are whole or not there");
    assert_eq!(sequences.len() as u64 + lost, REPORTS);
    assert!(
        lost > REPORTS / 2,
        "only {lost} were lost: the line was not full"
    );
    assert_eq!(sequences.last(), Some(&(REPORTS - 1)));
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    let numbers: Vec<u32> = wire.frames.iter().map(|f| f.1).collect();
    assert!(
        numbers.is_sorted_by(|a, b| a + 1 == *b),
        "no frame is missing: {numbers:?}"
    );
    let health = &main.links.health()[0];
    assert_eq!((health.sent, health.lost), (sequences.len() as u64, lost));
}

#[test]
fn a_slow_line_is_given_no_more_than_it_carries() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let config = SerialConfig {
        speed: 115_200,
        ..serial(&wire.path)
    };
    let mut main = Loop::new(&[LinkConfig::Serial(config)]);
    wire.expect(Kind::Event);
    let (begun, mut bytes) = (Instant::now(), 0);
    // 1460 bytes each: 7.9 a second, of which 200 are offered
    while begun.elapsed() < Duration::from_secs(1) {
        main.report(100);
        bytes += wire.read(Duration::from_millis(5)).len();
    }
    let carried = 11_520.0 * begun.elapsed().as_secs_f64();
    // one report may have been begun at the very end
    assert!(
        (bytes as f64) < carried + 1500.0,
        "{bytes} bytes, the line carries {carried}"
    );
    assert!(
        (bytes as f64) > carried * 0.5,
        "{bytes} bytes, the line carries {carried}"
    );
}

#[test]
fn a_line_that_is_unplugged_and_plugged_in_again_goes_on_and_counts_what_it_missed() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let mut main = Loop::new(&[LinkConfig::Serial(serial(&wire.path))]);
    main.state(State::Starting, State::Running);
    let mut received = Vec::new();
    for _ in 0..3 {
        wire.expect(Kind::Event);
        for _ in 0..20 {
            main.report(5);
            let report = binary::read_report(&wire.expect(Kind::Report)).expect("whole");
            received.push(report.sequence);
        }
        wire.replug();
        until("it is noticed", || !main.up());
        let missed = 30;
        for _ in 0..missed {
            main.report(5);
        }
        until("it is back", || main.up());
        let hello = wire.expect(Kind::Event);
        assert_eq!(
            hello[..5],
            [&[1], &main.links.run().to_le_bytes()[..]].concat()
        );
        assert_eq!(
            wire.expect(Kind::Event)[..5],
            [2, 2, 0, 0, 0],
            "the state that holds"
        );
        // what was lost comes before the next report; up to two still waited and come as well
        main.report(5);
        until("the newest", || {
            wire.receive(Duration::from_millis(20));
            tally(&wire.frames).0.last() == Some(&(main.sequence - 1))
        });
        let (sequences, lost) = tally(&wire.frames);
        assert_eq!(sequences.len() as u64 + lost, missed + 1);
        received.extend(sequences);
        wire.frames.clear();
        // so that each turn begins with an event
        main.state(State::Running, State::Running);
    }
    assert!(
        received.is_sorted_by(|a, b| a < b),
        "nothing twice: {received:?}"
    );
}

#[test]
fn a_tty_that_is_not_there_yet_is_opened_when_it_comes_and_a_file_is_none() {
    let folder = Folder::new();
    let path = folder.path("tty");
    fs::write(&path, "no tty").expect("a file");
    let main = Loop::new(&[LinkConfig::Serial(serial(&path))]);
    std::thread::sleep(Duration::from_millis(150));
    assert!(!main.up());
    assert_eq!(fs::read_to_string(&path).expect("as it was"), "no tty");
    fs::remove_file(&path).expect("the file");
    let mut wire = Wire::new(&folder);
    until("it is opened", || main.up());
    assert_eq!(wire.expect(Kind::Event)[0], 1);
}

#[test]
fn a_text_line_has_sentences_with_checksums_and_takes_commands() {
    let folder = Folder::new();
    let mut wire = Wire::new(&folder);
    let config = TextConfig {
        max_detections: 4,
        speed: 921_600,
        ..TextConfig::new(&wire.path)
    };
    let mut main = Loop::new(&[LinkConfig::Text(config)]);
    let mut text = Vec::new();
    let mut lines = |wire: &mut Wire, n: usize| -> Vec<String> {
        until("sentences", || {
            text.extend(wire.read(Duration::from_millis(20)));
            text.iter().filter(|b| **b == b'\n').count() >= n
        });
        let text = String::from_utf8(std::mem::take(&mut text)).expect("ASCII");
        for line in text.split_inclusive("\r\n") {
            assert!(line.len() <= 82 && line.is_ascii(), "{line:?}");
            let (body, sum) = line[1..].trim_end().split_once('*').expect("a checksum");
            let expected = body.bytes().fold(0, |sum, b| sum ^ b);
            assert_eq!(sum, format!("{expected:02X}"), "{line:?}");
        }
        text.lines().map(str::to_owned).collect()
    };
    assert!(lines(&mut wire, 1)[0].starts_with("$TSHEL,1,"));
    main.report(7);
    let found = lines(&mut wire, 5);
    assert!(found[0].starts_with("$TSREP,0,7,"), "{found:?}");
    assert!(found[4].starts_with("$TSDET,0,3,"), "{found:?}");
    wire.master
        .write_all(b"\x00\xffgarbage$TSCMD,7,pa")
        .expect("sent");
    wire.master
        .write_all(b"$TSCMD,8,pause*07\r\n")
        .expect("sent");
    until("the command", || main.answer() == [Command::Pause {}]);
    assert!(lines(&mut wire, 1)[0].starts_with("$TSACK,8*"));
}

#[test]
fn nothing_waits_for_a_link_that_is_stuck_not_even_the_end() {
    let folder = Folder::new();
    let wire = Wire::new(&folder);
    let path = folder.path("socket");
    let configs = [
        LinkConfig::Socket(socket(&path)),
        LinkConfig::Serial(serial(&wire.path)),
        LinkConfig::Serial(serial(&folder.path("missing"))),
    ];
    let mut main = Loop::new(&configs);
    let _stuck = Reader::connect(&path);
    let begun = Instant::now();
    for _ in 0..2000 {
        main.report(50);
    }
    // 2000 frames are a minute of a camera; most of this time is making reports
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    drop(main);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}
