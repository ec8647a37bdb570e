//! A frame's report on its way out, and its shape on the wire.
//!
//! Values are shared ([`Arc`]) because every link sends the same report, each in its own time. The shape is made while it is written:
//! nothing is allocated for it.

use std::sync::Arc;

use tarsier_wire::{Drops, Event, Reply, ToReport, list::List, report as wire};

use super::extras::{Extras, Segments};
use crate::{
    report::shapes::{Detections, Presences, header},
    scene::{Names, Report},
};

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

impl ToReport for Envelope {
    fn to_report<R>(&self, tell: impl FnOnce(&wire::Report<'_>) -> R) -> R {
        let Self { report, extras, .. } = self;
        let names = &Listed(&self.names);
        let detections = Detections { names, report };
        let presences = Presences::new(names, report);
        let segments = (extras.segments.as_deref()).map(|all| Segments(all, report.size));
        tell(&wire::Report {
            header: header(self.sequence, report.captured),
            run: self.run,
            prompts_version: self.prompts_version,
            captured_ns: self.captured_ns,
            latency_us: self.latency_us,
            width: report.size.width,
            height: report.size.height,
            dropped: self.dropped,
            crowded: report.dropped,
            detections: List::Made(&detections),
            presence_counts: presences.as_ref().map(|_| report.presence_counts),
            presence: presences.as_ref().map(|all| List::Made(all)),
            segments: segments.as_ref().map(|all| List::Made(all)),
            groundings: extras.groundings.as_ref().map(|all| List::Made(all)),
            objects: extras.objects.as_ref().map(|all| List::Made(all)),
            followed: !report.tracks.is_empty(),
        })
    }
}

/// Names as a link says them: a report is no reason to panic there.
struct Listed<'a>(&'a [String]);

impl Names for Listed<'_> {
    fn name(&self, prompt: u32) -> &str {
        self.0.get(prompt as usize).map_or("", String::as_str)
    }
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
            binary,
            extras::{Grounded, Named, Object, Segment},
            frame::{Framer, Kind},
            json, nmea,
        },
        scene::{Change, Detection, Presence, PresenceCounts, PresenceState, Smoothed},
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

    const PAGE: &str = include_str!("../wire/WIRE.md");

    /// What stands on the wire's page under a name, without its line ends.
    fn block(name: &str) -> String {
        let (_, rest) = PAGE
            .split_once(&format!("<!-- out {name} -->\n"))
            .expect("a name of the page");
        let mut lines = rest.lines().skip(1);
        let lines: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        lines.concat()
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn reports_of_the_wires_page_are_what_the_program_makes_of_its_own() {
        let json = |e: &Envelope| {
            String::from_utf8(written(|out| json::write_report(e, out))).expect("UTF-8")
        };
        assert_eq!(json(&envelope()), block("report.json"));
        assert_eq!(json(&tracked()), block("tracked.json"));
        assert_eq!(json(&tasked()), block("task.json"));
        assert_eq!(json(&present()), block("presence.json"));
        let text = |e: &Envelope| {
            let bytes = written(|out| nmea::write_report(e, 16, out));
            String::from_utf8(bytes).expect("ASCII").replace("\r\n", "")
        };
        assert_eq!(text(&envelope()), block("report.text"));
        assert_eq!(text(&tracked()), block("tracked.text"));
        assert_eq!(text(&present()), block("presence.text"));
        let frame = |kind, number, write: fn(&Envelope, &mut Vec<u8>), e: &Envelope| {
            let (mut framer, mut out) = (Framer::new(), Vec::new());
            for _ in 0..=number {
                out.clear();
                let payload = |out: &mut Vec<u8>| write(e, out);
                framer.frame(kind, payload, &mut out).expect("short");
            }
            out.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let hex = |name| block(name).replace(' ', "");
        let report = frame(Kind::Report, 7, binary::write_report, &envelope());
        assert_eq!(report, hex("report.frame"));
        let sights = frame(Kind::Sights, 8, binary::write_sights, &tracked());
        assert_eq!(sights, hex("sights.frame"));
        let presence = frame(Kind::Presence, 8, binary::write_presence, &present());
        assert_eq!(presence, hex("presence.frame"));
        let smoothed = frame(Kind::Smoothed, 10, binary::write_smoothed, &tracked());
        assert_eq!(smoothed, hex("smoothed.frame"));
    }

    #[test]
    fn a_prompt_without_a_name_is_told_by_its_index_alone() {
        let mut envelope = envelope();
        envelope.report.detections[0].prompt = 70_000;
        let text = written(|out| nmea::write_report(&envelope, 1, out));
        let text = String::from_utf8(text).expect("ASCII");
        assert!(
            text.contains("$TSDET,1234,0,70000,0.875,320.0,240.0,100.0,160.0,*"),
            "{text}"
        );
    }
}
