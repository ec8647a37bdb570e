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

use serde::{Serialize, Serializer};
pub use tarsier_wire::Stamp;
use tarsier_wire::{
    list::List,
    report::{self as wire, Header},
};

use super::{
    Json, MaskForm,
    pixels::Pixels,
    shapes::{self, Presences},
};
use crate::scene::{Names, Report};

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
        let presences = Presences::new(names, report);
        let line = self.json.line(&Frame {
            header: shapes::header(report.sequence, report.captured),
            file_name: file,
            width: report.size.width,
            height: report.size.height,
            dropped: report.dropped,
            detections: Detections {
                names,
                report,
                form: self.form,
            },
            presence: presences.as_ref().map(|all| List::Made(all)),
        });
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
    presence: Option<List<'a, wire::Presence<'a>>>,
}

/// Detections as the wire has them, but for masks, which may have another form here.
struct Detections<'a> {
    names: &'a dyn Names,
    report: &'a Report,
    form: MaskForm,
}

impl Serialize for Detections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (report, form) = (self.report, self.form);
        let detections = (0..report.detections.len()).map(|i| {
            let pixels = |mask, bbox: &_| Pixels::new(mask, bbox, report.size, form);
            shapes::detection(self.names, report, i, pixels)
        });
        serializer.collect_seq(detections)
    }
}

#[cfg(test)]
mod tests {
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
}
