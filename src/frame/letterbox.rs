//! Lays a frame into the network's input: resize, centre, pad.
//!
//! ```text
//! plane: (height + 2·border) rows of (width + 2·border) pixels of 4 bytes
//! ┌───────────────────────────┐
//! │ border: 0 0 0 0           │   what the network takes for nothing, for the stem's taps
//! │  ┌─────────────────────┐  │
//! │  │ grey: 114 114 114 0 │  │   around the resized frame, as in training
//! │  │┌───────────────────┐│  │
//! │  ││ frame: r g b 0    ││  │
//! ```
//!
//! An axis that shrinks is averaged over the area each new pixel covers, one that
//! grows is interpolated linearly: what training did (`cv2.resize`, `INTER_AREA` and
//! `INTER_LINEAR` in `models/recipe/tarsier_recipe/detector/data.py`). Averaging matters: sampling
//! a 1080p frame at every sixth pixel drops thin things. A detector that was
//! trained on interpolated pictures sees best on those ([`Shrink::Linear`]).
//!
//! Everything is integers, so every board makes the same bytes: weights of 15
//! bits that sum to exactly 2¹⁵, rows first into 15-bit values, then columns with
//! one rounding at the end. A weight is a difference of rounded running sums,
//! so the error does not grow with the number of taps, and a plain surface stays
//! what it was. Weights are worked out when the frame's size changes; a frame of
//! the same size allocates nothing.
//!
//! `fast_image_resize` was considered: it has SIMD for most boards, but works its
//! weights out and allocates on every call, promises no equal bytes across
//! instruction sets, and its result would have to be copied to 4-byte pixels.
//! Measured here, one x86 thread, 320×320: 0.5 ms for 480×360, 1.5 ms for 1920×1080.

use std::ops::Range;

use super::{Frame, GREY};
use crate::{
    geometry::{Fit, Letterbox, Shrink, Size},
    team::join,
};

/// Bytes of one pixel of the plane: red, green, blue and a zero.
pub const PIXEL_BYTES: usize = 4;

/// Bits of a weight; the weights of one new pixel sum to `1 << WEIGHT_BITS`.
const WEIGHT_BITS: u32 = 15;
/// Bits that a row keeps below the pixel's eight, between the two passes.
const ROW_BITS: u32 = 7;

/// Parts of the picture that threads of a [`team`](crate::team) may make at once, a power of two.
const PARTS: usize = 4;

/// The value between two passes: `255 << ROW_BITS` at most, so a sum over
/// weights stays below 2³⁰.
type Row = Vec<u16>;

/// The maker of input planes, for one input size; keeps its tables between frames.
#[derive(Debug)]
pub struct Letterboxer {
    input: Size,
    fit: Fit,
    shrink: Shrink,
    border: usize,
    around: [u8; PIXEL_BYTES],
    /// The frame size that the tables below are for.
    frame: Option<Size>,
    columns: Axis,
    rows: Axis,
    lines: [Line; PARTS],
}

/// Buffers for one row of the picture.
#[derive(Debug, Default)]
struct Line {
    /// One new row at the frame's full width, three channels, in `ROW_BITS`.
    row: Row,
    /// The sums behind it.
    sums: Vec<u32>,
}

impl Letterboxer {
    /// For a network input of this size, with `border` pixels around it of the colour
    /// that the network takes for nothing.
    ///
    /// # Panics
    ///
    /// If the input is empty.
    pub fn new(input: Size, fit: Fit, shrink: Shrink, border: usize, around: [u8; 3]) -> Self {
        assert!(!input.is_empty(), "the network's input has pixels");
        Self {
            input,
            fit,
            shrink,
            border,
            around: [around[0], around[1], around[2], 0],
            frame: None,
            columns: Axis::default(),
            rows: Axis::default(),
            lines: Default::default(),
        }
    }

    /// How long the plane is: `(height + 2·border) · (width + 2·border) · 4`.
    pub fn plane_bytes(&self) -> usize {
        self.row_bytes() * (self.input.height as usize + 2 * self.border)
    }

    fn row_bytes(&self) -> usize {
        (self.input.width as usize + 2 * self.border) * PIXEL_BYTES
    }

