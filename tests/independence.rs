//! What is found of a prompt does not depend on which others are asked beside it: with 1, 80, 2,967 and 10,000 of them, followed or
//! not, through the library and through the loop; nor on how much another one finds.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    process::Stdio,
    sync::OnceLock,
};

use serde_json::Value;
use tarsier::{
    Model, ModelOptions,
    frame::{Frame, file::Photo},
    geometry::Size,
    prompt::{
        PromptSet, Request,
        vocabulary::{Vocabulary, normalise},
        words::{Origin, Word, Words},
    },
    scene::{Detection, MAX_DETECTIONS, MAX_PER_PROMPT, Report},
    track::{self, Tracker},
};

mod program;

use program::{Client, Folder, Program, command, root};

const PACK: &str = "models/tarsier-s.tarsier";
const PHOTOS: [&str; 4] = ["astronaut", "chelsea", "coffee", "grace_hopper"];

/// Asked alone too: found in the photos, surely or not, and not at all.
const PROBES: [&str; 6] = ["person", "bowl", "tie", "cat", "coffee cup", "giraffe"];

/// More names than the vocabulary has: rows half way between two of its names.
fn more_words(model: &Model) -> Words {
    let vocabulary = model.lexicon().vocabulary();
    let count = vocabulary.entries().len() as u32;
    let between = |i: u32| {
        let (a, b) = (vocabulary.row(i % count), vocabulary.row(i * 31 % count));
        let values = a.values.iter().zip(&b.values);
        let mut row = a.clone();
        row.values = (values.map(|(a, b)| (i16::from(*a) + i16::from(*b)) / 2))
            .map(|v| v as i8)
            .collect();
        row.scale *= 1.3;
        Word::new(&format!("made up {i}"), Origin::Exemplars(1), Some(row))
    };
    let space = model.lexicon().space(model.pack()).expect("a space");
    let mut words = Words::new(space);
    words.add((1..7200).map(between), false).expect("words");
    words
}

/// A model whose vocabulary has 7,199 words more, and all its names.
struct World {
    model: Model,
    names: Vec<String>,
}

impl World {
    fn open() -> Self {
        Self::with_words().0
    }

    fn with_words() -> (Self, Words) {
        let options = ModelOptions::new().threads(1).words(Vec::new());
        let mut model = options.open(root().join(PACK)).expect("the default pack");
        let words = more_words(&model);
        let vocabulary = model.lexicon_mut().vocabulary_mut();
        vocabulary.extend(&words, words.space()).expect("words");
        let names = ordered(vocabulary);
        (Self { model, names }, words)
    }

    /// The first so many names, at their own thresholds or one for all.
    fn set(&mut self, names: &[String], threshold: Option<f32>) -> PromptSet {
        let requests: Vec<Request> = names.iter().cloned().map(Request::Name).collect();
        let objects = self.model.pipeline().objects();
        let set = (self.model.lexicon()).set(&requests, objects, threshold, &mut |_| true);
        set.expect("prompts")
    }

    fn detect(&mut self, frame: &Frame<'_>, set: &PromptSet) -> Report {
        let mut report = Report::new(0, frame.captured, frame.size());
        let mut look = self.model.look(frame).expect("a look");
        look.detect_into(set, &mut report).expect("a report");
        report
    }
}

/// All names once, the probes among the first 80, but not side by side, nor as the first ones.
fn ordered(vocabulary: &Vocabulary) -> Vec<String> {
    let mut seen: HashSet<String> = PROBES.iter().map(|p| normalise(p)).collect();
    let all = vocabulary.entries().iter().map(|e| e.name.clone());
    let mut names: Vec<String> = all.filter(|n| seen.insert(normalise(n))).collect();
    for (i, probe) in PROBES.iter().enumerate() {
        names.insert(11 * (i + 1), (*probe).into());
    }
    names.truncate(10_000);
    assert_eq!(names.len(), 10_000);
    names
}

/// How many are asked at once: the whole vocabulary among them.
const COUNTS: [usize; 3] = [80, 2967, 10_000];

