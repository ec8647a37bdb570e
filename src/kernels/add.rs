//! The sum of two tensors, each with a scale and zero point of its own.
//!
//! ```text
//! y = epilogue(((a - zero_points[0]) as f32) · scales[0] + ((b - zero_points[1]) as f32) · scales[1])
//! ```
//!
//! `scales` are those of the inputs in steps of the output, `s_a / s_y` and
//! `s_b / s_y`. Two products and a sum are three roundings: nothing is fused, so
//! that every level has the same bits.

use super::{
    bands::{Band, bands},
    epilogue::Epilogue,
    isa::{Isa, Level},
    layout::{LANE, Planes},
};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

/// One addition; see the [module](self) for the formula.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a> {
    /// The shape of each plane of the first input.
    pub a: Planes,
    /// The same of the second; only the border may differ.
    pub b: Planes,
    /// The same of the output.
    pub out: Planes,
    /// Steps of the output for one step of each input, finite.
    pub scales: [f32; 2],
    /// The byte that stands for zero in each input.
    pub zero_points: [u8; 2],
    /// From sums to bytes.
    pub epilogue: Epilogue<'a>,
    /// The byte of the output's border, which stands for zero there.
    pub fill: u8,
}

/// Adds the planes of `a` and `b`; their borders are not read, `y`'s is filled.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `a` | planes of shape `op.a` | u8 |
/// | `b` | as many planes of shape `op.b` | u8 |
/// | `y` | as many planes of shape `op.out` | u8 |
///
/// With `threads > 1` the work is split for that many, of the calling thread's
/// [`team`](crate::team). The result does not depend on it, nor
/// on `isa`.
///
/// # Panics
///
/// If the pictures are not of the same size, or `a`, `b` and `y` not of the same
/// number of planes.
#[allow(unsafe_code)]
pub fn add(isa: Isa, threads: usize, op: &Add<'_>, a: &[u8], b: &[u8], y: &mut [u8]) {
    op.check([a.len(), b.len(), y.len()]);
    let row_of_level = row_of_level(isa);
    let terms = Terms {
        scales: op.scales,
        zero_points: op.zero_points,
        epilogue: op.epilogue,
    };
    bands(threads, op.out, op.fill, y, &|mut band: Band<'_>| {
        let plane = band.plane;
        for (row, y) in band.rows() {
            let [a, b] = [op.a.row(plane, row, a), op.b.row(plane, row, b)];
            // SAFETY: the function is that of a level that this CPU was proven to
            // have, which is all that it asks of its caller.
            unsafe { row_of_level(&terms, a, b, y) }
        }
    });
}

impl Add<'_> {
    /// The contract of [`add`].
    fn check(&self, [a, b, y]: [usize; 3]) {
        let size = |planes: Planes| [planes.height, planes.width];
        assert_eq!(size(self.a), size(self.out), "sizes of pictures");
        assert_eq!(size(self.b), size(self.out), "sizes of pictures");
        assert!(!size(self.out).contains(&0), "an empty plane");
        self.epilogue.check();
        assert_eq!(y % self.out.bytes(), 0, "whole planes");
        let planes = y / self.out.bytes();
        assert_eq!(a, planes * self.a.bytes(), "bytes of the first input");
        assert_eq!(b, planes * self.b.bytes(), "bytes of the second input");
    }
}

/// What a level needs beside the pixels.
struct Terms<'a> {
    scales: [f32; 2],
    zero_points: [u8; 2],
    epilogue: Epilogue<'a>,
}

/// Adds two rows of as many pixels.
type RowFn = unsafe fn(&Terms<'_>, &[[u8; LANE]], &[[u8; LANE]], &mut [[u8; LANE]]);

/// The function of a level.
fn row_of_level(isa: Isa) -> RowFn {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => avx512_vnni::row,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::row,
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::NeonDot | Level::NeonI8mm => neon::row,
        _ => scalar::row,
    }
}

#[cfg(test)]
mod tests;
