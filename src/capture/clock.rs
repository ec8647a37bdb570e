//! The clock of capture times: `CLOCK_MONOTONIC`, which nobody sets back and which the kernel stamps camera frames with.

use rustix::time::{ClockId, clock_gettime};

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
