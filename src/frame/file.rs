//! Photos and folders of photos.
//!
//! | question | answer |
//! |---|---|
//! | which format? | by content; the name's ending does not matter |
//! | which are read? | JPEG and PNG; with the feature `formats` also WebP, BMP, GIF (its first frame), TIFF, PNM, QOI |
//! | which way up? | the EXIF orientation is applied |
//! | grey, palette, 16 bits, CMYK | converted to 8-bit RGB |
//! | transparent pixels | laid over [`GREY`], the letterbox's padding: "nothing here" |
//! | cut short | an error, though decoders would fill the rest with grey |
//! | huge | [`MAX_FILE_BYTES`], [`MAX_SIDE`] and the limit of pixels are checked before decoding |
//! | `-` | standard input, to its end |
//! | a FIFO, a device, a URL | refused |
//!
//! Colour profiles are ignored, as training ignored them, and not even unpacked: a profile of 1 GB
//! fits into a PNG of 1 MB. A frame from a file is captured when the file was last modified: the
//! nearest thing that every file has. One from standard input is captured when it is read.

use std::io::{self, Cursor, Read};
use std::path::Path;
use std::time::SystemTime;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{Frame, FrameError, GREY, jpeg, sniff};
use crate::geometry::Size;
use crate::input::{self, InputError, open_regular};

/// The longest file that is read.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The longest side that is decoded, in pixels.
pub const MAX_SIDE: u32 = 65_535;

/// The most pixels that are decoded where no other limit is given: 64 Mi, 192 MiB of RGB.
pub const MAX_PIXELS: u64 = 64 << 20;

/// The most bytes of a pixel in a file: four floats, not compressed.
const FILE_PIXEL: u64 = 16;

/// The most bytes of a pixel while it is decoded: four samples of 16 bits, once as they are stored and once as they are shown.
const DECODED_PIXEL: u64 = 16;

/// What a decoder may allocate besides the pixels: tables, rows, pieces of the file.
const DECODER_BYTES: u64 = 1 << 20;

/// How a photo is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// One of the others that are read.
    Other,
}

/// A decoded photo: the owner of a [`Frame`]'s pixels.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Photo {
    /// RGB, 8 bits, `[height, width, 3]`.
    pixels: Vec<u8>,
    size: Size,
    /// How the file stores it.
    pub kind: ImageKind,
    /// When the file was last modified.
    pub captured: SystemTime,
}

impl Photo {
    /// Reads and decodes one photo.
    ///
    /// # Errors
    ///
    /// Every variant of [`FrameError`] that names a path; the path is always in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FrameError> {
        Self::open_within(path.as_ref(), MAX_PIXELS)
    }

    /// Likewise, with a limit of pixels other than [`MAX_PIXELS`]; a file that is longer than so many pixels can be, and
    /// than 32 MiB, is refused too.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_within(path: &Path, limit: u64) -> Result<Self, FrameError> {
        let (bytes, captured) = read(path, file_bytes(limit))?;
        let (pixels, size, kind) = decode(path, &bytes, limit)?;
        Ok(Self {
            pixels,
            size,
            kind,
            captured,
        })
    }

    /// Decodes a photo that is in memory; `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for reading.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, FrameError> {
        let (pixels, size, kind) = decode(path, bytes, MAX_PIXELS)?;
        Ok(Self {
            pixels,
            size,
            kind,
            captured: SystemTime::UNIX_EPOCH,
        })
    }

    /// RGB, 8 bits, `[height, width, 3]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The same, to draw into.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The same, without the photo.
    #[must_use]
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The size after orientation was applied; never empty.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The photo as a frame of a source.
    ///
    /// # Panics
    ///
    /// Never: it has the pixels that its size says.
    #[must_use]
    pub fn frame(&self, sequence: u64) -> Frame<'_> {
        let frame = Frame::new(&self.pixels, self.size, sequence, self.captured);
        frame.expect("a decoded photo has all of its pixels")
    }
}

impl<'a> From<&'a Photo> for Frame<'a> {
    /// The only one.
    fn from(photo: &'a Photo) -> Self {
        photo.frame(0)
    }
}

