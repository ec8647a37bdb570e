//! `tarsier run`: the firmware's loop.

use std::path::{Path, PathBuf};

use clap::Args;
use tarsier::{
    capture::config::SourceConfig,
    graph::op::Execution,
    link::{SerialConfig, SocketConfig},
    pack::Pack,
    protocol::PromptSpec,
    run::{
        self, EngineError, Options, RunError,
        check::{self, Finding},
        config::{Config, ConfigError},
        memory::Need,
        sandbox::Walls,
    },
};

use super::{COCO_80, Engine, Failure, Lines, camera::CameraOptions, exit, fail};

/// Options of `run`. What is given here overrides the file, also when it is read again.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration, TOML; boards/ has one per board. SIGHUP reads it again.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where frames come from: files:PATH, mjpeg:PATH, y4m:PATH, v4l2:DEVICE, rgb24:640x480:PATH
    /// (yuyv, uyvy, nv12, yuv420, grey; with padded rows 800x600/832); - is standard input. Of a
    /// regular file every frame is one report, in stream time; of what is live, the newest frame
    /// wins.
    #[arg(long, value_name = "SOURCE")]
    source: Option<SourceConfig>,
    /// A name of the vocabulary or any text; repeat it for more. Default: the 80 names of COCO.
    #[arg(long = "prompt", value_name = "TEXT")]
    prompts: Vec<String>,
    /// Least score of a detection, 0 to 1. Default: the pack's.
    #[arg(long, value_name = "SCORE", value_parser = super::unit_interval)]
    threshold: Option<f32>,
    /// Most frames per second. Default: as many as come and can be.
    #[arg(long, value_name = "FPS")]
    rate: Option<f32>,
    /// Also make a Unix socket here: lines of JSON both ways.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Also send frames over this tty, at 115200 bits per second or DEVICE:SPEED.
    #[arg(long, value_name = "DEVICE")]
    serial: Option<String>,
    /// Also write reports, and what appears and goes, to standard output as lines of JSON. Without any link this is what is done.
    #[arg(long)]
    print: bool,
    /// Check the configuration and all that it names and that is here (pack, prompts, words,
    /// devices), say what was not checked, and stop.
    #[arg(long)]
    check_config: bool,
    /// Print the configuration with everything that it leaves out, and stop.
    #[arg(long)]
    print_config: bool,
    /// Whether things are followed from frame to frame and have ids. Default: on.
    #[arg(long, value_name = "on|off", value_parser = on_or_off)]
    track: Option<bool>,
    #[command(flatten)]
    camera: CameraOptions,
    #[command(flatten)]
    engine: Engine,
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off is expected".into()),
    }
}

