//! `tarsier bench`: where the time and the memory go, on this machine.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use tarsier::{
    detect::Settings,
    frame::file::Photo,
    graph::{
        op::{Execution, Graph},
        program::Executor,
    },
    pipeline::StageTimes,
    prompt::lexicon::Lexicon,
    run::{config::Config, memory::Need},
    scene::Report,
    team::Team,
};

use super::{Engine, Failure, Lines, Prompts, code_of, exit, fail, needs};

mod host;
mod print;

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
    /// Also time the masks of what is found (lower --threshold for more of it), beside the frame itself.
    #[arg(long)]
    masks: bool,
    /// How to print it; json holds every frame's times.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print one Markdown block about this board and its times, operators included, to send to whoever keeps boards/.
    #[arg(long, conflicts_with = "format")]
    report: bool,
    #[command(flatten)]
    prompts: Prompts,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

/// Forms of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people.
    #[default]
    Text,
    /// One object.
    Json,
}

/// The parts of a frame, in order; `decode` is not part of what a camera's frame needs.
const STAGES: [&str; 6] = ["decode", "letterbox", "backbone", "head", "align", "select"];

/// What one run found.
#[derive(Debug)]
struct Measured {
    /// The pack's name and version.
    pack: String,
    execution: Execution,
    prompts: usize,
    /// Width and height of the photo.
    photo: (u32, u32),
    frames: u32,
    /// The times of every measured frame, by stage.
    stages: [Vec<Duration>; STAGES.len()],
    /// The times of the masks of every measured frame, and of how many objects; none where they were not asked for.
    masks: Vec<Duration>,
    objects: usize,
    /// Working memory of backbone and head.
    arena_bytes: u64,
    /// From the start of the process to an open pack and prompts that are ready.
    loaded: Duration,
    /// From the start of the process to the end of the first frame.
    first: Duration,
    peak_rss_kb: Option<u64>,
    /// What `run` may need with this pack and default limits.
    limit_bytes: u64,
    /// Of each graph, its operators.
    operators: Vec<Vec<Operator>>,
}

impl Measured {
    /// A frame's time without decoding, for every frame, sorted.
    fn all_but_decode(&self) -> Vec<Duration> {
        let [_, stages @ ..] = &self.stages;
        let frame = |i: usize| stages.iter().filter_map(|s| s.get(i)).sum();
        let mut times: Vec<Duration> = (0..stages[0].len()).map(frame).collect();
        times.sort_unstable();
        times
    }
}

/// One operator and its median time.
#[derive(Debug)]
struct Operator {
    name: String,
    /// Channels × height × width.
    output: [u32; 3],
    macs: u64,
    time: Duration,
}

impl Bench {
    pub(crate) fn run(&self, started: Instant) -> Result<u8, Failure> {
        let before = host::temperature();
        let measured = self.measure(started)?;
        let mut out = Lines::new();
        match (self.report, self.format) {
            (true, _) => print::report(&measured, before, &mut out)?,
            (false, Format::Text) => print::text(&measured, &mut out)?,
            (false, Format::Json) => print::json(&measured, &mut out)?,
        }
        out.finish()?;
        Ok(0)
    }

    fn measure(&self, started: Instant) -> Result<Measured, Failure> {
        let mut model = self.engine.open(Settings::default())?;
        let execution = model.execution();
        needs(&model, self.masks, model.abilities().masks, "masks")?;
        let requests = self.prompts.requests(&[])?;
        let prompts = self.prompts.set(&mut model, true, requests, Lexicon::set)?;
        let loaded = started.elapsed();
        let golden = (model.pack().section("golden.png")).map_err(|e| fail(exit::DATA, e))?;
        let decode = || match &self.image {
            Some(path) => Photo::open(path),
            None => Photo::decode("golden.png".as_ref(), &golden),
        };
        let image = decode().map_err(|e| fail(code_of(&e), e))?;
        let mut report = Report::new(0, image.captured, image.size());
        let frame = image.frame(0);
        let mut first = None;
        let mut stages = [const { Vec::new() }; STAGES.len()];
        let mut masks = Vec::new();
        for i in 0..self.frames + self.frames.div_ceil(10) {
            let mut look = model.look(frame)?;
            let mut found = look.detect_into(&prompts, &mut report)?;
            let times = found.times();
            first.get_or_insert_with(|| started.elapsed());
            if self.masks {
                let clock = Instant::now();
                found.masks()?;
                if i >= self.frames.div_ceil(10) {
                    masks.push(clock.elapsed());
                }
            }
            if i >= self.frames.div_ceil(10) {
                let clock = Instant::now();
                decode().map_err(|e| fail(code_of(&e), e))?;
                let StageTimes {
                    letterbox,
                    backbone,
                    head,
                    align,
                    select,
                } = times;
                let all = [clock.elapsed(), letterbox, backbone, head, align, select];
                for (samples, time) in stages.iter_mut().zip(all) {
                    samples.push(time);
                }
            }
        }
        let graphs = model.pipeline().graphs();
        let operators = match self.ops || self.report {
            true => graphs
                .iter()
                .map(|graph| self.operators(graph, execution))
                .collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        super::unchanged(model.pack())?;
        let manifest = model.pack().manifest();
        // before anything is opened again only to be counted
        let peak_rss_kb = host::peak_rss_kb();
        Ok(Measured {
            pack: format!("{} {}", manifest.name, manifest.version),
            execution,
            prompts: prompts.prompts().len(),
            photo: (image.size().width, image.size().height),
            frames: self.frames,
            masks,
            objects: report.detections.len(),
            stages,
            arena_bytes: graphs
                .iter()
                .map(|g| u64::from(g.program().arena_bytes))
                .sum(),
            loaded,
            first: first.unwrap_or_default(),
            peak_rss_kb,
            limit_bytes: Need::of(model.pack(), &Config::default(), execution)
                .map_err(|e| fail(exit::DATA, e))?
                .bytes(),
            operators,
        })
    }

    /// Times each operator of a graph's program on zeros: integer kernels take the same time on all data.
    fn operators(
        &self,
        graph: &Graph,
        Execution { isa, threads }: Execution,
    ) -> Result<Vec<Operator>, Failure> {
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
        let team = Team::new(threads).map_err(|e| fail(exit::SYSTEM, e))?;
        let _sitting = team.sit();
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
        let operations = program.operations.iter().zip(&mut times);
        Ok(operations
            .map(|(op, times)| {
                times.sort_unstable();
                Operator {
                    name: op.name.clone(),
                    output: [op.output.channels, op.output.height, op.output.width],
                    macs: op.macs(),
                    time: percentile(times, 0.5),
                }
            })
            .collect())
    }
}

/// The value below which a share of the sorted times lies; nearest rank.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or_default()
}
