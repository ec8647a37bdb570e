//! Every task end to end on the sample photos, against stored results, and its output in the eyes of the tools that read it.
//!
//! `UPDATE_GOLDEN=1 cargo test --release --test scene` writes the results anew, after the weights have changed; look at the difference
//! before committing it. Formats are checked by `tests/data/scene/check.py` with pycocotools where Python has it; with
//! `TARSIER_REQUIRE_PYTHON` set, its absence is a failure.

mod program;
mod stuffed;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use program::{Folder, root};

/// What a run of the program left behind.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    #[track_caller]
    fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    #[track_caller]
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
    }
}

/// The program with a pack that has stuff, in the repository's folder.
fn tarsier(arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .env("TARSIER_PACK", stuffed::pack())
        .env_remove("TARSIER_LOG")
        .stdin(Stdio::null())
        .args(arguments)
        .output()
        .expect("the program starts");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

const ASTRONAUT: &str = "models/sample/astronaut.jpg";
const COFFEE: &str = "models/sample/coffee.jpg";
const HOPPER: &str = "models/sample/grace_hopper.jpg";
const ALL: &str = "models/sample";

/// Compares with what is stored, or stores it.
#[track_caller]
fn equals_stored(name: &str, found: &str) {
    let path = root().join("tests/data/scene").join(name);
    // when a photo was captured is the file system's business
    let lines = found
        .lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(mut json) if json.get("header").is_some() => {
                json["header"]["stamp"] = Value::Null;
                json.to_string()
            }
            _ => line.to_owned(),
        });
    let found = lines.collect::<Vec<_>>().join("\n") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).expect("the stored result is written");
    }
    let stored = fs::read_to_string(&path).expect("a stored result");
    for (i, (found, stored)) in found.lines().zip(stored.lines()).enumerate() {
        assert_eq!(found, stored, "{name}, line {}", i + 1);
    }
    assert_eq!(found.lines().count(), stored.lines().count(), "{name}");
}

fn json_lines(text: &str) -> Vec<Value> {
    let line = |l| serde_json::from_str(l).expect("JSON");
    text.lines().map(line).collect()
}

#[test]
fn segment_is_as_stored() {
    let options = ["--prompt", "person", "--prompt", "tie", "--prompt", "bowl"];
    for (shape, name) in [
        ("rle", "segment.coco.json"),
        ("polygons", "segment.polygons.json"),
    ] {
        let more = ["--shape", shape, "--format", "coco"];
        let text = tarsier(&[&["segment", ALL], &options[..], &more].concat()).succeeds();
        equals_stored(name, &text);
    }
    let text = tarsier(&[&["segment", ALL], &options[..]].concat()).succeeds();
    equals_stored("segment.txt", &text);
}

#[test]
fn semantic_is_as_stored() {
    let text = tarsier(&["semantic", ALL, "--format", "json"]).succeeds();
    equals_stored("semantic.jsonl", &text);
    let text = tarsier(&["semantic", ALL]).succeeds();
    equals_stored("semantic.txt", &text);
}

#[test]
fn panoptic_is_as_stored() {
    let text = tarsier(&["panoptic", ALL]).succeeds();
    equals_stored("panoptic.txt", &text);
    let text = tarsier(&["panoptic", ALL, "--separate-stuff", "--least", "0.001"]).succeeds();
    equals_stored("panoptic.separate.txt", &text);
}

#[test]
fn everything_is_as_stored() {
    let text = tarsier(&["everything", ALL, "--names", "5", "--masks"]).succeeds();
    equals_stored("everything.txt", &text);
    let text = tarsier(&["everything", COFFEE, "--format", "json"]).succeeds();
    equals_stored("everything.jsonl", &text);
}

#[test]
fn ground_is_as_stored() {
    let options = [
        "--sentence",
        "the woman in the orange suit",
        "--sentence",
        "a red bicycle",
        "--sentence",
        "the cup",
        "--masks",
    ];
    let text = tarsier(&[&["ground", ASTRONAUT, COFFEE], &options[..]].concat()).succeeds();
    equals_stored("ground.txt", &text);
    let more = ["--format", "json"];
    let text = tarsier(&[&["ground", ASTRONAUT], &options[..], &more].concat()).succeeds();
    equals_stored("ground.jsonl", &text);
}

#[test]
fn sentences_are_answered_independently() {
    let both = ["--sentence", "the cup", "--sentence", "a person"];
    let together = tarsier(&[&["ground", COFFEE], &both[..]].concat()).succeeds();
    let apart = [&both[..2], &both[2..]]
        .map(|one| tarsier(&[&["ground", COFFEE], one].concat()).succeeds())
        .concat();
    assert_eq!(together, apart);
}

