//! The pixels of an object in JSON.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::MaskForm;
use crate::{
    geometry::{BBox, Size},
    mask::{BITS_SIDE, Mask},
};

/// A mask as COCO's tools read it: run lengths down the columns, compressed.
#[derive(Serialize)]
pub(crate) struct Rle<'a> {
    size: [u32; 2],
    counts: Compressed<'a>,
}

impl<'a> Rle<'a> {
    pub(crate) const fn new(mask: &'a Mask, size: Size) -> Self {
        Self {
            size: [size.height, size.width],
            counts: Compressed(mask),
        }
    }
}

/// A mask's `counts` as text, written without being made first.
struct Compressed<'a>(&'a Mask);

impl Serialize for Compressed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Compressed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = Pieces {
            held: heapless::String::new(),
            out: f,
        };
        self.0.compressed(&mut pieces)?;
        let Pieces { held, out } = pieces;
        out.write_str(&held)
    }
}

/// Characters on their way to a formatter, which wants many at a time.
struct Pieces<'a, 'b> {
    held: heapless::String<256>,
    out: &'a mut fmt::Formatter<'b>,
}

impl fmt::Write for Pieces<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if self.held.push(c).is_err() {
            self.out.write_str(&self.held)?;
            self.held.clear();
            self.held.push(c).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

/// A mask in one of its forms.
pub(super) enum Pixels<'a> {
    Rle(Rle<'a>),
    Polygons(Vec<Vec<f32>>),
    Bits(String),
}

impl<'a> Pixels<'a> {
    pub(super) fn new(mask: &'a Mask, bbox: &BBox, size: Size, form: MaskForm) -> Self {
        match form {
            MaskForm::Rle => Self::Rle(Rle::new(mask, size)),
            MaskForm::Polygons => Self::Polygons(mask.polygons(size)),
            MaskForm::Bits => Self::Bits(base64(&mask.bits(bbox, size.height))),
        }
    }
}

impl Serialize for Pixels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rle(rle) => rle.serialize(serializer),
            Self::Polygons(polygons) => polygons.serialize(serializer),
            Self::Bits(bits) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("size", &[BITS_SIDE, BITS_SIDE])?;
                map.serialize_entry("bits", bits)?;
                map.end()
            }
        }
    }
}

/// Bytes as text (RFC 4648, with padding).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[(group >> shift & 63) as usize];
            text.push(if i > three.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
