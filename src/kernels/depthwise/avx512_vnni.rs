//! `VPDPBUSD`: products of four taps at once, four pixels in the quarters of a register.
//!
//! The bytes of four taps are transposed within quarters, 8 instructions, so
//! that neighbouring bytes belong to one channel; then 4 dot products add 256 of
//! them.

use std::arch::x86_64::*;

use super::{Band, LANE, MAX_TAPS, Plane, tap};
use crate::kernels::{
    each::each,
    epilogue::avx512_vnni::{Registers, look_up},
    x86,
};

/// The most groups of four taps.
const MAX_GROUPS: usize = MAX_TAPS.div_ceil(4);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn rows(plane: &Plane<'_>, band: &mut Band<'_>) {
    let mut groups = [([0; 4], [_mm512_setzero_si512(); 4]); MAX_GROUPS];
    let groups = &mut groups[..plane.offsets.len().div_ceil(4)];
    prepare(plane, groups);
    if plane.epilogue.slope().is_some() {
        rows_of_steps::<true>(plane, groups, band);
    } else {
        rows_of_steps::<false>(plane, groups, band);
    }
}

/// The same with or without a slope.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn rows_of_steps<const LEAKY: bool>(plane: &Plane<'_>, groups: &[Group], band: &mut Band<'_>) {
    let level = Level::<LEAKY>::new(plane, groups);
    match plane.pixel_step {
        16 => level.rows::<16>(plane, band),
        32 => level.rows::<32>(plane, band),
        _ => level.rows::<0>(plane, band),
    }
}

/// Offsets of four taps, and their weights as neighbouring bytes.
type Group = ([usize; 4], [__m512i; 4]);

/// A plane's constants; register `k` holds channels `4k .. 4k + 4` in each quarter.
struct Level<'a, const LEAKY: bool> {
    groups: &'a [Group],
    bias: [__m512i; 4],
    scale: [__m512; 4],
    epilogue: Registers<LEAKY>,
}

impl<'a, const LEAKY: bool> Level<'a, LEAKY> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn new(plane: &Plane<'_>, groups: &'a [Group]) -> Self {
        let bias = plane.bias.as_chunks().0;
        let scale = plane.scale.as_chunks().0;
        Self {
            groups,
            bias: std::array::from_fn(|k| _mm512_broadcast_i32x4(x86::load_i32x4(&bias[k]))),
            scale: std::array::from_fn(|k| _mm512_broadcast_f32x4(x86::load_f32x4(&scale[k]))),
            epilogue: Registers::new(&plane.epilogue),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn rows<const STEP: usize>(&self, plane: &Plane<'_>, band: &mut Band<'_>) {
        let step = plane.pixel_step;
        for (row, y) in band.rows() {
            let x = &plane.x[row * plane.row_step..];
            let (mut done, width) = (0, y.len());
            while done < width {
                // Tiles may repeat pixels of the one before.
                let pixels = match (width, width - done) {
                    (8.., 5..) => 8,
                    (4.., _) => 4,
                    _ => 1,
                };
                let start = done.min(width - pixels);
                let (x, y) = (&x[start * step..], &mut y[start..start + pixels]);
                match pixels {
                    8 => self.tile::<2, 8, STEP>(step, x, y),
                    4 => self.tile::<1, 4, STEP>(step, x, y),
                    _ => self.tile::<1, 1, STEP>(step, x, y),
                }
                look_up(&plane.epilogue, y);
                done = start + pixels;
            }
        }
    }

    /// `P` pixels in `V` registers; `STEP` is the pixel step, or 0 for any.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn tile<const V: usize, const P: usize, const STEP: usize>(
        &self,
        step: usize,
        x: &[u8],
        y: &mut [[u8; LANE]],
    ) {
        let step = if STEP > 0 { STEP } else { step };
        let mut sums = [self.bias; V];
        let bytes = (P - 1) * step + LANE;
        for (offsets, weights) in self.groups {
            let [a, b, c, d] = *offsets;
            let [a, b, c, d] = [
                tap(x, a, bytes),
                tap(x, b, bytes),
                tap(x, c, bytes),
                tap(x, d, bytes),
            ];
            for (v, sums) in sums.iter_mut().enumerate() {
                let taps = [
                    pixels::<P, STEP>(step, v, a),
                    pixels::<P, STEP>(step, v, b),
                    pixels::<P, STEP>(step, v, c),
                    pixels::<P, STEP>(step, v, d),
                ];
                for ((sum, x), weights) in sums.iter_mut().zip(transpose(taps)).zip(weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, x, *weights);
                }
            }
        }
        for (sums, y) in sums.iter().zip(y.chunks_mut(4)) {
            let [a, b, c, d] = std::array::from_fn(|k| {
                let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[k]), self.scale[k]);
                self.epilogue.bytes(steps)
            });
            let words = [_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)];
            let bytes = _mm512_packus_epi16(words[0], words[1]);
            match y.as_flattened_mut().as_chunks_mut() {
                ([all], _) => x86::store_u8x64(all, bytes),
                _ => x86::store_u8x16(&mut y[0], _mm512_castsi512_si128(bytes)),
            }
        }
    }
}

/// The `v`-th four of neighbouring pixels, or one of which there are no others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn pixels<const P: usize, const STEP: usize>(step: usize, v: usize, x: &[u8]) -> __m512i {
    let x = &x[4 * v * step..];
    let pixel = |p: usize| x86::load_u8x16(&x[p * step..].as_chunks().0[0]);
    match (P, STEP) {
        (1, _) => _mm512_zextsi128_si512(pixel(0)),
        (_, 16) => x86::load_u8x64(&x.as_chunks().0[0]),
        (_, 32) => {
            // The second register starts early, so as not to read beyond the last pixel.
            let [even, odd] = each([x, &x[48..]], |x| x86::load_u8x64(&x.as_chunks().0[0]));
            _mm512_shuffle_i32x4::<0b11_01_10_00>(even, odd)
        }
        _ => {
            let low = _mm256_set_m128i(pixel(1), pixel(0));
            let high = _mm256_set_m128i(pixel(3), pixel(2));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }
}

/// In each quarter, from 16 channels of four taps to four taps of 4 channels, four times.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn transpose([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let low = [_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d)];
    let high = [_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d)];
    [
        _mm512_unpacklo_epi16(low[0], low[1]),
        _mm512_unpackhi_epi16(low[0], low[1]),
        _mm512_unpacklo_epi16(high[0], high[1]),
        _mm512_unpackhi_epi16(high[0], high[1]),
    ]
}

/// Arranges a plane's taps.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn prepare(plane: &Plane<'_>, groups: &mut [Group]) {
    let taps = plane.offsets.chunks(4).zip(plane.weights.chunks(4));
    for (group, (offsets, weights)) in groups.iter_mut().zip(taps) {
        // Taps that the last group lacks weigh nothing, wherever they lie.
        let rows = std::array::from_fn(|t| match weights.get(t) {
            Some(weights) => _mm512_castsi128_si512(x86::load_i8x16(weights)),
            None => _mm512_setzero_si512(),
        });
        *group = (
            std::array::from_fn(|t| offsets[t.min(offsets.len() - 1)] as usize),
            each(transpose(rows), |k| {
                _mm512_broadcast_i32x4(_mm512_castsi512_si128(k))
            }),
        );
    }
}
