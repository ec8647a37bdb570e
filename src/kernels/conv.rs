//! Convolution of int8 planes: pointwise, k × k of any stride, the image stem, 1-D.
//!
//! One loop serves them all because planes have borders and a layer's taps are
//! a table of offsets: nothing is gathered, copied or tested at an edge.
//!
//! ```text
//! y[c][r][q] = requantise(bias[c] + Σ_o Σ_i x[r·row_step + q·pixel_step + offsets[o] + i] · w[c][o][i])
//! ```
//!
//! `i` runs over the bytes at an offset: the 16 of one tap in one input plane.
//! In the image they are the 4 of one tap, or 12 when a kernel is 3 wide, since
//! its pixels lie next to each other.
//!
//! Work is cut into bands of rows × block groups × tiles. Threads take bands, or
//! groups where the weights are more than the input: what they share they all
//! read, and rows that one made are in its own cache when it reads them next. A
//! tile's sums stay in registers ([`tile`](super)). Every byte of the output has
//! one formula, so no cut changes a result.
//!
//! Convolution of each channel alone would waste 15 of 16 products here: that
//! is [`depthwise`](super::depthwise).

use std::ops::Range;

use super::{
    bands,
    epilogue::Epilogue,
    isa::{Isa, Level},
    layout::{GROUP, LANE, Magnitude, Planes},
    tile::{Operands, Tiles, tiles_of_level},
};
use crate::team::join;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dot;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
mod scalar;

/// One convolution over borrowed weights; see the [module](self) for the formula.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// Bytes from an output pixel's base to its inputs, each of `groups` groups.
    pub offsets: &'a [u32],
    /// Groups of 4 bytes at each offset: 4, or in the image 1 or 3.
    pub groups: usize,
    /// Bytes between the bases of horizontal neighbours: stride × 16, or × 4.
    pub pixel_step: usize,
    /// Bytes between the bases of vertical neighbours.
    pub row_step: usize,
    /// The shape of each output plane.
    pub out: Planes,
    /// `[out_blocks][offsets · groups][16][4]`, none of them -128.
    pub weights: &'a [i8],
    /// How large they are, as [`Magnitude::of`] says: some levels are faster with small ones, and wrong
    /// if that is said of larger ones.
    pub magnitude: Magnitude,
    /// Per output channel, for unsigned bytes: `bias - zero_point_in · Σ weights`.
    pub bias: &'a [i32],
    /// The same for signed bytes ([`bias_s8`](super::layout::bias_s8)).
    pub bias_s8: &'a [i32],
    /// Per output channel `s_in · s_w / s_out`, finite.
    pub scale: &'a [f32],
    /// From sums to bytes.
    pub epilogue: Epilogue<'a>,
    /// The byte of the output's border, which stands for zero there.
    pub fill: u8,
}

/// Convolves `x` into `y`: `scale.len() / 16` consecutive planes, borders included.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | planes of the input, at least as far as the last offset reaches | u8 |
/// | `y` | `out_blocks` planes of shape `op.out` | u8 |
///
/// With `threads > 1` the work is split for that many, of the calling thread's
/// [`team`](crate::team). The result does not depend on it, nor
/// on `isa`.
///
/// # Panics
///
/// If the parts of `op` disagree about the number of channels or steps, if `x`
/// ends before the last input, or if `y` is not exactly the output planes.
pub fn conv(isa: Isa, threads: usize, op: &Conv<'_>, x: &[u8], y: &mut [u8]) {
    op.check(x.len(), y.len());
    // other levels have products of 32 bits, for which all weights are alike
    let tiles = match (op.magnitude, isa.level()) {
        #[cfg(target_arch = "x86_64")]
        (Magnitude::Calm, Level::Avx2) => &avx2::CALM,
        #[cfg(target_arch = "x86_64")]
        (Magnitude::Narrow, Level::Avx2) => &avx2::NARROW,
        #[cfg(target_arch = "aarch64")]
        (Magnitude::Narrow | Magnitude::Calm, Level::Neon) => &neon::NARROW,
        _ => tiles_of_level!(isa),
    };
    let kind = |step| KINDS.iter().position(|&kind| kind == (op.groups, step));
    let kind = kind(op.pixel_step).or_else(|| kind(0));
    let pass = Pass {
        op,
        x,
        tiles,
        kind: kind.expect("checked above"),
    };
    pass.planes(threads, y);
}

