//! The loop, alive: real processes, FIFOs, sockets and signals.

#![allow(
    clippy::disallowed_methods,
    reason = "angles are compared within a tolerance"
)]

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Cursor, Write},
    os::unix::net::UnixDatagram,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tarsier::pack::{ALIGN, Pack};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

#[path = "run/clock.rs"]
mod clock;
#[path = "run/presence.rs"]
mod presence;
mod program;

use program::{Client, Folder, PATIENCE, Program, command, command_on, root};

const PHOTO: &str = "models/sample/coffee.jpg";

/// A photo that is shown over and over, and a socket.
fn showing<'a>(socket: &'a str, source: &'a str) -> Vec<&'a str> {
    vec!["--source", source, "--socket", socket]
}

/// A configuration that shows a photo over and over.
fn looping(photo: &str, more: &str) -> String {
    format!("{more}\n[source]\nkind = \"files\"\npath = \"{photo}\"\nrepeat = true\nfps = 50.0\n")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

fn sequence(report: &Value) -> u64 {
    number(&report["header"]["seq"])
}

/// The lines of a program that ends by itself.
fn lines_of(command: &mut std::process::Command, input: &[u8]) -> (Vec<Value>, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = Program::of(command);
    let mut stdin = program.child.stdin.take().expect("a pipe");
    let stdout = program.child.stdout.take().expect("a pipe");
    let reader = thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        lines
            .map(|l| serde_json::from_str(&l.expect("text")).expect("JSON"))
            .collect()
    });
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    let status = program.end();
    assert_eq!(status.code(), Some(0), "{}", program.log());
    (reader.join().expect("lines"), program.log())
}

// Sources.

#[test]
fn photos_are_reported_one_by_one_and_none_is_lost() {
    let (reports, log) = lines_of(&mut command(&["--source", "files:models/sample"]), b"");
    let sizes: Vec<_> = reports
        .iter()
        .map(|r| (&r["width"], &r["height"]))
        .collect();
    assert_eq!(reports.len(), 4, "{sizes:?}");
    assert_eq!(reports[3]["dropped"]["late"], 0);
    let sequences: Vec<u64> = reports.iter().map(sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3]);
    assert!(log.contains("stopping: the source ended"), "{log}");
}

#[test]
fn the_loop_finds_what_detect_finds() {
    let detect = std::process::Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .args(["detect", PHOTO, "--format", "json"])
        .output()
        .expect("it runs");
    let wanted: Value = serde_json::from_slice(&detect.stdout).expect("JSON");
    // in the first frame nothing is followed yet, and nothing changes
    let source = format!("files:{PHOTO}");
    let (reports, _) = lines_of(&mut command(&["--source", &source]), b"");
    assert_eq!(reports[0]["detections"], wanted["detections"]);
}

#[test]
fn with_masks_a_report_has_the_pixels_that_segment_says() {
    let folder = Folder::new();
    let segment = std::process::Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .args(["segment", PHOTO, "--format", "json"])
        .output()
        .expect("it runs");
    let wanted: Value = serde_json::from_slice(&segment.stdout).expect("JSON");
    let source = format!("files:{PHOTO}");
    let config = folder.file("c.toml", "[task]\nmasks = true\n");
    let options = ["--config", &config, "--source", &source];
    let (reports, _) = lines_of(&mut command(&options), b"");
    assert!(wanted["detections"][0]["mask"].is_object(), "{wanted}");
    assert_eq!(reports[0]["detections"], wanted["detections"]);
}

/// What another command says of the photo, in JSON.
fn said(arguments: &[&str]) -> Value {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .args(arguments)
        .args([PHOTO, "--format", "json"])
        .output()
        .expect("it runs");
    serde_json::from_slice(&done.stdout).expect("JSON")
}

/// Name, whether it is a thing, pixels.
fn segments(list: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = (list.as_array().expect("a list").iter())
        .map(|s| json!([s["class_id"], s["isthing"], s["area"], s["mask"]]))
        .collect();
    all.sort_by_key(Value::to_string);
    all
}

