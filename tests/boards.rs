//! The boards' folders: settings that the program takes, units that systemd takes, rules that udev takes, pages that name what is there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every folder with a `board.toml`.
fn boards() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("boards")).expect("boards");
    let mut found: Vec<_> = folder
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("board.toml").exists())
        .collect();
    found.sort();
    assert!(found.len() >= 8, "{found:?}");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("a name")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .arg("run")
        .args(arguments)
        .env_remove("TARSIER_PACK")
        .output()
        .expect("it runs")
}

/// Files of a board with an ending.
fn files(board: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(board)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    found.sort();
    found
}

#[test]
fn every_boards_configuration_is_right() {
    for board in boards() {
        let file = board.join("board.toml");
        let path = file.to_str().expect("UTF-8");
        let check = run(&["--config", path, "--check-config"]);
        let words = String::from_utf8_lossy(&check.stderr);
        assert!(check.status.success(), "{path}: {words}");
        // and names what it must: nothing that matters on a board is left to a default
        let table: toml::Table = toml::from_str(&read(&file)).expect("TOML");
        for (part, key) in [
            ("engine", "pack"),
            ("source", "kind"),
            ("rate", "fps"),
            ("links", "socket"),
            ("prompts", "list"),
        ] {
            assert!(
                table.get(part).is_some_and(|part| part.get(key).is_some()),
                "{path} lacks {part}.{key}"
            );
        }
    }
}

#[test]
fn every_boards_unit_has_the_walls_that_are_promised() {
    for board in boards() {
        let service = read(&board.join("tarsier.service"));
        for line in [
            "Type=notify",
            "PrivateNetwork=yes",
            "ProtectSystem=strict",
            "DevicePolicy=closed",
            "DeviceAllow=",
            "MemoryMax=",
            "WatchdogSec=",
            "RestrictAddressFamilies=AF_UNIX",
            "UMask=0077",
            "ProtectProc=invisible",
            "SystemCallFilter=~@privileged",
        ] {
            let has = service.lines().any(|l| l.starts_with(line));
            assert!(has, "{} lacks {line}", board.display());
        }
        // who has a USB camera must not get a camera.service that is started again for ever
        for asks in ["Wants=camera", "Requires=camera", "BindsTo=camera"] {
            assert!(!service.contains(asks), "{} has {asks}", board.display());
        }
        // a name of USB devices is looked up when the service starts, and counts for nothing if their driver is not there yet
        for late in ["char-video4linux", "char-ttyUSB", "char-ttyACM"] {
            assert!(!service.contains(late), "{} has {late}", board.display());
        }
    }
}

/// A size such as `240M`.
fn megabytes(text: &str) -> f64 {
    let number = text.trim_end_matches('M').parse();
    number.unwrap_or_else(|_| panic!("{text}: megabytes are expected"))
}

/// What the kernel keeps for a program beside its own memory: a pipe, sockets, page tables.
const KERNEL: f64 = 16.0;

#[test]
fn every_boards_unit_leaves_as_much_memory_as_may_be_needed() {
    for board in boards() {
        let file = board.join("board.toml");
        let pack = root().join("models/tarsier-s.tarsier");
        let [path, pack] = [&file, &pack].map(|p| p.to_str().expect("UTF-8"));
        let check = run(&["--config", path, "--pack", pack, "--check-config"]);
        let words = String::from_utf8_lossy(&check.stderr);
        assert!(check.status.success(), "{path}: {words}");
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        let need = said.lines().find_map(|l| l.strip_prefix("memory: up to "));
        let need = megabytes(need.unwrap_or_else(|| panic!("{path}: {said}")));
        let table: toml::Table = toml::from_str(&read(&file)).expect("TOML");
        let limit = table["limits"]["memory"].as_str().expect("a limit");
        let limit = megabytes(limit);
        let service = read(&board.join("tarsier.service"));
        let most = service.lines().find_map(|l| l.strip_prefix("MemoryMax="));
        let most = megabytes(most.expect("a limit"));
        assert!(
            need <= limit && limit + KERNEL <= most,
            "{path}: {need}M may be needed, limits.memory is {limit}M, MemoryMax {most}M"
        );
    }
}

