//! How a source is asked for, in a configuration file or in one word on the command line.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::{picture::Form, rows};
use crate::{frame::file::is_url, geometry::Size};

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
    /// YUV4MPEG2, likewise: raw frames that say their size.
    Y4m,
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
    /// Bytes from one row of a raw frame to the next, of its first plane; without it rows follow
    /// one another without padding. Planes of half the width have half of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<u32>,
    /// Layout of raw pixels; of a camera, the only one to accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Form>,
    /// Frames per second: of files, how fast they follow one another (and 30 is what a recording
    /// without it is taken to have); of a camera, what it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f32>,
    /// Files from the start again when all were shown.
    #[serde(default)]
    pub repeat: bool,
    /// Every frame is looked at: the source waits instead of losing frames. Not for cameras; of
    /// photos without `fps`, and of streams in regular files, it is the default.
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
            stride: None,
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
            Kind::Y4m => "y4m",
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
        self.wait.unwrap_or_else(|| match self.kind {
            Kind::Files => self.fps.is_none(),
            Kind::V4l2 => false,
            Kind::Mjpeg | Kind::Raw | Kind::Y4m => self.on_disk(),
        })
    }

    /// Whether it is a recording: its frames have times of their own, the same whenever and
    /// wherever it is looked at. What is shown over and over has no end, and its frames the times
    /// at which they are shown.
    #[must_use]
    pub fn recorded(&self) -> bool {
        self.waits() && self.on_disk() && !self.repeat
    }

    /// Whether it lies there whole: a regular file, or a folder of photos.
    fn on_disk(&self) -> bool {
        if self.path == Path::new("-") {
            return rustix::fs::fstat(rustix::stdio::stdin()).is_ok_and(|about| {
                FileType::from_raw_mode(about.st_mode) == FileType::RegularFile
            });
        }
        let folders = self.kind == Kind::Files;
        (self.path.metadata()).is_ok_and(|about| about.is_file() || (folders && about.is_dir()))
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
        if is_url(&self.path) && !self.path.exists() {
            return wrong(
                "path",
                "is a URL, and there is no network here: a program that fetches may write to a pipe",
            );
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
        if self.stride.is_some() && self.kind != Kind::Raw {
            return wrong("stride", "is for raw frames only");
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
                if let Some(stride) = self.stride {
                    let least = rows::row_bytes(format, size.width);
                    let most = 4 * MAX_SIDE;
                    if (stride as usize) < least || stride > most {
                        let why = format!(
                            "is {stride}: a row of {format} has {least} bytes, and at most {most}"
                        );
                        return Err(("stride", why));
                    }
                    if format == Form::Yuv420 && stride % 2 != 0 {
                        return wrong(
                            "stride",
                            "of yuv420 must be even: its planes of colour have half of it",
                        );
                    }
                }
            }
            Kind::V4l2 => {
                if self.wait == Some(true) {
                    return wrong("wait", "is not for cameras: they do not wait");
                }
            }
            Kind::Files | Kind::Mjpeg | Kind::Y4m => {
                if self.kind == Kind::Files && self.path.as_os_str() == "-" {
                    return wrong("path", "of files is no stream; mjpeg reads standard input");
                }
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
            "{}; a source is files:PATH, mjpeg:PATH, y4m:PATH, v4l2:DEVICE or rgb24:640x480:PATH \
             (yuyv, uyvy, nv12, yuv420 and grey likewise; yuv420:800x600/832:PATH has rows of 832 bytes); - is standard input",
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
            "y4m" => Some(Kind::Y4m),
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
            let Some(((size, stride), place)) = place.split_once(':').and_then(size) else {
                return wrong(format!("\"{place}\" does not begin with WIDTHxHEIGHT:"));
            };
            Self {
                width: Some(size.width),
                height: Some(size.height),
                stride,
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

/// `640x480`, or `800x600/832` with the bytes of a row.
fn size_of(text: &str) -> Option<(Size, Option<u32>)> {
    let (size, stride) = match text.split_once('/') {
        Some((size, stride)) => (size, Some(stride.parse().ok()?)),
        None => (text, None),
    };
    let (width, height) = size.split_once('x')?;
    Some((Size::new(width.parse().ok()?, height.parse().ok()?), stride))
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
        assert_eq!(source("yuv420:800x600/832:-").stride, Some(832));
        assert_eq!(source("y4m:-").kind, Kind::Y4m);
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
            ("yuv420:800x600/799:-", "a row of yuv420 has 800 bytes"),
            ("yuv420:800x600/833:-", "must be even"),
            ("rgb24:800x600/999999:-", "at most 65536"),
            ("mjpeg:", "path is empty"),
            ("mjpeg:rtsp://camera/1", "no network here"),
            ("files:-", "mjpeg reads standard input"),
        ] {
            let error = text.parse::<SourceConfig>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("files:PATH"), "{text}: {error}");
        }
    }
}
