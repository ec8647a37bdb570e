//! The configuration file: TOML, and nothing in it that is not known.
//!
//! A wrong key, type or value is an error with the file, the line and, for names, what was probably meant. Everything has a default
//! but the source. [`Config::to_toml`] prints all of it, defaults included.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use super::{follow::TrackConfig, limits::Limits, presence_config::PresenceConfig};
use crate::{
    capture::config::SourceConfig,
    detect::Settings,
    geometry::camera::CameraConfig,
    input,
    link::LinkTables,
    protocol::{
        command::{PromptSpec, Region, TaskSpec},
        rate::rate,
    },
};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where frames come from. Needed, here or on the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceConfig>,
    /// The model and how it runs.
    pub engine: EngineConfig,
    /// What is looked for.
    pub prompts: PromptsConfig,
    /// What is made of each frame beside boxes.
    pub task: TaskSpec,
    /// How often, and where in the frame.
    pub rate: RateConfig,
    /// The part of the frame that is looked at; none: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Ids that stay from frame to frame.
    pub track: TrackConfig,
    /// When something counts as being in the picture at all.
    pub presence: PresenceConfig,
    /// The camera and how it is mounted; none: no directions and ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraConfig>,
    /// What is done against heat.
    pub heat: HeatConfig,
    /// How often the program says how it is.
    pub telemetry: TelemetryConfig,
    /// What the process takes away from itself.
    pub sandbox: SandboxConfig,
    /// How much of everything there may be.
    pub limits: Limits,
    /// Where reports go.
    pub links: LinkTables,
}

/// `[engine]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// The model pack; none: as for the other commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<PathBuf>,
    /// Instruction set; none: the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isa: Option<String>,
    /// Threads of inference; none: all cores, up to 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
    /// Take a pack that others than root and this user may write to.
    pub allow_writable_pack: bool,
    /// Seconds after which the pack's golden frame is run again, when there is nothing else to do;
    /// 0: only at the start.
    pub self_test_s: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            pack: None,
            isa: None,
            threads: None,
            allow_writable_pack: false,
            self_test_s: 600,
        }
    }
}

/// `[prompts]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptsConfig {
    /// Texts, or tables with `text`, `kind`, `threshold`, `group` and `reject`. Empty: the 80 names of COCO.
    pub list: Vec<PromptSpec>,
    /// Least score, 0 to 1; none: the pack's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Overlap from which the lesser of two boxes of one prompt or group is dropped.
    pub iou: f32,
    /// One name per place.
    pub agnostic: bool,
    /// Words of one's own: a path or a list of paths; none: the file beside the pack, if it is there. An empty list: no words.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "paths")]
    pub words: Option<Vec<PathBuf>>,
    /// Whether encoded sentences are kept in the service's or the user's cache folder.
    pub cache: bool,
}

/// One path or a list of them.
fn paths<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Vec<PathBuf>>, D::Error> {
    struct Paths;

    impl<'de> serde::de::Visitor<'de> for Paths {
        type Value = Vec<PathBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path or a list of paths")
        }

        fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Vec<PathBuf>, E> {
            Ok(vec![path.into()])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            list: A,
        ) -> Result<Vec<PathBuf>, A::Error> {
            Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(list))
        }
    }
    from.deserialize_any(Paths).map(Some)
}

impl Default for PromptsConfig {
    fn default() -> Self {
        let Settings { iou, agnostic, .. } = Settings::default();
        Self {
            list: Vec::new(),
            threshold: None,
            iou,
            agnostic,
            words: None,
            cache: true,
        }
    }
}

/// `[rate]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateConfig {
    /// Most frames per second that are looked at; none: as many as come and can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f32>,
}

/// `[heat]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeatConfig {
    /// A file with thousandths of a degree; none: the hottest zone of the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<PathBuf>,
    /// From here on the rate is lowered step by step, in degrees Celsius.
    pub hot_c: f32,
    /// Below this it is raised again.
    pub warm_c: f32,
    /// Seconds between two looks at the sensor.
    pub period_s: f32,
}

impl Default for HeatConfig {
    fn default() -> Self {
        // most boards' kernels throttle at 80 to 85
        Self {
            sensor: None,
            hot_c: 78.0,
            warm_c: 72.0,
            period_s: 2.0,
        }
    }
}