/// Whether the path is a URL: a scheme of two letters or more, and `://`.
pub(crate) fn is_url(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let usual = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    scheme.len() > 1 && scheme.bytes().all(usual)
}

/// Why there is no such file, in words that help; none where the system's own say it.
pub(super) fn missing(path: &Path, error: &io::Error) -> Option<FrameError> {
    let gone = error.kind() == io::ErrorKind::NotFound;
    let pattern = |b: &u8| b"*?[".contains(b);
    let path = path.to_owned();
    if gone && is_url(&path) {
        return Some(FrameError::Url { path });
    }
    let glob = path.as_os_str().as_encoded_bytes().iter().any(pattern);
    (gone && glob).then_some(FrameError::Pattern { path })
}

/// The format of a photo that is read.
pub(super) fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Qoi, Tiff, WebP};
    let format = image::guess_format(bytes).ok()?;
    match format {
        Jpeg | Png => Some(format),
        // two letters are a weak sign: a text may begin with them
        Bmp | Pnm if sniff::looks_like(bytes) == Some("a text") => None,
        WebP | Bmp | Gif | Tiff | Pnm | Qoi => cfg!(feature = "formats").then_some(format),
        _ => None,
    }
}

/// The longest file that is read with a limit of so many pixels: one of more of them than that is seen to be so by its header.
fn file_bytes(pixels: u64) -> u64 {
    const USUAL: u64 = 32 << 20;
    pixels
        .saturating_mul(FILE_PIXEL)
        .clamp(USUAL, MAX_FILE_BYTES)
}

/// The most memory that a photo of up to so many pixels takes while it is read: its file, its pixels as they are stored and shown,
/// and as RGB before and after it is turned.
#[must_use]
pub fn peak_bytes(pixels: u64) -> u64 {
    file_bytes(pixels) + pixels * (DECODED_PIXEL + 3) + DECODER_BYTES
}

/// The file's bytes, no more than `most`, and when they were written.
fn read(path: &Path, most: u64) -> Result<(Vec<u8>, SystemTime), FrameError> {
    let failed = |source| FrameError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let captured = if path == Path::new("-") {
        let input = io::stdin().lock();
        input
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        SystemTime::now()
    } else {
        let special = |kind| match kind {
            "a folder" => FrameError::Folder {
                path: path.to_owned(),
            },
            kind => FrameError::Special {
                path: path.to_owned(),
                kind,
            },
        };
        // looked at before it is opened, which some devices answer with an action
        let about = path
            .metadata()
            .map_err(|e| missing(path, &e).unwrap_or_else(|| failed(e)))?;
        if let Some(kind) = input::special(about.file_type()) {
            return Err(special(kind));
        }
        let file = open_regular(path).map_err(|e| match e {
            InputError::NotAFile(kind) => special(kind),
            e => failed(e.into()),
        })?;
        let about = file.metadata().map_err(failed)?;
        bytes.reserve_exact(about.len().min(most) as usize);
        // a file may grow while it is read
        file.take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        about.modified().unwrap_or(SystemTime::UNIX_EPOCH)
    };
    if bytes.is_empty() {
        return Err(FrameError::Empty {
            path: path.to_owned(),
        });
    }
    if bytes.len() as u64 > most {
        return Err(FrameError::FileTooLarge {
            path: path.to_owned(),
            limit_bytes: most,
        });
    }
    Ok((bytes, captured))
}

/// Refuses what is too large, before anything is allocated for it.
fn check_size(path: &Path, size: Size, limit: u64) -> Result<(), FrameError> {
    if size.pixels() > limit || size.width.max(size.height) > MAX_SIDE {
        return Err(FrameError::TooManyPixels {
            path: path.to_owned(),
            size,
            limit,
        });
    }
    Ok(())
}

