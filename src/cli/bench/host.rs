//! What Linux says about the machine; whatever cannot be read is left out.

use std::{fs, path::Path};

pub(super) use tarsier::run::host::{peak_rss_kb, temperature_c as temperature};

/// The board's name from its device tree, or nothing on a PC.
pub(super) fn board() -> Option<String> {
    text("/proc/device-tree/model")
}

/// How many cores the system has of each kind, as `4 × Cortex-A76`.
pub(super) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for line in info.lines() {
        let kind = match line.split_once(':') {
            Some((key, value)) if key.trim() == "model name" => value.trim().to_owned(),
            Some((key, value)) if key.trim() == "CPU part" => core(value.trim()),
            _ => continue,
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let kinds: Vec<String> = kinds.iter().map(|(k, n)| format!("{n} × {k}")).collect();
    if kinds.is_empty() {
        return "unknown".into();
    }
    kinds.join(" + ")
}

/// Arm's part numbers of the cores that boards have.
fn core(part: &str) -> String {
    match part {
        "0xd03" => "Cortex-A53".into(),
        "0xd04" => "Cortex-A35".into(),
        "0xd05" => "Cortex-A55".into(),
        "0xd07" => "Cortex-A57".into(),
        "0xd08" => "Cortex-A72".into(),
        "0xd09" => "Cortex-A73".into(),
        "0xd0a" => "Cortex-A75".into(),
        "0xd0b" => "Cortex-A76".into(),
        "0xd41" => "Cortex-A78".into(),
        "0xd42" => "Cortex-A78AE".into(),
        other => format!("Arm part {other}"),
    }
}

/// The frequency governor and the highest frequency it may choose, of the first core.
pub(super) fn governor() -> Option<String> {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cpufreq");
    let name = text(folder.join("scaling_governor"))?;
    let most = text(folder.join("scaling_max_freq")).and_then(|khz| khz.parse::<f64>().ok());
    Some(most.map_or(name.clone(), |khz| {
        format!("{name}, up to {:.2} GHz", khz / 1e6)
    }))
}

/// The kernel's name and release.
pub(super) fn system() -> String {
    let release = text("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {release}, {}", std::env::consts::ARCH)
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}
