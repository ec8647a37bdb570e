//! Draws masks, boxes and names into a photo, and saves it.
//!
//! Lines and letters grow with the picture, so that both a thumbnail and a 12-megapixel
//! photo can be read; labels are kept inside the picture, cut with an ellipsis where they are
//! wider than it, and left out where not even a letter fits. A name has the same colour in
//! every picture.
//!
//! Letters come from the crate `noto-sans-mono-bitmap`: Latin with accents (Basic
//! Latin, Latin-1, Latin Extended-A). Any other character, say Greek, Cyrillic or
//! Chinese, is drawn as the replacement sign �, one for each; the reports
//! have the name as it is.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster};

use crate::frame::file::ImageKind;
use crate::geometry::Size;
use crate::mask::Mask;
use crate::scene::{Detection, Names, Report};

/// Of a saved JPEG, 1..=100.
const JPEG_QUALITY: u8 = 90;

type Rgb = [u8; 3];

/// Draws a report's detections into its frame's pixels, the best on top.
///
/// `pixels` is `[height, width, 3]` of RGB.
///
/// # Panics
///
/// If the pixels are not those of the report's size.
pub fn draw(pixels: &mut [u8], report: &Report, names: &dyn Names) {
    let size = report.size;
    assert_eq!(pixels.len() as u64, size.pixels() * 3, "pixels of {size}");
    let mut canvas = Canvas { pixels, size };
    let style = Style::of(size);
    for (detection, mask) in report.detections.iter().zip(&report.masks).rev() {
        canvas.tint(mask, colour(names.name(detection.prompt)));
    }
    // all boxes first: a label is never crossed out by another box
    for detection in report.detections.iter().rev() {
        canvas.outline(detection, style.line, colour(names.name(detection.prompt)));
    }
    for (i, detection) in report.detections.iter().enumerate().rev() {
        let name = names.name(detection.prompt);
        let tag = report
            .track(i)
            .map_or_else(String::new, |id| format!(" #{id}"));
        canvas.label(detection, style, name, &tag);
    }
}

/// Saves pixels as the kind that the photo was.
///
/// The kind decides, whatever the path ends in.
///
/// # Errors
///
/// [`SaveError`], which names the file, if it cannot be created, encoded or written.
pub fn save(path: &Path, pixels: &[u8], size: Size, kind: ImageKind) -> Result<(), SaveError> {
    let failed = |source| SaveError {
        path: path.to_owned(),
        source,
    };
    let file = File::create(path).map_err(|error| failed(ImageError::IoError(error)))?;
    let mut out = BufWriter::new(file);
    encode(&mut out, pixels, size, kind).map_err(failed)?;
    out.flush()
        .map_err(|error| failed(ImageError::IoError(error)))
}

/// Encodes pixels as the kind that the photo was.
///
/// # Errors
///
/// What the encoder answered: that the output failed, or that the kind cannot hold the size.
pub fn encode(
    out: &mut impl Write,
    pixels: &[u8],
    size: Size,
    kind: ImageKind,
) -> Result<(), ImageError> {
    let Size { width, height } = size;
    match kind {
        ImageKind::Jpeg => JpegEncoder::new_with_quality(out, JPEG_QUALITY).write_image(
            pixels,
            width,
            height,
            ExtendedColorType::Rgb8,
        ),
        ImageKind::Png => {
            PngEncoder::new(out).write_image(pixels, width, height, ExtendedColorType::Rgb8)
        }
    }
}

/// Why a drawn photo could not be saved.
#[derive(Debug)]
pub struct SaveError {
    /// Where it was to go.
    pub path: PathBuf,
    /// What the encoder or the system answered.
    pub source: ImageError,
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot save {}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for SaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// How thick and how large, for one size of picture.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// Of a box's outline, in pixels.
    line: i64,
    font: RasterHeight,
    /// Each pixel of a letter becomes this many, squared.
    zoom: i64,
}

