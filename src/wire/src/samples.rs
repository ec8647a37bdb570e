//! The messages of WIRE.md's blocks, as values.

use std::{borrow::Cow, string::String, vec, vec::Vec};

use crate::{
    WIRE_VERSION,
    binary::MAX_DETECTIONS,
    event::{Event, LinkHealth, State, Telemetry},
    happening::{Happening, Source},
    list::Text,
    reply::{Answer, ErrorCode, NamePresence, Reply},
    report::{
        BoundingBox, Change, Detection, Drops, Grounding, Header, Hypothesis, Mask, Object, Point,
        Presence, PresenceCounts, PresenceState, Report, Segment, Sight, Stamp, TrackId,
    },
};

pub(crate) const NAMES: [&str; 2] = ["person", "Öl, 猫"];

pub(crate) fn bbox([x, y, size_x, size_y]: [f32; 4]) -> BoundingBox {
    BoundingBox {
        center: Point { x, y },
        size_x,
        size_y,
    }
}

fn named(name: &'static str, score: f32) -> Hypothesis<'static> {
    Hypothesis {
        class_id: Cow::Borrowed(name),
        score,
    }
}

pub(crate) fn detection(prompt: u32, score: f32, sides: [f32; 4]) -> Detection<'static> {
    Detection {
        bbox: bbox(sides),
        results: [named(NAMES[prompt as usize % 2], score)],
        prompt,
        ..Detection::default()
    }
}

fn detections() -> Vec<Detection<'static>> {
    vec![
        detection(0, 0.875, [320.0, 240.0, 100.0, 160.0]),
        detection(1, 0.5, [30.25, 30.25, 40.0, 20.5]),
    ]
}

/// Two detections in a frame of 640×480.
pub(crate) fn report() -> Report<'static> {
    Report {
        header: Header {
            seq: 1234,
            stamp: Stamp {
                sec: 1_700_000_000,
                nanosec: 25,
            },
        },
        run: 0x1234_abcd,
        prompts_version: 3,
        captured_ns: 5_000_000_000,
        latency_us: 21_500,
        width: 640,
        height: 480,
        dropped: Drops {
            late: 2,
            damaged: 1,
            failed: 0,
        },
        detections: detections().into(),
        ..Report::default()
    }
}

/// The same, followed by a camera.
pub(crate) fn tracked() -> Report<'static> {
    let mut both = detections();
    let (ids, smoothed) = ([7, 70_000], [0.8125, 0.5625]);
    for ((detection, id), score) in both.iter_mut().zip(ids).zip(smoothed) {
        detection.id = Some(TrackId(id));
        detection.smoothed_score = Some(score);
    }
    both[0].sight = Some(Sight {
        bearing_deg: 0.0,
        elevation_deg: -4.25,
        range_m: Some(2.5),
        range_sd_m: Some(0.25),
    });
    both[1].continued = true;
    both[1].sight = Some(Sight {
        bearing_deg: -28.5,
        elevation_deg: 30.75,
        ..Sight::default()
    });
    Report {
        detections: both.into(),
        ..report()
    }
}

/// The report with all that a task can add.
pub(crate) fn tasked() -> Report<'static> {
    let person = bbox([320.0, 240.0, 100.0, 160.0]);
    let grounding = |sentence, score, bbox| Grounding {
        sentence: Cow::Borrowed(sentence),
        score,
        bbox,
    };
    let segment = Segment {
        class_id: "road".into(),
        thing: false,
        score: 0.75,
        area: 360,
        mask: Mask {
            size: [480, 640],
            counts: Text::Borrowed("X;h3X;000hWZ9"),
        },
    };
    let groundings = vec![
        grounding("the person in the middle", 0.9375, Some(person)),
        grounding("a red bus", 0.0625, None),
    ];
    let object = Object {
        bbox: person,
        objectness: 0.9375,
        results: vec![named("person", 0.625), named("man", 0.5)].into(),
    };
    Report {
        segments: Some(vec![segment].into()),
        groundings: Some(groundings.into()),
        objects: Some(vec![object].into()),
        ..report()
    }
}

fn presences() -> Vec<Presence<'static>> {
    let presence = |prompt: u32, score, best, state, change| Presence {
        class_id: NAMES[prompt as usize].into(),
        state,
        score,
        best,
        change,
        prompt,
    };
    let (there, unsure) = (PresenceState::There, PresenceState::Unsure);
    vec![
        presence(0, 0.9375, 0.875, there, Some(Change::Appeared)),
        presence(1, 0.25, 0.125, unsure, None),
    ]
}

