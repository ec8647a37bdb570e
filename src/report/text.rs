//! Reports for people: `desk.jpg: cup 0.87 at 12,34 56x78`.
//!
//! A track is a number behind the name (`cup #7 0.87`), and its smoothed score follows (`, smoothed 0.83`), then `, continued` where
//! this frame's own score is too low; with a camera, `, bearing 12.7, elevation -4.2, 1.52 m ± 0.20` follows, degrees to
//! the right and up, and the range where it can be told. With masks, the pixels of each follow; where presence is asked, `desk.jpg: cat is not there (0.02)`,
//! or `is there`, or `unsure whether cat is there`. Box: left,top widthxheight in whole pixels. A frame without detections gets a line too,
//! so that silence always means that nothing was looked at. Control characters in names
//! are shown escaped: one detection is one line, whatever it is called.

use std::fmt;
use std::io::{self, Write};

use crate::scene::{Names, PresenceState, Report};

/// Writes a line per detection.
#[derive(Debug)]
pub struct TextWriter<W: Write> {
    out: W,
}

impl<W: Write> TextWriter<W> {
    /// Lines to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes one frame's lines; without a file, the frame goes by its number.
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
        let out = &mut self.out;
        let frame = Whence(file, report.sequence);
        if report.detections.is_empty() {
            writeln!(out, "{frame}: nothing found")?;
        }
        for (i, detection) in report.detections.iter().enumerate() {
            let name = OneLine(names.name(detection.prompt));
            let bbox = &detection.bbox;
            write!(out, "{frame}: {name} ")?;
            if let Some(id) = report.track(i) {
                write!(out, "#{id} ")?;
            }
            write!(
                out,
                "{:.2} at {:.0},{:.0} {:.0}x{:.0}",
                detection.score,
                bbox.x0,
                bbox.y0,
                bbox.width(),
                bbox.height()
            )?;
            if let Some(score) = report.smoothed_score(i) {
                write!(out, ", smoothed {score:.2}")?;
            }
            if report.continued(i) {
                write!(out, ", continued")?;
            }
            if let Some(sight) = report.sights.get(i) {
                let (bearing, elevation) = (sight.bearing_deg, sight.elevation_deg);
                write!(out, ", bearing {bearing:.1}, elevation {elevation:.1}")?;
                if let Some(range) = sight.range {
                    write!(out, ", {:.2} m ± {:.2}", range.metres, range.sd)?;
                }
            }
            match report.masks.get(i) {
                Some(mask) => writeln!(out, ", {} px", mask.area())?,
                None => writeln!(out)?,
            }
        }
        for presence in &report.presences {
            let name = OneLine(names.name(presence.prompt));
            let score = presence.score;
            match presence.state {
                PresenceState::There => writeln!(out, "{frame}: {name} is there ({score:.2})")?,
                PresenceState::Unsure => {
                    writeln!(out, "{frame}: unsure whether {name} is there ({score:.2})")?;
                }
                PresenceState::NotThere => {
                    writeln!(out, "{frame}: {name} is not there ({score:.2})")?;
                }
            }
        }
        if report.dropped > 0 {
            writeln!(out, "{frame}: {} more found, no room", report.dropped)?;
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

/// The frame's file, or its number.
pub(super) struct Whence<'a>(pub(super) Option<&'a str>, pub(super) u64);

impl fmt::Display for Whence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(file) => OneLine(file).fmt(f),
            None => write!(f, "frame {}", self.1),
        }
    }
}

/// A text with its control characters and line breaks escaped.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for c in self.0.chars() {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::report::Format;
    use crate::report::tests::{detection, one_of_each, report, written};

    #[test]
    fn a_detection_is_a_line_with_file_name_score_and_box() {
        let text = written(
            Format::Text,
            &[Some("desk.jpg")],
            &[report(&[detection(0, 0.876)])],
        );
        assert_eq!(text, "desk.jpg: coffee cup 0.88 at 10,20 100x40\n");
    }

    #[test]
    fn a_frame_without_detections_and_one_with_too_many_say_so() {
        let mut crowded = report(&[detection(0, 0.5)]);
        crowded.dropped = 7;
        crowded.sequence = 3;
        let text = written(
            Format::Text,
            &[Some("a.png"), None],
            &[report(&[]), crowded],
        );
        assert_eq!(
            text,
            "a.png: nothing found\n\
             frame 3: coffee cup 0.50 at 10,20 100x40\n\
             frame 3: 7 more found, no room\n"
        );
    }

    #[test]
    fn presence_is_said_in_three_ways() {
        use crate::scene::{Presence, PresenceState};
        let mut asked = report(&[]);
        for (prompt, state) in [
            (0, PresenceState::There),
            (2, PresenceState::Unsure),
            (1, PresenceState::NotThere),
        ] {
            asked.presences.push(Presence {
                prompt,
                score: 0.25,
                best: 0.5,
                state,
                change: None,
            });
        }
        let text = written(Format::Text, &[Some("a.png")], &[asked]);
        assert_eq!(
            text,
            "a.png: nothing found\n\
             a.png: coffee cup is there (0.25)\n\
             a.png: unsure whether Öl, 猫 🐈\\u{2028} is there (0.25)\n\
             a.png: a \"quoted\" \\ name is not there (0.25)\n"
        );
    }

    #[test]
    fn a_name_never_breaks_the_line() {
        let text = written(Format::Text, &[Some("odd\nname.jpg")], &[one_of_each()]);
        assert_eq!(text.lines().count(), 5);
        assert!(
            text.contains("odd\\nname.jpg: Öl, 猫 🐈\\u{2028} 0.87"),
            "{text}"
        );
        assert!(
            text.contains("new\\nline\\ttab\\u{1}\\u{1f}\\u{7f}\\u{0} 0.87"),
            "{text}"
        );
    }
}
