//! JPEG: what is in the file, whether all of it came, and its pixels as libjpeg shows them.
//!
//! ```text
//! bytes ─▶ headers ─▶ limit ─▶ every scan's entropy code, to its last block ─▶ decoder ─▶ RGB
//!          (walk)              (scan.rs: nothing is decoded into pixels)
//! ```
//!
//! Decoders fill what is missing of a cut picture with grey and report success, and detections in
//! half a picture are worse than an error. A JPEG has no checksum, but its entropy code says where
//! each scan ends: so all of it is walked first, as ITU-T T.81 describes it (annexes B, F, G), and
//! a scan that stops before its last block is an error although an end marker follows. That costs
//! about a fifth of what decoding costs, and nothing is allocated for a picture whose data could
//! not fill it.
//!
//! Two decoders, because each is wrong where the other is right. zune-jpeg is fast and right for
//! what cameras and phones write: one scan of all components, or progressive. What it takes for
//! something else (scans of some of the components, other sampling factors, RGB without
//! conversion) goes to `jpeg-decoder`, which is slower; `tests/decoding.rs` compares both with
//! djpeg. Not read, and named: arithmetic coding, lossless, hierarchical, 12 bits, two components.

use std::{error::Error, fmt};

use image::metadata::Orientation;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

use super::slim;
use crate::geometry::Size;

mod scan;

use scan::Walk;

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

/// The largest sum of blocks in a unit of an interleaved scan: T.81, B.2.3.
const MAX_UNIT_BLOCKS: usize = 10;

/// The most scans that are walked: no encoder writes a tenth of them, and each costs time.
const MAX_SCANS: usize = 100;

/// Why there are no pixels.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It has no start, or ends before a scan or the end marker.
    Cut,
    /// A scan's entropy code stops before its last block.
    Short {
        /// The scan, from 1.
        scan: usize,
        /// Its units of blocks that came.
        units: u64,
        /// Its units of blocks.
        of: u64,
    },
    /// Something in it cannot be.
    Damaged(String),
    /// It is whole as far as is known, and of a kind that is not read.
    Unsupported(String),
    /// It has more pixels than are decoded.
    TooManyPixels {
        /// Its size.
        size: Size,
        /// The most pixels that are decoded.
        limit: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("it is cut short"),
            Self::Short { scan, units, of } => write!(
                f,
                "scan {scan} stops after {units} of its {of} units of blocks"
            ),
            Self::Damaged(why) => f.write_str(why),
            Self::Unsupported(what) => write!(f, "{what}, which is not read"),
            Self::TooManyPixels { size, limit } => write!(
                f,
                "it is {size}: {} pixels where at most {limit} are decoded",
                size.pixels()
            ),
        }
    }
}

impl Error for Fault {}

fn damaged<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Damaged(why.into()))
}

fn unsupported<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(what.into()))
}

/// One colour component of the frame header.
#[derive(Clone, Copy, Debug, Default)]
struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    h: usize,
    v: usize,
    /// Scans that begin with its constant coefficient.
    scans: usize,
    /// A scan has nothing else.
    alone: bool,
}

/// What the markers say.
#[derive(Debug)]
struct Header {
    size: Size,
    progressive: bool,
    components: heapless::Vec<Component, 4>,
    /// Every scan so far had all components in their order.
    plain: bool,
    jfif: bool,
    /// The colour transform of Adobe's segment.
    adobe: Option<u8>,
    orientation: Orientation,
    /// It brings Huffman tables; cameras leave them out and mean those of T.81, annex K.
    tables: bool,
}

/// Decodes; its buffers are kept.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    walk: Walk,
    /// A picture with the marker that it lacked.
    mended: Vec<u8>,
}

