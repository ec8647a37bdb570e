//! Where frames come from while the program runs: files, pipes and cameras that may vanish and come back.
//!
//! | file | does |
//! |---|---|
//! | `capture/files.rs` | a photo or a folder of photos, once or over and over, at a given rate |
//! | `capture/pipe.rs` | raw pixels or MJPEG on a pipe, a FIFO, standard input or in a file |
//! | `capture/mjpeg.rs` | cuts a stream of bytes into whole JPEG pictures |
//! | `capture/y4m.rs`, `capture/rows.rs` | raw frames that say their size; rows with padding |
//! | `capture/sniff.rs` | what a stream is instead, by its first bytes |
//! | `capture/v4l2.rs` | a camera of the kernel, streamed through mapped buffers |
//! | [`picture`] | what a source hands over, and its pixels as RGB |
//! | [`config`] | how a source is asked for |
//! | [`clock`] | the clock of capture times |
//!
//! A source hands over pictures *as they came* (a JPEG, YUYV …): most cameras are faster than the network, and what is going to be
//! dropped for a newer frame should not have been decoded first. A source blocks for as long as it is told and no longer, never
//! retries by itself and never sleeps on an error: it says that it is lost, and whoever runs it opens a new one.

use std::{fmt, io, time::Duration};

use self::{config::SourceConfig, picture::Picture};

pub mod clock;
pub mod config;
mod files;
mod mjpeg;
pub mod picture;
mod pipe;
mod rows;
mod sniff;
mod v4l2;
mod y4m;

/// What asking for the next frame came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The picture is filled.
    Frame,
    /// Nothing came in the time that was given.
    Nothing,
    /// There will be no more: the files are done, or standard input is closed.
    Ended,
}

/// Why a source cannot deliver. All of them may pass: a camera is plugged in again, a FIFO gets a writer.
#[derive(Debug)]
#[non_exhaustive]
pub enum CaptureError {
    /// It could not be opened, or was there and is gone.
    Lost {
        /// What was asked for.
        source: String,
        /// What the system answered.
        error: io::Error,
    },
    /// It is there and cannot be used as asked.
    Unusable {
        /// What was asked for.
        source: String,
        /// Why.
        reason: String,
    },
    /// The stream is something else than it was called.
    Foreign {
        /// What was asked for.
        source: String,
        /// What it is.
        reason: String,
        /// It will not be anything else: no writer can come and send what was asked for.
        last: bool,
    },
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { source, error } => write!(f, "{source}: {error}"),
            Self::Unusable { source, reason } | Self::Foreign { source, reason, .. } => {
                write!(f, "{source}: {reason}")
            }
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lost { error, .. } => Some(error),
            Self::Unusable { .. } | Self::Foreign { .. } => None,
        }
    }
}

/// A stream of pictures.
pub trait FrameSource: Send {
    /// Waits up to `patience` for the next picture and puts it into `picture`, whose buffer is used again.
    ///
    /// # Errors
    ///
    /// [`CaptureError`] if the source is gone: it is of no more use and wants to be opened again.
    fn next(&mut self, picture: &mut Picture, patience: Duration) -> Result<Next, CaptureError>;

    /// How many pictures were damaged and passed over so far.
    fn damaged(&self) -> u64;

    /// How many bytes it got so far, where it is a stream of bytes.
    fn bytes(&self) -> u64 {
        0
    }

    /// What the stream seems to be, where no picture was in it.
    fn seems(&self) -> Option<&'static str> {
        None
    }
}

/// For a fuzz target: how many bytes of a stream of JPEGs, which comes in pieces, are in its pictures.
#[cfg(fuzzing)]
pub fn cut(stream: &[u8], piece: usize) -> usize {
    let (mut cutter, mut bytes) = (mjpeg::Cutter::new(picture::MAX_JPEG_BYTES), 0);
    for piece in stream.chunks(piece) {
        cutter.push(piece);
        while let Some(picture) = cutter.next() {
            bytes += picture.len();
        }
    }
    // an end marker that was missing is ours
    bytes - 2 * usize::try_from(cutter.endless()).expect("no more pictures than bytes")
}

/// Opens what a configuration asks for; a photo of more than `limit` pixels counts as damaged, and a stream of frames that have more is
/// none.
///
/// # Errors
///
/// [`CaptureError`] if it is not there now, or cannot be used.
pub fn open(config: &SourceConfig, limit: u64) -> Result<Box<dyn FrameSource>, CaptureError> {
    Ok(match config.kind {
        config::Kind::Files => Box::new(files::Files::open(config, limit)?),
        config::Kind::Mjpeg => Box::new(pipe::Mjpeg::open(config, limit)?),
        config::Kind::Raw => Box::new(pipe::Raw::open(config)?),
        config::Kind::Y4m => Box::new(pipe::Y4m::open(config, limit)?),
        config::Kind::V4l2 => Box::new(v4l2::Camera::open(config, limit)?),
    })
}
