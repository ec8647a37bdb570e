//! Commands and what they share: the pack, the prompts, the instruction set, exit codes.

use std::{
    fmt,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Args, Parser, Subcommand};
use tarsier::{
    Error, ErrorKind, Model, ModelOptions,
    detect::Settings,
    frame::FrameError,
    graph::op::Execution,
    input::{self, InputError},
    kernels::isa::{Isa, IsaError},
    pack::{Pack, PackError, map::end_where_cut},
    prompt::{PromptError, PromptSet, Request, lexicon::Lexicon, limits::SetLimits},
    quant::Quant,
};

mod bench;
mod camera;
mod detect;
mod everything;
mod ground;
pub(crate) mod logging;
mod output;
mod pack;
mod panoptic;
mod photos;
mod run;
mod semantic;
pub(crate) mod stop;
mod stuff;
mod vocab;
mod watch;
mod words;

/// Exit codes, as in sysexits(3).
pub(crate) mod exit {
    /// The command line is wrong: an unknown option, name or level, an empty prompt; more prompts or longer ones than are taken.
    pub(crate) const USAGE: u8 = 64;
    /// Input is damaged: a photo, a pack, a prompt file.
    pub(crate) const DATA: u8 = 65;
    /// Input is missing or cannot be read.
    pub(crate) const NO_INPUT: u8 = 66;
    /// This CPU lacks what was asked for.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// A bug: something that was checked failed all the same.
    pub(crate) const SOFTWARE: u8 = 70;
    /// The system refuses a thread or a signal handler.
    pub(crate) const SYSTEM: u8 = 71;
    /// An output file or folder cannot be made.
    pub(crate) const CANNOT_CREATE: u8 = 73;
    /// Output could not be written.
    pub(crate) const IO: u8 = 74;
    /// The configuration is wrong.
    pub(crate) const CONFIG: u8 = 78;
}

/// What ends the program early: a message for stderr and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    /// The same, said of something.
    fn of(self, what: &str) -> Self {
        fail(self.code, format!("{what}: {}", self.message))
    }
}

pub(crate) fn fail(code: u8, message: impl fmt::Display) -> Failure {
    Failure {
        code,
        message: message.to_string(),
    }
}

/// Text for stdout, line by line; a reader that goes away early ends the program in silence, as in `tarsier bench | head`.
pub(crate) struct Lines(BufWriter<io::StdoutLock<'static>>);

impl Lines {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.0, "{line}").or_else(output_failure)
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().or_else(output_failure)
    }
}

pub(crate) fn output_failure(e: io::Error) -> Result<(), Failure> {
    if e.kind() == io::ErrorKind::BrokenPipe {
        // the reader has what it wanted, as in `tarsier detect … | head`: nothing to say, and files
        // are still completed
        return Err(fail(0, ""));
    }
    Err(fail(exit::IO, format!("cannot write results: {e}")))
}

/// An output file that could not be written: a full disk and a folder that is not there differ for
/// scripts.
pub(crate) fn unwritten(path: &Path, e: &io::Error) -> Failure {
    fail(
        output_code(e),
        format!("cannot write {}: {e}", path.display()),
    )
}

/// The exit code of that.
pub(crate) fn output_code(e: &io::Error) -> u8 {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match e.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => exit::IO,
        _ => exit::CANNOT_CREATE,
    }
}

/// A missing photo and a damaged one differ for scripts.
pub(crate) fn code_of(e: &FrameError) -> u8 {
    match e {
        FrameError::Read { .. }
        | FrameError::NoImages { .. }
        | FrameError::Folder { .. }
        | FrameError::Special { .. }
        | FrameError::Url { .. }
        | FrameError::Pattern { .. } => exit::NO_INPUT,
        _ => exit::DATA,
    }
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 64 wrong arguments, unknown name or empty prompt; 65 damaged photo, pack, words or prompt file; \
66 file missing or unreadable; 69 this CPU lacks the instruction set, or this system the sandbox that is required; 70 a bug; 71 the system refuses a thread; \
73 cannot create an output or a socket; 74 cannot write; 78 wrong configuration.";

/// Names, boxes and more from pictures, without a network.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Say more on stderr (TARSIER_LOG=debug says most).
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find the named things in photos.
    Detect(detect::Detect),
    /// Find the named things, and which pixels each of them has.
    Segment(detect::Segment),
    /// Give every pixel the name that fits it best: things, and stuff such as sky, road or wall.
    Semantic(semantic::Semantic),
    /// Give every pixel to one object or one region of stuff.
    Panoptic(panoptic::Panoptic),
    /// Find all objects, whatever they are, each with its nearest names.
    Everything(everything::Everything),
    /// Find what sentences mean in photos: "the dog on the left", or that it is not there.
    Ground(ground::Ground),
    /// Look at frames as they come and report over links, until told to stop.
    Run(run::Run),
    /// Show what a running Tarsier sees, as a table in this terminal.
    Watch(watch::Watch),
    /// Measure stages, operators, memory and start-up on this machine.
    Bench(bench::Bench),
    /// Build, look into, or check a model pack.
    #[command(subcommand)]
    Pack(pack::Pack),
    /// Look up names, and keep words of your own: texts, boxes in photos, synonyms, groups, rejects.
    Vocab(vocab::Vocab),
}