#[test]
fn a_task_gives_what_semantic_ground_and_everything_say_from_the_same_frame() {
    let folder = Folder::new();
    let task = "[task]\nsemantic = true\neverything = true\nground = [\"the bowl\", \"a zebra\"]\n";
    let config = folder.file("c.toml", task);
    let source = format!("files:{PHOTO}");
    let (reports, log) = lines_of(
        &mut command(&["--config", &config, "--source", &source]),
        b"",
    );
    let report = &reports[0];
    assert_eq!(
        report["detections"],
        said(&["detect"])["detections"],
        "{log}"
    );
    let wanted = said(&["semantic"]);
    assert_eq!(segments(&report["segments"]), segments(&wanted["classes"]));
    let wanted = said(&["ground", "--sentence", "the bowl", "--sentence", "a zebra"]);
    assert_eq!(report["groundings"], wanted["groundings"]);
    assert!(report["groundings"][0]["bbox"].is_object());
    assert_eq!(report["groundings"][1]["bbox"], Value::Null);
    assert_eq!(report["objects"], said(&["everything"])["detections"]);
    // the rest is what it is without a task
    assert!(report["detections"][0].get("mask").is_none());
}

#[test]
fn a_part_of_the_frame_has_its_segments_where_it_lies() {
    let folder = Folder::new();
    let text = "[task]\npanoptic = true\neverything = true\n[region]\nx_offset = 60\ny_offset = 0\nwidth = 540\nheight = 400\n";
    let config = folder.file("c.toml", text);
    let source = format!("files:{PHOTO}");
    let (reports, _) = lines_of(
        &mut command(&["--config", &config, "--source", &source]),
        b"",
    );
    let segments = reports[0]["segments"].as_array().expect("a list");
    let thing = segments
        .iter()
        .find(|s| s["isthing"] == true)
        .expect("a thing");
    assert_eq!(
        thing["class_id"],
        reports[0]["detections"][0]["results"][0]["class_id"]
    );
    assert_eq!(thing["mask"]["size"], json!([400, 600]));
    let areas: Vec<u64> = segments.iter().map(|s| number(&s["area"])).collect();
    assert!(areas.is_sorted_by(|a, b| a >= b), "{areas:?}");
    assert!(areas.iter().sum::<u64>() <= 540 * 400);
    let objects = reports[0]["objects"].as_array().expect("a list");
    let left = |o: &Value| o["bbox"]["center"]["x"].as_f64().expect("a number");
    assert!(!objects.is_empty() && objects.iter().all(|o| left(o) >= 60.0));
}

#[test]
fn a_task_is_changed_by_command_and_refused_whole() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    assert!(client.report().get("segments").is_none());
    let set = |task: Value| json!({"command": "set_task", "task": task});
    client.command(set(
        json!({"panoptic": true, "stuff": ["table", "wall"], "ground": ["the bowl"]}),
    ));
    let report = client.report();
    assert!(report["segments"].is_array(), "{report}");
    assert_eq!(report["groundings"][0]["sentence"], "the bowl");
    let both = client.refused(set(json!({"panoptic": true, "semantic": true})));
    assert_eq!(both.0, "invalid", "{both:?}");
    let unknown = client.refused(set(json!({"panoptick": true})));
    assert_eq!(unknown.0, "invalid", "{unknown:?}");
    assert!(
        client.report()["segments"].is_array(),
        "what was before still holds"
    );
    client.command(set(json!({})));
    let report = client.report();
    assert!(report.get("segments").is_none() && report.get("groundings").is_none());
}

#[test]
fn mjpeg_on_a_pipe_is_cut_at_its_markers_and_damage_costs_one_picture() {
    let photo = fs::read(root().join(PHOTO)).expect("a photo");
    let stream = [
        b"--boundary\r\n\r\n".as_slice(),
        &photo,
        b"noise \xFF\xD8\xFF\xDA noise",
        &photo[..photo.len() / 2],
        &photo,
        &photo,
    ]
    .concat();
    let folder = Folder::new();
    let config = folder.file(
        "c.toml",
        "[source]\nkind = \"mjpeg\"\npath = \"-\"\nwait = true\n",
    );
    let (reports, _) = lines_of(&mut command(&["--config", &config]), &stream);
    assert_eq!(reports.len(), 3);
    // what is found a third time has an id
    let mut reports = reports;
    for detection in reports[2]["detections"].as_array_mut().expect("a list") {
        let fields = detection.as_object_mut().expect("an object");
        for field in ["id", "smoothed_score"] {
            assert!(fields.remove(field).is_some(), "{field}");
        }
    }
    assert!(number(&reports[2]["dropped"]["damaged"]) >= 1);
    assert_eq!(reports[0]["detections"], reports[2]["detections"]);
}

