//! What commands do whose pack is changed under them: they map it, so a `cp` over it reaches them.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

#[path = "program/mod.rs"]
mod program;

use program::{Folder, PATIENCE, bare, root};

const PHOTO: &str = "models/sample/astronaut.jpg";

/// A command that has its pack open; `detect -` and its like then wait for a photo.
fn started(pack: &str, arguments: &[&str]) -> (Child, BufReader<impl Read>) {
    let mut child = bare()
        .args(arguments)
        .args(["--pack", pack, "--threads", "1", "--verbose"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("thread(s)") {
        line.clear();
        assert!(log.read_line(&mut line).expect("a line") > 0, "it ended");
    }
    // the rest of the pack is opened: it waits for a photo, or works at what it was told
    let end = Instant::now() + PATIENCE;
    let opened = ticks(child.id());
    let (mut before, mut same) = (opened, 0);
    while same < 20 && before < opened + 50 {
        assert!(Instant::now() < end, "neither asleep nor at work");
        thread::sleep(Duration::from_millis(10));
        let now = ticks(child.id());
        same = if now == before && asleep(child.id()) {
            same + 1
        } else {
            0
        };
        before = now;
    }
    (child, log)
}

/// The fields of a process's state behind its name.
fn state(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    fields.split_whitespace().map(str::to_owned).collect()
}

/// Hundredths of a second that it has worked.
fn ticks(pid: u32) -> u64 {
    let fields = state(pid);
    let number = |at: usize| fields[at].parse::<u64>().expect("a number");
    number(11) + number(12)
}

fn asleep(pid: u32) -> bool {
    state(pid)[0] == "S"
}

/// Gives it the photo that it waits for: exit code, results, words.
fn ended((mut child, mut log): (Child, BufReader<impl Read>)) -> (Option<i32>, String, String) {
    let photo = fs::read(root().join(PHOTO)).expect("a photo");
    // it may have ended already
    let _ = child.stdin.take().expect("a pipe").write_all(&photo);
    let (mut out, mut said) = (String::new(), String::new());
    let mut results = child.stdout.take().expect("a pipe");
    results.read_to_string(&mut out).expect("text");
    log.read_to_string(&mut said).expect("text");
    (child.wait().expect("a child").code(), out, said)
}

fn copied(folder: &Folder) -> String {
    let pack = fs::read(root().join("models/tarsier-s.tarsier")).expect("a pack");
    folder.file("p.tarsier", pack)
}

fn cut(pack: &str) {
    let file = File::options().write(true).open(pack).expect("a pack");
    file.set_len(0).expect("cut");
}

fn scribble(pack: &str) {
    let mut file = File::options().write(true).open(pack).expect("a pack");
    let middle = file.metadata().expect("a length").len() / 2;
    file.seek(SeekFrom::Start(middle - 1_000_000))
        .expect("inside");
    file.write_all(&[0x11; 2_000_000]).expect("written");
}

fn rename(pack: &str) {
    let new = format!("{pack}.new");
    fs::write(&new, "another one").expect("a file");
    fs::rename(new, pack).expect("renamed");
}

#[test]
fn a_pack_that_is_changed_in_use_is_65_with_words_and_nothing_that_it_said_leaves() {
    let folder = Folder::new();
    for command in [
        &["detect", "-"][..],
        &["detect", "-", "--format", "json"],
        &["segment", "-"],
        &["semantic", "-"],
        &["panoptic", "-"],
        &["everything", "-"],
        &["ground", "-", "--sentence", "the person"],
    ] {
        for (change, words) in [
            (cut as fn(&str), "was cut short while it was in use"),
            (scribble, "was written to while it was in use"),
        ] {
            let pack = copied(&folder);
            let started = started(&pack, command);
            change(&pack);
            let (code, out, said) = ended(started);
            assert_eq!(code, Some(65), "{command:?}: {said}");
            assert!(
                said.contains(&pack) && said.contains(words),
                "{command:?}: {said}"
            );
            assert!(out.is_empty(), "{command:?}: {out}");
        }
        // as it should be done: the old one goes on
        let pack = copied(&folder);
        let started = started(&pack, command);
        rename(&pack);
        let (code, out, said) = ended(started);
        assert_eq!(code, Some(0), "{command:?}: {said}");
        assert!(!out.is_empty(), "{command:?}: {said}");
    }
}

#[test]
fn a_measurement_of_a_pack_that_is_changed_is_none() {
    let folder = Folder::new();
    for change in [cut as fn(&str), scribble] {
        let pack = copied(&folder);
        let started = started(&pack, &["bench", "--frames", "500"]);
        change(&pack);
        let (code, out, said) = ended(started);
        assert_eq!((code, out.as_str()), (Some(65), ""), "{said}");
        assert!(said.contains("while it was in use"), "{said}");
    }
}
