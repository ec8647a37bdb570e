//! A photo or a folder of photos as a stream, once or over and over.
//!
//! Files are read again every time, so that a picture which another program replaces is seen, and one that is removed is missed.

use std::{io, path::PathBuf, time::Duration};

use super::{
    CaptureError, FrameSource, Next,
    clock::Stamps,
    config::SourceConfig,
    picture::{Form, Picture},
    pipe::Pace,
};
use crate::frame::{FrameError, file::Photo, folder::Walk};

/// Photos, one after another.
#[derive(Debug)]
pub(super) struct Files {
    name: String,
    path: PathBuf,
    /// The most pixels of a photo.
    limit: u64,
    repeat: bool,
    /// What is still to be shown, the next one last.
    left: Vec<PathBuf>,
    sequence: u64,
    damaged: u64,
    /// Whether this round has shown a picture; without one, going round again would never wait.
    shown: bool,
    pace: Pace,
    stamps: Stamps,
    /// Whether what is no photo was named.
    told: bool,
}

impl Files {
    pub(super) fn open(config: &SourceConfig, limit: u64) -> Result<Self, CaptureError> {
        let mut files = Self {
            name: config.name(),
            path: config.path.clone(),
            limit,
            repeat: config.repeat,
            left: Vec::new(),
            sequence: 0,
            damaged: 0,
            shown: true,
            pace: Pace::new(config.fps),
            stamps: Stamps::of(config, None),
            told: false,
        };
        files.begin()?;
        Ok(files)
    }

    /// A new round over what there is now.
    fn begin(&mut self) -> Result<(), CaptureError> {
        if !self.shown {
            return Err(CaptureError::Unusable {
                source: self.name.clone(),
                reason: "no picture in it can be read".into(),
            });
        }
        self.shown = false;
        let listing = Walk::default().list(&self.path).map_err(|e| self.lost(e))?;
        if !std::mem::replace(&mut self.told, true) {
            for other in &listing.others {
                log::warn!("{other}; passed over");
            }
        }
        if listing.photos.is_empty() {
            let path = self.path.clone();
            return Err(self.lost(FrameError::NoImages { path }));
        }
        self.left = listing.photos;
        self.left.reverse();
        Ok(())
    }

    fn lost(&self, e: FrameError) -> CaptureError {
        CaptureError::Lost {
            source: self.name.clone(),
            error: match e {
                FrameError::Read { source, .. } => source,
                other => io::Error::other(other),
            },
        }
    }
}

impl FrameSource for Files {
    fn next(&mut self, picture: &mut Picture, patience: Duration) -> Result<Next, CaptureError> {
        if !self.pace.wait(patience) {
            return Ok(Next::Nothing);
        }
        loop {
            let Some(path) = self.left.pop() else {
                if !self.repeat {
                    return Ok(Next::Ended);
                }
                self.begin()?;
                continue;
            };
            // while the next photo is decoded, the last one's pixels are no use
            picture.bytes = Vec::new();
            match Photo::open_within(&path, self.limit) {
                Ok(image) => {
                    picture.form = Form::Rgb24;
                    picture.size = image.size();
                    picture.bytes = image.into_pixels();
                    self.stamps.put(self.sequence, self.damaged, picture);
                    self.sequence += 1;
                    self.shown = true;
                    return Ok(Next::Frame);
                }
                // of a folder, one file may go at any time
                Err(e @ FrameError::Read { .. }) if path == self.path => return Err(self.lost(e)),
                Err(e @ FrameError::TooManyPixels { .. }) => {
                    log::warn!("{e} (limits.pixels); passed over");
                    self.damaged += 1;
                }
                Err(e) => {
                    log::warn!("{e}; passed over");
                    self.damaged += 1;
                }
            }
        }
    }

    fn damaged(&self) -> u64 {
        self.damaged
    }
}
