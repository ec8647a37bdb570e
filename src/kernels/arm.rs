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

/// The sums of two pixels, of each quarter of a row the two halves.
pub(super) type Halves = [[[int32x4_t; 2]; 4]; 2];

/// Loads two pixels, flips their bytes to signed ones and repeats each group in a register of its own: `x0` … of the first,
/// `y0` … of the second.
macro_rules! narrow_pixels {
    (4, $load:expr) => {
        concat!(
            $load,
            "movi {t0:v}.16b, #0x80\n",
            "eor {x3:v}.16b, {x3:v}.16b, {t0:v}.16b\n",
            "eor {y3:v}.16b, {y3:v}.16b, {t0:v}.16b\n",
            "dup {x0:v}.4s, {x3:v}.s[0]\n",
            "dup {x1:v}.4s, {x3:v}.s[1]\n",
            "dup {x2:v}.4s, {x3:v}.s[2]\n",
            "dup {x3:v}.4s, {x3:v}.s[3]\n",
            "dup {y0:v}.4s, {y3:v}.s[0]\n",
            "dup {y1:v}.4s, {y3:v}.s[1]\n",
            "dup {y2:v}.4s, {y3:v}.s[2]\n",
            "dup {y3:v}.4s, {y3:v}.s[3]\n",
        )
    };
    // the second pixel's 12 bytes end the 16 that were loaded
    (3, $load:expr) => {
        concat!(
            $load,
            "movi {t0:v}.16b, #0x80\n",
            "eor {x2:v}.16b, {x2:v}.16b, {t0:v}.16b\n",
            "eor {y2:v}.16b, {y2:v}.16b, {t0:v}.16b\n",
            "dup {x0:v}.4s, {x2:v}.s[0]\n",
            "dup {x1:v}.4s, {x2:v}.s[1]\n",
            "dup {x2:v}.4s, {x2:v}.s[2]\n",
            "dup {y0:v}.4s, {y2:v}.s[1]\n",
            "dup {y1:v}.4s, {y2:v}.s[2]\n",
            "dup {y2:v}.4s, {y2:v}.s[3]\n",
        )
    };
}

/// The products of a group with the 4 channels of `w`, for two pixels.
macro_rules! narrow_products {
    ($multiply:literal, $w:literal, $group:literal) => {
        concat!(
            $multiply,
            " {t0:v}.8h, {",
            $w,
            ":v}.8b, {x",
            $group,
            ":v}.8b\n",
            $multiply,
            "2 {t1:v}.8h, {",
            $w,
            ":v}.16b, {x",
            $group,
            ":v}.16b\n",
            $multiply,
            " {t2:v}.8h, {",
            $w,
            ":v}.8b, {y",
            $group,
            ":v}.8b\n",
            $multiply,
            "2 {t3:v}.8h, {",
            $w,
            ":v}.16b, {y",
            $group,
            ":v}.16b\n",
        )
    };
}

/// Adds them to the sums of their quarter.
macro_rules! narrow_sums {
    ($add:literal, $quarter:literal) => {
        concat!(
            $add,
            " {a",
            $quarter,
            ":v}.4s, {t0:v}.8h\n",
            $add,
            " {b",
            $quarter,
            ":v}.4s, {t1:v}.8h\n",
            $add,
            " {c",
            $quarter,
            ":v}.4s, {t2:v}.8h\n",
            $add,
            " {d",
            $quarter,
            ":v}.4s, {t3:v}.8h\n",
        )
    };
}

/// Two quarters of the rows that start at byte `at` of the weights.
///
/// Two quarters of a row are one load. Those of the last of 4 rows are two: there is no register left to keep the second in.
macro_rules! narrow_quarters {
    (4, $add:literal, $first:literal, $second:literal, $at:literal) => {
        concat!(
            "ldp {w:q}, {k:q}, [{weights}, #",
            $at,
            "]\n",
            "ldp {m:q}, {l:q}, [{weights}, #",
            $at,
            " + 64]\n",
            narrow_products!("smull", "w", "0"),
            "ldr {w:q}, [{weights}, #",
            $at,
            " + 192]\n",
            narrow_products!("smlal", "m", "1"),
            narrow_products!("smlal", "w", "3"),
            "ldp {w:q}, {m:q}, [{weights}, #",
            $at,
            " + 128]\n",
            narrow_products!("smlal", "w", "2"),
            "ldr {w:q}, [{weights}, #",
            $at,
            " + 208]\n",
            narrow_sums!($add, $first),
            narrow_products!("smull", "k", "0"),
            narrow_products!("smlal", "l", "1"),
            narrow_products!("smlal", "m", "2"),
            narrow_products!("smlal", "w", "3"),
            narrow_sums!($add, $second),
        )
    };
    (3, $add:literal, $first:literal, $second:literal, $at:literal) => {
        concat!(
            "ldp {w:q}, {k:q}, [{weights}, #",
            $at,
            "]\n",
            "ldp {m:q}, {l:q}, [{weights}, #",
            $at,
            " + 64]\n",
            narrow_products!("smull", "w", "0"),
            narrow_products!("smlal", "m", "1"),
            "ldp {w:q}, {m:q}, [{weights}, #",
            $at,
            " + 128]\n",
            narrow_products!("smlal", "w", "2"),
            narrow_sums!($add, $first),
            narrow_products!("smull", "k", "0"),
            narrow_products!("smlal", "l", "1"),
            narrow_products!("smlal", "m", "2"),
            narrow_sums!($add, $second),
        )
    };
}

