//! A picture as it came from a source, and its pixels as RGB.
//!
//! YUV is taken as BT.601 with limited range (16 to 235), which is what cameras send where nothing else is agreed; chroma is repeated, not
//! interpolated, since the picture is about to be shrunk. Fixed point of 8 bits, so every board makes the same bytes.
//!
//! A JPEG is decoded whole, as photos are (`frame/jpeg.rs`): one that is not all there is an error, and its EXIF orientation is applied.
//! Who needs the time asks the camera for a smaller picture or for YUYV.
//!
//! Cameras do not change their size; damage does. A JPEG of another size than those before is an error until the new size has come
//! some times in a row.

use std::{fmt, time::SystemTime};

use image::metadata::Orientation;
use serde::{Deserialize, Serialize};

use crate::{
    frame::{Frame, FrameError, file::MAX_PIXELS, jpeg, slim},
    geometry::{Crop, Size},
};

/// How a picture's bytes are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Red, green, blue, 8 bits each.
    #[default]
    Rgb24,
    /// Y U Y V: two pixels in four bytes.
    Yuyv,
    /// U Y V Y: likewise.
    Uyvy,
    /// A plane of Y, then one of U V at half the width and height.
    Nv12,
    /// Planes of Y, U and V, the latter two at half the width and height: what `rpicam-vid --codec yuv420` writes.
    Yuv420,
    /// One byte per pixel.
    Grey,
    /// A JPEG picture.
    Jpeg,
}

impl Form {
    /// The forms that raw frames can have.
    pub const RAW: [Self; 6] = [
        Self::Rgb24,
        Self::Yuyv,
        Self::Uyvy,
        Self::Nv12,
        Self::Yuv420,
        Self::Grey,
    ];

    /// The form of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = Self::RAW.into_iter().chain([Self::Jpeg]);
        all.into_iter().find(|form| form.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rgb24 => "rgb24",
            Self::Yuyv => "yuyv",
            Self::Uyvy => "uyvy",
            Self::Nv12 => "nv12",
            Self::Yuv420 => "yuv420",
            Self::Grey => "grey",
            Self::Jpeg => "jpeg",
        }
    }

    /// How many bytes a frame of this size has; none if there is no such frame, or if it is compressed.
    #[must_use]
    pub fn bytes(self, size: Size) -> Option<usize> {
        let (width, height) = (size.width as usize, size.height as usize);
        if size.is_empty() || size.pixels() > MAX_PIXELS {
            return None;
        }
        match self {
            Self::Rgb24 => Some(width * height * 3),
            Self::Grey => Some(width * height),
            Self::Yuyv | Self::Uyvy => width.is_multiple_of(2).then_some(width * height * 2),
            Self::Nv12 | Self::Yuv420 => (width.is_multiple_of(2) && height.is_multiple_of(2))
                .then_some(width * height * 3 / 2),
            Self::Jpeg => None,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A picture as it came, in a buffer that is used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The bytes, in the layout of `form`.
    pub bytes: Vec<u8>,
    /// How they are laid out.
    pub form: Form,
    /// Columns and rows; of a JPEG not known before it is decoded, and empty.
    pub size: Size,
    /// When its last byte came, or when the camera says that it was taken: `CLOCK_MONOTONIC`.
    pub captured_ns: u64,
    /// About the same by the wall clock.
    pub captured: SystemTime,
    /// Counts pictures of one source from 0.
    pub sequence: u64,
    /// Of a recording: its times are those of the stream, from 0.
    pub recorded: bool,
    /// How many pictures of the source were damaged before this one.
    pub damaged: u64,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            form: Form::default(),
            size: Size::new(0, 0),
            captured_ns: 0,
            captured: SystemTime::UNIX_EPOCH,
            sequence: 0,
            recorded: false,
            damaged: 0,
        }
    }
}

/// Why a picture has no pixels.
#[derive(Debug)]
#[non_exhaustive]
pub enum PictureError {
    /// A JPEG that does not end, or that the decoder does not take.
    Jpeg {
        /// Its length in bytes.
        bytes: usize,
        /// What is wrong.
        reason: String,
    },
    /// Another number of bytes than its size needs.
    Length {
        /// What it says it is.
        form: Form,
        /// Its size.
        size: Size,
        /// How many bytes there are.
        bytes: usize,
    },
    /// Another size than the pictures before it had, and not often enough to believe it.
    OtherSize {
        /// Its size.
        size: Size,
        /// The size before.
        usual: Size,
        /// How many in a row had it.
        times: u32,
    },
    /// Nothing of the region lies in it.
    Outside {
        /// The region.
        crop: Crop,
        /// The picture's size.
        size: Size,
    },
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jpeg { bytes, reason } => write!(f, "a JPEG of {bytes} bytes: {reason}"),
            Self::Length { form, size, bytes } => {
                write!(f, "{bytes} bytes are no {form} frame of {size}")
            }
            Self::OtherSize { size, usual, times } => write!(
                f,
                "a picture of {size} after pictures of {usual}: {times} in a row, {BELIEVED} are believed"
            ),
            Self::Outside { crop, size } => write!(
                f,
                "the region of {} at {},{} lies outside the frame of {size}",
                crop.size, crop.x, crop.y
            ),
        }
    }
}

