//! `VPMADDWD` on bytes widened to 16 bits; where weights are narrow, `VPMADDUBSW`.
//!
//! `VPMADDUBSW` takes bytes as they are and saturates: `255 · 127 · 2` is more
//! than 16 bits hold. Widening costs one instruction a load and is exact.
//!
//! A quarter of a row is 4 channels × 4 inputs: its products make 8 sums, two
//! per channel, which are added at the end. 3 pixels × 4 quarters are 12 sums
//! of 16 registers.
//!
//! Of narrow weights (up to 63) two products always fit: `255 · 63 · 2 < 2^15`. Then a
//! half of a row, 8 channels × 4 inputs, takes three instructions, the second of which
//! adds neighbours by multiplying them with one, and 5 pixels × 2 halves are 10 sums.
//!
//! Of calm ones four products fit, so two groups share that second multiplication and the
//! addition behind it: five instructions for 64 products, three of them multiplications, which
//! are what cores with two such units are short of.

use std::arch::x86_64::*;

use super::Operands;
use crate::kernels::{each::each, x86};

/// Sums of `P` pixels for `NB` blocks; lane `c` of register `h` is channel `8h + c`.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn sums<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
) -> [[[__m256i; 2]; NB]; P] {
    let mut quarters = [[[_mm256_setzero_si256(); 4]; NB]; P];
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        for g in 0..G {
            for (b, rows) in blocks.iter().enumerate() {
                for (q, weights) in rows[g].as_chunks().0.iter().enumerate() {
                    let weights = _mm256_cvtepi8_epi16(x86::load_i8x16(weights));
                    for (p, sums) in quarters.iter_mut().enumerate() {
                        let x = _mm_set1_epi32(pixels.group(p, g));
                        let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(x), weights);
                        sums[b][q] = _mm256_add_epi32(sums[b][q], products);
                    }
                }
            }
        }
    }
    let mut sums = [[[_mm256_setzero_si256(); 2]; NB]; P];
    for (sums, quarters) in sums.iter_mut().zip(quarters) {
        for (b, (sums, quarters)) in sums.iter_mut().zip(quarters).enumerate() {
            let bias = operands.bias(b).as_chunks().0;
            for (h, sum) in sums.iter_mut().enumerate() {
                let [low, high] = [quarters[2 * h], quarters[2 * h + 1]];
                let pairs = _mm256_hadd_epi32(low, high);
                let total = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
                *sum = _mm256_add_epi32(total, x86::load_i32x8(&bias[h]));
            }
        }
    }
    sums
}

/// The same for narrow weights.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn narrow<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
) -> [[[__m256i; 2]; NB]; P] {
    let ones = _mm256_set1_epi16(1);
    let mut sums: [[[_; 2]; NB]; P] = [std::array::from_fn(|b| {
        let bias = operands.bias(b).as_chunks().0;
        std::array::from_fn(|h| x86::load_i32x8(&bias[h]))
    }); P];
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        for g in 0..G {
            let halves = each(blocks, |rows| {
                let halves = rows[g].as_chunks().0;
                each([0, 1], |h| x86::load_i8x32(&halves[h]))
            });
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(pixels.group(p, g));
                for (sums, halves) in sums.iter_mut().zip(halves) {
                    for (sum, weights) in sums.iter_mut().zip(halves) {
                        let pairs = _mm256_maddubs_epi16(x, weights);
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
        }
    }
    sums
}

/// The same for calm weights.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn calm<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
    operands: &Operands<'_>,
) -> [[[__m256i; 2]; NB]; P] {
    let ones = _mm256_set1_epi16(1);
    let mut sums: [[[_; 2]; NB]; P] = [std::array::from_fn(|b| {
        let bias = operands.bias(b).as_chunks().0;
        std::array::from_fn(|h| x86::load_i32x8(&bias[h]))
    }); P];
    for (pixels, blocks) in operands.offsets::<P, NB, G, STEP>() {
        for g in (0..G).step_by(2) {
            // the last of an odd number of groups is alone
            let next = (g + 1).min(G - 1);
            let quarters = each(blocks, |rows| {
                let [a, b] = [rows[g].as_chunks().0, rows[next].as_chunks().0];
                each([&a[0], &a[1], &b[0], &b[1]], |half| x86::load_i8x32(half))
            });
            for (p, sums) in sums.iter_mut().enumerate() {
                let [first, second] = each([g, next], |g| _mm256_set1_epi32(pixels.group(p, g)));
                for (sums, quarters) in sums.iter_mut().zip(quarters) {
                    for (h, sum) in sums.iter_mut().enumerate() {
                        let mut pairs = _mm256_maddubs_epi16(first, quarters[h]);
                        if next > g {
                            let more = _mm256_maddubs_epi16(second, quarters[2 + h]);
                            pairs = _mm256_add_epi16(pairs, more);
                        }
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
        }
    }
    sums
}
