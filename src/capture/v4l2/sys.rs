//! The kernel's interface to cameras: `linux/videodev2.h`, as far as streaming needs it.
//!
//! Written out here because the kept crates for it generate these structures with a C compiler, which the build must not need.
//!
//! # Safety
//!
//! A request's number carries the length of its structure. [`exchange`] compares the two when the program is compiled, and every
//! structure is plain integers, for which any bytes that the kernel writes are valid. Pointers occur in none of them: buffers are
//! named by an offset for `mmap`.
#![allow(unsafe_code)]

use std::{fs::File, io, os::fd::AsFd};

use memmap2::{Mmap, MmapOptions};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
pub(super) const VIDEO_CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`.
const MEMORY_MMAP: u32 = 1;
/// `V4L2_FIELD_ANY`; the driver answers with what it does.
const FIELD_ANY: u32 = 0;
/// `V4L2_CAP_VIDEO_CAPTURE`.
pub(super) const CAP_VIDEO_CAPTURE: u32 = 1;
/// `V4L2_CAP_VIDEO_CAPTURE_MPLANE`.
pub(super) const CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x1000;
/// `V4L2_CAP_STREAMING`.
pub(super) const CAP_STREAMING: u32 = 0x0400_0000;
/// `V4L2_CAP_DEVICE_CAPS`: `device_caps` is filled in.
pub(super) const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
/// `V4L2_BUF_FLAG_ERROR`: the data may be damaged.
pub(super) const BUFFER_ERROR: u32 = 0x40;
/// `V4L2_BUF_FLAG_TIMESTAMP_MASK`.
pub(super) const TIMESTAMP_MASK: u32 = 0xE000;
/// `V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`.
pub(super) const TIMESTAMP_MONOTONIC: u32 = 0x2000;

pub(super) const QUERYCAP: Opcode = opcode::read::<Capability>(b'V', 0);
pub(super) const S_FMT: Opcode = opcode::read_write::<Format>(b'V', 5);
pub(super) const REQBUFS: Opcode = opcode::read_write::<RequestBuffers>(b'V', 8);
pub(super) const QUERYBUF: Opcode = opcode::read_write::<Buffer>(b'V', 9);
pub(super) const QBUF: Opcode = opcode::read_write::<Buffer>(b'V', 15);
pub(super) const DQBUF: Opcode = opcode::read_write::<Buffer>(b'V', 17);
pub(super) const STREAMON: Opcode = opcode::write::<u32>(b'V', 18);
pub(super) const S_PARM: Opcode = opcode::read_write::<StreamParameters>(b'V', 22);

/// Structures of integers only.
pub(super) trait Plain: Copy {}
impl Plain for u32 {}
impl Plain for Capability {}
impl Plain for Format {}
impl Plain for RequestBuffers {}
impl Plain for Buffer {}
impl Plain for StreamParameters {}

/// `struct v4l2_capability`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Capability {
    pub(super) driver: [u8; 16],
    pub(super) card: [u8; 32],
    pub(super) bus: [u8; 32],
    pub(super) version: u32,
    pub(super) capabilities: u32,
    pub(super) device_caps: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_pix_format`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct PixFormat {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixelformat: [u8; 4],
    pub(super) field: u32,
    pub(super) bytesperline: u32,
    pub(super) sizeimage: u32,
    pub(super) colorspace: u32,
    private: u32,
    flags: u32,
    encoding: u32,
    quantization: u32,
    transfer: u32,
}

impl PixFormat {
    /// A wish: size and code; everything else is the driver's to say.
    pub(super) fn wish(width: u32, height: u32, pixelformat: [u8; 4]) -> Self {
        Self {
            width,
            height,
            pixelformat,
            field: FIELD_ANY,
            ..Self::default()
        }
    }
}

/// `struct v4l2_format`. Another member of its union begins with a pointer, hence the words of a pointer's alignment.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Format {
    pub(super) kind: u32,
    pub(super) pix: Union<PixFormat>,
}

/// 200 bytes that begin with `T`, aligned as a pointer is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Union<T> {
    aligned: [usize; 0],
    pub(super) value: T,
    rest: [u32; 38],
}

impl Format {
    pub(super) fn new(pix: PixFormat) -> Self {
        Self {
            kind: VIDEO_CAPTURE,
            pix: Union {
                aligned: [],
                value: pix,
                rest: [0; 38],
            },
        }
    }
}

