//! Limits: the program as it runs on a robot, and a client that behaves.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    process::Command as Process,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

#[path = "program/mod.rs"]
mod program;

use program::{Client, Folder, PATIENCE, Program, command, root};

const PHOTO: &str = "models/sample/coffee.jpg";

/// A configuration that looks at a photo again and again, ten times a second.
fn looping(folder: &Folder, more: &str) -> String {
    let text = format!(
        "rate.fps = 10.0\n{more}\n[source]\nkind = \"files\"\npath = \"{PHOTO}\"\nrepeat = true\nfps = 50.0\n"
    );
    folder.file("c.toml", text)
}

/// Texts that no table and no cache has.
fn new_texts(count: usize) -> Vec<String> {
    let colours = ["red", "green", "blue", "old", "small", "wooden", "round"];
    let things = ["cup", "door", "chair", "bottle", "shelf", "lamp"];
    (0..count)
        .map(|i| {
            let (colour, thing) = (colours[i % 7], things[i / 7 % 6]);
            format!("a {colour} {thing} beside the number {i}")
        })
        .collect()
}

#[test]
fn new_texts_are_encoded_beside_the_loop_and_hold_when_they_are_answered() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let config = looping(
        &folder,
        "prompts.list = [\"bowl\"]\nprompts.threshold = 0.01",
    );
    let mut program = Program::start(&["--config", &config, "--socket", &socket]);
    let (mut client, mut other) = (Client::connect(&socket), Client::connect(&socket));
    client.report();
    let texts = new_texts(600);
    client.give(&json!({"id": 900, "command": "set_prompts", "prompts": texts}));
    // meanwhile the old set answers, others are served, and a second change is told that there is one
    let is_reply = |m: &Value| m["type"] == "reply" && m["id"] == 900;
    let mut reports = 0;
    let began = Instant::now();
    let mut busy = false;
    let reply = loop {
        let message = client.message(PATIENCE).expect("reports go on");
        if is_reply(&message) {
            break message;
        }
        if message["type"] == "report" {
            assert_eq!(message["prompts_version"], 1, "{message}");
            reports += 1;
        }
        if reports == 2 && !busy {
            let asked = Instant::now();
            other.telemetry();
            let (name, why) =
                other.refused(json!({"command": "add_prompts", "prompts": ["a red cup"]}));
            assert_eq!(name, "busy", "{why}");
            assert!(
                asked.elapsed() < Duration::from_secs(2),
                "{:?}",
                asked.elapsed()
            );
            busy = true;
        }
    };
    let took = began.elapsed();
    assert_eq!(reply["answer"], json!({"prompts_version": 2}), "{reply}");
    // none at all, while the loop itself encoded; how many there are is this machine's business
    assert!(
        reports as f32 > took.as_secs_f32() / 2.0,
        "{reports} reports in {took:?}"
    );
    let report = client.report();
    assert_eq!(report["prompts_version"], 2);
    // what is known is not encoded again: the answer comes at once
    let began = Instant::now();
    client.command(json!({"command": "remove_prompts", "prompts": [texts[0]]}));
    client.command(json!({"command": "set_threshold", "threshold": 0.5}));
    assert!(
        began.elapsed() < took / 2,
        "{:?} after {took:?}",
        began.elapsed()
    );
    // a signal ends it in the midst of another
    client.give(&json!({"command": "set_prompts", "prompts": new_texts(4000).split_off(1000)}));
    client.report();
    let began = Instant::now();
    program.signal("TERM");
    assert!(program.end().success(), "{}", program.log());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_signal_ends_a_start_that_has_thousands_of_texts_to_encode() {
    let folder = Folder::new();
    let list: Vec<String> = new_texts(4000).iter().map(|t| format!("{t:?}")).collect();
    let config = looping(&folder, &format!("prompts.list = [{}]", list.join(", ")));
    let mut program = Program::start(&["--config", &config]);
    program.says("self-test passed");
    let began = Instant::now();
    program.signal("TERM");
    assert!(program.end().success(), "{}", program.log());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn what_goes_over_a_limit_is_refused_with_both_numbers_and_nothing_changes() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let limits =
        "prompts.list = [\"bowl\"]\nlimits = { prompts = 100, sentences = 3, set_bytes = 4000 }";
    let config = looping(&folder, limits);
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    let region = json!({"x_offset": 0, "y_offset": 0, "width": 300, "height": 300});
    let long = "x".repeat(513);
    let texts = |count: usize, text: &str| vec![text.to_owned(); count];
    let set = |prompts: Value| json!({"command": "set_prompts", "prompts": prompts});
    let numbered: Vec<String> = (0..101).map(|i| i.to_string()).collect();
    for (command, numbers) in [
        (set(json!(numbered)), ["101 prompts", "up to 100"]),
        (set(json!(new_texts(4))), ["4 texts are new", "up to 3"]),
        (set(json!([long])), ["513 bytes", "up to 512"]),
        (
            set(json!([{"text": "bowl", "group": "g".repeat(1_000_000)}])),
            ["1000000 bytes", "up to 512"],
        ),
        (
            set(json!([{"text": "bowl", "group": "a\nb"}])),
            ["control character", "U+000A"],
        ),
        (
            set(json!(texts(10, &"y".repeat(500)))),
            ["5000 bytes", "up to 4000"],
        ),
        (
            json!({"command": "enrol", "name": long, "region": region}),
            ["513 bytes", "up to 512"],
        ),
        (
            json!({"command": "enrol", "name": "a\u{1b}[31m", "region": region}),
            ["control character", "U+001B"],
        ),
        (
            json!({"command": "set_task", "task": {"ground": texts(65, "the bowl")}}),
            ["65 texts", "up to 64"],
        ),
        (
            json!({"command": "set_task", "task": {"semantic": true, "stuff": texts(65, "wall")}}),
            ["65 texts", "up to 64"],
        ),
        (
            json!({"command": "remove_prompts", "prompts": [long]}),
            ["513 bytes", "up to 512"],
        ),
    ] {
        let (name, why) = client.refused(command);
        assert_eq!(name, "invalid", "{why}");
        assert!(
            numbers.iter().all(|n| why.contains(n)),
            "{numbers:?}: {why}"
        );
    }
    // and one that is added to what is there already
    client.command(json!({"command": "add_prompts", "prompts": new_texts(2)}));
    let more: Vec<String> = (0..99).map(|i| format!("cup {i}")).collect();
    let (_, why) = client.refused(json!({"command": "add_prompts", "prompts": more}));
    assert!(why.contains("102 prompts"), "{why}");
    let prompts = client.command(json!({"command": "get_prompts"}))["prompts"].clone();
    assert_eq!(
        (&prompts["count"], &prompts["prompts_version"]),
        (&json!(3), &json!(2))
    );
}

