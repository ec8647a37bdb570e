//! Threads that must not end unseen: a panic is told to the loop, and the work is begun again.
//!
//! ```text
//! keep(watch, …):  live ──ends──▶ return
//!                   ▲ └──panics──▶ watch.note ── 0.1 s, 0.2 s … 5 s ──┐
//!                   └──────────────────────────────────────────────────┘
//! loop:            watch.take() ──▶ a standing fault
//! ```
//!
//! A panic is a bug of ours. A daemon whose capturing thread has died of one would live on blind
//! while its loop, which goes round as before, feeds the watchdog; so every thread of `run` is
//! [kept](keep), and whoever cannot see in spite of that ends with exit code 70, for the service
//! manager to start it anew.
//!
//! What a robot does when a part fails wants to be tried before it happens:
//! `TARSIER_FAULT=capture:3` makes the capturing thread panic at its next three pictures. The parts
//! are `capture`, `inference`, `command`, `link`, `print`, `self-test` and `program`. Whoever sets
//! a program's environment has the program, so this gives nobody more than they had.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The pauses between a panic and the next attempt: doubled from the first to the last.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Who lived for so long is well: the next pause is the first again.
const WELL: Duration = Duration::from_secs(30);

/// How soon a pause ends when the thread is to stop.
const STEP: Duration = Duration::from_millis(20);

/// How far a thread steps back that prepares something: beside a loop that never sleeps it has a tenth of a core.
const NICENESS: i32 = 10;

/// Lets every other thread of the program go first: on Linux each thread has a niceness of its own.
pub fn step_back() {
    if let Err(e) = rustix::process::nice(NICENESS) {
        log::debug!("a preparing thread runs as the others do: {e}");
    }
}

/// Frees what is large elsewhere: thousands of texts take milliseconds, which no frame is to wait for.
pub fn let_go(large: impl Send + 'static) {
    let builder = thread::Builder::new().name("let go".into());
    let freed = builder.spawn(move || {
        step_back();
        drop(large);
    });
    if let Err(e) = freed {
        // then it was freed here
        log::debug!("no thread to free something: {e}");
    }
}

/// What a kept thread and whoever looks after it share.
#[derive(Debug, Default)]
pub struct Watch {
    untold: Mutex<Option<String>>,
    panics: AtomicU32,
}

impl Watch {
    /// What the thread panicked of since the last call, and how often it has in all; none: it is
    /// well.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        let text = self.inside().take()?;
        let times = self.panics.load(Ordering::Relaxed);
        Some(match times {
            1 => format!("panicked and was started again: {text}"),
            _ => format!("panicked {times} times and was started again: {text}"),
        })
    }

    fn note(&self, text: String) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        *self.inside() = Some(text);
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `live` until it returns, and again after each panic of it; no more once `stopped` says so.
pub fn keep(watch: &Watch, stopped: impl Fn() -> bool, mut live: impl FnMut()) {
    let mut pause = BACK_OFF[0];
    loop {
        let began = Instant::now();
        let Err(panic) = catch_unwind(AssertUnwindSafe(&mut live)) else {
            return;
        };
        watch.note(text_of(&*panic));
        if began.elapsed() >= WELL {
            pause = BACK_OFF[0];
        }
        let end = Instant::now() + pause;
        while Instant::now() < end {
            if stopped() {
                return;
            }
            thread::sleep(STEP);
        }
        if stopped() {
            return;
        }
        pause = (pause * 2).min(BACK_OFF[1]);
    }
}

/// The pause before the attempt that follows so many panics in a row.
#[must_use]
pub fn pause_after(panics: u32) -> Duration {
    let doubled = BACK_OFF[0].checked_mul(1 << panics.saturating_sub(1).min(16));
    doubled.unwrap_or(BACK_OFF[1]).min(BACK_OFF[1])
}

thread_local! {
    /// What this thread panicked of last, with the line of the source.
    static LAST: Cell<Option<String>> = const { Cell::new(None) };
}

/// From now on a panic is a line of the log, like every other error, and [`text_of`] knows its line
/// of the source.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string);
        let text = format!(
            "{} ({})",
            message(info.payload()),
            place.as_deref().unwrap_or("unknown place")
        );
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        log::error!("a bug: the thread {name} panicked: {text}");
        LAST.set(Some(text));
    }));
}

/// What a caught panic says.
#[must_use]
pub fn text_of(panic: &(dyn Any + Send)) -> String {
    // one that another thread of the team handed over left no note here
    LAST.take().unwrap_or_else(|| message(panic).to_owned())
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("no message")
}

/// Whether the environment wants this part to fail now: see the module's header.
#[must_use]
pub fn fails(part: &str) -> bool {
    static WANTED: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("TARSIER_FAULT").ok()?;
        let (part, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((part.to_owned(), AtomicU32::new(times.parse().ok()?)))
    });
    let Some((wanted, left)) = wanted else {
        return false;
    };
    let one_less = |n: u32| n.checked_sub(1);
    wanted == part
        && left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
}

/// Panics if the environment wants this part to.
///
/// # Panics
///
/// That is what it is for: see the module's header.
pub fn trap(part: &str) {
    assert!(!fails(part), "TARSIER_FAULT wants {part} to fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn who_panics_is_started_again_and_that_is_told_once() {
        let (watch, mut lives) = (Watch::default(), 0);
        keep(
            &watch,
            || false,
            || {
                lives += 1;
                assert!(lives > 2, "life {lives}");
            },
        );
        assert_eq!(lives, 3);
        let text = watch.take().expect("it panicked");
        assert!(
            text.contains("2 times") && text.contains("life 2"),
            "{text}"
        );
        assert_eq!(watch.take(), None);
    }

    #[test]
    fn who_is_to_stop_is_not_started_again() {
        let (watch, stopped) = (Watch::default(), AtomicBool::new(false));
        let mut lives = 0;
        keep(
            &watch,
            || stopped.load(Ordering::Relaxed),
            || {
                lives += 1;
                stopped.store(true, Ordering::Relaxed);
                panic!("the last");
            },
        );
        assert_eq!(lives, 1);
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        assert_eq!(pause_after(1), BACK_OFF[0]);
        assert_eq!(pause_after(2), 2 * BACK_OFF[0]);
        assert_eq!(pause_after(u32::MAX), BACK_OFF[1]);
    }
}
