//! Depthwise convolution of int8 planes: each channel with taps of its own.
//!
//! ```text
//! y[c][r][q] = epilogue(scale[c] · (bias[c] + Σ_t x[c][r·row_step + q·pixel_step + offsets[t]] · w[c][t]))
//! ```
//!
//! A pixel's 16 channels are 16 independent sums, so a tap of a pixel is one load
//! and 16 products. As in [`conv`](super::conv) borders make taps a table of
//! offsets, and any kernel of up to [`MAX_TAPS`] taps and any stride is the same loop.
//!
//! Channels share nothing, so there is one plane of output per plane of input.
//! Levels arrange the weights of a plane for themselves, on the stack, once for
//! each band of rows; those that multiply signed bytes find their bias there too.

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

/// The most taps of a kernel, 7 × 7.
pub const MAX_TAPS: usize = 49;

/// One depthwise convolution over borrowed weights; see the [module](self) for the formula.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// Bytes from an output pixel's base to each tap, within a plane
    /// ([`DepthwiseShape::offsets`](super::layout::DepthwiseShape::offsets)).
    pub offsets: &'a [u32],
    /// Bytes between the bases of horizontal neighbours: stride × 16.
    pub pixel_step: usize,
    /// Bytes between the bases of vertical neighbours.
    pub row_step: usize,
    /// The shape of each input plane.
    pub input: Planes,
    /// The shape of each output plane.
    pub out: Planes,
    /// `[blocks][taps][16]`, none of them -128
    /// ([`pack_depthwise`](super::layout::pack_depthwise)).
    pub weights: &'a [i8],
    /// Per channel, for unsigned bytes: `bias - zero_point_in · Σ weights`.
    pub bias: &'a [i32],
    /// Per channel `s_in · s_w / s_out`, finite.
    pub scale: &'a [f32],
    /// From sums to bytes.
    pub epilogue: Epilogue<'a>,
    /// The byte of the output's border, which stands for zero there.
    pub fill: u8,
}

/// Convolves each plane of `x` into one of `y`, borders included.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `scale.len() / 16` planes of shape `op.input` | u8 |
/// | `y` | as many planes of shape `op.out` | u8 |
///
/// With `threads > 1` the work is split for that many, of the calling thread's
/// [`team`](crate::team). The result does not depend on it, nor
/// on `isa`.
///
/// # Panics
///
/// If the parts of `op` disagree about the number of channels or taps, if a tap
/// lies beyond its plane, or if `x` or `y` are not exactly their planes.
#[allow(unsafe_code)]
pub fn depthwise(isa: Isa, threads: usize, op: &Depthwise<'_>, x: &[u8], y: &mut [u8]) {
    op.check(x.len(), y.len());
    let rows = rows_of_level(isa);
    let taps = op.offsets.len();
    bands(threads, op.out, op.fill, y, &|mut band: Band<'_>| {
        let block = band.plane;
        let plane = Plane {
            x: &x[block * op.input.bytes()..][..op.input.bytes()],
            offsets: op.offsets,
            pixel_step: op.pixel_step,
            row_step: op.row_step,
            weights: &op.weights.as_chunks().0[block * taps..][..taps],
            bias: &op.bias.as_chunks().0[block],
            scale: &op.scale.as_chunks().0[block],
            epilogue: op.epilogue,
        };
        // SAFETY: the function is that of a level that this CPU was proven to
        // have, which is all that it asks of its caller.
        unsafe { rows(&plane, &mut band) }
    });
}

impl Depthwise<'_> {
    /// The contract of [`depthwise`].
    fn check(&self, x_len: usize, y_len: usize) {
        let channels = self.scale.len();
        assert!(
            channels > 0 && channels.is_multiple_of(LANE),
            "{channels} channels are not whole blocks of {LANE}"
        );
        assert_eq!(self.bias.len(), channels, "one bias per channel");
        let taps = self.offsets.len();
        assert!((1..=MAX_TAPS).contains(&taps), "{taps} taps");
        assert_eq!(self.weights.len(), channels * taps, "weights");
        self.epilogue.check();
        let Planes { height, width, .. } = self.out;
        assert!(height > 0 && width > 0, "an empty plane");
        let last_base = (height - 1) * self.row_step + (width - 1) * self.pixel_step;
        let last_offset = self.offsets.iter().max().map_or(0, |&o| o as usize);
        let end = last_base + last_offset + LANE;
        let plane = self.input.bytes();
        assert!(end <= plane, "reads {end} bytes of a plane of {plane}");
        assert_eq!(x_len, channels / LANE * plane, "bytes of input");
        let out_bytes = channels / LANE * self.out.bytes();
        assert_eq!(y_len, out_bytes, "bytes of output");
    }
}

/// What a level needs for rows of one plane.
struct Plane<'a> {
    x: &'a [u8],
    offsets: &'a [u32],
    pixel_step: usize,
    row_step: usize,
    /// Tap by tap.
    weights: &'a [[i8; LANE]],
    bias: &'a [i32; LANE],
    scale: &'a [f32; LANE],
    epilogue: Epilogue<'a>,
}

/// The inputs of neighbouring pixels at one tap, from the first pixel's base on.
#[inline(always)]
fn tap(x: &[u8], offset: usize, bytes: usize) -> &[u8] {
    &x[offset..][..bytes]
}

/// Makes some rows of one plane.
type RowsFn = unsafe fn(&Plane<'_>, &mut Band<'_>);

/// The function of a level.
fn rows_of_level(isa: Isa) -> RowsFn {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => avx512_vnni::rows,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::rows,
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::NeonDot | Level::NeonI8mm => neon::rows,
        _ => scalar::rows,
    }
}

#[cfg(test)]
mod tests;
