//! Products of narrow weights on plain NEON: an offset of a tile, or two, as one piece of assembly.
//!
//! Four products fit 16 bits, so `SMULL` and three `SMLAL` share one `SADALP`. For two pixels an offset fills the 32 registers: 16 sums,
//! 8 groups of activations, 4 sums of 16 bits and 4 loads. As intrinsics, or with the groups made outside of the assembly, some of
//! them went through memory (165 million instructions a frame of the default network, 153.5 so).
//!
//! Loads of weights come a few instructions before their use, for cores that run as written; two quarters of a row are one load.
//!
//! # Safety
//!
//! The assembly reads the arrays that it is given, whose types prove the bytes are there, and nothing else but registers.
#![allow(unsafe_code)]

use std::arch::{aarch64::*, asm};

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
        // SAFETY: what is read are bytes of `weights` and of the pixels, as many as their types have; all else are registers.
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
    ($(#[$doc:meta])* $name:ident, $groups:tt, $bytes:literal, $first:expr, $second:expr, $next:literal, $next_half:literal, $registers:tt) => {
        $(#[$doc])*
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
    /// Two pixels that lie side by side.
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
    /// Two pixels with one between them, which a stride of 2 leaves out.
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
    /// Two times three of the image's pixels, the second from two after the first on.
    image,
    3,
    20,
    "ldr {x2:q}, [{x}]\nldur {y2:q}, [{x}, #4]\n",
    "ldr {x2:q}, [{y}]\nldur {y2:q}, [{y}, #4]\n",
    "192",
    "224",
    [x0, x1, x2, y0, y1, y2]
);
