//! Loads, stores, `SDOT` and `SMMLA` of AArch64 registers.
//!
//! # Safety
//!
//! The only `unsafe` of the Arm kernels is here: each load or store moves
//! exactly the array it is given, whose type proves the bytes are there, with an
//! instruction that asks for no alignment; the assembly touches registers only, and
//! in [`sdot_rows`] the array that it is given.
//! The features they enable are their callers'.
#![allow(unsafe_code)]

use std::arch::{aarch64::*, asm};

pub(super) mod narrow;

/// Loads 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_u8x16(from: &[u8; 16]) -> uint8x16_t {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { vld1q_u8(from.as_ptr()) }
}

/// Loads 16 weights.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_i8x16(from: &[i8; 16]) -> int8x16_t {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { vld1q_s8(from.as_ptr()) }
}

/// Loads 4 integers.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_i32x4(from: &[i32; 4]) -> int32x4_t {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { vld1q_s32(from.as_ptr()) }
}

/// Loads 4 floats.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_f32x4(from: &[f32; 4]) -> float32x4_t {
    // SAFETY: `from` is 16 readable bytes.
    unsafe { vld1q_f32(from.as_ptr()) }
}

/// Stores 4 floats.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_f32x4(to: &mut [f32; 4], values: float32x4_t) {
    // SAFETY: `to` is 16 writable bytes.
    unsafe { vst1q_f32(to.as_mut_ptr(), values) }
}

/// Stores 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_u8x16(to: &mut [u8; 16], values: uint8x16_t) {
    // SAFETY: `to` is 16 writable bytes.
    unsafe { vst1q_u8(to.as_mut_ptr(), values) }
}

/// `sum[c] + Σ_i weights[4c + i] · x[4·LANE + i]`: `SDOT` with one group of `x`.
///
/// The intrinsic, `vdotq_laneq_s32`, is not stable in Rust 1.95.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn sdot<const LANE: usize>(
    mut sum: int32x4_t,
    weights: int8x16_t,
    x: int8x16_t,
) -> int32x4_t {
    // SAFETY: `dotprod` is enabled here, and `SDOT` reads and writes registers only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The assembly of [`sdot_rows`] for one of the rows.
macro_rules! sdot_row {
    ($lane:literal) => {
        concat!(
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{weights}], #64\n",
            "sdot {a0:v}.4s, v24.16b, {x0:v}.4b[",
            $lane,
            "]\n",
            "sdot {b0:v}.4s, v24.16b, {x1:v}.4b[",
            $lane,
            "]\n",
            "sdot {c0:v}.4s, v24.16b, {x2:v}.4b[",
            $lane,
            "]\n",
            "sdot {d0:v}.4s, v24.16b, {x3:v}.4b[",
            $lane,
            "]\n",
            "sdot {e0:v}.4s, v24.16b, {x4:v}.4b[",
            $lane,
            "]\n",
            "sdot {a1:v}.4s, v25.16b, {x0:v}.4b[",
            $lane,
            "]\n",
            "sdot {b1:v}.4s, v25.16b, {x1:v}.4b[",
            $lane,
            "]\n",
            "sdot {c1:v}.4s, v25.16b, {x2:v}.4b[",
            $lane,
            "]\n",
            "sdot {d1:v}.4s, v25.16b, {x3:v}.4b[",
            $lane,
            "]\n",
            "sdot {e1:v}.4s, v25.16b, {x4:v}.4b[",
            $lane,
            "]\n",
            "sdot {a2:v}.4s, v26.16b, {x0:v}.4b[",
            $lane,
            "]\n",
            "sdot {b2:v}.4s, v26.16b, {x1:v}.4b[",
            $lane,
            "]\n",
            "sdot {c2:v}.4s, v26.16b, {x2:v}.4b[",
            $lane,
            "]\n",
            "sdot {d2:v}.4s, v26.16b, {x3:v}.4b[",
            $lane,
            "]\n",
            "sdot {e2:v}.4s, v26.16b, {x4:v}.4b[",
            $lane,
            "]\n",
            "sdot {a3:v}.4s, v27.16b, {x0:v}.4b[",
            $lane,
            "]\n",
            "sdot {b3:v}.4s, v27.16b, {x1:v}.4b[",
            $lane,
            "]\n",
            "sdot {c3:v}.4s, v27.16b, {x2:v}.4b[",
            $lane,
            "]\n",
            "sdot {d3:v}.4s, v27.16b, {x3:v}.4b[",
            $lane,
            "]\n",
            "sdot {e3:v}.4s, v27.16b, {x4:v}.4b[",
            $lane,
            "]\n",
        )
    };
}