    /// Writes every byte of `plane` and returns how the frame lies in it.
    ///
    /// # Panics
    ///
    /// If `plane` is not [`plane_bytes`](Self::plane_bytes) long.
    pub fn write(&mut self, frame: &Frame<'_>, plane: &mut [u8]) -> Letterbox {
        assert_eq!(plane.len(), self.plane_bytes(), "the plane's length");
        let letterbox = Letterbox::of_part(frame.part(), frame.whole(), self.input, self.fit);
        let (resized, (left, top)) = (letterbox.resized(), letterbox.offset());
        if self.frame != Some(frame.size()) {
            self.columns
                .fit(frame.size().width, resized.width, self.shrink);
            self.rows
                .fit(frame.size().height, resized.height, self.shrink);
            let values = frame.size().width as usize * 3;
            for line in &mut self.lines {
                line.row.resize(values, 0);
                line.sums.resize(values, 0);
            }
            self.frame = Some(frame.size());
        }

        let write = Write {
            pixels: frame.pixels(),
            columns: &self.columns,
            rows: &self.rows,
            margin: self.border * PIXEL_BYTES,
            around: self.around,
            row_bytes: self.row_bytes(),
            lines: self.border..self.border + self.input.height as usize,
            picture: top as usize..(top + resized.height) as usize,
            left: left as usize * PIXEL_BYTES,
            width: resized.width as usize * PIXEL_BYTES,
        };
        write.lines(0, plane, &mut self.lines);
        letterbox
    }
}

/// One call of [`Letterboxer::write`]; lengths along a row in bytes.
struct Write<'a> {
    pixels: &'a [u8],
    columns: &'a Axis,
    rows: &'a Axis,
    margin: usize,
    around: [u8; PIXEL_BYTES],
    row_bytes: usize,
    /// Which rows of the plane are not border, and which of those are the frame's.
    lines: Range<usize>,
    picture: Range<usize>,
    left: usize,
    width: usize,
}

impl Write<'_> {
    /// The rows from `first` on, with one set of buffers or shared between several.
    fn lines(&self, first: usize, plane: &mut [u8], buffers: &mut [Line]) {
        if let [buffers] = buffers {
            for (y, line) in (first..).zip(plane.chunks_exact_mut(self.row_bytes)) {
                self.line(y, line, buffers);
            }
            return;
        }
        let middle = plane.len() / self.row_bytes / 2;
        let (upper, lower) = plane.split_at_mut(middle * self.row_bytes);
        let (a, b) = buffers.split_at_mut(buffers.len() / 2);
        join(
            || self.lines(first, upper, a),
            || self.lines(first + middle, lower, b),
        );
    }

    fn line(&self, y: usize, line: &mut [u8], buffers: &mut Line) {
        if !self.lines.contains(&y) {
            fill(line, self.around);
            return;
        }
        let y = y - self.lines.start;
        let (before, line) = line.split_at_mut(self.margin);
        let (line, after) = line.split_at_mut(self.row_bytes - 2 * self.margin);
        fill(before, self.around);
        fill(after, self.around);
        if self.picture.contains(&y) {
            fill(&mut line[..self.left], PADDING);
            fill(&mut line[self.left + self.width..], PADDING);
            self.blend_rows(y - self.picture.start, buffers);
            self.blend_columns(&buffers.row, &mut line[self.left..self.left + self.width]);
        } else {
            fill(line, PADDING);
        }
    }

    /// The new row `y` at the frame's width: contiguous, so it vectorises.
    fn blend_rows(&self, y: usize, Line { row: new, sums }: &mut Line) {
        let (first, weights) = self.rows.taps(y);
        let values = new.len();
        let source = self.pixels[first * values..].chunks_exact(values);
        match weights {
            // all of one row, as when nothing is resized
            [_] => {
                for (row, source) in new.iter_mut().zip(&self.pixels[first * values..]) {
                    *row = u16::from(*source) << ROW_BITS;
                }
            }
            _ => {
                const HALF: u32 = 1 << (WEIGHT_BITS - ROW_BITS - 1);
                sums.fill(HALF);
                for (source, &weight) in source.zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(source) {
                        *sum += u32::from(u16::from(value)) * u32::from(weight);
                    }
                }
                for (row, &sum) in new.iter_mut().zip(&*sums) {
                    *row = (sum >> (WEIGHT_BITS - ROW_BITS)) as u16;
                }
            }
        }
    }

    /// The new pixels of a row, from the row at the frame's width.
    fn blend_columns(&self, row: &[u16], line: &mut [u8]) {
        const HALF: u32 = 1 << (WEIGHT_BITS + ROW_BITS - 1);
        let (row, _) = row.as_chunks::<3>();
        let (line, _) = line.as_chunks_mut::<PIXEL_BYTES>();
        for (x, pixel) in line.iter_mut().enumerate() {
            let (first, weights) = self.columns.taps(x);
            let mut sums = [HALF; 3];
            for (values, &weight) in row[first..].iter().zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += u32::from(value) * u32::from(weight);
                }
            }
            let [r, g, b] = sums.map(|sum| (sum >> (WEIGHT_BITS + ROW_BITS)) as u8);
            *pixel = [r, g, b, 0];
        }
    }
}

