//! What a frame allocates in `run` once everything is warm, from the source to the reader of a socket: nothing that is ours.
//!
//! Each case is a process of its own, this program again, in which the loop runs as `tarsier run` starts it and every allocation of
//! every thread of it is counted; those of the writer and the readers, which stand for camera and robot, are not.
//! `TARSIER_WHERE=1` prints where they come from.

// a global allocator cannot be written without it
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read, Write},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use tarsier::{
    graph::op::Execution,
    kernels::Isa,
    run::{self, Options, config::Config, sandbox::Walls},
};

#[path = "program/mod.rs"]
mod program;

use program::{Client, Folder, root};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
/// Whether it is asked where allocations come from.
static ASKED: AtomicBool = AtomicBool::new(false);
static WHERE: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// This thread's allocations are the harness's.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !OURS.get() {
            COUNT.fetch_add(1, Relaxed);
            BYTES.fetch_add(layout.size(), Relaxed);
            if ASKED.load(Relaxed) {
                OURS.set(true);
                note(layout.size());
                OURS.set(false);
            }
        }
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above, and `at` came from there.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Remembers who asked for memory: the functions of this crate and of those that it calls.
fn note(bytes: usize) {
    let trace = Backtrace::force_capture().to_string();
    let names = trace.lines().filter(|line| !line.trim().starts_with("at "));
    let wanted = ["tarsier::", "zune", "tract", "jpeg_decoder"];
    let names = names.filter(|name| wanted.iter().any(|part| name.contains(part)));
    let short = |name: &str| name.split_once(": ").map_or("", |(_, n)| n).to_owned();
    let names: Vec<String> = names.take(5).map(short).collect();
    let key = format!("{bytes:>8} bytes: {}", names.join(" < "));
    *WHERE.lock().expect("a list").entry(key).or_default() += 1;
}

/// Frames before any is counted, and frames that are.
const WARM: usize = 30;
const FRAMES: usize = 24;

/// What a frame allocates in tract, times and bytes: two small lists, of the head, which has more outputs than tract has room for.
const TRACT: [usize; 2] = [2, 128];

/// And in zune-jpeg, rows of the picture, in proportion to its width: of one of 600 x 400 whose chroma is halved, as cameras send
/// it, and of one whose chroma is whole.
const JPEG: [[usize; 2]; 2] = [[17, 103_632], [4, 30_288]];

/// The same of a progressive one whose chroma is halved, of which all coefficients are kept until the last scan.
const PROGRESSIVE: [usize; 2] = [20, 824_720];

/// A source, a task, and what else there is.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    source: &'static str,
    task: &'static str,
    /// Pictures that are read in several passes.
    progressive: bool,
    /// A line of frames and one of sentences beside the socket.
    lines: bool,
    /// A name that is shown before anything is counted.
    enrolled: bool,
}

const PLAIN: Case = Case {
    name: "",
    source: "rgb24:600x400",
    task: "",
    progressive: false,
    lines: false,
    enrolled: false,
};

const CASES: [Case; 8] = [
    Case {
        name: "progressive MJPEG",
        source: "mjpeg",
        progressive: true,
        ..PLAIN
    },
    Case {
        name: "raw frames with serial lines",
        lines: true,
        ..PLAIN
    },
    Case {
        name: "raw frames with serial lines and presence",
        task: "task.presence = true",
        lines: true,
        ..PLAIN
    },
    Case {
        name: "raw frames and a name that was shown",
        enrolled: true,
        ..PLAIN
    },
    Case {
        name: "raw frames",
        ..PLAIN
    },
    Case {
        name: "MJPEG",
        source: "mjpeg",
        ..PLAIN
    },
    Case {
        name: "MJPEG and panoptic with every task",
        source: "mjpeg",
        task: "task = { masks = true, panoptic = true, everything = true, ground = [\"the cup\", \"the left bowl\"] }",
        ..PLAIN
    },
    Case {
        name: "raw frames, a part of them, and semantic",
        task: "task = { masks = true, semantic = true, everything = true }\nregion = { x_offset = 40, y_offset = 0, width = 500, height = 390 }",
        ..PLAIN
    },
];

impl Case {
    /// The most that its frame of this number may allocate, times and bytes.
    fn most(&self, frame: usize) -> [usize; 2] {
        let jpeg = match self.source {
            "mjpeg" if self.progressive => PROGRESSIVE,
            "mjpeg" => JPEG[frame % 2],
            _ => [0; 2],
        };
        [TRACT[0] + jpeg[0], TRACT[1] + jpeg[1]]
    }
}

#[test]
fn a_frame_allocates_nothing_of_ours_with_mjpeg_and_every_task() {
    for case in CASES {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "counts", "--ignored", "--nocapture"])
            .env("TARSIER_CASE", case.name)
            .env_remove("XDG_CACHE_HOME")
            .env_remove("CACHE_DIRECTORY")
            .env_remove("HOME")
            .output()
            .expect("it runs");
        let out = String::from_utf8_lossy(&child.stdout).into_owned();
        let said = String::from_utf8_lossy(&child.stderr).into_owned();
        let line = out.lines().find_map(|l| l.split_once("counted: "));
        let (_, line) = line.unwrap_or_else(|| panic!("{}: {out}\n{said}", case.name));
        let numbers: Vec<usize> = line
            .split_whitespace()
            .map(|n| n.parse().expect("a number"))
            .collect();
        eprintln!("{out}{}: allocations and bytes {numbers:?}", case.name);
        assert_eq!(numbers.len(), 2 * FRAMES, "{line}");
        // every frame, and no more than what dependencies need
        for (i, frame) in numbers.as_chunks::<2>().0.iter().enumerate() {
            let most = case.most(i);
            let within = frame.iter().zip(most).all(|(&is, most)| is <= most);
            assert!(within, "{}: frame {i}: {frame:?} of {most:?}", case.name);
        }
    }
}

