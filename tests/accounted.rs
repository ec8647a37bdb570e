//! Folders, batches, streams: every entry, every photo, every frame is accounted for, whatever is
//! between them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};
use serde_json::{Value, json};

mod program;

use program::{Client, Folder, PATIENCE, Program, command, root};

const COFFEE: &str = "models/sample/coffee.jpg";
const CHELSEA: &str = "models/sample/chelsea.jpg";

/// The program with the default pack, on one thread, whatever the environment says.
fn tarsier(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarsier"));
    command
        .current_dir(root())
        .args(arguments)
        .args(["--threads", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in ["TARSIER_PACK", "TARSIER_LOG", "NOTIFY_SOCKET", "HOME"] {
        command.env_remove(name);
    }
    command
        .env_remove("XDG_CACHE_HOME")
        .env_remove("CACHE_DIRECTORY");
    command
}

/// Exit code, stdout, stderr; fails instead of waiting for ever.
fn done(command: &mut Command) -> (Option<i32>, String, String) {
    let child = command.spawn().expect("the program starts");
    ended(child)
}

fn ended(mut child: Child) -> (Option<i32>, String, String) {
    fn read(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut from) = from {
                from.read_to_string(&mut text).expect("UTF-8");
            }
            text
        })
    }
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let end = Instant::now() + 2 * PATIENCE;
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().expect("a child");
                panic!("it does not end: {}", err.join().expect("text"));
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    let code = status.code().or_else(|| status.signal().map(|s| 128 + s));
    (code, out.join().expect("text"), err.join().expect("text"))
}

#[track_caller]
fn says(stderr: &str, words: &[&str]) {
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in:\n{stderr}");
    }
}

fn copy(photo: &str, to: &Path) {
    fs::copy(root().join(photo), to).expect("a copy");
}

/// A folder with a photo so many times.
fn many(folder: &Folder, count: usize) -> String {
    let photos = folder.path("photos");
    fs::create_dir(&photos).expect("a folder");
    copy(COFFEE, &photos.join("000.jpg"));
    for i in 1..count {
        fs::hard_link(photos.join("000.jpg"), photos.join(format!("{i:03}.jpg"))).expect("a link");
    }
    folder.text("photos")
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = vec![90; (width * height * 3) as usize];
    JpegEncoder::new_with_quality(&mut bytes, 90)
        .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
        .expect("a picture");
    bytes
}

fn results(text: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    all.as_array().expect("one array").clone()
}

// Batches.

#[test]
fn every_entry_of_a_folder_is_done_or_named_and_the_exit_code_says_so() {
    let folder = Folder::new();
    copy(COFFEE, &folder.path("a.jpg"));
    symlink("/nowhere/b.jpg", folder.path("b.jpg")).expect("a link");
    folder.file("notes.txt", "words");
    folder.file("photo.tif", b"II*\0\x08\0\0\0\0\0");
    folder.file(".hidden.jpg", "words");
    folder.fifo("pipe");
    fs::create_dir(folder.path("sub")).expect("a folder");
    copy(CHELSEA, &folder.path("sub/c.jpg"));
    let path = folder.0.to_str().expect("UTF-8");
    let (code, out, err) = done(&mut tarsier(&["detect", path]));
    assert_eq!(code, Some(66), "{err}");
    says(
        &err,
        &[
            "b.jpg: a link to /nowhere/b.jpg, which is not there",
            "notes.txt is a text",
            "photo.tif",
            "pipe is a FIFO",
            "sub is a folder",
            "--recursive",
            ".hidden.jpg",
        ],
    );
    assert!(out.contains("a.jpg") && !out.contains("c.jpg"), "{out}");
    let (_, out, err) = done(&mut tarsier(&["detect", path, "--recursive"]));
    assert!(out.contains("a.jpg") && out.contains("sub/c.jpg"), "{out}");
    assert!(!err.contains("sub is a folder"), "{err}");
    // a foreign file alone is damaged input
    let only = Folder::new();
    copy(COFFEE, &only.path("a.jpg"));
    let path = only.0.to_str().expect("UTF-8").to_owned();
    assert_eq!(done(&mut tarsier(&["detect", &path])).0, Some(0));
    only.file("notes.txt", "words");
    assert_eq!(done(&mut tarsier(&["detect", &path])).0, Some(65));
}

