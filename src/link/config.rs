//! Which links there are: plain values, as a configuration file has them.
//!
//! ```toml
//! [[links.socket]]
//! path = "/run/tarsier/tarsier.sock"
//! group = "video"
//! role = "read"            # who connects may read; "command", the default, gives everybody commands
//! command_uids = [1000]    # but for these users
//! max_clients = 16
//!
//! [[links.serial]]
//! path = "/dev/ttyAMA0"
//! speed = 921600
//!
//! [[links.text]]
//! path = "/dev/ttyUSB0"
//! speed = 115200
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The links of a configuration, one list per kind: this way a wrong key is reported where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkTables {
    /// Unix sockets.
    pub socket: Vec<SocketConfig>,
    /// Serial lines with frames.
    pub serial: Vec<SerialConfig>,
    /// Serial lines with text.
    pub text: Vec<TextConfig>,
}

impl LinkTables {
    /// All of them in one list.
    #[must_use]
    pub fn all(&self) -> Vec<LinkConfig> {
        let sockets = self.socket.iter().cloned().map(LinkConfig::Socket);
        let serials = self.serial.iter().cloned().map(LinkConfig::Serial);
        let texts = self.text.iter().cloned().map(LinkConfig::Text);
        sockets.chain(serials).chain(texts).collect()
    }

    /// What cannot be, by the kind of the link at fault.
    ///
    /// # Errors
    ///
    /// The name of the kind's table and a sentence about the link.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let all = self.all();
        for (i, link) in all.iter().enumerate() {
            let (path, kind) = (link.path(), link.kind());
            let wrong = |why: String| Err((kind, format!("has {}: {why}", path.display())));
            if path.as_os_str().is_empty() {
                return Err((kind, "has a link with an empty path".into()));
            }
            if all[..i].iter().any(|other| other.path() == path) {
                return wrong("that is another link's path already".into());
            }
            match link {
                LinkConfig::Socket(SocketConfig { max_clients: 0, .. }) => {
                    return wrong("max_clients must be at least 1".into());
                }
                LinkConfig::Serial(SerialConfig { speed, .. })
                | LinkConfig::Text(TextConfig { speed, .. })
                    if !SPEEDS.contains(speed) =>
                {
                    let (low, high) = (SPEEDS.start(), SPEEDS.end());
                    return wrong(format!("speed must be from {low} to {high}, not {speed}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Speeds of a line, bits per second: below, a report takes seconds; above, no adapter goes. 0 would mean to hang up.
const SPEEDS: std::ops::RangeInclusive<u32> = 1200..=12_000_000;

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkConfig {
    /// A Unix stream socket: lines of JSON.
    Socket(SocketConfig),
    /// A tty: frames.
    Serial(SerialConfig),
    /// A tty: lines of text for a microcontroller.
    Text(TextConfig),
}

impl LinkConfig {
    /// The table that lists it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Socket(_) => "socket",
            Self::Serial(_) => "serial",
            Self::Text(_) => "text",
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Socket(socket) => &socket.path,
            Self::Serial(serial) => &serial.path,
            Self::Text(text) => &text.path,
        }
    }
}

/// A Unix stream socket: lines of JSON both ways, any number of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketConfig {
    /// Where it is made.
    pub path: PathBuf,
    /// The group that may connect, by name or number; the file's mode is 0660. None: the program's own.
    #[serde(default)]
    pub group: Option<String>,
    /// Users that may connect, by number. With `allow_gids` empty too, whoever the file's mode lets in.
    #[serde(default)]
    pub allow_uids: Vec<u32>,
    /// Groups whose processes may connect, by number (the process's own group, not its further ones).
    #[serde(default)]
    pub allow_gids: Vec<u32>,
    /// Take the socket that systemd passes (the first for the first link that says so), and make `path` only if it passes none.
    #[serde(default)]
    pub activation: bool,
    /// Most clients at once.
    #[serde(default = "clients")]
    pub max_clients: u16,
    /// What clients may do.
    #[serde(default)]
    pub role: Role,
    /// Users that may give commands whatever `role` says, by number.
    #[serde(default)]
    pub command_uids: Vec<u32>,
}

/// What a client of a socket may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read, and give all commands.
    #[default]
    Command,
    /// Read, and ask: `hello`, `get_prompts`, `telemetry`.
    Read,
}

const fn clients() -> u16 {
    16
}

impl SocketConfig {
    /// A socket at a path, everything else as by default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            group: None,
            allow_uids: Vec::new(),
            allow_gids: Vec::new(),
            activation: false,
            max_clients: clients(),
            role: Role::default(),
            command_uids: Vec::new(),
        }
    }
}

/// How reports are written into frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Fixed fields, 14 bytes per detection.
    #[default]
    Binary,
    /// The line of JSON that a socket would get.
    Json,
}

/// A tty that carries frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// The device.
    pub path: PathBuf,
    /// Bits per second.
    #[serde(default = "speed")]
    pub speed: u32,
    /// What reports look like.
    #[serde(default)]
    pub format: Payload,
    /// A heartbeat goes out when nothing else did for so long; 0: none.
    #[serde(default = "heartbeat")]
    pub heartbeat_ms: u32,
    /// Whether the line has RTS and CTS wired.
    #[serde(default)]
    pub flow_control: bool,
}

const fn speed() -> u32 {
    115_200
}

const fn heartbeat() -> u32 {
    1000
}

impl SerialConfig {
    /// A line at 115,200 bits per second, everything else as by default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            speed: speed(),
            format: Payload::Binary,
            heartbeat_ms: heartbeat(),
            flow_control: false,
        }
    }
}

/// A tty that carries one line of text per detection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The device.
    pub path: PathBuf,
    /// Bits per second.
    #[serde(default = "speed")]
    pub speed: u32,
    /// A heartbeat goes out when nothing else did for so long; 0: none.
    #[serde(default = "heartbeat")]
    pub heartbeat_ms: u32,
    /// Most detections of one report, best first: a slow line is better used for the next frame.
    #[serde(default = "most")]
    pub max_detections: u16,
    /// Whether the line has RTS and CTS wired.
    #[serde(default)]
    pub flow_control: bool,
}

const fn most() -> u16 {
    16
}

impl TextConfig {
    /// A line at 115,200 bits per second, everything else as by default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            speed: speed(),
            heartbeat_ms: heartbeat(),
            max_detections: most(),
            flow_control: false,
        }
    }
}
