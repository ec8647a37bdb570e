//! What a stream is, by its first bytes, where it is not what it was called.

/// How many bytes are looked at.
pub(super) const HEAD: usize = 512;

const VIDEO: &str = "ffmpeg -i FILE -c:v mjpeg -q:v 3 -f mjpeg - makes MJPEG of it";
const CAMERA: &str = "ask the camera's program for MJPEG (rpicam-vid --codec mjpeg)";
const PHOTO: &str = "files:PATH reads photos";
const NONE: &str = "";

/// Something that is known, and what to do about it.
pub(super) type Known = (&'static str, &'static str);

/// What a stream that should be MJPEG is beyond doubt.
pub(super) fn video(head: &[u8]) -> Option<Known> {
    annex_b(head).or_else(|| container(head))
}

/// What a stream that should be raw pixels is beyond doubt: of those, any short beginning is
/// possible.
pub(super) fn container(head: &[u8]) -> Option<Known> {
    let at = |from: usize, what: &[u8]| head.get(from..).is_some_and(|h| h.starts_with(what));
    let all: [(bool, Known); 12] = [
        (at(0, b"YUV4MPEG2 "), ("Y4M", "y4m:PATH reads it")),
        (at(4, b"ftyp"), ("MP4", VIDEO)),
        (at(4, b"moov") || at(4, b"mdat"), ("QuickTime", VIDEO)),
        (at(0, b"\x1A\x45\xDF\xA3"), ("Matroska or WebM", VIDEO)),
        (at(0, b"OggS"), ("Ogg", VIDEO)),
        (at(0, b"FLV\x01"), ("Flash video", VIDEO)),
        (
            at(0, b"G") && at(188, b"G") && at(376, b"G"),
            ("an MPEG transport stream", VIDEO),
        ),
        (at(0, b"\x89PNG\r\n\x1A\n"), ("PNG", PHOTO)),
        (at(0, b"GIF87a") || at(0, b"GIF89a"), ("GIF", PHOTO)),
        (at(0, b"RIFF") && at(8, b"WEBP"), ("WebP", PHOTO)),
        (at(0, b"\x1F\x8B\x08"), ("a gzip archive", NONE)),
        (at(0, b"PK\x03\x04"), ("a ZIP archive", NONE)),
    ];
    all.into_iter().find_map(|(is, known)| is.then_some(known))
}

/// H.264 or H.265 as cameras write it: a start code, then a unit of a kind that begins a stream.
fn annex_b(head: &[u8]) -> Option<Known> {
    let unit = head
        .strip_prefix(&[0, 0, 0, 1])
        .or_else(|| head.strip_prefix(&[0, 0, 1]))?;
    match *unit.first_chunk::<2>()? {
        // parameter sets and delimiters, layer 0
        [0x40 | 0x42 | 0x44 | 0x46, 1] => Some(("H.265", CAMERA)),
        [kind, _] if kind & 0x80 == 0 && matches!(kind & 0x1F, 1 | 5..=9) => {
            Some(("H.264", CAMERA))
        }
        [0xB3 | 0xBA, _] => Some(("MPEG video", VIDEO)),
        _ => None,
    }
}

/// What a stream without one picture seems to be.
pub(super) fn seems(head: &[u8]) -> Option<&'static str> {
    if let Some((name, _)) = video(head) {
        return Some(name);
    }
    if head.is_empty() {
        return None;
    }
    if head.starts_with(b"RIFF") {
        return Some("AVI without MJPEG");
    }
    if head.iter().all(|&b| b == 0) {
        return Some("zeros");
    }
    // a character may be cut at the end
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => {
            std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return None,
    };
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let page = text.trim_start().get(..5);
    let page =
        page.is_some_and(|t| t.eq_ignore_ascii_case("<html") || t.eq_ignore_ascii_case("<!doc"));
    (!text.is_empty() && text.chars().all(printable)).then_some(if page {
        "a web page"
    } else {
        "text"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_by_their_first_bytes_and_pixels_are_none_of_them() {
        let name = |head: &[u8]| video(head).map(|(name, _)| name);
        for (head, known) in [
            (b"\0\0\0\x01\x67\xF4\0\x0C".as_slice(), "H.264"),
            (b"\0\0\x01\x09\xF0\0\0\x01", "H.264"),
            (b"\0\0\0\x01\x40\x01\x0C", "H.265"),
            (b"\0\0\x01\xBA\x44", "MPEG video"),
            (b"\0\0\0\x20ftypisom", "MP4"),
            (b"\x1A\x45\xDF\xA3\x01", "Matroska or WebM"),
            (b"\x89PNG\r\n\x1A\n\0\0", "PNG"),
            (b"YUV4MPEG2 W64 H48\n", "Y4M"),
        ] {
            assert_eq!(name(head), Some(known));
        }
        for head in [
            b"\xFF\xD8\xFF\xE0".as_slice(),
            b"--boundary\r\nContent-Type: image/jpeg\r\n\r\n",
            b"\0\0\0\0\0\0\0",
            b"\0\0\0\x01",
            b"RIFF\0\0\0\0AVI LIST",
            b"",
        ] {
            assert_eq!(name(head), None, "{head:?}");
        }
        // dark pixels that look like H.264
        assert_eq!(container(b"\0\0\0\x01\x07\x05\x01"), None);
        assert_eq!(seems("words, über words\n".as_bytes()), Some("text"));
        assert_eq!(seems(&"ü".as_bytes()[..1]), None);
        assert_eq!(seems(b"<!DOCTYPE html>"), Some("a web page"));
        assert_eq!(seems(&[0; 64]), Some("zeros"));
        assert_eq!(seems(b"\x07\x93\xFF"), None);
    }
}