/// `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Seconds between two telemetry events on the links; 0: only when asked.
    pub period_s: f32,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { period_s: 10.0 }
    }
}

/// `[sandbox]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// Refuse to run where the kernel does not let network sockets be taken away; otherwise that is a fault that is reported.
    pub required: bool,
    /// Take network sockets and new programs away from the process, once it has started.
    pub enabled: bool,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            required: false,
            enabled: true,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// Something in it is wrong.
    Wrong {
        /// The file; none: the command line.
        path: Option<PathBuf>,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// What.
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Wrong { path, line, reason } => {
                match (path, line) {
                    (Some(path), Some(line)) => write!(f, "{}:{line}: ", path.display())?,
                    (Some(path), None) => write!(f, "{}: ", path.display())?,
                    (None, _) => {}
                }
                f.write_str(reason)
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            Self::Wrong { .. } => None,
        }
    }
}

impl Config {
    /// Reads a file and checks it, but for a missing source, which the command line may give.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with file, line and reason.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let read = input::read_text(path, input::MAX_CONFIG_BYTES);
        let text = read.map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error: error.into(),
        })?;
        Self::from_toml(&text).map_err(|(line, reason)| ConfigError::Wrong {
            path: Some(path.to_owned()),
            line,
            reason,
        })
    }

    /// Reads a text and checks it.
    ///
    /// # Errors
    ///
    /// The line, if it is known, and what is wrong there.
    pub fn from_toml(text: &str) -> Result<Self, (Option<usize>, String)> {
        let line_at = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|span| line_at(span.start));
            (line, with_nearest(e.message()))
        })?;
        config.check().map_err(|(place, reason)| {
            let line = position(text, &place).map(line_at);
            (line, format!("{} {reason}", place.join(".")))
        })?;
        Ok(config)
    }

    /// What contradicts itself or cannot be: the place (tables, then the key) and why.
    ///
    /// # Errors
    ///
    /// The first such thing.
    pub fn check(&self) -> Result<(), (Vec<&'static str>, String)> {
        let wrong = |place: &[&'static str], why: &str| Err((place.to_vec(), why.to_owned()));
        let unit = |v: f32| (0.0..=1.0).contains(&v);
        if let Some(source) = &self.source {
            source
                .check()
                .map_err(|(key, why)| (vec!["source", key], why))?;
        }
        if self.engine.threads.is_some_and(|n| !(1..=64).contains(&n)) {
            return wrong(&["engine", "threads"], "must be from 1 to 64");
        }
        if self.engine.self_test_s > 86_400 {
            return wrong(&["engine", "self_test_s"], "must be from 0 to 86400");
        }
        if self.prompts.threshold.is_some_and(|t| !unit(t)) {
            return wrong(&["prompts", "threshold"], "must be from 0 to 1");
        }
        if !unit(self.prompts.iou) {
            return wrong(&["prompts", "iou"], "must be from 0 to 1");
        }
        if (self.prompts.words.iter().flatten()).any(|path| path.as_os_str().is_empty()) {
            return wrong(&["prompts", "words"], "has an empty path");
        }
        for prompt in &self.prompts.list {
            match input::clean(&prompt.text) {
                Ok(text) if text.is_empty() => {
                    return wrong(&["prompts", "list"], "has an empty text");
                }
                Ok(_) => {}
                Err(c) => {
                    let why = format!("has {:?}, which {}", prompt.text, input::control(c));
                    return wrong(&["prompts", "list"], &why);
                }
            }
            if prompt.threshold.is_some_and(|t| !unit(t)) {
                let why = format!("has \"{}\" with a threshold outside 0 to 1", prompt.text);
                return wrong(&["prompts", "list"], &why);
            }
        }
        if let Err(why) = self.task.check() {
            return Err((vec!["task"], why));
        }
        let source = self.source.as_ref();
        (self.limits.check(source)).map_err(|(key, why)| (vec!["limits", key], why))?;
        (self.limits.specs(&self.prompts.list))
            .map_err(|why| (vec!["prompts", "list"], format!("has {why}")))?;
        if let Some(prompt) = self.prompts.list.iter().find(|p| p.text.contains('>')) {
            let why = format!(
                "has \"{}\": a prompt inside another is looked for by `tarsier detect` only",
                prompt.text
            );
            return wrong(&["prompts", "list"], &why);
        }
        (self.limits.task(&self.task)).map_err(|why| (vec!["task"], format!("has {why}")))?;
        for socket in &self.links.socket {
            let (clients, most) = (socket.max_clients, self.limits.clients);
            if clients > most {
                let path = socket.path.display();
                let why = format!("has {path}: max_clients is {clients}; limits.clients is {most}");
                return wrong(&["links", "socket"], &why);
            }
        }
        if let Some(fps) = self.rate.fps {
            rate(fps).map_err(|why| (vec!["rate", "fps"], why))?;
        }
        if let Some(region) = self.region {
            (region.check()).map_err(|why| (vec!["region"], why))?;
        }
        self.track
            .check()
            .map_err(|(key, why)| (vec!["track", key], why.to_owned()))?;
        (self.presence.check()).map_err(|(key, why)| (vec!["presence", key], why))?;
        if let Some(camera) = &self.camera {
            camera
                .check()
                .map_err(|(key, why)| (vec!["camera", key], why))?;
        }
        let HeatConfig {
            hot_c,
            warm_c,
            period_s,
            ..
        } = self.heat;
        if !(warm_c < hot_c && (0.0..200.0).contains(&warm_c) && hot_c < 200.0) {
            return wrong(
                &["heat", "warm_c"],
                "must be below hot_c, both from 0 to 200",
            );
        }
        if !(0.05..=3600.0).contains(&period_s) {
            return wrong(&["heat", "period_s"], "must be from 0.05 to 3600");
        }
        if !(0.0..=86_400.0).contains(&self.telemetry.period_s) {
            return wrong(&["telemetry", "period_s"], "must be from 0 to 86400");
        }
        self.limits
            .check(self.source.as_ref())
            .map_err(|(key, why)| (vec!["limits", key], why))?;
        self.links
            .check()
            .map_err(|(kind, why)| (vec!["links", kind], why))
    }

    /// The configuration as a file would have it, defaults included.
    ///
    /// # Errors
    ///
    /// If a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|e| e.to_string())
    }
}

