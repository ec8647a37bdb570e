//! Presence over every kind of link: the program looks at photos with a cat and without, and a socket, frames and sentences tell the
//! same, once each; the clients of `boards/clients` read it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command as Process, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tarsier::frame::file::Photo;

use super::{
    Reader,
    clients::{client, python, read_reports},
    feed::Feeding,
    place::{Folder, pty},
    until,
};

/// What comes out of a line, for as long as it is open.
fn collected(mut from: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let all = Arc::<Mutex<Vec<u8>>>::default();
    let shared = Arc::clone(&all);
    thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut some) {
            shared.lock().expect("bytes").extend(&some[..n]);
        }
    });
    all
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().expect("bytes")).into_owned()
}

/// The upper left part of a photo, 448 by 296 pixels: cameras do not change their size from frame to frame.
fn frame_of(photo: &Path) -> Vec<u8> {
    let image = Photo::open(photo).expect("a photo");
    let frame = image.frame(0);
    let row = 3 * frame.size().width as usize;
    let rows = frame.pixels().chunks_exact(row).take(296);
    rows.flat_map(|row| &row[..3 * 448]).copied().collect()
}

#[test]
fn what_appears_and_goes_is_told_once_on_every_link() {
    let folder = Folder::new();
    let Some(reader) = read_reports(&folder) else {
        return;
    };
    let (socket, fifo) = (folder.path("socket"), folder.path("camera"));
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    let ((frames, serial), (sentences, line)) = (pty(), pty());
    let config = folder.path("c.toml");
    let board = format!(
        "task.presence = true\npresence.dwell_s = 0.0\nprompts.list = [\"bus\", \"cat\"]\n\
         [engine]\nthreads = 1\n\
         [source]\nkind = \"raw\"\npath = {fifo:?}\nwait = true\n\
         format = \"rgb24\"\nwidth = 448\nheight = 296\n\
         [[links.socket]]\npath = {socket:?}\n\
         [[links.serial]]\npath = {serial:?}\nspeed = 4000000\n\
         [[links.text]]\npath = {line:?}\nspeed = 4000000\n"
    );
    std::fs::write(&config, board).expect("a file");
    let program = Process::new(env!("CARGO_BIN_EXE_tarsier"))
        .args(["run", "--pack"])
        .arg(client("../../models/tarsier-s.tarsier"))
        .arg("--config")
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    let program = Feeding::from(program);
    let mut decoder = Process::new(reader)
        .stdin(Stdio::from(frames))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the reader");
    let decoded = collected(decoder.stdout.take().expect("a pipe"));
    let said = collected(sentences);
    until("the socket", || socket.exists());
    let mut client_ = Reader::connect(&socket);
    let mut camera = File::options().write(true).open(&fifo).expect("a reader");
    let (mut events, mut reports) = (Vec::new(), Vec::new());
    for (photo, times) in [("coffee", 4), ("chelsea", 5), ("coffee", 5)] {
        let photo = client(&format!("../../models/sample/{photo}.jpg"));
        let photo = frame_of(&photo);
        for _ in 0..times {
            camera.write_all(&photo).expect("a reader");
            // one by one: none is overtaken, and what follows a report has come with the next
            loop {
                let message = client_.line().expect("a message");
                if message["event"] == "scene" {
                    events.push(message);
                } else if message["type"] == "report" {
                    reports.push(message);
                    break;
                }
            }
        }
    }
    let told: Vec<Value> = (events.iter())
        .map(|e| json!([e["seq"], e["kind"], e["class_id"], e["prompt"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!([6, "appeared", "cat", 1]),
            json!([11, "gone", "cat", 1])
        ]
    );
    for event in &events {
        let report = &reports[event["seq"].as_u64().expect("a number") as usize];
        assert_eq!(event["captured_ns"], report["captured_ns"]);
        assert_eq!(event["stamp"], report["header"]["stamp"]);
        assert_eq!(event["run"], report["run"]);
    }
    // frames, read in C
    until("the frame of the last report", || {
        text(&decoded).contains("presence of report 13 ")
    });
    let decoded = text(&decoded);
    let happened: Vec<&str> = (decoded.lines())
        .filter(|l| l.contains(" appeared ") || l.contains(" gone "))
        .collect();
    assert_eq!(happened.len(), 2, "{happened:?}");
    for ((line, words), event) in happened
        .iter()
        .zip(["prompt 1 appeared ", "prompt 1 gone "])
        .zip(&events)
    {
        assert!(line.starts_with(words), "{line}");
        let ns = format!("captured {} ns", event["captured_ns"]);
        assert!(line.contains(&ns), "{line}");
        let (_, json) = line.split_once(" ns: ").expect("JSON");
        let json: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(json, *event, "as on the socket");
    }
    let of_report = |seq: usize| {
        let (_, rest) = decoded
            .split_once(&format!("presence of report {seq} "))
            .expect("its presence");
        let lines: Vec<String> = rest.lines().skip(1).take(2).map(str::to_owned).collect();
        lines
    };
    assert!(of_report(8)[0].starts_with("  prompt 1 there "));
    assert!(of_report(13).iter().all(|l| l.contains(" not there ")));
    // sentences
    until("the sentences of the last report", || {
        text(&said).contains("$TSPRC,13,")
    });
    let said = text(&said);
    let happened: Vec<&str> = said.lines().filter(|l| l.starts_with("$TSEVT,")).collect();
    assert_eq!(happened.len(), 2, "{happened:?}");
    for (line, event) in happened.iter().zip(&events) {
        let ms = event["captured_ns"].as_u64().expect("a number") / 1_000_000;
        let kind = event["kind"].as_str().expect("a word");
        let score = event["score"].as_f64().expect("a number");
        let start = format!("$TSEVT,{},{ms},{kind},presence,1,", event["seq"]);
        assert!(line.starts_with(&start), "{line}, not {start}");
        assert!(line.contains(",,cat*"), "{line}");
        let told: f64 = line
            .split(',')
            .nth(6)
            .expect("a score")
            .parse()
            .expect("a number");
        assert!((told - score).abs() < 1e-3, "{line}: {score}");
    }
    assert!(said.contains("$TSPRC,8,1,0,1*"), "{said}");
    assert!(said.contains("$TSPRE,8,0,1,there,"), "{said}");
    assert!(said.contains("$TSPRC,0,0,2,0*"), "{said}");
    drop(program);
    let _ = decoder.kill();
    let _ = decoder.wait();
}

/// Presence and an event as frames.
fn frames() -> Vec<u8> {
    use tarsier::{
        protocol::{
            Event, Happening, binary,
            frame::{Framer, Kind},
            happening::Source,
        },
        report::json::Stamp,
        scene::{Change, Presence, PresenceCounts, PresenceState},
    };
    let mut envelope = super::report::envelope(1, 9, 0);
    envelope.report.presences = vec![
        Presence {
            prompt: 2,
            score: 1.0,
            best: 0.5,
            state: PresenceState::There,
            change: Some(Change::Appeared),
        },
        Presence {
            prompt: 0,
            score: 0.0,
            best: 0.5,
            state: PresenceState::NotThere,
            change: None,
        },
    ];
    envelope.report.presence_counts = PresenceCounts {
        there: 1,
        unsure: 0,
        not_there: 70_000,
    };
    let happening = Happening {
        kind: Change::Appeared,
        source: Source::Presence,
        run: 1,
        seq: 9,
        stamp: Stamp::new(std::time::SystemTime::UNIX_EPOCH),
        captured_ns: 7,
        prompts_version: 1,
        prompt: 2,
        class_id: "a \"quoted\" cup".into(),
        score: 1.0,
    };
    let event = Event::Scene(happening.clone());
    let (mut framer, mut bytes) = (Framer::new(), Vec::new());
    let presence = |p: &mut Vec<u8>| binary::write_presence(&envelope, p);
    framer
        .frame(Kind::Presence, presence, &mut bytes)
        .expect("short");
    let happened = |p: &mut Vec<u8>| binary::write_happening(&event, &happening, p);
    framer
        .frame(Kind::Happening, happened, &mut bytes)
        .expect("short");
    bytes
}

#[test]
fn presence_and_events_are_read_in_c_and_in_python() {
    let folder = Folder::new();
    let path = folder.path("frames");
    std::fs::write(&path, frames()).expect("a file");
    if let Some(program) = read_reports(&folder) {
        let file = File::open(&path).expect("a file");
        let output = Process::new(program).stdin(file).output();
        let output = output.expect("the reader");
        let lines: Vec<String> = BufReader::new(&output.stdout[..])
            .lines()
            .map(|l| l.expect("text"))
            .collect();
        assert_eq!(
            lines[..3],
            [
                "presence of report 9 of run 1: 1 there, 0 unsure, 70000 not there",
                "  prompt 2 there 1.000",
                "  prompt 0 not there 0.000",
            ]
        );
        let start = "prompt 2 appeared 1.000 in report 9, captured 7 ns: {\"type\":\"event\"";
        assert!(lines[3].starts_with(start), "{}", lines[3]);
    }
    let Some(mut python) = python() else { return };
    let script = r#"
import json, sys
sys.path.insert(0, sys.argv[1])
import tarsier_client as t, ros2_bridge as b
kinds = [t.unframe(part) for part in open(sys.argv[2], "rb").read().split(b"\0") if part]
link = t.SerialLink.__new__(t.SerialLink)
link._names = ("person", "x", "cup")
messages = [link._message(kind, payload) for kind, _, payload in kinds]
said = [b.presence(messages[0], (9, (3, 4))), b.presence(messages[0], (8, (3, 4))), b.presence(messages[1], (9, (3, 4)))]
print(json.dumps([messages, said]))
"#;
    let output = python
        .args(["-c", script])
        .arg(client(""))
        .arg(&path)
        .output()
        .expect("python");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let presence = json!([{"class_id":"cup","state":"there","score":1.0,"change":"appeared"},
        {"class_id":"person","state":"not_there","score":0.0}]);
    let counts = json!({"there":1,"unsure":0,"not_there":70_000});
    assert_eq!(
        read[0][0],
        json!({"type":"presence","header":{"seq":9},"run":1,"presence":presence,"presence_counts":counts})
    );
    assert_eq!(read[0][1]["event"], "scene");
    assert_eq!(read[0][1]["class_id"], "a \"quoted\" cup");
    let said: Value = serde_json::from_str(read[1][0].as_str().expect("text")).expect("JSON");
    assert_eq!(
        said,
        json!({"header":{"seq":9,"stamp":{"sec":3,"nanosec":4}},"run":1,"presence":presence,"presence_counts":counts})
    );
    assert_eq!((&read[1][1], &read[1][2]), (&Value::Null, &Value::Null));
}