impl Arguments {
    /// Whether it runs for months, so that what is said again and again is counted instead.
    pub(crate) const fn is_service(&self) -> bool {
        matches!(self.command, Command::Run(_))
    }

    /// What is said on stderr if the environment does not say otherwise. A service says what it does; a command only what is wrong.
    pub(crate) fn log_filter(&self) -> &'static str {
        match (&self.command, self.verbose) {
            (Command::Run(_), true) => "debug",
            (Command::Run(_), false) => "warn,tarsier=info",
            (_, true) => "info",
            (_, false) => "warn",
        }
    }
}

/// Where the model is and how it runs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Engine {
    /// The model pack. Default: $TARSIER_PACK, else models/tarsier-s.tarsier, else /usr/share/tarsier/tarsier-s.tarsier.
    #[arg(long, value_name = "FILE", global = true)]
    pack: Option<PathBuf>,
    /// Instruction set of the kernels: scalar, avx2, avx512_vnni, neon, neon_dot, neon_i8mm. Default: the best this CPU has.
    /// Results are the same on all.
    #[arg(long, value_name = "LEVEL", global = true)]
    isa: Option<String>,
    /// Threads. Default: all cores, up to 4. Results do not depend on it.
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Words of your own (see `tarsier vocab`); repeat it for more. Default: the file beside the pack that is called like it, with
    /// .words at the end, if it is there.
    #[arg(long, value_name = "FILE", global = true)]
    words: Vec<PathBuf>,
    /// Use no words of your own, not even those beside the pack.
    #[arg(long, conflicts_with = "words", global = true)]
    no_words: bool,
    /// Encode every sentence anew. Otherwise those that were encoded before are read from $XDG_CACHE_HOME/tarsier or ~/.cache/tarsier.
    #[arg(long, global = true)]
    no_cache: bool,
}

/// What to look for.
#[derive(Debug, Args)]
pub(crate) struct Prompts {
    /// A name or synonym of the vocabulary; repeat it for more. Default: the 80 names of COCO. "door > handle" is a handle on a door:
    /// each door that is found is looked at again, closer (detect, segment).
    #[arg(long = "prompt", value_name = "NAME")]
    names: Vec<String>,
    /// A file with one name per line; empty lines and lines that start with # are passed over.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Any text; it is encoded on the device. Repeat it for more.
    #[arg(long = "sentence", value_name = "TEXT")]
    sentences: Vec<String>,
    /// A box in a photo, in its pixels, that shows what to look for, and what to call it; several of one name are averaged.
    #[arg(long = "exemplar", value_name = "PHOTO@X,Y,W,H=NAME")]
    exemplars: Vec<words::NamedShown>,
    /// Encode names that are not in the vocabulary as sentences instead of refusing them.
    #[arg(long)]
    encode_unknown: bool,
    /// Least score of a detection, 0 to 1. Default: the pack's.
    #[arg(long, value_name = "SCORE", value_parser = unit_interval)]
    threshold: Option<f32>,
}

/// The lines of a file that say something, `most` of them, with their numbers, without what cannot be seen.
pub(crate) fn lines_of(
    what: &str,
    most: usize,
    path: &Path,
) -> Result<Vec<(usize, String)>, Failure> {
    let shown = path.display();
    let text = input::read_text(path, input::MAX_LIST_BYTES).map_err(|e| match e {
        InputError::Read(e) => fail(exit::NO_INPUT, format!("{what} file {shown}: {e}")),
        InputError::NotAFile(_) => fail(exit::NO_INPUT, format!("{what} file {shown} {e}")),
        e => fail(exit::DATA, format!("{what} file {shown} {e}")),
    })?;
    let (mut lines, mut count) = (Vec::new(), 0);
    for (number, line) in (1..).zip(text.lines()) {
        let line = input::clean(line).map_err(|c| {
            let message = format!("{shown}:{number}: the {what} {}", input::control(c));
            fail(exit::DATA, message)
        })?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        count += 1;
        if count <= most {
            lines.push((number, line.into_owned()));
        }
    }
    if count > most {
        let message = format!("{what} file {shown}: {count} {what}s; up to {most} are taken");
        return Err(fail(exit::USAGE, message));
    }
    if lines.is_empty() {
        let message = format!("{what} file {shown} names nothing");
        return Err(fail(exit::DATA, message));
    }
    Ok(lines)
}

