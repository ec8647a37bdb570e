//! Draws masks, boxes, names and regions into a photo, and saves it.
//!
//! | file | does |
//! |---|---|
//! | this one | objects of a report; files |
//! | `canvas` | pixels, lines, letters, and labels that keep clear of one another |
//! | `regions` | maps of stuff and segments |
//!
//! Lines and letters grow with the picture, so that both a thumbnail and a 12-megapixel
//! photo can be read; labels are kept inside the picture and off one another where there is room, cut with an ellipsis
//! where they are wider than it, and left out where not even a letter fits. A name has the same colour in every picture.
//!
//! Letters come from the crate `noto-sans-mono-bitmap`: Latin with accents (Basic
//! Latin, Latin-1, Latin Extended-A). Any other character, say Greek, Cyrillic or
//! Chinese, is drawn as the replacement sign �, one for each; the reports
//! have the name as it is.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};

use crate::files;
use crate::frame::file::ImageKind;
use crate::geometry::Size;
use crate::scene::{Names, Report};

mod canvas;
mod regions;

pub(crate) use canvas::colour;
use canvas::{Canvas, Style, caption};
pub use regions::{draw_map, draw_segments};

/// Of a saved JPEG, 1..=100.
const JPEG_QUALITY: u8 = 90;

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
        canvas.tint(mask, style.line, colour(names.name(detection.prompt)));
    }
    // all boxes first: a label is never crossed out by another box
    for detection in report.detections.iter().rev() {
        let name = names.name(detection.prompt);
        canvas.outline(&detection.bbox, style.line, colour(name));
    }
    // the best has the first choice of a place, and lies above where there is none
    let mut labels = Vec::new();
    for (i, detection) in report.detections.iter().enumerate() {
        let name = names.name(detection.prompt);
        let tag = report
            .track(i)
            .map_or_else(String::new, |id| format!(" #{id}"));
        let text = |room| caption(&format!("{name}{tag}"), detection, room);
        labels.extend(canvas.label_at_box(&detection.bbox, style, text, colour(name), &labels));
    }
    for label in labels.iter().rev() {
        canvas.label(label, style);
    }
}

/// Saves pixels as the kind that the photo was, or as PNG if that is neither JPEG nor PNG.
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
    files::write(path, |out| encode(out, pixels, size, kind)).map_err(failed)
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
        ImageKind::Png | ImageKind::Other => {
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use noto_sans_mono_bitmap::RasterHeight;

    use super::{
        canvas::{contrast, fitted, glyph},
        *,
    };
    use crate::{geometry::BBox, scene::Detection};

    type Rgb = [u8; 3];

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
    fn labels_keep_clear_of_one_another_where_there_is_room() {
        let size = Size::new(400, 300);
        let bbox = BBox::new(100.0, 100.0, 250.0, 220.0);
        let one = drawn(size, &[(bbox, 0)]);
        let many = drawn(size, &[(bbox, 0), (bbox, 0), (bbox, 0), (bbox, 0)]);
        let ink = contrast(colour("cup"));
        let letters = |pixels: &[u8]| pixels.chunks(3).filter(|p| **p == ink).count();
        assert_eq!(letters(&many), 4 * letters(&one));
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