#[test]
fn limits_of_a_configuration_are_checked_with_the_rest_of_it() {
    let folder = Folder::new();
    let source = "[source]\nkind = \"files\"\npath = \"x\"\n";
    for (text, words) in [
        ("[limits]\nprompts = 0\n", "limits.prompts is 0; 1 to 65536"),
        (
            "[limits]\ntext_bytes = 5000\n",
            "limits.text_bytes is 5000; 1 to 512",
        ),
        ("[limits]\nprompt = 3\n", "nearest: prompts"),
        ("[limits]\nmemory = \"much\"\n", "limits.memory is \"much\""),
        (
            "limits.prompts = 1\nprompts.list = [\"a\", \"b\"]\n",
            "2 prompts; a set holds up to 1",
        ),
        (
            "prompts.list = [\"door > handle\"]\n",
            "a prompt inside another",
        ),
        (
            "[[links.socket]]\npath = \"s\"\nmax_clients = 65\n",
            "max_clients is 65; limits.clients is 64",
        ),
        (
            "[task]\nground = [\"a\\u0007b\"]\n",
            "control character U+0007",
        ),
    ] {
        let config = folder.file("c.toml", format!("{text}{source}"));
        let done = command(&["--config", &config, "--check-config"]).output();
        let done = done.expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(78), "{text}: {said}");
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn a_name_and_a_sentence_are_one_text_however_they_are_written() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let config = looping(&folder, "");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    let prompts = json!(["Café table", "cafe, TABLE", "bowl", {"text": "bówl"}]);
    client.command(json!({"command": "set_prompts", "prompts": prompts}));
    let names = client.command(json!({"command": "get_prompts"}))["prompts"]["names"].clone();
    assert_eq!(names, json!(["cafe, TABLE", "bówl"]));
    client.command(json!({"command": "remove_prompts", "prompts": ["CAFÉ TABLE"]}));
    // a prompt inside another is none of its own
    let (name, why) =
        client.refused(json!({"command": "add_prompts", "prompts": ["person > tie"]}));
    assert_eq!(name, "unsupported", "{why}");
    assert!(why.contains("person > tie"), "{why}");
    // what is not there any more is not found, as the wire's page says
    let mask = json!({"command": "mask", "sequence": 4_000_000, "detection": 0});
    assert_eq!(client.refused(mask).0, "not_found");
}

