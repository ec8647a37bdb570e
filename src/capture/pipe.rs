//! Raw frames, Y4M or MJPEG from a pipe, a FIFO, standard input or a file.
//!
//! A FIFO without a writer is waited for; when its writer leaves, the source is lost, and opened
//! again it waits for the next one. Standard input that is closed has ended. So has a file, unless
//! it is to be repeated. A regular file is a recording: nothing of it is lost, and its times are
//! its own ([`Stamps`]).

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    CaptureError, FrameSource, Next,
    clock::Stamps,
    config::SourceConfig,
    mjpeg::Cutter,
    picture::{Form, Picture, jpeg_bytes},
    rows,
    sniff::{self, Known},
    y4m::{self, Header},
};
use crate::{frame::slim, geometry::Size};

/// What a pipe is asked to hold, so that a frame needs few system calls; the kernel's limit for everybody.
const PIPE_BYTES: usize = 1 << 20;

/// An open stream of bytes.
#[derive(Debug)]
struct Stream {
    file: File,
    name: String,
    /// What the end of the stream means.
    end: End,
    /// Bytes that were read.
    total: u64,
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
                total: 0,
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
        Ok(Self {
            file,
            name,
            end,
            total: 0,
        })
    }

    /// The stream is something else.
    fn foreign(&self, (what, hint): Known, asked: &str) -> CaptureError {
        let hint = if hint.is_empty() {
            String::new()
        } else {
            format!("; {hint}")
        };
        self.refused(format!("this is {what}, not {asked}{hint}"))
    }

    fn refused(&self, reason: String) -> CaptureError {
        CaptureError::Foreign {
            source: self.name.clone(),
            reason,
            last: self.end != End::Lost,
        }
    }

    /// How long it is, if it is a regular file.
    fn length(&self) -> Option<u64> {
        let about = self.file.metadata().ok()?;
        about.is_file().then_some(about.len())
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
            Ok(n) => {
                self.total += n as u64;
                Ok(Got::Bytes(n))
            }
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
    /// Of a frame, padding included.
    bytes: usize,
    /// From one row to the next, where rows have padding.
    stride: Option<usize>,
    /// How much of the current frame has come.
    filled: usize,
    partial: Vec<u8>,
    sequence: u64,
    damaged: u64,
    pace: Pace,
    stamps: Stamps,
    /// The bytes before were seen to be no file of a known kind.
    known: bool,
}

impl Raw {
    pub(super) fn open(config: &SourceConfig) -> Result<Self, CaptureError> {
        let unusable = || CaptureError::Unusable {
            source: config.name(),
            reason: "raw frames need width, height and format".into(),
        };
        let (size, form) = config.size().zip(config.format).ok_or_else(unusable)?;
        let bytes = form.bytes(size).ok_or_else(unusable)?;
        let stride = config.stride.map(|stride| stride as usize);
        let bytes = stride.map_or(bytes, |stride| rows::padded_bytes(form, size, stride));
        let stream = Stream::open(config)?;
        if let Some(length) = stream.length() {
            check_length(&stream.name, length, (form, size), bytes);
        }
        Ok(Self {
            stream,
            form,
            size,
            bytes,
            stride,
            filled: 0,
            partial: vec![0; bytes],
            sequence: 0,
            damaged: 0,
            pace: Pace::new(config.fps),
            stamps: Stamps::of(config, None),
            known: false,
        })
    }
}

/// Says that a file is no multiple of the frame, and whether padding of rows would explain it.
fn check_length(name: &str, length: u64, (form, size): (Form, Size), bytes: usize) {
    let left = length % bytes as u64;
    if left == 0 {
        return;
    }
    let row = rows::row_bytes(form, size.width);
    let padded = [16, 32, 64, 128, 256].map(|to| row.next_multiple_of(to));
    let fits = |stride: &&usize| {
        let bytes = rows::padded_bytes(form, size, **stride) as u64;
        **stride > row && length >= bytes && length.is_multiple_of(bytes)
    };
    let hint = padded.iter().find(fits).map(|stride| {
        format!("; it would be with stride = {stride}, as cameras pad rows of {row} bytes")
    });
    log::warn!(
        "{name}: {length} bytes are no multiple of a {form} frame of {size}, {bytes} bytes: {left} are left over{}",
        hint.unwrap_or_default()
    );
}

