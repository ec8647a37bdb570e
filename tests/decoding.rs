//! Photos and frames as libjpeg shows them, or an error with a name: what is read, what is refused,
//! and what that may cost.

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tarsier::{frame::file::Photo, geometry::Size};

mod program;

use program::{Folder, Program, command, root};

const PHOTO: &str = "models/sample/coffee.jpg";

fn data(name: &str) -> Vec<u8> {
    fs::read(root().join("tests/data/decoding").join(name)).expect("a fixture")
}

/// The program on photos, with something on standard input.
fn tarsier_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = program_of(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // it may refuse to read
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn program_of(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarsier"));
    command
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .env_remove("TARSIER_LOG")
        .env_remove("HOME")
        .env_remove("XDG_CACHE_HOME")
        .args(arguments);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The program must end with this code and these words on stderr.
#[track_caller]
fn exits(output: &Output, code: i32, words: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in: {stderr}");
    }
}

fn detect(photo: &str, more: &[&str]) -> Output {
    tarsier_with(&[&["detect", photo], more].concat(), b"")
}

/// The mean difference of two pictures of one size.
fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / a.len() as f64
}

#[test]
fn a_mask_of_a_tiny_photo_or_region_is_tiny_or_empty_and_no_panic() {
    let folder = Folder::new();
    let pixels = [b"P6\n3 5\n255\n".as_slice(), &[90; 45]].concat();
    let tiny = folder.file("tiny.ppm", pixels);
    for arguments in [
        &["segment", "--threshold", "0", &tiny][..],
        &[
            "segment",
            "--threshold",
            "0",
            "--region",
            "100,100,8,8",
            PHOTO,
        ],
        &["segment", "--threshold", "0", "--region", "0,0,1,1", PHOTO],
    ] {
        exits(&tarsier_with(arguments, b""), 0, &[]);
    }
}

#[test]
fn one_scan_for_each_component_shows_what_one_scan_of_all_shows() {
    let folder = Folder::new();
    // the same coefficients twice, rearranged by jpegtran
    let [apart, together] = ["chroma_first.jpg", "interleaved.jpg"]
        .map(|name| Photo::open(folder.file(name, data(name))).expect("a photo"));
    assert_eq!(apart.size(), Size::new(40, 47));
    assert!(mean_difference(apart.pixels(), together.pixels()) < 1.0);
    let photo = folder.file("scans.jpg", data("scans.jpg"));
    let found = detect(&photo, &["--prompt", "person"]);
    exits(&found, 0, &[]);
    assert!(text(&found.stdout).contains("person 0.9"), "{found:?}");
}

