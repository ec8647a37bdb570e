//! A camera of the kernel, through mapped buffers.
//!
//! Opened without waiting, read through `poll`: a driver that stops delivering costs a timeout and never the thread. A camera that
//! is pulled out answers `ENODEV` and is lost, and so is one that delivers nothing for as long as the configuration allows: a stalled
//! USB camera wakes up when its stream is stopped and started. Opening it again is the caller's business. Pictures are copied out of the driver's
//! buffers at once (0.1 ms for a VGA frame of YUYV), so that the driver never runs out of them.
//!
//! What is asked for first is YUYV up to 640×480 (or UYVY, NV12, YU12), which costs nothing to
//! decode, and above that MJPEG, which is what fits through USB 2; RGB3 and GREY, as infrared
//! cameras have it, come last. Cameras behind an image signal processor without a streaming
//! interface of one plane (the Raspberry Pi's own, most of NXP's and Rockchip's) are read through a
//! pipe instead.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    time::{Duration, Instant, SystemTime},
};

use memmap2::Mmap;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    CaptureError, FrameSource, Next,
    clock::monotonic_ns,
    config::SourceConfig,
    picture::{Form, Picture, jpeg_bytes},
    rows::{row_bytes, unpad},
};
use crate::geometry::Size;

mod sys;

use sys::{Buffer, Capability, Format, PixFormat, RequestBuffers, StreamParameters, exchange};

/// Buffers asked for: one being filled, one waiting, two for when this thread is late.
const BUFFERS: u32 = 4;

/// A camera's time stamp is believed if it is younger than this.
const MAX_AGE_NS: u64 = 5_000_000_000;

/// A streaming camera.
#[derive(Debug)]
pub(super) struct Camera {
    name: String,
    device: File,
    buffers: Vec<Mmap>,
    form: Form,
    size: Size,
    /// From one row of raw pixels to the next in the driver's buffers.
    row_bytes: usize,
    sequence: u64,
    damaged: u64,
    /// The longest JPEG that is taken.
    longest: usize,
    /// Without a picture for this long it is lost.
    timeout: Duration,
    /// When the last picture came, or the stream began.
    heard: Instant,
}

impl Camera {
    pub(super) fn open(config: &SourceConfig, limit: u64) -> Result<Self, CaptureError> {
        let name = config.name();
        let lost = |error| CaptureError::Lost {
            source: config.name(),
            error,
        };
        let unusable = |reason: String| CaptureError::Unusable {
            source: config.name(),
            reason,
        };
        let device = File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&config.path)
            .map_err(|e| match e.kind() {
                io::ErrorKind::PermissionDenied => lost(io::Error::new(
                    e.kind(),
                    format!("{e}; is this user in the device's group, video as a rule?"),
                )),
                _ => lost(e),
            })?;

        let mut about = Capability::default();
        exchange::<{ sys::QUERYCAP }, _>(&device, &mut about)
            .map_err(|e| unusable(format!("is no video device: {e}")))?;
        let can = if about.capabilities & sys::CAP_DEVICE_CAPS == 0 {
            about.capabilities
        } else {
            about.device_caps
        };
        if can & sys::CAP_VIDEO_CAPTURE == 0 {
            return Err(unusable(
                if can & sys::CAP_VIDEO_CAPTURE_MPLANE == 0 {
                    "takes no pictures (many cameras have a second device that does not)"
                } else {
                    "delivers planes apart, which is not supported; use its own program and a pipe"
                }
                .into(),
            ));
        }
        if can & sys::CAP_STREAMING == 0 {
            return Err(unusable("cannot stream through mapped buffers".into()));
        }

        let (form, pix) = negotiate(&device, config).map_err(unusable)?;
        if let Some(fps) = config.fps {
            // best effort: many drivers know one rate only
            let mut rate = StreamParameters::new(1000, (fps * 1000.0) as u32);
            if let Err(e) = exchange::<{ sys::S_PARM }, _>(&device, &mut rate) {
                log::info!("{name}: does not take a rate: {e}");
            }
        }
        let size = Size::new(pix.width, pix.height);
        if size.pixels() > limit {
            return Err(unusable(format!(
                "delivers {size}: {} pixels where at most {limit} are taken (limits.pixels)",
                size.pixels()
            )));
        }
        let buffers = stream(&device).map_err(lost)?;
        let card = String::from_utf8_lossy(&about.card);
        log::info!(
            "{name}: {}, {form} of {size}, {} buffers",
            card.trim_end_matches('\0'),
            buffers.len()
        );
        Ok(Self {
            name,
            device,
            buffers,
            form,
            size,
            row_bytes: pix.bytesperline as usize,
            sequence: 0,
            damaged: 0,
            longest: jpeg_bytes(limit),
            timeout: Duration::from_millis(config.timeout_ms.into()),
            heard: Instant::now(),
        })
    }

    fn lost(&self, error: impl Into<io::Error>) -> CaptureError {
        CaptureError::Lost {
            source: self.name.clone(),
            error: error.into(),
        }
    }

    /// A filled buffer, if one comes in time.
    fn take(&mut self, until: Instant) -> Result<Option<Buffer>, CaptureError> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().min(3600).cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::from_borrowed_fd(self.device.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(self.lost(e)),
        }
        let mut buffer = Buffer::mapped(0);
        match exchange::<{ sys::DQBUF }, _>(&self.device, &mut buffer) {
            Ok(()) => Ok(Some(buffer)),
            // woken for nothing
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(self.lost(e)),
        }
    }

    /// Nothing came: a pause, or the end.
    fn nothing(&self) -> Result<Next, CaptureError> {
        let silent = self.heard.elapsed();
        if silent < self.timeout {
            return Ok(Next::Nothing);
        }
        let words = format!("no frame for {:.1} s", silent.as_secs_f32());
        Err(self.lost(io::Error::new(io::ErrorKind::TimedOut, words)))
    }

    /// Copies a buffer's picture; whether it is whole.
    fn copy(&self, buffer: &Buffer, picture: &mut Picture) -> bool {
        let Some(map) = self.buffers.get(buffer.index as usize) else {
            return false;
        };
        let Some(bytes) = map.get(..buffer.bytesused as usize) else {
            return false;
        };
        picture.bytes.clear();
        if self.form == Form::Jpeg {
            if bytes.len() > self.longest {
                return false;
            }
            picture.bytes.extend_from_slice(bytes);
            return !bytes.is_empty();
        }
        let stride = self.row_bytes.max(row_bytes(self.form, self.size.width));
        unpad(self.form, self.size, stride, bytes, &mut picture.bytes)
    }
}

