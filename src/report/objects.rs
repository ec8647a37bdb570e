//! All objects of a frame, each with the names that are nearest to it, as text or JSON.
//!
//! `desk.jpg: cup 0.47, mug 0.41, bowl 0.34 (object 0.93) at 12,34 56x78`: a name's number is the cosine between it and the object,
//! which orders names and is no probability. In JSON a frame is as in [`json`](super::json), but that a detection has several
//! results, nearest first, whose score is that cosine, and `"objectness"`: how likely it is that there is an object at all.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use tarsier_wire::report as wire;

use super::{
    Json, MaskForm,
    pixels::Pixels,
    score,
    shapes::{bounding_box, header},
    text::{OneLine, Whence},
};
use crate::scene::{Names, Nearest, Report};

/// Writes objects and their names, frame by frame.
#[derive(Debug)]
pub struct ObjectsWriter<W: Write> {
    out: W,
    /// In JSON, a line per frame; else a line per object.
    json: Option<Json>,
}

impl<W: Write> ObjectsWriter<W> {
    /// Lines of JSON, or of text, to `out`.
    pub fn new(json: bool, out: W) -> Self {
        let json = json.then(Json::new);
        Self { out, json }
    }

    /// Writes one frame's objects; `nearest` has the names of each detection of the report.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn write(
        &mut self,
        file: Option<&str>,
        names: &dyn Names,
        report: &Report,
        nearest: &[Nearest],
    ) -> io::Result<()> {
        if let Some(json) = &mut self.json {
            let line = json.line(&Frame {
                header: header(report.sequence, report.captured),
                file_name: file,
                width: report.size.width,
                height: report.size.height,
                dropped: report.dropped,
                detections: Objects {
                    names,
                    report,
                    nearest,
                },
            });
            return self.out.write_all(line);
        }
        let whence = Whence(file, report.sequence);
        if report.detections.is_empty() {
            writeln!(self.out, "{whence}: nothing found")?;
        }
        for (i, (detection, nearest)) in report.detections.iter().zip(nearest).enumerate() {
            write!(self.out, "{whence}: ")?;
            for (n, &(prompt, score)) in nearest.iter().enumerate() {
                let comma = if n > 0 { ", " } else { "" };
                let name = OneLine(names.name(prompt));
                write!(self.out, "{comma}{name} {score:.2}")?;
            }
            let b = &detection.bbox;
            write!(
                self.out,
                " (object {:.2}) at {:.0},{:.0} {:.0}x{:.0}",
                detection.score,
                b.x0,
                b.y0,
                b.width(),
                b.height()
            )?;
            match report.masks.get(i) {
                Some(mask) => writeln!(self.out, ", {} px", mask.area())?,
                None => writeln!(self.out)?,
            }
        }
        Ok(())
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
    header: wire::Header,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<&'a str>,
    width: u32,
    height: u32,
    dropped: u32,
    detections: Objects<'a>,
}

struct Objects<'a> {
    names: &'a dyn Names,
    report: &'a Report,
    nearest: &'a [Nearest],
}

#[derive(Serialize)]
struct Object<'a> {
    bbox: wire::BoundingBox,
    objectness: f32,
    results: Vec<Hypothesis<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<Pixels<'a>>,
}

#[derive(Serialize)]
struct Hypothesis<'a> {
    class_id: &'a str,
    score: f32,
}

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size = self.report.size;
        let all = self.report.detections.iter().zip(self.nearest).enumerate();
        serializer.collect_seq(all.map(|(i, (detection, nearest))| {
            let named = nearest.iter().map(|&(prompt, s)| Hypothesis {
                class_id: self.names.name(prompt),
                score: score(s),
            });
            let mask = self.report.masks.get(i);
            Object {
                bbox: bounding_box(&detection.bbox),
                objectness: score(detection.score),
                results: named.collect(),
                mask: mask.map(|m| Pixels::new(m, &detection.bbox, size, MaskForm::Rle)),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{NAMES, detection, report};

    fn written(json: bool) -> String {
        let mut out = Vec::new();
        let mut writer = ObjectsWriter::new(json, &mut out);
        let names: &[&str; 3] = &[NAMES[0], NAMES[1], NAMES[3]];
        let nearest = [vec![(0, 0.9), (1, 0.25)]];
        writer
            .write(
                Some("a.jpg"),
                names,
                &report(&[detection(0, 0.5)]),
                &nearest,
            )
            .expect("written");
        writer
            .write(None, names, &report(&[]), &[])
            .expect("written");
        writer.finish().expect("flushed");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn an_object_is_a_line_with_its_names() {
        assert_eq!(
            written(false).lines().next(),
            Some("a.jpg: coffee cup 0.90, a \"quoted\" \\ name 0.25 (object 0.50) at 10,20 100x40")
        );
        assert!(written(false).ends_with("nothing found\n"));
    }

    #[test]
    fn an_object_has_several_results_in_json() {
        let text = written(true);
        let first: serde_json::Value =
            serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        let object = &first["detections"][0];
        assert_eq!(object["objectness"], 0.5);
        assert_eq!(object["results"][1]["class_id"], NAMES[1]);
        assert_eq!(object["results"].as_array().expect("results").len(), 2);
    }
}