impl Decoder {
    /// What the picture is, once it is known that all of it came: its size as stored, and which way
    /// up it is to be shown. Nothing is decoded, and nothing in proportion to its size allocated
    /// that its length does not cover.
    ///
    /// # Errors
    ///
    /// [`Fault`].
    fn check(&mut self, bytes: &[u8], limit: u64) -> Result<Header, Fault> {
        if !bytes.starts_with(&[0xFF, START_OF_IMAGE]) {
            return Err(Fault::Cut);
        }
        self.walk.begin();
        let mut header = Header {
            size: Size::new(0, 0),
            progressive: false,
            components: heapless::Vec::new(),
            plain: true,
            jfif: false,
            adobe: None,
            orientation: Orientation::NoTransforms,
            tables: false,
        };
        let mut scans = 0;
        let mut at = 2;
        loop {
            let Some((marker, behind)) = next_marker(bytes, at) else {
                return Err(Fault::Cut);
            };
            at = behind;
            match marker {
                END_OF_IMAGE if scans == 0 => return Err(Fault::Cut),
                END_OF_IMAGE => break,
                // stuffed zero, TEM, restarts and the start of the image stand alone
                0x00 | 0x01 | 0xD0..=START_OF_IMAGE => continue,
                _ => {}
            }
            let Some(length) = bytes[at..].first_chunk::<2>() else {
                return Err(Fault::Cut);
            };
            let length = usize::from(u16::from_be_bytes(*length));
            if length < 2 {
                return damaged(format!("segment {marker:02X} has a length of {length}"));
            }
            let Some(segment) = bytes.get(at + 2..at + length) else {
                return Err(Fault::Cut);
            };
            at += length;
            match marker {
                START_OF_SCAN => {
                    scans += 1;
                    if scans > MAX_SCANS {
                        return unsupported(format!("a JPEG of more than {MAX_SCANS} scans"));
                    }
                    if !header.tables {
                        self.walk.standard_tables();
                    }
                    at = self.scan(&mut header, scans, segment, bytes, at)?;
                }
                0xC4 => {
                    header.tables = true;
                    self.walk.tables(segment)?;
                }
                0xDD => match segment {
                    [high, low] => self.walk.restart_every(u16::from_be_bytes([*high, *low])),
                    _ => return damaged("the restart interval has a wrong length"),
                },
                0xC0..=0xC2 => {
                    if !header.components.is_empty() {
                        return damaged("it has two frame headers");
                    }
                    header.progressive = marker == 0xC2;
                    frame_header(&mut header, segment)?;
                    if header.size.pixels() > limit {
                        let size = header.size;
                        return Err(Fault::TooManyPixels { size, limit });
                    }
                }
                0xC3 => return unsupported("a lossless JPEG"),
                0xC5..=0xC7 => return unsupported("a hierarchical JPEG"),
                0xC9..=0xCF => {
                    return unsupported("a JPEG with arithmetic coding");
                }
                0xDC => return unsupported("a JPEG whose height follows its scan"),
                0xE0 => header.jfif |= segment.starts_with(b"JFIF\0"),
                0xE1 => {
                    if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                        // damaged EXIF is no reason to refuse the picture
                        if let Some(found) = Orientation::from_exif_chunk(exif) {
                            header.orientation = found;
                        }
                    }
                }
                0xEE if segment.starts_with(b"Adobe") => {
                    header.adobe = segment.get(11).copied().or(header.adobe);
                }
                _ => {}
            }
        }
        for (i, component) in header.components.iter().enumerate() {
            if component.scans == 0 {
                let all = header.components.len();
                return damaged(format!("component {} of {all} is in no scan", i + 1));
            }
        }
        Ok(header)
    }

    /// Reads a scan header and walks the scan; returns where it ends.
    fn scan(
        &mut self,
        header: &mut Header,
        number: usize,
        segment: &[u8],
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, Fault> {
        let wrong = || Fault::Damaged(format!("scan {number} has a wrong header"));
        if header.components.is_empty() {
            return damaged(format!("scan {number} comes before the frame header"));
        }
        let (&count, rest) = segment.split_first().ok_or_else(wrong)?;
        let count = usize::from(count);
        if !(1..=header.components.len()).contains(&count) || rest.len() != count * 2 + 3 {
            return Err(wrong());
        }
        let (list, band) = rest.split_at(count * 2);
        let [first, last, bits] = [band[0], band[1], band[2]];
        let (high, low) = (bits >> 4, bits & 15);
        let mut parts = heapless::Vec::<scan::Part, 4>::new();
        let most = |of: fn(&Component) -> usize| {
            header.components.iter().map(of).max().unwrap_or_default()
        };
        let (h_most, v_most) = (most(|c| c.h), most(|c| c.v));
        for pair in list.chunks_exact(2) {
            let found = header.components.iter().position(|c| c.id == pair[0]);
            let index = found.ok_or_else(wrong)?;
            if parts.iter().any(|p| p.component == index) {
                return Err(wrong());
            }
            let Component { h, v, .. } = header.components[index];
            let across = |side: u32, own: usize, most: usize| {
                (side as usize * own).div_ceil(most).div_ceil(8)
            };
            let part = scan::Part {
                component: index,
                blocks: if count == 1 { 1 } else { h * v },
                columns: across(header.size.width, h, h_most),
                rows: across(header.size.height, v, v_most),
                constant: pair[1] >> 4,
                varying: pair[1] & 15,
            };
            // there are at most four components
            let _ = parts.push(part);
        }
        if count > 1 && parts.iter().map(|p| p.blocks).sum::<usize>() > MAX_UNIT_BLOCKS {
            return damaged(format!(
                "scan {number} has more than {MAX_UNIT_BLOCKS} blocks in a unit"
            ));
        }
        let coding = if header.progressive {
            if first > last || last > 63 || (first == 0) != (last == 0) || low > 13 || high > 13 {
                return Err(wrong());
            }
            if first > 0 && count > 1 {
                return Err(wrong());
            }
            scan::Coding::Progressive {
                band: (usize::from(first), usize::from(last)),
                refines: high > 0,
            }
        } else {
            // some writers leave the band empty; it has no meaning here
            scan::Coding::Sequential
        };
        for part in &parts {
            let component = &mut header.components[part.component];
            component.alone |= count == 1;
            let begins = matches!(
                coding,
                scan::Coding::Sequential
                    | scan::Coding::Progressive {
                        band: (0, _),
                        refines: false
                    }
            );
            if begins {
                component.scans += 1;
                if component.scans > 1 {
                    let which = part.component + 1;
                    return damaged(format!(
                        "component {which} comes twice, again in scan {number}"
                    ));
                }
            } else if component.scans == 0 {
                let which = part.component + 1;
                return damaged(format!(
                    "scan {number} refines component {which}, which has not begun"
                ));
            }
        }
        let in_order = parts.iter().enumerate().all(|(i, p)| p.component == i);
        header.plain &= in_order && parts.len() == header.components.len();
        let units = match &parts[..] {
            [alone] => (alone.columns, alone.rows),
            _ => (
                (header.size.width as usize).div_ceil(8 * h_most),
                (header.size.height as usize).div_ceil(8 * v_most),
            ),
        };
        self.walk.scan(number, &parts, units, coding, bytes, at)
    }

    /// Decodes a picture into `out`, RGB of 8 bits, as it is stored, and says which way up it is to
    /// be shown. `size_is` sees the size that is shown before anything is allocated, and may refuse
    /// it with an error of its own, which is returned inside.
    ///
    /// # Errors
    ///
    /// [`Fault`]; `out` then holds nothing of use.
    pub(crate) fn decode<E>(
        &mut self,
        bytes: &[u8],
        limit: u64,
        size_is: impl FnOnce(Size) -> Result<(), E>,
        out: &mut Vec<u8>,
    ) -> Result<Result<(Size, Orientation), E>, Fault> {
        let header = self.check(bytes, limit)?;
        let refused = size_is(match turns(header.orientation) {
            true => Size::new(header.size.height, header.size.width),
            false => header.size,
        });
        if let Err(e) = refused {
            return Ok(Err(e));
        }
        let bytes = if header.tables {
            bytes
        } else {
            // a marker by which decoders know that the standard's example tables are meant
            const AVI1: [u8; 18] = *b"\xFF\xE0\0\x10AVI1\0\0\0\0\0\0\0\0\0\0";
            self.mended.clear();
            slim(&mut self.mended, bytes.len());
            self.mended.extend_from_slice(&bytes[..2]);
            self.mended.extend_from_slice(&AVI1);
            self.mended.extend_from_slice(&bytes[2..]);
            &self.mended
        };
        if zune_is_right(&header) {
            zune(bytes, &header, out)?;
        } else {
            other(bytes, &header, out)?;
        }
        Ok(Ok((header.size, header.orientation)))
    }
}