fn decode(path: &Path, bytes: &[u8], limit: u64) -> Result<(Vec<u8>, Size, ImageKind), FrameError> {
    let Some(format) = format_of(bytes) else {
        return Err(FrameError::NotAnImage {
            path: path.to_owned(),
            looks_like: sniff::looks_like(bytes),
        });
    };
    let (pixels, size, orientation, kind) = match format {
        ImageFormat::Jpeg => {
            let (pixels, size, orientation) = decode_jpeg(path, bytes, limit)?;
            (pixels, size, orientation, ImageKind::Jpeg)
        }
        ImageFormat::Png => {
            let (image, orientation) = decode_png(path, bytes, limit)?;
            let size = Size::new(image.width(), image.height());
            (rgb(image), size, orientation, ImageKind::Png)
        }
        _ => {
            let (image, orientation) = decode_other(path, bytes, format, limit)?;
            let size = Size::new(image.width(), image.height());
            (rgb(image), size, orientation, ImageKind::Other)
        }
    };
    if orientation == Orientation::NoTransforms {
        return Ok((pixels, size, kind));
    }
    // as RGB, which is small, and of the length that its size says
    let image = image::RgbImage::from_raw(size.width, size.height, pixels);
    let mut image = DynamicImage::ImageRgb8(image.unwrap_or_default());
    image.apply_orientation(orientation);
    let size = Size::new(image.width(), image.height());
    Ok((image.into_rgb8().into_raw(), size, kind))
}

fn decode_jpeg(
    path: &Path,
    bytes: &[u8],
    limit: u64,
) -> Result<(Vec<u8>, Size, Orientation), FrameError> {
    let mut pixels = Vec::new();
    let seen = |_| Ok::<(), std::convert::Infallible>(());
    let decoded = jpeg::Decoder::default().decode(bytes, limit, seen, &mut pixels);
    let Ok((size, orientation)) = decoded.map_err(|fault| {
        let path = path.to_owned();
        match fault {
            jpeg::Fault::Cut => FrameError::Truncated {
                path,
                bytes: bytes.len() as u64,
            },
            jpeg::Fault::TooManyPixels { size, limit } => {
                FrameError::TooManyPixels { path, size, limit }
            }
            fault => FrameError::Decode {
                path,
                source: fault.into(),
            },
        }
    })?;
    Ok((pixels, size, orientation))
}

