//! Stock tract on the exported network, for `peers.py`: loads, then runs as many frames as each line of standard input says.
//!
//! ```text
//! cargo bench --bench tract -- detector.onnx        integer tensors or floats, as the graph's input says
//! ```
//!
//! None of Tarsier's operators or passes is used: the model is parsed, decluttered and optimised by tract alone. Answers are lines of
//! JSON: first version and load time, then the times of the frames in milliseconds. One thread: more are a feature of tract that
//! Tarsier does not compile in.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    time::Instant,
};

use tract_onnx::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let path = path.ok_or("usage: tract MODEL.onnx")?;
    let started = Instant::now();
    let model = tract_onnx::onnx()
        .model_for_path(path)?
        .into_optimized()?
        .into_runnable()?;
    let fact = model.model().input_fact(0)?;
    let shape = fact
        .shape
        .as_concrete()
        .ok_or("the input's shape is open")?;
    let input = Tensor::zero_dt(fact.datum_type, shape)?;
    let run = || model.run(tvec!(input.clone().into_tvalue()));
    run()?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        r#"{{"version":"0.23.9","load_ms":{}}}"#,
        started.elapsed().as_secs_f64() * 1e3
    )?;
    for line in io::stdin().lock().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.trim().parse()? {
            let clock = Instant::now();
            run()?;
            times.push(format!("{:.4}", clock.elapsed().as_secs_f64() * 1e3));
        }
        let rss = peak_rss_mb().unwrap_or_default();
        writeln!(out, r#"{{"ms":[{}],"rss_mb":{rss}}}"#, times.join(","))?;
        out.flush()?;
    }
    Ok(())
}

fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb * 1024.0 / 1e6)
}
