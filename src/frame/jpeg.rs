//! Whether a JPEG is whole: one walk over its markers, no decoding.
//!
//! The decoder below us (zune-jpeg inside `image`, told to be lenient) fills
//! what is missing of a cut JPEG with grey and reports success, and detections
//! in half a picture are worse than an error. A JPEG has no checksum, but it has
//! an end marker; a file that was cut, or whose tail was never written, has none.
//!
//! The walk follows ITU-T T.81, annex B: segments carry their length, so an end
//! marker inside an EXIF thumbnail is not mistaken for the picture's; behind a
//! scan header come entropy-coded bytes in which `FF 00` is data and `FF D0..D7`
//! is a restart.

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

const HUFFMAN_TABLES: u8 = 0xC4;

/// What a walk over the markers found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It has a scan and an end marker after it.
    Whole,
    /// Likewise, but no Huffman tables: cameras leave them out and mean those of T.81, annex K.
    WithoutTables,
    /// It does not end.
    Cut,
}

/// Whether the JPEG in `bytes` has a scan and an end marker after it.
///
/// Bytes after the end marker (a second picture, a maker's trailer) do not matter.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    health(bytes) != Health::Cut
}

/// What there is of the JPEG in `bytes`.
pub(crate) fn health(bytes: &[u8]) -> Health {
    if !bytes.starts_with(&[0xFF, START_OF_IMAGE]) {
        return Health::Cut;
    }
    let mut rest = bytes;
    let (mut scans, mut tables) = (0, 0);
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            END_OF_IMAGE if scans == 0 => return Health::Cut,
            END_OF_IMAGE if tables == 0 => return Health::WithoutTables,
            END_OF_IMAGE => return Health::Whole,
            // stuffed zero, TEM, restarts and the start of the image stand alone
            0x00 | 0x01 | 0xD0..=START_OF_IMAGE => after,
            _ => {
                scans += u32::from(marker == START_OF_SCAN);
                tables += u32::from(marker == HUFFMAN_TABLES);
                let Some(segment) = after.first_chunk::<2>() else {
                    return Health::Cut;
                };
                let length = usize::from(u16::from_be_bytes(*segment));
                match after.get(length..) {
                    Some(behind) => behind,
                    None => return Health::Cut,
                }
            }
        };
    }
    Health::Cut
}

/// The next marker's code and what follows it; anything before it is skipped.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let start = bytes.iter().position(|&b| b == 0xFF)?;
    let run = bytes[start..].iter().position(|&b| b != 0xFF)?;
    let at = start + run;
    Some((bytes[at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = &[
        0xFF, 0xD8, // start
        0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9, // EXIF with a thumbnail inside
        0xFF, 0xDA, 0, 3, 1, // scan header
        9, 9, 0xFF, 0x00, 9, 0xFF, 0xD0, 9, // data, stuffed FF, restart
        0xFF, 0xFF, 0xD9, // a fill byte, then the end
    ];

    #[test]
    fn a_whole_jpeg_is_whole_with_or_without_a_trailer() {
        assert!(is_whole(WHOLE));
        assert!(is_whole(&[WHOLE, &[0, 1, 2, 0xFF, 0xC0]].concat()));
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_not_whole() {
        for end in 0..WHOLE.len() {
            assert!(!is_whole(&WHOLE[..end]), "cut after {end} bytes");
        }
    }

    #[test]
    fn a_jpeg_without_a_scan_is_not_whole() {
        assert!(!is_whole(&[0xFF, 0xD8, 0xFF, 0xD9]));
    }

    #[test]
    fn a_tail_of_zeros_is_not_whole() {
        assert!(!is_whole(&[&WHOLE[..20], &[0; 100]].concat()));
    }
}
