//! Reports for evaluation: one JSON array of results, as COCO's tools read them.
//!
//! ```json
//! [
//! {"image_id":1,"category_id":42,"file_name":"desk.jpg","category_name":"cup","bbox":[12.25,34.0,56.5,78.0],"score":0.87123},
//! {"image_id":1,"category_id":81,"file_name":"desk.jpg","category_name":"door","bbox":[0.0,0.0,99.0,200.0],"score":0.5}
//! ]
//! ```
//!
//! A result that has a track also has `"track_id":7`, as in the sets for tracking that are written
//! like COCO, and `"smoothed_score":0.83`; `"continued":true` says that the frame's own `score` is too
//! low and the smoothed one is not (leave these out where detections are evaluated). With masks, a result also has `"segmentation":{"size":[480,640],"counts":"…"}`, or
//! `[[x,y,x,y,…],…]`: the latter is the form of annotations, which tools for results need not take.
//! Boxes are left, top, width, height in pixels of the photo.
//!
//! Without an annotation file there are no numbers but our own: `image_id` counts the photos in the
//! order in which they are gone through, from 1 and those that cannot be read included;
//! `category_id` is the place of the first prompt of that name, from 1. With annotations that are
//! numbered otherwise (COCO's categories go from 1 to 90 with gaps), go by the names.
//!
//! The array is streamed, a photo in one call to the output, and is closed whatever happens
//! between: by [`CocoWriter::finish`], or when the writer is dropped on the way out of an error. It
//! has no place for `dropped`.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use serde::Serialize;

use super::{Json, MaskForm, pixels::Pixels, px, score};
use crate::scene::{Names, Report};

/// Writes one JSON array of results.
#[derive(Debug)]
pub struct CocoWriter<W: Write> {
    out: W,
    json: Json,
    state: State,
    categories: Categories,
    /// A frame's results, before they are written.
    batch: Vec<u8>,
    pub(super) form: MaskForm,
}

/// Numbers of names.
#[derive(Debug, Default)]
pub(super) struct Categories(HashMap<u32, u32>);

impl Categories {
    /// The number of a prompt's name: prompts of one name, as those of a group, have one.
    pub(super) fn of(&mut self, names: &dyn Names, prompt: u32) -> u32 {
        *self.0.entry(prompt).or_insert_with(|| {
            let name = names.name(prompt);
            let first = (0..prompt).find(|&other| names.name(other) == name);
            first.unwrap_or(prompt).saturating_add(1)
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is written yet.
    New,
    /// The bracket is open.
    Open,
    /// There are results, so the next one needs a comma.
    Some,
    /// The bracket is closed, or the output failed.
    Closed,
}

impl<W: Write> CocoWriter<W> {
    /// An array to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            json: Json::new(),
            state: State::New,
            categories: Categories::default(),
            batch: Vec::new(),
            form: MaskForm::default(),
        }
    }

    /// Writes one frame's results; without a file, the frame goes by its number.
    ///
    /// # Errors
    ///
    /// What `out` answered, and [`io::ErrorKind::BrokenPipe`] after
    /// [`finish`](Self::finish) or an earlier error.
    pub fn write(
        &mut self,
        file: Option<&str>,
        names: &dyn Names,
        report: &Report,
    ) -> io::Result<()> {
        if self.state == State::Closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let result = self.append(file, names, report);
        if result.is_err() {
            // whatever half was written, more of it would not mend it
            self.state = State::Closed;
        }
        result
    }

    fn append(&mut self, file: Option<&str>, names: &dyn Names, report: &Report) -> io::Result<()> {
        self.batch.clear();
        let mut state = self.state;
        if state == State::New {
            self.batch.push(b'[');
            state = State::Open;
        }
        let form = match self.form {
            MaskForm::Bits => MaskForm::Rle, // COCO knows no bits
            form => form,
        };
        let numbered;
        let file_name = match file {
            Some(file) => file,
            None => {
                numbered = format!("frame {}", report.sequence);
                &numbered
            }
        };
        for (i, detection) in report.detections.iter().enumerate() {
            let bbox = &detection.bbox;
            let result = CocoResult {
                image_id: report.sequence.saturating_add(1),
                category_id: self.categories.of(names, detection.prompt),
                file_name,
                category_name: names.name(detection.prompt),
                bbox: [bbox.x0, bbox.y0, bbox.width(), bbox.height()].map(px),
                score: score(detection.score),
                track_id: report.track(i),
                smoothed_score: report.smoothed_score(i).map(score),
                continued: report.continued(i).then_some(true),
                segmentation: (report.masks.get(i))
                    .map(|mask| Pixels::new(mask, bbox, report.size, form)),
            };
            let separator: &[u8] = if state == State::Some { b",\n" } else { b"\n" };
            self.batch.extend_from_slice(separator);
            self.batch.extend_from_slice(self.json.bytes(&result));
            state = State::Some;
        }
        self.out.write_all(&self.batch)?;
        self.state = state;
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if self.state == State::New {
            self.out.write_all(b"[")?;
            self.state = State::Open;
        }
        Ok(())
    }

    /// Closes the array and flushes. A second call does nothing.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.state == State::Closed {
            return Ok(());
        }
        let opened = self.open();
        self.state = State::Closed;
        opened?;
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }
}

