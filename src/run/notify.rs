//! The service manager: ready, alive, what it does. Without one, nothing.
//!
//! The watchdog is fed by the loop itself and not by a thread of its own: a loop that hangs must be seen to hang.

use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify};

use crate::protocol::State;

/// Between two lines of status.
const STATUS: Duration = Duration::from_secs(2);

/// How much longer a start may take from where it says so.
const EXTEND: Duration = Duration::from_secs(60);

/// What the service manager was told.
#[derive(Debug)]
pub(super) struct Manager {
    /// How often it wants to hear; none: no watchdog.
    period: Option<Duration>,
    /// Whether there is one.
    listens: bool,
    fed: Instant,
    said: Option<(State, Instant)>,
}

impl Manager {
    pub(super) fn new() -> Self {
        Self {
            // three times in the time that it grants
            period: sd_notify::watchdog_enabled().map(|timeout| timeout / 3),
            listens: std::env::var_os("NOTIFY_SOCKET").is_some(),
            fed: Instant::now(),
            said: None,
        }
    }

    /// It takes longer to start: the service manager is asked for more time, now and then.
    pub(super) fn starting(&mut self) {
        if self.fed.elapsed() >= EXTEND / 6 {
            self.fed = Instant::now();
            say(&[NotifyState::ExtendTimeoutUsec(EXTEND.as_micros() as u32)]);
        }
    }

    pub(super) fn ready(&mut self) {
        say(&[NotifyState::Ready]);
        self.fed = Instant::now();
    }

    /// The loop goes round.
    pub(super) fn alive(&mut self) {
        if self.period.is_some_and(|p| self.fed.elapsed() >= p) {
            self.fed = Instant::now();
            say(&[NotifyState::Watchdog]);
        }
    }

    /// One line about the program, now and then and when its state changed.
    pub(super) fn status(&mut self, state: State, fps: f32, frames: u64) {
        let recent = |(before, when): (State, Instant)| before == state && when.elapsed() < STATUS;
        if self.said.is_some_and(recent) {
            return;
        }
        self.said = Some((state, Instant::now()));
        if self.listens {
            let text = format!(
                "{}, {fps:.1} frames per second, {frames} in all",
                state.name()
            );
            say(&[NotifyState::Status(&text)]);
        }
    }

    pub(super) fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(e) = notify(states) {
        log::debug!("service manager: {e}");
    }
}