/// [`sdot`] for 5 pixels, each group of theirs with the 4 quarters of its row of weights.
///
/// A row is loaded with one instruction, which also finds the next one. The intrinsic for it,
/// `vld1q_s8_x4`, becomes two loads of two registers; and as assembly of its own, whose
/// registers must be neighbours, it has LLVM move the sums about. So this is one piece.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn sdot_rows(
    [a, b, c, d, e]: [&mut [int32x4_t; 4]; 5],
    weights: &[[i8; 64]; 4],
    x: [int8x16_t; 5],
) {
    // SAFETY: `weights` is 4 · 64 readable bytes; all else are registers, and `dotprod` is enabled here.
    unsafe {
        asm!(
            sdot_row!(0),
            sdot_row!(1),
            sdot_row!(2),
            sdot_row!(3),
            weights = inout(reg) weights.as_ptr() => _,
            a0 = inout(vreg) a[0],
            a1 = inout(vreg) a[1],
            a2 = inout(vreg) a[2],
            a3 = inout(vreg) a[3],
            b0 = inout(vreg) b[0],
            b1 = inout(vreg) b[1],
            b2 = inout(vreg) b[2],
            b3 = inout(vreg) b[3],
            c0 = inout(vreg) c[0],
            c1 = inout(vreg) c[1],
            c2 = inout(vreg) c[2],
            c3 = inout(vreg) c[3],
            d0 = inout(vreg) d[0],
            d1 = inout(vreg) d[1],
            d2 = inout(vreg) d[2],
            d3 = inout(vreg) d[3],
            e0 = inout(vreg) e[0],
            e1 = inout(vreg) e[1],
            e2 = inout(vreg) e[2],
            e3 = inout(vreg) e[3],
            x0 = in(vreg) x[0],
            x1 = in(vreg) x[1],
            x2 = in(vreg) x[2],
            x3 = in(vreg) x[3],
            x4 = in(vreg) x[4],
            out("v24") _,
            out("v25") _,
            out("v26") _,
            out("v27") _,
            options(readonly, nostack, preserves_flags),
        );
    }
}

/// `sums[2p + c] + Σ_i x[8p + i] · weights[8c + i]`: `SMMLA`, two pixels × two channels.
///
/// The intrinsic, `vmmlaq_s32`, is not stable in Rust 1.95. The assembly does not
/// say `nomem`, so that no load passes it: with loads before it, the sums of a
/// tile no longer fit the registers.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn smmla(mut sums: int32x4_t, x: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: `i8mm` is enabled here, and `SMMLA` reads and writes registers only.
    unsafe {
        asm!(
            "smmla {sums:v}.4s, {x:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            x = in(vreg) x,
            weights = in(vreg) weights,
            options(nostack, preserves_flags),
        );
    }
    sums
}

/// Half `H` of the inputs of two pixels, as signed bytes `u - 128`.
///
/// In assembly without `nomem` for the same reason as in [`smmla`].
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn signed_halves<const H: usize>(first: uint8x16_t, second: uint8x16_t) -> int8x16_t {
    let halves: uint8x16_t;
    // SAFETY: these instructions read and write registers only.
    unsafe {
        asm!(
            "zip{number} {halves:v}.2d, {first:v}.2d, {second:v}.2d",
            number = const H + 1,
            halves = out(vreg) halves,
            first = in(vreg) first,
            second = in(vreg) second,
            options(nostack, preserves_flags),
        );
    }
    vreinterpretq_s8_u8(veorq_u8(halves, vdupq_n_u8(0x80)))
}

/// For two pixels: `sums += Σ_i weights[i] · x[i]`, in 16 bits until the sum of
/// two products is complete.
///
/// Intrinsics say the same, but LLVM reorders them, and loads before them, until
/// the sums of a tile no longer fit the registers: 147 instructions in the loop
/// of 2 pixels, 127 so. That is why the assembly does not say `nomem`: no load
/// passes it. Four products are in flight, for cores that run it as written.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn add_products(
    sums: [&mut [int32x4_t; 2]; 2],
    weights: [int8x16_t; 2],
    x: [[int8x16_t; 2]; 2],
) {
    let [[low, high], [next_low, next_high]] = sums;
    // SAFETY: these instructions read and write registers only.
    unsafe {
        asm!(
            "smull {a:v}.8h, {w:v}.8b, {x:v}.8b",
            "smull2 {b:v}.8h, {w:v}.16b, {x:v}.16b",
            "smull {c:v}.8h, {w:v}.8b, {y:v}.8b",
            "smull2 {d:v}.8h, {w:v}.16b, {y:v}.16b",
            "smlal {a:v}.8h, {w1:v}.8b, {x1:v}.8b",
            "smlal2 {b:v}.8h, {w1:v}.16b, {x1:v}.16b",
            "smlal {c:v}.8h, {w1:v}.8b, {y1:v}.8b",
            "smlal2 {d:v}.8h, {w1:v}.16b, {y1:v}.16b",
            "sadalp {low:v}.4s, {a:v}.8h",
            "sadalp {high:v}.4s, {b:v}.8h",
            "sadalp {next_low:v}.4s, {c:v}.8h",
            "sadalp {next_high:v}.4s, {d:v}.8h",
            low = inout(vreg) *low,
            high = inout(vreg) *high,
            next_low = inout(vreg) *next_low,
            next_high = inout(vreg) *next_high,
            w = in(vreg) weights[0],
            w1 = in(vreg) weights[1],
            x = in(vreg) x[0][0],
            x1 = in(vreg) x[0][1],
            y = in(vreg) x[1][0],
            y1 = in(vreg) x[1][1],
            a = out(vreg) _,
            b = out(vreg) _,
            c = out(vreg) _,
            d = out(vreg) _,
            options(nostack, preserves_flags),
        );
    }
}
