//! Raw frames or MJPEG from a pipe, a FIFO, standard input or a file.
//!
//! A FIFO without a writer is waited for; when its writer leaves, the source is lost, and opened again it waits for the next one.
//! Standard input that is closed has ended. So has a file, unless it is to be repeated.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    CaptureError, FrameSource, Next,
    clock::monotonic_ns,
    config::SourceConfig,
    mjpeg::Cutter,
    picture::{Form, Picture},
};
use crate::geometry::Size;

/// What a pipe is asked to hold, so that a frame needs few system calls; the kernel's limit for everybody.
const PIPE_BYTES: usize = 1 << 20;

/// An open stream of bytes.
#[derive(Debug)]
struct Stream {
    file: File,
    name: String,
    /// What the end of the stream means.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A writer left; another one may come.
    Lost,
    /// There is no more.
    Final,
    /// Start again.
    Rewind,
}

/// What a read came to.
enum Got {
    Bytes(usize),
    Nothing,
    Ended,
    /// The file begins again.
    Rewound,
}

impl Stream {
    fn open(config: &SourceConfig) -> Result<Self, CaptureError> {
        let name = config.name();
        let lost = |error| CaptureError::Lost {
            source: name.clone(),
            error,
        };
        if config.path == Path::new("-") {
            let fd = rustix::stdio::stdin().try_clone_to_owned().map_err(lost)?;
            let _ = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_BYTES);
            return Ok(Self {
                file: File::from(fd),
                name,
                end: End::Final,
            });
        }
        // opened without waiting: a FIFO may have no writer for hours
        let file = File::options()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&config.path)
            .map_err(lost)?;
        let kind = file.metadata().map_err(lost)?.file_type();
        let end = if kind.is_file() {
            if config.repeat {
                End::Rewind
            } else {
                End::Final
            }
        } else if kind.is_dir() {
            return Err(lost(io::ErrorKind::IsADirectory.into()));
        } else {
            if kind.is_fifo() {
                // best effort: without it frames only take more reads
                let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_BYTES);
            }
            End::Lost
        };
        Ok(Self { file, name, end })
    }

    /// Waits up to a moment for bytes and reads what there is.
    fn read(&mut self, into: &mut [u8], until: Instant) -> Result<Got, CaptureError> {
        let lost = |error| CaptureError::Lost {
            source: self.name.clone(),
            error,
        };
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().min(3600).cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Got::Nothing),
            Ok(_) => {}
            Err(e) => return Err(lost(e.into())),
        }
        match self.file.read(into) {
            Ok(0) if into.is_empty() => Ok(Got::Nothing),
            Ok(0) => match self.end {
                End::Final => Ok(Got::Ended),
                End::Lost => Err(lost(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the writer closed it",
                ))),
                End::Rewind => {
                    self.file.rewind().map_err(lost)?;
                    Ok(Got::Rewound)
                }
            },
            Ok(n) => Ok(Got::Bytes(n)),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(Got::Nothing)
            }
            Err(e) => Err(lost(e)),
        }
    }
}

/// Holds a file's frames to a rate; pipes set their own.
#[derive(Debug)]
pub(super) struct Pace {
    period: Option<Duration>,
    due: Instant,
}

/// More than any rate that is taken asks for.
const LONGEST: Duration = Duration::from_secs(1000);

impl Pace {
    pub(super) fn new(fps: Option<f32>) -> Self {
        Self {
            // a configuration that was checked is in the range; another must not stop the thread
            period: fps.map(|fps| {
                let period = Duration::try_from_secs_f32(1.0 / fps);
                period.unwrap_or(LONGEST).min(LONGEST)
            }),
            due: Instant::now(),
        }
    }

    /// Sleeps until the next frame is due, but no longer than `patience`; whether it is due now.
    pub(super) fn wait(&mut self, patience: Duration) -> bool {
        let Some(period) = self.period else {
            return true;
        };
        let now = Instant::now();
        let left = self.due.saturating_duration_since(now);
        std::thread::sleep(left.min(patience));
        if left > patience {
            return false;
        }
        // after a pause the lost time is not made up for
        self.due = (self.due + period).max(now);
        true
    }
}

