//! Frames: pixels with a number and a time, and where they come from.
//!
//! | file | does |
//! |---|---|
//! | [`mod@file`] | reads photos and folders of photos |
//! | [`folder`] | what lies in a folder: photos, and what is none |
//! | [`letterbox`] | lays a frame into the network's input |
//! | [`region`] | where to look: a box or a polygon |
//! | `frame/jpeg.rs` | JPEG: whether all of it came, and its pixels |
//! | [`sniff`] | what a file looks like that is no photo |
//!
//! A [`Frame`] borrows its pixels: whoever reads a photo, a pipe or a camera owns
//! the buffer and lends it for one step.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::{
    error::{Error, ErrorKind},
    geometry::{Crop, Size},
};

pub mod file;
pub mod folder;
pub(crate) mod jpeg;
pub mod letterbox;
pub mod region;
pub mod sniff;

/// The grey that means "nothing here", as in training: the letterbox's padding, and what lies under
/// transparent pixels.
pub const GREY: u8 = 114;

/// RGB pixels, where they lie in the whole picture, when they were captured, and their number in
/// the stream.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pixels: &'a [u8],
    part: Crop,
    whole: Size,
    /// Counts frames of one source from 0; a gap is a lost frame.
    pub sequence: u64,
    /// When the frame was captured, as well as the source knows.
    pub captured: SystemTime,
}

impl<'a> Frame<'a> {
    /// A frame over `[height, width, 3]` bytes, rows without padding.
    ///
    /// # Errors
    ///
    /// [`FrameError::Pixels`] if the bytes are not `width · height · 3`, or none.
    pub fn new(
        pixels: &'a [u8],
        size: Size,
        sequence: u64,
        captured: SystemTime,
    ) -> Result<Self, FrameError> {
        if size.is_empty() || pixels.len() as u64 != size.pixels() * 3 {
            return Err(FrameError::Pixels {
                size,
                bytes: pixels.len(),
            });
        }
        Ok(Self {
            pixels,
            part: Crop::of(size),
            whole: size,
            sequence,
            captured,
        })
    }

    /// The same pixels as a part of a larger picture, at so many columns and rows from its top left
    /// corner: what is found in them is said in pixels of the whole.
    ///
    /// # Errors
    ///
    /// [`FrameError::Outside`] if they do not lie in it.
    pub fn part_of(self, whole: Size, (x, y): (u32, u32)) -> Result<Self, FrameError> {
        let part = Crop {
            x,
            y,
            size: self.size(),
        };
        if part.within(whole) != Some(part) {
            return Err(FrameError::Outside { part, whole });
        }
        Ok(Self {
            part,
            whole,
            ..self
        })
    }

    /// A part of the frame, in pixels of the whole; its pixels are copied into `pixels`.
    ///
    /// # Errors
    ///
    /// [`FrameError::Outside`] if it does not lie in this one.
    pub fn cut<'b>(&self, part: Crop, pixels: &'b mut Vec<u8>) -> Result<Frame<'b>, FrameError> {
        let outside = || FrameError::Outside {
            part,
            whole: self.size(),
        };
        let (x, y) = (
            part.x.checked_sub(self.part.x).ok_or_else(outside)?,
            part.y.checked_sub(self.part.y).ok_or_else(outside)?,
        );
        let own = Crop { x, y, ..part };
        if own.within(self.size()) != Some(own) {
            return Err(outside());
        }
        let row = self.size().width as usize * 3;
        let (left, width) = (x as usize * 3, part.size.width as usize * 3);
        pixels.clear();
        let rows = self.pixels.chunks_exact(row).skip(y as usize);
        for row in rows.take(part.size.height as usize) {
            pixels.extend_from_slice(&row[left..left + width]);
        }
        let cut = Frame::new(pixels, part.size, self.sequence, self.captured)?;
        cut.part_of(self.whole, (part.x, part.y))
    }

    /// RGB, 8 bits, `[height, width, 3]`, rows without padding.
    pub fn pixels(&self) -> &'a [u8] {
        self.pixels
    }

    /// How large the pixels' rectangle is; never empty.
    pub const fn size(&self) -> Size {
        self.part.size
    }

    /// Where the pixels lie in the whole picture.
    pub const fn part(&self) -> Crop {
        self.part
    }

    /// The whole picture's size: boxes, masks and maps of the frame are in its pixels.
    pub const fn whole(&self) -> Size {
        self.whole
    }
}