/// How like each other two names are written from which one is offered for the other.
const LIKE: f64 = 0.6;

/// A message of serde's about an unknown name, with the known name that is written most like it; others without names of Rust's.
fn with_nearest(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (Some((unknown, known)), true) = (quoted.split_first(), message.starts_with("unknown"))
    else {
        return plain(message);
    };
    let likeness = |name: &&str| strsim::jaro_winkler(unknown, name);
    let nearest = known
        .iter()
        .copied()
        .filter(|name| likeness(name) >= LIKE)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let what = if message.starts_with("unknown variant") {
        "value"
    } else {
        "key"
    };
    match nearest {
        Some(nearest) => format!(
            "unknown {what} \"{unknown}\"; nearest: {nearest} (known: {})",
            known.join(", ")
        ),
        None => format!("unknown {what} \"{unknown}\" (known: {})", known.join(", ")),
    }
}

/// Names of types as people say them.
fn plain(message: &str) -> String {
    let named = [
        ("expected f32", "a number is expected"),
        ("expected f64", "a number is expected"),
        ("expected u16", "a whole number is expected"),
        ("expected u32", "a whole number is expected"),
        ("expected u64", "a whole number is expected"),
        ("expected a sequence", "a list is expected"),
    ];
    let found = named.iter().find(|(end, _)| message.ends_with(end));
    match found {
        Some((end, words)) => message.replace(end, words),
        None => message.to_owned(),
    }
}

