//! Messages of a seed, the same in every run.

#![allow(dead_code, reason = "each test program uses some of it")]

use fastrand::Rng;
use tarsier_wire::{
    Answer, Command, Drops, ErrorCode, Event, Happening, LinkHealth, PromptSpec, Reply, Report,
    Request, Stamp, State, Telemetry,
    command::{PromptKind, Region, TaskSpec},
    happening::Source,
    list::{List, Text},
    reply::NamePresence,
    report::{
        BoundingBox, Change, Detection, Grounding, Header, Hypothesis, Mask, Object, Point,
        Presence, PresenceCounts, PresenceState, Segment, Sight, TrackId,
    },
};

/// Generated messages of each kind.
pub(crate) const MANY: u64 = 300;

/// Generated messages whose every byte is changed.
pub(crate) const SOME: u64 = 12;

pub(crate) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// Values of messages, of a seed. Numbers are as exact as JSON writes them.
pub(crate) struct Make(pub(crate) Rng);

impl Make {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.bool().then(|| make(self))
    }

    pub(crate) fn several<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.0.usize(..5)).map(|_| make(self)).collect()
    }

    pub(crate) fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.usize(..all.len())]
    }

    /// Small, large, and all between.
    pub(crate) fn u32(&mut self) -> u32 {
        self.0.u32(..) >> self.0.u32(..32)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.u64(..) >> self.0.u32(..64)
    }

    pub(crate) fn text(&mut self) -> String {
        let pieces = [
            "person",
            "a \"red\" cup",
            " ",
            ",",
            "Öl, 猫 🐈",
            "\\",
            "\n\t\u{1}\u{7f}",
            "$*!~",
            "x",
            "\u{2028}",
            "[]{}:",
        ];
        (0..self.0.usize(..4)).map(|_| self.one(&pieces)).collect()
    }

    /// A text that is somebody's prompt.
    pub(crate) fn prompt(&mut self) -> String {
        let mut text = self.text();
        text.push_str("thing");
        text
    }

    pub(crate) fn share(&mut self) -> f32 {
        (f64::from(self.0.u32(..=100_000)) / 1e5) as f32
    }

    pub(crate) fn px(&mut self) -> f32 {
        (f64::from(self.0.u32(..=409_600)) / 100.0) as f32
    }

    pub(crate) fn bbox(&mut self) -> BoundingBox {
        BoundingBox {
            center: Point {
                x: self.px(),
                y: self.px(),
            },
            size_x: self.px(),
            size_y: self.px(),
        }
    }

    pub(crate) fn hypothesis(&mut self) -> Hypothesis<'static> {
        Hypothesis {
            class_id: self.text().into(),
            score: self.share(),
        }
    }

    pub(crate) fn sight(&mut self) -> Sight {
        let range = self.maybe(|m| {
            let mm = |m: &mut Self| (f64::from(m.0.u32(..600_000)) / 1e3) as f32;
            (mm(m), mm(m))
        });
        Sight {
            bearing_deg: (f64::from(self.0.i32(-18_000..18_000)) / 100.0) as f32,
            elevation_deg: (f64::from(self.0.i32(-9000..9000)) / 100.0) as f32,
            range_m: range.map(|r| r.0),
            range_sd_m: range.map(|r| r.1),
        }
    }

    pub(crate) fn mask(&mut self) -> Mask<'static> {
        Mask {
            size: [self.u32(), self.u32()],
            counts: Text::Owned(self.text()),
        }
    }

    pub(crate) fn report(&mut self) -> Report<'static> {
        let (followed, seen) = (self.0.bool(), self.0.bool());
        let mut detections = self.several(|m| Detection {
            bbox: m.bbox(),
            results: [m.hypothesis()],
            id: m.maybe(|m| TrackId(m.u32().max(1))).filter(|_| followed),
            smoothed_score: m.maybe(Self::share).filter(|_| followed),
            continued: false,
            sight: seen.then(|| m.sight()),
            mask: m.maybe(Self::mask),
            prompt: 0,
        });
        if let Some(last) = detections.last_mut() {
            last.continued = followed;
        }
        let presence = self.maybe(|m| {
            m.several(|m| Presence {
                class_id: m.text().into(),
                state: m.one(&PresenceState::ALL),
                score: m.share(),
                best: m.share(),
                change: m.maybe(|m| m.one(&Change::ALL)),
                prompt: 0,
            })
        });
        Report {
            header: Header {
                seq: self.u64(),
                stamp: self.stamp(),
            },
            run: self.u32(),
            prompts_version: self.u32(),
            captured_ns: self.u64(),
            latency_us: self.u32(),
            width: self.u32(),
            height: self.u32(),
            dropped: self.drops(),
            crowded: self.u32(),
            detections: detections.into(),
            presence_counts: presence.is_some().then(|| self.counts()),
            presence: presence.map(List::from),
            segments: self.maybe(|m| {
                let segment = |m: &mut Self| Segment {
                    class_id: m.text().into(),
                    thing: m.0.bool(),
                    score: m.share(),
                    area: m.u64(),
                    mask: m.mask(),
                };
                m.several(segment).into()
            }),
            groundings: self.maybe(|m| {
                let grounding = |m: &mut Self| Grounding {
                    sentence: m.text().into(),
                    score: m.share(),
                    bbox: m.maybe(Self::bbox),
                };
                m.several(grounding).into()
            }),
            objects: self.maybe(|m| {
                let object = |m: &mut Self| Object {
                    bbox: m.bbox(),
                    objectness: m.share(),
                    results: m.several(Self::hypothesis).into(),
                };
                m.several(object).into()
            }),
            followed: false,
        }
    }

    pub(crate) fn stamp(&mut self) -> Stamp {
        Stamp {
            sec: self.0.i64(..) >> self.0.u32(..64),
            nanosec: self.0.u32(..1_000_000_000),
        }
    }

    pub(crate) fn drops(&mut self) -> Drops {
        Drops {
            late: self.u64(),
            damaged: self.u64(),
            failed: self.u64(),
        }
    }

    pub(crate) fn counts(&mut self) -> PresenceCounts {
        PresenceCounts {
            there: self.u32(),
            unsure: self.u32(),
            not_there: self.u32(),
        }
    }

    pub(crate) fn happening(&mut self) -> Happening {
        Happening {
            kind: self.one(&Change::ALL),
            source: self.one(&Source::ALL),
            run: self.u32(),
            seq: self.u64(),
            stamp: self.stamp(),
            captured_ns: self.u64(),
            prompts_version: self.u32(),
            prompt: self.u32(),
            class_id: self.text(),
            score: self.share(),
        }
    }

    pub(crate) fn telemetry(&mut self) -> Telemetry {
        Telemetry {
            state: self.maybe(|m| m.one(&State::ALL)),
            uptime_ms: self.u64(),
            frames: self.u64(),
            fps: self.px(),
            rate_fps: self.maybe(Self::px),
            latency_p50_us: self.u32(),
            latency_p99_us: self.u32(),
            inference_p50_us: self.u32(),
            dropped: Drops {
                late: self.u32().into(),
                damaged: self.u32().into(),
                failed: self.u32().into(),
            },
            rss_bytes: self.u64(),
            temperature_c: self.maybe(Self::px),
            throttled: self.maybe(|m| m.0.bool()),
            prompts_version: self.u32(),
            prompts: self.u32(),
            pack: self.text(),
            links: self.several(|m| LinkHealth {
                name: m.text(),
                up: m.0.bool(),
                clients: m.u32(),
                sent: m.u64(),
                lost: m.u64(),
                bytes: m.u64(),
                commands: m.u64(),
                garbled: m.u64(),
            }),
        }
    }

    pub(crate) fn event(&mut self) -> Event {
        match self.0.u8(..7) {
            0 => Event::Hello {
                wire: self.0.u8(..),
                version: self.text(),
                run: self.u32(),
            },
            1 => Event::State {
                from: self.one(&State::ALL),
                to: self.one(&State::ALL),
                why: self.text(),
            },
            2 => Event::PromptsChanged {
                version: self.u32(),
                count: self.u32(),
            },
            3 => Event::Fault {
                part: self.text(),
                text: self.text(),
            },
            4 => Event::Telemetry(self.telemetry()),
            5 => Event::Scene(self.happening()),
            _ => Event::Lost {
                count: self.u64(),
                others: self.u64(),
            },
        }
    }

    pub(crate) fn reply(&mut self) -> Reply {
        let id = self.u32();
        let answer = match self.0.u8(..10) {
            0 => Answer::Done,
            1 => Answer::PromptsVersion(self.u32()),
            2 => Answer::Hello {
                wire: self.0.u8(..),
                version: self.text(),
                run: self.u32(),
                pack: self.text(),
                prompts_version: self.u32(),
                prompts: self.u32(),
            },
            3 => Answer::Prompts {
                prompts_version: self.u32(),
                count: self.u32(),
                from: self.0.u32(..1000),
                names: self.several(Self::text),
            },
            4 => Answer::Telemetry(Box::new(self.telemetry())),
            5 => Answer::Presence {
                prompts_version: self.u32(),
                seq: self.u64(),
                counts: PresenceCounts {
                    there: self.0.u32(..1000),
                    unsure: self.0.u32(..1000),
                    not_there: self.0.u32(..1000),
                },
                from: self.u32(),
                names: self.several(|m| NamePresence {
                    prompt: m.u32(),
                    class_id: m.text(),
                    state: m.one(&PresenceState::ALL),
                    score: m.share(),
                }),
            },
            6 => Answer::Text(self.text()),
            7 => Answer::Mask {
                size: [self.u32(), self.u32()],
                offset: [self.u32(), self.u32()],
                counts: self.text(),
                area: self.u64(),
            },
            8 => Answer::Bits {
                size: [128, 128],
                bits: self.text(),
                area: self.u64(),
            },
            _ => return Reply::error(id, self.one(&ErrorCode::ALL), self.text()),
        };
        Reply::Ack { id, answer }
    }

    pub(crate) fn spec(&mut self) -> PromptSpec {
        PromptSpec {
            text: self.prompt(),
            kind: self.one(&[PromptKind::Either, PromptKind::Name, PromptKind::Sentence]),
            threshold: self.maybe(Self::share),
            group: self.maybe(Self::text),
            reject: self.0.bool(),
        }
    }

    pub(crate) fn specs(&mut self) -> Vec<PromptSpec> {
        let mut specs = self.several(Self::spec);
        // as many say nothing beside their text
        specs.push(PromptSpec::from(self.prompt().as_str()));
        specs
    }

    pub(crate) fn region(&mut self) -> Region {
        Region {
            x_offset: self.u32() / 2,
            y_offset: self.u32() / 2,
            width: (self.u32() / 2).max(1),
            height: (self.u32() / 2).max(1),
        }
    }

    pub(crate) fn request(&mut self) -> Request {
        let command = match self.0.u8(..18) {
            0 => Command::Hello {},
            1 => Command::GetPrompts {
                from: self.u32(),
                count: self.u32(),
            },
            2 => Command::SetPrompts {
                prompts: self.specs(),
            },
            3 => Command::AddPrompts {
                prompts: vec![PromptSpec::from(self.prompt().as_str())],
            },
            4 => Command::RemovePrompts {
                prompts: vec![self.prompt()],
            },
            5 => Command::SetThreshold {
                threshold: self.maybe(Self::share),
                prompt: self.maybe(Self::prompt),
            },
            6 => Command::SetRate {
                fps: self.maybe(|m| m.share() + 0.01),
            },
            7 => Command::SetRegion {
                region: self.maybe(Self::region),
            },
            8 => Command::Pause {},
            9 => Command::Resume {},
            10 => Command::ReportOnce {},
            11 => Command::Mask {
                sequence: self.u64(),
                detection: self.u32(),
                bits: self.0.bool(),
            },
            12 => Command::SetTask {
                task: TaskSpec {
                    masks: self.0.bool(),
                    semantic: self.0.bool(),
                    panoptic: false,
                    separate_stuff: self.0.bool(),
                    stuff: self.maybe(|m| vec![m.prompt()]).unwrap_or_default(),
                    ground: Vec::new(),
                    everything: self.0.bool(),
                    presence: self.0.bool(),
                },
            },
            13 => Command::Enrol {
                name: self.prompt(),
                region: self.region(),
            },
            14 => Command::Telemetry {},
            15 => Command::GetPresence {
                from: self.u32(),
                count: self.u32(),
            },
            16 => Command::SelfTest {},
            _ => Command::ReloadPack {},
        };
        Request {
            id: self.u32(),
            command,
        }
    }
}

/// How far a number may be off that was rounded to so many steps a unit.
pub(crate) fn near(a: f32, b: f32, steps: f32) -> bool {
    (a - b).abs() <= 0.5 / steps + b.abs() * 1e-6
}

pub(crate) fn owned<T: Clone>(list: &List<'static, T>) -> Vec<T> {
    match list {
        List::Owned(items) => items.clone(),
        List::Made(_) => panic!("generated messages own their lists"),
    }
}
