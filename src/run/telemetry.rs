//! How the program is doing, in numbers: over the last frames, and since the start.

use std::time::Instant;

use crate::{
    capture::clock::monotonic_ns,
    protocol::{Drops, Telemetry},
};

use super::host;

/// Frames that percentiles are taken over: at 30 per second, the last 17 seconds.
const WINDOW: usize = 512;
/// Frames that the rate is taken over.
const RATE_WINDOW: usize = 32;

/// Counters and the last frames' times.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    frames: u64,
    /// Capture to emission, microseconds.
    latency: heapless::HistoryBuf<u32, WINDOW>,
    /// Decoding to detections, microseconds.
    inference: heapless::HistoryBuf<u32, WINDOW>,
    /// When reports went out, nanoseconds.
    emitted: heapless::HistoryBuf<u64, RATE_WINDOW>,
    /// Kept for sorting.
    sorted: Vec<u32>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            frames: 0,
            latency: heapless::HistoryBuf::new(),
            inference: heapless::HistoryBuf::new(),
            emitted: heapless::HistoryBuf::new(),
            sorted: Vec::with_capacity(WINDOW),
        }
    }

    /// A report went out.
    pub(super) fn frame(&mut self, latency_us: u32, inference_us: u32) {
        self.frames += 1;
        self.latency.write(latency_us);
        self.inference.write(inference_us);
        self.emitted.write(monotonic_ns());
    }

    pub(super) const fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames per second lately: falls when nothing comes any more.
    pub(super) fn fps(&self) -> f32 {
        rate(
            self.emitted.oldest().copied(),
            self.emitted.recent().copied(),
            self.emitted.len(),
            monotonic_ns(),
        )
    }

    /// Fills in what is known here and what the system knows.
    pub(super) fn fill(&mut self, telemetry: &mut Telemetry, dropped: Drops) {
        telemetry.uptime_ms = self.started.elapsed().as_millis() as u64;
        telemetry.frames = self.frames;
        telemetry.fps = self.fps();
        telemetry.dropped = dropped;
        let mut sort = |times: &heapless::HistoryBuf<u32, WINDOW>| {
            self.sorted.clear();
            self.sorted.extend_from_slice(times.as_slice());
            self.sorted.sort_unstable();
            [percentile(&self.sorted, 50), percentile(&self.sorted, 99)]
        };
        [telemetry.latency_p50_us, telemetry.latency_p99_us] = sort(&self.latency);
        [telemetry.inference_p50_us, _] = sort(&self.inference);
        telemetry.rss_bytes = host::rss_bytes().unwrap_or(0);
        telemetry.throttled = host::throttled();
    }
}

/// The nearest-rank percentile; 0 of nothing.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Events per second of `count` events between two moments, seen from now: the pause since the last one counts if it is longer than
/// the usual one.
fn rate(first: Option<u64>, last: Option<u64>, count: usize, now: u64) -> f32 {
    let (Some(first), Some(last), true) = (first, last, count > 1) else {
        return 0.0;
    };
    let intervals = (count - 1) as u64;
    let usual = (last - first) / intervals;
    let pause = now.saturating_sub(last);
    let span = if pause > 2 * usual {
        (now - first, intervals + 1)
    } else {
        (last - first, intervals)
    };
    span.1 as f32 * 1e9 / span.0.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_values_that_occurred() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(
            (percentile(&hundred, 50), percentile(&hundred, 99)),
            (50, 99)
        );
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99)), (7, 7));
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn the_rate_falls_when_nothing_comes_any_more() {
        let second = 1_000_000_000;
        let ten_in_a_second = |now| rate(Some(0), Some(second), 11, now);
        assert!((ten_in_a_second(second) - 10.0).abs() < 0.01);
        assert!((ten_in_a_second(second + second / 10) - 10.0).abs() < 0.01);
        assert!(ten_in_a_second(11 * second) < 1.1);
        assert_eq!(rate(None, None, 0, 5), 0.0);
    }

    #[test]
    fn the_meter_counts_what_went_out() {
        let mut meter = Meter::new();
        for i in 0..600 {
            meter.frame(i, 5);
        }
        let mut telemetry = Telemetry::default();
        meter.fill(&mut telemetry, Drops::default());
        assert_eq!(telemetry.frames, 600);
        // the window holds the last 512: 88 to 599
        assert_eq!(telemetry.latency_p50_us, 343);
        assert_eq!(telemetry.inference_p50_us, 5);
        assert!(telemetry.rss_bytes > 1 << 20, "{}", telemetry.rss_bytes);
    }
}
