//! A tensor times one value per channel: the gate of squeeze-and-excitation.
//!
//! ```text
//! y = clamp(round((x - zero_points[0]) · (gate - zero_points[1]) · scale) + fill, 0, 255)
//! ```
//!
//! `scale` is `s_x · s_gate / s_y`. The product of two differences of bytes is an
//! exact integer of 17 bits, so this is [`requantise`](crate::quant::requantise) of it and nothing else is
//! rounded.
//!
//! Plain x86 has no instruction that rounds to even, so AVX2 takes a fifteenth of
//! the time there (192 channels of 20 × 20: 24 µs, scalar 406). On Arm the loop of
//! `scalar` has such instructions; no level of its own was measured.

use super::{
    bands::{Band, bands},
    isa::Isa,
    layout::{LANE, Planes},
};

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;

/// One multiplication; see the [module](self) for the formula.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// The shape of each plane of the tensor.
    pub input: Planes,
    /// The border around the one pixel of each plane of gates.
    pub gate_border: usize,
    /// The shape of each plane of the output; only the border may differ.
    pub out: Planes,
    /// Steps of the output for the product of a step of each input, finite.
    pub scale: f32,
    /// The byte that stands for zero in the tensor, and in the gates.
    pub zero_points: [u8; 2],
    /// The byte that stands for zero in the output, also in its border.
    pub fill: u8,
}

/// Multiplies the planes of `x` by the gates; `x`'s border is not read, `y`'s is filled.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | planes of shape `op.input` | u8 |
/// | `gate` | as many planes of one pixel within a border | u8 |
/// | `y` | as many planes of shape `op.out` | u8 |
///
/// With `threads > 1` the work is split for that many on the current rayon
/// pool; with one, rayon is not touched. The result does not depend on it, nor
/// on `isa`.
///
/// # Panics
///
/// If the pictures are not of the same size, or `x`, `gate` and `y` not of the
/// same number of planes.
#[allow(unsafe_code)]
pub fn gate(isa: Isa, threads: usize, op: &Gate, x: &[u8], gate: &[u8], y: &mut [u8]) {
    op.check([x.len(), gate.len(), y.len()]);
    let row_of_level: RowFn = match isa.level() {
        #[cfg(target_arch = "x86_64")]
        super::Level::Avx2 | super::Level::Avx512Vnni => avx2::row,
        _ => scalar::row,
    };
    let gates = op.gates();
    bands(threads, op.out, op.fill, y, &|mut band: Band<'_>| {
        let plane = band.plane;
        let gate = gates.row(plane, 0, gate)[0];
        let terms = Terms {
            gate: gate.map(|byte| i32::from(byte) - i32::from(op.zero_points[1])),
            scale: op.scale,
            zero_points: [op.zero_points[0], op.fill],
        };
        for (row, y) in band.rows() {
            let x = op.input.row(plane, row, x);
            // SAFETY: the function is that of a level that this CPU was proven to
            // have, which is all that it asks of its caller.
            unsafe { row_of_level(&terms, x, y) }
        }
    });
}

impl Gate {
    /// The shape of a plane of gates.
    const fn gates(&self) -> Planes {
        Planes {
            height: 1,
            width: 1,
            border: self.gate_border,
        }
    }

    /// The contract of [`gate`].
    fn check(&self, [x, gate, y]: [usize; 3]) {
        let size = |planes: Planes| [planes.height, planes.width];
        assert_eq!(size(self.input), size(self.out), "sizes of pictures");
        assert!(!size(self.out).contains(&0), "an empty plane");
        assert_eq!(y % self.out.bytes(), 0, "whole planes");
        let planes = y / self.out.bytes();
        assert_eq!(x, planes * self.input.bytes(), "bytes of the tensor");
        assert_eq!(gate, planes * self.gates().bytes(), "bytes of the gates");
    }
}

/// What a level needs beside the pixels.
struct Terms {
    /// Steps of each channel's gate from its zero.
    gate: [i32; LANE],
    scale: f32,
    /// Of the tensor and of the output.
    zero_points: [u8; 2],
}

/// Multiplies a row of pixels.
type RowFn = unsafe fn(&Terms, &[[u8; LANE]], &mut [[u8; LANE]]);

#[cfg(test)]
mod tests;