#[test]
fn copies_that_are_drawn_into_a_folder_of_the_photos_are_no_photos() {
    let folder = Folder::new();
    copy(COFFEE, &folder.path("a.jpg"));
    let (path, drawn) = (folder.0.to_str().expect("UTF-8"), folder.text("drawn"));
    for _ in 0..2 {
        let all = ["detect", path, "--recursive", "--draw", &drawn];
        let (code, out, err) = done(&mut tarsier(&all));
        assert_eq!(code, Some(0), "{err}");
        assert!(!out.contains("drawn"), "{out}");
    }
}

#[test]
fn a_photo_smaller_than_the_region_is_named_and_ends_no_other() {
    let folder = Folder::new();
    copy(COFFEE, &folder.path("a.jpg"));
    folder.file("b.jpg", jpeg(64, 48));
    copy(CHELSEA, &folder.path("c.jpg"));
    let path = folder.0.to_str().expect("UTF-8");
    let (code, out, err) = done(&mut tarsier(&[
        "detect",
        path,
        "--region",
        "100,100,200,200",
        "--format",
        "json",
    ]));
    assert_eq!(code, Some(64), "{err}");
    says(&err, &["b.jpg", "64x48"]);
    let names: Vec<bool> = ["a.jpg", "c.jpg"].map(|name| out.contains(name)).to_vec();
    assert_eq!((names, out.lines().count()), (vec![true, true], 2), "{out}");
}

#[test]
fn a_signal_ends_a_batch_between_two_photos_and_loses_nothing() {
    let folder = Folder::new();
    let photos = many(&folder, 300);
    for signal in ["TERM", "INT"] {
        let mut child = tarsier(&["detect", &photos, "--format", "json"])
            .spawn()
            .expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        out.read_line(&mut first)
            .expect("a line while the others are looked at");
        kill(signal, child.id());
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("text");
        let lines = first + &rest;
        let (code, _, err) = ended(child);
        assert_eq!(
            code,
            Some(if signal == "TERM" { 143 } else { 130 }),
            "{err}"
        );
        assert!(lines.lines().count() < 300, "it ended early");
        for line in lines.lines() {
            serde_json::from_str::<Value>(line).expect("whole lines");
        }
        says(&err, &[signal, "of 300 photos"]);
    }
}

fn kill(signal: &str, pid: u32) {
    let done = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    assert!(done.expect("kill").success());
}

#[test]
fn cocos_array_is_valid_whenever_the_process_ends() {
    let folder = Folder::new();
    let photos = many(&folder, 300);
    for signal in ["TERM", "KILL"] {
        let to = folder.path("found.json");
        let child = tarsier(&["detect", &photos, "--format", "coco"])
            .stdout(File::create(&to).expect("a file"))
            .spawn()
            .expect("it starts");
        let end = Instant::now() + PATIENCE;
        while fs::metadata(&to).expect("a file").len() < 500 {
            assert!(Instant::now() < end, "results come while it runs");
            thread::sleep(Duration::from_millis(5));
        }
        kill(signal, child.id());
        ended(child);
        let found = results(&fs::read_to_string(&to).expect("text"));
        let photos = found.last().expect("results")["image_id"].as_u64();
        assert!(photos.is_some_and(|n| (1..300).contains(&n)), "{photos:?}");
    }
}

#[test]
fn a_reader_that_is_gone_stops_the_work_at_once() {
    let folder = Folder::new();
    let photos = many(&folder, 300);
    for format in ["text", "coco"] {
        let drawn = folder.text(format);
        // nothing is found: no result tells that nobody reads
        let all = [
            "detect",
            &photos,
            "--format",
            format,
            "--draw",
            &drawn,
            "--threshold",
            "1",
        ];
        let mut child = tarsier(&all).spawn().expect("it starts");
        let end = Instant::now() + PATIENCE;
        let count = || fs::read_dir(&drawn).map_or(0, Iterator::count);
        while count() == 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        drop(child.stdout.take());
        let (code, _, err) = ended(child);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(count() < 300, "{} copies", count());
    }
}