fn unit_interval(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("a number from 0 to 1 is expected".into()),
    }
}

/// Runs the command; a code other than 0 means that it was done in part.
pub(crate) fn run(arguments: &Arguments, started: Instant) -> Result<u8, Failure> {
    // the loop does so itself, as its configuration has it
    if !matches!(arguments.command, Command::Run(_)) {
        shut();
    }
    match &arguments.command {
        Command::Detect(c) => c.run(),
        Command::Segment(c) => c.run(),
        Command::Semantic(c) => c.run(),
        Command::Panoptic(c) => c.run(),
        Command::Everything(c) => c.run(),
        Command::Ground(c) => c.run(),
        Command::Run(c) => c.run(),
        Command::Watch(c) => c.run(),
        Command::Bench(c) => c.run(started),
        Command::Pack(c) => c.run(),
        Command::Vocab(c) => c.run(),
    }
}

/// No network and no other programs, before a photo or a pack of somebody else's is read.
fn shut() {
    if let Err(e) = tarsier::run::sandbox::no_network() {
        log::debug!("no filter against network sockets: {e}");
    }
}

pub(crate) fn isa_from(name: Option<&str>) -> Result<Isa, Failure> {
    let Some(name) = name else {
        return Ok(Isa::best());
    };
    Isa::named(name).map_err(|e| {
        let code = match e {
            IsaError::Unknown { .. } => exit::USAGE,
            _ => exit::UNAVAILABLE,
        };
        fail(code, e)
    })
}

/// What is said where a pack that is in use is cut short.
fn guard(path: &Path) {
    let words = format!(
        "[ERROR] pack {} was cut short while it was in use (replace it by renaming, as `tarsier pack install` does)\n",
        path.display()
    );
    if let Err(e) = end_where_cut(words, exit::DATA) {
        log::debug!("a pack that is cut short ends it with SIGBUS: {e}");
    }
}

pub(crate) fn open_pack(path: &Path) -> Result<Pack, Failure> {
    guard(path);
    Pack::open(path).map_err(|e| {
        let code = match e {
            PackError::Open { .. } => exit::NO_INPUT,
            _ => exit::DATA,
        };
        fail(code, e)
    })
}

/// Refuses what a pack said that was written to meanwhile.
pub(crate) fn unchanged(pack: &Pack) -> Result<(), Failure> {
    let check = pack.watch().map_or(Ok(()), |watch| watch.check());
    check.map_err(|e| fail(exit::DATA, e))
}

const DEFAULT_PACKS: [&str; 2] = [
    "models/tarsier-s.tarsier",
    "/usr/share/tarsier/tarsier-s.tarsier",
];

impl Engine {
    fn path(&self) -> PathBuf {
        let named = self
            .pack
            .clone()
            .or_else(|| std::env::var_os("TARSIER_PACK").map(PathBuf::from));
        let existing = || DEFAULT_PACKS.iter().find(|p| Path::new(p).exists());
        named.unwrap_or_else(|| existing().unwrap_or(&DEFAULT_PACKS[0]).into())
    }

    /// Instruction set and threads, for the loop.
    fn execution(&self) -> Result<Execution, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Execution {
            isa: isa_from(self.isa.as_deref())?,
            threads: self.threads.map_or(cores.min(4), usize::from),
        })
    }

    /// How the model is opened.
    pub(crate) fn options(&self, settings: Settings) -> Result<ModelOptions, Failure> {
        let Execution { isa, threads } = self.execution()?;
        Ok(ModelOptions::new()
            .isa(isa)
            .threads(threads)
            .settings(settings)
            .words(self.words_files())
            .cache(self.cache()))
    }

    /// The model.
    pub(crate) fn open(&self, settings: Settings) -> Result<Model, Failure> {
        let path = self.path();
        guard(&path);
        Ok(self.options(settings)?.open(path)?)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let code = match e.kind() {
            ErrorKind::Missing => exit::NO_INPUT,
            ErrorKind::Prompt => exit::USAGE,
            ErrorKind::Threads => exit::SYSTEM,
            ErrorKind::Internal => exit::SOFTWARE,
            _ => exit::DATA,
        };
        fail(code, format_args!("{e:#}"))
    }
}