impl std::error::Error for PictureError {}

impl From<FrameError> for PictureError {
    fn from(e: FrameError) -> Self {
        Self::Jpeg {
            bytes: 0,
            reason: e.to_string(),
        }
    }
}

/// The pixels of a JPEG that are decoded where no limit is set: four times a frame of full HD.
pub const DEFAULT_LIMIT: u64 = 4 * 1920 * 1080;

/// The longest JPEG that is taken, whatever its limit of pixels; 1080p at the best quality stays below 4 MB.
pub const MAX_JPEG_BYTES: usize = 32 << 20;

/// The longest JPEG of up to so many pixels that is taken: noise at the best quality has fewer than 4 bytes a pixel.
#[must_use]
pub fn jpeg_bytes(pixels: u64) -> usize {
    let bytes = pixels.saturating_mul(4).saturating_add(256 << 10);
    usize::try_from(bytes).map_or(MAX_JPEG_BYTES, |bytes| bytes.min(MAX_JPEG_BYTES))
}

/// After how many pictures of another size in a row that is the size.
const BELIEVED: u32 = 3;

/// The size that pictures have.
#[derive(Debug, Default)]
struct Steady {
    usual: Option<Size>,
    /// Another size that came last, and how often in a row.
    other: Option<(Size, u32)>,
}

impl Steady {
    fn check(&mut self, size: Size) -> Result<(), PictureError> {
        let usual = *self.usual.get_or_insert(size);
        let times = match self.other {
            Some((other, times)) if other == size => times + 1,
            _ => 1,
        };
        if size == usual || times >= BELIEVED {
            (self.usual, self.other) = (Some(size), None);
            return Ok(());
        }
        self.other = Some((size, times));
        Err(PictureError::OtherSize { size, usual, times })
    }
}

/// Makes RGB of pictures; keeps its buffers.
#[derive(Debug)]
pub struct Decoder {
    limit: u64,
    steady: Steady,
    jpeg: jpeg::Decoder,
    /// A whole decoded JPEG.
    whole: Vec<u8>,
    /// The same, the right way up.
    turned: Vec<u8>,
    /// What is handed out, if it is not the picture itself.
    rgb: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl Decoder {
    /// A decoder without buffers yet, for JPEGs of up to so many pixels.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            steady: Steady::default(),
            jpeg: jpeg::Decoder::default(),
            whole: Vec::new(),
            turned: Vec::new(),
            rgb: Vec::new(),
        }
    }

    /// Another source, or another limit of pixels: what was known of the pictures' size is forgotten.
    pub fn begin(&mut self, limit: u64) {
        (self.limit, self.steady) = (limit, Steady::default());
    }

    /// The picture's pixels, or those of a part of it.
    ///
    /// # Errors
    ///
    /// [`PictureError`] if it is damaged, too large, of a sudden other size, or the part lies outside.
    pub fn frame<'a>(
        &'a mut self,
        picture: &'a Picture,
        crop: Option<Crop>,
    ) -> Result<Frame<'a>, PictureError> {
        let (size, form) = if picture.form == Form::Jpeg {
            (self.decode(&picture.bytes)?, Form::Rgb24)
        } else {
            (picture.size, picture.form)
        };
        let Self {
            whole, turned, rgb, ..
        } = self;
        let bytes = match picture.form {
            Form::Jpeg if turned.is_empty() => whole.as_slice(),
            Form::Jpeg => turned.as_slice(),
            _ => picture.bytes.as_slice(),
        };
        if form.bytes(size) != Some(bytes.len()) {
            return Err(PictureError::Length {
                form,
                size,
                bytes: bytes.len(),
            });
        }
        let all = Crop::of(size);
        let part = match crop {
            Some(crop) => crop
                .within(size)
                .ok_or(PictureError::Outside { crop, size })?,
            None => all,
        };
        let pixels = if form == Form::Rgb24 && part == all {
            bytes
        } else {
            convert(form, size, bytes, part, rgb);
            rgb.as_slice()
        };
        let frame = Frame::new(pixels, part.size, picture.sequence, picture.captured)?;
        Ok(frame.part_of(size, (part.x, part.y))?)
    }

    /// Decodes a JPEG into `whole`, and into `turned` if it lies on its side; its size as it is shown.
    fn decode(&mut self, bytes: &[u8]) -> Result<Size, PictureError> {
        let Self {
            limit,
            steady,
            jpeg,
            whole,
            turned,
            ..
        } = self;
        let decoded = jpeg.decode(bytes, *limit, |size| steady.check(size), whole);
        let (size, orientation) = decoded.map_err(|fault| PictureError::Jpeg {
            bytes: bytes.len(),
            reason: fault.to_string(),
        })??;
        turned.clear();
        if orientation == Orientation::NoTransforms {
            slim(turned, 0);
            return Ok(size);
        }
        Ok(turn(whole, size, orientation, turned))
    }
}