impl<'a> From<&Frame<'a>> for Frame<'a> {
    fn from(frame: &Frame<'a>) -> Self {
        *frame
    }
}

/// Lets go of most of a buffer that was needed for something much larger; contents beyond
/// `needed` bytes go too.
pub(crate) fn slim(buffer: &mut Vec<u8>, needed: usize) {
    const SPARE: usize = 1 << 20;
    if buffer.capacity() / 4 > needed.saturating_add(SPARE / 4) {
        buffer.truncate(needed);
        buffer.shrink_to(needed * 2);
    }
}

/// Why a frame could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes do not make a frame of that size.
    Pixels {
        /// The size that was claimed.
        size: Size,
        /// How many bytes came; `width · height · 3` were expected.
        bytes: usize,
    },
    /// The pixels are no part of the picture that they are said to be of.
    Outside {
        /// Where they would lie.
        part: Crop,
        /// The picture's size.
        whole: Size,
    },
    /// The file or folder could not be opened or read.
    Read {
        /// What was asked for.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A URL was given, and there is no network here.
    Url {
        /// What was asked for.
        path: PathBuf,
    },
    /// A pattern that nothing has replaced by the names that fit.
    Pattern {
        /// What was asked for.
        path: PathBuf,
    },
    /// It is no file that could be read to its end: a FIFO, a device, a socket.
    Special {
        /// What was asked for.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A folder was given where one image was expected.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder has no image in it.
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// The file has no bytes.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file's first bytes are those of no format that is read.
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What it looks like instead, if that is known.
        looks_like: Option<&'static str>,
    },
    /// The image ends before its last pixel, as after an interrupted copy.
    Truncated {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
    /// The file is longer than any image that is read.
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The longest file that is read.
        limit_bytes: u64,
    },
    /// The image has more pixels than are decoded.
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: Size,
        /// The most pixels that are decoded.
        limit: u64,
    },
    /// The image is damaged or of a kind that the decoder does not know.
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The formats that are read, for messages.
#[cfg(feature = "formats")]
const READ: &str = "JPEG, PNG, WebP, BMP, GIF, TIFF, PNM and QOI";
/// The formats that are read, for messages.
#[cfg(not(feature = "formats"))]
const READ: &str = "JPEG and PNG; this program was built without the feature \"formats\"";

