//! `VPDPBUSD`: one instruction adds the products of 16 channels × 4 inputs.
//!
//! 14 pixels × 2 blocks are 28 sums, which with 2 rows of weights and a
//! broadcast group fill 31 of 32 registers: per step 14 broadcasts and 2 loads
//! for 28 dot products.

use std::arch::x86_64::*;

use super::Operands;
use crate::kernels::{each::each, x86};

/// Sums of `P` pixels for `NB` blocks; lane `c` is channel `c`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) fn sums<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
) -> [[__m512i; NB]; P] {
    let bias: [_; NB] = std::array::from_fn(|b| x86::load_i32x16(operands.bias(b)));
    let mut sums = [bias; P];
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        for g in 0..G {
            let weights = each(blocks, |rows| x86::load_row512(&rows[g]));
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(pixels.group(p, g));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, x, weights);
                }
            }
        }
    }
    sums
}
