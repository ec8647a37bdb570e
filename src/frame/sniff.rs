//! What bytes look like, for messages: people give a program many things that are no photos.
//!
//! Only the beginning is looked at. A name here is a guess that helps, not a check: whoever reads
//! the format decides.

/// The beginnings that name a format: where, what stands there, what it is.
const MARKS: [(usize, &[u8], &str); 39] = [
    (0, b"\xFF\xD8\xFF", "a JPEG image"),
    (0, b"\x89PNG\r\n\x1A\n", "a PNG image"),
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (0, b"II+\0", "a BigTIFF image"),
    (0, b"MM\0+", "a BigTIFF image"),
    (0, b"qoif", "a QOI image"),
    (0, b"\xFF\x0A", "a JPEG XL image"),
    (0, b"\0\0\0\x0CJXL ", "a JPEG XL image"),
    (0, b"\0\0\0\x0CjP  ", "a JPEG 2000 image"),
    (0, b"\xFF\x4F\xFF\x51", "a JPEG 2000 image"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"v/1\x01", "a high dynamic range image (OpenEXR)"),
    (0, b"#?RADIANCE", "a high dynamic range image"),
    (0, b"DDS ", "a DirectDraw texture"),
    (0, b"\0\0\x01\0", "an icon"),
    (0, b"farbfeld", "a farbfeld image"),
    (0, b"FUJIFILMCCD-RAW", "a raw photo of a camera"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypavis", "an AVIF image"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftyphev", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftypmsf1", "a HEIF image"),
    (4, b"ftypcrx ", "a raw photo of a camera"),
    (4, b"ftyp", "an MP4 or QuickTime video"),
    (8, b"AVI ", "an AVI video"),
    (8, b"WAVE", "a sound"),
    (0, b"\x1A\x45\xDF\xA3", "a Matroska or WebM video"),
    (0, b"OggS", "an Ogg file"),
    (0, b"\0\0\0\x01", "a raw video stream (H.264 or H.265)"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1F\x8B", "a gzip archive"),
    (0, b"\x28\xB5\x2F\xFD", "a zstd archive"),
    (0, b"\x7FELF", "a program"),
    (0, b"SQLite format 3", "a database"),
];

/// How much of a file is enough to look at.
const LOOK: usize = 512;

/// What the bytes look like, as words that follow "is".
#[must_use]
pub fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(LOOK)];
    let marked = MARKS
        .iter()
        .find(|(at, mark, _)| (start.get(*at..)).is_some_and(|rest| rest.starts_with(mark)));
    if let Some((_, _, name)) = marked {
        return Some(name);
    }
    match start {
        [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t' | b'#', ..] => return Some("a PNM image"),
        // the size of its header tells a bitmap from a text
        [b'B', b'M', ..]
            if matches!(
                start.get(14..18),
                Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
            ) =>
        {
            return Some("a BMP image");
        }
        _ => {}
    }
    text(start)
}

fn text(start: &[u8]) -> Option<&'static str> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // the look may end inside a letter
        Err(e) if e.valid_up_to() + 4 > start.len() && start.len() == LOOK => {
            std::str::from_utf8(&start[..e.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let begins = |with: &str| lower.starts_with(with);
    Some(if begins("version https://git-lfs") {
        "a Git LFS pointer; `git lfs pull` fetches the file that it stands for"
    } else if begins("<!doctype html") || begins("<html") || lower.contains("<html") {
        "a web page (HTML)"
    } else if begins("<svg") || lower.contains("<svg") {
        "an SVG drawing"
    } else if begins("<?xml") {
        "an XML document"
    } else if begins("{") || begins("[") {
        "a text (JSON, as it seems)"
    } else if text.is_empty() {
        return None;
    } else {
        "a text"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_take_for_photos_has_a_name() {
        for (bytes, name) in [
            (&b"\0\0\0\x20ftypavif\0\0"[..], "an AVIF image"),
            (b"\0\0\0\x20ftypheic\0\0", "a HEIC image"),
            (b"\0\0\0\x20ftypisom\0\0", "an MP4 or QuickTime video"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP image"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "Git LFS",
            ),
            (b"\n<!DOCTYPE HTML><head>", "HTML"),
            (b"<?xml version='1.0'?><svg>", "SVG"),
            (b"\xEF\xBB\xBFmilk, eggs", "a text"),
            (b"BM is no bitmap", "a text"),
            (b"P5 4 4 255 ", "PNM"),
            (b"PK\x03\x04", "ZIP"),
        ] {
            let found = looks_like(bytes).unwrap_or("nothing");
            assert!(found.contains(name), "{name}: {found}");
        }
    }

    #[test]
    fn noise_and_nothing_have_none_and_a_letter_cut_in_two_is_still_text() {
        assert_eq!(looks_like(b""), None);
        assert_eq!(looks_like(&[0; 600]), None);
        assert_eq!(looks_like(&[0x80, 0x81, 0x90]), None);
        let words = ["x", &"ä".repeat(600)].concat();
        assert_eq!(looks_like(words.as_bytes()), Some("a text"));
    }
}