/// The whole of an offset, or of two.
macro_rules! narrow_assembly {
    ([$($line:expr),*], $operand:ident $sums:ident, $weights:ident, [$($x:ident = $from:expr),*], [$($group:ident),*]) => {
        // SAFETY: `weights` and what is named of `x` are the readable bytes of their types; all else are registers.
        unsafe {
            asm!(
                $($line,)*
                weights = in(reg) $weights.as_ptr(),
                $($x = in(reg) $from.as_ptr(),)*
                a0 = $operand(vreg) $sums[0][0][0],
                b0 = $operand(vreg) $sums[0][0][1],
                c0 = $operand(vreg) $sums[1][0][0],
                d0 = $operand(vreg) $sums[1][0][1],
                a1 = $operand(vreg) $sums[0][1][0],
                b1 = $operand(vreg) $sums[0][1][1],
                c1 = $operand(vreg) $sums[1][1][0],
                d1 = $operand(vreg) $sums[1][1][1],
                a2 = $operand(vreg) $sums[0][2][0],
                b2 = $operand(vreg) $sums[0][2][1],
                c2 = $operand(vreg) $sums[1][2][0],
                d2 = $operand(vreg) $sums[1][2][1],
                a3 = $operand(vreg) $sums[0][3][0],
                b3 = $operand(vreg) $sums[0][3][1],
                c3 = $operand(vreg) $sums[1][3][0],
                d3 = $operand(vreg) $sums[1][3][1],
                $($group = out(vreg) _,)*
                t0 = out(vreg) _,
                t1 = out(vreg) _,
                t2 = out(vreg) _,
                t3 = out(vreg) _,
                w = out(vreg) _,
                k = out(vreg) _,
                l = out(vreg) _,
                m = out(vreg) _,
                options(readonly, nostack, preserves_flags),
            );
        }
    };
}

/// The functions for one number of groups and one distance between the pixels, which lie in so many bytes.
macro_rules! narrow_functions {
    ($name:ident, $groups:tt, $bytes:literal, $first:expr, $second:expr, $next:literal, $next_half:literal, $registers:tt) => {
        /// For two pixels and narrow weights: `Σ_i weights[i] · x[i]`, in 16 bits until the sum of all products at an
        /// offset is complete.
        ///
        /// All of an offset is one piece, because it fills the 32 registers: 16 sums, 8 groups, 4 sums of 16 bits and 4
        /// loads. As intrinsics, or with the groups made outside, registers went through memory.
        pub(in crate::kernels) mod $name {
            use super::*;

            /// The sums of one offset.
            #[inline]
            #[target_feature(enable = "neon")]
            pub(in crate::kernels) fn first(weights: &[[i8; 64]; $groups], x: &[u8; $bytes]) -> Halves {
                let mut sums = [[[vdupq_n_s32(0); 2]; 4]; 2];
                narrow_assembly!(
                    [
                        narrow_pixels!($groups, $first),
                        narrow_quarters!($groups, "saddlp", "0", "1", "0"),
                        narrow_quarters!($groups, "saddlp", "2", "3", "32")
                    ],
                    out sums, weights, [x = x], $registers
                );
                sums
            }

            /// Adds the sums of one offset.
            #[inline]
            #[target_feature(enable = "neon")]
            pub(in crate::kernels) fn add(sums: &mut Halves, weights: &[[i8; 64]; $groups], x: &[u8; $bytes]) {
                narrow_assembly!(
                    [
                        narrow_pixels!($groups, $first),
                        narrow_quarters!($groups, "sadalp", "0", "1", "0"),
                        narrow_quarters!($groups, "sadalp", "2", "3", "32")
                    ],
                    inout sums, weights, [x = x], $registers
                );
            }

            /// Adds the sums of two offsets.
            #[inline]
            #[target_feature(enable = "neon")]
            pub(in crate::kernels) fn add_two(
                sums: &mut Halves,
                weights: &[[[i8; 64]; $groups]; 2],
                [x, y]: [&[u8; $bytes]; 2],
            ) {
                narrow_assembly!(
                    [
                        narrow_pixels!($groups, $first),
                        narrow_quarters!($groups, "sadalp", "0", "1", "0"),
                        narrow_quarters!($groups, "sadalp", "2", "3", "32"),
                        narrow_pixels!($groups, $second),
                        narrow_quarters!($groups, "sadalp", "0", "1", $next),
                        narrow_quarters!($groups, "sadalp", "2", "3", $next_half)
                    ],
                    inout sums, weights, [x = x, y = y], $registers
                );
            }
        }
    };
}

narrow_functions!(
    neighbours,
    4,
    32,
    "ldp {x3:q}, {y3:q}, [{x}]\n",
    "ldp {x3:q}, {y3:q}, [{y}]\n",
    "256",
    "288",
    [x0, x1, x2, x3, y0, y1, y2, y3]
);
narrow_functions!(
    apart,
    4,
    48,
    "ldr {x3:q}, [{x}]\nldr {y3:q}, [{x}, #32]\n",
    "ldr {x3:q}, [{y}]\nldr {y3:q}, [{y}, #32]\n",
    "256",
    "288",
    [x0, x1, x2, x3, y0, y1, y2, y3]
);
narrow_functions!(
    image,
    3,
    20,
    "ldr {x2:q}, [{x}]\nldur {y2:q}, [{x}, #4]\n",
    "ldr {x2:q}, [{y}]\nldur {y2:q}, [{y}, #4]\n",
    "192",
    "224",
    [x0, x1, x2, y0, y1, y2]
);
