//! The process: what it survives, what ends it and with which code, what it writes and what it is
//! refused.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

mod program;

use program::{Client, Folder, PATIENCE, Program, command, root};

const PHOTO: &str = "models/sample/coffee.jpg";
const PACK: &str = "models/tarsier-s.tarsier";

/// A configuration that shows a photo over and over.
fn looping(more: &str) -> String {
    format!("{more}\n[source]\nkind = \"files\"\npath = \"{PHOTO}\"\nrepeat = true\nfps = 50.0\n")
}

/// The loop with a part that fails.
fn failing(folder: &Folder, fault: &str, more: &str) -> (Program, String) {
    let (config, socket) = (folder.file("c.toml", looping(more)), folder.text("sock"));
    let mut command = command(&["--config", &config, "--socket", &socket]);
    (Program::of(command.env("TARSIER_FAULT", fault)), socket)
}

fn tarsier(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .args(arguments)
        .env_remove("TARSIER_PACK")
        .env_remove("TARSIER_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

/// `run --check-config` of a configuration; what it prints, and on which code it ends.
fn checked(folder: &Folder, text: &str, more: &[&str]) -> (Option<i32>, String) {
    let config = folder.file("checked.toml", text);
    let all = [&["--config", config.as_str(), "--check-config"], more].concat();
    let output = command(&all)
        .stdout(Stdio::piped())
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("UTF-8"),
    )
}

// Panics.

#[test]
fn a_capturing_thread_that_panics_is_a_standing_fault_and_captures_again() {
    let folder = Folder::new();
    let (_program, socket) = failing(&folder, "capture:2", "telemetry.period_s = 0.2");
    let mut client = Client::connect(&socket);
    client.report();
    // it is told again for those who come later
    let mut late = Client::connect(&socket);
    let text = late.fault("capture");
    assert!(text.contains("panicked 2 times"), "{text}");
    assert!(text.contains("src/supervise.rs"), "{text}");
    late.report();
    assert_eq!(late.telemetry()["state"], "running");
}

#[test]
fn a_capturing_thread_that_panics_again_and_again_ends_the_program_with_70() {
    let folder = Folder::new();
    let (mut program, _) = failing(&folder, "capture:1000", "");
    assert_eq!(program.end().code(), Some(70), "{}", program.log());
    program.says("it would go on blind");
}

#[test]
fn a_panic_at_a_frame_costs_that_frame_and_what_it_left_half_done_is_made_anew() {
    let folder = Folder::new();
    let (_program, socket) = failing(&folder, "inference:3", "telemetry.period_s = 0.2");
    let mut client = Client::connect(&socket);
    let report = client.report();
    assert_eq!(report["dropped"]["failed"], 3, "{report}");
    let found = |report: &Value| {
        let results = &report["detections"][0]["results"][0];
        (results["class_id"].clone(), results["score"].clone())
    };
    let told = tarsier(&["detect", PHOTO, "--format", "json"]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(found(&report), found(&told));
    let text = client.fault("inference");
    assert!(text.contains("3 in all"), "{text}");
    client.report();
}

#[test]
fn a_loop_that_panics_at_every_frame_ends_the_program_with_70() {
    let folder = Folder::new();
    let (mut program, _) = failing(&folder, "inference:1000", "");
    assert_eq!(program.end().code(), Some(70), "{}", program.log());
    program.says("5 panics in a row");
}

#[test]
fn a_command_that_panics_is_answered_and_the_next_one_is_obeyed() {
    let folder = Folder::new();
    let (_program, socket) = failing(&folder, "command:1", "");
    let mut client = Client::connect(&socket);
    client.report();
    let (name, text) = client.refused(json!({"command": "hello"}));
    assert_eq!(name, "failed");
    assert!(text.contains("a bug"), "{text}");
    client.command(json!({"command": "hello"}));
    client.report();
}

#[test]
fn a_link_that_panics_is_opened_again_at_the_same_place() {
    let folder = Folder::new();
    let (program, socket) = failing(&folder, "link:1", "telemetry.period_s = 0.2");
    program.says("panicked");
    let mut client = Client::connect(&socket);
    let text = client.fault("link");
    assert!(text.contains(&socket), "{text}");
    client.report();
    let links = client.telemetry()["links"].clone();
    assert_eq!(links[0]["clients"], 1, "those before are gone: {links}");
}

#[test]
fn a_line_that_panics_is_opened_again_and_tells_what_was_lost() {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a pseudo-terminal");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("a name");
    let name = name.into_string().expect("UTF-8");
    let folder = Folder::new();
    let line = format!("[[links.text]]\npath = \"{name}\"\n");
    let config = folder.file("c.toml", looping(&line));
    let mut command = command(&["--config", &config]);
    let _program = Program::of(command.env("TARSIER_FAULT", "link:1"));
    let mut master = File::from(master);
    let (mut heard, end) = (String::new(), Instant::now() + PATIENCE);
    // greeted twice: when it was opened, and when it was opened again
    while heard.matches("$TSHEL").count() < 2 || !heard.contains("$TSREP") {
        assert!(Instant::now() < end, "heard:\n{heard}");
        let mut bytes = [0; 4096];
        match master.read(&mut bytes) {
            Ok(n) => heard += &String::from_utf8_lossy(&bytes[..n]),
            // nobody has the other end open at the moment
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    let again = heard.rsplit("$TSHEL").next().unwrap_or_default();
    let told = again.split("$TSREP").next().unwrap_or_default();
    assert!(
        told.contains("$TSLST"),
        "no loss before the report:\n{heard}"
    );
}

#[test]
fn a_panic_ends_a_command_with_70_and_says_where() {
    let output = Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .args(["detect", PHOTO])
        .env("TARSIER_FAULT", "program")
        .output()
        .expect("it runs");
    fails(&output, 70, &["a bug", "panicked", "src/supervise.rs"]);
}

// Configuration.

#[test]
fn values_that_no_clock_can_hold_are_refused_with_the_value_and_the_limits() {
    let folder = Folder::new();
    for (text, words) in [
        (
            "rate.fps = 1e-30",
            ["rate.fps is 0.000", "from 0.001 to 1000"],
        ),
        ("rate.fps = nan", ["rate.fps is NaN", "from 0.001 to 1000"]),
        ("rate.fps = inf", ["rate.fps is inf", "from 0.001 to 1000"]),
        ("heat.period_s = nan", ["heat.period_s", "0.05 to 3600"]),
        ("telemetry.period_s = 1e30", ["telemetry.period_s", "86400"]),
        ("track.lost_s = nan", ["track.lost_s", "0 to 600"]),
        (
            "region = { x_offset = 4294967295, y_offset = 0, width = 9, height = 9 }",
            ["region", "beyond"],
        ),
        (
            "engine.self_test_s = 100000",
            ["engine.self_test_s", "86400"],
        ),
    ] {
        let (code, said) = checked(&folder, &looping(text), &[]);
        assert_eq!(code, Some(78), "{text}: {said}");
        for word in words {
            assert!(said.contains(word), "{text}: no {word:?} in {said}");
        }
    }
    for fps in ["1e-30", "nan"] {
        let source = format!("[source]\nkind = \"files\"\npath = \"{PHOTO}\"\nfps = {fps}\n");
        let (code, said) = checked(&folder, &source, &[]);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("source.fps is"), "{said}");
    }
    let mut program = Program::start(&["--source", "files:models/sample", "--rate", "1e-30"]);
    assert_eq!(program.end().code(), Some(78));
}

#[test]
fn the_check_looks_at_prompts_pack_and_devices_and_says_what_it_did_not_look_at() {
    let folder = Folder::new();
    let (code, said) = checked(&folder, &looping("prompts.list = [\"person\"]"), &[]);
    assert_eq!(code, Some(0), "{said}");
    for words in [
        "right: pack models/tarsier-s.tarsier",
        "right: 1 prompts",
        "right: source files:models/sample/coffee.jpg",
        "not checked: whether frames come",
        "checked.toml: ok",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    // what it would refuse when it runs
    let (code, said) = checked(&folder, &looping("prompts.list = [\"😀\"]"), &[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("checked.toml: prompts.list: sentence \"😀\""),
        "{said}"
    );
    let (code, said) = checked(&folder, &looping("task.ground = [\"😀\"]"), &[]);
    assert_eq!(code, Some(78), "{said}");
    let damaged = folder.file(
        "damaged",
        &fs::read(root().join(PACK)).expect("a pack")[..9999],
    );
    let (code, said) = checked(&folder, &looping(""), &["--pack", &damaged]);
    assert_eq!(code, Some(65), "{said}");
    // what is not here may come, and is said; what is of the wrong kind will never do
    let absent = looping("heat.sensor = \"/nowhere\"\n[[links.serial]]\npath = \"/dev/nowhere\"");
    let (code, said) = checked(&folder, &absent, &["--pack", "/nowhere.tarsier"]);
    assert_eq!(code, Some(0), "{said}");
    for what in ["pack /nowhere", "heat.sensor", "link /dev/nowhere"] {
        assert!(said.contains(&format!("not checked: {what}")), "{said}");
    }
    for (text, words) in [
        (
            "source = { kind = \"v4l2\", path = \"Cargo.toml\" }".to_owned(),
            "Cargo.toml is not a camera",
        ),
        (
            "source = { kind = \"mjpeg\", path = \"src\" }".to_owned(),
            "src is not a pipe",
        ),
        (
            looping("[[links.serial]]\npath = \"Cargo.toml\""),
            "Cargo.toml is not a tty",
        ),
    ] {
        let (code, said) = checked(&folder, &text, &[]);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

// The pack.

/// A copy of the default pack in this folder.
fn pack_in(folder: &Folder) -> String {
    fs::copy(root().join(PACK), folder.path("m.tarsier")).expect("a copy");
    folder.text("m.tarsier")
}

fn detections(client: &mut Client) -> Value {
    let mut report = client.report();
    for detection in report["detections"].as_array_mut().expect("a list") {
        detection.as_object_mut().expect("an object").remove("id");
    }
    report["detections"].clone()
}

#[test]
fn a_pack_that_is_overwritten_cut_or_removed_while_in_use_is_a_fault_and_changes_no_result() {
    let folder = Folder::new();
    let good = fs::read(root().join(PACK)).expect("a pack");
    let (pack, socket) = (pack_in(&folder), folder.text("sock"));
    let config = folder.file("c.toml", looping("track.enabled = false"));
    let program = Program::start(&["--config", &config, "--socket", &socket, "--pack", &pack]);
    let mut client = Client::connect(&socket);
    let before = detections(&mut client);
    let restore = || {
        // in place, as `cp` does
        let mut file = OpenOptions::new().write(true).open(&pack).expect("a file");
        file.write_all(&good).expect("written");
        file.set_len(good.len() as u64).expect("as long");
    };
    let ruins: [(&str, &dyn Fn()); 3] = [
        ("0 are in it now", &|| {
            File::create(&pack).expect("cut to nothing");
        }),
        ("was written into", &|| {
            let mut file = OpenOptions::new().write(true).open(&pack).expect("a file");
            for at in (0..good.len()).step_by(65_536) {
                file.seek(SeekFrom::Start(at as u64)).expect("a place");
                file.write_all(&[0x55; 512]).expect("scribbled");
            }
        }),
        ("was written into", &|| {
            let other = fs::read(root().join("models/tarsier-n.tarsier")).expect("a pack");
            fs::write(&pack, other).expect("overwritten");
        }),
    ];
    for (lifted, (words, ruin)) in (1..).zip(ruins) {
        ruin();
        let text = client.fault("pack_file");
        assert!(text.contains(words), "{text}");
        for _ in 0..3 {
            assert_eq!(detections(&mut client), before);
        }
        // what is in the file now is not taken, unless it is a pack
        restore();
        // until the fault is over it is told again with every telemetry
        program.says_so_often("pack_file is as it was read", lifted);
    }
    fs::remove_file(&pack).expect("removed");
    let text = client.fault("pack_file");
    assert!(text.contains("is gone"), "{text}");
    assert_eq!(detections(&mut client), before);
    assert_eq!(
        program.log().matches("pack_file: ").count(),
        4,
        "{}",
        program.log()
    );
}

#[test]
fn a_pack_that_is_installed_while_another_is_in_use_is_taken_at_sighup() {
    let folder = Folder::new();
    let (pack, socket) = (pack_in(&folder), folder.text("sock"));
    let config = folder.file("c.toml", looping(""));
    let program = Program::start(&["--config", &config, "--socket", &socket, "--pack", &pack]);
    let mut client = Client::connect(&socket);
    client.report();
    let small = tarsier(&["pack", "install", "models/tarsier-n.tarsier", &pack]);
    assert!(small.status.success(), "{small:?}");
    program.says("another pack was installed");
    let name = |client: &mut Client| client.telemetry()["pack"].to_string();
    assert!(name(&mut client).contains("tarsier-s"));
    program.signal("HUP");
    program.says("configuration reloaded");
    assert!(name(&mut client).contains("tarsier-n"));
    client.report();
    assert!(!program.log().contains("pack_file"), "{}", program.log());
}

#[test]
fn a_pack_that_others_may_write_to_is_refused_unless_that_is_allowed() {
    let folder = Folder::new();
    let (pack, socket) = (pack_in(&folder), folder.text("sock"));
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o664)).expect("a mode");
    let config = folder.file("c.toml", looping(""));
    let options = ["--config", &config, "--socket", &socket, "--pack", &pack];
    let mut program = Program::start(&options);
    assert_eq!(program.end().code(), Some(78), "{}", program.log());
    program.says("mode 664");
    program.says("engine.allow_writable_pack");
    folder.file("c.toml", looping("engine.allow_writable_pack = true"));
    let _program = Program::start(&options);
    Client::connect(&socket).report();
}

#[test]
fn the_golden_frame_is_run_again_in_idle_time_and_a_failure_is_a_fault() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping("engine.self_test_s = 1"));
    let socket = folder.text("sock");
    let mut command = command(&["--config", &config, "--socket", &socket]);
    let command = command
        .env("TARSIER_LOG", "debug")
        .env("TARSIER_FAULT", "self-test:1");
    let program = Program::of(command);
    let mut client = Client::connect(&socket);
    client.report();
    client.command(json!({"command": "pause"}));
    let text = client.fault("self_test");
    assert!(text.contains("was made anew"), "{text}");
    program.says("self-test passed\n");
    client.command(json!({"command": "resume"}));
    client.report();
}

#[test]
fn what_is_no_pack_is_named_for_what_it_is() {
    let folder = Folder::new();
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6549763\n";
    let whole = fs::read(root().join(PACK)).expect("a pack");
    for (name, bytes, code, words) in [
        ("lfs", lfs.as_bytes(), 65, "git lfs pull"),
        ("html", b"\n<!DOCTYPE html><html>", 65, "a web page"),
        (
            "cut",
            &whole[..100_000],
            65,
            "its end, with the directory, is missing",
        ),
        ("gz", b"\x1f\x8b\x08\0\0\0", 65, "compressed"),
        ("text", b"hello", 65, "no directory of a ZIP archive"),
        ("empty", b"", 65, "empty"),
    ] {
        let path = folder.file(name, bytes);
        let output = tarsier(&["detect", PHOTO, "--pack", &path]);
        fails(&output, code, &[name, words]);
    }
    fails(
        &tarsier(&["detect", PHOTO, "--pack", "models"]),
        66,
        &["a folder"],
    );
    let pipe = folder.fifo("pipe");
    fails(
        &tarsier(&["detect", PHOTO, "--pack", &pipe]),
        66,
        &["a pipe"],
    );
}

// Walls.

/// A line of every thread's status.
fn of_every_thread(program: &Program, key: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", program.pid())).expect("threads");
    let status = |thread: std::io::Result<fs::DirEntry>| {
        let path = thread.expect("a thread").path().join("status");
        let status = fs::read_to_string(path).expect("a status");
        let line = status.lines().find_map(|l| l.strip_prefix(key));
        line.expect("a line of that name").trim().to_owned()
    };
    threads.map(status).collect()
}

#[test]
fn once_started_every_thread_has_both_filters_and_files_elsewhere_cannot_be_written() {
    let (folder, other) = (Folder::new(), Folder::new());
    let config = folder.file("c.toml", looping("sandbox.required = true"));
    let socket = folder.text("sock");
    let program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    let filters = of_every_thread(&program, "Seccomp_filters:");
    assert!(filters.len() >= 3, "{filters:?}");
    assert!(filters.iter().all(|n| n == "2"), "{filters:?}");
    let answer = client.command(json!({"command": "self_test"}))["text"].to_string();
    assert!(
        answer.contains("system calls that are not needed"),
        "{answer}"
    );
    // the socket's folder is open, another one is not: where the kernel can hold that
    let more = format!("[[links.socket]]\npath = \"{}\"\n", other.text("more"));
    folder.file("c.toml", looping("sandbox.required = true") + &more);
    program.signal("HUP");
    if program.log().contains("not closed to writing") {
        eprintln!("SKIPPED: no Landlock");
        program.says("configuration reloaded");
    } else {
        let text = client.fault("configuration");
        assert!(text.contains("closed by the sandbox"), "{text}");
    }
    let more = format!("[[links.socket]]\npath = \"{}\"\n", folder.text("more"));
    folder.file("c.toml", looping("sandbox.required = true") + &more);
    program.signal("HUP");
    Client::connect(&folder.text("more")).report();
    client.report();
}

#[test]
fn a_command_has_no_network_before_it_reads_a_photo() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarsier"));
    // it looks at a hundred photos, and so is there for long enough
    let photos = vec![PHOTO; 100];
    command.current_dir(root()).arg("detect").args(photos);
    command.env_remove("TARSIER_PACK").stdout(Stdio::null());
    let mut program = Program::of(&mut command);
    while program.status("Seccomp_filters:") != "1" {
        let ended = program.child.try_wait().expect("a child");
        assert!(ended.is_none(), "it has ended without: {}", program.log());
    }
}

// Files.

#[test]
fn eight_programs_that_add_a_word_to_one_file_at_once_add_eight() {
    let folder = Folder::new();
    let words = folder.text("w.words");
    thread::scope(|scope| {
        for n in 0..8 {
            let words = words.as_str();
            scope.spawn(move || {
                let name = format!("thing {n}");
                let like = ["--like", "cup", "--words", words];
                let output = tarsier(&[&["vocab", "add", &name], &like[..]].concat());
                assert!(output.status.success(), "{output:?}");
            });
        }
    });
    let list = tarsier(&["vocab", "list", "--user", "--words", &words]);
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    assert_eq!(list.lines().count(), 8, "{list}");
    let left = fs::read_dir(&folder.0).expect("a folder").count();
    assert_eq!(left, 1, "nothing stays beside it");
}

#[test]
fn outputs_are_whole_or_not_there_and_a_full_disk_is_74() {
    let folder = Folder::new();
    let table = folder.text("table.tsv");
    let words = folder.text("w.words");
    let add = [
        "vocab",
        "add",
        "mug of mine",
        "--like",
        "cup",
        "--words",
        &words,
    ];
    assert!(tarsier(&add).status.success());
    // what a killed program left
    folder.file(".table.tsv.new", "half");
    assert!(
        tarsier(&["vocab", "export", &table, "--words", &words])
            .status
            .success()
    );
    let text = fs::read_to_string(&table).expect("a table");
    assert!(text.contains("mug of mine"), "{text}");
    assert!(!folder.path(".table.tsv.new").exists());
    // no regular file: it is written and not renamed over
    let full = tarsier(&["vocab", "export", "/dev/full", "--words", &words]);
    fails(&full, 74, &["/dev/full"]);
    let out = tarsier(&["vocab", "export", "/dev/stdout", "--words", &words]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), text);
    let nowhere = folder.text("no/such/folder/t");
    let output = tarsier(&["vocab", "export", &nowhere, "--words", &words]);
    fails(&output, 73, &["no/such/folder"]);
    // drawn copies and maps
    let drawn = folder.text("out");
    let drawing = tarsier(&["semantic", PHOTO, "--draw", &drawn, "--output", &drawn]);
    assert!(drawing.status.success(), "{drawing:?}");
    let mut names: Vec<_> = fs::read_dir(&drawn)
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["coffee.jpg", "coffee.png"]);
}