/// Settles on a format that both sides know.
fn negotiate(device: &File, config: &SourceConfig) -> Result<(Form, PixFormat), String> {
    let wanted = config.size().unwrap_or(Size::new(640, 480));
    const MJPEG: [(Form, [u8; 4]); 2] = [(Form::Jpeg, *b"MJPG"), (Form::Jpeg, *b"JPEG")];
    const YUYV: [(Form, [u8; 4]); 4] = [
        (Form::Yuyv, *b"YUYV"),
        (Form::Uyvy, *b"UYVY"),
        (Form::Nv12, *b"NV12"),
        (Form::Yuv420, *b"YU12"),
    ];
    // three bytes a pixel, or no colour: where there is nothing else
    const LAST: [(Form, [u8; 4]); 2] = [(Form::Rgb24, *b"RGB3"), (Form::Grey, *b"GREY")];
    let small = wanted.pixels() <= 640 * 480;
    let order: Vec<_> = match config.format {
        Some(Form::Jpeg) => MJPEG.to_vec(),
        Some(form) => {
            let all = YUYV.into_iter().chain(LAST);
            all.filter(|(of, _)| *of == form).collect()
        }
        None if small => [&YUYV[..], &MJPEG, &LAST].concat(),
        None => [&MJPEG[..], &YUYV, &LAST].concat(),
    };
    let mut answers = Vec::new();
    for (form, code) in order {
        let mut format = Format::new(PixFormat::wish(wanted.width, wanted.height, code));
        match exchange::<{ sys::S_FMT }, _>(device, &mut format) {
            Ok(()) if format.pix.value.pixelformat == code => {
                let pix = format.pix.value;
                if form == Form::Jpeg || form.bytes(Size::new(pix.width, pix.height)).is_some() {
                    return Ok((form, pix));
                }
                answers.push(format!("{form} of {}x{}", pix.width, pix.height));
            }
            Ok(()) => answers.push(String::from_utf8_lossy(&format.pix.value.pixelformat).into()),
            Err(e) => answers.push(e.to_string()),
        }
    }
    Err(format!(
        "offers none of the formats that are read; it answered {}",
        answers.join(", ")
    ))
}

/// Maps buffers, queues them and starts the stream.
fn stream(device: &File) -> io::Result<Vec<Mmap>> {
    let mut request = RequestBuffers::mapped(BUFFERS);
    exchange::<{ sys::REQBUFS }, _>(device, &mut request)?;
    let mut maps = Vec::new();
    for index in 0..request.count {
        let mut buffer = Buffer::mapped(index);
        exchange::<{ sys::QUERYBUF }, _>(device, &mut buffer)?;
        maps.push(sys::map(device, &buffer)?);
        exchange::<{ sys::QBUF }, _>(device, &mut buffer)?;
    }
    exchange::<{ sys::STREAMON }, _>(device, &mut { sys::VIDEO_CAPTURE })?;
    Ok(maps)
}

/// When a picture was taken, if the driver says so in our clock.
fn captured_ns(buffer: &Buffer, now: u64) -> u64 {
    let (seconds, rest) = (
        u64::try_from(buffer.seconds).unwrap_or(0),
        u64::try_from(buffer.microseconds).unwrap_or(0),
    );
    let stamp = seconds * 1_000_000_000 + rest * 1000;
    let monotonic = buffer.flags & sys::TIMESTAMP_MASK == sys::TIMESTAMP_MONOTONIC;
    if monotonic && stamp <= now && now - stamp < MAX_AGE_NS {
        stamp
    } else {
        now
    }
}

impl FrameSource for Camera {
    fn next(&mut self, picture: &mut Picture, patience: Duration) -> Result<Next, CaptureError> {
        let until = Instant::now() + patience;
        loop {
            let Some(mut buffer) = self.take(until)? else {
                return self.nothing();
            };
            let whole = buffer.flags & sys::BUFFER_ERROR == 0 && self.copy(&buffer, picture);
            exchange::<{ sys::QBUF }, _>(&self.device, &mut buffer).map_err(|e| self.lost(e))?;
            // a damaged one is a sign of life too
            self.heard = Instant::now();
            if !whole {
                self.damaged += 1;
                continue;
            }
            picture.form = self.form;
            picture.size = self.size;
            picture.captured_ns = captured_ns(&buffer, monotonic_ns());
            picture.captured = SystemTime::now();
            (picture.recorded, picture.damaged) = (false, self.damaged);
            picture.sequence = self.sequence;
            self.sequence += 1;
            return Ok(Next::Frame);
        }
    }

    fn damaged(&self) -> u64 {
        self.damaged
    }
}
