//! What the program is doing, and what keeps it from doing it well.
//!
//! ```text
//! starting ──first report──▶ running ◀──▶ degraded (camera lost, no picture, link lost, hot) ──▶ stopping
//!     └──camera lost───────────────────────▲     paused: running, told not to look
//! ```

use crate::protocol::{Event, State};

/// What can be wrong while the program goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No frames.
    CameraLost,
    /// Bytes that make no frame.
    NoPicture,
    /// A line is not there.
    LinkLost,
    /// Work is held back because of heat.
    Hot,
}

impl Cause {
    const ALL: [Self; 4] = [Self::CameraLost, Self::NoPicture, Self::LinkLost, Self::Hot];

    const fn name(self) -> &'static str {
        match self {
            Self::CameraLost => "camera lost",
            Self::NoPicture => "no picture",
            Self::LinkLost => "link lost",
            Self::Hot => "hot",
        }
    }
}

/// The state and its causes.
#[derive(Debug)]
pub(super) struct Condition {
    shown: State,
    /// What was last said about each cause that holds.
    causes: [Option<String>; Cause::ALL.len()],
    /// Which causes the last event named.
    told: [bool; Cause::ALL.len()],
    started: bool,
    paused: bool,
    stopping: Option<String>,
}

impl Condition {
    pub(super) const fn new() -> Self {
        Self {
            shown: State::Starting,
            causes: [const { None }; Cause::ALL.len()],
            told: [false; Cause::ALL.len()],
            started: false,
            paused: false,
            stopping: None,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.shown
    }

    /// A cause holds, for this reason, or no longer.
    pub(super) fn set(&mut self, cause: Cause, why: Option<String>) {
        self.causes[cause as usize] = why;
    }

    /// The first report is out.
    pub(super) const fn started(&mut self) {
        self.started = true;
    }

    pub(super) const fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) const fn paused(&self) -> bool {
        self.paused
    }

    pub(super) fn stop(&mut self, why: &str) {
        self.stopping.get_or_insert_with(|| why.to_owned());
    }

    pub(super) const fn stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// The change since the last call, if there is one: to be logged and sent once.
    pub(super) fn settle(&mut self) -> Option<Event> {
        let holds = self.causes.each_ref().map(Option::is_some);
        let degraded = holds.contains(&true);
        let now = if self.stopping.is_some() {
            State::Stopping
        } else if degraded {
            State::Degraded
        } else if !self.started {
            State::Starting
        } else if self.paused {
            State::Paused
        } else {
            State::Running
        };
        let same_causes = now != State::Degraded || holds == self.told;
        if now == self.shown && same_causes {
            return None;
        }
        let why = match now {
            State::Stopping => self.stopping.clone().unwrap_or_default(),
            State::Degraded => {
                let list = Cause::ALL.iter().zip(&self.causes);
                let list = list.filter_map(|(cause, why)| {
                    why.as_ref().map(|why| format!("{}: {why}", cause.name()))
                });
                list.collect::<Vec<_>>().join("; ")
            }
            State::Paused => "told to pause".into(),
            State::Running | State::Starting => {
                let over = Cause::ALL.iter().zip(self.told);
                let over: Vec<_> = over
                    .filter_map(|(cause, told)| told.then_some(cause.name()))
                    .collect();
                match (self.shown, over.as_slice()) {
                    (State::Degraded, causes) => format!("no longer: {}", causes.join(", ")),
                    (State::Starting, _) => "first report".into(),
                    _ => "told to go on".into(),
                }
            }
        };
        let from = std::mem::replace(&mut self.shown, now);
        self.told = holds;
        Some(Event::State { from, to: now, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(condition: &mut Condition) -> Option<(State, State, String)> {
        match condition.settle() {
            Some(Event::State { from, to, why }) => {
                assert_eq!(condition.settle(), None, "said once");
                Some((from, to, why))
            }
            _ => None,
        }
    }

    #[test]
    fn every_state_is_entered_and_left_with_one_event() {
        let mut c = Condition::new();
        assert_eq!(change(&mut c), None);
        c.started();
        let (from, to, why) = change(&mut c).expect("running");
        assert_eq!((from, to), (State::Starting, State::Running));
        assert_eq!(why, "first report");

        c.set(Cause::CameraLost, Some("no such file".into()));
        let (from, to, why) = change(&mut c).expect("degraded");
        assert_eq!((from, to), (State::Running, State::Degraded));
        assert_eq!(why, "camera lost: no such file");
        // the same cause in other words is no news, another cause is
        c.set(Cause::CameraLost, Some("still not".into()));
        assert_eq!(change(&mut c), None);
        c.set(Cause::Hot, Some("90 degrees".into()));
        let (from, to, why) = change(&mut c).expect("more");
        assert_eq!((from, to), (State::Degraded, State::Degraded));
        assert_eq!(why, "camera lost: still not; hot: 90 degrees");
        c.set(Cause::CameraLost, None);
        assert_eq!(change(&mut c).expect("less").2, "hot: 90 degrees");
        c.set(Cause::Hot, None);
        assert_eq!(change(&mut c).expect("running").2, "no longer: hot");

        c.set_paused(true);
        assert_eq!(change(&mut c).expect("paused").1, State::Paused);
        c.set_paused(false);
        assert_eq!(change(&mut c).expect("running").2, "told to go on");
        c.stop("SIGTERM");
        c.set(Cause::LinkLost, Some("gone".into()));
        assert_eq!(
            change(&mut c),
            Some((State::Running, State::Stopping, "SIGTERM".into()))
        );
    }

    #[test]
    fn a_camera_that_is_missing_from_the_start_is_said_before_any_report() {
        let mut c = Condition::new();
        c.set(Cause::CameraLost, Some("none".into()));
        let (from, to, _) = change(&mut c).expect("degraded");
        assert_eq!((from, to), (State::Starting, State::Degraded));
    }
}