/// A pixel around the resized frame.
const PADDING: [u8; PIXEL_BYTES] = [GREY, GREY, GREY, 0];

fn fill(line: &mut [u8], colour: [u8; PIXEL_BYTES]) {
    let (pixels, _) = line.as_chunks_mut::<PIXEL_BYTES>();
    pixels.fill(colour);
}

/// Which old pixels make a new one along one axis, and how much each counts.
#[derive(Debug, Default)]
struct Axis {
    /// Per new pixel: its first old pixel, and where its weights end below.
    spans: Vec<(u32, u32)>,
    weights: Vec<u16>,
}

impl Axis {
    fn taps(&self, new: usize) -> (usize, &[u16]) {
        let begin = new.checked_sub(1).map_or(0, |before| self.spans[before].1);
        let (first, end) = self.spans[new];
        (first as usize, &self.weights[begin as usize..end as usize])
    }

    /// Works out the taps that take `old` pixels to `new`.
    fn fit(&mut self, old: u32, new: u32, shrink: Shrink) {
        self.spans.clear();
        self.weights.clear();
        let (old, new) = (u64::from(old), u64::from(new));
        for at in 0..new {
            let first = if new <= old && shrink == Shrink::Area {
                self.area(old, new, at)
            } else {
                self.linear(old, new, at)
            };
            self.spans.push((first as u32, self.weights.len() as u32));
        }
    }

    /// Shrinking. Measured in 1/new of an old pixel, the new pixel covers
    /// `at·old .. (at + 1)·old` and an old one `i·new .. (i + 1)·new`; a weight is
    /// the overlap's share of `old`.
    fn area(&mut self, old: u64, new: u64, at: u64) -> u64 {
        let (begin, end) = (at * old, (at + 1) * old);
        let first = begin / new;
        let mut before = 0;
        for i in first..end.div_ceil(new) {
            let covered = end.min((i + 1) * new) - begin;
            let sum = ((covered << WEIGHT_BITS) + old / 2) / old;
            self.weights.push((sum - before) as u16);
            before = sum;
        }
        first
    }

