//! Presence as a robot gets it: photos with a cat and without one, through the program, in reports and as events.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tarsier::frame::file::Photo;

use super::{Client, Folder, PATIENCE, PHOTO, Program, command, looping, number, root, sequence};

const CAT: &str = "models/sample/chelsea.jpg";

/// The upper left part of a photo, 448 by 296 pixels: cameras do not change their size from frame to frame.
fn frame_of(photo: &Path) -> Vec<u8> {
    let image = Photo::open(photo).expect("a photo");
    let frame = image.frame(0);
    let row = 3 * frame.size().width as usize;
    let rows = frame.pixels().chunks_exact(row).take(296);
    rows.flat_map(|row| &row[..3 * 448]).copied().collect()
}

/// Photos as a stream of raw pictures: each so often.
fn stream(shown: &[(&str, usize)]) -> Vec<u8> {
    let read = |(path, times): &(&str, usize)| frame_of(&root().join(path)).repeat(*times);
    shown.iter().flat_map(read).collect()
}

/// What is printed of a recording, byte by byte.
fn printed(config: &str, source: &str) -> Vec<u8> {
    let output = command(&["--config", config, "--source", source])
        .stdout(Stdio::piped())
        .output()
        .expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    output.stdout
}

fn parsed(lines: &[u8]) -> Vec<Value> {
    let lines = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["presence"].as_array().expect("presence");
    let found = all.iter().find(|p| p["class_id"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn three_tenths_of_a_second_are_nine_pictures_of_thirty_and_no_more() {
    let folder = Folder::new();
    let text = "task.presence = true\npresence.dwell_s = 0.3\nprompts.list = [\"cat\"]\n";
    let config = folder.file("c.toml", text);
    let recording = folder.file("photos.rgb", stream(&[(PHOTO, 15), (CAT, 15)]));
    let reports = parsed(&printed(&config, &format!("rgb24:448x296:{recording}")));
    let appeared = |report: &&Value| report["presence"][0]["change"] == "appeared";
    let appeared: Vec<u64> = reports.iter().filter(appeared).map(sequence).collect();
    // the first with a cat is number 15: nine intervals later
    assert_eq!(appeared, [24]);
}

#[test]
fn a_cat_that_comes_and_goes_is_one_change_each_and_the_same_bytes_again() {
    let folder = Folder::new();
    let text = "task.presence = true\npresence.dwell_s = 0.25\nprompts.list = [\"cat\", \"bus\"]\n";
    let config = folder.file("c.toml", text);
    // 30 pictures a second; among those with a bowl a cat of one frame, and the other way round
    let shown = [
        (PHOTO, 15),
        (CAT, 1),
        (PHOTO, 5),
        (CAT, 20),
        (PHOTO, 2),
        (CAT, 5),
        (PHOTO, 20),
    ];
    let recording = folder.file("photos.rgb", stream(&shown));
    let source = format!("rgb24:448x296:{recording}");
    let lines = printed(&config, &source);
    assert_eq!(printed(&config, &source), lines, "the same bytes");
    let all = parsed(&lines);
    let events: Vec<(usize, &Value)> = (0..)
        .zip(&all)
        .filter(|(_, line)| line["type"] == "event")
        .collect();
    let reports: Vec<&Value> = all.iter().filter(|line| line["type"] == "report").collect();
    assert_eq!(
        (reports.len(), reports.len() + events.len()),
        (68, all.len())
    );
    // what is told on standard output, right behind the report that it comes with
    let told: Vec<_> = events
        .iter()
        .map(|&(at, event)| {
            assert_eq!(
                (&event["event"], &event["source"]),
                (&json!("scene"), &json!("presence"))
            );
            assert_eq!(number(&event["seq"]), sequence(&all[at - 1]));
            (
                number(&event["seq"]),
                event["class_id"].clone(),
                event["kind"].clone(),
            )
        })
        .collect();
    let changes: Vec<_> = (reports.iter())
        .flat_map(|&report| {
            let presence = report["presence"].as_array().expect("presence");
            let changed = presence.iter().filter(|p| p.get("change").is_some());
            changed.map(move |p| (sequence(report), p["class_id"].clone(), p["change"].clone()))
        })
        .collect();
    // 0.25 s are less than eight intervals: the ninth picture in a row
    assert_eq!(
        changes,
        [
            (29, json!("cat"), json!("appeared")),
            (56, json!("cat"), json!("gone"))
        ]
    );
    assert_eq!(told, changes);
    let states = |at: usize| {
        let report = reports[at];
        (
            of(report, "cat")["state"].clone(),
            of(report, "bus")["state"].clone(),
        )
    };
    assert_eq!(states(0), (json!("unsure"), json!("unsure")));
    assert_eq!(states(14), (json!("not_there"), json!("not_there")));
    assert_eq!(states(40), (json!("there"), json!("not_there")));
    assert_eq!(states(67), (json!("not_there"), json!("not_there")));
    for report in &reports {
        let counts = &report["presence_counts"];
        let sum: u64 = ["there", "unsure", "not_there"]
            .map(|k| number(&counts[k]))
            .iter()
            .sum();
        assert_eq!(sum, 2, "{report}");
        for found in report["detections"].as_array().expect("a list") {
            let name = found["results"][0]["class_id"].as_str().expect("a name");
            assert_ne!(of(report, name)["state"], "not_there", "{report}");
        }
        let score = of(report, "cat")["score"].as_f64().expect("a score");
        assert!((0.0..=1.0).contains(&score));
    }
}

#[test]
fn presence_is_switched_over_the_wire_and_names_that_stay_keep_their_states() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let more = "prompts.list = [\"cat\"]\n[presence]\ndwell_s = 0.05\n";
    let config = folder.file("c.toml", looping(CAT, more));
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    assert!(client.report().get("presence").is_none());
    let (name, why) = client.refused(json!({"command": "get_presence"}));
    assert!(
        name == "not_found" && why.contains("set_task"),
        "{name}: {why}"
    );
    client.command(json!({"command": "set_task", "task": {"presence": true}}));
    let scene = |m: &Value| m["event"] == "scene";
    let event = client.until("a cat", scene);
    let said = ["kind", "source", "class_id"].map(|key| event[key].as_str().expect("a word"));
    assert_eq!(said, ["appeared", "presence", "cat"]);
    assert!(event["score"].as_f64() > Some(0.5), "{event}");
    assert_eq!(
        (&event["prompt"], &event["prompts_version"]),
        (&json!(0), &json!(1))
    );
    // whoever comes later learns it from the first report, and is told of no event
    let mut late = Client::connect(&socket);
    assert_eq!(of(&late.report(), "cat")["state"], "there");
    // a name in front of it: another index, no event, and the new one begins anew
    let version = client.command(json!({"command": "set_prompts", "prompts": ["bus", "cat"]}));
    let fresh = client.until("a report of the new set", |m| {
        m["type"] == "report" && m["prompts_version"] == version["prompts_version"]
    });
    let states = ["cat", "bus"].map(|name| of(&fresh, name)["state"].clone());
    assert_eq!(states, ["there", "unsure"]);
    client.until("no bus", |m| {
        m["type"] == "report" && of(m, "bus")["state"] == "not_there"
    });
    let answer = client.command(json!({"command": "get_presence", "from": 1}))["presence"].clone();
    assert_eq!(
        answer["counts"],
        json!({"there": 1, "unsure": 0, "not_there": 1})
    );
    assert_eq!(answer["names"][0]["class_id"], "cat");
    assert_eq!(answer["names"][0]["state"], "there");
    // what is no longer asked for ends without a word
    client.command(json!({"command": "set_prompts", "prompts": ["bus"]}));
    client.command(json!({"command": "set_task", "task": {}}));
    client.until("a report without presence", |m| {
        m["type"] == "report" && m.get("presence").is_none()
    });
    let mut events = 0;
    while let Some(message) = late.message(std::time::Duration::from_millis(100)) {
        events += u32::from(scene(&message));
        if message["type"] == "report" && message.get("presence").is_none() {
            break;
        }
    }
    assert_eq!(events, 0, "false events");
}

#[test]
fn a_reload_keeps_states_and_a_pack_without_such_a_network_is_named() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let text = |dwell: f32| {
        let more = format!(
            "task.presence = true\nprompts.list = [\"cat\"]\n[presence]\ndwell_s = {dwell:.2}\n"
        );
        looping(CAT, &more)
    };
    let config = folder.file("c.toml", text(0.05));
    let program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.until("a cat", |m| m["event"] == "scene");
    fs::write(&config, text(1.0)).expect("a file");
    program.signal("HUP");
    program.says("configuration reloaded");
    client.command(json!({"command": "reload_pack"}));
    for _ in 0..20 {
        let message = client.until("a report or an event", |m| {
            m["type"] == "report" || m["event"] == "scene"
        });
        assert_ne!(message["event"], "scene", "{message}");
        assert_eq!(of(&message, "cat")["state"], "there");
    }
}

#[test]
fn impossible_thresholds_are_refused_with_their_names_before_the_start() {
    let folder = Folder::new();
    for (text, words) in [
        ("presence.enter = nan", "presence.enter is NaN"),
        (
            "presence.enter = 0.2\npresence.leave = 0.3",
            "presence.leave is 0.3, above presence.enter, which is 0.2",
        ),
        (
            "presence.leave = 0.3",
            "presence.leave is given without presence.enter",
        ),
        (
            "presence.hold_s = 0.1",
            "presence.hold_s is 0.1; it must be from presence.dwell_s, 0.5",
        ),
        ("presence.entre = 0.3", "nearest: enter"),
        (
            "limits.presences = 513",
            "limits.presences is 513; 1 to 512",
        ),
    ] {
        let config = folder.file("c.toml", looping(CAT, text));
        for check in [&["--check-config"][..], &[]] {
            let mut program = Program::start(&[&["--config", &config][..], check].concat());
            assert_eq!(program.end().code(), Some(78), "{text}: {}", program.log());
            program.says(words);
        }
    }
}

#[test]
fn of_ten_thousand_prompts_a_report_says_those_that_matter_and_the_rest_is_counted() {
    const COUNT: usize = 10_000;
    let folder = Folder::new();
    let socket = folder.text("sock");
    let (fifo, more) = (
        folder.fifo("camera"),
        "task.presence = true\nlimits.sentences = 10000\n[presence]\ndwell_s = 0.0\nframes = 2\n",
    );
    let source = format!("mjpeg:{fifo}");
    let mut texts: Vec<String> = ["cat", "bus"].map(str::to_owned).to_vec();
    texts.extend((0..COUNT - 2).map(|i| format!("bus {i}")));
    let list = serde_json::to_string(&texts).expect("a list");
    let config = folder.file("c.toml", format!("prompts.list = {list}\n{more}"));
    let options = [
        "--config", &config, "--source", &source, "--socket", &socket,
    ];
    let program = Program::start(&options);
    // so many texts are encoded before it starts
    let end = Instant::now() + 10 * PATIENCE;
    while !Path::new(&socket).exists() && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    let mut client = Client::connect(&socket);
    let mut camera = OpenOptions::new()
        .write(true)
        .open(&fifo)
        .expect("a reader");
    let photo = fs::read(root().join(CAT)).expect("a photo");
    let mut told = Vec::new();
    let mut last = Value::Null;
    for frame in 0..12 {
        camera.write_all(&photo).expect("a reader");
        last = loop {
            let message = client.message(PATIENCE).expect("a report");
            if message["event"] == "scene" {
                told.push(message["prompt"].clone());
            }
            if message["type"] == "report" {
                break message;
            }
        };
        let presence = last["presence"].as_array().expect("presence");
        assert_eq!(presence.len(), 64, "frame {frame}");
        let counts = &last["presence_counts"];
        let sum: u64 = ["there", "unsure", "not_there"]
            .map(|k| number(&counts[k]))
            .iter()
            .sum();
        assert_eq!(sum, COUNT as u64);
        let bytes = last.to_string().len();
        assert!(bytes < 20_000, "{bytes}");
    }
    assert_eq!(of(&last, "cat")["state"], "there", "{last}");
    assert!(told.contains(&json!(0)), "{told:?}");
    let mut distinct = told.clone();
    distinct.sort_by_key(Value::to_string);
    distinct.dedup();
    assert_eq!(distinct.len(), told.len(), "each once: {told:?}");
    // all of it, page by page
    let mut from = 0;
    while from < COUNT {
        let page = client.command(json!({"command": "get_presence", "from": from, "count": COUNT}));
        let page = &page["presence"];
        assert!(page.to_string().len() < 200_000);
        let names = page["names"].as_array().expect("names");
        assert!(!names.is_empty(), "{from}");
        from += names.len();
    }
    assert_eq!(from, COUNT);
    drop(program);
}