#[test]
fn raw_frames_on_a_pipe_are_read_whole_and_a_cut_one_is_left_out() {
    let frame = vec![90u8; 64 * 48 * 3];
    let stream = [frame.repeat(5), frame[..100].to_vec()].concat();
    let folder = Folder::new();
    let config = folder.file(
        "c.toml",
        "[source]\nkind = \"raw\"\npath = \"-\"\nwait = true\nformat = \"rgb24\"\nwidth = 64\nheight = 48\n",
    );
    let (reports, _) = lines_of(&mut command(&["--config", &config]), &stream);
    assert_eq!(reports.len(), 5);
    assert_eq!(reports[0]["width"], 64);
    let times: Vec<u64> = reports.iter().map(|r| number(&r["captured_ns"])).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_fifo_whose_writer_leaves_is_waited_for_and_comes_back() {
    let folder = Folder::new();
    let (fifo, socket) = (folder.fifo("camera"), folder.text("sock"));
    let source = format!("grey:32x32:{fifo}");
    let program = Program::start(&showing(&socket, &source));
    let mut client = Client::connect(&socket);
    // nobody writes yet
    let why = client.state("degraded")["why"].to_string();
    assert!(why.contains("camera lost"), "{why}");
    let mut last = None;
    for _ in 0..3 {
        let mut writer = OpenOptions::new()
            .write(true)
            .open(&fifo)
            .expect("a reader");
        for _ in 0..3 {
            writer.write_all(&[80; 32 * 32]).expect("a reader");
            let report = client.report();
            assert!(last < Some(sequence(&report)), "{last:?}: {report}");
            last = Some(sequence(&report));
        }
        drop(writer);
        let why = client.state("degraded")["why"].to_string();
        assert!(why.contains("writer closed"), "{why}");
    }
    // the log goes its own way, and may come behind the links
    program.says_so_often("degraded:", 4);
}

#[test]
fn between_frames_no_thread_computes() {
    let folder = Folder::new();
    let (fifo, socket) = (folder.fifo("camera"), folder.text("sock"));
    let source = format!("grey:32x32:{fifo}");
    let program = Program::of(&mut command_on("4", &showing(&socket, &source)));
    let mut client = Client::connect(&socket);
    let mut writer = OpenOptions::new()
        .write(true)
        .open(&fifo)
        .expect("a reader");
    for _ in 0..3 {
        writer.write_all(&[80; 32 * 32]).expect("a reader");
        client.report();
    }
    thread::sleep(Duration::from_millis(50)); // what follows the last report
    let before = processor_time(program.pid());
    thread::sleep(Duration::from_secs(1));
    let used = processor_time(program.pid()) - before;
    assert!(used <= Duration::from_millis(50), "{used:?} in a second");
    // and the threads that rest come back
    writer.write_all(&[80; 32 * 32]).expect("a reader");
    client.report();
}

/// What a process and its threads have computed so far, to a hundredth of a second.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|t| t.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

#[test]
fn a_camera_that_is_removed_is_lost_and_one_that_is_brought_back_goes_on() {
    let folder = Folder::new();
    let (camera, away) = (folder.text("camera.jpg"), folder.text("away.jpg"));
    fs::copy(root().join(PHOTO), &camera).expect("a copy");
    let config = folder.file("c.toml", looping(&camera, ""));
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    let before = sequence(&client.report());
    for _ in 0..2 {
        fs::rename(&camera, &away).expect("it goes");
        let why = client.state("degraded")["why"].to_string();
        assert!(
            why.contains("camera lost") && why.contains("No such file"),
            "{why}"
        );
        fs::rename(&away, &camera).expect("it comes back");
        client.state("running");
    }
    assert!(sequence(&client.report()) > before);
}

#[test]
fn the_newest_frame_wins_and_the_others_are_counted() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, "rate.fps = 5.0"));
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    let (first, began) = (client.report(), Instant::now());
    let mut last = Value::Null;
    for _ in 0..10 {
        last = client.report();
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1900),
        "ten frames at 5 per second took {took:?}"
    );
    let late = number(&last["dropped"]["late"]) - number(&first["dropped"]["late"]);
    assert!(late > 20, "{late} of about 90 were left out");
    // what is looked at is new: at most one period of the source and one inference old
    assert!(number(&last["latency_us"]) < 1_000_000, "{last}");
}

// Commands.