#[test]
fn one_scan_for_each_component_is_read_as_mjpeg_too() {
    let stream = data("scans.jpg").repeat(2);
    let (reports, log) = run("", &stream);
    assert_eq!(reports.len(), 2, "{log}");
    assert_eq!(reports[1]["dropped"]["damaged"], 0, "{log}");
    assert!(
        !reports[1]["detections"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
}

/// What `run` says of MJPEG on standard input.
fn run(limits: &str, stream: &[u8]) -> (Vec<Value>, String) {
    let folder = Folder::new();
    let source = "[source]\nkind = \"mjpeg\"\npath = \"-\"\nwait = true\n";
    let config = folder.file("c.toml", format!("{source}{limits}"));
    let mut command = command(&["--config", &config, "--prompt", "person"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let stream = stream.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&stream));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("a writer").expect("all is read");
    let log = text(&output.stderr).to_owned();
    let lines = text(&output.stdout).lines();
    let reports: Vec<Value> = lines
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    // a source without one good frame is damaged input
    let code = if reports.is_empty() { 65 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{log}");
    (reports, log)
}

#[test]
fn half_a_scan_with_an_end_marker_is_an_error_and_counts_as_damaged() {
    let whole = fs::read(root().join(PHOTO)).expect("a photo");
    let half = [&whole[..whole.len() / 2], &[0xFF, 0xD9]].concat();
    let folder = Folder::new();
    let photo = folder.file("half.jpg", &half);
    let words = ["half.jpg", "scan 1 stops after", "units of blocks"];
    exits(&detect(&photo, &[]), 65, &words);
    let (reports, log) = run("", &[&whole[..], &half, &whole].concat());
    assert_eq!(reports.len(), 2, "{log}");
    assert_eq!(reports[1]["dropped"]["damaged"], 1, "{log}");
    assert!(log.contains("scan 1 stops after"), "{log}");
}

#[test]
fn a_frame_of_a_sudden_other_size_is_damaged_until_the_size_has_come_three_times() {
    let (usual, other) = (data("scans.jpg"), data("chroma_first.jpg"));
    let stream = [&usual[..], &other, &usual, &other, &other, &other, &other].concat();
    let (reports, log) = run("", &stream);
    let widths: Vec<_> = reports.iter().map(|r| r["width"].as_u64()).collect();
    assert_eq!(widths, [160, 160, 40, 40].map(Some), "{log}");
    assert_eq!(reports[3]["dropped"]["damaged"], 3, "{log}");
    assert!(log.contains("40x47 after pictures of 160x188"), "{log}");
}

#[test]
fn a_frame_whose_height_has_a_flipped_bit_is_damaged_even_if_it_is_the_first() {
    let mut flipped = fs::read(root().join(PHOTO)).expect("a photo");
    let whole = flipped.clone();
    let header = flipped.windows(2).position(|w| w == [0xFF, 0xC0]);
    flipped[header.expect("a frame header") + 5] ^= 0x20;
    let (reports, log) = run("", &[&flipped[..], &whole, &flipped, &whole].concat());
    let heights: Vec<_> = reports.iter().map(|r| r["height"].as_u64()).collect();
    assert_eq!(heights, [Some(400); 2], "{log}");
    assert_eq!(reports[1]["dropped"]["damaged"], 2, "{log}");
}

#[test]
fn a_frame_above_the_limit_is_damaged_and_both_numbers_are_said() {
    let photo = fs::read(root().join(PHOTO)).expect("a photo");
    let (reports, log) = run("[limits]\npixels = 239999\n", &photo.repeat(2));
    assert_eq!(reports.len(), 0, "{log}");
    assert!(log.contains("240000 pixels where at most 239999"), "{log}");
    let (reports, log) = run("[limits]\npixels = 240000\n", &photo.repeat(2));
    assert_eq!(reports.len(), 2, "{log}");
}

#[test]
fn a_photo_above_the_limit_is_refused_and_both_numbers_are_said() {
    let words = ["coffee.jpg", "240000 pixels where at most 239999"];
    exits(&detect(PHOTO, &["--limit-pixels", "239999"]), 65, &words);
    exits(&detect(PHOTO, &["--limit-pixels", "240000"]), 0, &[]);
}

#[test]
fn two_kilobytes_that_say_64_megapixels_cost_the_loop_nothing() {
    let photo = fs::read(root().join(PHOTO)).expect("a photo");
    let folder = Folder::new();
    let (fifo, socket) = (folder.fifo("frames"), folder.text("sock"));
    let source = format!("mjpeg:{fifo}");
    let program = Program::start(&["--source", &source, "--socket", &socket]);
    let mut frames = fs::OpenOptions::new()
        .write(true)
        .open(&fifo)
        .expect("a reader");
    for _ in 0..3 {
        frames.write_all(&photo).expect("it reads");
        frames.write_all(&data("huge.jpg")).expect("it reads");
    }
    program.says("8000x8000");
    let kilobytes = program.status("VmHWM:");
    let number = kilobytes
        .split(' ')
        .next()
        .and_then(|n| n.parse::<u64>().ok());
    assert!(number.is_some_and(|n| n < 200_000), "{kilobytes}");
}

/// A PNG of 16x16 whose colour profile is a gigabyte of zeros.
fn profile_bomb() -> Vec<u8> {
    let chunk = |kind: &[u8], body: &[u8]| {
        let body = [kind, body].concat();
        let sum = crc32fast::hash(&body);
        let length = (body.len() - 4) as u32;
        [&length.to_be_bytes()[..], &body, &sum.to_be_bytes()].concat()
    };
    // a picture of zeros is, row by row, a zero and zeros: its data are a deflated gigabyte of them
    let mut tall = Vec::new();
    let mut encoder = png::Encoder::new(&mut tall, 32_767, 32_768);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().expect("a header");
    let mut rows = writer.stream_writer().expect("a writer");
    let row = vec![0; 32_767];
    for _ in 0..32_768 {
        rows.write_all(&row).expect("memory");
    }
    rows.finish().expect("memory");
    drop(writer);
    let mut zeros = Vec::new();
    let mut at = 8;
    while at < tall.len() {
        let length = u32::from_be_bytes([tall[at], tall[at + 1], tall[at + 2], tall[at + 3]]);
        let end = at + 8 + length as usize;
        if &tall[at + 4..at + 8] == b"IDAT" {
            zeros.extend_from_slice(&tall[at + 8..end]);
        }
        at = end + 4;
    }
    let mut small = Vec::new();
    let mut encoder = png::Encoder::new(&mut small, 16, 16);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&[200; 768]).expect("memory");
    drop(writer);
    let profile = chunk(b"iCCP", &[b"bomb\0\0", &zeros[..]].concat());
    // behind the header
    [&small[..33], &profile, &small[33..]].concat()
}

#[test]
fn a_colour_profile_is_not_unpacked() {
    let folder = Folder::new();
    let bomb = folder.file("bomb.png", profile_bomb());
    // half of what the profile has
    let limited = |photo: &str| {
        Command::new("sh")
            .current_dir(root())
            .args([
                "-c",
                "ulimit -v 600000; exec \"$0\" detect --threads 1 \"$1\"",
            ])
            .args([env!("CARGO_BIN_EXE_tarsier"), photo])
            .env_remove("TARSIER_PACK")
            .env_remove("HOME")
            .output()
            .expect("it runs")
    };
    exits(&limited(PHOTO), 0, &[]);
    exits(&limited(&bomb), 0, &[]);
}

#[cfg(feature = "formats")]
#[test]
fn webp_bmp_gif_tiff_pnm_and_qoi_show_the_same_photo() {
    use image::ImageFormat::{Bmp, Gif, Pnm, Qoi, Tiff, WebP};
    let folder = Folder::new();
    let photo = image::open(root().join(PHOTO)).expect("a photo").to_rgb8();
    let wanted = Photo::open(root().join(PHOTO)).expect("a photo");
    for format in [WebP, Bmp, Gif, Tiff, Pnm, Qoi] {
        // names say nothing
        let path = folder.path(&format!("{format:?}"));
        photo.save_with_format(&path, format).expect("a file");
        let image = Photo::open(&path).expect("readable");
        assert_eq!(image.size(), wanted.size(), "{format:?}");
        let most = if format == Gif { 12.0 } else { 1.0 };
        let difference = mean_difference(image.pixels(), wanted.pixels());
        assert!(difference < most, "{format:?}: {difference}");
        let text = match Photo::open_within(&path, 100) {
            Ok(_) => panic!("{format:?} above the limit"),
            Err(e) => e.to_string(),
        };
        assert!(
            text.contains("240000 pixels where at most 100"),
            "{format:?}: {text}"
        );
        let half = fs::read(&path).expect("a file");
        fs::write(&path, &half[..half.len() / 2]).expect("a file");
        assert!(Photo::open(&path).is_err(), "{format:?} cut");
        fs::remove_file(&path).expect("a file");
    }
    // a folder of them is done, and the copies are PNG
    for (name, format) in [("a.webp", WebP), ("b.bmp", Bmp), ("c", Qoi)] {
        photo
            .save_with_format(folder.path(name), format)
            .expect("a file");
    }
    let (all, copies) = (folder.text(""), folder.text("drawn"));
    let found = detect(&all, &["--draw", &copies]);
    exits(&found, 0, &[]);
    for name in ["a.webp.png", "b.bmp.png", "c.png"] {
        assert!(folder.path("drawn").join(name).exists(), "{name}");
    }
}

#[test]
fn what_a_folder_has_that_is_no_photo_or_is_gone_is_named_and_the_rest_is_done() {
    let folder = Folder::new();
    folder.file("a.avif", b"\0\0\0\x20ftypavif\0\0\0\0");
    folder.file("b.HEIC", b"\0\0\0\x20ftypheic\0\0\0\0");
    folder.file(
        "c.jpg",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    );
    folder.file(
        "d.jpg",
        b"<!DOCTYPE html><html><body>not found</body></html>",
    );
    folder.file("notes.txt", b"milk, eggs");
    folder.file("z.jpg", fs::read(root().join(PHOTO)).expect("a photo"));
    std::os::unix::fs::symlink("nowhere.jpg", folder.path("e.jpg")).expect("a link");
    let found = detect(&folder.text(""), &["--format", "json"]);
    let names = [
        "a.avif is an AVIF image",
        "b.HEIC is a HEIC image",
        "c.jpg is a Git LFS pointer",
        "d.jpg is a web page",
        "notes.txt is a text",
        "cannot read",
        "e.jpg",
    ];
    exits(&found, 66, &names);
    assert_eq!(text(&found.stdout).lines().count(), 1);
}

#[test]
fn a_photo_comes_on_standard_input_and_says_so_where_it_is_none() {
    let photo = fs::read(root().join(PHOTO)).expect("a photo");
    let by_name = detect(PHOTO, &["--format", "coco"]);
    let piped = tarsier_with(&["detect", "-", "--format", "coco"], &photo);
    exits(&piped, 0, &[]);
    let named = text(&by_name.stdout).replace("coffee.jpg", "-");
    assert_eq!(text(&piped.stdout), named);
    let none = tarsier_with(&["detect", "-"], b"");
    exits(&none, 65, &["standard input is empty"]);
    let page = tarsier_with(&["detect", "-"], b"<html>");
    exits(&page, 65, &["standard input is a web page"]);
}

#[test]
fn a_url_a_pattern_a_fifo_and_a_device_are_refused_in_words() {
    let folder = Folder::new();
    let fifo = folder.fifo("photo.jpg");
    for (what, words) in [
        ("https://example.org/a.jpg", "no network here"),
        ("photos/*.jpg", "only outside quotes"),
        (&fifo, "is a FIFO, not a file"),
        ("/dev/zero", "is a device, not a file"),
    ] {
        exits(&detect(what, &[]), 66, &[what, words]);
    }
    let mut live = command(&["--source", "mjpeg:rtsp://camera/1"]);
    let refused = live.output().expect("it runs");
    exits(&refused, 64, &["rtsp://camera/1", "no network here"]);
}

/// A JPEG with an EXIF orientation.
fn turned(jpeg: &[u8], code: u8) -> Vec<u8> {
    let exif = b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
    [&jpeg[..2], exif, &[code, 0, 0, 0, 0, 0, 0], &jpeg[2..]].concat()
}

#[test]
fn the_exif_orientation_holds_in_photos_and_in_mjpeg() {
    let photo = turned(&fs::read(root().join(PHOTO)).expect("a photo"), 6);
    let folder = Folder::new();
    let path = folder.file("turned.jpg", &photo);
    let found = detect(
        &path,
        &[
            "--format",
            "json",
            "--prompt",
            "person",
            "--threshold",
            "0.2",
        ],
    );
    let line: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    assert_eq!(
        (&line["width"], &line["height"]),
        (&400.into(), &600.into())
    );
    let (reports, log) = run("[prompts]\nthreshold = 0.2\n", &photo);
    assert_eq!(reports.len(), 1, "{log}");
    assert_eq!(reports[0]["width"], 400, "{log}");
    assert_eq!(reports[0]["detections"], line["detections"]);
}

/// Numbers that are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn shuffled(&mut self) -> [usize; 3] {
        let mut all = [0, 1, 2];
        all.swap(0, self.below(3));
        all.swap(1, 1 + self.below(2));
        all
    }

    /// All coefficients at once, the components in any order and company.
    fn sequential(&mut self) -> String {
        let mut script = String::new();
        let all = self.shuffled();
        let mut left = &all[..];
        while !left.is_empty() {
            let (now, later) = left.split_at(1 + self.below(left.len()));
            let mut now = now.to_vec();
            now.sort_unstable();
            let names: Vec<_> = now.iter().map(usize::to_string).collect();
            script += &format!("{};\n", names.join(","));
            left = later;
        }
        script
    }

    /// Bands and bits, in any order that is allowed.
    fn progressive(&mut self) -> String {
        let low = self.below(3);
        let mut script = match self.below(2) {
            0 => format!("0,1,2: 0-0, 0, {low};\n"),
            _ => (self.shuffled().iter())
                .map(|c| format!("{c}: 0-0, 0, {low};\n"))
                .collect(),
        };
        let refine = |who: &str, band: &str, low: usize| -> Vec<String> {
            let steps = (1..=low).rev();
            steps
                .map(|a| format!("{who}: {band}, {a}, {};\n", a - 1))
                .collect()
        };
        let mut queues = vec![refine("0,1,2", "0-0", low)];
        for c in 0..3 {
            let (last, low) = (self.one_of(&[1, 5, 20, 63]), self.below(3));
            let mut queue = vec![format!("{c}: 1-{last}, 0, {low};\n")];
            if last < 63 {
                queue.push(format!("{c}: {}-63, 0, {low};\n", last + 1));
            }
            queue.extend(refine(&c.to_string(), "1-63", low));
            queues.push(queue);
        }
        loop {
            queues.retain(|q| !q.is_empty());
            if queues.is_empty() {
                return script;
            }
            let at = self.below(queues.len());
            script += &queues[at].remove(0);
        }
    }
}

