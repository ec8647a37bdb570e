//! The wall clock set back by an hour under the running program: by a library between it and the C library, since the machine's own
//! clock is not the tests' to set. (`tests/board/boot.sh` sets that of an emulated board.)

use std::{fs, path::PathBuf, process::Command};

use super::{Client, Folder, PHOTO, Program, command, looping, number, sequence};

/// `clock_gettime` that is an hour late as soon as the file `SET_BACK` is there.
const LATE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && access(getenv("SET_BACK"), F_OK) == 0)
        now->tv_sec -= 3600;
    return result;
}
"#;

/// The library, where there is a compiler. CI sets `TARSIER_REQUIRE_CLIENTS`, so that nothing is skipped there.
fn library(folder: &Folder) -> Option<PathBuf> {
    let (source, library) = (folder.file("late.c", LATE), folder.path("late.so"));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([library.as_os_str(), source.as_ref()])
        .output();
    match built {
        Ok(built) => {
            assert!(built.status.success(), "{built:?}");
            Some(library)
        }
        Err(e) => {
            let required = std::env::var_os("TARSIER_REQUIRE_CLIENTS").is_some();
            assert!(!required, "cc: {e}");
            eprintln!("SKIPPED: cc: {e}");
            None
        }
    }
}

#[test]
fn a_clock_that_is_set_back_by_an_hour_changes_the_stamp_and_nothing_else() {
    let folder = Folder::new();
    let Some(library) = library(&folder) else {
        return;
    };
    let config = folder.file("c.toml", looping(PHOTO, "telemetry.period_s = 0.2"));
    let socket = folder.text("sock");
    let mut command = command(&["--config", &config, "--socket", &socket]);
    command
        .env("LD_PRELOAD", library)
        .env("SET_BACK", folder.path("now"));
    let mut program = Program::of(&mut command);
    let mut client = Client::connect(&socket);
    client.state("running");
    let stamp = |report: &serde_json::Value| number(&report["header"]["stamp"]["sec"]);
    let mut last = client.report();
    for turn in 0..2 {
        let before = stamp(&last);
        if turn == 0 {
            folder.file("now", "");
        } else {
            fs::remove_file(folder.path("now")).expect("the file");
        }
        let mut seen = 0;
        // the frame under way may still have the old stamp
        while seen < 5 {
            let report = client.report();
            assert_eq!(sequence(&report), sequence(&last) + 1, "one after another");
            assert!(
                number(&report["captured_ns"]) > number(&last["captured_ns"]),
                "{report} after {last}"
            );
            assert!(number(&report["latency_us"]) < 5_000_000, "{report}");
            seen += u32::from(stamp(&report).abs_diff(before) > 3000);
            last = report;
        }
        assert_eq!(
            stamp(&last) < before,
            turn == 0,
            "{} {before}",
            stamp(&last)
        );
    }
    // what goes by time goes on, and nobody thinks that something was lost
    client.until("telemetry", |m| m["event"] == "telemetry");
    assert!(!program.log().contains("degraded"), "{}", program.log());
    program.signal("TERM");
    assert_eq!(program.end().code(), Some(0));
}
