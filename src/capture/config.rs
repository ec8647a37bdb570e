//! How a source is asked for, in a configuration file or in one word on the command line.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::picture::Form;
use crate::geometry::Size;

/// The largest side of a raw frame: no sensor has more, and a typing error should not ask for gigabytes.
const MAX_SIDE: u32 = 16_384;

/// Frames per second that can be asked for: less than one in a thousand seconds is a typing error,
/// and the pause between two frames would soon be more than a clock can say.
pub const FPS: std::ops::RangeInclusive<f32> = 0.001..=1000.0;

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A photo or a folder of photos.
    Files,
    /// JPEG pictures one after another, on a pipe, a FIFO, standard input (`-`) or in a file.
    Mjpeg,
    /// Frames of raw pixels, likewise.
    Raw,
    /// A camera of the kernel.
    V4l2,
}

/// The `[source]` table of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What it is.
    pub kind: Kind,
    /// Where it is: a file, a folder, a FIFO, a device; `-` is standard input.
    pub path: PathBuf,
    /// Pixels of a raw frame; of a camera, the least difference from what it offers wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// See `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Layout of raw pixels; of a camera, the only one to accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Form>,
    /// Frames per second: of files, how fast they follow one another; of a camera, what it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f32>,
    /// Files from the start again when all were shown.
    #[serde(default)]
    pub repeat: bool,
    /// Every frame is looked at: the source waits instead of losing frames. Not for cameras; of files without `fps` it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// Without a frame for this long, the source counts as lost.
    #[serde(default = "two_seconds")]
    pub timeout_ms: u32,
}

const fn two_seconds() -> u32 {
    2000
}

impl SourceConfig {
    /// A source with nothing but its kind and place.
    #[must_use]
    pub const fn new(kind: Kind, path: PathBuf) -> Self {
        Self {
            kind,
            path,
            width: None,
            height: None,
            format: None,
            fps: None,
            repeat: false,
            wait: None,
            timeout_ms: two_seconds(),
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Files => "files",
            Kind::Mjpeg => "mjpeg",
            Kind::Raw => "raw",
            Kind::V4l2 => "v4l2",
        };
        format!("{kind}:{}", self.path.display())
    }

    /// Width and height, if both are given.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        Some(Size::new(self.width?, self.height?))
    }

    /// Whether the source waits instead of losing frames.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.wait
            .unwrap_or(self.kind == Kind::Files && self.fps.is_none())
    }

    /// What contradicts itself, by the name of the key at fault.
    ///
    /// # Errors
    ///
    /// The key and a sentence about it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, why: &str| Err((key, why.to_owned()));
        if self.path.as_os_str().is_empty() {
            return wrong("path", "is empty");
        }
        for (key, value) in [("width", self.width), ("height", self.height)] {
            if value.is_some_and(|v| v == 0 || v > MAX_SIDE) {
                return Err((key, format!("must be from 1 to {MAX_SIDE}")));
            }
        }
        if self.width.is_some() != self.height.is_some() {
            return wrong("width", "and height go together");
        }
        if let Some(fps) = self.fps
            && !FPS.contains(&fps)
        {
            let (least, most) = (FPS.start(), FPS.end());
            let why = format!("is {fps}; it must be from {least} to {most}");
            return wrong("fps", &why);
        }
        if !(10..=3_600_000).contains(&self.timeout_ms) {
            return wrong("timeout_ms", "must be from 10 to 3600000");
        }
        match self.kind {
            Kind::Raw => {
                let (Some(size), Some(format)) = (self.size(), self.format) else {
                    return wrong("kind", "raw needs width, height and format");
                };
                if format == Form::Jpeg {
                    return wrong("format", "of raw frames is not jpeg; use kind = \"mjpeg\"");
                }
                if format.bytes(size).is_none() {
                    return Err(("width", format!("{size} is no whole {format} frame")));
                }
            }
            Kind::V4l2 => {
                if self.wait == Some(true) {
                    return wrong("wait", "is not for cameras: they do not wait");
                }
                if !matches!(self.format, None | Some(Form::Jpeg | Form::Yuyv)) {
                    return wrong("format", "of a camera is jpeg or yuyv");
                }
            }
            Kind::Files | Kind::Mjpeg => {
                if self.size().is_some() {
                    return wrong("width", "is in the pictures themselves for this kind");
                }
                if self.format.is_some() {
                    return wrong("format", "is in the pictures themselves for this kind");
                }
            }
        }
        Ok(())
    }
}

/// Why a word is no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSource(String);

impl fmt::Display for NoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; a source is files:PATH, mjpeg:PATH, v4l2:DEVICE or rgb24:640x480:PATH \
             (yuyv, nv12, yuv420 and grey likewise); - is standard input",
            self.0
        )
    }
}

impl std::error::Error for NoSource {}

impl FromStr for SourceConfig {
    type Err = NoSource;

    /// `kind:place`, or `format:WIDTHxHEIGHT:place` for raw frames.
    fn from_str(text: &str) -> Result<Self, NoSource> {
        let wrong = |why: String| Err(NoSource(why));
        let Some((kind, place)) = text.split_once(':') else {
            return wrong(format!("\"{text}\" names no kind of source"));
        };
        let named = match kind {
            "files" => Some(Kind::Files),
            "mjpeg" => Some(Kind::Mjpeg),
            "v4l2" => Some(Kind::V4l2),
            _ => None,
        };
        let config = if let Some(kind) = named {
            Self::new(kind, place.into())
        } else {
            let Some(format) = Form::named(kind) else {
                return wrong(format!("\"{kind}\" is no kind of source"));
            };
            let size = |(size, place)| Some((size_of(size)?, place));
            let Some((size, place)) = place.split_once(':').and_then(size) else {
                return wrong(format!("\"{place}\" does not begin with WIDTHxHEIGHT:"));
            };
            Self {
                width: Some(size.width),
                height: Some(size.height),
                format: Some(format),
                ..Self::new(Kind::Raw, place.into())
            }
        };
        match config.check() {
            Ok(()) => Ok(config),
            Err((key, why)) => wrong(format!("{key} {why}")),
        }
    }
}

/// `640x480`.
fn size_of(text: &str) -> Option<Size> {
    let (width, height) = text.split_once('x')?;
    Some(Size::new(width.parse().ok()?, height.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SourceConfig {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn a_source_is_one_word() {
        assert_eq!(
            source("mjpeg:-"),
            SourceConfig::new(Kind::Mjpeg, "-".into())
        );
        assert_eq!(source("v4l2:/dev/video0").kind, Kind::V4l2);
        // a colon in a path is part of the path
        assert_eq!(source("files:a:b").path, PathBuf::from("a:b"));
        let raw = source("yuyv:640x480:/run/camera:0");
        assert_eq!(raw.size(), Some(Size::new(640, 480)));
        assert_eq!(raw.format, Some(Form::Yuyv));
        assert_eq!(raw.path, PathBuf::from("/run/camera:0"));
    }

    #[test]
    fn what_is_no_source_says_what_one_is() {
        for (text, why) in [
            ("camera", "names no kind"),
            ("video:x", "\"video\" is no kind"),
            ("rgb24:-", "WIDTHxHEIGHT"),
            ("rgb24:640x:-", "WIDTHxHEIGHT"),
            ("rgb24:0x480:-", "width must be"),
            ("yuyv:641x480:-", "no whole yuyv frame"),
            ("jpeg:640x480:-", "not jpeg"),
            ("mjpeg:", "path is empty"),
        ] {
            let error = text.parse::<SourceConfig>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("files:PATH"), "{text}: {error}");
        }
    }
}