/// A path as messages call it.
struct Named<'a>(&'a Path);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Path::new("-") {
            return f.write_str("standard input");
        }
        self.0.display().fmt(f)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels { size, bytes } => write!(
                f,
                "a frame of {size} needs {} bytes and at least one pixel, not {bytes} bytes",
                size.pixels() * 3
            ),
            Self::Outside { part, whole } => write!(
                f,
                "{} at {},{} is no part of a frame of {whole}",
                part.size, part.x, part.y
            ),
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", Named(path)),
            Self::Url { path } => write!(
                f,
                "{} is a URL, and there is no network here: give the path of a file",
                path.display()
            ),
            Self::Pattern { path } => write!(
                f,
                "no file is called {}; the shell puts names in place of * and ? only outside quotes",
                path.display()
            ),
            Self::Special { path, kind } => write!(
                f,
                "{} is {kind}, not a file; - reads a photo from standard input",
                Named(path)
            ),
            Self::Folder { path } => write!(f, "{} is a folder, not an image", Named(path)),
            Self::NoImages { path } => {
                write!(
                    f,
                    "no image in the folder {}; read are {READ}",
                    path.display()
                )
            }
            Self::Empty { path } => write!(f, "{} is empty (0 bytes)", Named(path)),
            Self::NotAnImage {
                path,
                looks_like: Some(kind),
            } => write!(f, "{} is {kind}; read are {READ}", Named(path)),
            Self::NotAnImage {
                path,
                looks_like: None,
            } => write!(f, "{} is not an image; read are {READ}", Named(path)),
            Self::Truncated { path, bytes } => write!(
                f,
                "{} is cut short: the image does not end within its {bytes} bytes",
                Named(path)
            ),
            Self::FileTooLarge { path, limit_bytes } => write!(
                f,
                "{} is longer than {limit_bytes} bytes, the longest image file that is read",
                Named(path)
            ),
            Self::TooManyPixels { path, size, limit } => write!(
                f,
                "{} is {size}: {} pixels where at most {limit} are decoded",
                Named(path),
                size.pixels()
            ),
            Self::Decode { path, source } => write!(f, "cannot decode {}: {source}", Named(path)),
        }
    }
}

impl From<FrameError> for Error {
    fn from(e: FrameError) -> Self {
        let kind = match e {
            FrameError::Read { .. } => ErrorKind::Missing,
            _ => ErrorKind::Photo,
        };
        Self::new(kind, e)
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Decode { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_refuses_bytes_that_do_not_fill_it_and_says_both_numbers() {
        let error = Frame::new(&[0; 11], Size::new(2, 2), 0, SystemTime::UNIX_EPOCH)
            .expect_err("eleven bytes are not four pixels");
        let text = error.to_string();
        assert!(
            text.contains("12 bytes") && text.contains("11 bytes"),
            "{text}"
        );
    }

    #[test]
    fn a_buffer_that_was_needed_once_is_let_go_and_one_in_use_is_kept() {
        let mut buffer = vec![7; 40 << 20];
        slim(&mut buffer, 20 << 20);
        assert!(buffer.capacity() >= 40 << 20);
        slim(&mut buffer, 100_000);
        assert!((100_000..1 << 20).contains(&buffer.capacity()));
        let small = buffer.capacity();
        buffer.clear();
        slim(&mut buffer, 10);
        assert_eq!(buffer.capacity(), small, "what is small is not worth it");
    }

    #[test]
    fn a_part_of_a_part_is_where_it_lies_in_the_whole() {
        let pixels: Vec<u8> = (0..36).collect();
        let size = Size::new(4, 3);
        let frame = Frame::new(&pixels, size, 0, SystemTime::UNIX_EPOCH).expect("a frame");
        let frame = frame.part_of(Size::new(20, 10), (10, 5)).expect("a part");
        let part = |x, y, width, height| Crop {
            x,
            y,
            size: Size::new(width, height),
        };
        let mut own = Vec::new();
        let cut = frame.cut(part(11, 6, 2, 2), &mut own).expect("a part");
        assert_eq!(
            cut.pixels(),
            [15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32]
        );
        assert_eq!(
            (cut.part(), cut.whole()),
            (part(11, 6, 2, 2), frame.whole())
        );
        for outside in [part(9, 6, 2, 2), part(11, 4, 2, 2), part(13, 6, 2, 2)] {
            assert!(frame.cut(outside, &mut own).is_err(), "{outside:?}");
        }
        assert!(frame.part_of(Size::new(20, 7), (10, 5)).is_err());
    }

    #[test]
    fn a_frame_has_at_least_one_pixel() {
        assert!(Frame::new(&[], Size::new(0, 5), 0, SystemTime::UNIX_EPOCH).is_err());
        assert!(Frame::new(&[1, 2, 3], Size::new(1, 1), 0, SystemTime::UNIX_EPOCH).is_ok());
    }
}