/// The report with presence: the one person has just been settled, the oil is doubtful.
pub(crate) fn present() -> Report<'static> {
    Report {
        detections: vec![detections().swap_remove(0)].into(),
        presence: Some(presences().into()),
        presence_counts: Some(COUNTS),
        ..report()
    }
}

const COUNTS: PresenceCounts = PresenceCounts {
    there: 1,
    unsure: 1,
    not_there: 0,
};

/// As many detections as a report holds.
pub(crate) fn full() -> Report<'static> {
    let mut all = detections();
    let last = all[1].clone();
    all.resize(MAX_DETECTIONS, last);
    Report {
        detections: all.into(),
        ..report()
    }
}

/// The event of the report with presence.
pub(crate) fn appeared() -> Happening {
    Happening {
        kind: Change::Appeared,
        source: Source::Presence,
        run: 0x1234_abcd,
        seq: 1234,
        stamp: report().header.stamp,
        captured_ns: 5_000_000_000,
        prompts_version: 3,
        prompt: 0,
        class_id: "person".into(),
        score: 0.9375,
    }
}

pub(crate) fn hello() -> Event {
    Event::Hello {
        wire: WIRE_VERSION,
        version: "0.1.0".into(),
        run: 0x1234_abcd,
    }
}

pub(crate) fn state() -> Event {
    Event::State {
        from: State::Running,
        to: State::Degraded,
        why: "camera lost".into(),
    }
}

pub(crate) fn prompts_changed() -> Event {
    Event::PromptsChanged {
        version: 4,
        count: 80,
    }
}

pub(crate) fn fault() -> Event {
    Event::Fault {
        part: "pack".into(),
        text: "self-test failed".into(),
    }
}

pub(crate) fn telemetry() -> Event {
    Event::Telemetry(Telemetry {
        state: Some(State::Running),
        uptime_ms: 60_000,
        frames: 1800,
        fps: 30.0,
        rate_fps: None,
        latency_p50_us: 21_000,
        latency_p99_us: 25_000,
        inference_p50_us: 15_000,
        dropped: Drops {
            late: 2,
            damaged: 1,
            failed: 0,
        },
        rss_bytes: 25_000_000,
        temperature_c: Some(61.5),
        throttled: Some(false),
        prompts_version: 4,
        prompts: 80,
        pack: "tarsier-s 1".into(),
        links: vec![LinkHealth {
            name: "/dev/ttyAMA0".into(),
            up: true,
            clients: 1,
            sent: 1790,
            lost: 10,
            bytes: 140_000,
            commands: 2,
            garbled: 0,
        }],
    })
}

pub(crate) const LOST: Event = Event::Lost {
    count: 17,
    others: 0,
};

pub(crate) fn ack(id: u32, answer: Answer) -> Reply {
    Reply::Ack { id, answer }
}

pub(crate) fn page_of_prompts() -> Reply {
    let answer = Answer::Prompts {
        prompts_version: 3,
        count: 2,
        from: 0,
        names: NAMES.map(String::from).to_vec(),
    };
    ack(2, answer)
}

pub(crate) fn who() -> Reply {
    let answer = Answer::Hello {
        wire: WIRE_VERSION,
        version: "0.1.0".into(),
        run: 0x1234_abcd,
        pack: "tarsier-s 1".into(),
        prompts_version: 3,
        prompts: 2,
    };
    ack(1, answer)
}

pub(crate) fn names() -> Reply {
    let names = presences().into_iter().map(|p| NamePresence {
        prompt: p.prompt,
        class_id: p.class_id.into_owned(),
        state: p.state,
        score: p.score,
    });
    let answer = Answer::Presence {
        prompts_version: 3,
        seq: 1234,
        counts: COUNTS,
        from: 0,
        names: names.collect(),
    };
    ack(24, answer)
}

pub(crate) fn error() -> Reply {
    Reply::error(
        4,
        ErrorCode::UnknownPrompt,
        "\"cupp\" is not in the vocabulary",
    )
}

/// The detections of a report that owns them.
pub(crate) fn of<'r>(report: &'r mut Report<'static>) -> &'r mut Vec<Detection<'static>> {
    match &mut report.detections {
        crate::list::List::Owned(all) => all,
        crate::list::List::Made(_) => panic!("the samples own their lists"),
    }
}