    /// Growing, or shrinking without averaging. The new pixel's centre is at `((2·at + 1)·old - new) / (2·new)`,
    /// counted from the first old pixel's centre; outside, the edge repeats.
    fn linear(&mut self, old: u64, new: u64, at: u64) -> u64 {
        const ONE: u64 = 1 << WEIGHT_BITS;
        let centre = ((2 * at + 1) * old).saturating_sub(new);
        let first = centre / (2 * new);
        if first + 1 >= old {
            self.weights.push(ONE as u16);
            return old - 1;
        }
        let second = ((centre % (2 * new)) * ONE + new) / (2 * new);
        self.weights.extend([(ONE - second) as u16, second as u16]);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    const INPUT: Size = Size::new(320, 320);

    fn letterboxed(pixels: &[u8], frame: Size, input: Size, border: usize) -> Vec<u8> {
        let mut letterboxer = Letterboxer::new(input, Fit::Letterbox, Shrink::Area, border, [0; 3]);
        // anything left over from before must be overwritten
        let mut plane = vec![0xAA; letterboxer.plane_bytes()];
        let frame = Frame::new(pixels, frame, 0, SystemTime::UNIX_EPOCH).expect("a frame");
        letterboxer.write(&frame, &mut plane);
        plane
    }

    /// A repeatable mess of bytes.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 12345u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    #[test]
    fn a_frame_of_the_inputs_size_is_copied_exactly() {
        let size = Size::new(20, 12);
        let pixels = noise(20 * 12 * 3);
        let plane = letterboxed(&pixels, size, size, 0);
        for (pixel, rgb) in plane.chunks(4).zip(pixels.chunks(3)) {
            assert_eq!(pixel, [rgb[0], rgb[1], rgb[2], 0]);
        }
    }

    #[test]
    fn border_padding_and_picture_lie_where_they_should() {
        let (border, white) = (2, vec![255; 16 * 8 * 3]);
        let plane = letterboxed(&white, Size::new(16, 8), Size::new(8, 8), border);
        assert_eq!(plane.len(), 12 * 12 * 4);
        for (i, pixel) in plane.chunks(4).enumerate() {
            let (x, y) = (i % 12, i / 12);
            let inside = (2..10).contains(&x) && (2..10).contains(&y);
            let expected = match (inside, (4..8).contains(&y)) {
                (false, _) => [0; 4],
                (true, false) => [GREY, GREY, GREY, 0],
                (true, true) => [255, 255, 255, 0],
            };
            assert_eq!(pixel, expected, "at {x}, {y}");
        }
    }

    #[test]
    fn a_tall_frame_is_padded_left_and_right() {
        let black = vec![0; 4 * 8 * 3];
        let plane = letterboxed(&black, Size::new(4, 8), Size::new(8, 8), 0);
        for line in plane.chunks(8 * 4) {
            let reds: Vec<u8> = line.iter().step_by(4).copied().collect();
            assert_eq!(reds, [114, 114, 0, 0, 0, 0, 114, 114]);
        }
    }

    #[test]
    fn a_plain_surface_stays_plain_at_every_ratio() {
        for (width, height) in [
            (1, 1),
            (3, 2),
            (319, 320),
            (321, 200),
            (1000, 999),
            (10_000, 10),
            (9, 7000),
        ] {
            for value in [1, 114, 200, 255] {
                let pixels = vec![value; width * height * 3];
                let size = Size::new(width as u32, height as u32);
                let plane = letterboxed(&pixels, size, INPUT, 1);
                let letterbox = Letterbox::new(size, INPUT);
                let (resized, (left, top)) = (letterbox.resized(), letterbox.offset());
                for y in 0..resized.height {
                    for x in 0..resized.width {
                        let at = ((y + top + 1) * 322 + x + left + 1) as usize * 4;
                        assert_eq!(plane[at..at + 3], [value; 3], "{size} at {x}, {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_weights_of_every_new_pixel_sum_to_one_and_stay_inside() {
        let mut axis = Axis::default();
        for (old, new) in [
            (1, 320),
            (7, 320),
            (319, 320),
            (320, 320),
            (321, 320),
            (1920, 320),
            (65_535, 1),
            (65_535, 320),
            (10, 1),
        ] {
            for shrink in [Shrink::Area, Shrink::Linear] {
                axis.fit(old, new, shrink);
                for at in 0..new as usize {
                    let (first, weights) = axis.taps(at);
                    let sum: u32 = weights.iter().map(|&w| u32::from(w)).sum();
                    assert_eq!(sum, 1 << WEIGHT_BITS, "{old} to {new} at {at}");
                    assert!(
                        first + weights.len() <= old as usize,
                        "{old} to {new} at {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn shrinking_averages_the_area_and_growing_interpolates() {
        // 4×1 → 2×1: pairs; the middle row of a 2×2 input is not there, so one row
        let pixels: Vec<u8> = [10, 30, 100, 201].iter().flat_map(|&v| [v; 3]).collect();
        let plane = letterboxed(&pixels, Size::new(4, 1), Size::new(2, 1), 0);
        assert_eq!(plane, [20, 20, 20, 0, 151, 151, 151, 0]);

        // 3 → 2: two thirds and one third
        let pixels: Vec<u8> = [0, 90, 240].iter().flat_map(|&v| [v; 3]).collect();
        let plane = letterboxed(&pixels, Size::new(3, 1), Size::new(2, 1), 0);
        assert_eq!((plane[0], plane[4]), (30, 190));

        // 2 → 4: quarters between the centres, edges repeated
        let pixels: Vec<u8> = [0, 100].iter().flat_map(|&v| [v; 3]).collect();
        let plane = letterboxed(&pixels, Size::new(2, 1), Size::new(4, 2), 0);
        let reds: Vec<u8> = plane[..16].iter().step_by(4).copied().collect();
        assert_eq!(reds, [0, 25, 75, 100]);
    }

    #[test]
    fn linear_shrinking_takes_the_two_pixels_nearest_to_the_centre() {
        // 8 → 2: centres at 1.5 and 5.5; 3 → 2: at 0.25 and 1.75
        for (reds, expected) in [
            (&[200, 0, 100, 200, 0, 40, 60, 0][..], [50, 50]),
            (&[0, 100, 200], [25, 175]),
        ] {
            let pixels: Vec<u8> = reds.iter().flat_map(|&v| [v; 3]).collect();
            let size = Size::new(reds.len() as u32, 1);
            let mut letterboxer =
                Letterboxer::new(Size::new(2, 1), Fit::Stretch, Shrink::Linear, 0, [0; 3]);
            let mut plane = vec![0xAA; letterboxer.plane_bytes()];
            let frame = Frame::new(&pixels, size, 0, SystemTime::UNIX_EPOCH).expect("a frame");
            letterboxer.write(&frame, &mut plane);
            assert_eq!([plane[0], plane[4]], expected);
        }
    }

    #[test]
    fn a_fine_checkerboard_shrinks_to_grey_and_not_to_stripes() {
        let (width, height) = (1920, 1080);
        let pixels: Vec<u8> = (0..width * height)
            .flat_map(|i| {
                [if (i % width + i / width) % 2 == 0 {
                    0
                } else {
                    255
                }; 3]
            })
            .collect();
        let plane = letterboxed(&pixels, Size::new(width, height), INPUT, 0);
        for pixel in plane[70 * 320 * 4..250 * 320 * 4].chunks(4) {
            assert!(pixel[0].abs_diff(127) <= 1, "{pixel:?}");
        }
    }

    #[test]
    fn every_value_is_within_one_of_the_exact_area_average() {
        let (width, height) = (333u32, 250u32);
        let pixels = noise((width * height * 3) as usize);
        let input = Size::new(100, 75);
        let plane = letterboxed(&pixels, Size::new(width, height), input, 0);
        let scale = f64::from(width) / 100.0;
        let overlap = |new: u32, old: u32| {
            let (begin, end) = (f64::from(new) * scale, f64::from(new + 1) * scale);
            (end.min(f64::from(old + 1)) - begin.max(f64::from(old))).max(0.0) / scale
        };
        let vertical = f64::from(height) / 75.0;
        let overlap_y = |new: u32, old: u32| {
            let (begin, end) = (f64::from(new) * vertical, f64::from(new + 1) * vertical);
            (end.min(f64::from(old + 1)) - begin.max(f64::from(old))).max(0.0) / vertical
        };
        for (x, y) in [(0, 0), (99, 74), (50, 37), (13, 70), (98, 1)] {
            for channel in 0..3 {
                let mut exact = 0.0;
                for v in 0..height {
                    for u in 0..width {
                        let share = overlap(x, u) * overlap_y(y, v);
                        exact +=
                            share * f64::from(pixels[((v * width + u) * 3 + channel) as usize]);
                    }
                }
                let got = f64::from(plane[((y * 100 + x) * 4 + channel) as usize]);
                assert!(
                    (got - exact).abs() <= 0.52,
                    "{got} is not {exact} at {x}, {y}"
                );
            }
        }
    }

    #[test]
    fn the_bytes_are_the_same_on_every_board() {
        let hash = |frame: Size| {
            let pixels = noise(frame.pixels() as usize * 3);
            letterboxed(&pixels, frame, INPUT, 1)
                .iter()
                .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
                })
        };
        // recorded once; a change is a change of what the network sees
        assert_eq!(hash(Size::new(480, 360)), SHRUNK);
        assert_eq!(hash(Size::new(100, 77)), GROWN);
    }

    const SHRUNK: u64 = 13_525_255_348_516_136_958;
    const GROWN: u64 = 6_596_466_397_694_237_824;

    #[test]
    fn a_second_frame_of_another_size_is_not_written_with_the_first_ones_tables() {
        let mut letterboxer = Letterboxer::new(INPUT, Fit::Letterbox, Shrink::Area, 0, [0; 3]);
        let mut plane = vec![0; letterboxer.plane_bytes()];
        for size in [Size::new(50, 40), Size::new(400, 300), Size::new(50, 40)] {
            let pixels = noise(size.pixels() as usize * 3);
            let frame = Frame::new(&pixels, size, 0, SystemTime::UNIX_EPOCH).expect("a frame");
            let letterbox = letterboxer.write(&frame, &mut plane);
            assert_eq!(letterbox.frame, size);
            assert!(plane == letterboxed(&pixels, size, INPUT, 0), "{size}");
        }
    }
}