#[test]
fn commands_hold_from_one_frame_on_and_every_report_says_which_prompts_it_is_of() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, "prompts.threshold = 0.01"));
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    assert_eq!(client.report()["prompts_version"], 1);
    let hello = client.command(json!({"command": "hello"}));
    assert_eq!(hello["hello"]["prompts"], 80);

    let prompts = json!(["bowl", {"text": "spoon", "threshold": 0.99}]);
    let version = client.command(json!({"command": "set_prompts", "prompts": prompts}));
    assert_eq!(version, json!({"prompts_version": 2}));
    for _ in 0..5 {
        let report = client.report();
        let names: Vec<&str> = (report["detections"].as_array().expect("a list").iter())
            .map(|d| d["results"][0]["class_id"].as_str().expect("a name"))
            .collect();
        // between the answer and now, no report of the old set
        assert_eq!(report["prompts_version"], 2);
        assert!(
            !names.is_empty() && names.iter().all(|&n| n == "bowl"),
            "{names:?}"
        );
    }

    // a refused command changes nothing
    let (name, text) = client.refused(
        json!({"command": "add_prompts", "prompts": ["cup", {"text": "bowll", "kind": "name"}]}),
    );
    assert_eq!(name, "unknown_prompt");
    assert!(text.contains("bowl"), "{text}");
    assert_eq!(client.report()["prompts_version"], 2);

    client.command(json!({"command": "add_prompts", "prompts": ["cup"]}));
    client.command(json!({"command": "remove_prompts", "prompts": ["Spoon"]}));
    let listed = client.command(json!({"command": "get_prompts"}));
    assert_eq!(listed["prompts"]["names"], json!(["bowl", "cup"]));
    assert_eq!(listed["prompts"]["prompts_version"], 4);
    client.command(json!({"command": "set_threshold", "threshold": 1.0}));
    let report = client.report();
    assert_eq!(report["detections"], json!([]), "{report}");
    let (name, _) =
        client.refused(json!({"command": "remove_prompts", "prompts": ["bowl", "cup"]}));
    assert_eq!(name, "invalid");
}

#[test]
fn groups_are_one_answer_and_rejects_take_what_they_beat() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, "prompts.threshold = 0.05"));
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    let mut found = |prompts: Value| -> Vec<(String, Value)> {
        let answer = client.command(json!({"command": "set_prompts", "prompts": prompts}));
        let version = answer["prompts_version"].clone();
        let report = client.until("report", |m| {
            m["prompts_version"] == version && m["type"] == "report"
        });
        let list = report["detections"].as_array().expect("a list").clone();
        list.into_iter()
            .map(|d| {
                let name = d["results"][0]["class_id"].as_str().expect("a name");
                (name.to_owned(), d["bbox"].clone())
            })
            .collect()
    };
    let apart = found(json!(["bowl", "cup"]));
    assert!(apart.iter().any(|(n, _)| n == "bowl"), "{apart:?}");
    let together = found(json!([
        {"text": "bowl", "group": "dish"}, {"text": "cup", "group": "dish"}
    ]));
    assert!(together.iter().all(|(n, _)| n == "dish"), "{together:?}");
    assert!(!together.is_empty() && together.len() <= apart.len());
    let rejected = found(json!([{"text": "bowl", "reject": true}, "cup"]));
    assert!(rejected.iter().all(|(n, _)| n == "cup"), "{rejected:?}");
}

#[test]
fn a_region_is_looked_at_alone_and_boxes_stay_in_the_frames_pixels() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, "prompts.threshold = 0.01"));
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    let region = json!({"x_offset": 200, "y_offset": 100, "width": 240, "height": 180});
    client.command(json!({"command": "set_region", "region": region}));
    let report = client.report();
    assert_eq!(
        (&report["width"], &report["height"]),
        (&json!(600), &json!(400))
    );
    let found = report["detections"].as_array().expect("a list");
    assert!(!found.is_empty());
    for d in found {
        let f = |v: &Value| v.as_f64().expect("a number");
        let (c, size) = (&d["bbox"]["center"], &d["bbox"]);
        let (x, w) = (f(&c["x"]), f(&size["size_x"]));
        let (y, h) = (f(&c["y"]), f(&size["size_y"]));
        assert!(x - w / 2.0 > 199.9 && x + w / 2.0 < 440.1, "{d}");
        assert!(y - h / 2.0 > 99.9 && y + h / 2.0 < 280.1, "{d}");
    }
    let outside = json!({"x_offset": 700, "y_offset": 0, "width": 10, "height": 10});
    let (name, _) = client.refused(json!({"command": "set_region", "region": outside}));
    assert_eq!(name, "invalid");
    client.command(json!({"command": "set_region", "region": null}));
}

/// Names and ids of a report.
fn ids(report: &Value) -> Vec<(String, Option<String>)> {
    let list = report["detections"].as_array().expect("a list").iter();
    let text = |v: &Value| v.as_str().map(str::to_owned);
    list.map(|d| {
        (
            text(&d["results"][0]["class_id"]).expect("a name"),
            text(&d["id"]),
        )
    })
    .collect()
}