#[test]
fn what_is_installed_is_what_was_verified_and_a_link_is_not_followed() {
    let folder = Folder::new();
    let (from, to) = (pack_in(&folder), folder.text("there.tarsier"));
    let link = folder.text("link");
    symlink(&from, &link).expect("a link");
    fails(
        &tarsier(&["pack", "install", &link, &to]),
        66,
        &["symbolic link"],
    );
    // a link at the name that is written first is not written through
    let victim = folder.file("victim", "mine");
    symlink(&victim, folder.path(".there.tarsier.new")).expect("a link");
    fails(
        &tarsier(&["pack", "install", &from, &to]),
        73,
        &["in the way"],
    );
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "mine");
    fs::remove_file(folder.path(".there.tarsier.new")).expect("removed");
    assert!(tarsier(&["pack", "install", &from, &to]).status.success());
    let (mut a, mut b) = (Vec::new(), Vec::new());
    File::open(&from)
        .and_then(|mut f| f.read_to_end(&mut a))
        .expect("read");
    File::open(&to)
        .and_then(|mut f| f.read_to_end(&mut b))
        .expect("read");
    assert!(a == b);
    // the one before is kept
    fs::copy(root().join("models/tarsier-n.tarsier"), &from).expect("a copy");
    assert!(tarsier(&["pack", "install", &from, &to]).status.success());
    let kept = fs::read(folder.path("there.tarsier.previous")).expect("a pack");
    assert!(kept == a);
    let hidden = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with('.');
    let left = fs::read_dir(&folder.0).expect("a folder").flatten();
    assert_eq!(left.filter(hidden).count(), 0);
}

// Standard output.

#[test]
fn a_full_disk_behind_standard_output_is_that_links_fault_and_others_go_on() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping("telemetry.period_s = 0.3"));
    let socket = folder.text("sock");
    let full = || {
        Stdio::from(
            OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .expect("there"),
        )
    };
    let mut both = command(&["--config", &config, "--socket", &socket, "--print"]);
    let mut program = Program::of(both.stdout(full()));
    let mut client = Client::connect(&socket);
    let text = client.fault("output");
    assert!(text.contains("No space left"), "{text}");
    for _ in 0..3 {
        client.report();
    }
    let telemetry = client.telemetry();
    let own = telemetry["links"].as_array().expect("a list");
    let own = own
        .iter()
        .find(|l| l["name"] == "-")
        .expect("standard output");
    assert_eq!(own["up"], false, "{own}");
    assert!(own["lost"].as_u64() > Some(0), "{own}");
    assert!(program.child.try_wait().expect("a child").is_none());
    // where it is the only link, nothing is left to do
    let mut alone = command(&["--config", &config]);
    let mut program = Program::of(alone.stdout(full()));
    assert_eq!(program.end().code(), Some(74), "{}", program.log());
    program.says("cannot write reports to standard output");
}