#[test]
fn a_prompt_inside_another_is_looked_for_closer() {
    let text = tarsier(&[
        "segment",
        HOPPER,
        "--prompt",
        "person > tie",
        "--prompt",
        "tie",
        "--threshold",
        "0.2",
    ])
    .succeeds();
    equals_stored("nested.txt", &text);
    let nested: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("person > tie"))
        .collect();
    assert!(!nested.is_empty(), "{text}");
    // a part that was not asked for by itself is not reported
    assert!(!text.contains(": person 0"), "{text}");
    let alone = tarsier(&["detect", HOPPER, "--prompt", "person > tie"]).succeeds();
    assert!(
        alone
            .lines()
            .all(|l| l.contains("person > tie") || l.contains("nothing"))
    );
    for wrong in ["person >", "> tie", "a > b > c"] {
        tarsier(&["detect", HOPPER, "--prompt", wrong]).fails(64, &["door > handle"]);
    }
    tarsier(&["detect", HOPPER, "--prompt", "person > tiee"]).fails(64, &["\"tiee\"", "tie"]);
}

#[test]
fn a_region_of_the_whole_photo_changes_nothing_and_a_part_limits_what_is_found() {
    let whole = ["--region", "0,0,512,512"];
    for task in [
        &["detect", "--masks"][..],
        &["segment"],
        &["semantic"],
        &["panoptic"],
        &["everything"],
        &["ground", "--sentence", "a person"],
    ] {
        let arguments = [task, &[ASTRONAUT][..]].concat();
        let plain = tarsier(&arguments).succeeds();
        let region = tarsier(&[&arguments[..], &whole].concat()).succeeds();
        assert_eq!(plain, region, "{task:?}");
    }
    let options = [
        "--prompt",
        "person",
        "--format",
        "json",
        "--region",
        "0,0,450,512",
    ];
    let text = tarsier(&[&["segment", ASTRONAUT], &options[..]].concat()).succeeds();
    let found = &json_lines(&text)[0];
    assert_eq!(
        (&found["width"], &found["height"]),
        (&512.into(), &512.into())
    );
    let detections = found["detections"].as_array().expect("detections");
    assert!(!detections.is_empty(), "{text}");
    for detection in detections {
        let x = detection["bbox"]["center"]["x"].as_f64().expect("a number");
        assert!(x < 450.0, "{x}");
        assert_eq!(detection["mask"]["size"], serde_json::json!([512, 512]));
    }
    // a triangle whose box is the photo: nothing is cut, but pixels outside have no name
    let triangle = [
        "--region",
        "0,0 512,0 0,512",
        "--format",
        "json",
        "--stuff-threshold",
        "0",
    ];
    let text = tarsier(&[&["semantic", ASTRONAUT], &triangle[..]].concat()).succeeds();
    let classes = json_lines(&text)[0]["classes"].clone();
    let areas = classes.as_array().expect("classes").iter();
    let area: u64 = areas.map(|c| c["area"].as_u64().expect("a count")).sum();
    // things are not cut
    assert!(area as f64 > 0.49 * 512.0 * 512.0, "{area}");
}

#[test]
fn wrong_options_are_named() {
    for (arguments, code, words) in [
        (
            &["detect", COFFEE, "--region", "1,2,3"][..],
            64,
            "neither x,y,w,h",
        ),
        (
            &["segment", COFFEE, "--region", "5000,0,10,10"],
            64,
            "outside",
        ),
        (
            &["segment", COFFEE, "--shape", "bits", "--format", "coco"],
            64,
            "bits",
        ),
        (
            &["semantic", COFFEE, "--stuff-threshold", "2"],
            64,
            "0 to 1",
        ),
        (&["semantic", COFFEE, "--stuff", " "], 64, "empty"),
        (&["panoptic", COFFEE, "--visible", "x"], 64, "0 to 1"),
        (&["everything", COFFEE, "--names", "0"], 64, "1..=100"),
        (&["semantic", "/nowhere.jpg"], 66, "/nowhere.jpg"),
        (
            &["panoptic", COFFEE, "--output", "/proc/nowhere"],
            73,
            "/proc/nowhere",
        ),
    ] {
        tarsier(arguments).fails(code, &[words]);
    }
}

#[test]
fn a_pack_without_stuff_has_things_only_and_says_so() {
    let mut sections = stuffed::sections();
    stuffed::set_stuff(&mut sections, Value::Null);
    let folder = Folder::new();
    let pack = folder.file("things.tarsier", stuffed::packed(&sections));
    let text = tarsier(&["semantic", ASTRONAUT, "--pack", &pack]).succeeds();
    assert!(text.contains("person"), "{text}");
    for task in ["semantic", "panoptic"] {
        tarsier(&[task, ASTRONAUT, "--pack", &pack, "--prompt", "sky"])
            .fails(65, &["\"sky\" is stuff", "no network"]);
    }
}

#[test]
fn stuff_can_be_any_text_and_a_thing_can_be_stuff() {
    let options = [
        "--stuff",
        "a wooden table top",
        "--stuff",
        "cup",
        "--stuff-threshold",
        "0",
    ];
    let text = tarsier(&[&["semantic", COFFEE, "--format", "json"], &options[..]].concat());
    let text = text.succeeds();
    let classes = json_lines(&text)[0]["classes"].clone();
    let classes = classes.as_array().expect("classes");
    assert!(classes.iter().all(|c| c["isthing"] == false), "{text}");
    let area: u64 = classes
        .iter()
        .map(|c| c["area"].as_u64().expect("a count"))
        .sum();
    assert_eq!(area, 600 * 400, "with no threshold every pixel has a name");
}

