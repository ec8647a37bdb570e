//! `VPMADDWD`: products of two taps at once, two pixels in the halves of a register.
//!
//! The bytes of two taps are interleaved, then widened, so that neighbouring
//! words belong to one channel: 3 instructions for each half of the channels of
//! two pixels, all within halves. `VPMADDUBSW` would not need the widening, and
//! saturates.

use std::arch::x86_64::*;

use super::{Band, LANE, MAX_TAPS, Plane, tap};
use crate::kernels::{
    epilogue::avx2::{Registers, look_up},
    x86,
};

/// The most pairs of taps.
const MAX_PAIRS: usize = MAX_TAPS.div_ceil(2);

#[target_feature(enable = "avx2")]
pub(super) fn rows(plane: &Plane<'_>, band: &mut Band<'_>) {
    let mut pairs = [([0; 2], [_mm256_setzero_si256(); 4]); MAX_PAIRS];
    let pairs = &mut pairs[..plane.offsets.len().div_ceil(2)];
    prepare(plane, pairs);
    if plane.epilogue.slope().is_some() {
        rows_of_steps::<true>(plane, pairs, band);
    } else {
        rows_of_steps::<false>(plane, pairs, band);
    }
}

/// The same with or without a slope.
#[inline]
#[target_feature(enable = "avx2")]
fn rows_of_steps<const LEAKY: bool>(plane: &Plane<'_>, pairs: &[Pair], band: &mut Band<'_>) {
    let level = Level::<LEAKY>::new(plane, pairs);
    match plane.pixel_step {
        16 => level.rows::<16>(plane, band),
        _ => level.rows::<0>(plane, band),
    }
}

/// Offsets of two taps, and their weights as neighbouring words.
type Pair = ([usize; 2], [__m256i; 4]);

/// A plane's constants; register `k` holds channels `4k .. 4k + 4` in each half.
struct Level<'a, const LEAKY: bool> {
    pairs: &'a [Pair],
    bias: [__m256i; 4],
    scale: [__m256; 4],
    epilogue: Registers<LEAKY>,
}

impl<'a, const LEAKY: bool> Level<'a, LEAKY> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(plane: &Plane<'_>, pairs: &'a [Pair]) -> Self {
        let bias = plane.bias.as_chunks().0;
        let scale = plane.scale.as_chunks().0;
        Self {
            pairs,
            bias: std::array::from_fn(|k| _mm256_broadcastsi128_si256(x86::load_i32x4(&bias[k]))),
            scale: std::array::from_fn(|k| {
                let scale = x86::load_f32x4(&scale[k]);
                _mm256_set_m128(scale, scale)
            }),
            epilogue: Registers::new(&plane.epilogue),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rows<const STEP: usize>(&self, plane: &Plane<'_>, band: &mut Band<'_>) {
        let step = plane.pixel_step;
        for (row, y) in band.rows() {
            let x = &plane.x[row * plane.row_step..];
            let (mut done, width) = (0, y.len());
            while done < width {
                // Tiles may repeat pixels of the one before.
                let pixels = match (width, width - done) {
                    (4.., 3..) => 4,
                    (2.., _) => 2,
                    _ => 1,
                };
                let start = done.min(width - pixels);
                let (x, y) = (&x[start * step..], &mut y[start..start + pixels]);
                match pixels {
                    4 => self.tile::<2, 4, STEP>(step, x, y),
                    2 => self.tile::<1, 2, STEP>(step, x, y),
                    _ => self.tile::<1, 1, STEP>(step, x, y),
                }
                look_up(&plane.epilogue, y);
                done = start + pixels;
            }
        }
    }

    /// `P` pixels in `V` registers; `STEP` is the pixel step, or 0 for any.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn tile<const V: usize, const P: usize, const STEP: usize>(
        &self,
        step: usize,
        x: &[u8],
        y: &mut [[u8; LANE]],
    ) {
        let step = if STEP > 0 { STEP } else { step };
        let zero = _mm256_setzero_si256();
        let mut sums = [self.bias; V];
        let bytes = (P - 1) * step + LANE;
        for (offsets, weights) in self.pairs {
            let [first, second] = *offsets;
            let [first, second] = [tap(x, first, bytes), tap(x, second, bytes)];
            for (v, sums) in sums.iter_mut().enumerate() {
                let first = pixels::<P, STEP>(step, v, first);
                let second = pixels::<P, STEP>(step, v, second);
                let low = _mm256_unpacklo_epi8(first, second);
                let high = _mm256_unpackhi_epi8(first, second);
                let words = [
                    _mm256_unpacklo_epi8(low, zero),
                    _mm256_unpackhi_epi8(low, zero),
                    _mm256_unpacklo_epi8(high, zero),
                    _mm256_unpackhi_epi8(high, zero),
                ];
                for ((sum, words), weights) in sums.iter_mut().zip(words).zip(weights) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, *weights));
                }
            }
        }
        for (sums, y) in sums.iter().zip(y.chunks_mut(2)) {
            let [a, b, c, d] = std::array::from_fn(|k| {
                let steps = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[k]), self.scale[k]);
                self.epilogue.bytes(steps)
            });
            let words = [_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)];
            let bytes = _mm256_packus_epi16(words[0], words[1]);
            match y.as_flattened_mut().as_chunks_mut() {
                ([both], _) => x86::store_u8x32(both, bytes),
                _ => x86::store_u8x16(&mut y[0], _mm256_castsi256_si128(bytes)),
            }
        }
    }
}

/// The `v`-th two of neighbouring pixels, or one of which there is no second.
#[inline]
#[target_feature(enable = "avx2")]
fn pixels<const P: usize, const STEP: usize>(step: usize, v: usize, x: &[u8]) -> __m256i {
    let x = &x[2 * v * step..];
    if P > 1 && STEP == LANE {
        return x86::load_u8x32(&x.as_chunks().0[0]);
    }
    let pixel = |p: usize| x86::load_u8x16(&x[p * step..].as_chunks().0[0]);
    let second = if P > 1 { pixel(1) } else { _mm_setzero_si128() };
    _mm256_set_m128i(second, pixel(0))
}

/// Arranges a plane's taps.
#[inline]
#[target_feature(enable = "avx2")]
fn prepare(plane: &Plane<'_>, pairs: &mut [Pair]) {
    let taps = plane.offsets.chunks(2).zip(plane.weights.chunks(2));
    for (pair, (offsets, weights)) in pairs.iter_mut().zip(taps) {
        let first = x86::load_i8x16(&weights[0]);
        // A last tap without a partner gets one that weighs nothing.
        let second = weights.get(1).map(|weights| x86::load_i8x16(weights));
        let second = second.unwrap_or_else(|| _mm_setzero_si128());
        let offset = offsets[0] as usize;
        *pair = (
            [offset, offsets.get(1).map_or(offset, |&o| o as usize)],
            [
                _mm_unpacklo_epi8(first, second),
                _mm_srli_si128::<8>(_mm_unpacklo_epi8(first, second)),
                _mm_unpackhi_epi8(first, second),
                _mm_srli_si128::<8>(_mm_unpackhi_epi8(first, second)),
            ]
            .map(|bytes| _mm256_broadcastsi128_si256(_mm_cvtepi8_epi16(bytes))),
        );
    }
}