#[test]
fn a_full_disk_is_74_and_leaves_whole_results() {
    let (code, _, err) = done(
        tarsier(&["detect", "models/sample"]).stdout(File::create("/dev/full").expect("a device")),
    );
    assert_eq!(code, Some(74), "{err}");
    let folder = Folder::new();
    let photos = many(&folder, 60);
    for format in ["json", "coco", "text"] {
        let to = folder.text("found");
        // files of 2 or 4 KiB at most, the signal about it ignored: what a disk of that size would
        // do
        let script = r#"trap '' XFSZ; ulimit -f 4; exec "$@" > "$TO""#;
        let program = env!("CARGO_BIN_EXE_tarsier");
        let (code, _, err) = done(
            Command::new("sh")
                .current_dir(root())
                .env("TO", &to)
                .env_remove("TARSIER_PACK")
                .args(["-c", script, "sh", program, "detect", &photos])
                .args(["--format", format, "--threads", "1", "--no-cache"])
                .stderr(Stdio::piped()),
        );
        assert_eq!(code, Some(74), "{err}");
        says(&err, &["cannot write results"]);
        let text = fs::read_to_string(&to).expect("text");
        assert!(text.len() > 1000, "{text}");
        match format {
            "coco" => assert!(results(&text).len() > 3),
            "json" => text.lines().for_each(|line| {
                serde_json::from_str::<Value>(line).expect("whole lines");
            }),
            _ => assert!(text.ends_with('\n'), "{text}"),
        }
    }
}

