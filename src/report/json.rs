//! Reports for programs: one JSON object per frame, one line each.
//!
//! Names follow ROS `vision_msgs/Detection2DArray`, whose boxes are centre and size:
//!
//! ```json
//! {"header":{"seq":0,"stamp":{"sec":1700000000,"nanosec":25}},"file_name":"desk.jpg",
//!  "width":640,"height":480,"dropped":0,"detections":[
//!  {"bbox":{"center":{"x":60.3,"y":40.1},"size_x":100.4,"size_y":40.3},
//!   "results":[{"class_id":"cup","score":0.87123}]}]}
//! ```
//!
//! (on one line). Where things are followed, a detection that has a track also has its `"id":"7"`, a text as in ROS, and
//! `"smoothed_score":0.83`, that of its name for its track, over time; `"continued":true` says that its own score is too low in this frame, and the
//! smoothed one is not. Where a camera is described,
//! `"sight":{"bearing_deg":12.7,"elevation_deg":-4.2,"range_m":1.52,"range_sd_m":0.2}` ([`geometry::camera`](crate::geometry::camera)), the range only
//! where it can be told. With masks, a detection also has `"mask":{"size":[480,640],"counts":"…"}`, COCO's compressed run lengths, or
//! `"mask":[[x,y,x,y,…],…]`, its polygons, or `"mask":{"size":[128,128],"bits":"…"}`, its box as bits in base64; where
//! presence is asked, the frame has `"presence":[{"class_id":"cup","state":"there","score":0.93,"best":0.87123}]`: whether it is in
//! the picture at all (`there`, `not_there`, `unsure`), how likely that is, and the score of its best object. `file_name` is absent for a stream. Pixels of the frame, two decimals.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize, Serializer};

use super::{Json, MaskForm, pixels::Pixels, px, rounded, score};
use crate::geometry::{
    BBox,
    camera::{Range, Sight},
};
use crate::scene::{Change, Names, PresenceState, Report};

/// Writes a line of JSON per frame.
#[derive(Debug)]
pub struct JsonWriter<W: Write> {
    out: W,
    json: Json,
    pub(super) form: MaskForm,
}

impl<W: Write> JsonWriter<W> {
    /// Lines to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            json: Json::new(),
            form: MaskForm::default(),
        }
    }

    /// Writes one frame's line, in one call to `out`.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn write(
        &mut self,
        file: Option<&str>,
        names: &dyn Names,
        report: &Report,
    ) -> io::Result<()> {
        let mut frame = Frame::new(file, names, report);
        frame.detections.form = self.form;
        let line = self.json.line(&frame);
        self.out.write_all(line)
    }

    /// Flushes.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[derive(Serialize)]
struct Frame<'a> {
    header: Header,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<&'a str>,
    width: u32,
    height: u32,
    dropped: u32,
    detections: Detections<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<Presences<'a>>,
}

impl<'a> Frame<'a> {
    fn new(file_name: Option<&'a str>, names: &'a dyn Names, report: &'a Report) -> Self {
        Self {
            header: Header::new(report.sequence, report.captured),
            file_name,
            width: report.size.width,
            height: report.size.height,
            dropped: report.dropped,
            detections: Detections::new(names, report),
            presence: Presences::new(names, report),
        }
    }
}

/// Number and wall-clock time of a report.
#[derive(Serialize)]
pub(crate) struct Header {
    seq: u64,
    stamp: Stamp,
}

impl Header {
    pub(crate) fn new(seq: u64, captured: SystemTime) -> Self {
        Self {
            seq,
            stamp: Stamp::new(captured),
        }
    }
}

/// Seconds since 1970, and nanoseconds that always count forward, as in ROS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    sec: i64,
    nanosec: u32,
}

impl Stamp {
    /// That of a time.
    #[must_use]
    pub fn new(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self {
                sec: since.as_secs() as i64,
                nanosec: since.subsec_nanos(),
            },
            // a board without a clock may well be before 1970
            Err(before) => {
                let before: Duration = before.duration();
                let borrow = before.subsec_nanos() > 0;
                Self {
                    sec: -(before.as_secs() as i64) - i64::from(borrow),
                    nanosec: (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000,
                }
            }
        }
    }
}

/// Detections as ROS has them; on the wire (`protocol::json`) as well.
pub(crate) struct Detections<'a> {
    names: &'a dyn Names,
    report: &'a Report,
    form: MaskForm,
}

impl<'a> Detections<'a> {
    pub(crate) fn new(names: &'a dyn Names, report: &'a Report) -> Self {
        let form = MaskForm::default();
        Self {
            names,
            report,
            form,
        }
    }
}

impl Serialize for Detections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let detections = self.report.detections.iter().enumerate();
        serializer.collect_seq(detections.map(|(i, detection)| {
            Detection2d {
                bbox: BoundingBox2d::new(&detection.bbox),
                results: [Hypothesis {
                    class_id: self.names.name(detection.prompt),
                    score: score(detection.score),
                }],
                id: self.report.track(i).map(Digits),
                smoothed_score: self.report.smoothed_score(i).map(score),
                continued: self.report.continued(i).then_some(true),
                sight: self.report.sights.get(i).map(SightFields::new),
                mask: (self.report.masks.get(i))
                    .map(|mask| Pixels::new(mask, &detection.bbox, self.report.size, self.form)),
            }
        }))
    }
}

