//! Words on stderr, whoever they come from.
//!
//! | rule | why |
//! |---|---|
//! | control characters are written out (`\n`, `\u{1b}`) | a client's text must not look like a line of its own, nor move the terminal's cursor |
//! | of lines that are the same, the first [`SAME`] in [`WINDOW`] are written and the others counted | a fault that comes with each frame fills no disk |
//! | of all lines but errors, [`BURST`] are written at once and then [`A_SECOND`] a second; the others are counted | neither does a client that comes and goes |
//! | where the journal listens, lines begin with their priority as systemd wants it, `<3>` to `<7>` | `journalctl -p warning` finds warnings |
//!
//! The last two counts are kept for the loop only: a command's lines are its results, and none may be lost.

use std::{
    collections::HashMap,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use env_logger::Logger;
use log::{Level, Log, Metadata, Record};

/// Lines of one text that are written in a window.
const SAME: u32 = 5;
/// How long a text's lines are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Texts that are known at once; of more, lines are only counted all together.
const TEXTS: usize = 64;
/// Lines that are written at once.
const BURST: f64 = 100.0;
/// Lines that are written each second after that.
const A_SECOND: f64 = 10.0;

/// Begins to write. `counts`: whether lines that come too often are counted instead.
pub(crate) fn start(default: &str, counts: bool) {
    let filter = env_logger::Env::new().filter_or("TARSIER_LOG", default);
    let mut builder = env_logger::Builder::from_env(filter);
    builder.format_timestamp(None).format_target(false);
    let journal = journal();
    builder.format(move |out, record| {
        let text = printable(&record.args().to_string());
        let level = record.level();
        if journal {
            return writeln!(out, "<{}>{text}", priority(level));
        }
        let style = out.default_level_style(level);
        writeln!(out, "[{style}{level:<5}{style:#}] {text}")
    });
    let inner = builder.build();
    log::set_max_level(inner.filter());
    let state = counts.then(Mutex::default);
    // a second logger in one process is a bug that its own words could not report
    let _ = log::set_boxed_logger(Box::new(Calm { inner, state }));
}

/// As syslog numbers them.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether stderr is the journal's stream: systemd says which file that is, so that a redirected stderr is not taken for it.
fn journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let own = std::fs::metadata("/proc/self/fd/2");
    match (stream, own) {
        (Some(stream), Ok(own)) => stream == format!("{}:{}", own.dev(), own.ino()),
        _ => false,
    }
}

/// A text without control characters and without those that turn the direction of writing.
fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

struct Calm {
    inner: Logger,
    state: Option<Mutex<State>>,
}

struct State {
    /// When each text was first written in its window, and how often it came.
    texts: HashMap<(Level, String), (Instant, u32)>,
    /// Lines that may be written now.
    budget: f64,
    at: Instant,
    left_out: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            texts: HashMap::new(),
            budget: BURST,
            at: Instant::now(),
            left_out: 0,
        }
    }
}

impl State {
    /// Whether a line is written, and what is to be said of lines before it that were not.
    fn admit(&mut self, level: Level, text: &str, now: Instant) -> (bool, Vec<(Level, String)>) {
        let mut said = self.over(now, WINDOW);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.budget = (self.budget + passed * A_SECOND).min(BURST);
        self.at = now;
        let key = (level, text.to_owned());
        if let Some((_, times)) = self.texts.get_mut(&key) {
            *times += 1;
            if *times > SAME {
                return (false, said);
            }
        } else if self.texts.len() < TEXTS {
            self.texts.insert(key, (now, 1));
        }
        if level > Level::Error && self.budget < 1.0 {
            self.left_out += 1;
            return (false, said);
        }
        self.budget = (self.budget - 1.0).max(0.0);
        if self.left_out > 0 && self.budget >= 1.0 {
            let lines = std::mem::take(&mut self.left_out);
            said.push((Level::Warn, format!("{lines} lines were left out here")));
        }
        (true, said)
    }

    /// What is to be said of texts whose windows are over.
    fn over(&mut self, now: Instant, window: Duration) -> Vec<(Level, String)> {
        let mut said = Vec::new();
        self.texts.retain(|(level, text), (since, times)| {
            if now.saturating_duration_since(*since) < window {
                return true;
            }
            if *times > SAME {
                said.push((*level, format!("{text} ({} times more)", *times - SAME)));
            }
            false
        });
        said
    }
}

impl Calm {
    fn write(&self, level: Level, text: &str) {
        let arguments = format_args!("{text}");
        let record = Record::builder()
            .level(level)
            .target("tarsier")
            .args(arguments)
            .build();
        self.inner.log(&record);
    }
}

impl Log for Calm {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.inner.matches(record) {
            return;
        }
        let Some(state) = &self.state else {
            return self.inner.log(record);
        };
        let (level, text) = (record.level(), record.args().to_string());
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (written, said) = state.admit(level, &text, Instant::now());
        drop(state);
        for (level, text) in said {
            self.write(level, &text);
        }
        if written {
            self.inner.log(record);
        }
    }

    /// Says what was counted and not yet said.
    fn flush(&self) {
        if let Some(state) = &self.state {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut said = state.over(Instant::now(), Duration::ZERO);
            let lines = std::mem::take(&mut state.left_out);
            drop(state);
            if lines > 0 {
                said.push((Level::Warn, format!("{lines} lines were left out")));
            }
            for (level, text) in said {
                self.write(level, &text);
            }
        }
        self.inner.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(
            printable("a\nb\u{1b}[31m\u{202e}c é 猫"),
            "a\\nb\\u{1b}[31m\\u{202e}c é 猫"
        );
    }

    #[test]
    fn lines_that_are_the_same_are_counted_and_all_lines_have_a_rate() {
        let (mut state, now) = (State::default(), Instant::now());
        let mut written = 0;
        for _ in 0..1000 {
            written += u32::from(state.admit(Level::Error, "the same", now).0);
        }
        assert_eq!(written, SAME);
        let later = now + WINDOW;
        let (admitted, said) = state.admit(Level::Info, "another", later);
        assert!(admitted);
        assert_eq!(
            said,
            [(Level::Error, "the same (995 times more)".to_owned())]
        );
        let lines = (0..1000).filter(|i| state.admit(Level::Info, &i.to_string(), later).0);
        let lines = lines.count();
        assert!(lines < 100, "{lines}");
        assert!(state.admit(Level::Error, "errors are written", later).0);
        let (_, said) = state.admit(Level::Info, "after a while", later + WINDOW / 2);
        assert!(said[0].1.contains("lines were left out here"), "{said:?}");
    }
}