impl Conv<'_> {
    /// The contract of [`conv`].
    fn check(&self, x_len: usize, y_len: usize) {
        let channels = self.scale.len();
        assert!(
            channels > 0 && channels.is_multiple_of(LANE),
            "{channels} channels are not whole blocks of {LANE}"
        );
        assert_eq!(self.bias.len(), channels, "one bias per channel");
        assert_eq!(self.bias_s8.len(), channels, "one signed bias per channel");
        assert!(matches!(self.groups, 1 | 3 | 4), "{} groups", self.groups);
        assert!(self.pixel_step > 0, "pixels lie at different places");
        self.epilogue.check();
        let steps = self.offsets.len() * self.groups;
        assert_eq!(self.weights.len(), channels * GROUP * steps, "weights");
        let magnitude = || Magnitude::of(self.weights, self.groups);
        debug_assert!(self.magnitude <= magnitude(), "a large weight");
        let Planes { height, width, .. } = self.out;
        assert!(height > 0 && width > 0, "an empty plane");
        let last_base = (height - 1) * self.row_step + (width - 1) * self.pixel_step;
        let last_offset = self.offsets.iter().max().map_or(0, |&o| o as usize);
        let end = last_base + last_offset + self.groups * GROUP;
        assert!(end <= x_len, "reads {end} bytes of {x_len}");
        let out_bytes = channels / LANE * self.out.bytes();
        assert_eq!(y_len, out_bytes, "bytes of output");
    }
}

/// What one tile needs beside its sums.
struct Tile<'a> {
    operands: Operands<'a>,
    scale: &'a [f32],
    epilogue: Epilogue<'a>,
    /// How many tiles lie below one another, this one counted.
    rows: usize,
    /// Bytes between their inputs.
    row_step: usize,
    /// Bytes between their outputs.
    row_bytes: usize,
}

impl<'a> Tile<'a> {
    /// The scales of block `b`.
    #[inline(always)]
    fn scale(&self, b: usize) -> &'a [f32; LANE] {
        &self.scale.as_chunks::<LANE>().0[b]
    }

    /// Those of all blocks of a tile, to be looked up once for all rows.
    #[inline(always)]
    #[cfg(target_arch = "aarch64")]
    fn scales<const NB: usize>(&self) -> [&'a [f32; LANE]; NB] {
        std::array::from_fn(|b| self.scale(b))
    }

    /// What each of the rows reads, from the first on.
    #[inline(always)]
    fn rows(&self) -> impl Iterator<Item = Operands<'a>> + use<'a> {
        let (operands, row_step) = (self.operands, self.row_step);
        (0..self.rows).map(move |row| Operands {
            x: &operands.x[row * row_step..],
            ..operands
        })
    }

    /// The `P` pixels of row `row`, of the plane `y` from the first row's first pixel on.
    #[inline(always)]
    fn pixels<'y, const P: usize>(&self, y: &'y mut [u8], row: usize) -> &'y mut [[u8; LANE]; P] {
        let pixels = y[row * self.row_bytes..].as_chunks_mut().0;
        pixels.first_chunk_mut().expect("P pixels")
    }
}

/// Writes `P` pixels of each row to each of `NB` planes, given from the first pixel on.
type TileFn = unsafe fn(&Tile<'_>, &mut [&mut [u8]; MAX_BLOCKS]);

/// The most blocks that any level's tile takes.
const MAX_BLOCKS: usize = 2;

/// Planes whose rows are split together; of more, some after others.
const TOGETHER: usize = 16;

/// The pairs of groups and pixel step that have tiles of their own; a step of 0 is any.
const KINDS: [(usize, usize); 6] = [(3, 8), (4, 16), (4, 32), (1, 0), (3, 0), (4, 0)];

/// [`tiles`](super::tile::tiles) for [`KINDS`].
macro_rules! conv_tiles {
    ($tile:ident, signed: $signed:literal, blocks: $blocks:tt, widths: $widths:tt) => {
        $crate::kernels::tile::tiles!($tile, signed: $signed, blocks: $blocks,
            kinds: [(3, 8), (4, 16), (4, 32), (1, 0), (3, 0), (4, 0)], widths: $widths)
    };
}
use conv_tiles;

/// One call of [`conv`].
struct Pass<'a> {
    op: &'a Conv<'a>,
    x: &'a [u8],
    tiles: &'static Tiles<TileFn>,
    /// Which of [`KINDS`] the tiles are of.
    kind: usize,
}