#[test]
fn coco_results_have_numbers_and_tell_photos_of_one_name_apart() {
    let folder = Folder::new();
    for (name, photo) in [("one", COFFEE), ("two", COFFEE)] {
        fs::create_dir(folder.path(name)).expect("a folder");
        copy(photo, &folder.path(name).join("x.jpg"));
    }
    let (one, two) = (folder.text("one"), folder.text("two"));
    let options = ["--prompt", "person", "--prompt", "bowl", "--format", "coco"];
    for task in ["detect", "segment"] {
        let all = [&[task, &one, CHELSEA, &two][..], &options].concat();
        let (code, out, err) = done(&mut tarsier(&all));
        assert_eq!(code, Some(0), "{err}");
        let bowls: Vec<Value> = results(&out)
            .into_iter()
            .filter(|r| r["category_name"] == "bowl")
            .collect();
        let files: BTreeSet<String> = bowls.iter().map(|r| r["file_name"].to_string()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        for bowl in &bowls {
            assert_eq!(bowl["category_id"], 2, "{bowl}");
            let place = if bowl["file_name"].to_string().contains("/one/") {
                1
            } else {
                3
            };
            assert_eq!(bowl["image_id"], place, "{bowl}");
        }
    }
    // one photo of a name goes by the name alone, as annotations have it
    let (_, out, _) = done(&mut tarsier(&[&["detect", &one][..], &options].concat()));
    assert_eq!(results(&out)[0]["file_name"], "x.jpg");
    let (_, _, err) = done(&mut tarsier(&[
        "segment", &one, "--format", "coco", "--shape", "polygons",
    ]));
    says(&err, &["not of its results"]);
}

// Lists.

#[test]
fn marks_and_line_ends_of_other_editors_are_no_part_of_a_name() {
    let folder = Folder::new();
    let common = ["detect", COFFEE, "--threshold", "0", "--format", "coco"];
    let asked = |options: &[&str]| {
        let (code, out, err) = done(&mut tarsier(&[&common[..], options].concat()));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out
    };
    let wanted = asked(&["--prompt", "dog", "--prompt", "cat"]);
    for (name, text) in [
        ("bom", "\u{FEFF}dog\ncat\n"),
        ("comment", "\u{FEFF}# animals\ndog\ncat"),
        ("cr", "dog\rcat\r"),
        ("crlf", "\u{FEFF}dog\r\n\r\ncat\r\n"),
        (
            "unseen",
            "do\u{200B}g\u{2060}\n\u{200E}cat\u{FE0F}\n\u{200D}\n",
        ),
    ] {
        let file = folder.file(name, text);
        assert_eq!(asked(&["--prompts", &file]), wanted, "{name}");
    }
    assert_eq!(
        asked(&["--prompt", "\u{FEFF}dog", "--prompt", "ca\u{AD}t"]),
        wanted
    );
    for (name, text) in [("bell", "dog\nc\u{7}at\n"), ("nul", "dog\nc\0at\n")] {
        let file = folder.file(name, text);
        let (code, _, err) = done(&mut tarsier(&["detect", COFFEE, "--prompts", &file]));
        assert_eq!(code, Some(65), "{err}");
        says(&err, &[&format!("{name}:2"), "control character U+000"]);
        let all = ["ground", COFFEE, "--sentences", &file];
        assert_eq!(done(&mut tarsier(&all)).0, Some(65));
    }
    let (code, _, err) = done(&mut tarsier(&[
        "detect",
        COFFEE,
        "--prompt",
        "c\u{1B}[31mat",
    ]));
    assert_eq!(code, Some(64), "{err}");
    says(&err, &["U+001B"]);
    let config = folder.file("c.toml", "prompts.list = [\"cup\", \"c\\u0007at\"]\n");
    let (code, _, err) = done(&mut tarsier(&[
        "run",
        "--config",
        &config,
        "--check-config",
    ]));
    assert_eq!(code, Some(78), "{err}");
    says(&err, &["c.toml:1", "prompts.list", "U+0007"]);
    let wide = folder.file("wide", b"\xFF\xFEd\0o\0g\0");
    let (code, _, err) = done(&mut tarsier(&["detect", COFFEE, "--prompts", &wide]));
    assert_eq!(code, Some(65), "{err}");
    says(&err, &["UTF-16"]);
}

#[test]
fn what_has_no_end_is_refused_as_photo_list_and_configuration() {
    let folder = Folder::new();
    let fifo = folder.fifo("fifo");
    for (path, kind) in [(fifo.as_str(), "a FIFO"), ("/dev/zero", "a device")] {
        let sentences = ["ground", COFFEE, "--sentences", path];
        let shown = format!("{path}@1,1,9,9=thing");
        for arguments in [
            &["detect", path][..],
            &["detect", COFFEE, "--prompts", path],
            &["detect", COFFEE, "--camera", path],
            &["detect", COFFEE, "--exemplar", &shown],
            &["run", "--config", path],
            &sentences,
        ] {
            let (code, out, err) = done(&mut tarsier(arguments));
            assert_eq!((code, out.as_str()), (Some(66), ""), "{arguments:?}: {err}");
            says(&err, &[path, kind]);
        }
    }
    let long = folder.file("long", vec![b'x'; (16 << 20) + 1]);
    let (code, _, err) = done(&mut tarsier(&["detect", COFFEE, "--prompts", &long]));
    assert_eq!(code, Some(65), "{err}");
    says(&err, &["16777216 bytes"]);
}

// Streams.

/// Reports of a source that ends; and what was said.
fn reports(source: &str, more: &[&str]) -> (String, String) {
    let all = [&["run", "--source", source], more].concat();
    let (code, out, err) = done(&mut tarsier(&all));
    assert_eq!(code, Some(0), "{err}");
    (out, err)
}

/// A file of these pictures, one behind the other.
fn film(folder: &Folder, name: &str, pictures: &[&[u8]]) -> String {
    folder.file(name, pictures.concat())
}

#[test]
fn a_recording_is_read_whole_and_gives_the_same_bytes_every_time() {
    let folder = Folder::new();
    let photo = fs::read(root().join(COFFEE)).expect("a photo");
    let broken = b"\xFF\xD8\xFF\xC4\0\x01 noise".as_slice();
    let path = film(
        &folder,
        "a.mjpeg",
        &[
            &photo, &photo, broken, &photo, &photo, &photo, &photo, &photo,
        ],
    );
    let source = format!("mjpeg:{path}");
    let (first, _) = reports(&source, &[]);
    let lines: Vec<Value> = first
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 7);
    for (i, report) in lines.iter().enumerate() {
        assert_eq!(report["header"]["seq"], i);
        assert_eq!(
            report["captured_ns"],
            (i as f64 * 1e9 / 30.0).round() as u64
        );
        assert_eq!(report["dropped"]["late"], 0);
        assert_eq!(
            report["dropped"]["damaged"],
            u64::from(i >= 2),
            "as it was then"
        );
        assert_eq!(report["latency_us"], 0);
    }
    assert!(
        lines[6]["detections"][0]["id"].is_string() || lines[6]["detections"][0]["id"].is_u64()
    );
    assert_eq!(reports(&source, &[]).0, first, "another run");
    // another CPU, which takes its time: a small model and four frames
    let short = film(&folder, "short.mjpeg", &[&photo, &photo, &photo, &photo]);
    let small = ["--pack", "models/tarsier-n.tarsier"];
    let on = |isa: &[&str]| reports(&format!("mjpeg:{short}"), &[&small[..], isa].concat()).0;
    assert_eq!(on(&["--isa", "scalar"]), on(&[]), "another CPU");
    // as standard input
    let (code, out, err) =
        done(tarsier(&["run", "--source", "mjpeg:-"]).stdin(File::open(&path).expect("a film")));
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out, first);
    let (photos, _) = reports("files:models/sample", &[]);
    assert_eq!(reports("files:models/sample", &[]).0, photos);
}