#[derive(Serialize)]
struct Detection2d<'a> {
    bbox: BoundingBox2d,
    results: [Hypothesis<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Digits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smoothed_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continued: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sight: Option<SightFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<Pixels<'a>>,
}

/// A number as a text: ROS's `Detection2D.id` is one.
struct Digits(u32);

impl Serialize for Digits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Where a thing lies as seen from the camera.
#[derive(Serialize)]
struct SightFields {
    bearing_deg: f32,
    elevation_deg: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_m: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_sd_m: Option<f32>,
}

impl SightFields {
    /// Hundredths of a degree, millimetres.
    fn new(sight: &Sight) -> Self {
        let range = |value: fn(&Range) -> f32| sight.range.as_ref().map(|r| rounded(value(r), 1e3));
        Self {
            bearing_deg: rounded(sight.bearing_deg, 100.0),
            elevation_deg: rounded(sight.elevation_deg, 100.0),
            range_m: range(|r| r.metres),
            range_sd_m: range(|r| r.sd),
        }
    }
}

/// Whether prompts are in the picture at all; on the wire as well.
pub(crate) struct Presences<'a> {
    names: &'a dyn Names,
    report: &'a Report,
}

impl<'a> Presences<'a> {
    /// None where that was not asked.
    pub(crate) fn new(names: &'a dyn Names, report: &'a Report) -> Option<Self> {
        (!report.presences.is_empty()).then_some(Self { names, report })
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    class_id: &'a str,
    state: PresenceState,
    score: f32,
    best: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
}

impl Serialize for Presences<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.report.presences.iter().map(|p| Answer {
            class_id: self.names.name(p.prompt),
            state: p.state,
            score: score(p.score),
            best: score(p.best),
            change: p.change,
        }))
    }
}

/// A box as ROS has it: centre and size, in pixels.
#[derive(Serialize)]
pub(crate) struct BoundingBox2d {
    center: Point2d,
    size_x: f32,
    size_y: f32,
}

impl BoundingBox2d {
    pub(crate) fn new(bbox: &BBox) -> Self {
        let (x, y) = bbox.center();
        Self {
            center: Point2d { x: px(x), y: px(y) },
            size_x: px(bbox.width()),
            size_y: px(bbox.height()),
        }
    }
}

#[derive(Serialize)]
struct Point2d {
    x: f32,
    y: f32,
}

#[derive(Serialize)]
struct Hypothesis<'a> {
    class_id: &'a str,
    score: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Format;
    use crate::report::tests::{NAMES, detection, full, one_of_each, report, written};
    use serde_json::Value;

    #[test]
    fn a_frame_is_exactly_one_line() {
        let mut one = report(&[detection(0, 0.871_234_5)]);
        one.dropped = 2;
        let text = written(Format::Json, &[Some("desk.jpg")], &[one]);
        assert_eq!(
            text,
            concat!(
                r#"{"header":{"seq":18446744073709551615,"stamp":{"sec":1700000000,"nanosec":25}},"#,
                r#""file_name":"desk.jpg","width":640,"height":480,"dropped":2,"detections":["#,
                r#"{"bbox":{"center":{"x":60.31,"y":40.13},"size_x":100.38,"size_y":40.26},"#,
                r#""results":[{"class_id":"coffee cup","score":0.87123}]}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn every_name_survives_another_parser() {
        let files = [Some("a \"b\"\n.jpg"), None];
        let text = written(Format::Json, &files, &[one_of_each(), report(&[])]);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["file_name"], "a \"b\"\n.jpg");
        for (i, name) in NAMES.iter().enumerate() {
            assert_eq!(lines[0]["detections"][i]["results"][0]["class_id"], *name);
        }
        assert!(lines[1].get("file_name").is_none());
        assert_eq!(lines[1]["detections"], Value::Array(Vec::new()));
    }

    #[test]
    fn a_full_report_and_a_short_one_after_it_fit() {
        let text = written(Format::Json, &[None, None], &[full(), report(&[])]);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(
            lines[0]["detections"].as_array().expect("an array").len(),
            crate::scene::MAX_DETECTIONS
        );
        assert_eq!(lines[1]["width"], 640);
    }

    #[test]
    fn times_before_1970_count_nanoseconds_forward() {
        let stamp = |nanos| {
            let stamp = Stamp::new(SystemTime::UNIX_EPOCH - Duration::from_nanos(nanos));
            (stamp.sec, stamp.nanosec)
        };
        assert_eq!(stamp(0), (0, 0));
        assert_eq!(stamp(1), (-1, 999_999_999));
        assert_eq!(stamp(1_000_000_000), (-1, 0));
        assert_eq!(stamp(1_500_000_000), (-2, 500_000_000));
    }
}