#[test]
fn ids_stay_over_pauses_and_other_prompts_and_end_with_the_last_name() {
    let folder = Folder::new();
    let config = folder.file(
        "c.toml",
        looping(PHOTO, "prompts.list = [\"bowl\"]\ntrack.lost_s = 30.0"),
    );
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    let first = client.until("an id", |m| !m["detections"][0]["id"].is_null());
    let bowl = vec![("bowl".to_owned(), Some("1".to_owned()))];
    assert_eq!(ids(&first), bowl);
    client.command(json!({"command": "pause"}));
    client.state("paused");
    client.command(json!({"command": "resume"}));
    client.state("running");
    assert_eq!(ids(&client.report()), bowl);
    // another prompt before it: its index changes, its name does not
    let prompts = json!({"command": "set_prompts", "prompts": ["person", "bowl"]});
    let answer = client.command(prompts);
    let version = &answer["prompts_version"];
    let report = client.until("a report", |m| {
        m["prompts_version"] == *version && m["type"] == "report"
    });
    assert_eq!(ids(&report), bowl);
    // gone and back again: another thing
    for prompts in [json!(["person"]), json!(["bowl"])] {
        let answer = client.command(json!({"command": "set_prompts", "prompts": prompts}));
        let version = answer["prompts_version"].clone();
        client.until("a report", |m| {
            m["prompts_version"] == version && m["type"] == "report"
        });
    }
    let again = client.until("an id", |m| !m["detections"][0]["id"].is_null());
    assert_eq!(again["detections"][0]["id"], "2");
}

#[test]
fn ids_and_directions_are_as_the_configuration_says_also_when_it_is_read_again() {
    let folder = Folder::new();
    let camera = "camera = { fov_deg = 60.0, height_m = 0.4, pitch_deg = -30.0 }";
    let config = folder.file(
        "c.toml",
        looping(PHOTO, &format!("track.enabled = false\n{camera}")),
    );
    let socket = folder.text("sock");
    let program = Program::start(&[
        "--config",
        &config,
        "--socket",
        &socket,
        "--prompt",
        "bowl",
        "--threshold",
        "0.02",
    ]);
    let mut client = Client::connect(&socket);
    let check = |report: &Value| {
        let found = &report["detections"][0];
        assert!(found["id"].is_null(), "{report}");
        let number = |v: &Value| v.as_f64().expect("a number");
        let center = &found["bbox"]["center"];
        // 600 pixels are 60 degrees; the camera looks 30 degrees down
        let (right, below) = (number(&center["x"]) - 300.0, number(&center["y"]) - 200.0);
        let focal = 300.0 / 30f64.to_radians().tan();
        let (sin, cos) = 30f64.to_radians().sin_cos();
        let wanted = right.atan2(focal * cos - below * sin).to_degrees();
        let sight = &found["sight"];
        assert!(
            (number(&sight["bearing_deg"]) - wanted).abs() < 0.02,
            "{report}"
        );
    };
    for _ in 0..5 {
        let report = client.report();
        check(&report);
        let range = report["detections"][0]["sight"]["range_m"].as_f64();
        assert!(range.is_some_and(|m| m > 0.1 && m < 2.0), "{report}");
    }
    // in a region, angles are still those of the whole frame's pixels
    let region = json!({"x_offset": 100, "y_offset": 10, "width": 400, "height": 300});
    client.command(json!({"command": "set_region", "region": region}));
    check(&client.until("a detection", |m| m["detections"][0].is_object()));
    client.command(json!({"command": "set_region", "region": null}));
    folder.file("c.toml", looping(PHOTO, ""));
    program.signal("HUP");
    let report = client.until("an id", |m| !m["detections"][0]["id"].is_null());
    assert!(report["detections"][0]["sight"].is_null(), "{report}");
}

#[test]
fn paused_it_reports_only_when_asked() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    client.command(json!({"command": "pause"}));
    client.state("paused");
    while client.message(Duration::from_millis(300)).is_some() {}
    client.command(json!({"command": "report_once"}));
    client.report();
    let more = client.message(Duration::from_millis(500));
    assert!(more.is_none(), "{more:?}");
    client.command(json!({"command": "resume"}));
    client.state("running");
    client.report();
    let enrol = json!({"command": "enrol", "name": "mug", "region": {"x_offset": 0, "y_offset": 0, "width": 9, "height": 9}});
    assert_eq!(client.refused(enrol).0, "not_found");
}