impl Style {
    /// A line is about a 250th of the picture's shorter side, a letter about a 25th; a
    /// letter is never smaller than the smallest font.
    fn of(size: Size) -> Self {
        let side = size.width.min(size.height).max(1);
        let wanted = side / 25;
        let (font, zoom) = match wanted {
            0..18 => (RasterHeight::Size16, 1),
            18..22 => (RasterHeight::Size20, 1),
            22..28 => (RasterHeight::Size24, 1),
            28..40 => (RasterHeight::Size32, 1),
            40..44 => (RasterHeight::Size20, 2),
            44..56 => (RasterHeight::Size24, 2),
            _ => (RasterHeight::Size32, i64::from((wanted + 16) / 32)),
        };
        let line = i64::from((side + 125) / 250).max(if side < 100 { 1 } else { 2 });
        Self { line, font, zoom }
    }

    fn letter_height(self) -> i64 {
        self.font.val() as i64 * self.zoom
    }

    fn letter_width(self) -> i64 {
        glyph('x', self.font).width() as i64 * self.zoom
    }
}

/// The letter, or the sign for "no such letter here".
fn glyph(letter: char, font: RasterHeight) -> RasterizedChar {
    let letter = if letter.is_control() { ' ' } else { letter };
    get_raster(letter, FontWeight::Bold, font)
        .or_else(|| get_raster(char::REPLACEMENT_CHARACTER, FontWeight::Bold, font))
        .or_else(|| get_raster('?', FontWeight::Bold, font))
        .expect("the font has a question mark")
}

/// Pixels to draw into; whatever is outside is not drawn.
struct Canvas<'a> {
    pixels: &'a mut [u8],
    size: Size,
}

impl Canvas<'_> {
    /// Fills `x0..x1` by `y0..y1`, as far as it is inside.
    fn fill(&mut self, x0: i64, y0: i64, x1: i64, y1: i64, colour: Rgb) {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let (x0, x1) = (x0.clamp(0, width), x1.clamp(0, width));
        for y in y0.clamp(0, height)..y1.clamp(0, height) {
            let row = (y * width) as usize;
            let span = row + x0 as usize..row + x1.max(x0) as usize;
            self.pixels[span.start * 3..span.end * 3]
                .as_chunks_mut::<3>()
                .0
                .fill(colour);
        }
    }

    /// Mixes a mask's pixels half and half with a colour.
    fn tint(&mut self, mask: &Mask, colour: Rgb) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        for pixel in mask.runs().flatten().map(|pixel| pixel as usize) {
            let at = (pixel % height * width + pixel / height) * 3;
            for (value, tint) in self.pixels[at..at + 3].iter_mut().zip(colour) {
                *value = value.midpoint(tint);
            }
        }
    }

    /// The box's outline: inside the box, and at least a pixel of it.
    fn outline(&mut self, detection: &Detection, line: i64, colour: Rgb) {
        let (x0, y0, x1, y1) = self.whole_pixels(detection);
        let line_x = line.min(x1 - x0);
        let line_y = line.min(y1 - y0);
        self.fill(x0, y0, x1, y0 + line_y, colour);
        self.fill(x0, y1 - line_y, x1, y1, colour);
        self.fill(x0, y0, x0 + line_x, y1, colour);
        self.fill(x1 - line_x, y0, x1, y1, colour);
    }

    /// The pixels that a box touches, at least one, inside the picture.
    fn whole_pixels(&self, detection: &Detection) -> (i64, i64, i64, i64) {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let bbox = &detection.bbox;
        let x0 = (bbox.x0.floor() as i64).clamp(0, width - 1);
        let y0 = (bbox.y0.floor() as i64).clamp(0, height - 1);
        let x1 = (bbox.x1.ceil() as i64).clamp(x0 + 1, width);
        let y1 = (bbox.y1.ceil() as i64).clamp(y0 + 1, height);
        (x0, y0, x1, y1)
    }

    /// The name and score: above the box if there is room, else inside its top.
    fn label(&mut self, detection: &Detection, style: Style, name: &str, tag: &str) {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let margin = style.line;
        let letters = fitted(
            &format!("{name}{tag}"),
            detection.score,
            (width - 2 * margin) / style.letter_width(),
        );
        let label_height = style.letter_height();
        if letters.is_empty() || label_height > height {
            return;
        }
        let label_width = letters.chars().count() as i64 * style.letter_width() + 2 * margin;
        let (x0, y0, ..) = self.whole_pixels(detection);
        let left = x0.min(width - label_width).max(0);
        let above = y0 - label_height;
        let top = if above >= 0 {
            above
        } else {
            y0.min(height - label_height)
        };

        let back = colour(name);
        let ink = contrast(back);
        self.fill(left, top, left + label_width, top + label_height, back);
        let mut x = left + margin;
        for letter in letters.chars() {
            self.letter(x, top, style, letter, back, ink);
            x += style.letter_width();
        }
    }

    fn letter(&mut self, left: i64, top: i64, style: Style, letter: char, back: Rgb, ink: Rgb) {
        for (row, y) in glyph(letter, style.font).rows().zip(0..) {
            for (&strength, x) in row.iter().zip(0..) {
                if strength > 0 {
                    let (x, y) = (left + x * style.zoom, top + y * style.zoom);
                    let mixed = mix(back, ink, strength);
                    self.fill(x, y, x + style.zoom, y + style.zoom, mixed);
                }
            }
        }
    }
}

