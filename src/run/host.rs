//! What Linux says about the process and the board; whatever cannot be read is left out.

use std::{fs, path::Path};

/// The largest resident set that the process has had, in kilobytes.
#[must_use]
pub fn peak_rss_kb() -> Option<u64> {
    status_kb("VmHWM:")
}

/// The process's resident set, in bytes.
#[must_use]
pub fn rss_bytes() -> Option<u64> {
    Some(status_kb("VmRSS:")? * 1024)
}

fn status_kb(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The hottest thermal zone, in degrees Celsius.
#[must_use]
pub fn temperature_c() -> Option<f32> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?;
    let zones = zones.flatten();
    zones
        .filter_map(|zone| sensor_c(&zone.path().join("temp")))
        .reduce(f32::max)
}

/// A sensor's file of thousandths of a degree, in degrees Celsius.
#[must_use]
pub fn sensor_c(path: &Path) -> Option<f32> {
    let millis: f32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some(millis / 1000.0)
}

/// Whether the processor is being held back: by the Raspberry Pi's firmware, or by a cooling device of the kernel that lowers the
/// processor's frequency. None where neither is to be seen.
#[must_use]
pub fn throttled() -> Option<bool> {
    let firmware = fs::read_to_string("/sys/devices/platform/soc/soc:firmware/get_throttled");
    let firmware = firmware
        .ok()
        // bits 0 to 3: under-voltage, frequency capped, throttled, soft temperature limit, now
        .and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok())
        .map(|bits| bits & 0b1110 != 0);
    let devices = fs::read_dir("/sys/class/thermal").ok();
    let cooling = devices.into_iter().flatten().flatten().filter_map(|entry| {
        let read = |name| fs::read_to_string(entry.path().join(name)).ok();
        let kind = read("type")?;
        if !kind.contains("cpufreq") && !kind.starts_with("Processor") {
            return None;
        }
        Some(read("cur_state")?.trim() != "0")
    });
    firmware.into_iter().chain(cooling).reduce(|a, b| a || b)
}