/// Whether a picture that is shown so has width and height exchanged.
pub(crate) fn turns(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    )
}

/// The next marker at or behind `at`: its code, and where what follows it begins.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let start = at + bytes.get(at..)?.iter().position(|&b| b == 0xFF)?;
    let code = start + bytes[start..].iter().position(|&b| b != 0xFF)?;
    Some((bytes[code], code + 1))
}

/// Reads the frame header: T.81, B.2.2.
fn frame_header(header: &mut Header, segment: &[u8]) -> Result<(), Fault> {
    let &[precision, y1, y0, x1, x0, count, ref list @ ..] = segment else {
        return damaged("the frame header is too short");
    };
    if precision != 8 {
        return unsupported(format!("a JPEG of {precision} bits a sample"));
    }
    let (width, height) = (u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0]));
    header.size = Size::new(width.into(), height.into());
    if height == 0 && width > 0 {
        return unsupported("a JPEG whose height follows its scan");
    }
    if header.size.is_empty() {
        return damaged(format!("it is {}", header.size));
    }
    if !matches!(count, 1 | 3 | 4) {
        return unsupported(format!("a JPEG of {count} components"));
    }
    if list.len() != usize::from(count) * 3 {
        return damaged("the frame header has a wrong length");
    }
    for part in list.chunks_exact(3) {
        let (h, v) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
        if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
            return damaged(format!("a component has the sampling factors {h}x{v}"));
        }
        let component = Component {
            id: part[0],
            h,
            v,
            scans: 0,
            alone: false,
        };
        if header.components.iter().any(|c| c.id == component.id) {
            return damaged(format!("two components are called {}", component.id));
        }
        // there are at most four
        let _ = header.components.push(component);
    }
    let whole = |of: fn(&Component) -> usize| {
        let most = header.components.iter().map(of).max().unwrap_or_default();
        header.components.iter().all(|c| most.is_multiple_of(of(c)))
    };
    if !whole(|c| c.h) || !whole(|c| c.v) {
        return unsupported(
            "a JPEG whose components' sampling factors divide each other to no whole number",
        );
    }
    Ok(())
}

