//! What goes out: reports, events, replies.
//!
//! Values are shared ([`Arc`]) because every link sends the same report, each in its own time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{command::Reply, extras::Extras, happening::Happening};
use crate::scene::Report;

/// The names of a prompt set, in the order of [`Detection::prompt`](crate::scene::Detection::prompt).
pub type SharedNames = Arc<Vec<String>>;

/// A frame's report and what a reader needs to trust it.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Which run of the program this is: drawn at start, so that `run` and `sequence` together never repeat.
    pub run: u32,
    /// Counts reports of this run from 0. A gap is a report that this link lost.
    pub sequence: u64,
    /// The version of the prompt set that the frame was looked at with.
    pub prompts_version: u32,
    /// When the frame was captured: `CLOCK_MONOTONIC`, nanoseconds. Never goes back while the board is up.
    pub captured_ns: u64,
    /// From capture to this envelope, microseconds.
    pub latency_us: u32,
    /// Frames lost before this one, by cause, since the program started.
    pub dropped: Drops,
    /// The prompts' names.
    pub names: SharedNames,
    /// What was found. Its own `sequence` numbers frames of the source and is not sent; its `captured` is wall-clock time.
    pub report: Report,
    /// What else was asked for of the frame; in JSON only.
    pub extras: Extras,
}

/// Frames lost, by cause, since the program started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Overtaken by a newer frame before inference, or left out to hold the set rate.
    pub late: u64,
    /// Came damaged from the source.
    pub damaged: u64,
    /// Inference failed on them.
    pub failed: u64,
}

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
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Running,
        Self::Paused,
        Self::Degraded,
        Self::Stopping,
    ];

    /// As the wire writes it.
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
        /// [`WIRE_VERSION`](super::WIRE_VERSION).
        wire: u8,
        /// The program's version.
        version: String,
        /// As in [`Envelope::run`].
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
        /// As in [`Envelope::prompts_version`].
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
    /// What was not sent over this link (to this client) since the last such event, because it was full or away.
    Lost {
        /// Reports.
        count: u64,
        /// Events and replies.
        others: u64,
    },
}

/// How the program is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// One message on its way to the links.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A frame's report, to everybody. May be lost where a link is full; that is counted.
    Report(Arc<Envelope>),
    /// An event, to everybody.
    Event(Arc<Event>),
    /// The answer to a command; links send it to whoever gave the command.
    Reply(Arc<Reply>),
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        geometry::{
            BBox, Size,
            camera::{Range, Sight},
        },
        kept::Kept,
        mask::Mask,
        protocol::{
            extras::{Grounded, Named, Object, Segment},
            happening::Source,
        },
        report::json::Stamp,
        scene::{
            Change, Detection, MAX_DETECTIONS, Presence, PresenceCounts, PresenceState, Smoothed,
        },
    };
    use std::time::{Duration, SystemTime};

    fn detection(prompt: u32, score: f32, bbox: BBox) -> Detection {
        Detection {
            bbox,
            score,
            logit: 0.0,
            prompt,
            location: 0,
        }
    }

    /// Two detections in a frame of 640×480: the report of WIRE.md.
    pub(crate) fn envelope() -> Envelope {
        let captured = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 25);
        let mut report = Report::new(0, captured, Size::new(640, 480));
        let person = detection(0, 0.875, BBox::new(270.0, 160.0, 370.0, 320.0));
        let oil = detection(1, 0.5, BBox::new(10.25, 20.0, 50.25, 40.5));
        report.detections.extend([person, oil]);
        Envelope {
            run: 0x1234_abcd,
            sequence: 1234,
            prompts_version: 3,
            captured_ns: 5_000_000_000,
            latency_us: 21_500,
            dropped: Drops {
                late: 2,
                damaged: 1,
                failed: 0,
            },
            names: Arc::new(vec!["person".into(), "Öl, 猫".into()]),
            report,
            extras: Extras::default(),
        }
    }

    /// The same, followed by a camera.
    pub(crate) fn tracked() -> Envelope {
        let mut envelope = envelope();
        envelope.report.tracks.extend([7, 70_000]);
        let smoothed = [(0.8125, false), (0.5625, true)];
        let smoothed = smoothed.map(|(score, continued)| Smoothed { score, continued });
        envelope.report.smoothed.extend(smoothed);
        let range = Range {
            metres: 2.5,
            sd: 0.25,
        };
        let sight = |bearing_deg, elevation_deg, range| Sight {
            bearing_deg,
            elevation_deg,
            range,
        };
        let sights = [sight(0.0, -4.25, Some(range)), sight(-28.5, 30.75, None)];
        envelope.report.sights.extend(sights);
        envelope
    }

    /// The report of WIRE.md with all that a task can add.
    pub(crate) fn tasked() -> Envelope {
        let mut envelope = envelope();
        let person = BBox::new(270.0, 160.0, 370.0, 320.0);
        let mut road = Mask::default();
        (0..3).for_each(|column| road.push(480 * column + 360, 120));
        road.finish(Size::new(640, 480));
        let named = |name: &str, likeness| Named {
            name: name.into(),
            likeness,
        };
        let names = Kept::from(vec![named("person", 0.625), named("man", 0.5)]);
        let grounded = |sentence: &str, score, bbox| Grounded {
            sentence: sentence.into(),
            score,
            bbox,
        };
        envelope.extras = Extras {
            segments: Some(Kept::from(vec![Segment {
                class_id: "road".into(),
                thing: false,
                score: 0.75,
                mask: road,
            }])),
            groundings: Some(Kept::from(vec![
                grounded("the person in the middle", 0.9375, Some(person)),
                grounded("a red bus", 0.0625, None),
            ])),
            objects: Some(Kept::from(vec![Object {
                bbox: person,
                objectness: 0.9375,
                names,
            }])),
        };
        envelope
    }

    /// The report of WIRE.md with presence: the one person has just been settled, the oil is doubtful.
    pub(crate) fn present() -> Envelope {
        let mut envelope = envelope();
        envelope.report.detections.truncate(1);
        let presence = |prompt, score, best, state, change| Presence {
            prompt,
            score,
            best,
            state,
            change,
        };
        let (there, unsure) = (PresenceState::There, PresenceState::Unsure);
        envelope.report.presences = vec![
            presence(0, 0.9375, 0.875, there, Some(Change::Appeared)),
            presence(1, 0.25, 0.125, unsure, None),
        ];
        envelope.report.presence_counts = PresenceCounts {
            there: 1,
            unsure: 1,
            not_there: 0,
        };
        envelope
    }

    /// The event of that report.
    pub(crate) fn appeared() -> Happening {
        let envelope = present();
        Happening {
            kind: Change::Appeared,
            source: Source::Presence,
            run: envelope.run,
            seq: envelope.sequence,
            stamp: Stamp::new(envelope.report.captured),
            captured_ns: envelope.captured_ns,
            prompts_version: envelope.prompts_version,
            prompt: 0,
            class_id: "person".into(),
            score: 0.9375,
        }
    }

    /// As many detections as a report holds.
    pub(crate) fn full() -> Envelope {
        let mut envelope = envelope();
        let last = envelope.report.detections[1];
        while envelope.report.detections.len() < MAX_DETECTIONS {
            envelope.report.detections.extend([last]);
        }
        envelope
    }
}
