//! Reports as text: one line per detection, ROS-like JSON lines, or COCO results.
//!
//! | file | one frame becomes |
//! |---|---|
//! | [`text`] | a line per detection, for people |
//! | [`json`] | one line of JSON, names as in ROS `vision_msgs/Detection2DArray` |
//! | [`coco`] | elements of one JSON array, as COCO's tools read results |
//!
//! [`grounding`] writes what sentences mean instead of detections, [`objects`] all objects with their nearest names, [`maps`] what every
//! pixel is of.
//!
//! All three write to any [`Write`]. JSON is made by `serde-json-core` in a buffer that
//! is kept and grown, so after the largest report nothing is allocated. (Its string
//! escaping was checked: quotes, backslashes and control characters come out as JSON
//! wants them, and numbers that are not finite as `null`; the tests read everything back
//! with another parser.)

use std::io::{self, Write};

use serde::Serialize;
use tarsier_wire::px;
pub(crate) use tarsier_wire::score;

use crate::scene::{Names, Report};

pub mod coco;
pub mod grounding;
pub mod json;
pub mod maps;
pub mod objects;
pub(crate) mod pixels;
pub(crate) mod shapes;
pub mod text;

/// How reports are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line per detection.
    Text,
    /// A line of JSON per frame.
    Json,
    /// One JSON array of COCO results.
    Coco,
}

/// How the pixels of an object are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskForm {
    /// COCO's compressed run lengths.
    #[default]
    Rle,
    /// COCO's lists of polygons ([`Mask::polygons`](crate::mask::Mask::polygons)).
    Polygons,
    /// The box as 128 × 128 bits in base64 ([`Mask::bits`](crate::mask::Mask::bits)); in COCO results run lengths.
    Bits,
}

/// A stream of reports in one format.
#[derive(Debug)]
pub enum ReportWriter<W: Write> {
    /// A line per detection.
    Text(text::TextWriter<W>),
    /// A line of JSON per frame.
    Json(json::JsonWriter<W>),
    /// One JSON array of COCO results.
    Coco(coco::CocoWriter<W>),
}

impl<W: Write> ReportWriter<W> {
    /// A stream that writes to `out`.
    pub fn new(format: Format, out: W) -> Self {
        match format {
            Format::Text => Self::Text(text::TextWriter::new(out)),
            Format::Json => Self::Json(json::JsonWriter::new(out)),
            Format::Coco => Self::Coco(coco::CocoWriter::new(out)),
        }
    }

    /// Chooses how masks are written, where the format has them.
    pub fn write_masks_as(&mut self, form: MaskForm) {
        match self {
            Self::Text(_) => (),
            Self::Json(writer) => writer.form = form,
            Self::Coco(writer) => writer.form = form,
        }
    }

    /// Writes one frame's report.
    ///
    /// `file` is the image's name, absent for a stream.
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
        match self {
            Self::Text(writer) => writer.write(file, names, report),
            Self::Json(writer) => writer.write(file, names, report),
            Self::Coco(writer) => writer.write(file, names, report),
        }
    }

    /// Completes what the format needs completed, and flushes.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Text(writer) => writer.finish(),
            Self::Json(writer) => writer.finish(),
            Self::Coco(writer) => writer.finish(),
        }
    }
}

/// JSON values into a buffer that is kept.
#[derive(Debug)]
struct Json(Vec<u8>);

impl Json {
    fn new() -> Self {
        Self(vec![0; 4096])
    }

    fn bytes(&mut self, value: &impl Serialize) -> &[u8] {
        let len = self.fill(value);
        &self.0[..len]
    }

    /// The value and a line feed.
    fn line(&mut self, value: &impl Serialize) -> &[u8] {
        let len = self.fill(value);
        if len == self.0.len() {
            self.0.push(0);
        }
        self.0[len] = b'\n';
        &self.0[..=len]
    }

    fn fill(&mut self, value: &impl Serialize) -> usize {
        loop {
            // the only error there is says that the buffer is full
            match serde_json_core::to_slice(value, &mut self.0) {
                Ok(len) => return len,
                Err(_) => self.0.resize(self.0.len() * 2, 0),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::geometry::{BBox, Size};
    use crate::scene::{Detection, MAX_DETECTIONS};
    use std::time::{Duration, SystemTime};

    /// Names that a careless writer would break on.
    pub(crate) const NAMES: &[&str] = &[
        "coffee cup",
        "a \"quoted\" \\ name",
        "Öl, 猫 🐈\u{2028}",
        "new\nline\ttab\u{1}\u{1f}\u{7f}\0",
        "",
    ];

    pub(crate) fn detection(prompt: u32, score: f32) -> Detection {
        Detection {
            bbox: BBox::new(10.123_456, 20.0, 110.5, 60.255),
            score,
            logit: 0.0,
            prompt,
            location: 0,
        }
    }

    pub(crate) fn report(detections: &[Detection]) -> Report {
        let captured = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 25);
        let mut report = Report::new(u64::MAX, captured, Size::new(640, 480));
        report.detections.extend(detections.iter().copied());
        report
    }

    /// One detection per name in [`NAMES`].
    pub(crate) fn one_of_each() -> Report {
        let detections: Vec<_> = (0..NAMES.len() as u32)
            .map(|prompt| detection(prompt, 0.871_234_5))
            .collect();
        report(&detections)
    }

    /// As many detections as a report holds.
    pub(crate) fn full() -> Report {
        report(&[detection(2, 0.5); MAX_DETECTIONS])
    }

    /// What a format writes for some reports, finished.
    pub(crate) fn written(format: Format, files: &[Option<&str>], reports: &[Report]) -> String {
        let mut out = Vec::new();
        let mut writer = ReportWriter::new(format, &mut out);
        for (file, report) in files.iter().zip(reports) {
            writer
                .write(*file, NAMES_ARRAY, report)
                .expect("a Vec takes everything");
        }
        writer.finish().expect("a Vec takes everything");
        drop(writer);
        String::from_utf8(out).expect("text")
    }

    /// [`NAMES`] as a sized value, which a trait object needs.
    const NAMES_ARRAY: &[&str; 5] = &[NAMES[0], NAMES[1], NAMES[2], NAMES[3], NAMES[4]];

    #[test]
    fn numbers_are_rounded_to_few_digits() {
        assert_eq!(px(10.123_456).to_string(), "10.12");
        assert_eq!(px(65_535.98).to_string(), "65535.98");
        assert_eq!(px(-0.001).to_string(), "0");
        assert_eq!(score(0.871_234_5).to_string(), "0.87123");
        assert_eq!(score(1.0).to_string(), "1");
    }

    #[test]
    fn the_buffer_grows_to_what_a_value_needs() {
        let mut json = Json::new();
        let long = "\u{1}".repeat(10_000);
        let text = json.bytes(&long.as_str()).to_vec();
        assert_eq!(text.len(), 60_002);
        assert_eq!(serde_json::from_slice::<String>(&text).expect("JSON"), long);
    }

    #[test]
    fn an_error_of_the_output_reaches_the_caller_in_every_format() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for format in [Format::Text, Format::Json, Format::Coco] {
            let mut writer = ReportWriter::new(format, Full);
            let error = writer
                .write(Some("a.jpg"), NAMES_ARRAY, &one_of_each())
                .expect_err("the disk is full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{format:?}");
        }
    }
}
