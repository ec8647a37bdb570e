//! What happens beside reports.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{happening::Happening, report::Drops};

/// What the program is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Opening the pack, the source, the links.
    Starting,
    /// Looking at frames.
    Running,
    /// Looking at frames as told by a command, that is: not.
    Paused,
    /// Something is missing or too hot; the event says what.
    Degraded,
    /// Finishing the current report.
    Stopping,
}

impl State {
    /// All of them, in the order of their numbers in frames, from 1.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Running,
        Self::Paused,
        Self::Degraded,
        Self::Stopping,
    ];

    /// As JSON and sentences write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// First on every connection, and after a lost line has come back.
    Hello {
        /// [`WIRE_VERSION`](crate::WIRE_VERSION).
        wire: u8,
        /// The program's version.
        version: String,
        /// As in [`Report::run`](crate::Report::run).
        run: u32,
    },
    /// The program's state changed.
    State {
        /// What it was.
        from: State,
        /// What it is.
        to: State,
        /// Why, for people.
        why: String,
    },
    /// Reports from now on are of another prompt set.
    PromptsChanged {
        /// As in [`Report::prompts_version`](crate::Report::prompts_version).
        version: u32,
        /// How many prompts it has. The command `get_prompts` lists their names.
        count: u32,
    },
    /// Something went wrong and the program goes on.
    Fault {
        /// The part: `source`, `link`, `pack`, `inference`, ….
        part: String,
        /// What happened, for people.
        text: String,
    },
    /// How the program is doing.
    Telemetry(Telemetry),
    /// Something happened in what is looked at; each once.
    Scene(Happening),
    /// What was not sent over this link (to this client) since the last such event, because it was
    /// full or away.
    Lost {
        /// Reports.
        count: u64,
        /// Events and replies.
        others: u64,
    },
}

/// How the program is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// What it is doing.
    pub state: Option<State>,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Frames looked at since the start.
    pub frames: u64,
    /// Frames per second lately.
    pub fps: f32,
    /// The rate that is aimed at; none: as fast as frames come.
    pub rate_fps: Option<f32>,
    /// Median time from capture to emission lately, microseconds.
    pub latency_p50_us: u32,
    /// 99th percentile of the same.
    pub latency_p99_us: u32,
    /// Median time of inference alone, microseconds.
    pub inference_p50_us: u32,
    /// Frames lost since the start.
    pub dropped: Drops,
    /// Resident memory of the program.
    pub rss_bytes: u64,
    /// The hottest of the board's sensors, degrees Celsius, where the kernel shows one.
    pub temperature_c: Option<f32>,
    /// Whether the processor is held back because of heat, where the kernel says so.
    pub throttled: Option<bool>,
    /// The prompt set in use.
    pub prompts_version: u32,
    /// How many prompts it has.
    pub prompts: u32,
    /// The pack in use: name and version.
    pub pack: String,
    /// Every link.
    pub links: Vec<LinkHealth>,
}

/// How one link is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkHealth {
    /// Its path.
    pub name: String,
    /// Whether something can be sent: the line is open, the socket listens.
    pub up: bool,
    /// Connected clients of a socket; 1 for an open line.
    pub clients: u32,
    /// Reports sent, summed over clients.
    pub sent: u64,
    /// Reports not sent because the link was full or away, summed over clients.
    pub lost: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Commands received whole.
    pub commands: u64,
    /// Frames, lines or sentences received that were damaged or made no sense.
    pub garbled: u64,
}