#[test]
fn adding_a_stuff_prompt_takes_only_pixels_where_it_is_better() {
    let folder = Folder::new();
    let maps = [
        &["--stuff", "wall"][..],
        &["--stuff", "wall", "--stuff", "sky"],
    ]
    .map(|stuff| {
        let to = folder.text(&format!("{}", stuff.len()));
        let options = [
            "semantic",
            ASTRONAUT,
            "--stuff-threshold",
            "0.01",
            "--output",
            &to,
        ];
        tarsier(&[&options[..], stuff].concat()).succeeds();
        pixels(&Path::new(&to).join("astronaut.png"))
    });
    for (before, after) in maps[0].iter().zip(&maps[1]) {
        assert!(after == before || *after == 1, "{before} became {after}");
    }
}

/// The indices of an 8-bit PNG with a palette.
fn pixels(path: &Path) -> Vec<u8> {
    let file = std::io::BufReader::new(fs::File::open(path).expect("a PNG"));
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    assert_eq!(reader.info().color_type, png::ColorType::Indexed);
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut bytes).expect("pixels");
    bytes
}

#[test]
fn more_than_255_prompts_are_a_map_of_16_bits() {
    let folder = Folder::new();
    let names: Vec<String> = (0..300).map(|i| format!("thing number {i}")).collect();
    let file = folder.file("names.txt", names.join("\n"));
    let to = folder.text("maps");
    tarsier(&[
        "semantic",
        COFFEE,
        "--prompts",
        &file,
        "--encode-unknown",
        "--stuff",
        "wall",
        "--output",
        &to,
    ])
    .succeeds();
    let map = image::open(Path::new(&to).join("coffee.png")).expect("a PNG");
    let map = map.as_luma16().expect("16 bits");
    assert!(map.pixels().all(|p| p.0[0] <= 300 || p.0[0] == 65535));
}

#[test]
fn drawings_of_all_tasks_have_the_photos_size_and_differ_from_it() {
    let folder = Folder::new();
    for task in [
        &["segment"][..],
        &["semantic"],
        &["panoptic"],
        &["everything", "--masks"],
        &["ground", "--sentence", "a person", "--masks"],
    ] {
        let to = folder.text(task[0]);
        tarsier(&[task, &[ASTRONAUT, "--draw", &to][..]].concat()).succeeds();
        let drawn = image::open(Path::new(&to).join("astronaut.jpg")).expect("a photo");
        let photo = image::open(root().join(ASTRONAUT)).expect("a photo");
        let (drawn, photo) = (drawn.into_rgb8(), photo.into_rgb8());
        assert_eq!(drawn.dimensions(), photo.dimensions());
        let differ = drawn.pixels().zip(photo.pixels());
        let differ = differ.filter(|(a, b)| (0..3).any(|c| a.0[c].abs_diff(b.0[c]) > 40));
        assert!(differ.count() > 2000, "{task:?}");
    }
}

#[test]
fn public_tools_read_what_is_written() {
    let python = Command::new("python3")
        .args(["-c", "import numpy, pycocotools.mask, PIL"])
        .output();
    if !python.is_ok_and(|o| o.status.success()) {
        let why = "python3 with numpy, pillow and pycocotools is not here";
        assert!(
            std::env::var_os("TARSIER_REQUIRE_PYTHON").is_none(),
            "{why}"
        );
        println!("not checked: {why}");
        return;
    }
    let folder = Folder::new();
    let save = |name: &str, arguments: &[&str]| folder.file(name, tarsier(arguments).succeeds());
    let options = [
        "--prompt",
        "person",
        "--prompt",
        "tie",
        "--threshold",
        "0.2",
    ];
    for (name, shape, format) in [
        ("rle.json", "rle", "coco"),
        ("polygons.json", "polygons", "coco"),
        ("rle.jsonl", "rle", "json"),
        ("bits.jsonl", "bits", "json"),
    ] {
        let more = ["--shape", shape, "--format", format];
        save(name, &[&["segment", ALL], &options[..], &more].concat());
    }
    let to = folder.text("semantic");
    save(
        "semantic.json",
        &["semantic", ALL, "--format", "coco", "--output", &to],
    );
    save("semantic.jsonl", &["semantic", ALL, "--format", "json"]);
    for (name, more) in [
        ("panoptic", &[][..]),
        ("separate", &["--separate-stuff", "--least", "0"]),
    ] {
        let to = folder.text(name);
        tarsier(&[&["panoptic", ALL, "--output", &to], more].concat()).succeeds();
    }
    let checked = Command::new("python3")
        .arg(root().join("tests/data/scene/check.py"))
        .args([&folder.0, &root().join(ALL)])
        .output()
        .expect("python3 starts");
    let said = String::from_utf8_lossy(&checked.stdout);
    let wrong = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}{wrong}");
    println!("{said}");
}
