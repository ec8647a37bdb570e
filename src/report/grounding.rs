//! What sentences mean in a frame, as text or JSON.
//!
//! `yard.jpg: "the dog on the left" 0.83 at 12,34 56x78`, or `yard.jpg: "a red car" not there (0.02)`. With masks,
//! the number of pixels follows the box; in JSON `"mask"` its run lengths.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use tarsier_wire::report as wire;

use super::{
    Json, score,
    shapes::{bounding_box, header, rle},
    text::{OneLine, Whence},
};
use crate::{ground::Grounding, mask::Mask, scene::Report};

/// Writes what sentences mean, frame by frame.
#[derive(Debug)]
pub struct GroundingWriter<W: Write> {
    out: W,
    /// In JSON, a line per frame; else a line per sentence.
    json: Option<Json>,
}

impl<W: Write> GroundingWriter<W> {
    /// Lines of JSON, or of text, to `out`.
    pub fn new(json: bool, out: W) -> Self {
        let json = json.then(Json::new);
        Self { out, json }
    }

    /// Writes one frame's answers, each with its sentence.
    ///
    /// `frame` gives number, time and size, and the masks of those of its detections whose prompt is the sentence's place.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn write(
        &mut self,
        file: Option<&str>,
        frame: &Report,
        answers: &[(&str, Grounding)],
    ) -> io::Result<()> {
        if let Some(json) = &mut self.json {
            let line = json.line(&Frame {
                header: header(frame.sequence, frame.captured),
                file_name: file,
                width: frame.size.width,
                height: frame.size.height,
                groundings: Groundings(answers, frame),
            });
            return self.out.write_all(line);
        }
        let whence = Whence(file, frame.sequence);
        for (i, (sentence, answer)) in (0..).zip(answers) {
            let (sentence, score) = (OneLine(sentence), answer.score);
            match answer.object {
                None => writeln!(self.out, "{whence}: \"{sentence}\" not there ({score:.2})")?,
                Some(object) => {
                    let bbox = object.bbox;
                    let (w, h) = (bbox.width(), bbox.height());
                    write!(
                        self.out,
                        "{whence}: \"{sentence}\" {score:.2} at {:.0},{:.0} {w:.0}x{h:.0}",
                        bbox.x0, bbox.y0
                    )?;
                    match mask_of(frame, i) {
                        Some(mask) => writeln!(self.out, ", {} px", mask.area())?,
                        None => writeln!(self.out)?,
                    }
                }
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
    groundings: Groundings<'a>,
}

/// The mask of a sentence's object.
fn mask_of(frame: &Report, sentence: u32) -> Option<&Mask> {
    let place = frame.detections.iter().position(|d| d.prompt == sentence)?;
    frame.masks.get(place)
}

struct Groundings<'a>(&'a [(&'a str, Grounding)], &'a Report);

#[derive(Serialize)]
struct Answer<'a> {
    sentence: &'a str,
    score: f32,
    bbox: Option<wire::BoundingBox>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<wire::Mask<'a>>,
}

impl Serialize for Groundings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answers = (0..).zip(self.0);
        serializer.collect_seq(answers.map(|(i, (sentence, answer))| Answer {
            mask: mask_of(self.1, i).map(|mask| rle(mask, self.1.size)),
            sentence,
            score: score(answer.score),
            bbox: answer.object.map(|o| bounding_box(&o.bbox)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        geometry::{BBox, Size},
        ground::Object,
    };

    fn written(json: bool) -> String {
        let mut out = Vec::new();
        let frame = Report::new(3, SystemTime::UNIX_EPOCH, Size::new(64, 48));
        let there = Grounding {
            score: 0.834,
            object: Some(Object {
                bbox: BBox::new(10.0, 4.0, 30.0, 20.0),
                location: 0,
            }),
        };
        let gone = Grounding {
            score: 0.02,
            object: None,
        };
        let mut writer = GroundingWriter::new(json, &mut out);
        let answers = [("the \"left\" dog", there), ("a\ncar", gone)];
        writer
            .write(Some("yard.jpg"), &frame, &answers)
            .expect("written");
        writer.finish().expect("flushed");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_sentence_is_one_line_of_text() {
        let text = "yard.jpg: \"the \"left\" dog\" 0.83 at 10,4 20x16\nyard.jpg: \"a\\ncar\" not there (0.02)\n";
        assert_eq!(written(false), text);
    }

    #[test]
    fn a_frame_is_one_line_of_json_and_nothing_meant_is_null() {
        let json: serde_json::Value = serde_json::from_str(&written(true)).expect("JSON");
        let expected = serde_json::json!([
            {"sentence": "the \"left\" dog", "score": 0.834,
             "bbox": {"center": {"x": 20.0, "y": 12.0}, "size_x": 20.0, "size_y": 16.0}},
            {"sentence": "a\ncar", "score": 0.02, "bbox": null},
        ]);
        assert_eq!(json["groundings"].to_string(), expected.to_string());
        assert_eq!(
            (json["width"].as_u64(), json["header"]["seq"].as_u64()),
            (Some(64), Some(3))
        );
    }
}