/// What is reported of each prompt but for what tracks continue, to the bit.
type Found = BTreeMap<String, Vec<[u32; 8]>>;

fn found(report: &Report, set: &PromptSet) -> Found {
    let bits = |d: &Detection| {
        let floats = [d.bbox.x0, d.bbox.y0, d.bbox.x1, d.bbox.y1, d.score, d.logit];
        let [a, b, c, e, f, g] = floats.map(f32::to_bits);
        [a, b, c, e, f, g, d.location, 0]
    };
    let mut found = Found::new();
    for (i, d) in report.detections.iter().enumerate() {
        if !report.continued(i) {
            let name = &set.prompts()[d.prompt as usize].name;
            found.entry(name.clone()).or_default().push(bits(d));
        }
    }
    found
}

fn photo(name: &str) -> Photo {
    let path = root().join("models/sample").join(format!("{name}.jpg"));
    Photo::open(&path).expect("a sample photo")
}

#[test]
fn a_prompt_finds_the_same_alone_as_among_ten_thousand() {
    let mut world = World::open();
    let (names, mut compared) = (world.names.clone(), 0);
    // at the prompts' own thresholds, and where much more passes
    for threshold in [None, Some(0.15)] {
        let sets = COUNTS.map(|count| world.set(&names[..count], threshold));
        for name in PHOTOS {
            let photo = photo(name);
            let frame = photo.frame(0);
            let reports = sets.each_ref().map(|set| world.detect(&frame, set));
            let all = found(&reports[2], &sets[2]);
            println!(
                "{name} {threshold:?}: {} detections",
                reports[2].detections.len()
            );
            for ((report, set), count) in reports.iter().zip(&sets).zip(COUNTS) {
                assert_eq!(report.dropped, 0, "{name}, {count} prompts");
                let mut among = all.clone();
                among.retain(|name, _| names[..count].contains(name));
                assert_eq!(found(report, set), among, "{name}, {count} prompts");
            }
            let others = all
                .keys()
                .filter(|n| !PROBES.contains(&n.as_str()))
                .take(30);
            let asked: Vec<String> = (PROBES.map(String::from).into_iter())
                .chain(others.cloned())
                .collect();
            for prompt in asked {
                let set = world.set(std::slice::from_ref(&prompt), threshold);
                let alone = found(&world.detect(&frame, &set), &set);
                let none = Vec::new();
                let of = |found: &Found| found.get(&prompt).unwrap_or(&none).clone();
                assert_eq!(of(&alone), of(&all), "{prompt} in {name}");
                compared += usize::from(!of(&all).is_empty());
            }
        }
    }
    assert!(compared > 30, "{compared} prompts were found alone");
}

/// The parts of a photo that a camera sees that turns.
fn pan(photo: &Photo, frames: u32) -> Vec<(Vec<u8>, Size)> {
    let size = Size::new(photo.size().width - 4 * frames, photo.size().height);
    let part = |i: u32| {
        let rows = photo.pixels().chunks_exact(photo.size().width as usize * 3);
        let from = 4 * i as usize * 3;
        let row = |row: &[u8]| row[from..from + size.width as usize * 3].to_vec();
        (rows.flat_map(row).collect(), size)
    };
    (0..frames).map(part).collect()
}