/// Units as `systemd-analyze verify` reads them, where there is one: unknown keys, wrong values, wrong sections.
#[test]
fn every_boards_units_are_what_systemd_takes() {
    let found = Command::new("systemd-analyze").arg("--version").output();
    if !found.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: no systemd-analyze");
        return;
    }
    let folder = std::env::temp_dir().join(format!("tarsier-units-{}", std::process::id()));
    for board in boards() {
        let own = folder.join(name(&board));
        fs::create_dir_all(&own).expect("a folder");
        for unit in files(&board, "service") {
            // the program is not installed on this machine
            let text = read(&unit).replace("ExecStart=/usr/bin/tarsier", "ExecStart=/bin/sh");
            fs::write(own.join(name(&unit)), text).expect("a unit");
        }
        for unit in files(&own, "service") {
            let verify = Command::new("systemd-analyze")
                .arg("verify")
                .arg(&unit)
                .env("SYSTEMD_UNIT_PATH", format!("{}:", own.display()))
                .output()
                .expect("systemd-analyze");
            let words = String::from_utf8_lossy(&verify.stderr);
            // of our units only; it also reads those that they name
            let ours: Vec<&str> = words
                .lines()
                .filter(|l| files(&own, "service").iter().any(|u| l.contains(name(u))))
                .collect();
            assert!(ours.is_empty(), "{}: {ours:?}", board.display());
        }
    }
    let wrong = folder.join("wrong.service");
    fs::write(&wrong, "[Service]\nExecStart=/bin/sh\nMemoryMix=1M\n").expect("a unit");
    let mut verify = Command::new("systemd-analyze");
    let verify = verify.arg("verify").arg(&wrong).output();
    let verify = verify.expect("systemd-analyze");
    let words = String::from_utf8_lossy(&verify.stderr);
    assert!(
        words.contains("MemoryMix"),
        "this test cannot fail: {words}"
    );
    let _ = fs::remove_dir_all(folder);
}

/// One `KEY{attribute}op"value"` of a rule.
fn pair(text: &str) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = text.trim_start_matches(word);
    let key = &text[..text.len() - rest.len()];
    let (match_only, assign_only) = (
        ["SUBSYSTEM", "KERNEL", "DRIVER", "ATTRS", "ACTION", "ENV"],
        ["GROUP", "MODE", "SYMLINK", "TAG", "OWNER"],
    );
    let rest = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once('}').ok_or("an open brace")?.1,
        None => rest,
    };
    let (operator, value) = rest
        .find('"')
        .map(|at| rest.split_at(at))
        .ok_or("no value")?;
    let right = match operator {
        "==" | "!=" => match_only.contains(&key) || key == "ATTR",
        "=" | "+=" | ":=" => assign_only.contains(&key) || key == "ATTR",
        _ => false,
    };
    if !right {
        return Err(format!("{key} with {operator}"));
    }
    if value.len() < 3 || !value.ends_with('"') || value[1..value.len() - 1].contains('"') {
        return Err(format!("the value {value}"));
    }
    if key == "MODE" && u32::from_str_radix(&value[1..value.len() - 1], 8).is_err() {
        return Err(format!("the mode {value}"));
    }
    Ok(())
}

fn rule(line: &str) -> Result<(), String> {
    line.split(", ").try_for_each(pair)
}

#[test]
fn every_boards_rules_are_what_udev_takes() {
    for board in boards() {
        let rules = read(&board.join("99-tarsier.rules"));
        let lines: Vec<&str> = rules
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .collect();
        assert!(!lines.is_empty(), "{}", board.display());
        for line in lines {
            if let Err(why) = rule(line) {
                panic!("{}: {why}: {line}", board.display());
            }
        }
    }
    for wrong in [
        r#"SUBSYSTEM="tty", GROUP="dialout""#,
        r#"KERNEL=="ttyAMA0" GROUP="dialout""#,
        r#"GROUPS="dialout""#,
        r#"KERNEL=="ttyAMA0", MODE="0990""#,
        r#"ATTR{latency_timer="1""#,
    ] {
        assert!(rule(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_board_says_where_names_are_listed_and_cross_emulates_old_cores() {
    for board in boards() {
        let settings = read(&board.join("board.toml"));
        assert!(
            settings.contains("`tarsier vocab list`"),
            "{}",
            board.display()
        );
    }
    let cross: toml::Table = toml::from_str(&read(&root().join("cross.toml"))).expect("TOML");
    let targets = cross["target"].as_table().expect("a table");
    for (target, core) in [
        ("aarch64-unknown-linux-gnu", "QEMU_CPU=cortex-a53"),
        ("aarch64-unknown-linux-musl", "QEMU_CPU=cortex-a53"),
        ("armv7-unknown-linux-gnueabihf", "QEMU_CPU=cortex-a7"),
        ("armv7-unknown-linux-musleabihf", "QEMU_CPU=cortex-a7"),
    ] {
        let passed = targets[target]["env"]["passthrough"].as_array();
        let passed = passed.expect("a list");
        assert!(passed.iter().any(|v| v.as_str() == Some(core)), "{target}");
    }
}

#[test]
fn every_boards_page_names_its_files_and_the_table_names_every_board() {
    let table = read(&root().join("boards/README.md"));
    for board in boards() {
        let page = read(&board.join("README.md"));
        for file in fs::read_dir(&board).expect("a folder") {
            let file = file.expect("an entry").path();
            let file = name(&file);
            assert!(
                file == "README.md" || page.contains(file),
                "{} says nothing of {file}",
                board.display()
            );
        }
        let board = name(&board);
        assert!(table.contains(&format!("[{board}]({board})")), "{board}");
        assert!(page.contains(&format!("boards/{board}/*")), "{board}");
    }
    let rows: BTreeSet<&str> = table
        .lines()
        .filter_map(|l| l.strip_prefix("| [")?.split_once(']').map(|(name, _)| name))
        .collect();
    assert_eq!(rows.len(), boards().len(), "{rows:?}");
}