#[test]
fn a_word_of_ones_own_means_the_same_in_every_task() {
    let folder = Folder::new();
    let pack = folder.path("p.tarsier");
    std::os::unix::fs::symlink(root().join("models/tarsier-s.tarsier"), &pack).expect("a link");
    let pack = pack.to_str().expect("UTF-8");
    let tarsier = |arguments: &[&str]| {
        let done = Process::new(env!("CARGO_BIN_EXE_tarsier"))
            .current_dir(root())
            .env_remove("HOME")
            .env_remove("XDG_CACHE_HOME")
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).expect("text")
    };
    // a name that says nothing about what it means
    tarsier(&["vocab", "add", "--pack", pack, "zorbl", "--as", "the bowl"]);
    let said = |text: &str| -> Value {
        let line = tarsier(&[
            "ground",
            PHOTO,
            "--pack",
            pack,
            "--sentence",
            text,
            "--format",
            "json",
        ]);
        serde_json::from_str(&line).expect("JSON")
    };
    let wanted = said("zorbl")["groundings"][0].clone();
    let config = looping(
        &folder,
        "task.ground = [\"Zorbl\"]\nprompts.threshold = 0.01\nprompts.list = [\"zorbl\", {text = \"bowl\", kind = \"sentence\"}]",
    );
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--pack", pack, "--socket", &socket]);
    let report = Client::connect(&socket).report();
    let got = &report["groundings"][0];
    assert_eq!(
        (&got["score"], &got["bbox"]),
        (&wanted["score"], &wanted["bbox"]),
        "{report}"
    );
}

#[test]
fn a_long_line_is_answered_in_its_turn_and_after_it_was_half_closed() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let config = looping(&folder, "");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    Client::connect(&socket).report();
    let many: Vec<String> = (0..65_536).map(|i| format!("{i:x}")).collect();
    let long = json!({"id": 1, "command": "set_prompts", "prompts": many});
    let broken = format!("{{\"id\": 2, \"command\": [{}", "0, ".repeat(10_000));
    let last = json!({"id": 3, "command": "hello"});
    let mut stream = UnixStream::connect(&socket).expect("a socket");
    // all of it at once, and no more will come
    let lines = format!("{long}\n{broken}\n{last}\n");
    stream.write_all(lines.as_bytes()).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("half closed");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let messages = lines.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    let replies: Vec<Value> = messages.filter(|m| m["type"] == "reply").collect();
    let names: Vec<&Value> = replies.iter().map(|r| &r["error"]["name"]).collect();
    assert_eq!(
        names,
        [&json!("invalid"), &json!("malformed"), &Value::Null]
    );
    assert_eq!(
        (&replies[0]["id"], &replies[2]["id"]),
        (&json!(1), &json!(3))
    );
}

#[test]
fn a_squatted_socket_path_is_73_at_once() {
    let folder = Folder::new();
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    // shorten its queue and fill it
    rustix::net::listen(&listener, 1).expect("it listens");
    let mut waiting = Vec::new();
    loop {
        let flags = rustix::net::SocketFlags::NONBLOCK;
        let client = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            flags,
            None,
        )
        .expect("a socket");
        let address = rustix::net::SocketAddrUnix::new(&path).expect("an address");
        if rustix::net::connect(&client, &address).is_err() {
            break;
        }
        waiting.push(client);
    }
    let socket = folder.text("sock");
    let config = looping(&folder, "");
    let mut program = Program::start(&["--config", &config, "--socket", &socket]);
    assert_eq!(program.end().code(), Some(73), "{}", program.log());
    assert!(
        program.log().contains("another program serves it"),
        "{}",
        program.log()
    );
}

