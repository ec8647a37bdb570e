//! YUV4MPEG2: raw frames that say their size, rate and layout.
//!
//! ```text
//! YUV4MPEG2 W640 H480 F30:1 C420jpeg⏎   FRAME⏎ Y plane, U plane, V plane   FRAME⏎ …
//! ```
//!
//! Taken are 8 bits in 4:2:0, 4:2:2, 4:4:4 and luma alone. Chroma is repeated, not interpolated, as
//! for other raw frames. Frames are made RGB as they come: sizes that are odd have no other form
//! here.

use super::picture::{Form, rgb};
use crate::{frame::file::MAX_PIXELS, geometry::Size};

/// The longest line of a header that is waited for.
pub(super) const MAX_LINE: usize = 1024;

/// What the first line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) size: Size,
    /// Frames per second, if it says so.
    pub(super) fps: Option<f64>,
    /// By how many places chroma coordinates are shifted to the right: columns, rows; none: there
    /// is no chroma.
    shifts: Option<(u32, u32)>,
    /// 0 to 255 instead of 16 to 235.
    full: bool,
}

impl Header {
    /// Reads the first line, without its line feed.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        let line = std::str::from_utf8(line).map_err(|_| "its first line is no text".to_owned())?;
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err("it does not begin with YUV4MPEG2".into());
        }
        let (mut width, mut height, mut fps) = (0, 0, None);
        let (mut shifts, mut full) = (Some((1, 1)), false);
        for word in words.filter(|word| !word.is_empty()) {
            let (key, value) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            match key {
                "W" => width = value.parse().unwrap_or(0),
                "H" => height = value.parse().unwrap_or(0),
                "F" => {
                    let number = |n: &str| n.parse::<u32>().ok().filter(|&n| n > 0);
                    fps = value
                        .split_once(':')
                        .and_then(|(a, b)| Some(f64::from(number(a)?) / f64::from(number(b)?)));
                }
                "C" => {
                    shifts = match value {
                        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Some((1, 1)),
                        "422" => Some((1, 0)),
                        "444" => Some((0, 0)),
                        "mono" => None,
                        other => return Err(format!("its colour space {other} is not read")),
                    }
                }
                "X" => full |= value == "COLORRANGE=FULL",
                _ => {}
            }
        }
        let size = Size::new(width, height);
        if size.is_empty() || size.pixels() > MAX_PIXELS {
            return Err(format!(
                "its frames are {size}: from 1 to {MAX_PIXELS} pixels are read"
            ));
        }
        // the clock of a stream counts nanoseconds
        let fps = fps.filter(|fps| (0.001..=1000.0).contains(fps));
        Ok(Self {
            size,
            fps,
            shifts,
            full,
        })
    }

    /// Columns and rows of a plane of chroma.
    fn chroma(&self) -> (usize, usize) {
        let half = |side: u32, shift: u32| (side as usize).div_ceil(1 << shift);
        self.shifts.map_or((0, 0), |(x, y)| {
            (half(self.size.width, x), half(self.size.height, y))
        })
    }

    /// Bytes of a frame.
    pub(super) fn bytes(&self) -> usize {
        let (columns, rows) = self.chroma();
        self.size.pixels() as usize + 2 * columns * rows
    }

    /// Writes a frame as RGB.
    pub(super) fn convert(&self, frame: &[u8], out: &mut Vec<u8>) {
        let (width, luma) = (self.size.width as usize, self.size.pixels() as usize);
        let (columns, rows) = self.chroma();
        let (sx, sy) = self.shifts.unwrap_or_default();
        out.resize(Form::Rgb24.bytes(self.size).unwrap_or(0), 0);
        for (i, to) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let at = ((i / width) >> sy) * columns + ((i % width) >> sx);
            let (u, v) = match self.shifts {
                Some(_) => (frame[luma + at], frame[luma + columns * rows + at]),
                None => (128, 128),
            };
            *to = if self.full {
                full([frame[i], u, v])
            } else {
                rgb([frame[i], u, v])
            };
        }
    }
}

/// BT.601, full range, in 8-bit fixed point.
fn full([y, u, v]: [u8; 3]) -> [u8; 3] {
    let (y, u, v) = (
        256 * i32::from(y) + 128,
        i32::from(u) - 128,
        i32::from(v) - 128,
    );
    let byte = |value: i32| (value >> 8).clamp(0, 255) as u8;
    [
        byte(y + 359 * v),
        byte(y - 88 * u - 183 * v),
        byte(y + 454 * u),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_size_rate_and_layout() {
        let read = |line: &str| Header::read(line.as_bytes());
        let header =
            read("YUV4MPEG2 W5 H3 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2").expect("one");
        assert_eq!(header.size, Size::new(5, 3));
        assert_eq!(header.bytes(), 15 + 2 * 3 * 2);
        assert!((header.fps.expect("a rate") - 29.97).abs() < 0.001);
        assert_eq!(read("YUV4MPEG2 W4 H2 C444").expect("one").bytes(), 24);
        assert_eq!(read("YUV4MPEG2 W4 H2 Cmono F0:0").expect("one").fps, None);
        for (line, why) in [
            ("YUV4MPEG W4 H2", "begin with"),
            ("YUV4MPEG2 W4", "4x0"),
            ("YUV4MPEG2 W4 H2 C420p10", "420p10"),
            ("YUV4MPEG2 W99999 H99999", "99999x99999"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn every_layout_shows_the_same_colours() {
        let (y, u, v) = (65, 100, 212);
        for layout in ["C420", "C422", "C444"] {
            let header = Header::read(format!("YUV4MPEG2 W5 H3 {layout}").as_bytes()).expect("one");
            let chroma = (header.bytes() - 15) / 2;
            let frame = [vec![y; 15], vec![u; chroma], vec![v; chroma]].concat();
            let mut out = Vec::new();
            header.convert(&frame, &mut out);
            assert_eq!(out, rgb([y, u, v]).repeat(15), "{layout}");
        }
        let header = Header::read(b"YUV4MPEG2 W2 H1 Cmono XCOLORRANGE=FULL").expect("one");
        let mut out = Vec::new();
        header.convert(&[0, 255], &mut out);
        assert_eq!(out, [0, 0, 0, 255, 255, 255]);
    }
}