/// Name and score in at most so many letters: the name is cut first, then all.
fn fitted(name: &str, score: f32, room: i64) -> String {
    let room = usize::try_from(room).unwrap_or(0);
    let score = format!(" {:.2}", score);
    let length = name.chars().count();
    if length + score.len() <= room {
        return format!("{name}{score}");
    }
    // three letters and an ellipsis still mean something beside a score
    let (kept, tail) = if room >= score.len() + 4 {
        (room - score.len() - 2, format!("..{score}"))
    } else if length <= room {
        (length, String::new())
    } else {
        (room, String::new())
    };
    name.chars().take(kept).chain(tail.chars()).collect()
}

/// A name's colour: its hash picks a hue, and one of three tones.
fn colour(name: &str) -> Rgb {
    // FNV-1a: short, and the same for ever, which the standard hasher does not promise
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = hash ^ (hash >> 32);
    let (low, high) = [(30, 255), (0, 210), (90, 255)][(hash / 360 % 3) as usize];
    let hue = (hash % 360) as u32;
    let rising = low + (high - low) * (hue % 60) / 60;
    let falling = low + high - rising;
    let [r, g, b] = match hue / 60 {
        0 => [high, rising, low],
        1 => [falling, high, low],
        2 => [low, high, rising],
        3 => [low, falling, high],
        4 => [rising, low, high],
        _ => [high, low, falling],
    };
    [r as u8, g as u8, b as u8]
}

/// Black or white, whichever is easier to read on a colour.
fn contrast([r, g, b]: Rgb) -> Rgb {
    // luma of BT.601, in thousandths
    let luma = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    if luma > 128_000 { [0; 3] } else { [255; 3] }
}