#[test]
fn a_pack_with_65535_entries_over_one_section_is_refused_at_once() {
    let folder = Folder::new();
    let bytes = fs::read(root().join("models/tarsier-s.tarsier")).expect("a pack");
    let end = bytes
        .windows(4)
        .rposition(|w| w == b"PK\x05\x06")
        .expect("an end");
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    let start = number(end + 16) as usize;
    // the largest section's entry, again and again
    let mut entries = Vec::new();
    let mut at = start;
    while bytes[at..].starts_with(b"PK\x01\x02") {
        let short = |o: usize| usize::from(u16::from_le_bytes([bytes[at + o], bytes[at + o + 1]]));
        let length = 46 + short(28) + short(30) + short(32);
        entries.push((number(at + 20), &bytes[at..at + length]));
        at += length;
    }
    let (_, entry) = entries.iter().max_by_key(|e| e.0).expect("an entry");
    for (count, words) in [
        (65_535_usize, "65535 entries; a pack has up to 64"),
        (2, "lies over"),
    ] {
        let mut hostile = bytes[..start].to_vec();
        (0..count).for_each(|i| {
            // each under a name of its own
            let mut entry = entry.to_vec();
            let name = format!("{i:05}");
            entry[46..51].copy_from_slice(name.as_bytes());
            hostile.extend(entry);
        });
        let size = hostile.len() - start;
        let mut tail = bytes[end..].to_vec();
        for at in [8, 10] {
            tail[at..at + 2].copy_from_slice(&(count as u16).to_le_bytes());
        }
        tail[12..16].copy_from_slice(&(size as u32).to_le_bytes());
        hostile.extend(tail);
        let pack = folder.file("hostile.tarsier", hostile);
        let began = Instant::now();
        let done = Process::new(env!("CARGO_BIN_EXE_tarsier"))
            .args(["pack", "inspect", &pack])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(65), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
}

/// What a command says that succeeds.
fn said(arguments: &[&str]) -> String {
    let done = Process::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).expect("text")
}

/// The number after `memory: up to`.
fn megabytes(text: &str) -> f64 {
    let (_, rest) = text.split_once("memory: up to ").expect("a line of memory");
    let (number, _) = rest.split_once('M').expect("a number of megabytes");
    number.parse().expect("a number")
}

#[test]
fn peak_memory_is_computed_before_the_start_and_limited() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let config = looping(&folder, "");
    let options = [
        "run",
        "--config",
        &config,
        "--socket",
        &socket,
        "--check-config",
    ];
    let usual = said(&options);
    let most = megabytes(&usual);
    for part in ["pack", "prompt sets", "frames", "clients"] {
        assert!(usual.contains(part), "{usual}");
    }
    let pack = "models/tarsier-s.tarsier";
    assert!(megabytes(&said(&["pack", "inspect", pack])) > 20.0);
    assert!(said(&["bench", "--frames", "1"]).contains("default limits: up to"));
    // lower limits need less, and what they come to is what is allowed
    let less = "limits = { prompts = 100, set_bytes = 10000, report_bytes = 100000 }";
    let config = looping(&folder, less);
    let options = [
        "run",
        "--config",
        &config,
        "--socket",
        &socket,
        "--check-config",
    ];
    let small = megabytes(&said(&options));
    assert!(small + 20.0 < most, "{small} {most}");
    let config = looping(&folder, "limits.memory = \"20M\"");
    for check in [&["--check-config"][..], &[]] {
        let options = [&["--config", &config, "--socket", &socket], check].concat();
        let mut program = Program::start(&options);
        assert_eq!(program.end().code(), Some(78), "{}", program.log());
        program.says("limits.memory is 20.0M; up to");
    }
    let config = looping(&folder, &format!("limits.memory = \"{}M\"", most.ceil()));
    let program = Program::start(&["--config", &config, "--socket", &socket]);
    Client::connect(&socket).report();
    drop(program);
}

#[test]
fn what_is_logged_is_one_line_each_with_its_priority_where_the_journal_listens() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new();
    let log = folder.path("journal");
    let run = |journal: bool| {
        let file = fs::File::create(&log).expect("a file");
        let of = file.metadata().expect("its number");
        let mut command = Process::new(env!("CARGO_BIN_EXE_tarsier"));
        command
            .current_dir(root())
            .args(["detect", "no\n[ERROR] such\u{1b}[31m.jpg"]);
        if journal {
            command.env("JOURNAL_STREAM", format!("{}:{}", of.dev(), of.ino()));
        } else {
            command.env("JOURNAL_STREAM", "1:1");
        }
        let done = command.stderr(file).status().expect("it runs");
        assert_eq!(done.code(), Some(66));
        fs::read_to_string(&log).expect("text")
    };
    let (plain, journal) = (run(false), run(true));
    for text in [&plain, &journal] {
        let lines: Vec<&str> = text.lines().filter(|l| l.contains(".jpg")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(
            lines[0].contains("no\\n[ERROR] such\\u{1b}[31m.jpg"),
            "{text}"
        );
    }
    assert!(plain.lines().all(|l| l.starts_with('[')), "{plain}");
    assert!(
        journal
            .lines()
            .all(|l| l.starts_with("<3>") || l.starts_with("<4>")),
        "{journal}"
    );
}