/// `struct v4l2_requestbuffers`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct RequestBuffers {
    pub(super) count: u32,
    pub(super) kind: u32,
    pub(super) memory: u32,
    capabilities: u32,
    flags: u32,
}

impl RequestBuffers {
    /// A wish for buffers to be mapped.
    pub(super) fn mapped(count: u32) -> Self {
        Self {
            count,
            kind: VIDEO_CAPTURE,
            memory: MEMORY_MMAP,
            ..Self::default()
        }
    }
}

/// `struct v4l2_buffer`; `long` has a pointer's size, and so has its union.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Buffer {
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) bytesused: u32,
    pub(super) flags: u32,
    pub(super) field: u32,
    pub(super) seconds: isize,
    pub(super) microseconds: isize,
    timecode: [u32; 4],
    pub(super) sequence: u32,
    pub(super) memory: u32,
    pub(super) offset: Offset,
    pub(super) length: u32,
    reserved: u32,
    request_fd: i32,
}

impl Buffer {
    /// The mapped buffer of that number; of any, where the driver chooses.
    pub(super) fn mapped(index: u32) -> Self {
        Self {
            index,
            kind: VIDEO_CAPTURE,
            memory: MEMORY_MMAP,
            ..Self::default()
        }
    }
}

/// The union `m` of a buffer in mapped memory.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Offset {
    aligned: [usize; 0],
    pub(super) value: u32,
    #[cfg(target_pointer_width = "64")]
    rest: u32,
}

/// `struct v4l2_streamparm` with `struct v4l2_captureparm`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct StreamParameters {
    pub(super) kind: u32,
    capability: u32,
    mode: u32,
    pub(super) numerator: u32,
    pub(super) denominator: u32,
    rest: [u32; 46],
}

impl StreamParameters {
    /// One frame in `numerator / denominator` seconds.
    pub(super) const fn new(numerator: u32, denominator: u32) -> Self {
        Self {
            kind: VIDEO_CAPTURE,
            capability: 0,
            mode: 0,
            numerator,
            denominator,
            rest: [0; 46],
        }
    }
}

/// Sends a request with its structure, which the kernel may change.
pub(super) fn exchange<const REQUEST: Opcode, T: Plain>(
    device: &File,
    value: &mut T,
) -> io::Result<()> {
    const {
        let stated = (REQUEST as usize >> 16) & 0x3FFF;
        assert!(
            stated == size_of::<T>(),
            "the request takes another structure"
        );
    }
    // SAFETY: the request's number says that it takes a structure of this length, see above.
    let request = unsafe { Updater::<REQUEST, T>::new(value) };
    // SAFETY: the kernel reads and writes that structure only, and any integers are valid in it.
    unsafe { ioctl(device.as_fd(), request) }.map_err(io::Error::from)
}

/// Maps a buffer of the driver for reading.
pub(super) fn map(device: &File, buffer: &Buffer) -> io::Result<Mmap> {
    let mut options = MmapOptions::new();
    options
        .offset(buffer.offset.value.into())
        .len(buffer.length as usize);
    // SAFETY: the memory is the driver's; it is looked at only between taking a buffer out of the queue and giving it back, when
    // the driver leaves it alone.
    unsafe { options.map(device) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn requests_have_the_numbers_that_the_kernels_headers_give() {
        // printed by a C program from linux/videodev2.h on a 64-bit machine
        for (found, expected) in [
            (QUERYCAP, 0x8068_5600),
            (S_FMT, 0xC0D0_5605),
            (REQBUFS, 0xC014_5608),
            (QUERYBUF, 0xC058_5609),
            (QBUF, 0xC058_560F),
            (DQBUF, 0xC058_5611),
            (STREAMON, 0x4004_5612),
            (S_PARM, 0xC0CC_5616),
        ] {
            assert_eq!(found, expected, "{found:#x}");
        }
    }

    #[test]
    fn something_that_is_no_camera_refuses_politely() {
        let file = File::open("/dev/null").expect("a device");
        let error = exchange::<QUERYCAP, _>(&file, &mut Capability::default())
            .expect_err("it is no camera");
        // ENOTTY from a kernel, ENOSYS from an emulator that does not know the request
        assert!(matches!(error.raw_os_error(), Some(25 | 38)), "{error}");
    }
}
