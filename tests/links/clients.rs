//! The clients of `boards/clients`, each against real links: over a socket, and over a serial line (two pseudo-terminals, and this
//! test between them, for a pseudo-terminal's other end has no path).

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Command as Process, Stdio},
    thread,
};

use serde_json::{Value, json};

use super::{
    feed::{Feeding, feed},
    place::{Folder, pty},
    report::NAMES,
};

pub(crate) fn client(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("boards/clients")
        .join(name)
}

/// Python, where there is one. CI sets `TARSIER_REQUIRE_CLIENTS`, so that nothing is skipped there.
pub(crate) fn python() -> Option<Process> {
    available("python3")
}

fn available(program: &str) -> Option<Process> {
    if Process::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success())
    {
        return Some(Process::new(program));
    }
    let required = std::env::var_os("TARSIER_REQUIRE_CLIENTS").is_some();
    assert!(!required, "no {program}");
    eprintln!("SKIPPED: no {program}");
    None
}

/// What a client printed, line by line.
fn messages(mut process: Process) -> Vec<Value> {
    let output = process.output().expect("the client");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).expect("text");
    let parsed = text
        .lines()
        .map(|l| serde_json::from_str(l).expect("a line of JSON"));
    parsed.collect()
}

fn of_type<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|m| m["type"] == kind).collect()
}

/// Checks that reports are those that the feeder makes, boxes and names included; `whole`: all of them.
fn check(reports: &[&Value], exact: bool, whole: bool) {
    let mut next = reports[0]["header"]["seq"].as_u64().expect("a number");
    for report in reports {
        let seq = report["header"]["seq"].as_u64().expect("a number");
        // a serial line gives up reports when this machine is too busy to read it
        assert!(seq == next || (!whole && seq > next), "{seq} after {next}");
        next = seq + 1;
        let detections = report["detections"].as_array().expect("a list");
        assert_eq!(detections.len() as u64, seq % 5, "{report}");
        for (detection, i) in detections.iter().zip(0..) {
            let x = ((seq + 7 * i) % 500) as f64 + 40.25;
            let got = detection["bbox"]["center"]["x"].as_f64().expect("a number");
            assert!((got - x).abs() < 0.01, "{got} {x}");
            let result = &detection["results"][0];
            let score = result["score"].as_f64().expect("a number");
            assert!((score - (0.9 - 0.002 * i as f64)).abs() < 2e-5, "{result}");
            let name = NAMES[i as usize % NAMES.len()];
            // over a serial line, names are known once they were asked for
            let known = exact
                || result["class_id"].as_str() != Some(&(i as usize % NAMES.len()).to_string());
            assert!(!known || result["class_id"] == name, "{result}");
        }
    }
}

/// Carries bytes between a link and a client that opens ttys: the device of each end.
fn cable() -> (String, String) {
    let ((left, left_name), (right, right_name)) = (pty(), pty());
    // opened once, so that a line that nobody has open yet is no line that was hung up
    let keep = |name: &str| {
        File::options()
            .read(true)
            .write(true)
            .open(name)
            .expect("a tty")
    };
    for (name, mut from, mut to) in [
        (&left_name, left.try_clone(), right.try_clone()),
        (&right_name, right.try_clone(), left.try_clone()),
    ]
    .map(|(n, f, t)| (keep(n), f.expect("a handle"), t.expect("a handle")))
    {
        let kept = name;
        raw(&kept);
        thread::spawn(move || {
            let _kept = kept;
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                if to.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
        });
    }
    (left_name, right_name)
}

/// No echo before the two ends have set their line: it would come back.
fn raw(tty: &File) {
    let mut attributes = rustix::termios::tcgetattr(tty).expect("attributes");
    attributes.make_raw();
    let now = rustix::termios::OptionalActions::Now;
    rustix::termios::tcsetattr(tty, now, &attributes).expect("attributes");
}