impl FrameSource for Raw {
    fn next(&mut self, picture: &mut Picture, patience: Duration) -> Result<Next, CaptureError> {
        if self.filled == 0 && !self.pace.wait(patience) {
            return Ok(Next::Nothing);
        }
        let until = Instant::now() + patience;
        while self.filled < self.bytes {
            match self.stream.read(&mut self.partial[self.filled..], until)? {
                Got::Bytes(n) => {
                    self.filled += n;
                    if !self.known && self.filled >= sniff::HEAD.min(self.bytes) {
                        self.known = true;
                        let head = &self.partial[..self.filled.min(sniff::HEAD)];
                        if let Some(what) = sniff::container(head) {
                            return Err(self.stream.foreign(what, "raw pixels"));
                        }
                    }
                }
                Got::Nothing if Instant::now() >= until => return Ok(Next::Nothing),
                Got::Nothing => {}
                end @ (Got::Ended | Got::Rewound) => {
                    if matches!(end, Got::Rewound) && self.sequence == 0 {
                        // round and round without one frame
                        return Ok(Next::Ended);
                    }
                    self.damaged += u64::from(self.filled > 0);
                    self.filled = 0;
                    if matches!(end, Got::Ended) {
                        return Ok(Next::Ended);
                    }
                }
            }
        }
        self.filled = 0;
        if let Some(stride) = self.stride {
            rows::unpad(
                self.form,
                self.size,
                stride,
                &self.partial,
                &mut picture.bytes,
            );
        } else {
            // the buffers change places: nothing is copied, and both have the length of a frame
            // from the second frame on
            std::mem::swap(&mut picture.bytes, &mut self.partial);
            self.partial.resize(self.bytes, 0);
        }
        picture.form = self.form;
        picture.size = self.size;
        self.stamps.put(self.sequence, self.damaged, picture);
        self.sequence += 1;
        Ok(Next::Frame)
    }

    fn damaged(&self) -> u64 {
        self.damaged
    }

    fn bytes(&self) -> u64 {
        self.stream.total
    }
}

/// YUV4MPEG2.
#[derive(Debug)]
pub(super) struct Y4m {
    stream: Stream,
    config: SourceConfig,
    /// The most pixels of a frame.
    limit: u64,
    header: Option<Header>,
    /// What came and is not used yet, and how much of it is.
    held: Vec<u8>,
    used: usize,
    buffer: Vec<u8>,
    sequence: u64,
    damaged: u64,
    pace: Pace,
    stamps: Stamps,
}

impl Y4m {
    pub(super) fn open(config: &SourceConfig, limit: u64) -> Result<Self, CaptureError> {
        Ok(Self {
            stream: Stream::open(config)?,
            config: config.clone(),
            limit,
            header: None,
            held: Vec::new(),
            used: 0,
            buffer: vec![0; 1 << 17],
            sequence: 0,
            damaged: 0,
            pace: Pace::new(config.fps),
            stamps: Stamps::Live,
        })
    }

    /// A line of what came, without its line feed.
    fn line(&mut self) -> Result<Option<&[u8]>, CaptureError> {
        let rest = &self.held[self.used..];
        let Some(length) = rest.iter().position(|&b| b == b'\n') else {
            if rest.len() > y4m::MAX_LINE {
                return Err(self.wrong(format!("a line without end among {} bytes", rest.len())));
            }
            return Ok(None);
        };
        let from = self.used;
        self.used += length + 1;
        Ok(Some(&self.held[from..from + length]))
    }

    /// The stream is no Y4M, or is no more.
    fn wrong(&self, reason: String) -> CaptureError {
        match (self.header, sniff::video(&self.held)) {
            (None, Some(what)) if what.0 != "Y4M" => self.stream.foreign(what, "Y4M"),
            _ => self.stream.refused(format!("this is no Y4M: {reason}")),
        }
    }

    /// The next frame, if all of it has come.
    fn frame(&mut self, picture: &mut Picture) -> Result<bool, CaptureError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let begins = b"YUV4MPEG2";
                let start = &self.held[..self.held.len().min(begins.len())];
                if !begins.starts_with(start) {
                    return Err(self.wrong("it does not begin with YUV4MPEG2".into()));
                }
                let Some(line) = self.line()? else {
                    return Ok(false);
                };
                let header = Header::read(line).map_err(|why| self.wrong(why))?;
                if header.size.pixels() > self.limit {
                    return Err(self.stream.refused(format!(
                        "its frames are {}: {} pixels where at most {} are taken (limits.pixels)",
                        header.size,
                        header.size.pixels(),
                        self.limit
                    )));
                }
                self.stamps = Stamps::of(&self.config, header.fps);
                *self.header.insert(header)
            }
        };
        let before = self.used;
        let Some(line) = self.line()? else {
            return Ok(false);
        };
        if line != b"FRAME" && !line.starts_with(b"FRAME ") {
            let why = format!("no FRAME where frame {} begins", self.sequence + 1);
            return Err(self.wrong(why));
        }
        let Some(bytes) = self.held.get(self.used..self.used + header.bytes()) else {
            self.used = before;
            return Ok(false);
        };
        header.convert(bytes, &mut picture.bytes);
        self.used += header.bytes();
        picture.form = Form::Rgb24;
        picture.size = header.size;
        Ok(true)
    }
}

