//! The cache of sentences, where several programs use one file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tarsier::{
    graph::op::Execution,
    kernels::isa::Isa,
    pack::Pack,
    prompt::{
        UnitRow,
        cache::{MAX_SENTENCES, SentenceCache},
        sentence::SentenceEncoder,
    },
};

#[path = "program/mod.rs"]
mod program;

use program::{Folder, bare, root};

fn pack() -> Pack {
    Pack::open(&root().join("models/tarsier-s.tarsier")).expect("the default pack")
}

fn row(pack: &Pack, text: &str) -> UnitRow {
    let execution = Execution {
        isa: Isa::best(),
        threads: 1,
    };
    let mut encoder = SentenceEncoder::open(pack, execution).expect("an encoder");
    encoder.unit(text).expect("a row")
}

#[test]
fn two_who_have_one_file_open_lose_nothing_of_each_other() {
    let (folder, pack) = (Folder::new(), pack());
    let row = row(&pack, "a cup");
    let open = || SentenceCache::open(&folder.0, &pack);
    let (mut one, mut other) = (open(), open());
    one.insert("of one", &row);
    one.save();
    other.insert("of the other", &row);
    other.save();
    assert!(
        other.find("of one").is_some(),
        "learnt while it was written"
    );
    one.insert("of one again", &row);
    one.save();
    let mut all = open();
    assert_eq!(all.len(), 3);
    for text in ["of one", "of the other", "of one again"] {
        assert!(all.find(text).is_some(), "{text}");
    }
    // a file that is gone, or damaged, is made of what is known
    let file = all.path().to_owned();
    for damage in [|f: &Path| fs::remove_file(f), |f: &Path| fs::write(f, "x")] {
        damage(&file).expect("a file");
        one.insert(&format!("more {}", one.len()), &row);
        one.save();
        assert_eq!(open().len(), one.len());
    }
}

#[test]
fn what_is_kept_of_two_is_what_either_used_last_and_memory_has_no_more() {
    let (folder, pack) = (Folder::new(), pack());
    let row = row(&pack, "a cup");
    let open = || SentenceCache::open(&folder.0, &pack);
    let (mut one, mut other) = (open(), open());
    for i in 0..MAX_SENTENCES {
        one.insert(&format!("one {i}"), &row);
    }
    one.save();
    for i in 0..MAX_SENTENCES / 2 {
        other.insert(&format!("other {i}"), &row);
    }
    other.save();
    assert_eq!(other.len(), MAX_SENTENCES);
    for i in 0..2 * MAX_SENTENCES {
        one.insert(&format!("again {i}"), &row);
    }
    one.save();
    assert_eq!(one.len(), MAX_SENTENCES, "in memory too");
    let mut all = open();
    assert!(all.find("other 2000").is_none() && all.find("again 8191").is_some());
}

/// How many sentences the one cache file under a folder says that it has.
fn count(folder: &Path) -> u32 {
    let files: Vec<PathBuf> = fs::read_dir(folder.join("tarsier"))
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let bytes = fs::read(&files[0]).expect("a cache");
    u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"))
}

#[test]
fn eight_programs_at_once_keep_the_sentences_of_all() {
    let folder = Folder::new();
    let start = |i: usize| {
        let text = format!("an old thing with the number {i} on its lid");
        bare()
            .args(["detect", "models/sample/coffee.jpg", "--threads", "1"])
            .args(["--sentence", &text])
            .env("XDG_CACHE_HOME", &folder.0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    };
    for child in (0..8).map(start).collect::<Vec<_>>() {
        let done = child.wait_with_output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
    }
    assert_eq!(count(&folder.0), 8);
}
