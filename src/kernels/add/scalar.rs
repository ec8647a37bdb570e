//! The specification: two products, one sum, one byte at a time.

use super::{LANE, Terms};

pub(super) fn row(terms: &Terms<'_>, a: &[[u8; LANE]], b: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    let term = |i: usize, byte: u8| {
        let steps = i32::from(byte) - i32::from(terms.zero_points[i]);
        steps as f32 * terms.scales[i]
    };
    for ((a, b), y) in a.iter().zip(b).zip(y) {
        *y = std::array::from_fn(|c| terms.epilogue.byte(term(0, a[c]) + term(1, b[c])));
    }
}