#[test]
fn tracking_changes_nothing_of_what_is_found_whatever_else_is_asked() {
    let mut world = World::open();
    let names = world.names.clone();
    let photo = photo("grace_hopper");
    let frames = pan(&photo, 10);
    let follow = |world: &mut World, set: &PromptSet| {
        let mut tracker = Tracker::new(track::Settings::default());
        let each = frames.iter().zip(0_u64..).map(|((pixels, size), i)| {
            let frame = Frame::new(pixels, *size, i, photo.captured).expect("a frame");
            let mut look = world.model.look(frame).expect("a look");
            let mut found = look.detect(set).expect("a report");
            let plain = found.report().detections.clone();
            found.follow(&mut tracker, i * 100_000_000, &[]);
            let report = found.report().clone();
            assert_eq!(report.detections[..plain.len()], plain, "frame {i}");
            let marked = (0..report.detections.len()).map(|d| report.continued(d));
            assert!(marked.eq((0..report.detections.len()).map(|d| d >= plain.len())));
            if i > 4 {
                let found = !report.detections.is_empty();
                assert_eq!(report.is_smoothed(), found, "frame {i}");
            }
            report
        });
        each.collect::<Vec<Report>>()
    };
    let sets = COUNTS.map(|count| world.set(&names[..count], None));
    let all: Vec<Vec<Report>> = sets.iter().map(|set| follow(&mut world, set)).collect();
    for prompt in ["person", "tie", "giraffe"] {
        let set = world.set(&[prompt.into()], None);
        let alone = follow(&mut world, &set);
        let mut seen = 0;
        for (reports, among) in all.iter().zip(&sets) {
            for (alone, report) in alone.iter().zip(reports) {
                assert_eq!(report.dropped, 0);
                let (alone, report) = (found(alone, &set), found(report, among));
                assert_eq!(alone.get(prompt), report.get(prompt), "{prompt}");
                seen += usize::from(alone.contains_key(prompt));
            }
        }
        assert_eq!(
            seen > 0,
            prompt != "giraffe",
            "{prompt} was found {seen} times"
        );
    }
}

#[test]
fn floods_take_no_room_from_a_prompt_and_are_cut_alike() {
    let mut world = World::open();
    let names = world.names.clone();
    let photo = photo("grace_hopper");
    let frame = photo.frame(0);
    let alone = world.set(&["tie".into()], None);
    let expected = found(&world.detect(&frame, &alone), &alone);
    assert!(expected.contains_key("tie"));
    for floods in [1, 79, 2966, 9999] {
        let mut set = world.set(&names[..=floods], None);
        if floods == 1 {
            set = world.set(&["person".into(), "tie".into()], None);
        }
        let mut own = 0;
        for (i, name) in set.clone().prompts().iter().enumerate() {
            if name.name == "tie" {
                own = i as u32;
            } else {
                set.set_threshold(i, 0.0);
            }
        }
        let report = world.detect(&frame, &set);
        let mut counts = vec![0; set.prompts().len()];
        report
            .detections
            .iter()
            .for_each(|d| counts[d.prompt as usize] += 1);
        assert!(counts.iter().all(|&count| count <= MAX_PER_PROMPT));
        let sum: usize = counts.iter().sum();
        println!("{floods} floods: {sum} kept, {} dropped", report.dropped);
        assert!(sum <= MAX_DETECTIONS);
        if floods == 1 {
            assert!(counts[1 - own as usize] > 30, "no flood: {counts:?}");
        } else {
            assert!(report.dropped > 0, "all had room");
        }
        if floods < MAX_DETECTIONS {
            // all that floods have the same count but those that have less to tell
            let most = counts.iter().max().copied().unwrap_or(0);
            assert!(counts.iter().filter(|&&count| count == most).count() > floods / 2);
            assert_eq!(
                found(&report, &set).get("tie"),
                expected.get("tie"),
                "{floods}"
            );
        }
    }
}

/// The words of [`more_words`] as a file, and all names, written once for all tests here.
fn file_of_words() -> &'static (Folder, String, Vec<String>) {
    static FILE: OnceLock<(Folder, String, Vec<String>)> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = Folder::new();
        let path = folder.text("more.words");
        let (World { names, .. }, words) = World::with_words();
        words.save(Path::new(&path)).expect("a file");
        (folder, path, names)
    })
}

/// Frames of a pan, as photos in a folder.
fn frames(folder: &Folder) -> String {
    let path = folder.path("frames");
    std::fs::create_dir_all(&path).expect("a folder");
    for (i, (pixels, size)) in pan(&photo("grace_hopper"), 8).into_iter().enumerate() {
        let frame = image::RgbImage::from_raw(size.width, size.height, pixels).expect("pixels");
        frame.save(path.join(format!("{i}.png"))).expect("a frame");
    }
    path.to_str().expect("UTF-8").to_owned()
}

