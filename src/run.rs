//! The loop that must not die: frames in, reports out, commands between two frames.
//!
//! ```text
//! capture thread ──▶ mailbox (newest wins) ──▶ loop: decode ─▶ detect ─▶ rules ─▶ report ──▶ links' threads
//!   opens, reopens                              ▲ │                                  └─────▶ standard output's thread
//!                      commands, signals ───────┘ └─▶ states, faults, telemetry; watchdog
//! ```
//!
//! | file | does |
//! |---|---|
//! | [`config`] | the configuration file |
//! | `run/capture.rs`, `run/mailbox.rs` | the capturing thread, and what lies between it and the loop |
//! | [`limits`] | what is taken at most |
//! | `run/engine.rs` | a pack that passed its self-test, or the one before it |
//! | [`limits`], [`memory`] | how much of everything there may be, and what memory that comes to |
//! | `run/prepare.rs` | prompt sets, tasks and packs, made beside the loop |
//! | `run/prompts.rs`, `run/enrol.rs` | the prompt set in use, with its groups and rejects; what is shown becomes one |
//! | `run/task.rs` | what is made of a frame beside boxes: segments, sentences' objects, all objects |
//! | `run/presence.rs` | whether names are in the picture at all, and what changed |
//! | `run/follow.rs` | tracks, and where things lie as seen from the camera |
//! | `run/obey.rs` | what commands do |
//! | `run/barren.rs` | a source whose bytes are no pictures |
//! | `run/state.rs` | starting, running, degraded, paused, stopping |
//! | `run/telemetry.rs`, [`host`] | numbers about the program and the board |
//! | `run/health.rs` | whether the pack's file and what runs are still what was verified |
//! | `run/heat.rs` | less work when it is hot |
//! | `run/signals.rs`, `run/notify.rs` | SIGTERM, SIGHUP; systemd |
//! | `run/recover.rs` | after a panic; what ends the loop for good |
//! | [`mod@check`] | what can be known of a configuration before it is used |
//! | [`sandbox`] | no network, nothing that is not needed |
//! | `run/print.rs` | reports on standard output |
//!
//! One thread owns the pipeline and everything that commands change, and does one thing at a time; so a command holds from one frame
//! on, whole. Nothing on the way to a report waits for a reader.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use self::{
    barren::Barren,
    capture::Capture,
    config::Config,
    engine::{Engine, Run},
    enrol::Enrolment,
    follow::Follower,
    heat::Governor,
    notify::Manager,
    prepare::{For, Made, Preparation, Renewal},
    presence::Watcher,
    print::Printer,
    prompts::{Change, Draft, Prompts},
    recover::Strikes,
    sandbox::Walls,
    signals::Signals,
    state::{Cause, Condition},
    task::Task,
    telemetry::Meter,
};
use crate::{
    capture::{
        clock::monotonic_ns,
        config::SourceConfig,
        picture::{Decoder, Picture, PictureError},
    },
    detect::Settings,
    frame::Frame,
    geometry::{Crop, Size},
    graph::op::Execution,
    link::{Links, Pool},
    protocol::{Drops, Envelope, Event, Extras, Outgoing, State, Telemetry},
    scene::Report,
    supervise,
    team::background::Foreground,
};

mod barren;
mod capture;
pub mod check;
pub mod config;
mod engine;
mod enrol;
mod follow;
mod health;
mod heat;
pub mod host;
pub mod limits;
mod mailbox;
pub mod memory;
mod notify;
mod obey;
mod prepare;
mod presence;
mod presence_config;
mod print;
mod prompts;
mod recover;
pub mod sandbox;
mod signals;
mod state;
mod task;
mod telemetry;

pub use engine::EngineError;
pub use follow::TrackConfig;
pub use presence_config::PresenceConfig;

/// The longest that the loop sleeps: how late a command or a signal can be noticed when no frame comes.
const STEP: Duration = Duration::from_millis(20);
/// Between two looks at links and source.
const CHECK: Duration = Duration::from_millis(200);
/// How long a link may be down before that is a loss.
const LINK_GRACE: Duration = Duration::from_millis(500);
/// Between two warnings about the same part.
const FAULT_PAUSE: Duration = Duration::from_secs(10);