impl Pass<'_> {
    /// All planes of the output, shared by so many threads.
    fn planes(&self, threads: usize, y: &mut [u8]) {
        let plane = self.op.out.bytes();
        let per_group = self.tiles.blocks();
        let planes = y.len() / plane;
        // as many planes for each thread, or else as many rows of all: of three planes, two threads would have two and one
        let uneven = !planes.is_multiple_of(per_group * threads);
        let by_rows = uneven && self.op.out.height >= threads;
        if threads > 1 && by_rows {
            let together = TOGETHER / per_group * per_group;
            for (i, y) in y.chunks_mut(together * plane).enumerate() {
                self.whole::<TOGETHER>(i * together, bands::count(threads, 1), y);
            }
            return;
        }
        let bands = bands::count(threads, planes.div_ceil(per_group));
        self.groups(threads > 1, bands, 0, y);
    }

    /// The planes `y` from block `first` on, group after group or all at once, each in so many bands.
    fn groups(&self, parallel: bool, bands: usize, first: usize, y: &mut [u8]) {
        let per_group = self.tiles.blocks();
        let plane = self.op.out.bytes();
        let groups = y.len().div_ceil(per_group * plane);
        if parallel && groups > 1 {
            let left = groups / 2 * per_group;
            let (a, b) = y.split_at_mut(left * plane);
            join(
                || self.groups(true, bands, first, a),
                || self.groups(true, bands, first + left, b),
            );
            return;
        }
        for (i, group) in y.chunks_mut(per_group * plane).enumerate() {
            self.whole::<MAX_BLOCKS>(first + i * per_group, bands, group);
        }
    }

    /// No more than `N` planes from block `first` on, in one or more bands.
    fn whole<const N: usize>(&self, first: usize, bands: usize, y: &mut [u8]) {
        let mut planes = y.chunks_exact_mut(self.op.out.bytes());
        let parts = [(); N].map(|()| planes.next().unwrap_or_default());
        self.bands(first, bands, 0..self.op.out.height, parts);
    }

    /// Some rows of `N` planes, in one or more bands; each of `y` is the rows' part of its plane, or empty.
    fn bands<const N: usize>(
        &self,
        first: usize,
        bands: usize,
        rows: Range<usize>,
        y: [&mut [u8]; N],
    ) {
        let out = &self.op.out;
        if bands > 1 && rows.len() > 1 {
            let middle = rows.start + rows.len() / 2;
            let bytes = out.part(middle) - out.part(rows.start);
            let mut rest = [(); N].map(|()| Default::default());
            let mut upper = [(); N].map(|()| Default::default());
            for ((y, upper), rest) in y.into_iter().zip(&mut upper).zip(&mut rest) {
                (*upper, *rest) = y.split_at_mut(bytes.min(y.len()));
            }
            join(
                || self.bands(first, bands / 2, rows.start..middle, upper),
                || self.bands(first, bands.div_ceil(2), middle..rows.end, rest),
            );
            return;
        }
        let mut planes = y.into_iter().filter(|y| !y.is_empty()).map(|y| {
            let rows = rows.clone();
            out.fill_border_of(rows, y, self.op.fill)
        });
        let mut first = first;
        loop {
            let mut blocks = 0;
            let group = [(); MAX_BLOCKS].map(|()| {
                let room = blocks < self.tiles.blocks();
                let plane = room.then(|| planes.next()).flatten();
                blocks += usize::from(plane.is_some());
                plane.unwrap_or_default()
            });
            if blocks == 0 {
                return;
            }
            self.band(Group { first, blocks }, rows.clone(), group);
            first += blocks;
        }
    }

    /// Some rows of one group, a column of tiles at a time: a tile finds the
    /// inputs that it shares with the one above in the nearest cache.
    #[allow(unsafe_code)]
    fn band(&self, group: Group, rows: Range<usize>, mut y: [&mut [u8]; MAX_BLOCKS]) {
        let op = self.op;
        let channels = group.first * LANE..(group.first + group.blocks) * LANE;
        let bias = if self.tiles.signed {
            op.bias_s8
        } else {
            op.bias
        };
        let row_weights = op.offsets.len() * op.groups * GROUP;
        let mut tile = Tile {
            operands: Operands {
                x: self.x,
                step: op.pixel_step,
                offsets: op.offsets,
                weights: &op.weights[channels.start * row_weights..channels.end * row_weights],
                bias: &bias[channels.clone()],
            },
            scale: &op.scale[channels],
            epilogue: op.epilogue,
            rows: rows.len(),
            row_step: op.row_step,
            row_bytes: op.out.row_bytes(),
        };
        let functions = self.tiles.functions[group.blocks - 1][self.kind];
        let mut done = 0;
        while done < op.out.width {
            let (start, width) = self.tiles.next(done, op.out.width);
            tile.operands.x = &self.x[rows.start * op.row_step + start * op.pixel_step..];
            let at = (op.out.border + start) * LANE;
            let mut y = y.each_mut().map(|y| y.get_mut(at..).unwrap_or_default());
            // SAFETY: `self.tiles` are those of a level that this CPU was proven
            // to have, which is all that a tile asks of its caller.
            unsafe { functions[width](&tile, &mut y) }
            done = start + self.tiles.widths[width];
        }
    }
}

/// Blocks that are computed together: their first, and how many.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    blocks: usize,
}

#[cfg(test)]
mod tests;
