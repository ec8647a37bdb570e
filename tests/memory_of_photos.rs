//! What photos of a source really need, beside what `--check-config` says that they can.

use image::{DynamicImage, ImageFormat, Rgba, imageops::FilterType};
use serde_json::json;

#[path = "program/mod.rs"]
mod program;

use program::{Client, Folder, Program, command, root};

/// Most memory that the program ever had in use and what it said that frames can need, both in bytes, of photos of this side, in
/// every way that they are stored, with all that can be made of them.
fn measured(side: u32) -> [f64; 2] {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("photos")).expect("a folder");
    let photo = image::open(root().join("models/sample/coffee.jpg")).expect("a photo");
    let photo = photo.resize_exact(side, side, FilterType::Triangle);
    let save = |photo: &DynamicImage, name: &str, format| {
        let path = folder.path("photos").join(name);
        photo.save_with_format(path, format).expect("a photo");
    };
    save(&photo, "a.jpg", ImageFormat::Jpeg);
    // as large as a file gets: half transparent, 16 bits, and nothing that could be compressed
    let mut deep = photo.to_rgba16();
    let mut state = 1_u32;
    for Rgba([r, _, b, a]) in deep.pixels_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 20) as u16;
        (*r, *b, *a) = (*r ^ noise, *b ^ noise, 40_000 + noise);
    }
    let deep = DynamicImage::ImageRgba16(deep);
    save(&deep, "b.png", ImageFormat::Png);
    #[cfg(feature = "formats")]
    save(&deep, "c.tiff", ImageFormat::Tiff);
    let pixels = side * side;
    let config = folder.file(
        "c.toml",
        format!(
            "limits.pixels = {pixels}\nprompts.threshold = 0.05\n[source]\nkind = \"files\"\npath = {:?}\nrepeat = true\n\
             [task]\nmasks = true\npanoptic = true\nseparate_stuff = true\neverything = true\n",
            folder.path("photos")
        ),
    );
    let socket = folder.text("sock");
    let options = ["--config", &config, "--socket", &socket];
    let checked = command(&[&options[..], &["--check-config"]].concat())
        .stdout(std::process::Stdio::piped())
        .output()
        .expect("it runs");
    let said = String::from_utf8(checked.stdout).expect("text");
    let line = said.lines().find_map(|l| l.trim().strip_prefix("frames"));
    let line = line.unwrap_or_else(|| panic!("no frames: {said}"));
    let computed: f64 = line.trim().trim_end_matches('M').parse().expect("a number");
    let program = Program::start(&options);
    let mut client = Client::connect(&socket);
    for _ in 0..9 {
        let report = client.report();
        assert_eq!(report["width"], json!(side), "{report}");
    }
    let peak = program.status("VmHWM:");
    let peak: f64 = peak
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    [peak * 1024.0, computed * f64::from(1 << 20)]
}

#[test]
fn photos_need_no_more_than_was_computed_and_not_much_less() {
    let ([small, least], [large, most]) = (measured(64), measured(1600));
    let (real, computed) = (large - small, most - least);
    eprintln!(
        "of {} more pixels: really {real} bytes, computed {computed}",
        1600 * 1600 - 64 * 64
    );
    assert!(real <= computed, "{real} {computed}");
    assert!(4.0 * real >= computed, "{real} {computed}");
}

#[test]
fn a_photo_above_the_limit_of_a_loop_is_passed_over_with_both_numbers_and_the_key() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("photos")).expect("a folder");
    // 16 Mi pixels and a row more
    let photo = image::GrayImage::new(4096, 4097);
    photo
        .save(folder.path("photos").join("a.png"))
        .expect("a photo");
    let path = folder.path("photos");
    let config = folder.file(
        "c.toml",
        format!("[source]\nkind = \"files\"\npath = {path:?}\n"),
    );
    let mut program = Program::start(&["--config", &config, "--print"]);
    assert_eq!(program.end().code(), Some(65), "{}", program.log());
    program.says("16781312 pixels where at most 16777216 are decoded (limits.pixels)");
}