/// How the loop is started.
#[derive(Debug)]
pub struct Options {
    /// Everything that a file can set.
    pub config: Config,
    /// The pack.
    pub pack: PathBuf,
    /// Instruction set and threads.
    pub execution: Execution,
    /// The prompts of a configuration without prompts.
    pub default_prompts: Vec<&'static str>,
    /// Reports go to standard output too.
    pub print: bool,
    /// What was put on before threads were started.
    pub walls: Walls,
}

/// Why the loop could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// There is no pack that works.
    Engine(EngineError),
    /// The configured prompts are refused.
    Prompts(String),
    /// The configured task is refused.
    Task(String),
    /// More memory may be needed than the configuration allows.
    Memory(String),
    /// No source is configured.
    NoSource,
    /// The source ended without one frame.
    NoFrame(String),
    /// A link cannot be opened.
    Link(io::Error),
    /// A thread or a signal handler cannot be had.
    System(io::Error),
    /// The network cannot be taken away, and the configuration requires it.
    Sandbox(String),
    /// A device or a path in the configuration is of the wrong kind.
    Device(String),
    /// Reports cannot be written to standard output, and go nowhere else.
    Output(String),
    /// A part fails again and again: it would go on blind.
    Blind(String),
    /// A signal came before it had started: nothing is wrong.
    Stopped(&'static str),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(e) => e.fmt(f),
            Self::Prompts(why) => f.write_str(why),
            Self::Task(why) => write!(f, "task: {why}"),
            Self::Memory(why) => f.write_str(why),
            Self::NoSource => f.write_str("no source: give [source] or --source"),
            Self::NoFrame(why) => f.write_str(why),
            Self::Link(e) => write!(f, "link: {e}"),
            Self::System(e) => e.fmt(f),
            Self::Sandbox(why) => write!(f, "sandbox: {why}"),
            Self::Device(why) => f.write_str(why),
            Self::Output(why) => {
                write!(f, "cannot write reports to standard output: {why}")
            }
            Self::Blind(why) => write!(f, "it would go on blind: {why}"),
            Self::Stopped(signal) => write!(f, "{signal} before it had started"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Engine(e) => Some(e),
            Self::Link(e) | Self::System(e) => Some(e),
            _ => None,
        }
    }
}

/// Reads the configuration again, options of the command line applied.
pub type Reload<'a> = dyn FnMut() -> Result<Config, String> + Send + 'a;

/// Runs until the source ends, the reader of standard output is gone, or a signal says so.
///
/// # Errors
///
/// [`RunError`] if it cannot start. Once it has, nothing ends it but the above, a source that ended
/// without one good frame ([`RunError::NoFrame`]), reports that can be written nowhere
/// ([`RunError::Output`]), and a part that fails again and again ([`RunError::Blind`]).
pub fn run(options: Options, reload: &mut Reload<'_>) -> Result<(), RunError> {
    match Runner::start(options) {
        Ok(runner) => runner.run(reload),
        Err(RunError::Stopped(signal)) => {
            log::info!("stopping: {signal}");
            Ok(())
        }
        Err(e) => Err(e),
    }
}