impl FrameSource for Y4m {
    fn next(&mut self, picture: &mut Picture, patience: Duration) -> Result<Next, CaptureError> {
        let until = Instant::now() + patience;
        if !self.pace.wait(patience) {
            return Ok(Next::Nothing);
        }
        loop {
            if self.frame(picture)? {
                self.stamps.put(self.sequence, self.damaged, picture);
                self.sequence += 1;
                return Ok(Next::Frame);
            }
            let got = self.stream.read(&mut self.buffer, until)?;
            match got {
                Got::Bytes(n) => {
                    self.held.drain(..self.used);
                    self.used = 0;
                    self.held.extend_from_slice(&self.buffer[..n]);
                }
                Got::Nothing if Instant::now() >= until => return Ok(Next::Nothing),
                Got::Nothing => {}
                Got::Ended | Got::Rewound => {
                    self.damaged += u64::from(self.used < self.held.len());
                    self.held.clear();
                    (self.used, self.header) = (0, None);
                    if matches!(got, Got::Ended) || self.sequence == 0 {
                        return Ok(Next::Ended);
                    }
                }
            }
        }
    }

    fn damaged(&self) -> u64 {
        self.damaged
    }

    fn bytes(&self) -> u64 {
        self.stream.total
    }
}

/// JPEG pictures one after another.
#[derive(Debug)]
pub(super) struct Mjpeg {
    stream: Stream,
    cutter: Cutter,
    buffer: Vec<u8>,
    /// The first bytes.
    head: Vec<u8>,
    /// Whether it was said that end markers are missing.
    told: bool,
    sequence: u64,
    pace: Pace,
    stamps: Stamps,
}

impl Mjpeg {
    pub(super) fn open(config: &SourceConfig, limit: u64) -> Result<Self, CaptureError> {
        Ok(Self {
            stream: Stream::open(config)?,
            cutter: Cutter::new(jpeg_bytes(limit)),
            buffer: vec![0; 1 << 17],
            head: Vec::new(),
            told: false,
            sequence: 0,
            pace: Pace::new(config.fps),
            stamps: Stamps::of(config, None),
        })
    }

    /// Remembers the first bytes, and knows by them what is no MJPEG.
    fn look(&mut self, n: usize) -> Result<(), CaptureError> {
        let room = sniff::HEAD - self.head.len();
        if room == 0 {
            return Ok(());
        }
        self.head.extend_from_slice(&self.buffer[..n.min(room)]);
        // with a picture in it, it is what was asked for, whatever stands before
        match sniff::video(&self.head) {
            Some(what) if self.sequence == 0 => Err(self.stream.foreign(what, "MJPEG")),
            _ => Ok(()),
        }
    }

    /// Hands a picture over.
    fn put(&mut self, picture: &mut Picture) -> Next {
        if self.cutter.endless() > 0 && !self.told {
            self.told = true;
            log::warn!(
                "{}: pictures have no end marker; those whose scans are complete are taken",
                self.stream.name
            );
        }
        picture.form = Form::Jpeg;
        picture.size = Size::new(0, 0);
        let damaged = self.cutter.damaged();
        self.stamps.put(self.sequence, damaged, picture);
        self.sequence += 1;
        Next::Frame
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
                slim(&mut picture.bytes, jpeg.len());
                picture.bytes.extend_from_slice(jpeg);
                return Ok(self.put(picture));
            }
            let got = self.stream.read(&mut self.buffer, until)?;
            match got {
                Got::Bytes(n) => {
                    self.look(n)?;
                    self.cutter.push(&self.buffer[..n]);
                }
                Got::Nothing if Instant::now() >= until => return Ok(Next::Nothing),
                Got::Nothing => {}
                Got::Ended | Got::Rewound => {
                    if let Some(jpeg) = self.cutter.last() {
                        picture.bytes.clear();
                        picture.bytes.extend_from_slice(jpeg);
                        return Ok(self.put(picture));
                    }
                    self.cutter.interrupt();
                    // round and round without one picture is no stream either
                    if matches!(got, Got::Ended) || self.sequence == 0 {
                        return Ok(Next::Ended);
                    }
                }
            }
        }
    }

    fn damaged(&self) -> u64 {
        self.cutter.damaged()
    }

    fn bytes(&self) -> u64 {
        self.stream.total
    }

    fn seems(&self) -> Option<&'static str> {
        if self.sequence == 0 {
            sniff::seems(&self.head)
        } else {
            None
        }
    }
}