/// Lays pixels the right way up; returns their size then.
fn turn(pixels: &[u8], size: Size, orientation: Orientation, out: &mut Vec<u8>) -> Size {
    let shown = match jpeg::turns(orientation) {
        true => Size::new(size.height, size.width),
        false => size,
    };
    let (width, height) = (size.width as usize, size.height as usize);
    let columns = shown.width as usize;
    slim(out, pixels.len());
    out.resize(pixels.len(), 0);
    let (from, _) = pixels.as_chunks::<3>();
    let (to, _) = out.as_chunks_mut::<3>();
    for (y, line) in to.chunks_mut(columns).enumerate() {
        for (x, pixel) in line.iter_mut().enumerate() {
            let (column, row) = match orientation {
                Orientation::NoTransforms => (x, y),
                Orientation::FlipHorizontal => (width - 1 - x, y),
                Orientation::Rotate180 => (width - 1 - x, height - 1 - y),
                Orientation::FlipVertical => (x, height - 1 - y),
                Orientation::Rotate90FlipH => (y, x),
                Orientation::Rotate90 => (y, height - 1 - x),
                Orientation::Rotate270FlipH => (width - 1 - y, height - 1 - x),
                Orientation::Rotate270 => (width - 1 - y, x),
            };
            *pixel = from[row * width + column];
        }
    }
    shown
}

/// Writes a part of raw pixels as RGB.
fn convert(form: Form, size: Size, bytes: &[u8], part: Crop, out: &mut Vec<u8>) {
    let (width, height) = (size.width as usize, size.height as usize);
    let luma = width * height;
    let (left, columns) = (part.x as usize, part.size.width as usize);
    let wanted = columns * part.size.height as usize * 3;
    slim(out, wanted);
    out.resize(wanted, 0);
    let rows = part.y as usize..(part.y + part.size.height) as usize;
    for (line, row) in out.as_chunks_mut::<3>().0.chunks_mut(columns).zip(rows) {
        let pixels = line.iter_mut().zip(left..);
        match form {
            Form::Rgb24 => {
                let from = &bytes[(row * width + left) * 3..][..columns * 3];
                line.as_flattened_mut().copy_from_slice(from);
            }
            Form::Grey => {
                let from = &bytes[row * width..][..width];
                pixels.for_each(|(to, x)| *to = [from[x]; 3]);
            }
            Form::Yuyv => {
                let from = &bytes[row * width * 2..][..width * 2];
                pixels.for_each(|(to, x)| {
                    let pair = x / 2 * 4;
                    *to = rgb([from[x * 2], from[pair + 1], from[pair + 3]]);
                });
            }
            Form::Uyvy => {
                let from = &bytes[row * width * 2..][..width * 2];
                pixels.for_each(|(to, x)| {
                    let pair = x / 2 * 4;
                    *to = rgb([from[x * 2 + 1], from[pair], from[pair + 2]]);
                });
            }
            Form::Nv12 => {
                let y = &bytes[row * width..][..width];
                let uv = &bytes[luma + row / 2 * width..][..width];
                pixels.for_each(|(to, x)| *to = rgb([y[x], uv[x / 2 * 2], uv[x / 2 * 2 + 1]]));
            }
            Form::Yuv420 => {
                let y = &bytes[row * width..][..width];
                let half = width / 2;
                let u = &bytes[luma + row / 2 * half..][..half];
                let v = &bytes[luma + luma / 4 + row / 2 * half..][..half];
                pixels.for_each(|(to, x)| *to = rgb([y[x], u[x / 2], v[x / 2]]));
            }
            Form::Jpeg => unreachable!("decoded before"),
        }
    }
}

