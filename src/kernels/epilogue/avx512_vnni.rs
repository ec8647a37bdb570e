//! 16 channels at once.

use std::arch::x86_64::*;

use super::Epilogue;
use crate::kernels::{each::each, layout::LANE, x86};

/// An epilogue's constants in registers; `LEAKY` if it has a slope.
pub(crate) struct Registers<const LEAKY: bool> {
    slope: __m512,
    bounds: [__m512; 2],
    zero_point: __m512i,
}

impl<const LEAKY: bool> Registers<LEAKY> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn new(epilogue: &Epilogue<'_>) -> Self {
        Self {
            slope: _mm512_set1_ps(epilogue.slope().unwrap_or(1.0)),
            bounds: each(epilogue.bounds(), |bound| _mm512_set1_ps(bound)),
            zero_point: _mm512_set1_epi32(i32::from(epilogue.zero_point)),
        }
    }

    /// The bytes of 16 numbers of steps, 32 bits each.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn bytes(&self, steps: __m512) -> __m512i {
        const NEAREST_EVEN: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        let steps = if LEAKY {
            _mm512_max_ps(steps, _mm512_mul_ps(steps, self.slope))
        } else {
            steps
        };
        let [low, high] = self.bounds;
        let steps = _mm512_min_ps(_mm512_max_ps(steps, low), high);
        let steps = _mm512_cvt_roundps_epi32::<NEAREST_EVEN>(steps);
        _mm512_add_epi32(steps, self.zero_point)
    }
}

/// Applies the table, if there is one, to pixels whose bytes were just made.
///
/// 128 pairs of neighbouring entries are 4 registers, and one instruction picks
/// any of the 64 in two of them for 32 bytes at once; the bytes' highest bit
/// says which two, their lowest which of a pair.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn look_up(epilogue: &Epilogue<'_>, fresh: &mut [[u8; LANE]]) {
    let Some(table) = epilogue.table() else {
        return;
    };
    let quarters = table.as_chunks().0;
    let [a, b, c, d] = std::array::from_fn(|q| x86::load_u8x64(&quarters[q]));
    let look_up = |bytes: __m256i| {
        let bytes = _mm512_cvtepu8_epi16(bytes);
        let pair = _mm512_srli_epi16::<1>(bytes);
        let low = _mm512_permutex2var_epi16(a, pair, b);
        let high = _mm512_permutex2var_epi16(c, pair, d);
        let upper = _mm512_test_epi16_mask(bytes, _mm512_set1_epi16(0x80));
        let entries = _mm512_mask_blend_epi16(upper, low, high);
        let odd = _mm512_test_epi16_mask(bytes, _mm512_set1_epi16(1));
        _mm512_cvtepi16_epi8(_mm512_mask_srli_epi16::<8>(entries, odd, entries))
    };
    let (pairs, last) = fresh.as_chunks_mut::<2>();
    for bytes in pairs
        .as_flattened_mut()
        .as_flattened_mut()
        .as_chunks_mut()
        .0
    {
        x86::store_u8x32(bytes, look_up(x86::load_u8x32(bytes)));
    }
    for bytes in last {
        let looked_up = look_up(_mm256_zextsi128_si256(x86::load_u8x16(bytes)));
        x86::store_u8x16(bytes, _mm256_castsi256_si128(looked_up));
    }
}