fn mix(back: Rgb, ink: Rgb, strength: u8) -> Rgb {
    let strength = u32::from(strength);
    std::array::from_fn(|i| {
        let sum = u32::from(back[i]) * (255 - strength) + u32::from(ink[i]) * strength;
        ((sum + 127) / 255) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::BBox;
    use std::time::SystemTime;

    const NAMES: &[&str; 3] = &[
        "cup",
        "猫 cat",
        "a very long name of a thing that nobody has ever seen",
    ];
    const BLACK: Rgb = [0; 3];

    fn drawn(size: Size, detections: &[(BBox, u32)]) -> Vec<u8> {
        let mut report = Report::new(0, SystemTime::UNIX_EPOCH, size);
        report
            .detections
            .extend(detections.iter().map(|&(bbox, prompt)| Detection {
                bbox,
                score: 0.87,
                logit: 1.9,
                prompt,
                location: 0,
            }));
        let mut pixels = vec![0; size.pixels() as usize * 3];
        draw(&mut pixels, &report, NAMES);
        pixels
    }

    fn at(pixels: &[u8], size: Size, x: u32, y: u32) -> Rgb {
        let at = (y * size.width + x) as usize * 3;
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    }

    /// The smallest box around everything that is not black.
    fn extent(pixels: &[u8], size: Size) -> (u32, u32, u32, u32) {
        let mut extent = (u32::MAX, u32::MAX, 0, 0);
        for y in 0..size.height {
            for x in 0..size.width {
                if at(pixels, size, x, y) != BLACK {
                    extent = (
                        extent.0.min(x),
                        extent.1.min(y),
                        extent.2.max(x + 1),
                        extent.3.max(y + 1),
                    );
                }
            }
        }
        extent
    }

    #[test]
    fn a_box_is_outlined_and_its_inside_is_left_alone() {
        let size = Size::new(300, 200);
        let pixels = drawn(size, &[(BBox::new(50.0, 60.0, 150.0, 160.0), 0)]);
        let colour = colour("cup");
        for (x, y) in [(50, 160 - 1), (150 - 1, 100), (51, 100), (100, 158)] {
            assert_eq!(at(&pixels, size, x, y), colour, "at {x}, {y}");
        }
        assert_eq!(at(&pixels, size, 100, 110), BLACK);
        assert_eq!(at(&pixels, size, 52, 100), BLACK);
        let (left, top, right, bottom) = extent(&pixels, size);
        assert_eq!((left, right, bottom), (50, 150, 160));
        assert_eq!(top, 60 - 16, "the label stands on the box");
    }

    #[test]
    fn a_label_has_letters_in_a_contrasting_colour() {
        let size = Size::new(300, 200);
        let pixels = drawn(size, &[(BBox::new(50.0, 60.0, 150.0, 160.0), 0)]);
        let ink = contrast(colour("cup"));
        let letters = (44..60)
            .flat_map(|y| (50..150).map(move |x| (x, y)))
            .filter(|&(x, y)| at(&pixels, size, x, y) == ink)
            .count();
        assert!(letters > 50, "{letters} pixels of ink");
    }

    #[test]
    fn a_label_at_the_edge_is_moved_inside() {
        let size = Size::new(300, 200);
        let whole = drawn(size, &[(BBox::new(0.0, 0.0, 300.0, 200.0), 0)]);
        assert_eq!(at(&whole, size, 1, 8), colour("cup"));
        let corner = drawn(size, &[(BBox::new(295.0, 195.0, 300.0, 200.0), 0)]);
        let (left, top, right, bottom) = extent(&corner, size);
        assert_eq!((right, bottom, top), (300, 200, 195 - 16));
        assert!(left < 250, "the label begins left of its box: {left}");
    }

    #[test]
    fn any_size_of_picture_and_any_box_can_be_drawn() {
        for (width, height) in [(1, 1), (1, 500), (500, 1), (15, 15), (17, 40), (4000, 3000)] {
            let size = Size::new(width, height);
            let (w, h) = (width as f32, height as f32);
            for prompt in 0..3 {
                for bbox in [
                    BBox::new(0.0, 0.0, w, h),
                    BBox::new(w - 0.5, h - 0.5, w, h),
                    BBox::new(0.2, 0.2, 0.3, 0.3),
                    BBox::new(-1e9, f32::NAN, 1e9, f32::INFINITY),
                ] {
                    let pixels = drawn(size, &[(bbox, prompt)]);
                    assert!(pixels.iter().any(|&p| p > 0), "{size}, {bbox:?}");
                }
            }
        }
    }

    #[test]
    fn lines_and_letters_grow_with_the_picture() {
        let style = |width, height| {
            let style = Style::of(Size::new(width, height));
            (style.line, style.letter_height())
        };
        assert_eq!(style(64, 64), (1, 16));
        assert_eq!(style(640, 480), (2, 20));
        assert_eq!(style(1920, 1080), (4, 40));
        assert_eq!(style(4000, 3000), (12, 128));
        let heights: Vec<_> = (1..5000).map(|side| style(side, side).1).collect();
        assert!(heights.is_sorted());
    }

    #[test]
    fn a_name_too_wide_for_the_picture_is_cut_and_keeps_its_score() {
        assert_eq!(fitted("cup", 0.873, 100), "cup 0.87");
        assert_eq!(fitted("cup", 0.873, 8), "cup 0.87");
        assert_eq!(fitted("coffee cup", 0.873, 14), "coffee .. 0.87");
        assert_eq!(fitted("cup", 0.873, 5), "cup");
        assert_eq!(fitted("coffee", 0.873, 3), "cof");
        assert_eq!(fitted("cup", 0.873, 0), "");
        assert_eq!(fitted("cup", 0.873, -4), "");
    }

    #[test]
    fn a_character_without_a_letter_is_drawn_as_the_replacement_sign() {
        let sign = glyph(char::REPLACEMENT_CHARACTER, RasterHeight::Size16);
        for letter in ['猫', 'ж', '\u{1F408}'] {
            assert_eq!(glyph(letter, RasterHeight::Size16).pixels(), sign.pixels());
        }
        for letter in ['a', 'é', 'Ő', 'ß'] {
            assert_ne!(glyph(letter, RasterHeight::Size16).pixels(), sign.pixels());
        }
        assert!(sign.pixels().iter().any(|&p| p > 0));
    }

    #[test]
    fn colours_are_stable_per_name_and_differ_between_names() {
        // recorded once: a colour is to be the same in every version
        assert_eq!(colour("cup"), [210, 21, 0]);
        let names = ["cup", "door", "person", "chair", "dog", "stairs"];
        for (i, a) in names.iter().enumerate() {
            for b in &names[..i] {
                let distance: u32 = (0..3)
                    .map(|c| u32::from(colour(a)[c].abs_diff(colour(b)[c])))
                    .sum();
                assert!(distance > 40, "{a} and {b}: {distance}");
            }
        }
    }

    #[test]
    fn letters_contrast_with_every_colour_there_is() {
        for i in 0..2000 {
            let back = colour(&i.to_string());
            let ink = contrast(back);
            let luma =
                |[r, g, b]: Rgb| 299 * i32::from(r) + 587 * i32::from(g) + 114 * i32::from(b);
            assert!((luma(back) - luma(ink)).abs() > 100_000, "{back:?}");
        }
    }

    #[test]
    fn a_picture_is_saved_as_the_kind_it_was() {
        let size = Size::new(40, 30);
        let pixels = drawn(size, &[(BBox::new(5.0, 5.0, 30.0, 25.0), 0)]);
        let saved = |kind| {
            let mut bytes = Vec::new();
            encode(&mut bytes, &pixels, size, kind).expect("a Vec takes everything");
            bytes
        };
        let png = saved(ImageKind::Png);
        assert_eq!(
            image::guess_format(&png).expect("known"),
            image::ImageFormat::Png
        );
        let read = image::load_from_memory(&png).expect("a PNG").into_rgb8();
        assert_eq!(read.into_raw(), pixels);
        let jpeg = saved(ImageKind::Jpeg);
        assert_eq!(
            image::guess_format(&jpeg).expect("known"),
            image::ImageFormat::Jpeg
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let path = Path::new("/nonexistent-folder/out.png");
        let error = save(path, &[0; 3], Size::new(1, 1), ImageKind::Png).expect_err("no folder");
        assert!(
            error.to_string().contains("/nonexistent-folder/out.png"),
            "{error}"
        );
    }
}