/// Frames of raw pixels.
#[derive(Debug)]
pub(super) struct Raw {
    stream: Stream,
    form: Form,
    size: Size,
    bytes: usize,
    /// How much of the current frame has come.
    filled: usize,
    partial: Vec<u8>,
    sequence: u64,
    damaged: u64,
    pace: Pace,
}

impl Raw {
    pub(super) fn open(config: &SourceConfig) -> Result<Self, CaptureError> {
        let unusable = || CaptureError::Unusable {
            source: config.name(),
            reason: "raw frames need width, height and format".into(),
        };
        let (size, form) = config.size().zip(config.format).ok_or_else(unusable)?;
        let bytes = form.bytes(size).ok_or_else(unusable)?;
        Ok(Self {
            stream: Stream::open(config)?,
            form,
            size,
            bytes,
            filled: 0,
            partial: vec![0; bytes],
            sequence: 0,
            damaged: 0,
            pace: Pace::new(config.fps),
        })
    }
}

impl FrameSource for Raw {
    fn next(&mut self, picture: &mut Picture, patience: Duration) -> Result<Next, CaptureError> {
        if self.filled == 0 && !self.pace.wait(patience) {
            return Ok(Next::Nothing);
        }
        let until = Instant::now() + patience;
        while self.filled < self.bytes {
            match self.stream.read(&mut self.partial[self.filled..], until)? {
                Got::Bytes(n) => self.filled += n,
                Got::Nothing if Instant::now() >= until => return Ok(Next::Nothing),
                Got::Nothing => {}
                end @ (Got::Ended | Got::Rewound) => {
                    self.damaged += u64::from(self.filled > 0);
                    self.filled = 0;
                    if matches!(end, Got::Ended) {
                        return Ok(Next::Ended);
                    }
                }
            }
        }
        self.filled = 0;
        // the buffers change places: nothing is copied, and both have the length of a frame from the second frame on
        std::mem::swap(&mut picture.bytes, &mut self.partial);
        self.partial.resize(self.bytes, 0);
        picture.form = self.form;
        picture.size = self.size;
        picture.captured_ns = monotonic_ns();
        picture.captured = SystemTime::now();
        picture.sequence = self.sequence;
        self.sequence += 1;
        Ok(Next::Frame)
    }

    fn damaged(&self) -> u64 {
        self.damaged
    }
}

/// JPEG pictures one after another.
#[derive(Debug)]
pub(super) struct Mjpeg {
    stream: Stream,
    cutter: Cutter,
    buffer: Vec<u8>,
    sequence: u64,
    pace: Pace,
}

impl Mjpeg {
    pub(super) fn open(config: &SourceConfig) -> Result<Self, CaptureError> {
        Ok(Self {
            stream: Stream::open(config)?,
            cutter: Cutter::new(),
            buffer: vec![0; 1 << 17],
            sequence: 0,
            pace: Pace::new(config.fps),
        })
    }
}

impl FrameSource for Mjpeg {
    fn next(&mut self, picture: &mut Picture, patience: Duration) -> Result<Next, CaptureError> {
        let until = Instant::now() + patience;
        if !self.pace.wait(patience) {
            return Ok(Next::Nothing);
        }
        loop {
            if let Some(jpeg) = self.cutter.next() {
                picture.bytes.clear();
                picture.bytes.extend_from_slice(jpeg);
                picture.form = Form::Jpeg;
                picture.size = Size::new(0, 0);
                picture.captured_ns = monotonic_ns();
                picture.captured = SystemTime::now();
                picture.sequence = self.sequence;
                self.sequence += 1;
                return Ok(Next::Frame);
            }
            match self.stream.read(&mut self.buffer, until)? {
                Got::Bytes(n) => self.cutter.push(&self.buffer[..n]),
                Got::Nothing if Instant::now() >= until => return Ok(Next::Nothing),
                Got::Nothing => {}
                Got::Ended => {
                    self.cutter.interrupt();
                    return Ok(Next::Ended);
                }
                Got::Rewound => self.cutter.interrupt(),
            }
        }
    }

    fn damaged(&self) -> u64 {
        self.cutter.damaged()
    }
}