impl<W: Write> Drop for CocoWriter<W> {
    fn drop(&mut self) {
        // nobody is left to tell; whoever cares calls `finish`
        let _ = self.finish();
    }
}

#[derive(Serialize)]
struct CocoResult<'a> {
    image_id: u64,
    category_id: u32,
    file_name: &'a str,
    category_name: &'a str,
    bbox: [f32; 4],
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    track_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smoothed_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continued: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation: Option<Pixels<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Format;
    use crate::report::tests::{NAMES, detection, full, one_of_each, report, written};
    use crate::scene::MAX_DETECTIONS;
    use serde_json::Value;

    #[test]
    fn results_of_several_frames_are_one_array() {
        let frames = [
            report(&[detection(0, 0.5)]),
            report(&[]),
            report(&[detection(4, 1.0)]),
        ];
        let files = [Some("a.jpg"), Some("b.jpg"), Some("c.jpg")];
        let text = written(Format::Coco, &files, &frames);
        assert_eq!(
            text,
            concat!(
                "[\n",
                r#"{"image_id":18446744073709551615,"category_id":1,"file_name":"a.jpg","category_name":"coffee cup","bbox":[10.12,20.0,100.38,40.26],"score":0.5},"#,
                "\n",
                r#"{"image_id":18446744073709551615,"category_id":5,"file_name":"c.jpg","category_name":"","bbox":[10.12,20.0,100.38,40.26],"score":1.0}"#,
                "\n]\n"
            )
        );
    }

    #[test]
    fn every_name_survives_another_parser() {
        let text = written(Format::Coco, &[Some("ü\\\".jpg")], &[one_of_each()]);
        let results: Value = serde_json::from_str(&text).expect("JSON");
        for (i, name) in NAMES.iter().enumerate() {
            assert_eq!(results[i]["category_name"], *name);
            assert_eq!(results[i]["file_name"], "ü\\\".jpg");
        }
    }

    #[test]
    fn prompts_of_one_name_are_one_category() {
        let mut categories = Categories::default();
        let names = ["cup", "dog", "cup", "dog"];
        let of = [3, 0, 2, 1].map(|p| categories.of(&names, p));
        assert_eq!(of, [2, 1, 1, 2]);
    }

    #[test]
    fn no_frames_and_no_detections_are_an_empty_array() {
        for frames in [&[][..], &[report(&[])]] {
            let text = written(Format::Coco, &[Some("a.jpg")], frames);
            let results: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(results, Value::Array(Vec::new()));
        }
    }

    #[test]
    fn the_array_is_closed_when_the_writer_is_dropped_on_the_way_out() {
        let mut out = Vec::new();
        let mut writer = CocoWriter::new(&mut out);
        writer
            .write(Some("a.jpg"), &["x", "y", "z"], &full())
            .expect("a Vec takes everything");
        drop(writer);
        let results: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(results.as_array().expect("an array").len(), MAX_DETECTIONS);
    }

    #[test]
    fn nothing_is_written_after_the_end() {
        let mut out = Vec::new();
        let mut writer = CocoWriter::new(&mut out);
        writer.finish().expect("a Vec takes everything");
        writer.finish().expect("a second time is nothing");
        assert!(writer.write(None, &["x"], &report(&[])).is_err());
        drop(writer);
        assert_eq!(out, b"[\n]\n");
    }
}
