//! Limits where a person meets them: commands refuse what the loop refuses, whole, with both numbers.

use std::fs;

#[path = "program/mod.rs"]
mod program;

use program::{Folder, tarsier};

const PHOTO: &str = "models/sample/coffee.jpg";

/// A list with so many lines.
fn list(folder: &Folder, name: &str, lines: impl Iterator<Item = String>) -> String {
    folder.file(name, lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_goes_over_a_limit_is_64_with_both_numbers_and_nothing_is_done() {
    let folder = Folder::new();
    let many = list(&folder, "many.txt", (0..16_385).map(|i| format!("cup {i}")));
    let heavy = list(
        &folder,
        "heavy.txt",
        (0..2500).map(|i| format!("{i:0>420}")),
    );
    let wide = list(
        &folder,
        "wide.txt",
        ["cup".into(), String::new(), "x".repeat(513)].into_iter(),
    );
    let nested = list(
        &folder,
        "nested.txt",
        (0..8193).map(|i| format!("cup {i} > lid {i}")),
    );
    let sentences = list(
        &folder,
        "sentences.txt",
        (0..65).map(|i| format!("cup {i}")),
    );
    let long = "y".repeat(513);
    let stuff = vec!["--stuff"; 65];
    let stuff: Vec<&str> = stuff.iter().flat_map(|&s| [s, "wall"]).collect();
    let drawn = folder.text("drawn");
    let exemplar = format!("{PHOTO}@170,18,248,225={long}");
    for (arguments, words) in [
        (
            vec![
                "detect",
                PHOTO,
                "--encode-unknown",
                "--prompts",
                &many,
                "--draw",
                &drawn,
            ],
            vec!["many.txt: 16385 prompts; up to 16384 are taken"],
        ),
        (
            vec!["segment", PHOTO, "--encode-unknown", "--prompts", &heavy],
            vec!["texts and groups of 1050000 bytes; those of a set have up to 1048576"],
        ),
        (
            vec!["detect", PHOTO, "--prompts", &wide],
            vec!["wide.txt:3: ", "513 bytes; up to 512"],
        ),
        (
            vec!["detect", PHOTO, "--encode-unknown", "--prompts", &nested],
            vec!["16386 prompts; a set holds up to 16384"],
        ),
        (
            vec!["detect", PHOTO, "--prompt", &long],
            vec!["513 bytes; up to 512"],
        ),
        (
            vec!["detect", PHOTO, "--sentence", &long],
            vec!["513 bytes; up to 512"],
        ),
        (
            vec!["detect", PHOTO, "--exemplar", &exemplar],
            vec!["513 bytes; up to 512"],
        ),
        (
            vec!["semantic", PHOTO, "--prompt", &long],
            vec!["513 bytes; up to 512"],
        ),
        (
            [&["semantic", PHOTO, "--output", &drawn][..], &stuff].concat(),
            vec!["65 texts of stuff; up to 64 are taken"],
        ),
        (
            [&["panoptic", PHOTO, "--output", &drawn][..], &stuff].concat(),
            vec!["65 texts of stuff; up to 64 are taken"],
        ),
        (
            vec!["panoptic", PHOTO, "--stuff", &long],
            vec!["513 bytes; up to 512"],
        ),
        (
            vec!["ground", PHOTO, "--sentences", &sentences],
            vec!["sentences.txt: 65 sentences; up to 64 are taken"],
        ),
        (
            vec!["ground", PHOTO, "--sentence", "a cup", "--sentence", &long],
            vec!["513 bytes; up to 512"],
        ),
        (vec!["vocab", "search", &long], vec!["513 bytes; up to 512"]),
        (vec!["vocab", "show", &long], vec!["513 bytes; up to 512"]),
        (
            vec!["vocab", "add", "zorbl", "--as", &long, "--words", &drawn],
            vec!["513 bytes; up to 512"],
        ),
        (
            vec!["vocab", "add", "zorbl", "--group", &long, "--words", &drawn],
            vec!["513 bytes; up to 512"],
        ),
    ] {
        let (code, out, said) = tarsier(&arguments);
        let what = arguments[..2].join(" ");
        assert_eq!(code, Some(64), "{what}: {said}");
        assert!(out.is_empty(), "{what}: {out}");
        for words in words {
            assert!(said.contains(words), "{what}: {words}: {said}");
        }
    }
    assert!(fs::metadata(&drawn).is_err(), "{drawn} was made");
}

#[test]
fn as_many_as_are_taken_are_answered() {
    let folder = Folder::new();
    let longest = format!("the {}cup", "very ".repeat(101));
    assert_eq!(longest.len(), 512);
    let lines = (0..63).map(|i| format!("the cup {i}")).chain([longest]);
    let sentences = list(&folder, "sentences.txt", lines);
    let (code, out, said) = tarsier(&["ground", PHOTO, "--sentences", &sentences]);
    assert_eq!((code, out.lines().count()), (Some(0), 64), "{said}");
}