#[test]
fn the_last_reports_masks_are_answered_as_run_lengths_and_older_ones_are_gone() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let socket = folder.text("sock");
    let _program = Program::start(&[
        "--config",
        &config,
        "--socket",
        &socket,
        "--threshold",
        "0.05",
    ]);
    let mut client = Client::connect(&socket);
    client.report();
    client.command(json!({"command": "pause"}));
    client.state("paused");
    while client.message(Duration::from_millis(300)).is_some() {}
    for region in [
        Value::Null,
        json!({"x_offset": 100, "y_offset": 10, "width": 400, "height": 300}),
    ] {
        let offset = region.get("x_offset").map_or([0, 0], |_| [100, 10]);
        let size = region.get("x_offset").map_or([400, 600], |_| [300, 400]);
        client.command(json!({"command": "set_region", "region": region}));
        client.command(json!({"command": "report_once"}));
        let report = client.report();
        let ask = |sequence: u64, detection: u32| json!({"command": "mask", "sequence": sequence, "detection": detection});
        let answer = client.command(ask(sequence(&report), 0));
        let mask = &answer["mask"];
        assert_eq!(
            (&mask["size"], &mask["offset"]),
            (&json!(size), &json!(offset))
        );
        let inside = number(&mask["area"]) as f64;
        let side = |key: &str| {
            report["detections"][0]["bbox"][key]
                .as_f64()
                .expect("a side")
        };
        assert!(
            inside <= (side("size_x") + 1.0) * (side("size_y") + 1.0),
            "{answer}, {report}"
        );
        assert_ne!(mask["counts"], "");
        let mut bits = ask(sequence(&report), 0);
        bits["bits"] = json!(true);
        let bits = &client.command(bits)["bits"];
        assert_eq!(
            (&bits["size"], &bits["area"]),
            (&json!([128, 128]), &mask["area"])
        );
        assert_eq!(bits["bits"].as_str().expect("a text").len(), 2732);
        assert_eq!(client.refused(ask(sequence(&report) - 1, 0)).0, "not_found");
        assert_eq!(client.refused(ask(sequence(&report), 9999)).0, "not_found");
        client.command(json!({"command": "self_test"}));
        let (_, why) = client.refused(ask(sequence(&report), 0));
        assert!(why.contains("frame is gone"), "{why}");
    }
}

// Staying alive.

#[test]
fn killed_and_started_again_it_takes_its_socket_back_and_no_number_means_two_reports() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let socket = folder.text("sock");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let mut program = Program::start(&["--config", &config, "--socket", &socket]);
        let mut client = Client::connect(&socket);
        for _ in 0..5 {
            let report = client.report();
            let key = (number(&report["run"]), sequence(&report));
            assert!(seen.insert(key), "{key:?} was there before");
        }
        program.signal("KILL");
        program.end();
    }
}

#[test]
fn a_disk_that_is_full_where_logs_go_changes_nothing() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let socket = folder.text("sock");
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = command(&["--config", &config, "--socket", &socket]);
    command.stderr(full).env("TARSIER_LOG", "trace");
    let mut program = Program::of(&mut command);
    let mut client = Client::connect(&socket);
    for _ in 0..5 {
        client.report();
    }
    client.command(json!({"command": "set_prompts", "prompts": ["cup"]}));
    client.report();
    program.signal("TERM");
    assert_eq!(program.end().code(), Some(0));
}

#[test]
fn sigterm_finishes_the_report_says_so_and_leaves_with_0() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let socket = folder.text("sock");
    let mut program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    let began = Instant::now();
    program.signal("TERM");
    let why = client.state("stopping")["why"].clone();
    assert_eq!(why, "SIGTERM");
    assert_eq!(program.end().code(), Some(0), "{}", program.log());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(!Path::new(&socket).exists(), "the socket is removed");
}

#[test]
fn sighup_takes_a_new_configuration_and_refuses_a_wrong_one() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let socket = folder.text("sock");
    let program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    folder.file(
        "c.toml",
        looping(PHOTO, "prompts.list = [\"bowl\", \"cat\"]"),
    );
    program.signal("HUP");
    client.until("new prompts", |m| {
        m["event"] == "prompts_changed" && m["count"] == 2
    });
    for wrong in [
        "prompts.lst = [\"cat\"]",
        "prompts.list = [{ text = \"blorb\", kind = \"name\" }]",
        "links.socket = [{ path = \"/nowhere/sock\" }]",
    ] {
        folder.file("c.toml", looping(PHOTO, wrong));
        program.signal("HUP");
        let why = client.fault("configuration");
        assert!(why.contains("the one before goes on"), "{why}");
        let report = client.report();
        assert_eq!(report["prompts_version"], 2, "{wrong}");
    }
    // another source
    let other = folder.text("other.jpg");
    fs::copy(root().join("models/sample/chelsea.jpg"), &other).expect("a copy");
    folder.file(
        "c.toml",
        looping(&other, "prompts.list = [\"bowl\", \"cat\"]"),
    );
    program.signal("HUP");
    client.until("the other photo", |m| m["width"] == 451);
}

