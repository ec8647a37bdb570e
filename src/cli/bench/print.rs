//! A measurement as tables, as JSON, as a Markdown block.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Failure, Lines, Measured, Operator, STAGES, host, percentile};

/// Tables for people.
pub(super) fn text(m: &Measured, out: &mut Lines) -> Result<(), Failure> {
    out.line(format!(
        "{} · {} · {} thread(s) · {} prompts · {}×{} photo · {} frames",
        m.pack,
        m.execution.isa.level(),
        m.execution.threads,
        m.prompts,
        m.photo.0,
        m.photo.1,
        m.frames
    ))?;
    out.line(format!("\n{:<12}{:>10}{:>10}  ms", "stage", "p50", "p99"))?;
    for (name, times) in stages(m) {
        let (p50, p99) = (percentile(&times, 0.50), percentile(&times, 0.99));
        out.line(format!("{name:<14}{:>8.3}{:>10.3}", ms(p50), ms(p99)))?;
    }
    if !m.masks.is_empty() {
        // both of the same frame, so that what else the machine does falls on both
        let stages = m.stages[1..].iter();
        let shares = (0..m.masks.len()).map(|i| {
            let frame: Duration = stages.clone().map(|s| s[i]).sum();
            m.masks[i].as_secs_f64() / frame.as_secs_f64().max(1e-9)
        });
        let mut shares: Vec<f64> = shares.collect();
        shares.sort_by(f64::total_cmp);
        let mut masks = m.masks.clone();
        masks.sort_unstable();
        let (p50, p99) = (percentile(&masks, 0.50), percentile(&masks, 0.99));
        out.line(format!("{:<14}{:>8.3}{:>10.3}", "masks", ms(p50), ms(p99)))?;
        out.line(format!(
            "\nmasks of {} objects: {:.1} % of the frame without them",
            m.objects,
            100.0 * shares[shares.len() / 2]
        ))?;
    }
    out.line(format!(
        "\narena {:.2} MB (backbone and head)",
        m.arena_bytes as f64 / 1e6
    ))?;
    out.line(start(m))?;
    out.line(memory(m))?;
    out.line(format!(
        "`tarsier run` with this pack and default limits: up to {:.1} MB",
        m.limit_bytes as f64 / 1e6
    ))?;
    for operators in &m.operators {
        out.line(format!(
            "\n{:<56}{:>14}{:>9}{:>9}{:>8}{:>7}",
            "operator", "output", "MMAC", "µs", "GMAC/s", "share"
        ))?;
        let total = seconds(operators);
        for op in operators {
            let s = op.time.as_secs_f64();
            out.line(format!(
                "{:<56}{:>14}{:>9.2}{:>9.1}{:>8.1}{:>6.1}%",
                op.name,
                shape(op),
                op.macs as f64 / 1e6,
                s * 1e6,
                op.macs as f64 / s.max(1e-9) / 1e9,
                100.0 * s / total
            ))?;
        }
        let macs: u64 = operators.iter().map(|op| op.macs).sum();
        out.line(format!(
            "{:<56}{:>14}{:>9.2}{:>9.1}{:>8.1}",
            "all",
            "",
            macs as f64 / 1e6,
            total * 1e6,
            macs as f64 / total / 1e9
        ))?;
    }
    Ok(())
}

/// One object with every frame's times, in milliseconds.
pub(super) fn json(m: &Measured, out: &mut Lines) -> Result<(), Failure> {
    let times: Map<String, Value> = STAGES
        .iter()
        .zip(&m.stages)
        .map(|(&name, times)| {
            let times: Vec<f64> = times.iter().map(|&t| ms(t)).collect();
            (name.to_owned(), times.into())
        })
        .collect();
    let operators = m.operators.iter().flatten();
    out.line(json!({
        "pack": m.pack,
        "level": m.execution.isa.level().name(),
        "threads": m.execution.threads,
        "prompts": m.prompts,
        "ms": times,
        "objects": m.objects,
        "masks_ms": m.masks.iter().map(|&t| ms(t)).collect::<Vec<f64>>(),
        "arena_bytes": m.arena_bytes,
        "start_to_prompts_ms": ms(m.loaded),
        "start_to_first_detection_ms": ms(m.first),
        "peak_rss_kb": m.peak_rss_kb,
        "run_limit_bytes": m.limit_bytes,
        "operators": operators.map(|op| json!({
            "name": op.name, "output": op.output, "macs": op.macs, "us": op.time.as_secs_f64() * 1e6,
        })).collect::<Vec<_>>(),
    }))
}