/// What went wrong in a look, by part.
type Faults = heapless::Vec<(&'static str, String), 8>;

/// The prompt set that a configuration asks for.
fn draft_of(config: &Config, fallback: &[&str]) -> Draft {
    let prompts = &config.prompts;
    Draft::of(&prompts.list, prompts.threshold, fallback)
}

/// Everything that the loop owns.
struct Runner {
    config: Config,
    path: PathBuf,
    run: Run,
    default_prompts: Vec<&'static str>,
    engine: Engine,
    prompts: Prompts,
    task: Task,
    follower: Follower,
    watcher: Watcher,
    capture: Capture,
    links: Links,
    printer: Option<Printer>,
    signals: Signals,
    manager: Manager,

    decoder: Decoder,
    report: Report,
    extras: Extras,
    envelopes: Pool<Envelope>,
    sequence: u64,
    /// The size of the last frame.
    frame: Option<Size>,
    /// Which part of it the last report is of.
    part: Option<Crop>,
    /// Pictures that are none.
    barren: Barren,

    condition: Condition,
    meter: Meter,
    governor: Governor,
    temperature_c: Option<f32>,
    /// What earlier captures lost, and what was lost here.
    dropped: Drops,
    /// Reports that are to be made although it is paused.
    once: u32,
    /// Boxes that wait for a frame.
    enrolments: Vec<Enrolment>,
    /// What is being made beside the loop.
    preparing: Option<Preparation>,
    /// Whether a frame is being looked at, for what is made beside it.
    foreground: Foreground,
    rate_fps: Option<f32>,
    region: Option<Crop>,
    /// When the next frame may be looked at.
    due: Instant,
    next: Times,
    /// Faults that last, told again with every telemetry for those who were not there.
    standing: Vec<(&'static str, String)>,
    /// Since when a link is down.
    links_down: Option<Instant>,
    /// When each part was last complained about.
    faults: heapless::LinearMap<&'static str, Instant, 16>,
    /// Panics of the loop, and what ends it.
    strikes: Strikes,
    /// The pack's file is another than the one that was read, or has another content.
    pack_file_changed: bool,
    /// When the golden frame was last run.
    tested: Instant,
}

/// When things that are done now and then are to be done next.
struct Times {
    check: Instant,
    heat: Instant,
    telemetry: Instant,
}

fn settings(config: &Config) -> Settings {
    Settings {
        iou: config.prompts.iou,
        agnostic: config.prompts.agnostic,
        ..Settings::default()
    }
}

fn crop(config: &Config) -> Option<Crop> {
    config.region.map(|r| Crop {
        x: r.x_offset,
        y: r.y_offset,
        size: Size::new(r.width, r.height),
    })
}

fn seconds(s: f32) -> Duration {
    Duration::from_secs_f32(s.max(0.0))
}

impl Runner {
    fn start(options: Options) -> Result<Self, RunError> {
        let Options {
            config,
            pack: path,
            execution,
            default_prompts,
            print,
            walls,
        } = options;
        let source = config.source.clone().ok_or(RunError::NoSource)?;
        let signals = Signals::new().map_err(RunError::System)?;
        log::info!("starting");
        let limits = &config.limits;
        let run = Run::start(execution).map_err(RunError::System)?;
        let (engine, fault) = Engine::open_or_previous(&path, &run, settings(&config), &config)
            .map_err(RunError::Engine)?;
        if limits.memory.is_some() {
            memory::Need::of(engine.model.pack(), &config, execution)
                .and_then(|need| need.within(limits))
                .map_err(RunError::Memory)?;
        }
        let kit = engine.kit(limits);
        let manager = std::cell::RefCell::new(Manager::new());
        let stop = || {
            manager.borrow_mut().starting();
            signals.stop().is_some()
        };
        let refused = |why, wrong: fn(String) -> RunError| match signals.stop() {
            Some(signal) => RunError::Stopped(signal),
            None => wrong(why),
        };
        let prompts = draft_of(&config, &default_prompts)
            .make(&kit, &stop)
            .map_err(|(_, why)| refused(why, RunError::Prompts))?;
        let task = Task::new(&config.task, &kit, &stop)
            .map_err(|(_, why)| refused(why, RunError::Task))?;
        // the same recording gives the same bytes: there is no other run to tell it from
        let number = if source.recorded() {
            0
        } else {
            crate::link::draw()
        };
        let links = Links::start_as(number, &config.links.all(), limits.of_links());
        let links = links.map_err(RunError::Link)?;
        let printer = if print {
            Some(Printer::start().map_err(RunError::System)?)
        } else {
            None
        };
        let limit = config.limits.pixels_of(&source);
        let capture = Capture::start(source, limit).map_err(RunError::System)?;
        let now = Instant::now();
        let watcher = Watcher::new(
            &config.presence,
            engine.model.pipeline().presence_threshold(),
        );
        let mut runner = Self {
            path,
            run,
            default_prompts,
            engine,
            prompts,
            task,
            follower: Follower::new(&config),
            watcher,
            capture,
            links,
            printer,
            signals,
            manager: manager.into_inner(),
            decoder: Decoder::new(limit),
            report: Report::new(0, SystemTime::UNIX_EPOCH, Size::new(0, 0)),
            extras: Extras::default(),
            envelopes: Pool::new(),
            sequence: 0,
            frame: None,
            part: None,
            barren: Barren::default(),
            condition: Condition::new(),
            meter: Meter::new(),
            governor: Governor::new(),
            temperature_c: None,
            dropped: Drops::default(),
            once: 0,
            enrolments: Vec::new(),
            preparing: None,
            foreground: Foreground::default(),
            rate_fps: config.rate.fps,
            region: crop(&config),
            due: now,
            next: Times {
                check: now,
                heat: now,
                telemetry: now + seconds(config.telemetry.period_s),
            },
            standing: Vec::new(),
            links_down: None,
            faults: heapless::LinearMap::new(),
            strikes: Strikes::default(),
            pack_file_changed: false,
            tested: now,
            config,
        };
        runner.tell(Event::State {
            from: State::Starting,
            to: State::Starting,
            why: "the program starts".into(),
        });
        runner.tell_prompts();
        if let Some((previous, why)) = fault {
            let text = format!("{why}; {} is used instead", previous.display());
            runner.stand("pack", text);
        }
        runner.tell_words();
        runner.engine.model.lexicon().save();
        runner.confine(walls)?;
        runner.manager.ready();
        Ok(runner)
    }

    /// Takes away what is not needed any more; every thread is there by now.
    fn confine(&mut self, mut walls: Walls) -> Result<(), RunError> {
        if !self.config.sandbox.enabled {
            return Ok(());
        }
        if let Err(e) = sandbox::confine() {
            walls
                .lacking
                .push(format!("no filter of system calls: {e}"));
        }
        let probed = sandbox::probe().and_then(|()| sandbox::probe_list());
        walls.lacking.extend(probed.err());
        if walls.lacking.is_empty() {
            log::info!("network sockets and all that is not needed are refused from now on");
            return Ok(());
        }
        let why = walls.lacking.join("; ");
        if self.config.sandbox.required {
            return Err(RunError::Sandbox(why));
        }
        self.stand("sandbox", why);
        Ok(())
    }

    fn run(mut self, reload: &mut Reload<'_>) -> Result<(), RunError> {
        // for good: what is prepared beside the loop must not find the seat free and keep it in a frame
        let team = self.run.team.clone();
        let _sitting = team.sit();
        let mut barren = None;
        while !self.condition.stopping() {
            // a panic costs a frame or a command and not the robot its eyes
            match catch_unwind(AssertUnwindSafe(|| self.turn(reload))) {
                Ok(why) => barren = why,
                Err(panic) => self.recover(&*panic),
            }
        }
        self.preparing = None;
        self.engine.model.lexicon().save();
        self.settle();
        self.manager.stopping();
        self.strikes.end()?;
        barren.map_or(Ok(()), |why| Err(RunError::NoFrame(why)))
    }

    /// Once round. Why a source that ended was none.
    fn turn(&mut self, reload: &mut Reload<'_>) -> Option<String> {
        self.finish_preparation();
        if self.preparing.is_none() && self.signals.take_reload() {
            self.reload(reload);
        }
        self.obey();
        self.look_around();
        let barren = self.step();
        if let Some(signal) = self.signals.stop() {
            self.condition.stop(signal);
        }
        barren
    }

    /// One frame, if it is time for one and one is there; else sleeps a little. Why a source that
    /// ended was none.
    fn step(&mut self) -> Option<String> {
        let waits = self.waits();
        if self.condition.paused() && self.once == 0 && self.enrolments.is_empty() {
            if !waits {
                self.capture.mailbox().discard();
            }
            self.test_in_idle_time();
            self.links.wait(STEP);
            return None;
        }
        let early = self.due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            self.links.wait(early.min(STEP));
            return None;
        }
        let Some(picture) = self.capture.mailbox().take(STEP) else {
            self.test_in_idle_time();
            let status = self.capture.mailbox().status();
            if status.ended {
                self.condition.stop("the source ended");
                let name = self.config.source.as_ref().map(SourceConfig::name);
                let verdict = || self.barren.verdict(&name.unwrap_or_default(), &status);
                return self.barren.none().then(verdict);
            }
            return None;
        };
        let busy = self.foreground.enter();
        self.look(&picture);
        drop(busy);
        self.capture.mailbox().give_back(picture);
        self.strikes.passed();
        self.check_printer();
        None
    }

    /// The most pixels of a frame.
    fn pixels(&self) -> u64 {
        let source = self.config.source.as_ref();
        source.map_or(u64::MAX, |source| self.config.limits.pixels_of(source))
    }

    fn waits(&self) -> bool {
        self.config.source.as_ref().is_some_and(SourceConfig::waits)
    }

    /// Looks at a picture and reports.
    fn look(&mut self, picture: &Picture) {
        let began = Instant::now();
        supervise::trap("inference");
        // lent, so that what a frame shows can change the prompts while it is there
        let other = Decoder::new(self.pixels());
        let mut decoder = std::mem::replace(&mut self.decoder, other);
        let seen = match decoder.frame(picture, self.region) {
            Ok(frame) => self.see(picture, &frame),
            Err(e) => {
                self.damaged(picture, &e);
                false
            }
        };
        self.decoder = decoder;
        if !seen {
            return;
        }
        let inference = began.elapsed();
        let latency_us = self.emit(picture);
        self.tell_changes(picture.captured_ns);
        self.meter.frame(latency_us, micros(inference));
        self.once = self.once.saturating_sub(1);
        self.condition.started();
        self.condition.set(Cause::CameraLost, None);
        self.condition.set(Cause::NoPicture, None);
        self.pace(began, inference);
    }

    /// Counts and tells a picture that is none.
    fn damaged(&mut self, picture: &Picture, e: &PictureError) {
        match e {
            PictureError::Outside { .. } => {
                self.barren.good();
                self.dropped.failed += 1;
            }
            _ => {
                self.barren.damaged(picture.bytes.len());
                self.dropped.damaged += 1;
            }
        }
        self.fault("source", e.to_string());
    }

    /// Makes the report of a frame, and what the task wants beside it; whether there is one to be sent.
    fn see(&mut self, picture: &Picture, frame: &Frame<'_>) -> bool {
        self.barren.good();
        if !self.enrolments.is_empty() && self.preparing.is_none() {
            let objects = self.engine.model.look(frame).map(|look| look.objects());
            self.show(&objects, frame);
            if self.condition.paused() && self.once == 0 {
                // it was looked at for a box only, and is not the one that was reported
                self.engine.model.pipeline_mut().forget();
                return false;
            }
        }
        // told when the look has ended, which has the engine until then
        let mut faults = Faults::new();
        let detected = self.detect(picture, frame, &mut faults);
        for (part, why) in faults {
            self.fault(part, why);
        }
        if !detected {
            self.dropped.failed += 1;
            return false;
        }
        let names = &**self.prompts.names();
        self.task.segments(&self.report, names, &mut self.extras);
        if !self.task.spec().masks {
            self.report.masks.clear();
        }
        (self.frame, self.part) = (Some(frame.whole()), Some(frame.part()));
        true
    }

    /// Everything that needs the networks; whether anything came of it.
    fn detect(&mut self, picture: &Picture, frame: &Frame<'_>, faults: &mut Faults) -> bool {
        let Self {
            engine,
            prompts,
            task,
            follower,
            watcher,
            report,
            extras,
            config,
            ..
        } = self;
        let mut note = |part, why| {
            // there is room for one of each
            let _ = faults.push((part, why));
        };
        let mut look = match engine.model.look(frame) {
            Ok(look) => look,
            Err(e) => {
                note("inference", format!("{e:#}"));
                return false;
            }
        };
        let mut found = match look.detect_into(prompts.set_in_use(), report) {
            Ok(found) => found,
            Err(e) => {
                note("inference", format!("{e:#}"));
                return false;
            }
        };
        let watched = task.spec().presence;
        if watched && let Err(e) = found.presence() {
            note("presence", format!("{e:#}"));
        }
        follower.follow(picture.captured_ns, prompts, &mut found);
        let part = frame.part().bbox();
        if let Err(why) = follower.sight(&part, found.report_mut()) {
            note("camera", why);
        }
        if !watched {
            watcher.clear();
        } else if !found.report().presences.is_empty() {
            // else the network failed, which is told: nobody looked
            let most = config.limits.presences as usize;
            watcher.look(picture.captured_ns, prompts, most, found.report_mut());
        }
        if task.needs_masks()
            && let Err(e) = found.masks()
        {
            note("masks", format!("{e:#}"));
        }
        if let Err(e) = task.look(&mut look, extras) {
            // nothing of the frame before
            *extras = Extras::default();
            note("task", format!("{e:#}"));
        }
        true
    }

    /// Sends the report that was just made; returns its age.
    fn emit(&mut self, picture: &Picture) -> u32 {
        let mut dropped = self.drops();
        let mut age = Duration::from_nanos(monotonic_ns().saturating_sub(picture.captured_ns));
        if picture.recorded {
            // nobody waits for it; and what the source has read ahead is no part of this report
            age = Duration::ZERO;
            dropped.damaged = self.dropped.damaged + picture.damaged;
        }
        let (report, extras, prompts) = (&self.report, &self.extras, &self.prompts);
        let (run, sequence, latency_us) = (self.links.run(), self.sequence, micros(age));
        let new = || Envelope {
            run,
            sequence,
            prompts_version: 0,
            captured_ns: 0,
            latency_us: 0,
            dropped,
            names: Arc::clone(prompts.names()),
            report: Report::new(0, SystemTime::UNIX_EPOCH, Size::new(0, 0)),
            extras: Extras::default(),
        };
        let envelope = self.envelopes.share(new, |e| {
            e.sequence = sequence;
            e.prompts_version = prompts.version();
            e.captured_ns = picture.captured_ns;
            e.latency_us = latency_us;
            e.dropped = dropped;
            e.names = Arc::clone(prompts.names());
            e.report.clone_from(report);
            e.extras.clone_from(extras);
        });
        self.sequence += 1;
        self.publish(&Outgoing::Report(envelope));
        latency_us
    }

    /// Tells whoever reads, on links and on standard output.
    fn publish(&self, message: &Outgoing) {
        if let Some(printer) = &self.printer {
            printer.publish(message, self.waits());
        }
        self.links.publish(message);
    }

    /// When the next frame may be looked at: the rate that is set, and the share of time that heat leaves.
    fn pace(&mut self, began: Instant, busy: Duration) {
        if let Some(fps) = self.rate_fps {
            // a late frame does not make the following ones early
            self.due = (self.due + seconds(1.0 / fps)).max(began);
        }
        if self.governor.hot() {
            self.due = self.due.max(began + busy.div_f32(self.governor.share()));
        }
    }

    /// Frames lost since the start.
    fn drops(&self) -> Drops {
        let mailbox = self.capture.mailbox();
        Drops {
            late: self.dropped.late + mailbox.late(),
            damaged: self.dropped.damaged + mailbox.damaged(),
            failed: self.dropped.failed,
        }
    }

    /// What is done now and then, and the watchdog.
    fn look_around(&mut self) {
        self.manager.alive();
        let now = Instant::now();
        if now >= self.next.check {
            self.next.check = now + CHECK;
            self.check_source();
            self.check_links();
            self.check_pack_file();
            let (state, fps) = (self.condition.state(), self.meter.fps());
            self.manager.status(state, fps, self.meter.frames());
        }
        if now >= self.next.heat {
            self.next.heat = now + seconds(self.config.heat.period_s);
            self.check_heat();
        }
        let period = seconds(self.config.telemetry.period_s);
        if !period.is_zero() && now >= self.next.telemetry {
            self.next.telemetry = now + period;
            let telemetry = self.telemetry();
            self.tell(Event::Telemetry(telemetry));
            for (part, text) in &self.standing {
                let event = Event::Fault {
                    part: (*part).into(),
                    text: text.clone(),
                };
                self.links.publish(&Outgoing::Event(Arc::new(event)));
            }
        }
        self.look_at_enrolments();
        self.test_when_overdue();
        self.settle();
    }

    fn check_source(&mut self) {
        let mailbox = self.capture.mailbox();
        let status = mailbox.status();
        let patience = self.config.source.as_ref().map_or(0, |s| s.timeout_ms);
        let patience = Duration::from_millis(patience.into());
        let silent = mailbox.silent();
        let (mut lost, mut none) = (None, None);
        if status.lost.is_some() {
            lost = status.lost;
        } else if !status.ended && (silent > patience || self.barren.lasts(patience)) {
            none = self.barren.words(&status);
            if none.is_none() {
                lost = Some(format!("no frame for {:.1} s", silent.as_secs_f32()));
            }
        }
        self.condition.set(Cause::CameraLost, lost);
        self.condition.set(Cause::NoPicture, none);
        self.check_threads(status.panics);
    }

    fn check_links(&mut self) {
        let printer = (self.printer.as_ref()).is_none_or(Printer::is_up);
        // a link that was just made, or blinks, is no news
        self.links_down = match self.links_down {
            _ if printer && self.links.are_up() => None,
            None => Some(Instant::now()),
            since => since,
        };
        let lost = |since: Instant| since.elapsed() >= LINK_GRACE;
        let why = self.links_down.is_some_and(lost).then(|| {
            let all =
                (self.links.health().into_iter()).chain(self.printer.as_ref().map(Printer::health));
            let down: Vec<String> = all.filter(|link| !link.up).map(|link| link.name).collect();
            down.join(", ")
        });
        self.condition.set(Cause::LinkLost, why);
    }

    fn check_heat(&mut self) {
        self.temperature_c = match &self.config.heat.sensor {
            Some(path) => host::sensor_c(path),
            None => host::temperature_c(),
        };
        if let Some(degrees) = self.temperature_c {
            self.governor.look(degrees, &self.config.heat);
            let why = self.governor.hot().then(|| {
                let percent = self.governor.share() * 100.0;
                format!("{degrees:.0} degrees Celsius, inference gets {percent:.0} % of the time")
            });
            self.condition.set(Cause::Hot, why);
        }
    }

    fn telemetry(&mut self) -> Telemetry {
        let dropped = self.drops();
        let mut telemetry = Telemetry {
            state: Some(self.condition.state()),
            rate_fps: self.rate_fps,
            temperature_c: self.temperature_c,
            prompts_version: self.prompts.version(),
            prompts: self.prompts.count(),
            pack: self.engine.model.name(),
            links: (self.links.health().into_iter())
                .chain(self.printer.as_ref().map(Printer::health))
                .collect(),
            ..Telemetry::default()
        };
        self.meter.fill(&mut telemetry, dropped);
        telemetry
    }

    /// Tells a change of state, once.
    fn settle(&mut self) {
        if let Some(event) = self.condition.settle() {
            self.tell(event);
        }
    }

    /// One line for the log and one event for the links.
    fn tell(&mut self, event: Event) {
        match &event {
            Event::State { to, why, .. } if *to == State::Degraded => {
                log::warn!("{}: {why}", to.name());
            }
            Event::State { to, why, .. } => log::info!("{}: {why}", to.name()),
            Event::PromptsChanged { version, count } => {
                log::info!("prompt set {version}: {count} prompts");
            }
            Event::Fault { part, text } => log::error!("{part}: {text}"),
            _ => {}
        }
        self.links.publish(&Outgoing::Event(Arc::new(event)));
    }

    fn tell_prompts(&mut self) {
        self.tell(Event::PromptsChanged {
            version: self.prompts.version(),
            count: self.prompts.count(),
        });
    }

    /// Reports a fault, but not the same part's more often than every ten seconds: drops are counted anyway.
    fn fault(&mut self, part: &'static str, text: String) {
        let now = Instant::now();
        let last = self.faults.get(part);
        if last.is_some_and(|&last| now.duration_since(last) < FAULT_PAUSE) {
            log::debug!("{part}: {text}");
            return;
        }
        // with more parts than room they are told more often, not less
        let _ = self.faults.insert(part, now);
        self.tell(Event::Fault {
            part: part.into(),
            text,
        });
    }

    /// Reports a fault that lasts.
    fn stand(&mut self, part: &'static str, text: String) {
        self.lift(part);
        // that it stands is news, however short ago the same part had another
        self.faults.remove(part);
        self.standing.push((part, text.clone()));
        self.fault(part, text);
    }

    /// That words are not used, if so.
    fn tell_words(&mut self) {
        self.lift("words");
        if let Some(why) = self.engine.without_words.take() {
            self.stand("words", format!("{why}; they are not used"));
        }
    }

    /// A lasting fault is over.
    fn lift(&mut self, part: &'static str) {
        self.standing.retain(|(standing, _)| *standing != part);
    }

    /// Begins to take over a new configuration, or refuses all of it.
    fn reload(&mut self, reload: &mut Reload<'_>) {
        match reload() {
            Ok(config) => self.reconfigure(config),
            Err(why) => self.tell_reload(Err(why)),
        }
    }

    /// That the configuration was taken over, or why it was not.
    fn tell_reload(&mut self, done: Result<(), String>) {
        match done {
            Ok(()) => log::info!("configuration reloaded"),
            Err(why) => {
                self.faults.remove("configuration");
                let text = format!("{why}; the one before goes on");
                self.fault("configuration", text);
            }
        }
    }

    /// Has prepared what another configuration changes in pack, prompts and task; [`take_over`](Self::take_over) does the rest.
    fn reconfigure(&mut self, new: Config) {
        let anew = self.pack_file_changed
            || self.engine.words_changed()
            || new.prompts.words != self.config.prompts.words
            || new.prompts.cache != self.config.prompts.cache;
        if new == self.config && !anew {
            return self.tell_reload(Ok(()));
        }
        if new.source.is_none() {
            return self.tell_reload(Err("no source".into()));
        }
        let path = match &new.engine.pack {
            Some(path) if new.engine.pack != self.config.engine.pack => path.clone(),
            _ => self.path.clone(),
        };
        let engine = path != self.path || settings(&new) != settings(&self.config) || anew;
        let was = &self.config;
        let draft = (engine || new.prompts != was.prompts).then(|| {
            let same = new.prompts.list == was.prompts.list
                && new.prompts.threshold == was.prompts.threshold;
            if same {
                // what commands changed stays
                self.prompts.draft(Change::Again)
            } else {
                draft_of(&new, &self.default_prompts)
            }
        });
        let task = (engine || new.task != was.task).then(|| {
            // what a command set stays, unless the configuration's own changed
            let same = new.task == was.task;
            if same { self.task.spec() } else { &new.task }.clone()
        });
        if !engine && draft.is_none() && task.is_none() {
            let done = self.take_over(new, Renewal::default());
            return self.tell_reload(done);
        }
        let (kit, run) = (self.engine.kit(&new.limits), self.run.clone());
        let shown = self.engine.keepsake();
        let config = Box::new(new.clone());
        let work = move |stop: &dyn Fn() -> bool| {
            let mut renewal = Renewal::default();
            let mut kit = kit;
            if engine {
                let opened = Engine::open(&path, &run, settings(&new), &new);
                let mut opened =
                    opened.map_err(|e| (crate::protocol::ErrorCode::Failed, e.to_string()))?;
                opened.adopt(&shown);
                kit = opened.kit(&new.limits);
                renewal.engine = Some((opened, path));
            }
            renewal.prompts = draft.map(|draft| draft.make(&kit, stop)).transpose()?;
            let task = task.map(|spec| Task::new(&spec, &kit, stop));
            renewal.task = task
                .transpose()
                .map_err(|(code, why)| (code, format!("task: {why}")))?;
            Ok(Made::Renewal(Box::new(renewal)))
        };
        if let Err((_, why)) = self.prepare(For::Configuration(config), work) {
            self.tell_reload(Err(why));
        }
    }

    /// Takes over a new configuration with what was prepared of it, or refuses all of it.
    fn take_over(&mut self, new: Config, renewal: Renewal) -> Result<(), String> {
        // first what can fail, into new values; then the rest, which cannot
        let source = new.source.clone().ok_or("no source")?;
        let limit = new.limits.pixels_of(&source);
        let same = self.config.source.as_ref().filter(|old| **old == source);
        let restarted = if same.is_some_and(|old| self.config.limits.pixels_of(old) == limit) {
            None
        } else {
            Some(Capture::start(source, limit).map_err(|e| e.to_string())?)
        };
        if new.links != self.config.links {
            let shut = self.config.sandbox.enabled;
            self.links.reconfigure(&new.links.all()).map_err(|e| {
                let hint = match e.kind() {
                    io::ErrorKind::PermissionDenied if shut => {
                        "; a folder that is not written to from the start is closed by the sandbox \
                         until the program is started again"
                    }
                    _ => "",
                };
                format!("link: {e}{hint}")
            })?;
        }

        self.renew(renewal);
        if let Some(capture) = restarted {
            self.dropped = self.drops();
            self.capture = capture;
            self.decoder.begin(limit);
        }
        if new.rate != self.config.rate {
            self.rate_fps = new.rate.fps;
            self.due = Instant::now();
        }
        if new.region != self.config.region {
            self.region = crop(&new);
        }
        self.follower.configure(&new);
        let threshold = self.engine.model.pipeline().presence_threshold();
        self.watcher.configure(&new.presence, threshold);
        self.next.telemetry = Instant::now() + seconds(new.telemetry.period_s);
        let (was, is) = (&self.config.engine, &new.engine);
        if (&was.isa, was.threads) != (&is.isa, is.threads)
            || self.config.sandbox != new.sandbox
            || self.config.limits.of_links() != new.limits.of_links()
        {
            log::warn!(
                "isa, threads, sandbox and the links' limits are as at the start until the program is started again"
            );
        }
        self.config = new;
        Ok(())
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