#[test]
fn when_it_is_hot_it_does_less_and_says_so() {
    let folder = Folder::new();
    let sensor = folder.file("temp", "40000\n");
    let heat = format!("[heat]\nsensor = \"{sensor}\"\nperiod_s = 0.1");
    let config = folder.file("c.toml", looping(PHOTO, &heat));
    let socket = folder.text("sock");
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.state("running");
    fs::write(&sensor, "95000\n").expect("heat");
    let why = client.state("degraded")["why"].to_string();
    assert!(why.contains("hot: 95 degrees"), "{why}");
    assert_eq!(client.telemetry()["temperature_c"], 95.0);
    // some looks later, inference gets the tenth of the time that is always left to it
    thread::sleep(Duration::from_millis(1500));
    client.telemetry();
    client.report();
    let (began, count) = (Instant::now(), 8);
    for _ in 0..count {
        client.report();
    }
    let pause = began.elapsed() / count;
    let inference = Duration::from_micros(number(&client.telemetry()["inference_p50_us"]));
    assert!(
        pause > 5 * inference,
        "a report every {pause:?}, of which {inference:?} are work"
    );
    fs::write(&sensor, "40000\n").expect("cold");
    client.state("running");
}

#[test]
fn the_service_manager_is_told_ready_alive_status_and_stopping() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut command = command(&["--config", &config]);
    command
        .env("NOTIFY_SOCKET", folder.path("notify"))
        .env("WATCHDOG_USEC", "900000");
    let mut program = Program::of(&mut command);
    let mut heard = String::new();
    let mut hear = |until: &dyn Fn(&str) -> bool| {
        let mut buffer = [0; 4096];
        while !until(&heard) {
            let n = manager.recv(&mut buffer).expect("a message in time");
            heard += &String::from_utf8_lossy(&buffer[..n]);
            heard += "\n";
        }
        heard.clone()
    };
    hear(&|h| h.contains("READY=1"));
    let began = Instant::now();
    hear(&|h| h.matches("WATCHDOG=1").count() >= 4);
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(900),
        "not more often than needed: {took:?}"
    );
    hear(&|h| h.contains("STATUS=running"));
    program.signal("TERM");
    hear(&|h| h.contains("STOPPING=1"));
    assert_eq!(program.end().code(), Some(0));
}

/// The default pack with another digest of the golden frame, its checksums right.
fn pack_that_fails_its_test(path: &Path) {
    let pack = Pack::open(&root().join("models/tarsier-s.tarsier")).expect("the default pack");
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGN as u16);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in pack.sections() {
        zip.start_file(name, options).expect("an entry");
        if name == "manifest.json" {
            let mut manifest: Value = serde_json::from_slice(bytes).expect("JSON");
            manifest["golden"] = json!("00");
            zip.write_all(manifest.to_string().as_bytes())
                .expect("bytes");
        } else {
            zip.write_all(bytes).expect("bytes");
        }
    }
    fs::write(path, zip.finish().expect("an archive").into_inner()).expect("a file");
}

#[test]
fn a_pack_that_fails_its_self_test_is_left_for_the_previous_one_and_that_is_said() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, "telemetry.period_s = 0.3"));
    let (pack, socket) = (folder.text("m.tarsier"), folder.text("sock"));
    let arguments = ["--config", &config, "--socket", &socket, "--pack", &pack];
    pack_that_fails_its_test(Path::new(&pack));
    let mut alone = Program::start(&arguments);
    assert_eq!(alone.end().code(), Some(65), "{}", alone.log());
    alone.says("self-test: the golden frame gives");

    let good = root().join("models/tarsier-s.tarsier");
    fs::copy(&good, folder.path("m.tarsier.previous")).expect("a copy");
    let _program = Program::start(&arguments);
    let mut client = Client::connect(&socket);
    let why = client.fault("pack");
    assert!(
        why.contains("golden frame") && why.contains(".previous"),
        "{why}"
    );
    client.report();
    // the same at run time: what is in use goes on
    let (name, _) = client.refused(json!({"command": "reload_pack"}));
    assert_eq!(name, "failed");
    client.report();
    fs::copy(&good, folder.path("new")).expect("a copy");
    fs::rename(folder.path("new"), &pack).expect("installed by renaming");
    client.command(json!({"command": "reload_pack"}));
    let version = client.report()["prompts_version"].clone();
    assert_eq!(version, 2, "the prompts were made again");
}

// No network.