/// Whether three components are red, green and blue; as libjpeg decides it.
fn is_rgb(header: &Header) -> bool {
    let ids: heapless::Vec<u8, 4> = header.components.iter().map(|c| c.id).collect();
    match (header.jfif, header.adobe) {
        (true, _) => false,
        (false, Some(transform)) => transform == 0,
        (false, None) => ids == *b"RGB",
    }
}

/// Whether the fast decoder gives libjpeg's pixels; `tests/decoding.rs` holds this.
fn zune_is_right(header: &Header) -> bool {
    let one_of = |n: usize| matches!(n, 1 | 2 | 4);
    match &header.components[..] {
        [one] => one_of(one.h) && one_of(one.v),
        [luma, chroma @ ..] => {
            (header.plain || header.progressive)
                && one_of(luma.h)
                && one_of(luma.v)
                && chroma.iter().take(2).all(|c| (c.h, c.v) == (1, 1))
                // of four components the last is as the first
                && chroma.get(2).is_none_or(|c| (c.h, c.v) == (luma.h, luma.v))
                && (chroma.len() == 3 || !is_rgb(header) && matches!(header.adobe, None | Some(1)))
        }
        [] => false,
    }
}

/// Whether the other decoder gives libjpeg's pixels: it counts the blocks of a component that is
/// alone in a scan as if its sampling were either none or full.
fn other_is_right(header: &Header) -> bool {
    let most =
        |of: fn(&Component) -> usize| header.components.iter().map(of).max().unwrap_or_default();
    let (h, v) = (most(|c| c.h), most(|c| c.v));
    let fits = |own: usize, most: usize| own == 1 || own == most;
    header
        .components
        .iter()
        .all(|c| !c.alone || fits(c.h, h) && fits(c.v, v))
}

/// Makes room for the pixels, without keeping old ones that must be copied.
fn room(size: Size, out: &mut Vec<u8>) {
    let bytes = size.pixels() as usize * 3;
    out.clear();
    slim(out, bytes);
    out.resize(bytes, 0);
}

fn zune(bytes: &[u8], header: &Header, out: &mut Vec<u8>) -> Result<(), Fault> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    room(header.size, out);
    zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options)
        .decode_into(out)
        .or_else(|e| damaged(e.to_string()))
}

fn other(bytes: &[u8], header: &Header, out: &mut Vec<u8>) -> Result<(), Fault> {
    use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

    if !other_is_right(header) {
        return unsupported("a JPEG of several scans with unusual sampling factors");
    }
    let mut decoder = Decoder::new(bytes);
    match header.components.len() {
        3 if is_rgb(header) => decoder.set_color_transform(ColorTransform::RGB),
        3 => decoder.set_color_transform(ColorTransform::YCbCr),
        1 => {}
        _ => return unsupported("a JPEG of four inks in several scans or unusual sampling"),
    }
    let pixels = decoder.decode().or_else(|e| damaged(e.to_string()))?;
    let about = decoder.info();
    let format = about.map(|i| i.pixel_format);
    let size = about.map(|i| Size::new(i.width.into(), i.height.into()));
    let samples = header.size.pixels() as usize;
    match format {
        Some(PixelFormat::RGB24) if pixels.len() == samples * 3 && size == Some(header.size) => {
            *out = pixels;
        }
        Some(PixelFormat::L8) if pixels.len() == samples && size == Some(header.size) => {
            room(header.size, out);
            for (to, &grey) in out.as_chunks_mut::<3>().0.iter_mut().zip(&pixels) {
                *to = [grey; 3];
            }
        }
        _ => return damaged("the decoder answers with another size"),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
