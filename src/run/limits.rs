//! `[limits]`: what the loop takes at most.

use serde::{Deserialize, Serialize};

use crate::{
    capture::{
        config::{Kind, SourceConfig},
        picture::DEFAULT_LIMIT,
    },
    frame::file::MAX_PIXELS,
};

/// `[limits]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most pixels of a frame that is decoded; a larger one counts as damaged. None: of photos 64 Mi, of cameras four times the
    /// frame that the source is asked for, and not less than four times 1920x1080.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<u64>,
}

impl Limits {
    /// The most pixels of a frame of this source.
    #[must_use]
    pub fn pixels_of(&self, source: &SourceConfig) -> u64 {
        let usual = match source.kind {
            Kind::Files => MAX_PIXELS,
            _ => {
                let asked = source.size().map_or(0, |size| size.pixels() * 4);
                asked.max(DEFAULT_LIMIT).min(MAX_PIXELS)
            }
        };
        self.pixels.unwrap_or(usual)
    }

    /// What cannot be, by the name of the key at fault.
    ///
    /// # Errors
    ///
    /// The key and a sentence about it.
    pub fn check(&self, source: Option<&SourceConfig>) -> Result<(), (&'static str, String)> {
        let Some(pixels) = self.pixels else {
            return Ok(());
        };
        if !(1..=MAX_PIXELS).contains(&pixels) {
            return Err(("pixels", format!("must be from 1 to {MAX_PIXELS}")));
        }
        let asked = source.and_then(SourceConfig::size);
        match asked.filter(|size| size.pixels() > pixels) {
            Some(size) => Err((
                "pixels",
                format!(
                    "is {pixels}, and a frame of {size}, which the source is asked for, has {}",
                    size.pixels()
                ),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_it_follows_from_the_source() {
        let of = |source: &str| Limits::default().pixels_of(&source.parse().expect("a source"));
        assert_eq!(of("files:photos"), 64 << 20);
        // a frame of 4K
        assert_eq!(of("mjpeg:-"), 3840 * 2160);
        assert_eq!(of("rgb24:4056x3040:-"), 4 * 4056 * 3040);
        let limits = Limits { pixels: Some(5) };
        assert_eq!(limits.pixels_of(&"mjpeg:-".parse().expect("a source")), 5);
    }

    #[test]
    fn a_limit_below_what_the_source_is_asked_for_is_refused_with_both_numbers() {
        let source: SourceConfig = "grey:640x480:-".parse().expect("a source");
        let (key, why) = Limits {
            pixels: Some(307_199),
        }
        .check(Some(&source))
        .expect_err("one pixel less");
        assert_eq!(key, "pixels");
        assert!(why.contains("307199") && why.contains("307200"), "{why}");
        assert!(
            Limits {
                pixels: Some(307_200)
            }
            .check(Some(&source))
            .is_ok()
        );
        assert!(Limits { pixels: Some(0) }.check(None).is_err());
    }
}
