//! Sums of products for one tile: a few neighbouring pixels × blocks of 16 channels.
//!
//! ```text
//! sum[p][c] = bias[c] + Σ_o Σ_g Σ_i x[offsets[o] + p·step + 4g + i] · w[o·G + g][c][i]
//! ```
//!
//! `o` runs over pairs of tap and input plane, `g` over the groups of 4 bytes at
//! such a place (`G` is 4; in the image 1 or 3), `i` over a group. The weights of a
//! step are one row of 64 bytes, whatever the level; a tile keeps all its sums
//! in registers, so a row of weights is read once for all its pixels and a pixel
//! once for all its blocks.
//!
//! A level file has a function `sums` of four constants, and what a
//! convolution or an alignment does with the sums is theirs:
//!
//! | constant | means | why a constant |
//! |---|---|---|
//! | `P` | pixels | sums are registers |
//! | `NB` | blocks | sums are registers |
//! | `G` | groups at an offset | the loop over them unrolls |
//! | `STEP` | bytes between pixels, 0: read it from [`Operands`] | one bounds check per offset; addresses are displacements |
//!
//! **Narrow weights.** Where a level adds products in 16 bits, how many fit depends on the
//! weights. Of 7 bits (-63 to 63, [`NARROW`](super::layout::NARROW)) twice as many do as of 8: AVX2 and
//! plain NEON have functions of their own for them (`narrow`), which a convolution
//! takes if all its weights are so. Where no four of them add up to much
//! ([`Magnitude::Calm`](super::layout::Magnitude::Calm)), AVX2 adds twice as many again (`calm`).
//!
//! **Signed levels.** Arm multiplies signed bytes, so it reads `u` as `u - 128`
//! by flipping the top bit and starts from `bias + 128·Σw`, which the model
//! stores beside the bias ([`bias_s8`](super::layout::bias_s8)): 4 bytes a
//! channel, and nothing per frame. Which of both a level wants, its [`Tiles`] say.

#[cfg(target_arch = "aarch64")]
use super::each::each;
use super::layout::{GROUP, LANE, ROW};

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512_vnni;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon_dot;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon_i8mm;
pub(super) mod scalar;

/// The weights of one offset in one block.
pub(super) type Rows<const G: usize> = [[i8; ROW]; G];

/// What a tile reads.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    /// The input, from the first pixel's base on.
    pub(super) x: &'a [u8],
    /// Bytes between the inputs of neighbouring pixels.
    pub(super) step: usize,
    /// Bytes from a pixel's base to each of its inputs.
    pub(super) offsets: &'a [u32],
    /// The rows of the tile's blocks, block after block.
    pub(super) weights: &'a [i8],
    /// One value per channel of those blocks, in the level's terms.
    pub(super) bias: &'a [i32],
}

impl<'a> Operands<'a> {
    /// Inputs and weights, offset by offset.
    #[inline(always)]
    pub(super) fn offsets<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
        &self,
    ) -> impl Iterator<Item = Place<'a, P, NB, G, STEP>> {
        let Self { x, offsets, .. } = *self;
        let step = if STEP > 0 { STEP } else { self.step };
        let blocks = self.blocks::<NB, G>(0);
        // the first block by its own iterator: where there is one only, as on Arm, no index is checked
        offsets
            .iter()
            .zip(blocks[0])
            .enumerate()
            .map(move |(i, (&offset, first))| {
                let rows = std::array::from_fn(|b| if b == 0 { first } else { &blocks[b][i] });
                (Pixels::new(x, offset, step), rows)
            })
    }

    /// The same two by two from offset `first` on, while there are two: half as many turns of a loop.
    #[inline(always)]
    #[cfg(target_arch = "aarch64")]
    pub(super) fn twos<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
        &self,
        first: usize,
    ) -> impl Iterator<Item = ([Pixels<'a, P, G, STEP>; 2], [&'a [Rows<G>; 2]; NB])> {
        let x = self.x;
        let step = if STEP > 0 { STEP } else { self.step };
        let twos = self.offsets[first..].as_chunks::<2>().0;
        let blocks = self.blocks::<NB, G>(first);
        let blocks = each(blocks, |rows| rows.as_chunks::<2>().0);
        twos.iter()
            .zip(blocks[0])
            .enumerate()
            .map(move |(i, (offsets, first))| {
                // not by `map`, which reads both as one number and takes it apart
                let [a, b] = [offsets[0], offsets[1]];
                let pixels = [Pixels::new(x, a, step), Pixels::new(x, b, step)];
                let rows = std::array::from_fn(|b| if b == 0 { first } else { &blocks[b][i] });
                (pixels, rows)
            })
    }

    /// Inputs and weights of offset `i`, if there is one.
    #[inline(always)]
    #[cfg(target_arch = "aarch64")]
    pub(super) fn offset<const P: usize, const NB: usize, const G: usize, const STEP: usize>(
        &self,
        i: usize,
    ) -> Option<Place<'a, P, NB, G, STEP>> {
        let step = if STEP > 0 { STEP } else { self.step };
        let offset = *self.offsets.get(i)?;
        let rows = each(self.blocks::<NB, G>(i), |rows| &rows[0]);
        Some((Pixels::new(self.x, offset, step), rows))
    }

    /// The rows of each block, offset by offset from the one of this number on.
    #[inline(always)]
    fn blocks<const NB: usize, const G: usize>(&self, first: usize) -> [&'a [Rows<G>]; NB] {
        let rows = self.weights.as_chunks::<ROW>().0.as_chunks::<G>().0;
        let count = self.offsets.len();
        std::array::from_fn(|b| &rows[b * count..][..count][first..])
    }

    /// The biases of block `b`.
    #[inline(always)]
    pub(super) fn bias(&self, b: usize) -> &'a [i32; LANE] {
        &self.bias.as_chunks::<LANE>().0[b]
    }

    /// Those of all blocks of a tile, to be looked up once for all rows.
    #[inline(always)]
    #[cfg(target_arch = "aarch64")]
    pub(super) fn biases<const NB: usize>(&self) -> [&'a [i32; LANE]; NB] {
        std::array::from_fn(|b| self.bias(b))
    }
}