/// A configuration with these prompts (TOML) over a folder of photos.
fn config(folder: &Folder, photos: &str, prompts: &str, more: &str) -> String {
    let (_, words, _) = file_of_words();
    let text = format!(
        "[source]\nkind = \"files\"\npath = {photos:?}\n{more}\n\
         [prompts]\nwords = {words:?}\ncache = false\nlist = [{prompts}]\n"
    );
    folder.file("c.toml", text)
}

/// What the loop prints of some photos, a line each.
fn printed(config: &str, track: &str) -> Vec<Value> {
    let mut child = command(&["--config", config, "--track", track]);
    let output = child.stdout(Stdio::piped()).output().expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Box and score of each detection of a prompt, but for what its track continues.
fn of(report: &Value, prompt: &str) -> Vec<(Value, Value)> {
    let all = report["detections"].as_array().expect("a list").iter();
    all.filter(|d| d["results"][0]["class_id"] == prompt && d.get("continued").is_none())
        .map(|d| (d["bbox"].clone(), d["results"].clone()))
        .collect()
}

#[test]
fn the_loop_reports_the_same_of_a_prompt_whatever_else_is_asked_followed_or_not() {
    let folder = Folder::new();
    let photos = frames(&folder);
    let (.., names) = file_of_words();
    let run = |names: &[String], track: &str| {
        let list: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        printed(&config(&folder, &photos, &list.join(","), ""), track)
    };
    let mut plain = Vec::new();
    for track in ["off", "on"] {
        let all = COUNTS.map(|count| run(&names[..count], track));
        for (reports, count) in all.iter().zip(COUNTS) {
            assert_eq!(reports.len(), 8, "{count}");
            assert!(reports.iter().all(|r| r["crowded"] == 0), "{count}");
        }
        let smoothed = |d: &Value| d.get("smoothed_score").is_some();
        let last = all[2][7]["detections"].as_array().expect("a list");
        assert_eq!(last.iter().any(smoothed), track == "on");
        for prompt in ["person", "tie", "giraffe"] {
            let alone = run(&[prompt.into()], track);
            let mut seen = 0;
            for reports in &all {
                for (alone, report) in alone.iter().zip(reports) {
                    assert_eq!(of(alone, prompt), of(report, prompt), "{prompt}, {track}");
                    seen += of(alone, prompt).len();
                }
            }
            assert_eq!(seen > 0, prompt != "giraffe", "{prompt}: {seen}");
            plain.push(alone.iter().map(|r| of(r, prompt)).collect::<Vec<_>>());
        }
    }
    // and followed as not followed
    let (off, on) = plain.split_at(3);
    assert_eq!(off, on);
}

#[test]
fn a_flood_on_the_socket_leaves_other_prompts_what_they_have_and_is_told() {
    let folder = Folder::new();
    let photos = root().join("models/sample/grace_hopper.jpg");
    let photos = photos.to_str().expect("UTF-8");
    let (.., names) = file_of_words();
    let socket = folder.text("sock");
    let show = |prompts: &str| {
        let looping = "repeat = true\nfps = 20.0";
        let config = config(&folder, photos, prompts, looping);
        let program = Program::start(&["--config", &config, "--socket", &socket]);
        let mut client = Client::connect(&socket);
        let reports: Vec<Value> = (0..6).map(|_| client.report()).collect();
        drop(program);
        std::fs::remove_file(&socket).ok();
        reports
    };
    let alone = of(&show("\"tie\"")[5], "tie");
    assert!(!alone.is_empty());
    for floods in [1, 79] {
        let flood = names.iter().filter(|n| *n != "tie").take(floods);
        let flood = flood.map(|name| format!("{{ text = {name:?}, threshold = 0.0 }}"));
        let list: Vec<String> = flood.chain(["\"tie\"".into()]).collect();
        for report in show(&list.join(",")) {
            let found = report["detections"].as_array().expect("a list").len();
            assert!(found > 30 && found <= MAX_DETECTIONS, "{found}");
            assert_eq!(of(&report, "tie"), alone, "beside {floods} floods");
            assert_eq!(report["crowded"].as_u64() > Some(0), floods > 1, "{floods}");
        }
    }
}
