//! The clock of capture times: `CLOCK_MONOTONIC`, which nobody sets back and which the kernel
//! stamps camera frames with; of a recording, the time of the stream.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use super::{config::SourceConfig, picture::Picture};

/// Frames per second of a recording that does not say.
const USUAL_FPS: f64 = 30.0;

/// What a source stamps its pictures with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stamps {
    /// The moment at which a picture is there.
    Live,
    /// The time of the stream, from 0: whoever looks at it, and however fast, a recording has the
    /// same times.
    Recorded {
        /// From one picture to the next.
        period_ns: f64,
    },
}

impl Stamps {
    /// Those of a source that is open; `fps` is what the stream itself says.
    pub(super) fn of(config: &SourceConfig, fps: Option<f64>) -> Self {
        if !config.recorded() {
            return Self::Live;
        }
        let fps = config.fps.map(f64::from).or(fps).unwrap_or(USUAL_FPS);
        Self::Recorded {
            period_ns: 1e9 / fps,
        }
    }

    /// Stamps the picture of that number.
    pub(super) fn put(self, sequence: u64, damaged: u64, picture: &mut Picture) {
        (picture.sequence, picture.damaged) = (sequence, damaged);
        match self {
            Self::Live => {
                picture.captured_ns = monotonic_ns();
                picture.captured = SystemTime::now();
                picture.recorded = false;
            }
            Self::Recorded { period_ns } => {
                picture.captured_ns = (sequence as f64 * period_ns).round() as u64;
                picture.captured =
                    SystemTime::UNIX_EPOCH + Duration::from_nanos(picture.captured_ns);
                picture.recorded = true;
            }
        }
    }
}

/// Nanoseconds since an arbitrary moment before the program's start; the same for every process until the next boot.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    nanoseconds(now.tv_sec, now.tv_nsec)
}

/// Nanoseconds since the machine was started, time asleep included.
#[must_use]
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    nanoseconds(now.tv_sec, now.tv_nsec)
}

fn nanoseconds(seconds: impl TryInto<u64>, rest: impl TryInto<u64>) -> u64 {
    let seconds = seconds.try_into().unwrap_or(0);
    seconds * 1_000_000_000 + rest.try_into().unwrap_or(0)
}
