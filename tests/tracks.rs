//! Tracks through the program: frames made of the sample photos, followed by `detect --track`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use image::{RgbImage, imageops};
use serde_json::Value;

mod program;

use program::{Folder, root};

fn photo(name: &str) -> RgbImage {
    let path = root().join("models/sample").join(name);
    image::open(path).expect("a sample photo").to_rgb8()
}

fn resized(photo: &RgbImage, width: u32, height: u32) -> RgbImage {
    imageops::resize(photo, width, height, imageops::FilterType::Triangle)
}

/// Pixels of one grey, wide enough for everything.
fn wall() -> RgbImage {
    RgbImage::from_pixel(640, 480, image::Rgb([150, 140, 130]))
}

/// What `detect` says of frames, a line of JSON each.
fn detected(folder: &Path, options: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .arg("detect")
        .arg(folder)
        .args(["--prompt", "person", "--format", "json", "--threads", "1"])
        .args(options)
        .output()
        .expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn write(folder: &Folder, frames: impl IntoIterator<Item = RgbImage>) -> PathBuf {
    let path = folder.path("frames");
    fs::create_dir_all(&path).expect("a folder");
    for (i, frame) in frames.into_iter().enumerate() {
        // PNG, quickly
        frame
            .save(path.join(format!("{i:03}.png")))
            .expect("a frame");
    }
    path
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// The ids of the detections that are at least so wide, with their boxes' centres, best first.
fn ids(report: &Value, width: f64) -> Vec<(Option<u32>, f64)> {
    let list = report["detections"].as_array().expect("a list");
    let wide = list
        .iter()
        .filter(|d| number(&d["bbox"]["size_x"]) >= width);
    wide.map(|d| {
        let id = d["id"].as_str().map(|id| id.parse().expect("digits"));
        (id, number(&d["bbox"]["center"]["x"]))
    })
    .collect()
}

/// The id of the detection nearest to a place.
fn near(report: &Value, x: f64) -> Option<u32> {
    let found = ids(report, 80.0);
    let nearest = found
        .iter()
        .min_by(|a, b| (a.1 - x).abs().total_cmp(&(b.1 - x).abs()))
        .filter(|(_, at)| (at - x).abs() < 60.0);
    nearest.and_then(|(id, _)| *id)
}

#[test]
fn a_pan_over_a_photo_keeps_one_id_for_the_person() {
    let folder = Folder::new();
    let astronaut = photo("astronaut.jpg");
    let frames = (0..16).map(|i| {
        let mut frame = wall();
        imageops::replace(&mut frame, &astronaut, 100 - 10 * i, 0);
        frame
    });
    let reports = detected(&write(&folder, frames), &["--track=10"]);
    assert_eq!(reports.len(), 16);
    for (i, report) in reports.iter().enumerate() {
        let main = ids(report, 200.0).first().copied();
        let (id, _) = main.unwrap_or_else(|| panic!("nobody in frame {i}: {report}"));
        // the third time it is found it has one
        assert_eq!(id, (i >= 2).then_some(1), "frame {i}: {report}");
    }
    // without --track there are none, and the boxes of the first frames are the same
    let plain = detected(&folder.path("frames"), &[]);
    assert!(
        plain
            .iter()
            .all(|r| ids(r, 0.0).iter().all(|(id, _)| id.is_none()))
    );
    assert_eq!(plain[0]["detections"], reports[0]["detections"]);
}

#[test]
fn two_people_who_cross_keep_their_ids_though_one_is_hidden_meanwhile() {
    let folder = Folder::new();
    let (one, two) = (
        resized(&photo("astronaut.jpg"), 200, 200),
        resized(&photo("grace_hopper.jpg"), 170, 200),
    );
    let place = |i: usize| 8.0 * i as f64;
    let frames = (0..50).map(|i| {
        let mut frame = wall();
        imageops::replace(&mut frame, &one, 20 + place(i) as i64, 140);
        imageops::replace(&mut frame, &two, 440 - place(i) as i64, 150);
        frame
    });
    let reports = detected(&write(&folder, frames), &["--track=15"]);
    let both = |i: usize| {
        let (one, two) = (120.0 + place(i), 525.0 - place(i));
        (near(&reports[i], one), near(&reports[i], two))
    };
    let before = both(5);
    assert!(before.0.is_some() && before.1.is_some() && before.0 != before.1);
    for i in [12, 42, 49] {
        assert_eq!(both(i), before, "frame {i}: {}", reports[i]);
    }
}

#[test]
fn a_gap_is_bridged_and_somebody_new_has_a_new_id() {
    let folder = Folder::new();
    let (one, two) = (
        resized(&photo("astronaut.jpg"), 240, 240),
        resized(&photo("grace_hopper.jpg"), 200, 240),
    );
    // frames 8 to 15 show nobody; from 22 on somebody else stands at the other side
    let frames = (0..30).map(|i| {
        let mut frame = wall();
        if !(8..16).contains(&i) {
            imageops::replace(&mut frame, &one, 40, 120);
        }
        if i >= 22 {
            imageops::replace(&mut frame, &two, 400, 120);
        }
        frame
    });
    let reports = detected(&write(&folder, frames), &["--track=10"]);
    assert_eq!(near(&reports[7], 160.0), Some(1), "{}", reports[7]);
    assert!(
        reports[10]["detections"]
            .as_array()
            .expect("a list")
            .is_empty(),
        "{}",
        reports[10]
    );
    for report in &reports[16..] {
        assert_eq!(near(report, 160.0), Some(1), "{report}");
    }
    let new = near(&reports[29], 500.0);
    assert!(new.is_some_and(|id| id > 1), "{}", reports[29]);
    // a second a frame: eight frames are longer than an id is kept
    let slow = detected(&folder.path("frames"), &["--track=1"]);
    let again = near(&slow[20], 160.0);
    assert!(again.is_some_and(|id| id > 1), "{}", slow[20]);
}
