//! Work in the background that gives way to work that somebody waits for.
//!
//! ```text
//! loop:        ▒▒ frame ▒▒              ▒▒ frame ▒▒
//! background:  ░░ op ░┈┈┈┈┈┈┈░ op ░ op ░┈┈┈┈┈┈┈┈░ op ░      ┈ asleep, for up to nine times as long as it worked
//! ```
//!
//! Niceness alone does not do it. The kernel lets a thread that runs finish its slice, some
//! milliseconds, before it looks who has woken up meanwhile; where all cores are busy with other
//! programs, that is a frame later. So whoever works in the background asks between two operations,
//! of a fraction of a millisecond, whether a frame is being looked at, and offers its core to others
//! if none is.
//!
//! Reports while 4,000 texts were encoded, against those before and after: six rounds each, in turn, on two cores that twelve other
//! programs want, a training among them; a frame takes 22 ms there (`tests/preparing.rs` has the test):
//!
//! | | later by, in the middle | nine of ten | prepared in |
//! |---|---|---|---|
//! | niceness 10 alone | -1 to 4 ms, mostly 1 | 3 to 11 ms, mostly 5 | 10 s |
//! | and giving way | -3 to 5 ms, mostly 2 | -4 to 7 ms, mostly 2 | 14 s |
//!
//! In a build whose frame takes four times as long it was 8 to 18 ms in the middle without and -3 to 10 ms with it: the slower the
//! core, the more it is worth.
//!
//! `SCHED_IDLE` would do it without asking, and was measured to cost as little. But a thread cannot
//! leave it again without privileges, and beside a loop that never sleeps it has a three hundredth
//! of a core: 4,000 texts would take hours. Here it has a tenth at least.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Between two looks at whether the foreground is still busy.
const STEP: Duration = Duration::from_micros(500);

/// How many times as long as it worked a thread waits at most: it keeps a tenth of a core.
const SHARE: u32 = 9;

/// What counts as work in one go at most: longer, others had the core.
const LONGEST: Duration = Duration::from_millis(10);

/// Whether something is being done that somebody waits for.
#[derive(Clone, Debug, Default)]
pub struct Foreground(Arc<AtomicBool>);

/// As long as it is there, the foreground is busy.
#[derive(Debug)]
pub struct Busy(Arc<AtomicBool>);

impl Foreground {
    /// From here to the drop of what is returned, threads in the background wait.
    #[must_use]
    pub fn enter(&self) -> Busy {
        self.0.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.0))
    }

    fn is_busy(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What a thread in the background gives way to, and since when it has not.
struct Background {
    to: Foreground,
    since: Instant,
}

thread_local! {
    static BACKGROUND: RefCell<Option<Background>> = const { RefCell::new(None) };
}

/// From now on this thread gives way, wherever it [asks](give_way).
pub fn stay_behind(foreground: Foreground) {
    let background = Background {
        to: foreground,
        since: Instant::now(),
    };
    BACKGROUND.set(Some(background));
}

/// Waits while the foreground is busy, if this thread is one of the background. Any other thread goes on at once.
pub fn give_way() {
    BACKGROUND.with_borrow_mut(|background| {
        let Some(Background { to, since }) = background else {
            return;
        };
        if to.is_busy() {
            let worked = since.elapsed().min(LONGEST);
            let end = Instant::now() + worked * SHARE;
            while to.is_busy() && Instant::now() < end {
                thread::sleep(STEP);
            }
        } else {
            thread::yield_now();
        }
        *since = Instant::now();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_waits_while_the_foreground_is_busy_and_has_a_tenth_of_the_time() {
        let foreground = Foreground::default();
        give_way();
        let busy = foreground.enter();
        let behind = foreground.clone();
        let thread = thread::spawn(move || {
            stay_behind(behind);
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(4) {}
            give_way();
            begin.elapsed()
        });
        let waited = thread.join().expect("a thread");
        // never for ever; and others may have had the core
        assert!(waited >= Duration::from_millis(40), "{waited:?}");
        // who is not behind goes on
        let begin = Instant::now();
        (0..1000).for_each(|_| give_way());
        assert!(begin.elapsed() < Duration::from_secs(1));
        drop(busy);
        let thread = thread::spawn(move || {
            stay_behind(foreground);
            thread::sleep(Duration::from_millis(100));
            let begin = Instant::now();
            give_way();
            begin.elapsed()
        });
        let waited = thread.join().expect("a thread");
        assert!(waited < Duration::from_millis(90), "{waited:?}");
    }
}