/// Runs one of libjpeg's programs; none where it is not installed or refuses.
fn libjpeg(program: &str, arguments: &[String], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().ok()?;
    let _ = writer.join();
    output.status.success().then_some(output.stdout)
}

/// Photos re-encoded in every way that cjpeg knows look as djpeg shows them.
#[test]
fn every_jpeg_that_libjpeg_writes_has_libjpegs_pixels_or_is_refused_by_name() {
    let photo = Photo::open(root().join(PHOTO)).expect("a photo");
    let part = |width: usize, height: usize| {
        let rows = photo.pixels().chunks(600 * 3).skip(100).take(height);
        let pixels: Vec<u8> = rows
            .flat_map(|row| row[300..][..width * 3].to_vec())
            .collect();
        [format!("P6\n{width} {height}\n255\n").as_bytes(), &pixels].concat()
    };
    if libjpeg("cjpeg", &[], &part(8, 8)).is_none() {
        let required = std::env::var_os("TARSIER_REQUIRE_LIBJPEG").is_some();
        assert!(!required, "cjpeg is required, and not here");
        eprintln!("SKIPPED: no cjpeg (Debian: libjpeg-turbo-progs)");
        return;
    }
    let folder = Folder::new();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut read, mut refused) = (0, 0);
    for case in 0..300 {
        let (width, height) = (1 + random.below(180), 1 + random.below(150));
        let factor = [1, 1, 2, 2, 4, 3];
        let mut sampling = [0; 3].map(|_| (random.one_of(&factor), random.one_of(&factor)));
        if random.below(2) == 0 {
            // as cameras have it
            (sampling[1], sampling[2]) = ((1, 1), (1, 1));
        }
        let factors = sampling.map(|(h, v)| format!("{h}x{v}")).join(",");
        let mut arguments = ["-quality", "85", "-sample", &factors]
            .map(String::from)
            .to_vec();
        if random.below(3) == 0 {
            arguments.extend(["-restart".into(), format!("{}B", 1 + random.below(40))]);
        }
        arguments.extend((random.below(6) == 0).then(|| "-rgb".into()));
        let script = match random.below(3) {
            0 => None,
            1 => Some(random.sequential()),
            _ => Some(random.progressive()),
        };
        if let Some(script) = &script {
            arguments.extend(["-scans".into(), folder.file("scans.txt", script)]);
        }
        // not all factors make a JPEG
        let Some(jpeg) = libjpeg("cjpeg", &arguments, &part(width, height)) else {
            continue;
        };
        let wanted = libjpeg("djpeg", &["-pnm".into()], &jpeg).expect("it reads its own");
        let wanted = &wanted[wanted.len() - width * height * 3..];
        let what = || format!("case {case}, {width}x{height}: {arguments:?} {script:?}");
        match Photo::decode("made.jpg".as_ref(), &jpeg) {
            Ok(image) => {
                read += 1;
                let difference = mean_difference(image.pixels(), wanted);
                // chroma is interpolated otherwise, which shows in pictures of a few pixels
                let most = if width * height > 2000 { 1.0 } else { 3.0 };
                assert!(difference < most, "{}: {difference}", what());
            }
            Err(e) => {
                refused += 1;
                let named = e.to_string().contains("which is not read");
                assert!(named, "{}: {e}", what());
                assert_ne!(sampling[1..], [(1, 1), (1, 1)], "{}: {e}", what());
            }
        }
    }
    assert!(
        read > 100 && refused < read / 5,
        "{read} read, {refused} refused"
    );
}
