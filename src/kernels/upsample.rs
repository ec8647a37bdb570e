//! Nearest ×2, planes to planes.
//!
//! Every pixel becomes a square of four. It is copying, 16 bytes at a time, so
//! one implementation is every level's.

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
    for (x, y) in planes {
        to.fill_border(y, zero_point);
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

#[cfg(test)]
mod tests {
    use super::*;

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
