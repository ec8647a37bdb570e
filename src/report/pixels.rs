//! The pixels of an object in JSON.

use serde::{Serialize, Serializer, ser::SerializeMap};
use tarsier_wire::report as wire;

use super::{MaskForm, shapes::rle};
use crate::{
    geometry::{BBox, Size},
    mask::{BITS_SIDE, Mask},
};

/// A mask in one of its forms.
pub(super) enum Pixels<'a> {
    Rle(wire::Mask<'a>),
    Polygons(Vec<Vec<f32>>),
    Bits(String),
}

impl Default for Pixels<'_> {
    fn default() -> Self {
        Self::Rle(wire::Mask::default())
    }
}

impl<'a> Pixels<'a> {
    pub(super) fn new(mask: &'a Mask, bbox: &BBox, size: Size, form: MaskForm) -> Self {
        match form {
            MaskForm::Rle => Self::Rle(rle(mask, size)),
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