/// A Markdown block for boards/: everything that a reader needs to trust the times.
pub(super) fn report(m: &Measured, before: Option<f32>, out: &mut Lines) -> Result<(), Failure> {
    let unknown = || "unknown".to_owned();
    let celsius = |t: Option<f32>| t.map_or_else(unknown, |t| format!("{t:.0} °C"));
    let frame = m.all_but_decode();
    let p50 = percentile(&frame, 0.5).as_secs_f64().max(1e-9);
    let facts = [
        ("board", host::board().unwrap_or_else(unknown)),
        ("cores", host::cpu()),
        ("system", host::system()),
        ("governor", host::governor().unwrap_or_else(unknown)),
        (
            "temperature",
            format!("{} → {}", celsius(before), celsius(host::temperature())),
        ),
        (
            "tarsier",
            format!("{}, pack {}", env!("CARGO_PKG_VERSION"), m.pack),
        ),
        (
            "run",
            format!(
                "level {}, {} thread(s), {} prompts, {}×{} photo, {} frames",
                m.execution.isa.level(),
                m.execution.threads,
                m.prompts,
                m.photo.0,
                m.photo.1,
                m.frames
            ),
        ),
        ("frames a second", format!("{:.1}", 1.0 / p50)),
        ("start", start(m)),
        ("memory", memory(m)),
    ];
    out.line("| what | |\n| --- | --- |")?;
    for (name, fact) in facts {
        out.line(format!("| {name} | {fact} |"))?;
    }
    out.line("\n| stage | p50, ms | p99, ms |\n| --- | ---: | ---: |")?;
    for (name, times) in stages(m) {
        let (p50, p99) = (percentile(&times, 0.50), percentile(&times, 0.99));
        out.line(format!("| {name} | {:.3} | {:.3} |", ms(p50), ms(p99)))?;
    }
    out.line("\n| operator | output | MMAC | µs | GMAC/s |\n| --- | --- | ---: | ---: | ---: |")?;
    for op in m.operators.iter().flatten() {
        let s = op.time.as_secs_f64();
        out.line(format!(
            "| {} | {} | {:.2} | {:.1} | {:.1} |",
            op.name,
            shape(op),
            op.macs as f64 / 1e6,
            s * 1e6,
            op.macs as f64 / s.max(1e-9) / 1e9
        ))?;
    }
    Ok(())
}

/// Every stage's sorted times, and those of a frame without decoding.
fn stages(m: &Measured) -> impl Iterator<Item = (&'static str, Vec<Duration>)> {
    let stages = STAGES.iter().zip(&m.stages).map(|(&name, times)| {
        let mut times = times.clone();
        times.sort_unstable();
        (name, times)
    });
    stages.chain([("all but decode", m.all_but_decode())])
}

fn start(m: &Measured) -> String {
    format!(
        "start to prompts ready {:.1} ms, to first detection {:.1} ms",
        ms(m.loaded),
        ms(m.first)
    )
}

fn memory(m: &Measured) -> String {
    match m.peak_rss_kb {
        Some(kb) => format!("peak RSS {:.1} MB", kb as f64 * 1024.0 / 1e6),
        None => "peak RSS unknown: /proc/self/status cannot be read".into(),
    }
}

fn shape(op: &Operator) -> String {
    op.output.map(|n| n.to_string()).join("×")
}

fn seconds(operators: &[Operator]) -> f64 {
    let total: Duration = operators.iter().map(|op| op.time).sum();
    total.as_secs_f64().max(1e-9)
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}