#[test]
fn the_python_client_reads_reports_and_gives_commands_over_the_socket() {
    let Some(mut python) = python() else { return };
    let folder = Folder::new();
    let path = folder.path("socket");
    let _feed = feed(&format!("--socket {}", path.display()));
    super::until("the socket", || path.exists());
    python
        .arg(client("tarsier_client.py"))
        .arg(&path)
        .args(["--command", r#"{"command":"get_prompts","from":1}"#])
        .args(["--command", r#"{"command":"set_rate","fps":5}"#])
        .args(["--count", "50"]);
    let messages = messages(python);
    assert_eq!(messages[0]["answer"]["prompts"]["names"], json!(NAMES[1..]));
    assert_eq!(messages[1]["answer"], Value::Null);
    assert_eq!(of_type(&messages, "event")[0]["event"], "hello");
    let reports = of_type(&messages, "report");
    assert_eq!(reports.len(), 50);
    check(&reports, true, true);
}

#[test]
fn the_python_client_says_why_a_command_was_refused() {
    let Some(mut python) = python() else { return };
    let folder = Folder::new();
    let path = folder.path("socket");
    let _feed = feed(&format!("--socket {}", path.display()));
    super::until("the socket", || path.exists());
    python
        .arg(client("tarsier_client.py"))
        .arg(&path)
        .args(["--command", r#"{"command":"set_rate","fps":-5}"#]);
    let output = python.output().expect("the client");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("invalid (3)") && stderr.contains("0.001 to 1000"),
        "{stderr}"
    );
}

#[test]
fn the_python_client_reads_both_kinds_of_frames_over_a_serial_line_and_learns_the_names() {
    for option in ["--serial", "--json"] {
        let Some(mut python) = python() else { return };
        let (link, far) = cable();
        let _feed = feed(&format!("{option} {link}"));
        python
            .arg(client("tarsier_client.py"))
            .args([&far, "4000000", "--count", "100"]);
        let messages = messages(python);
        let reports = of_type(&messages, "report");
        assert_eq!(reports.len(), 100);
        check(&reports, option == "--json", false);
        let last = reports[99]["detections"].as_array().expect("a list").last();
        let before = &reports[98]["detections"][0]["results"][0]["class_id"];
        let named = last.map_or(before, |d| &d["results"][0]["class_id"]);
        assert!(NAMES.iter().any(|n| named == n), "{named} is no name");
    }
}

#[test]
fn the_python_client_decodes_frames_among_noise_and_none_that_is_damaged() {
    let Some(mut python) = python() else { return };
    let script = r#"
import random, sys
sys.path.insert(0, sys.argv[1])
import tarsier_client as t
r = random.Random(1)
for n in [*range(600), 57394]:
    payload = bytes(r.choice((0, 1, r.randrange(256))) for _ in range(n))
    whole = t.frame(t.EVENT, n, payload)
    assert whole[0] == whole[-1] == 0 and 0 not in whole[1:-1], n
    assert t.unframe(whole[1:-1]) == (t.EVENT, n, payload), n
whole = t.frame(t.COMMAND, 7, b'{"command":"pause"}')
for bit in range(8, 8 * (len(whole) - 1)):
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    for part in bytes(flipped).split(b"\0"):
        assert not part or t.unframe(part) is None, bit
for part in r.randbytes(1_000_000).split(b"\0"):
    assert t.unframe(part) is None
"#;
    let folder = client("");
    let output = python.args(["-c", script]).arg(folder).output();
    let output = output.expect("python");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

/// The example of the C header, built with warnings as errors and, where the compiler has them, sanitizers.
pub(crate) fn read_reports(folder: &Folder) -> Option<PathBuf> {
    available("cc")?;
    let program = folder.path("read_reports");
    let build = |extra: &[&str]| {
        let status = Process::new("cc")
            .args([
                "-std=c99",
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Wconversion",
                "-Werror",
                "-O1",
            ])
            .args(extra)
            .arg("-o")
            .arg(&program)
            .arg(client("read_reports.c"))
            .stderr(Stdio::piped())
            .output()
            .expect("cc");
        (
            status.status.success(),
            String::from_utf8_lossy(&status.stderr).into_owned(),
        )
    };
    if !build(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]).0 {
        let (built, stderr) = build(&[]);
        assert!(built, "{stderr}");
    }
    Some(program)
}

#[test]
fn the_c_decoder_reads_what_a_serial_line_carries() {
    let folder = Folder::new();
    let Some(program) = read_reports(&folder) else {
        return;
    };
    let (master, device) = pty();
    let _feed = feed(&format!("--serial {device} --reports 200"));
    // the program reads the line's far end itself
    let mut reader = Process::new(program)
        .stdin(Stdio::from(master))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the reader");
    let lines = BufReader::new(reader.stdout.take().expect("a pipe")).lines();
    let (mut next, mut left, mut events) = (0, 0, Vec::new());
    for line in lines {
        let line = line.expect("text");
        if let Some(detection) = line.strip_prefix("  prompt ") {
            let i = next % 5 - left;
            let words: Vec<&str> = detection.split(' ').collect();
            assert_eq!(words[0], (i % 3).to_string(), "{line}");
            let x = ((next + 7 * i) % 500) as f32 + 40.25;
            assert!(
                words[3].starts_with(&format!("{x:.2},200.1")),
                "{line}, {x}"
            );
            left -= 1;
            next += u64::from(left == 0);
        } else if line.starts_with("report ") {
            assert_eq!(left, 0, "{line}");
            let expected = format!("report {next} of run ");
            assert!(line.starts_with(&expected), "{line}, not {expected}");
            left = next % 5;
            next += u64::from(left == 0);
        } else {
            events.push(line);
        }
        if next == 200 {
            break;
        }
    }
    assert_eq!(next, 200);
    assert!(events[0].starts_with("event 1 "), "{events:?}");
    assert!(
        events[1].starts_with("event 2 2: {\"type\":\"event\""),
        "{events:?}"
    );
    let _ = reader.kill();
    let _ = reader.wait();
}

#[test]
fn the_c_decoder_finds_every_frame_among_noise_and_no_other() {
    use tarsier::protocol::{
        binary,
        frame::{Framer, Kind},
    };
    let folder = Folder::new();
    let Some(program) = read_reports(&folder) else {
        return;
    };
    let (mut framer, mut bytes, mut state) = (Framer::new(), Vec::new(), 7_u64);
    let mut noise = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut whole = Vec::new();
    for sequence in 0..100 {
        whole.clear();
        let report = super::report::envelope(1, sequence, (sequence * 3) as usize);
        let payload = |p: &mut Vec<u8>| binary::write_report(&report, p);
        framer
            .frame(Kind::Report, payload, &mut whole)
            .expect("short");
        bytes.extend((0..10_000).map(|_| noise()));
        bytes.extend(&whole);
        // a flipped bit, a cut
        let mut flipped = whole.clone();
        let at = 1 + usize::from(noise()) % (whole.len() - 2);
        flipped[at] ^= 1 << (noise() % 8);
        bytes.extend(flipped);
        bytes.extend(&whole[..at]);
    }
    let mut reader = Process::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the reader");
    let mut stdin = reader.stdin.take().expect("a pipe");
    let feed = thread::spawn(move || stdin.write_all(&bytes).expect("a reader"));
    let output = reader.wait_with_output().expect("the reader");
    feed.join().expect("fed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let reports: Vec<&str> = text.lines().filter(|l| l.starts_with("report")).collect();
    assert_eq!(reports.len(), 100, "{text}");
    assert_eq!(
        text.lines().count(),
        100 + (0..100).map(|s| s * 3).sum::<usize>()
    );
}

/// A report of two detections with tracks and directions, and its sights, as frames; the second has no range.
fn tracked() -> Vec<u8> {
    use tarsier::geometry::camera::{Range, Sight};
    use tarsier::protocol::{
        binary,
        frame::{Framer, Kind},
    };
    use tarsier::scene::Smoothed;
    let mut envelope = super::report::envelope(1, 9, 2);
    envelope.report.tracks.extend([3, 65_536 + 41]);
    for (score, continued) in [(0.75, false), (0.5, true)] {
        envelope.report.smoothed.push(Smoothed { score, continued });
    }
    let range = Range {
        metres: 2.5,
        sd: 0.25,
    };
    for (bearing_deg, range) in [(-28.5, Some(range)), (170.25, None)] {
        let sight = Sight {
            bearing_deg,
            elevation_deg: -4.25,
            range,
        };
        envelope.report.sights.extend([sight]);
    }
    let (mut framer, mut bytes) = (Framer::new(), Vec::new());
    for (kind, write) in [
        (Kind::Report, binary::write_report as fn(&_, &mut _)),
        (Kind::Sights, binary::write_sights),
        (Kind::Smoothed, binary::write_smoothed),
    ] {
        framer
            .frame(kind, |p| write(&envelope, p), &mut bytes)
            .expect("short");
    }
    bytes
}

#[test]
fn tracks_and_directions_are_read_in_c_and_in_python() {
    let folder = Folder::new();
    let path = folder.path("frames");
    std::fs::write(&path, tracked()).expect("a file");
    if let Some(program) = read_reports(&folder) {
        let output = Process::new(&program)
            .stdin(File::open(&path).expect("a file"))
            .output()
            .expect("the reader");
        let text = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].ends_with(" track 3") && lines[2].ends_with(" track 42"),
            "{text}"
        );
        assert_eq!(
            lines[3..],
            [
                "sights of report 9 of run 1: 2",
                "  bearing -28.50 elevation -4.25 range 2.50 m, sd 0.25",
                "  bearing 170.25 elevation -4.25",
                "smoothed scores of report 9 of run 1: 2",
                "  0.750",
                "  0.500 continued"
            ]
        );
    }
    let Some(mut python) = python() else { return };
    let script = r#"
import json, sys
sys.path.insert(0, sys.argv[1])
import tarsier_client as t
frames = [t.unframe(f) for f in open(sys.argv[2], "rb").read().split(b"\0") if f]
(report, _, payload), (sights, number, more), (smoothed, _, most) = frames
assert (report, sights, smoothed, number) == (t.REPORT, t.SIGHTS, t.SMOOTHED, 1)
print(json.dumps([[d["id"] for d in t.read_report(payload)["detections"]], t.read_sights(more), t.read_smoothed(most)]))
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
    assert_eq!(read[0], json!(["3", "42"]));
    assert_eq!(
        read[1],
        json!({"type":"sights","header":{"seq":9},"run":1,"sights":[
            {"bearing_deg":-28.5,"elevation_deg":-4.25,"range_m":2.5,"range_sd_m":0.25},
            {"bearing_deg":170.25,"elevation_deg":-4.25}]})
    );
    let smoothed = &read[2]["smoothed"];
    assert_eq!(smoothed[1]["continued"], true);
    assert!(smoothed[0].get("continued").is_none(), "{smoothed}");
    let score = |i: usize| smoothed[i]["smoothed_score"].as_f64().expect("a score");
    assert!((score(0) - 0.75).abs() < 1e-4 && (score(1) - 0.5).abs() < 1e-4);
}

#[test]
fn commands_written_in_c_are_read_whatever_their_length() {
    use tarsier::protocol::frame::{Deframer, Kind};
    let folder = Folder::new();
    let Some(program) = read_reports(&folder) else {
        return;
    };
    for length in [1, 100, 243, 244, 245, 246, 500, 1000, 3000] {
        let json = "x".repeat(length);
        let output = Process::new(&program).args(["9", &json]).output();
        let bytes = output.expect("the program").stdout;
        let mut seen = 0;
        Deframer::new().push(&bytes, |frame| {
            let frame = frame.expect("a frame");
            assert_eq!((frame.kind, frame.sequence), (Kind::Command, 9));
            assert_eq!(frame.payload, json.as_bytes());
            seen += 1;
        });
        assert_eq!(seen, 1, "{length}");
    }
}

#[test]
fn the_ros_bridge_converts_reports_and_says_what_it_needs_without_ros() {
    let Some(mut plain) = python() else { return };
    let script = r#"
import json, sys, types
sys.path.insert(0, sys.argv[1])
import ros2_bridge as b
class Message(types.SimpleNamespace):
    def __getattr__(self, name):
        value = [] if name in ("detections", "results") else Message()
        setattr(self, name, value)
        return value
report = json.loads(sys.argv[2])
a = b.fill(Message(), report, "camera", 0.0, Message, Message)
assert (a.header.stamp.sec, a.header.stamp.nanosec, a.header.frame_id) == (1700000000, 25, "camera")
d, = a.detections
assert (d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.size_x, d.bbox.size_y) == (320.0, 240.0, 100.0, 160.0)
assert (d.results[0].hypothesis.class_id, d.results[0].hypothesis.score, d.id) == ("person", 0.875, "")
report["detections"].append(dict(report["detections"][0], continued=True))
assert [len(b.fill(Message(), report, "camera", 0.0, Message, Message, c).detections) for c in (True, False)] == [2, 1]
del report["header"]["stamp"]
assert b.stamp(report, 10.5) == (10, 478500000)
assert b.texts('["a, b", "c"]') == ["a, b", "c"] and b.texts("a, b") == ["a", "b"] and b.texts("7") == ["7"]
"#;
    let report = json!({"header":{"seq":1,"stamp":{"sec":1_700_000_000,"nanosec":25}},"latency_us":21500,"detections":[
        {"bbox":{"center":{"x":320.0,"y":240.0},"size_x":100.0,"size_y":160.0},"results":[{"class_id":"person","score":0.875}]}]});
    let output = plain
        .args(["-c", script])
        .arg(client(""))
        .arg(report.to_string())
        .output()
        .expect("python");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let Some(mut node) = python() else { return };
    // -I: without site-packages of a user, and without an environment that ROS set up
    let script = "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['rclpy'] = None; import ros2_bridge; ros2_bridge.main()";
    let output = node.args(["-I", "-c", script]).arg(client("")).output();
    let output = output.expect("python");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && !stderr.contains("Traceback"),
        "{stderr}"
    );
    assert!(
        stderr.contains("setup.bash") && stderr.contains("vision-msgs"),
        "{stderr}"
    );
}

#[test]
fn clients_read_what_the_program_itself_reports_on_both_links() {
    let Some(mut python) = python() else { return };
    let folder = Folder::new();
    let Some(reader) = read_reports(&folder) else {
        return;
    };
    let (path, photos) = (folder.path("socket"), client("../../models/sample"));
    let (master, device) = pty();
    let config = folder.path("board.toml");
    let text = format!(
        "[source]\nkind = \"files\"\npath = {photos:?}\nrepeat = true\nfps = 20\n\
         [engine]\nthreads = 1\n\
         [prompts]\nlist = [\"cat\", \"person\"]\nthreshold = 0.02\n\
         [[links.socket]]\npath = {path:?}\n\
         [[links.serial]]\npath = {device:?}\nspeed = 4000000\n"
    );
    std::fs::write(&config, text).expect("a file");
    let program = Process::new(env!("CARGO_BIN_EXE_tarsier"))
        .args(["run", "--pack"])
        .arg(client("../../models/tarsier-s.tarsier"))
        .arg("--config")
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    let _program = Feeding::from(program);
    super::until("the socket", || path.exists());
    python
        .arg(client("tarsier_client.py"))
        .arg(&path)
        .args(["--command", r#"{"command":"get_prompts"}"#])
        .args(["--count", "10"]);
    let messages = messages(python);
    assert_eq!(
        messages[0]["answer"]["prompts"]["names"],
        json!(["cat", "person"])
    );
    let reports = of_type(&messages, "report");
    assert_eq!(reports.len(), 10);
    let names = reports
        .iter()
        .flat_map(|r| r["detections"].as_array().expect("a list"))
        .map(|d| d["results"][0]["class_id"].as_str().expect("a name"));
    assert!(names.clone().count() > 0 && names.clone().all(|n| n == "cat" || n == "person"));

    let mut reader = Process::new(reader)
        .stdin(Stdio::from(master))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the reader");
    let lines = BufReader::new(reader.stdout.take().expect("a pipe")).lines();
    let run = reports[0]["run"].as_u64().expect("a number");
    let mut read = 0;
    for line in lines {
        let line = line.expect("text");
        if line.starts_with("report ") {
            assert!(line.contains(&format!(" of run {run}: ")), "{line}");
            read += 1;
        }
        if read == 10 {
            break;
        }
    }
    assert_eq!(read, 10);
    let _ = reader.kill();
    let _ = reader.wait();
}
