//! The specification: one product, one byte at a time.

use super::{LANE, Terms};
use crate::quant::requantise;

pub(super) fn row(terms: &Terms, x: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    let [zero_in, zero_out] = terms.zero_points;
    for (x, y) in x.iter().zip(y) {
        *y = std::array::from_fn(|c| {
            let product = (i32::from(x[c]) - i32::from(zero_in)) * terms.gate[c];
            requantise(product, terms.scale, zero_out, 0, 255)
        });
    }
}