impl Run {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let config = self.config().map_err(|e| {
            let code = match e {
                ConfigError::Read { .. } => exit::NO_INPUT,
                _ => exit::CONFIG,
            };
            fail(code, e)
        })?;
        if self.check_config && config.source.is_none() {
            return Err(failure(RunError::NoSource));
        }
        if self.print_config {
            let mut out = Lines::new();
            let text = config.to_toml().map_err(|e| fail(exit::CONFIG, e))?;
            out.line(text.trim_end())?;
            out.finish()?;
            return Ok(0);
        }
        let engine = Engine {
            pack: config.engine.pack.clone(),
            isa: config.engine.isa.clone(),
            threads: config.engine.threads,
            ..self.engine.clone()
        };
        let pack = engine.path();
        if self.check_config {
            super::shut();
            return self.check(&config, &pack, &engine);
        }
        let print = self.print || config.links.all().is_empty();
        // before there are threads, and before a pack is read
        let walls = Walls::raise(&config);
        let options = Options {
            config,
            pack,
            execution: engine.execution()?,
            default_prompts: COCO_80.split(',').collect(),
            print,
            walls,
        };
        run::run(options, &mut || self.config().map_err(|e| e.to_string())).map_err(failure)?;
        Ok(0)
    }

    /// Says what is right, what could not be looked at, and how much memory may be needed.
    fn check(&self, config: &Config, pack: &Path, engine: &Engine) -> Result<u8, Failure> {
        let name = self.config.as_ref().map(|p| p.display().to_string());
        let name = name.unwrap_or_else(|| "options".into());
        let prompts: Vec<&str> = COCO_80.split(',').collect();
        let memory = self.memory(config)?;
        let found = check::check(config, pack, engine.execution()?, &prompts);
        let found = found.map_err(|e| failure(e).of(&name))?;
        let mut out = Lines::new();
        for finding in found {
            out.line(match finding {
                Finding::Right(what) => format!("right: {what}"),
                Finding::Unknown(what) => format!("not checked: {what}"),
            })?;
        }
        out.line(format!("{name}: ok"))?;
        out.line(memory)?;
        out.finish()?;
        Ok(0)
    }

    /// What memory may be needed, or why that is not known here; an error where it is more than is allowed.
    fn memory(&self, config: &Config) -> Result<String, Failure> {
        let engine = Engine {
            pack: config.engine.pack.clone(),
            ..self.engine.clone()
        };
        let path = engine.path();
        let execution = Execution {
            isa: super::isa_from(config.engine.isa.as_deref())?,
            threads: 1,
        };
        // a configuration can be written where the pack is not
        let pack = match Pack::open(&path) {
            Ok(pack) => pack,
            Err(e) => return Ok(format!("memory: not computed: {e}")),
        };
        let need = Need::of(&pack, config, execution).map_err(|e| fail(exit::DATA, e))?;
        let within = need.within(&config.limits);
        within.map_err(|why| failure(RunError::Memory(why)))?;
        Ok(need.to_string())
    }

    /// The file with the options over it.
    fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::open(path)?,
            None => Config::default(),
        };
        if let Some(source) = &self.source {
            config.source = Some(source.clone());
        }
        if !self.prompts.is_empty() {
            config.prompts.list = self.prompts.iter().map(|p| spec(p)).collect();
        }
        if self.engine.no_words {
            config.prompts.words = Some(Vec::new());
        } else if !self.engine.words.is_empty() {
            config.prompts.words = Some(self.engine.words.clone());
        }
        config.prompts.cache &= !self.engine.no_cache;
        config.prompts.threshold = self.threshold.or(config.prompts.threshold);
        config.rate.fps = self.rate.or(config.rate.fps);
        config.track.enabled = self.track.unwrap_or(config.track.enabled);
        config.camera = self.camera.over(config.camera.take());
        if let Some(path) = &self.socket {
            config.links.socket.push(SocketConfig::new(path));
        }
        if let Some(device) = &self.serial {
            config.links.serial.push(serial(device));
        }
        let (own, file) = (&self.engine, &mut config.engine);
        file.pack = own.pack.clone().or(file.pack.take());
        file.isa = own.isa.clone().or(file.isa.take());
        file.threads = own.threads.or(file.threads);
        let wrong = |reason| ConfigError::Wrong {
            path: None,
            line: None,
            reason,
        };
        config
            .check()
            .map_err(|(place, why)| wrong(format!("{} {why}", place.join("."))))?;
        Ok(config)
    }
}

fn spec(text: &str) -> PromptSpec {
    text.into()
}

/// `/dev/ttyAMA0` or `/dev/ttyAMA0:921600`.
fn serial(device: &str) -> SerialConfig {
    let speed = device
        .rsplit_once(':')
        .and_then(|(path, speed)| Some((path, speed.parse().ok()?)));
    match speed {
        Some((path, speed)) => SerialConfig {
            speed,
            ..SerialConfig::new(path)
        },
        None => SerialConfig::new(device),
    }
}

fn failure(e: RunError) -> Failure {
    let code = match &e {
        RunError::Engine(e) if e.is_missing() => exit::NO_INPUT,
        // too large for what the configuration allows, or open to others
        RunError::Engine(EngineError::Exposed(..)) | RunError::Device(_) => exit::CONFIG,
        RunError::Engine(e) if e.is_limit() => exit::CONFIG,
        RunError::Engine(_) => exit::DATA,
        RunError::Prompts(_) | RunError::Task(_) | RunError::Memory(_) => exit::CONFIG,
        RunError::NoSource => exit::USAGE,
        RunError::NoFrame(_) => exit::DATA,
        RunError::Link(_) => exit::CANNOT_CREATE,
        RunError::Sandbox(_) => exit::UNAVAILABLE,
        RunError::Output(_) => exit::IO,
        RunError::Blind(_) => exit::SOFTWARE,
        _ => exit::SYSTEM,
    };
    fail(code, e)
}