/// The inputs and the rows of the blocks at one offset.
pub(super) type Place<'a, const P: usize, const NB: usize, const G: usize, const STEP: usize> =
    (Pixels<'a, P, G, STEP>, [&'a Rows<G>; NB]);

/// The inputs of a tile's pixels at one offset.
pub(super) struct Pixels<'a, const P: usize, const G: usize, const STEP: usize> {
    bytes: &'a [u8],
    step: usize,
}

impl<'a, const P: usize, const G: usize, const STEP: usize> Pixels<'a, P, G, STEP> {
    /// Those at an offset into `x`.
    #[inline(always)]
    fn new(x: &'a [u8], offset: u32, step: usize) -> Self {
        let length = (P - 1) * step + G * GROUP;
        let last = x.len().checked_sub(length).expect("a place for pixels");
        // the only comparison: the slice needs none, and `last` is the same for all offsets
        // without numbers in its message, which would be stored for it at each offset
        assert!(offset as usize <= last, "an offset beyond the input");
        let bytes = &x[offset as usize..offset as usize + length];
        Self { bytes, step }
    }

    /// The bytes of pixel `p`, in groups.
    #[inline(always)]
    pub(super) fn groups(&self, p: usize) -> &[[u8; GROUP]; G] {
        let step = if STEP > 0 { STEP } else { self.step };
        &self.bytes[p * step..]
            .as_chunks::<GROUP>()
            .0
            .as_chunks::<G>()
            .0[0]
    }

    /// Pixel `p` and what follows it, 16 bytes in all; none if the last pixel ends before.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub(super) fn chunk(&self, p: usize) -> Option<&[u8; LANE]> {
        let step = if STEP > 0 { STEP } else { self.step };
        self.bytes[p * step..].first_chunk()
    }

    /// All of them, if they are so many.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub(super) fn bytes<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes.first_chunk()
    }

    /// What lies before the end of the last pixel, 16 bytes in all, if there are so many.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub(super) fn last_chunk(&self) -> Option<&[u8; LANE]> {
        let step = if STEP > 0 { STEP } else { self.step };
        let end = (P - 1) * step + G * GROUP;
        // not by `last_chunk` of slices, after which LLVM asks whether the address is null
        self.bytes[end.checked_sub(LANE)?..].first_chunk()
    }

    /// Group `g` of pixel `p`, as the 32 bits that broadcasts take.
    #[inline(always)]
    pub(super) fn group(&self, p: usize, g: usize) -> i32 {
        i32::from_le_bytes(self.groups(p)[g])
    }
}

/// A level's tile functions of type `F` for one operation.
pub(super) struct Tiles<F: 'static> {
    /// Whether the level reads activations as `u - 128`.
    pub(super) signed: bool,
    /// The widths it has, in pixels, widest first and 1 last.
    pub(super) widths: &'static [usize],
    /// `[blocks - 1][kind][width]`, kinds as the operation numbers them.
    pub(super) functions: &'static [&'static [&'static [F]]],
}

impl<F> Tiles<F> {
    /// The most blocks a tile takes.
    pub(super) fn blocks(&self) -> usize {
        self.functions.len()
    }

    /// The next tile for a row of `total` pixels of which `done` are done: where
    /// it starts, and which width it has.
    ///
    /// Balances what is left over the fewest tiles. A tile may start early and
    /// repeat pixels, which yields the same bytes.
    pub(super) fn next(&self, done: usize, total: usize) -> (usize, usize) {
        let left = total - done;
        let balanced = left.div_ceil(left.div_ceil(self.widths[0]));
        let fits = |&(_, &width): &(usize, &usize)| width <= total;
        let mut widths = self.widths.iter().enumerate().filter(fits);
        let widest = widths.next().unwrap_or((self.widths.len() - 1, &1));
        let (index, &width) = widths
            .take_while(|w| *w.1 >= balanced)
            .last()
            .unwrap_or(widest);
        (done.min(total - width), index)
    }
}

/// A level's [`Tiles`]: every combination of the constants that its operation uses.
macro_rules! tiles {
    ($tile:ident, signed: $signed:literal, blocks: [$($nb:literal),*], kinds: $kinds:tt, widths: $widths:tt) => {
        $crate::kernels::tile::Tiles {
            signed: $signed,
            widths: &$widths,
            functions: &[$($crate::kernels::tile::tiles!(@kinds $tile $nb $kinds $widths)),*],
        }
    };
    (@kinds $tile:ident $nb:literal [$(($g:literal, $step:literal)),*] $widths:tt) => {
        &[$($crate::kernels::tile::tiles!(@widths $tile $nb $g $step $widths)),*]
    };
    (@widths $tile:ident $nb:literal $g:literal $step:literal [$($p:literal),*]) => {
        &[$($tile::<$p, $nb, $g, $step>),*]
    };
}
pub(super) use tiles;

/// The `TILES` of a level, among the modules where this is said.
macro_rules! tiles_of_level {
    ($isa:expr) => {{
        use $crate::kernels::isa::Level;
        match $isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => &avx512_vnni::TILES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => &avx2::TILES,
            #[cfg(target_arch = "aarch64")]
            Level::NeonI8mm => &neon_i8mm::TILES,
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot => &neon_dot::TILES,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => &neon::TILES,
            _ => &scalar::TILES,
        }
    }};
}
pub(super) use tiles_of_level;