/// BT.601, limited range, in 8-bit fixed point.
pub(super) fn rgb([y, u, v]: [u8; 3]) -> [u8; 3] {
    let (y, u, v) = (
        298 * (i32::from(y) - 16) + 128,
        i32::from(u) - 128,
        i32::from(v) - 128,
    );
    let byte = |value: i32| (value >> 8).clamp(0, 255) as u8;
    [
        byte(y + 409 * v),
        byte(y - 100 * u - 208 * v),
        byte(y + 516 * u),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};

    fn picture(form: Form, size: Size, bytes: Vec<u8>) -> Picture {
        Picture {
            bytes,
            form,
            size,
            ..Picture::default()
        }
    }

    /// A picture of any form whose left half is black and whose right half is white, with neutral chroma.
    fn halves(form: Form, size: Size) -> Picture {
        let bytes = form.bytes(size).expect("a raw form");
        let white = |at: usize| at % size.width as usize >= size.width as usize / 2;
        let luma = |at: usize| if white(at) { 235 } else { 16 };
        let pixels = size.pixels() as usize;
        let bytes: Vec<u8> = match form {
            Form::Rgb24 => (0..bytes).map(|i| u8::from(white(i / 3)) * 255).collect(),
            Form::Grey => (0..bytes).map(|i| u8::from(white(i)) * 255).collect(),
            Form::Yuyv => (0..bytes)
                .map(|i| if i % 2 == 0 { luma(i / 2) } else { 128 })
                .collect(),
            Form::Uyvy => (0..bytes)
                .map(|i| if i % 2 == 1 { luma(i / 2) } else { 128 })
                .collect(),
            _ => (0..bytes)
                .map(|i| if i < pixels { luma(i) } else { 128 })
                .collect(),
        };
        picture(form, size, bytes)
    }

    #[test]
    fn every_raw_form_shows_the_same_picture() {
        let size = Size::new(16, 6);
        let wanted = halves(Form::Rgb24, size).bytes;
        let mut decoder = Decoder::default();
        for form in Form::RAW {
            let picture = halves(form, size);
            let frame = decoder.frame(&picture, None).expect("a frame");
            assert_eq!((frame.whole(), frame.size()), (size, size), "{form}");
            assert_eq!(frame.pixels(), wanted, "{form}");
        }
    }

    #[test]
    fn colours_are_those_of_bt_601() {
        // the bars of a test picture at 75 %, as ITU-R BT.801 lists them
        for (yuv, expected) in [
            ([180, 128, 128], [191, 191, 191]),
            ([131, 156, 44], [0, 191, 191]),
            ([65, 100, 212], [191, 0, 0]),
            ([35, 212, 114], [0, 0, 191]),
        ] {
            let found = rgb(yuv);
            let near = found
                .iter()
                .zip(expected)
                .all(|(a, b): (_, u8)| a.abs_diff(b) <= 2);
            assert!(near, "{yuv:?} gives {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn a_part_is_that_part_in_every_form() {
        let size = Size::new(32, 8);
        let mut decoder = Decoder::default();
        for form in Form::RAW {
            let noise: Vec<u8> = (0..form.bytes(size).expect("raw") as u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect();
            let picture = picture(form, size, noise);
            let whole = decoder
                .frame(&picture, None)
                .expect("a frame")
                .pixels()
                .to_vec();
            let crop = Crop {
                x: 5,
                y: 3,
                size: Size::new(7, 100),
            };
            let frame = decoder.frame(&picture, Some(crop)).expect("a part");
            let part = Crop {
                size: Size::new(7, 5),
                ..crop
            };
            assert_eq!(frame.part(), part, "clipped to the frame");
            for (row, line) in frame.pixels().chunks(7 * 3).enumerate() {
                assert_eq!(line, &whole[((row + 3) * 32 + 5) * 3..][..7 * 3], "{form}");
            }
        }
    }

    #[test]
    fn a_part_outside_the_frame_is_an_error_with_both() {
        let crop = Crop {
            x: 16,
            y: 0,
            size: Size::new(1, 1),
        };
        let picture = halves(Form::Grey, Size::new(16, 4));
        let error = Decoder::default()
            .frame(&picture, Some(crop))
            .expect_err("nothing in it");
        assert!(error.to_string().contains("16x4"), "{error}");
    }

    fn jpeg_of(width: u32, height: u32) -> Vec<u8> {
        let pixels: Vec<u8> = (0..width * height * 3)
            .map(|i| (i / 3 % width * 255 / width) as u8)
            .collect();
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90)
            .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
            .expect("a picture");
        bytes
    }

    /// A JPEG without its Huffman tables, as many webcams send them: those of the standard are meant.
    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let mut out = jpeg[..2].to_vec();
        let mut at = 2;
        while jpeg[at + 1] != 0xDA {
            let length = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if jpeg[at + 1] != 0xC4 {
                out.extend(&jpeg[at..at + length]);
            }
            at += length;
        }
        out.extend(&jpeg[at..]);
        out
    }

    #[test]
    fn a_jpeg_without_huffman_tables_is_decoded_with_those_of_the_standard() {
        let jpeg = jpeg_of(64, 48);
        let bare = without_tables(&jpeg);
        assert!(bare.len() + 400 < jpeg.len(), "the tables are gone");
        let mut decoder = Decoder::default();
        let empty = Size::new(0, 0);
        let decoded: Vec<Vec<u8>> = [jpeg, bare]
            .into_iter()
            .map(|bytes| {
                let picture = picture(Form::Jpeg, empty, bytes);
                let frame = decoder.frame(&picture, None).expect("a frame");
                assert_eq!(frame.size(), Size::new(64, 48));
                frame.pixels().to_vec()
            })
            .collect();
        assert_eq!(decoded[0], decoded[1]);
    }

    #[test]
    fn a_picture_that_lies_on_its_side_is_turned_as_photos_are() {
        let size = Size::new(5, 3);
        let pixels: Vec<u8> = (0..45).collect();
        for code in 1..=8 {
            let orientation = Orientation::from_exif(code).expect("one of eight");
            let image = image::RgbImage::from_raw(5, 3, pixels.clone()).expect("a picture");
            let mut image = image::DynamicImage::ImageRgb8(image);
            image.apply_orientation(orientation);
            let mut out = Vec::new();
            let shown = turn(&pixels, size, orientation, &mut out);
            assert_eq!(shown, Size::new(image.width(), image.height()), "{code}");
            assert_eq!(out, image.into_bytes(), "{code}");
        }
    }

    #[test]
    fn another_size_is_believed_when_it_has_come_three_times_in_a_row() {
        let mut decoder = Decoder::default();
        let mut comes = |width, height| {
            let picture = picture(Form::Jpeg, Size::new(0, 0), jpeg_of(width, height));
            decoder
                .frame(&picture, None)
                .map(|frame| frame.size().width)
        };
        assert!(comes(64, 48).is_ok());
        for _ in 0..3 {
            let text = comes(32, 48).expect_err("another size").to_string();
            assert!(text.contains("32x48 after pictures of 64x48"), "{text}");
            assert!(comes(16, 48).is_err());
        }
        assert!(comes(64, 48).is_ok());
        assert!(comes(32, 48).is_err());
        assert!(comes(32, 48).is_err());
        assert_eq!(comes(32, 48).expect("three in a row"), 32);
        assert!(comes(64, 48).is_err());
        assert_eq!(comes(32, 48).expect("the new size"), 32);
    }

    #[test]
    fn a_picture_above_the_limit_is_refused_with_both_numbers() {
        let mut decoder = Decoder::new(64 * 48 - 1);
        let picture = picture(Form::Jpeg, Size::new(0, 0), jpeg_of(64, 48));
        let text = decoder
            .frame(&picture, None)
            .expect_err("too large")
            .to_string();
        assert!(
            text.contains("3072 pixels") && text.contains("at most 3071"),
            "{text}"
        );
        decoder.begin(64 * 48);
        assert!(decoder.frame(&picture, None).is_ok());
    }

    #[test]
    fn a_damaged_picture_is_an_error_and_never_a_panic() {
        let jpeg = jpeg_of(48, 32);
        let mut decoder = Decoder::default();
        for end in 0..jpeg.len() {
            let cut = picture(Form::Jpeg, Size::new(0, 0), jpeg[..end].to_vec());
            assert!(decoder.frame(&cut, None).is_err(), "cut after {end} bytes");
        }
        // a changed byte may still make a picture; it must not make a panic
        for at in 2..jpeg.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut bytes = jpeg.clone();
                bytes[at] ^= flip;
                let _ = decoder.frame(&picture(Form::Jpeg, Size::new(0, 0), bytes), None);
            }
        }
        let short = picture(Form::Rgb24, Size::new(4, 4), vec![0; 47]);
        assert!(decoder.frame(&short, None).is_err());
    }
}
