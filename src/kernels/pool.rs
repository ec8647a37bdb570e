//! Pooling: the greatest byte of a window, the mean of a picture.
//!
//! Both work on 16 channels at a time as arrays, which every compiler turns into
//! one instruction of the processor's plainest vectors; so one implementation is
//! every level's.
//!
//! **Max.** A byte's order is its number's order, so nothing is requantised. Taps
//! outside the picture are ignored: the border's bytes stand for zero and may be
//! greater than what is inside, so they are not read. The greatest of a column
//! of taps serves all windows over it: `kh + kw` comparisons a pixel, not `kh · kw`.
//!
//! **Mean.** `y = requantise(Σ (x - zp_in), s_in / (n · s_out))` over the `n` pixels of a plane.

use std::ops::Range;

use super::{
    bands::{Band, bands},
    layout::{LANE, Planes},
};
use crate::quant::requantise;

/// The longest side of a window.
pub const MAX_KERNEL: usize = 32;

/// One max pooling.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// The shape of each input plane.
    pub input: Planes,
    /// The shape of each output plane.
    pub out: Planes,
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Taps of the first window above and left of the picture.
    pub pad: [usize; 2],
    /// The byte of the output's border.
    pub fill: u8,
}

/// The greatest byte of each window, channel by channel.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | planes of shape `op.input`; the border is not read | u8 |
/// | `y` | as many planes of shape `op.out` | u8 |
///
/// With `threads > 1` the work is split for that many, of the calling thread's
/// [`team`](crate::team). The result does not depend on it.
///
/// # Panics
///
/// If a window is empty, longer than [`MAX_KERNEL`] or wholly outside the
/// picture, or if `x` and `y` are not of the same number of planes.
pub fn max_pool(threads: usize, op: &MaxPool, x: &[u8], y: &mut [u8]) {
    op.check(x.len(), y.len());
    let width = op.input.width;
    bands(threads, op.out, op.fill, y, &|mut band: Band<'_>| {
        let plane = band.plane;
        let mut columns = [[0; LANE]; COLUMNS];
        for (row, y) in band.rows() {
            let rows = op.taps(0, row, op.input.height);
            let together = (COLUMNS - op.kernel[1]) / op.stride[1] + 1;
            for (first, y) in (0..).step_by(together).zip(y.chunks_mut(together)) {
                let left = op.taps(1, first, width).start;
                let right = op.taps(1, first + y.len() - 1, width).end;
                let columns = &mut columns[..right - left];
                columns.fill([0; LANE]);
                for row in rows.clone() {
                    let row = &op.input.row(plane, row, x)[left..right];
                    for (greatest, x) in columns.iter_mut().zip(row) {
                        *greatest = max(*greatest, *x);
                    }
                }
                for (column, y) in (first..).zip(y) {
                    let taps = op.taps(1, column, width);
                    let columns = &columns[taps.start - left..taps.end - left];
                    *y = columns.iter().fold([0; LANE], |y, x| max(y, *x));
                }
            }
        }
    });
}

/// Columns whose greatest bytes are kept at once.
const COLUMNS: usize = 64;

/// The greater byte of each channel.
#[inline(always)]
fn max(a: [u8; LANE], b: [u8; LANE]) -> [u8; LANE] {
    std::array::from_fn(|c| a[c].max(b[c]))
}

impl MaxPool {
    /// The contract of [`max_pool`].
    fn check(&self, x_len: usize, y_len: usize) {
        for axis in 0..2 {
            let size = [self.input.height, self.input.width][axis];
            let out = [self.out.height, self.out.width][axis];
            let (kernel, stride, pad) = (self.kernel[axis], self.stride[axis], self.pad[axis]);
            assert!(size > 0 && out > 0, "an empty plane");
            assert!((1..=MAX_KERNEL).contains(&kernel), "a window of {kernel}");
            assert!(stride > 0, "windows lie at different places");
            let inside = pad < kernel && (out - 1) * stride < size + pad;
            assert!(inside, "a window outside the picture");
        }
        assert_eq!(y_len % self.out.bytes(), 0, "whole planes");
        let planes = y_len / self.out.bytes();
        assert_eq!(x_len, planes * self.input.bytes(), "bytes of input");
    }

    /// The rows (axis 0) or columns (1) of the picture under window `i`.
    fn taps(&self, axis: usize, i: usize, size: usize) -> Range<usize> {
        let start = i * self.stride[axis];
        let end = start + self.kernel[axis] - self.pad[axis];
        start.saturating_sub(self.pad[axis])..end.min(size)
    }
}

/// One average pooling over whole planes.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool {
    /// The shape of each input plane.
    pub input: Planes,
    /// Pixels of border around the one pixel of an output plane.
    pub out_border: usize,
    /// `s_in / (n · s_out)` for planes of `n` pixels, finite.
    pub scale: f32,
    /// The byte that stands for zero in the input, and in the output.
    pub zero_points: [u8; 2],
}

/// The mean of each channel.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | planes of shape `op.input`; the border is not read | u8 |
/// | `y` | as many planes of one pixel within a border of zero points | u8 |
///
/// # Panics
///
/// If planes are empty or have more than 2^23 pixels, or if `x` and `y` are not
/// of the same number of planes.
pub fn average_pool(op: &AveragePool, x: &[u8], y: &mut [u8]) {
    let Planes { height, width, .. } = op.input;
    let count = height * width;
    assert!((1..=1 << 23).contains(&count), "a mean of {count} pixels");
    let out = Planes {
        height: 1,
        width: 1,
        border: op.out_border,
    };
    assert_eq!(y.len() % out.bytes(), 0, "whole planes");
    let planes = y.len() / out.bytes();
    assert_eq!(x.len(), planes * op.input.bytes(), "bytes of input");
    let [zero_in, zero_out] = op.zero_points;
    let zeros = count as i32 * i32::from(zero_in);
    bands(1, out, zero_out, y, &|mut band: Band<'_>| {
        let plane = band.plane;
        let mut sums = [0_i32; LANE];
        for row in (0..height).map(|row| op.input.row(plane, row, x)) {
            // 256 bytes fit 16 bits, of which registers hold twice as many.
            for pixels in row.chunks(256) {
                let mut words = [0_u16; LANE];
                for pixel in pixels {
                    words = std::array::from_fn(|c| words[c] + u16::from(pixel[c]));
                }
                sums = std::array::from_fn(|c| sums[c] + i32::from(words[c]));
            }
        }
        let byte = |sum: i32| requantise(sum - zeros, op.scale, zero_out, 0, 255);
        for (_, y) in band.rows() {
            y.fill(sums.map(byte));
        }
    });
}

#[cfg(test)]
mod tests;