/// The frames that a case's source delivers in turn: a photo, and the same seen in a mirror.
fn frames(case: &Case) -> [Vec<u8>; 2] {
    if case.progressive {
        let path = root().join("tests/data/progressive.jpg");
        let photo = std::fs::read(path).expect("a photo");
        return [photo.clone(), photo];
    }
    let source = case.source;
    let path = root().join("models/sample/coffee.jpg");
    let photo = tarsier::frame::file::Photo::open(&path).expect("a photo");
    let (width, height) = (photo.size().width, photo.size().height);
    let rows = photo.pixels().chunks_exact(width as usize * 3);
    let mirrored = rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten());
    let mirrored: Vec<u8> = mirrored.copied().collect();
    if source != "mjpeg" {
        return [photo.into_pixels(), mirrored];
    }
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90)
        .encode(&mirrored, width, height, image::ExtendedColorType::Rgb8)
        .expect("a picture");
    [std::fs::read(path).expect("a photo"), bytes]
}

/// A serial line's other end, whose name the loop opens; what comes is counted, on a thread of the harness.
fn line() -> (String, Arc<AtomicUsize>) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a pseudo-terminal");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("a name");
    let came = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&came);
    thread::spawn(move || {
        OURS.set(true);
        let mut master = File::from(master);
        let mut bytes = [0; 4096];
        loop {
            match master.read(&mut bytes) {
                Ok(n) => drop(count.fetch_add(n, Relaxed)),
                // nobody has the other end open yet
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    (name.into_string().expect("UTF-8"), came)
}

#[test]
#[ignore = "a process of its own, which the test beside it starts"]
fn counts() {
    OURS.set(true);
    let name = std::env::var("TARSIER_CASE").expect("a case");
    let case = CASES.into_iter().find(|c| c.name == name).expect("a case");
    let folder = Folder::new();
    let (fifo, socket) = (folder.fifo("camera"), folder.text("sock"));
    let (mut lines, mut came) = (String::new(), Vec::new());
    if case.lines {
        for kind in ["serial", "text"] {
            let (name, count) = line();
            lines += &format!("[[links.{kind}]]\npath = \"{name}\"\nspeed = 921600\n");
            came.push(count);
        }
    }
    let text = format!(
        "sandbox.enabled = false\ntelemetry.period_s = 0\nheat.period_s = 600.0\nprompts.list = [\"cup\", \"bowl\", \"spoon\"]\nprompts.threshold = 0.05\n{}\n[[links.socket]]\npath = \"{socket}\"\n{lines}",
        case.task
    );
    let mut config = Config::from_toml(&text).unwrap_or_else(|(_, why)| panic!("{why}"));
    config.source = Some(format!("{}:{fifo}", case.source).parse().expect("a source"));
    config.check().expect("a configuration");
    let options = Options {
        config,
        pack: root().join("models/tarsier-s.tarsier"),
        execution: Execution {
            isa: Isa::best(),
            threads: 1,
        },
        default_prompts: Vec::new(),
        print: false,
        walls: Walls::default(),
    };
    // it ends with this process
    thread::spawn(move || {
        let ended = run::run(options, &mut || Err("not asked for".into()));
        eprintln!("it ended: {ended:?}");
    });
    let mut client = Client::connect(&socket);
    let mut camera = OpenOptions::new();
    let mut camera = camera.write(true).open(&fifo).expect("a reader");
    let frames = frames(&case);
    let mut counted = Vec::new();
    for i in 0..WARM + FRAMES {
        if i == WARM && std::env::var_os("TARSIER_WHERE").is_some() {
            ASKED.store(true, Relaxed);
        }
        if case.enrolled && i == 10 {
            let region = json!({"x_offset": 170, "y_offset": 18, "width": 248, "height": 225});
            client.give(&json!({"id": 1, "command": "enrol", "name": "my cup", "region": region}));
            thread::sleep(Duration::from_millis(60));
        }
        let heard: Vec<usize> = came.iter().map(|count| count.load(Relaxed)).collect();
        let before = (COUNT.load(Relaxed), BYTES.load(Relaxed));
        camera.write_all(&frames[i % 2]).expect("it reads");
        let report = client.report();
        assert!(
            report["detections"]
                .as_array()
                .is_some_and(|d| !d.is_empty())
        );
        if case.task.contains("everything") {
            assert!(
                report["segments"].as_array().is_some_and(|s| s.len() > 2),
                "{report}"
            );
            assert!(
                report["objects"].as_array().is_some_and(|o| o.len() > 1),
                "{report}"
            );
        }
        // what is done behind a report belongs to it
        thread::sleep(Duration::from_millis(60));
        let after = (COUNT.load(Relaxed), BYTES.load(Relaxed));
        for (count, before) in came.iter().zip(heard) {
            assert!(i < 5 || count.load(Relaxed) > before, "a line is silent");
        }
        if case.enrolled && i >= WARM {
            let shown = |d: &serde_json::Value| d["results"][0]["class_id"] == "my cup";
            let found = report["detections"].as_array().expect("a list");
            assert!(i % 2 == 1 || found.iter().any(shown), "{report}");
        }
        if i >= WARM {
            counted.push(format!("{} {}", after.0 - before.0, after.1 - before.1));
        }
    }
    ASKED.store(false, Relaxed);
    for (place, times) in &*WHERE.lock().expect("a list") {
        println!("{times:>6} times {place}");
    }
    println!("counted: {}", counted.join(" "));
    drop(folder);
    std::process::exit(0);
}