/// Where in the text a key stands, or the table that should have it.
fn position(text: &str, place: &[&str]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for key in place {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else {
            break;
        };
        found = Some(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Option<usize>, String) {
        Config::from_toml(text).expect_err(text)
    }

    #[test]
    fn what_is_printed_is_read_back_as_the_same() {
        let text = r#"
            prompts.words = "/etc/tarsier/site.words"
            prompts.list = ["person", { text = "a red cup", kind = "sentence", threshold = 0.4, group = "cup" }]
            rate.fps = 10.0
            region = { x_offset = 1, y_offset = 2, width = 3, height = 4 }
            track.lost_s = 4.0
            camera = { fx = 500.0, distortion = [-0.28, 0.09], height_m = 0.3, pitch_deg = -5.0 }
            [source]
            kind = "raw"
            path = "/run/frames"
            width = 640
            height = 480
            format = "yuyv"
            [[links.serial]]
            path = "/dev/ttyAMA0"
            [[links.socket]]
            path = "/run/tarsier.sock"
        "#;
        let config = Config::from_toml(text).expect("a configuration");
        let printed = config.to_toml().expect("text");
        assert_eq!(Config::from_toml(&printed).expect("as printed"), config);
        let nothing = Config::from_toml("").expect("defaults");
        let printed = nothing.to_toml().expect("text");
        assert_eq!(Config::from_toml(&printed).expect("as printed"), nothing);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
        for (text, line, nearest) in [
            ("\n[engin]\nthreads = 1", 2, "engine"),
            ("[engine]\n\nthread = 1", 3, "threads"),
            ("[source]\nkind = \"files\"\npth = \"x\"", 3, "path"),
            ("[heat]\nhot = 3.0", 2, "hot_c"),
            ("[[links.sockets]]\npath = \"x\"", 1, "socket"),
            ("[[links.serial]]\npath = \"x\"\nspeeed = 1", 3, "speed"),
            ("[source]\npath = \"x\"\nkind = \"file\"", 3, "files"),
        ] {
            let (at, why) = refused(text);
            assert_eq!(at, Some(line), "{text}: {why}");
            assert!(
                why.contains(&format!("nearest: {nearest}")),
                "{text}: {why}"
            );
        }
    }

    #[test]
    fn an_impossible_value_is_refused_with_its_line() {
        for (text, line, words) in [
            ("[engine]\nthreads = 0", 2, "engine.threads"),
            ("\n\nprompts.threshold = 1.5", 3, "prompts.threshold"),
            ("[rate]\nfps = -1.0", 2, "rate.fps"),
            ("[heat]\nhot_c = 50.0\nwarm_c = 60.0", 3, "heat.warm_c"),
            ("[source]\nkind = \"raw\"\npath = \"x\"", 2, "source.kind"),
            ("[source]\nkind = \"mjpeg\"\npath = \"\"", 3, "source.path"),
            ("[prompts]\nlist = [\"\"]", 2, "prompts.list"),
            ("[prompts]\nwords = \"\"", 2, "prompts.words"),
            ("[prompts]\nwords = 3", 2, "a path or a list of paths"),
            ("[track]\nhits = 0", 2, "track.hits"),
            ("[track]\nlost_s = -1.0", 2, "track.lost_s"),
            ("[presence]\nenter = nan", 2, "presence.enter is NaN"),
            (
                "[presence]\nenter = 0.3\nleave = 0.4",
                3,
                "presence.leave is 0.4, above presence.enter, which is 0.3",
            ),
            ("\n[camera]\nheight_m = 0.3", 2, "camera.fov_deg"),
            (
                "[camera]\nfov_deg = 60.0\npitch_deg = 100.0",
                3,
                "camera.pitch_deg",
            ),
            ("rate = 3", 1, "invalid type"),
            ("[rate]\nfps = \"x\"", 2, "a number is expected"),
            (
                "[links]\n[[links.serial]]\npath = \"x\"\nspeed = 5",
                2,
                "speed must be",
            ),
            (
                "[[links.text]]\npath = \"x\"\nspeed = 0",
                1,
                "speed must be",
            ),
            ("[[links.socket]]\npath = \"\"", 1, "empty path"),
            (
                "[[links.socket]]\npath = \"x\"\nmax_clients = 0",
                1,
                "max_clients",
            ),
            (
                "[[links.socket]]\npath = \"x\"\n[[links.serial]]\npath = \"x\"",
                3,
                "another link",
            ),
            ("[limits]\npixels = 0", 2, "limits.pixels is 0; 1 to"),
            ("[rate\nfps = 1", 1, ""),
        ] {
            let (at, why) = refused(text);
            assert_eq!(at, Some(line), "{text}: {why}");
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