#[test]
fn pictures_without_an_end_marker_are_taken_and_that_is_said() {
    let folder = Folder::new();
    let photo = fs::read(root().join(COFFEE)).expect("a photo");
    let bare = photo.strip_suffix(b"\xFF\xD9").expect("its end");
    let path = film(&folder, "a.mjpeg", &[bare, bare, &photo, bare]);
    let (out, err) = reports(&format!("mjpeg:{path}"), &["--track", "off"]);
    let all: Vec<Value> = out
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["detections"].clone())
        .collect();
    assert_eq!(all.len(), 4, "{err}");
    assert!(all.iter().all(|found| *found == all[2]), "{all:?}");
    says(&err, &["no end marker"]);
}

#[test]
fn a_stream_that_is_something_else_is_named() {
    let folder = Folder::new();
    let png = fs::read(root().join("tests/data/frame.png"))
        .unwrap_or_else(|_| b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR".to_vec());
    let words = "words about nothing\n".repeat(1000);
    for (name, bytes, what) in [
        (
            "h264",
            b"\0\0\0\x01\x67\xF4\0\x0C\x91\x9B\x28\x28".repeat(99),
            "H.264",
        ),
        (
            "mp4",
            b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2".repeat(99),
            "MP4",
        ),
        ("png", png, "PNG"),
        ("text", words.into_bytes(), "text"),
        ("y4m", b"YUV4MPEG2 W64 H48\nFRAME\n".to_vec(), "y4m:PATH"),
        ("empty", Vec::new(), "0 bytes"),
        ("noise", b"\xFF\xD8\xFF\xC4\x01".repeat(50), "250 bytes, "),
    ] {
        let path = folder.file(name, &bytes);
        let (code, out, err) = done(&mut tarsier(&["run", "--source", &format!("mjpeg:{path}")]));
        assert_eq!((code, out.as_str()), (Some(65), ""), "{name}: {err}");
        says(&err, &[&format!("mjpeg:{path}"), what]);
        // through a pipe
        let mut child = tarsier(&["run", "--source", "mjpeg:-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        // it may be refused before all of it was taken
        let _ = child.stdin.take().expect("a pipe").write_all(&bytes);
        let (code, _, err) = ended(child);
        assert_eq!(code, Some(65), "{name}: {err}");
        says(&err, &[what]);
    }
    let path = folder.file("a.mp4", b"\0\0\0\x20ftypisom".repeat(999));
    let (code, _, err) = done(&mut tarsier(&[
        "run",
        "--source",
        &format!("grey:32x32:{path}"),
    ]));
    assert_eq!(code, Some(65), "{err}");
    says(&err, &["MP4, not raw pixels"]);
}

#[test]
fn bytes_that_are_no_picture_are_said_to_be_none_and_the_camera_is_not_lost() {
    let folder = Folder::new();
    let (fifo, socket) = (folder.fifo("camera"), folder.text("sock"));
    let config = folder.file(
        "c.toml",
        format!("[source]\nkind = \"mjpeg\"\npath = \"{fifo}\"\ntimeout_ms = 300\n"),
    );
    let _program = Program::of(&mut command(&["--config", &config, "--socket", &socket]));
    let mut client = Client::connect(&socket);
    let mut writer = File::options().write(true).open(&fifo).expect("a reader");
    writer
        .write_all(&b"\xFF\xD8\xFF\xC4\0\x01".repeat(100))
        .expect("a reader");
    let none = |m: &Value| m["event"] == "state" && m["why"].to_string().contains("none whole");
    let event = client.until("none whole", none);
    let why = event["why"].to_string();
    assert!(why.contains("600 bytes, 100 damaged, none whole"), "{why}");
    assert!(!why.contains("camera lost"), "{why}");
    // and a picture ends it
    let photo = fs::read(root().join(COFFEE)).expect("a photo");
    writer.write_all(&photo).expect("a reader");
    writer.write_all(&photo).expect("a reader");
    client.state("running");
}

#[test]
fn a_fifo_with_something_else_is_named_and_the_next_writer_is_waited_for() {
    let folder = Folder::new();
    let (fifo, socket) = (folder.fifo("camera"), folder.text("sock"));
    let source = format!("mjpeg:{fifo}");
    let _program = Program::of(&mut command(&["--source", &source, "--socket", &socket]));
    let mut client = Client::connect(&socket);
    let open = || File::options().write(true).open(&fifo).expect("a FIFO");
    let mut writer = open();
    let video = b"\0\0\0\x01\x67\xF4\0\x0C\x91\x9B\x28\x28".repeat(10);
    writer.write_all(&video).expect("a reader");
    let named = |m: &Value| m["event"] == "state" && m["why"].to_string().contains("H.264");
    client.until("H.264", named);
    drop(writer);
    let mut writer = open();
    let photo = fs::read(root().join(COFFEE)).expect("a photo");
    let (step, end) = (Duration::from_millis(100), Instant::now() + PATIENCE);
    while client.message(step).is_none_or(|m| m["type"] != "report") {
        assert!(Instant::now() < end, "the next writer's pictures are seen");
        // it may be between two openings
        if writer.write_all(&photo).is_err() {
            writer = open();
        }
    }
}

#[test]
fn y4m_says_its_size_and_rate() {
    let folder = Folder::new();
    let mut bytes = b"YUV4MPEG2 W63 H47 F10:1 Ip C420jpeg\n".to_vec();
    for _ in 0..3 {
        bytes.extend(b"FRAME\n");
        bytes.extend(vec![128; 63 * 47 + 2 * 32 * 24]);
    }
    let path = folder.file("a.y4m", &bytes);
    let (out, _) = reports(&format!("y4m:{path}"), &[]);
    let all: Vec<Value> = out
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    let times: Vec<&Value> = all.iter().map(|r| &r["captured_ns"]).collect();
    assert_eq!(times, [&json!(0), &json!(100_000_000), &json!(200_000_000)]);
    assert_eq!(
        (&all[0]["width"], &all[0]["height"]),
        (&json!(63), &json!(47))
    );
    for (name, text, why) in [
        ("ten", "YUV4MPEG2 W64 H48 C420p10\n", "420p10"),
        ("lost", "YUV4MPEG2 W2 H2\nNOFRAME\n", "frame 1"),
        ("words", "hello", "begin with YUV4MPEG2"),
    ] {
        let path = folder.file(name, text);
        let (code, _, err) = done(&mut tarsier(&["run", "--source", &format!("y4m:{path}")]));
        assert_eq!(code, Some(65), "{err}");
        says(&err, &[why]);
    }
}

#[test]
fn rows_with_padding_are_read_and_a_length_that_does_not_fit_is_said() {
    let folder = Folder::new();
    // a photo in rows of 640 bytes, as a camera pads them, and without padding
    let image = image::open(root().join(COFFEE))
        .expect("a photo")
        .into_luma8();
    let (width, height) = image.dimensions();
    let plain = image.into_raw();
    let padded: Vec<u8> = plain
        .chunks(width as usize)
        .flat_map(|row| [row, &vec![0; 640 - row.len()]].concat())
        .collect();
    let plain = folder.file("plain", plain.repeat(3));
    let padded = folder.file("padded", padded.repeat(3));
    let track = ["--track", "off"];
    let (wanted, err) = reports(&format!("grey:{width}x{height}:{plain}"), &track);
    assert!(!err.contains("multiple"), "{err}");
    assert_eq!(wanted.lines().count(), 3);
    let (found, err) = reports(&format!("grey:{width}x{height}/640:{padded}"), &track);
    assert_eq!(found, wanted, "{err}");
    let config = folder.file(
        "c.toml",
        format!(
            "[source]\nkind = \"raw\"\npath = {padded:?}\nformat = \"grey\"\nwidth = {width}\nheight = {height}\nstride = 640\n"
        ),
    );
    let (_, found, err) = done(&mut tarsier(&[
        "run", "--config", &config, "--track", "off",
    ]));
    assert_eq!(found, wanted, "{err}");
    // 600 pixels a row: without `stride` it does not come out even
    let (_, err) = reports(&format!("grey:{width}x{height}:{padded}"), &track);
    says(
        &err,
        &[
            "768000 bytes",
            "240000 bytes",
            "48000 are left over",
            "stride = 640",
        ],
    );
}