/// Refuses what the pack has no network for.
fn needs(model: &Model, asked: bool, able: bool, what: &str) -> Result<(), Failure> {
    if asked && !able {
        let name = &model.pack().manifest().name;
        let message = format!("the pack {name} has no network for {what}");
        return Err(fail(exit::DATA, message));
    }
    Ok(())
}

impl Prompts {
    /// Whether the options name anything.
    fn asked(&self) -> bool {
        !(self.names.is_empty() && self.prompts.is_none() && self.sentences.is_empty())
    }

    /// Requests in the order of the options: names, file, sentences; those of the file with their lines.
    fn requests(&self, more: &[Request]) -> Result<Vec<(Request, Option<usize>)>, Failure> {
        let name = |text: &str| {
            let text = text.to_owned();
            if self.encode_unknown {
                Request::Either(text)
            } else {
                Request::Name(text)
            }
        };
        let mut requests: Vec<_> = self.names.iter().map(|n| (name(n), None)).collect();
        if let Some(path) = &self.prompts {
            let lines = lines_of("prompt", SetLimits::default().prompts, path)?.into_iter();
            requests.extend(lines.map(|(number, l)| (name(&l), Some(number))));
        }
        // several boxes of one name are one prompt
        for (i, shown) in self.exemplars.iter().enumerate() {
            if !self.exemplars[..i].iter().any(|e| e.name() == shown.name()) {
                requests.push((Request::Name(shown.name().into()), None));
            }
        }
        let sentences = self.sentences.iter().cloned();
        requests.extend(sentences.map(|s| (Request::Sentence(s), None)));
        requests.extend(more.iter().map(|r| (r.clone(), None)));
        if requests.is_empty() {
            requests.extend(coco_80().map(|r| (r, None)));
        }
        Ok(requests)
    }

    /// The prompt set that the options ask for, in which prompts may be inside others.
    fn open(&self, model: &mut Model) -> Result<PromptSet, Failure> {
        self.set(model, false, self.requests(&[])?, Lexicon::prompts)
    }

    /// The prompt set of some requests, each with its line in the prompt file.
    fn set(
        &self,
        model: &mut Model,
        quiet: bool,
        requests: Vec<(Request, Option<usize>)>,
        made: Made,
    ) -> Result<PromptSet, Failure> {
        words::show(model, &self.exemplars)?;
        let (requests, lines): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let bar = progress(
            requests.len() as u64,
            "prompts",
            quiet || requests.len() < 1000,
        );
        let mut at = usize::MAX;
        let objects = model.pipeline().objects();
        let lexicon = model.lexicon();
        let set = made(lexicon, &requests, objects, self.threshold, &mut |i| {
            at = i;
            bar.set_position(i as u64);
            true
        });
        bar.finish_and_clear();
        lexicon.save();
        set.map_err(|e| {
            let at = e.position().map_or(at, |position| position - 1);
            match (&self.prompts, lines.get(at)) {
                (Some(file), Some(Some(line))) => {
                    fail(exit::USAGE, format!("{}:{line}: {e}", file.display()))
                }
                _ => fail(exit::USAGE, e),
            }
        })
    }
}

/// What makes a prompt set: [`Lexicon::set`] or [`Lexicon::prompts`].
type Made = fn(
    &Lexicon,
    &[Request],
    Quant,
    Option<f32>,
    &mut dyn FnMut(usize) -> bool,
) -> Result<PromptSet, PromptError>;

/// A progress bar on stderr; hidden where stderr is no terminal.
pub(crate) fn progress(length: u64, what: &'static str, hidden: bool) -> indicatif::ProgressBar {
    if hidden {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template(
        "{bar:32} {pos}/{len} {msg}  {per_sec}  {eta} left",
    );
    let bar = indicatif::ProgressBar::new(length).with_message(what);
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

/// The default prompts.
fn coco_80() -> impl Iterator<Item = Request> {
    COCO_80
        .split(',')
        .map(|name| Request::Name(name.to_owned()))
}

const COCO_80: &str = "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,\
parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,\
skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,\
knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,\
dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,\
scissors,teddy bear,hair drier,toothbrush";