#[test]
fn network_sockets_are_refused_to_every_thread_and_work_goes_on() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, "sandbox.required = true"));
    let socket = folder.text("sock");
    let program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    // the program itself tries to open one, now
    let answer = client.command(json!({"command": "self_test"}));
    let text = answer["text"].to_string();
    assert!(text.contains("network sockets are refused"), "{text}");
    assert!(text.contains("golden frame"), "{text}");
    for thread in fs::read_dir(format!("/proc/{}/task", program.pid())).expect("threads") {
        let status = fs::read_to_string(thread.expect("a thread").path().join("status"));
        let status = status.expect("a status");
        let filter = status.lines().find(|l| l.starts_with("Seccomp:"));
        assert_eq!(filter, Some("Seccomp:\t2"), "{status}");
    }
    // a new client, a new configuration and a new source still work
    let mut another = Client::connect(&socket);
    another.report();
    program.signal("HUP");
    client.report();
}

#[test]
fn without_the_sandbox_the_same_probe_finds_the_network_open() {
    // proof that the test above can fail
    let refused = tarsier::run::sandbox::probe();
    assert!(refused.is_err(), "{refused:?}");
}

// Configuration.

#[test]
fn a_wrong_configuration_is_78_with_its_line_and_a_missing_one_66() {
    let folder = Folder::new();
    let config = folder.file(
        "c.toml",
        "[source]\nkind = \"mjpeg\"\npath = \"-\"\n\n[rat]\n",
    );
    let mut program = Program::start(&["--config", &config, "--check-config"]);
    assert_eq!(program.end().code(), Some(78));
    program.says(&format!("{config}:5: unknown key \"rat\"; nearest: rate"));
    let mut missing = Program::start(&["--config", "/nowhere/c.toml"]);
    assert_eq!(missing.end().code(), Some(66));
    let mut nothing = Program::start(&[]);
    assert_eq!(nothing.end().code(), Some(64));
    nothing.says("no source");
    let mut unknown = Program::start(&["--source", "camera"]);
    assert_eq!(unknown.end().code(), Some(64));
}

#[test]
fn options_override_the_file_and_what_is_printed_is_a_configuration() {
    let folder = Folder::new();
    let config = folder.file(
        "c.toml",
        looping(PHOTO, "rate.fps = 5.0\nengine.threads = 3"),
    );
    let print = |arguments: &[&str]| {
        let all = [&["--config", &config, "--print-config"], arguments].concat();
        let output = command(&all)
            .stdout(Stdio::piped())
            .output()
            .expect("it runs");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    let printed = print(&[
        "--rate",
        "7.5",
        "--source",
        "v4l2:/dev/video3",
        "--prompt",
        "cup",
    ]);
    for line in [
        "fps = 7.5",
        "kind = \"v4l2\"",
        "path = \"/dev/video3\"",
        "threads = 1",
        "text = \"cup\"",
    ] {
        assert!(printed.contains(line), "no {line:?} in\n{printed}");
    }
    let again = folder.file("again.toml", &printed);
    let check = command(&["--config", &again, "--check-config"])
        .output()
        .expect("it runs");
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn a_reader_that_went_away_ends_the_program_in_silence() {
    let folder = Folder::new();
    let config = folder.file("c.toml", looping(PHOTO, ""));
    let mut command = command(&["--config", &config]);
    command.stdout(Stdio::piped());
    let mut program = Program::of(&mut command);
    let stdout = program.child.stdout.take().expect("a pipe");
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a report");
    drop(reader);
    assert_eq!(program.end().code(), Some(0), "{}", program.log());
}

#[test]
fn a_pack_is_installed_by_renaming_and_the_one_before_is_kept() {
    let folder = Folder::new();
    let good = root().join("models/tarsier-s.tarsier");
    let (bad, to) = (folder.path("bad"), folder.text("m.tarsier"));
    pack_that_fails_its_test(&bad);
    let install = |from: &Path| {
        std::process::Command::new(env!("CARGO_BIN_EXE_tarsier"))
            .args(["pack", "install", from.to_str().expect("UTF-8"), &to])
            .output()
            .expect("it runs")
    };
    assert!(install(&good).status.success());
    assert!(
        !folder.path("m.tarsier.previous").exists(),
        "there was none"
    );
    File::options().append(true).open(&to).expect("a pack"); // it is there and ours
    let refused = install(&bad);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    assert_eq!(
        fs::read(&to).expect("a pack"),
        fs::read(&good).expect("a pack")
    );
    assert!(install(&good).status.success());
    assert!(folder.path("m.tarsier.previous").exists());
    let left: Vec<_> = fs::read_dir(&folder.0).expect("a folder").collect();
    assert_eq!(left.len(), 3, "nothing half done stays: {left:?}");
}
