//! The specification: one pixel, one block, one product at a time.

use super::{LANE, Operands};

/// Sums of one pixel for one block; they wrap, as every register's do.
pub(crate) fn sums<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
) -> [[[i32; LANE]; NB]; P] {
    let mut sums = [std::array::from_fn(|b| *operands.bias(b)); P];
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        for (p, sums) in sums.iter_mut().enumerate() {
            for (sums, rows) in sums.iter_mut().zip(blocks) {
                for (x, row) in pixels.groups(p).iter().zip(rows) {
                    for (sum, weights) in sums.iter_mut().zip(row.as_chunks().0) {
                        *sum = sum.wrapping_add(dot(*x, *weights));
                    }
                }
            }
        }
    }
    sums
}

/// Four products, summed.
fn dot(x: [u8; 4], weights: [i8; 4]) -> i32 {
    let products = x.into_iter().zip(weights);
    products.map(|(x, w)| i32::from(x) * i32::from(w)).sum()
}
