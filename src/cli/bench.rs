//! `tarsier bench`: where the time and the memory go, on this machine.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use tarsier::{
    detect::Settings,
    frame::file::ImageFile,
    graph::{
        op::{Execution, Graph},
        program::Executor,
    },
    pipeline::StageTimes,
    scene::Report,
};

use super::{Engine, Failure, Lines, Prompts, code_of, exit, fail};

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The photo. Default: the pack's golden frame.
    #[arg(long, value_name = "PHOTO")]
    image: Option<PathBuf>,
    /// Measured frames, after as many as a tenth for warming up.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    frames: u32,
    /// Also time every operator.
    #[arg(long)]
    ops: bool,
    #[command(flatten)]
    prompts: Prompts,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

impl Bench {
    pub(crate) fn run(&self, execution: Execution, started: Instant) -> Result<u8, Failure> {
        let mut opened = self.engine.open(execution, Settings::default())?;
        let prompts = self.prompts.open(&opened, true)?;
        let loaded = started.elapsed();
        let golden = opened
            .pack
            .section("golden.png")
            .map_err(|e| fail(exit::DATA, e))?;
        let decode = || match &self.image {
            Some(path) => ImageFile::open(path),
            None => ImageFile::decode("golden.png".as_ref(), &golden),
        };
        let image = decode().map_err(|e| fail(code_of(&e), e))?;
        let mut report = Report::new(0, image.captured, image.size);
        let frame = image.frame(0).map_err(|e| fail(exit::SOFTWARE, e))?;
        let mut first = None;
        let mut samples: Vec<(Duration, StageTimes)> = Vec::with_capacity(self.frames as usize);
        for i in 0..self.frames + self.frames.div_ceil(10) {
            let times = opened
                .pipeline
                .detect(&frame, &prompts, &mut report)
                .map_err(|e| fail(exit::SOFTWARE, e))?;
            first.get_or_insert_with(|| started.elapsed());
            if i >= self.frames.div_ceil(10) {
                let clock = Instant::now();
                decode().map_err(|e| fail(code_of(&e), e))?;
                samples.push((clock.elapsed(), times));
            }
        }
        let m = opened.pack.manifest();
        let mut out = Lines::new();
        out.line(format!(
            "{} {} · {} · {} thread(s) · {} prompts · {}×{} photo · {} frames",
            m.name,
            m.version,
            execution.isa.level(),
            execution.threads,
            prompts.prompts().len(),
            image.size.width,
            image.size.height,
            self.frames
        ))?;
        out.line(format!("\n{:<12}{:>10}{:>10}  ms", "stage", "p50", "p99"))?;
        type Stage = (&'static str, fn(&(Duration, StageTimes)) -> Duration);
        let stages: [Stage; 7] = [
            ("decode", |s| s.0),
            ("letterbox", |s| s.1.letterbox),
            ("backbone", |s| s.1.backbone),
            ("head", |s| s.1.head),
            ("align", |s| s.1.align),
            ("select", |s| s.1.select),
            ("all but decode", |s| {
                s.1.letterbox + s.1.backbone + s.1.head + s.1.align + s.1.select
            }),
        ];
        for (name, of) in stages {
            let mut times: Vec<Duration> = samples.iter().map(of).collect();
            times.sort_unstable();
            out.line(format!(
                "{name:<14}{:>8.3}{:>10.3}",
                ms(percentile(&times, 0.50)),
                ms(percentile(&times, 0.99))
            ))?;
        }
        let arena: u32 = opened
            .pipeline
            .graphs()
            .iter()
            .map(|g| g.program().arena_bytes)
            .sum();
        out.line(format!(
            "\narena {:.2} MB (backbone and head)",
            f64::from(arena) / 1e6
        ))?;
        out.line(format!(
            "start to prompts ready {:.1} ms, to first detection {:.1} ms",
            ms(loaded),
            ms(first.unwrap_or_default())
        ))?;
        match peak_rss_kb() {
            Some(kb) => out.line(format!("peak RSS {:.1} MB", kb as f64 / 1e3))?,
            None => out.line("peak RSS unknown: /proc/self/status cannot be read")?,
        }
        if self.ops {
            for graph in opened.pipeline.graphs() {
                self.operators(graph, execution, &mut out)?;
            }
        }
        out.finish()?;
        Ok(0)
    }

    /// Times each operator of a graph's program on zeros: integer kernels take the same time on all data.
    fn operators(
        &self,
        graph: &Graph,
        Execution { isa, threads }: Execution,
        out: &mut Lines,
    ) -> Result<(), Failure> {
        let program = graph.program();
        let mut executor =
            Executor::new(program.clone(), graph.weights()).map_err(|e| fail(exit::SOFTWARE, e))?;
        let inputs: Vec<Vec<u8>> = program
            .inputs
            .iter()
            .map(|p| vec![p.view.zero_point; p.view.bytes()])
            .collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs = executor.outputs();
        let mut outputs: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let mut times = vec![Vec::with_capacity(self.frames as usize); program.operations.len()];
        for _ in 0..self.frames {
            let mut clock = Instant::now();
            executor.run(
                isa,
                threads,
                graph.weights(),
                &inputs,
                &mut outputs,
                |i, _| {
                    times[i].push(clock.elapsed());
                    clock = Instant::now();
                },
            );
        }
        let medians: Vec<Duration> = times
            .iter_mut()
            .map(|t| {
                t.sort_unstable();
                percentile(t, 0.5)
            })
            .collect();
        let total: Duration = medians.iter().sum();
        out.line(format!(
            "\n{:<56}{:>14}{:>9}{:>9}{:>8}{:>7}",
            "operator", "output", "MMAC", "µs", "GMAC/s", "share"
        ))?;
        for (op, time) in program.operations.iter().zip(medians) {
            let (macs, s) = (op.macs() as f64, time.as_secs_f64().max(1e-9));
            let shape = format!(
                "{}×{}×{}",
                op.output.channels, op.output.height, op.output.width
            );
            let share = 100.0 * s / total.as_secs_f64().max(1e-9);
            out.line(format!(
                "{:<56}{shape:>14}{:>9.2}{:>9.1}{:>8.1}{share:>6.1}%",
                op.name,
                macs / 1e6,
                s * 1e6,
                macs / s / 1e9
            ))?;
        }
        out.line(format!(
            "{:<56}{:>14}{:>9.2}{:>9.1}{:>8.1}",
            "all",
            "",
            program.macs() as f64 / 1e6,
            total.as_secs_f64() * 1e6,
            program.macs() as f64 / total.as_secs_f64() / 1e9
        ))?;
        Ok(())
    }
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// The value below which a share of the sorted times lies; nearest rank.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or_default()
}

/// The process's largest resident set, from the kernel.
fn peak_rss_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