/// What a decoder answered, where a file that ends too early is told apart.
fn failed(
    path: &Path,
    bytes: &[u8],
    early: bool,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> FrameError {
    let path = path.to_owned();
    if early {
        let bytes = bytes.len() as u64;
        return FrameError::Truncated { path, bytes };
    }
    let source = source.into();
    FrameError::Decode { path, source }
}

/// By the `png` crate itself: `image` would unpack the colour profile, however large it is.
fn decode_png(
    path: &Path,
    bytes: &[u8],
    limit: u64,
) -> Result<(DynamicImage, Orientation), FrameError> {
    use png::{BitDepth, ColorType, DecodingError, Transformations};

    let failed = |e: DecodingError| {
        let early =
            matches!(&e, DecodingError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof);
        failed(path, bytes, early, e)
    };
    // the pixels are allocated here; what the decoder holds besides does not grow with them but for two rows
    let rows = MAX_SIDE as usize * 16;
    let limits = png::Limits {
        bytes: DECODER_BYTES as usize + rows,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let about = decoder.read_header_info().map_err(failed)?;
    let size = Size::new(about.width, about.height);
    check_size(path, size, limit)?;
    let mut reader = decoder.read_info().map_err(failed)?;
    let wrong = || FrameError::Pixels { size, bytes: 0 };
    let length = reader.output_buffer_size().ok_or_else(wrong)?;
    let mut pixels = vec![0; length];
    reader.next_frame(&mut pixels).map_err(failed)?;
    let exif = reader.info().exif_metadata.as_deref();
    // damaged EXIF is no reason to refuse the picture
    let orientation = exif.and_then(Orientation::from_exif_chunk);
    let (kind, depth) = reader.output_color_type();
    let (w, h) = (size.width, size.height);
    let image = if depth == BitDepth::Sixteen {
        let (pairs, _) = pixels.as_chunks::<2>();
        let deep: Vec<u16> = pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect();
        drop(pixels);
        use image::ImageBuffer;
        match kind {
            ColorType::Grayscale => {
                ImageBuffer::from_raw(w, h, deep).map(DynamicImage::ImageLuma16)
            }
            ColorType::GrayscaleAlpha => {
                ImageBuffer::from_raw(w, h, deep).map(DynamicImage::ImageLumaA16)
            }
            ColorType::Rgba => ImageBuffer::from_raw(w, h, deep).map(DynamicImage::ImageRgba16),
            _ => ImageBuffer::from_raw(w, h, deep).map(DynamicImage::ImageRgb16),
        }
    } else {
        use image::ImageBuffer;
        match kind {
            ColorType::Grayscale => {
                ImageBuffer::from_raw(w, h, pixels).map(DynamicImage::ImageLuma8)
            }
            ColorType::GrayscaleAlpha => {
                ImageBuffer::from_raw(w, h, pixels).map(DynamicImage::ImageLumaA8)
            }
            ColorType::Rgba => ImageBuffer::from_raw(w, h, pixels).map(DynamicImage::ImageRgba8),
            _ => ImageBuffer::from_raw(w, h, pixels).map(DynamicImage::ImageRgb8),
        }
    };
    let image = image.ok_or_else(wrong)?;
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
}

fn decode_other(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    limit: u64,
) -> Result<(DynamicImage, Orientation), FrameError> {
    let failed = |e: ImageError| {
        let early =
            matches!(&e, ImageError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof);
        failed(path, bytes, early, e)
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // four samples of 16 bits a pixel, once as they are stored and once as they are shown
    limits.max_alloc = Some(
        limit
            .saturating_mul(DECODED_PIXEL)
            .saturating_add(DECODER_BYTES),
    );
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(path, Size::new(width, height), limit)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok((image, orientation))
}

fn rgb(image: DynamicImage) -> Vec<u8> {
    if !image.color().has_alpha() {
        return image.into_rgb8().into_raw();
    }
    let over_grey = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + u32::from(GREY) * (255 - alpha) + 127) / 255) as u8
    };
    let rgba = image.into_rgba8();
    let (pixels, _) = rgba.as_chunks::<4>();
    // at once as long as it will be: grown, it would be there twice
    let mut rgb = Vec::with_capacity(3 * pixels.len());
    for &[r, g, b, a] in pixels {
        rgb.extend([r, g, b].map(|value| over_grey(value, a)));
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder, Luma, LumaA, Rgb, RgbImage, Rgba};
    use std::{fs, path::PathBuf};

    /// A folder of this test's own, removed when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tarsier-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).expect("a temporary folder");
            Self(path)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, bytes).expect("a temporary file");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Left half red, right half blue, and a green row at the top.
    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            match (y < height / 4, x < width / 2) {
                (true, _) => Rgb([0, 200, 0]),
                (false, true) => Rgb([200, 0, 0]),
                (false, false) => Rgb([0, 0, 200]),
            }
        })
    }

    fn jpeg_bytes(image: &RgbImage, exif_orientation: Option<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        if let Some(code) = exif_orientation {
            // big-endian TIFF, one entry: tag 0x0112, SHORT, one value
            let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
            exif.extend([code, 0, 0, 0, 0, 0, 0]);
            encoder.set_exif_metadata(exif).expect("JPEG holds EXIF");
        }
        encoder
            .write_image(
                image,
                image.width(),
                image.height(),
                ExtendedColorType::Rgb8,
            )
            .expect("an encodable picture");
        bytes
    }

    fn png_bytes(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image
            .into()
            .write_to(&mut bytes, ImageFormat::Png)
            .expect("an encodable picture");
        bytes.into_inner()
    }

    fn pixel(image: &Photo, x: usize, y: usize) -> [u8; 3] {
        let at = (y * image.size.width as usize + x) * 3;
        [image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]]
    }

    fn assert_near(a: [u8; 3], b: [u8; 3]) {
        assert!(
            a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 30),
            "{a:?} is not near {b:?}"
        );
    }

    #[test]
    fn the_kind_is_read_from_the_content_and_not_from_the_name() {
        let folder = Folder::new("kind");
        let path = folder.write("photo.png", &jpeg_bytes(&picture(32, 16), None));
        let image = Photo::open(&path).expect("a JPEG");
        assert_eq!(
            (image.kind, image.size),
            (ImageKind::Jpeg, Size::new(32, 16))
        );
        assert_near(pixel(&image, 4, 12), [200, 0, 0]);
        assert_near(pixel(&image, 28, 12), [0, 0, 200]);
        assert_eq!(image.frame(5).sequence, 5);
    }

    #[test]
    fn png_pixels_survive_exactly() {
        let folder = Folder::new("png");
        let drawn = picture(9, 7);
        let path = folder.write("a", &png_bytes(drawn.clone()));
        let image = Photo::open(&path).expect("a PNG");
        assert_eq!(image.kind, ImageKind::Png);
        assert_eq!(image.pixels, drawn.into_raw());
    }

    #[test]
    fn every_exif_orientation_is_undone() {
        let folder = Folder::new("exif");
        // where the stored top row (green) is shown, by EXIF's table
        let top_row_goes = [
            "top", "top", "bottom", "bottom", "left", "right", "right", "left",
        ];
        for (code, side) in (1u8..).zip(top_row_goes) {
            let path = folder.write("a.jpg", &jpeg_bytes(&picture(64, 32), Some(code)));
            let image = Photo::open(&path).expect("a JPEG");
            let (width, height) = if code < 5 { (64, 32) } else { (32, 64) };
            assert_eq!(image.size, Size::new(width, height), "orientation {code}");
            let (w, h) = (width as usize, height as usize);
            let at = match side {
                "top" => (w / 2, 1),
                "bottom" => (w / 2, h - 2),
                "left" => (1, h / 2),
                _ => (w - 2, h / 2),
            };
            assert_near(pixel(&image, at.0, at.1), [0, 200, 0]);
        }
    }

    #[test]
    fn grey_and_16_bit_images_become_8_bit_rgb() {
        let folder = Folder::new("grey");
        let grey = image::GrayImage::from_pixel(3, 2, Luma([77]));
        let image = Photo::open(folder.write("grey", &png_bytes(grey))).expect("grey");
        assert_eq!(image.pixels, [77; 18]);

        let deep = image::ImageBuffer::from_pixel(3, 2, Rgb([65535u16, 257 * 100, 0]));
        let image = Photo::open(folder.write("deep", &png_bytes(deep))).expect("16 bits");
        assert_eq!(pixel(&image, 1, 1), [255, 100, 0]);
    }

    #[test]
    fn transparent_pixels_show_the_grey_of_the_padding() {
        let folder = Folder::new("alpha");
        let mut drawn = image::RgbaImage::from_pixel(3, 1, Rgba([255, 0, 10, 255]));
        drawn.put_pixel(1, 0, Rgba([255, 0, 10, 0]));
        drawn.put_pixel(2, 0, Rgba([255, 0, 10, 128]));
        let image = Photo::open(folder.write("rgba", &png_bytes(drawn))).expect("RGBA");
        assert_eq!(pixel(&image, 0, 0), [255, 0, 10]);
        assert_eq!(pixel(&image, 1, 0), [GREY; 3]);
        assert_eq!(pixel(&image, 2, 0), [185, 57, 62]);

        let drawn = image::GrayAlphaImage::from_pixel(1, 1, LumaA([9, 0]));
        let image = Photo::open(folder.write("la", &png_bytes(drawn))).expect("grey, alpha");
        assert_eq!(pixel(&image, 0, 0), [GREY; 3]);
    }

    #[test]
    fn a_cmyk_jpeg_becomes_rgb() {
        // 16×16, four inks, Adobe marker (inks stored inverted): left cyan, right yellow
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmyk.jpg");
        let image = Photo::open(&path).expect("a CMYK JPEG");
        assert_eq!(image.size, Size::new(16, 16));
        assert_near(pixel(&image, 3, 8), [0, 255, 255]);
        assert_near(pixel(&image, 12, 8), [255, 255, 0]);
    }

    #[test]
    fn a_cut_jpeg_is_an_error_that_names_the_file_and_its_length() {
        let folder = Folder::new("cut-jpeg");
        let whole = jpeg_bytes(&picture(64, 64), None);
        for end in [3, 20, whole.len() / 2, whole.len() - 40, whole.len() - 1] {
            let error =
                Photo::open(folder.write("half.jpg", &whole[..end])).expect_err("a cut JPEG");
            assert!(
                matches!(error, FrameError::Truncated { .. }),
                "{end}: {error}"
            );
            let text = error.to_string();
            assert!(
                text.contains("half.jpg") && text.contains(&format!("{end} bytes")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_jpeg_decoder_alone_would_not_notice_a_cut() {
        // if this fails, the walk over the entropy code may have become unnecessary
        let whole = jpeg_bytes(&picture(64, 64), None);
        let half = &whole[..whole.len() - 40];
        assert!(image::load_from_memory_with_format(half, ImageFormat::Jpeg).is_ok());
    }

    #[test]
    fn a_cut_png_is_an_error() {
        let folder = Folder::new("cut-png");
        let whole = png_bytes(picture(64, 64));
        for end in [9, 30, whole.len() / 2, whole.len() - 20] {
            let error =
                Photo::open(folder.write("half.png", &whole[..end])).expect_err("a cut PNG");
            assert!(
                matches!(error, FrameError::Truncated { .. }),
                "{end}: {error}"
            );
        }
    }

    #[test]
    fn what_is_no_image_is_named_with_what_it_is() {
        let folder = Folder::new("no-image");
        let open = |name: &str, bytes: &[u8]| {
            Photo::open(folder.write(name, bytes))
                .expect_err("no image")
                .to_string()
        };
        let text = open("notes.jpg", b"milk, eggs");
        assert!(
            text.contains("notes.jpg is a text; read are JPEG"),
            "{text}"
        );
        assert!(open("a.jpg", b"").ends_with("a.jpg is empty (0 bytes)"));
        assert!(open("b.jpg", b"\0\0\0\x18ftypheic").contains("a HEIC image"));
        assert!(open("c.jpg", b"\0\x80\x01").contains("not an image"));
        let text = Photo::open(&folder.0).expect_err("a folder").to_string();
        assert!(text.contains("is a folder"), "{text}");
        let missing = folder.0.join("missing.jpg");
        let text = Photo::open(&missing).expect_err("no file").to_string();
        assert!(
            text.starts_with("cannot read") && text.contains("missing.jpg"),
            "{text}"
        );
    }

    #[test]
    fn absurd_dimensions_are_refused_before_a_pixel_is_allocated() {
        let folder = Folder::new("absurd");
        let mut png = png_bytes(picture(8, 8));
        png[16..24].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
        let sum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        let error = Photo::open(folder.write("bomb.png", &png)).expect_err("a bomb");
        assert!(matches!(error, FrameError::TooManyPixels { .. }), "{error}");
        assert!(error.to_string().contains("65535x65535"), "{error}");

        // the frame header says so in a JPEG: FF C0, length, precision, height, width
        let mut jpeg = jpeg_bytes(&picture(8, 8), None);
        let header = jpeg
            .windows(2)
            .position(|w| w == [0xFF, 0xC0])
            .expect("a frame header");
        jpeg[header + 5..header + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
        let error = Photo::open(folder.write("bomb.jpg", &jpeg)).expect_err("a bomb");
        assert!(matches!(error, FrameError::TooManyPixels { .. }), "{error}");
    }

    /// PNG's checksum, so that the test can forge a header.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let folder = Folder::new("flipped");
        for whole in [
            jpeg_bytes(&picture(24, 24), Some(6)),
            png_bytes(picture(24, 24)),
        ] {
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x55;
                let _ = decode(&folder.0, &bytes, MAX_PIXELS);
            }
        }
    }
}
