//! Upsampling by two, nearest or linear, planes to planes.
//!
//! Nearest is copying, 16 bytes at a time; linear is small sums of neighbouring
//! pixels that compilers vectorise. So one implementation is every level's.

use super::layout::{LANE, Planes};

/// Writes each pixel of `x` to a 2 × 2 square of `y`, and `y`'s border.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | consecutive planes of shape `from`; its border is not read | u8 |
/// | `y` | as many planes of twice the height and width within `border` | u8 |
///
/// # Panics
///
/// If `x` is not whole planes, or `y` not as many.
pub fn upsample(from: Planes, border: usize, zero_point: u8, x: &[u8], y: &mut [u8]) {
    for (x, y, to) in doubled(from, border, zero_point, x, y) {
        let rows = x[from.origin()..].chunks(from.row_bytes());
        let pairs = y[to.origin()..].chunks_mut(2 * to.row_bytes());
        for (row, pair) in rows.zip(pairs).take(from.height) {
            let (first, second) = pair.split_at_mut(to.row_bytes());
            let first = &mut first[..to.width * LANE];
            let pixels = row.as_chunks::<LANE>().0;
            for (pixel, pair) in pixels
                .iter()
                .zip(first.as_chunks_mut().0.as_chunks_mut::<2>().0)
            {
                *pair = [*pixel; 2];
            }
            second[..first.len()].copy_from_slice(first);
        }
    }
}

/// Writes the linear interpolation of `x` at twice its size, and `y`'s border.
///
/// A new pixel lies a quarter of an old one beside the nearest old pixel's centre, so it is 9 : 3 : 3 : 1 of four old ones; at the edge
/// the last pixel repeats (ONNX `Resize`, `linear`, `half_pixel`). One rounding, ties to even. Arguments as [`upsample`]'s.
///
/// # Panics
///
/// If `x` is not whole planes, or `y` not as many.
pub fn upsample_linear(from: Planes, border: usize, zero_point: u8, x: &[u8], y: &mut [u8]) {
    for (x, y, to) in doubled(from, border, zero_point, x, y) {
        let pixels = |row: usize| from.row(0, row, x);
        for row in 0..to.height {
            let near = row / 2;
            let far = if row % 2 == 0 {
                near.saturating_sub(1)
            } else {
                (near + 1).min(from.height - 1)
            };
            let (near, far) = (pixels(near), pixels(far));
            // three parts of the near row and one of the far: at most 4 · 255
            let column = |i: usize| -> [u16; LANE] {
                std::array::from_fn(|c| 3 * u16::from(near[i][c]) + u16::from(far[i][c]))
            };
            let line = &mut y[to.origin() + row * to.row_bytes()..][..to.width * LANE];
            let (mut left, mut middle) = (column(0), column(0));
            for (i, pair) in line
                .as_chunks_mut()
                .0
                .as_chunks_mut::<2>()
                .0
                .iter_mut()
                .enumerate()
            {
                let right = column((i + 1).min(from.width - 1));
                *pair = [blend(&middle, &left), blend(&middle, &right)];
                (left, middle) = (middle, right);
            }
        }
    }
}

/// Each plane of `x` with the one of `y` that is made of it, whose border is filled, and that one's shape.
fn doubled<'a>(
    from: Planes,
    border: usize,
    zero_point: u8,
    x: &'a [u8],
    y: &'a mut [u8],
) -> impl Iterator<Item = (&'a [u8], &'a mut [u8], Planes)> {
    let to = Planes {
        height: 2 * from.height,
        width: 2 * from.width,
        border,
    };
    assert_eq!(x.len() % from.bytes(), 0, "whole planes");
    assert_eq!(
        y.len(),
        x.len() / from.bytes() * to.bytes(),
        "as many planes"
    );
    let planes = x
        .chunks_exact(from.bytes())
        .zip(y.chunks_exact_mut(to.bytes()));
    planes.map(move |(x, y)| {
        to.fill_border(y, zero_point);
        (x, y, to)
    })
}

/// Three parts of one, one of the other; both are four times a byte.
fn blend(near: &[u16; LANE], far: &[u16; LANE]) -> [u8; LANE] {
    std::array::from_fn(|c| {
        let sum = 3 * near[c] + far[c];
        ((sum + 7 + ((sum >> 4) & 1)) >> 4) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_interpolation_equals_its_definition() {
        let mut random = crate::kernels::tests::Random::new(3);
        for (height, width, border) in [(1, 1, 0), (1, 5, 1), (4, 1, 0), (3, 7, 2)] {
            let from = Planes {
                height,
                width,
                border: 1,
            };
            let to = Planes {
                height: 2 * height,
                width: 2 * width,
                border,
            };
            let x = random.bytes(2 * from.bytes());
            let mut y = vec![0; 2 * to.bytes()];
            upsample_linear(from, border, 9, &x, &mut y);
            let at = |planes: &Planes, row: usize, column: usize| {
                planes.origin() + row * planes.row_bytes() + column * LANE
            };
            for (plane, channel) in [(0, 3), (1, 15)] {
                for row in 0..to.height {
                    for column in 0..to.width {
                        // the place in x's pixels, and the weights of both neighbours along each axis
                        let axis = |new: usize, size: usize| {
                            let place = (new as f64 + 0.5) / 2.0 - 0.5;
                            let low = place.floor();
                            let clamped = |i: f64| (i.max(0.0) as usize).min(size - 1);
                            [
                                (clamped(low), 1.0 - (place - low)),
                                (clamped(low + 1.0), place - low),
                            ]
                        };
                        let mut sum = 0.0;
                        for (r, wr) in axis(row, height) {
                            for (c, wc) in axis(column, width) {
                                let i = plane * from.bytes() + at(&from, r, c) + channel;
                                sum += wr * wc * f64::from(x[i]);
                            }
                        }
                        let found = y[plane * to.bytes() + at(&to, row, column) + channel];
                        assert_eq!(f64::from(found), sum.round_ties_even());
                    }
                }
            }
            if border > 0 {
                assert_eq!((y[0], y[to.bytes() - 1]), (9, 9));
            }
        }
    }

    #[test]
    fn every_pixel_becomes_a_square_within_a_fresh_border() {
        for (from_border, border) in [(0, 0), (0, 1), (1, 0), (2, 1), (1, 2)] {
            let from = Planes {
                height: 2,
                width: 3,
                border: from_border,
            };
            let to = Planes {
                height: 4,
                width: 6,
                border,
            };
            let x: Vec<u8> = (0..2 * from.bytes()).map(|i| (i * 7 % 251) as u8).collect();
            let mut y = vec![255; 2 * to.bytes()];
            upsample(from, border, 254, &x, &mut y);
            for (i, &byte) in y.iter().enumerate() {
                let (plane, at) = (i / to.bytes(), i % to.bytes());
                let row = (at / to.row_bytes()).checked_sub(border);
                let pixel = (at % to.row_bytes() / LANE).checked_sub(border);
                let inside = row.zip(pixel).filter(|&(r, p)| r < 4 && p < 6);
                let expected = inside.map_or(254, |(r, p)| {
                    let source = r / 2 * from.row_bytes() + p / 2 * LANE + i % LANE;
                    x[plane * from.bytes() + from.origin() + source]
                });
                assert_eq!(
                    byte, expected,
                    "byte {i}, borders {from_border} and {border}"
                );
            }
        }
    }
}
