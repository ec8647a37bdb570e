//! Where bytes lie: activations in planes of pixels, weights in blocks.
//!
//! **Planes.** A tensor `[C, H, W]` is `C / 16` planes, each a picture of
//! `(H + 2p) × (W + 2p)` pixels of 16 channels, one byte a channel; `p` is the
//! border, which holds the tensor's zero point. So a convolution has no edges,
//! and concatenating channels is writing planes one after another.
//!
//! ```text
//! plane b:  p rows of border
//!           p pixels | W pixels of 16 bytes: channels 16b .. 16b+16 | p pixels    (H times)
//!           p rows of border
//! ```
//!
//! **Weights.** Blocks of 16 output channels; in a block one 64-byte row per
//! *step*, a step being 4 input channels at one tap:
//!
//! ```text
//! row:   out 0: in 0 1 2 3 | out 1: in 0 1 2 3 | … | out 15: in 0 1 2 3
//! steps: for each tap (ky, kx), for each plane of the input, for each 4 of its 16 channels
//! ```
//!
//! That is one AVX-512 register, two of AVX2 or four of NEON, and `SDOT` and
//! `VPDPBUSD` sum each group of four as it lies. The same bytes serve all.
//!
//! Everything here runs when a model is built or loaded, not per frame.

use std::ops::Range;

/// Channels in a plane, and output channels in a block of weights.
pub const LANE: usize = 16;

/// Input channels in a step.
pub const GROUP: usize = 4;

/// Bytes of a row: the weights of one step for one block.
pub const ROW: usize = LANE * GROUP;

/// The shape of a plane: pixels of 16 bytes within a border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Planes {
    /// Rows of pixels without the border.
    pub height: usize,
    /// Pixels in a row without the border.
    pub width: usize,
    /// Pixels of border on each of the four sides.
    pub border: usize,
}

impl Planes {
    /// Bytes of one row, borders included.
    #[must_use]
    pub const fn row_bytes(&self) -> usize {
        (self.width + 2 * self.border) * LANE
    }

    /// Bytes of one plane, borders included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        (self.height + 2 * self.border) * self.row_bytes()
    }

    /// Where pixel (0, 0) lies, in bytes from the start of its plane.
    #[must_use]
    pub const fn origin(&self) -> usize {
        self.border * (self.row_bytes() + LANE)
    }

    /// The pixels of one row of one plane, without border, among planes of this shape.
    pub(super) fn row<'x>(&self, plane: usize, row: usize, x: &'x [u8]) -> &'x [[u8; LANE]] {
        let start = plane * self.bytes() + self.origin() + row * self.row_bytes();
        x[start..][..self.width * LANE].as_chunks().0
    }

    /// Fills the border of one plane.
    pub(super) fn fill_border(&self, plane: &mut [u8], zero_point: u8) {
        self.fill_border_of(0..self.height, plane, zero_point);
    }

    /// Where row `row` starts as a part of its plane: the first has the border above it, the last (and the row after
    /// it, which is the plane's end) that below.
    pub(super) const fn part(&self, row: usize) -> usize {
        if row == 0 {
            0
        } else if row == self.height {
            self.bytes()
        } else {
            (self.border + row) * self.row_bytes()
        }
    }

    /// Fills the border of some rows of one plane, those above the first and below the last included, and returns
    /// what follows from the first row on. `part` are the bytes from [`part`](Self::part) of the first row on.
    pub(super) fn fill_border_of<'y>(
        &self,
        rows: Range<usize>,
        part: &'y mut [u8],
        zero_point: u8,
    ) -> &'y mut [u8] {
        let margin = self.border * self.row_bytes();
        let (top, rest) = part.split_at_mut(if rows.start == 0 { margin } else { 0 });
        let (lines, bottom) = rest.split_at_mut(rows.len() * self.row_bytes());
        top.fill(zero_point);
        bottom.fill(zero_point);
        let side = self.border * LANE;
        for row in lines.chunks_exact_mut(self.row_bytes()) {
            row[..side].fill(zero_point);
            row[side + self.width * LANE..].fill(zero_point);
        }
        lines
    }
}

/// The size of a convolution's kernel, for packing its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelShape {
    /// Output channels, before padding to 16.
    pub out_channels: usize,
    /// Input channels, before padding.
    pub in_channels: usize,
    /// Rows of taps.
    pub height: usize,
    /// Taps in a row.
    pub width: usize,
    /// Whether the input is the image: pixels of 4 bytes instead of 16.
    pub image: bool,
}

impl KernelShape {
    /// Output channels in blocks of 16.
    #[must_use]
    pub const fn out_blocks(&self) -> usize {
        self.out_channels.div_ceil(LANE)
    }

    /// Rows of 64 bytes in a block.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.height * self.width * self.padded_in_channels() / GROUP
    }

    /// Input channels as the planes hold them.
    #[must_use]
    pub const fn padded_in_channels(&self) -> usize {
        let lane = if self.image { GROUP } else { LANE };
        self.in_channels.next_multiple_of(lane)
    }

    /// Bytes of an input pixel in one plane.
    #[must_use]
    pub const fn pixel_bytes(&self) -> usize {
        if self.image { GROUP } else { LANE }
    }

    /// Bytes of an input row, borders included.
    #[must_use]
    pub const fn row_bytes(&self, input: &Planes) -> usize {
        (input.width + 2 * input.border) * self.pixel_bytes()
    }

    /// Bytes of an input plane, borders included.
    #[must_use]
    pub const fn plane_bytes(&self, input: &Planes) -> usize {
        (input.height + 2 * input.border) * self.row_bytes(input)
    }

    /// Groups of 4 bytes that an offset points to: those of a pixel in a plane, or
    /// of the image's three neighbours under one row of a kernel 3 wide.
    #[must_use]
    pub const fn groups(&self) -> usize {
        match (self.image, self.width) {
            (false, _) => LANE / GROUP,
            (true, 3) if self.in_channels <= GROUP => 3,
            (true, _) => 1,
        }
    }

    /// Bytes from an output pixel's base to each input of [`groups`](Self::groups)
    /// groups, in the order of the steps; `pad` is the padding above and left of
    /// the picture.
    ///
    /// # Panics
    ///
    /// If the padding is wider than the border, or a plane ends beyond 4 GiB.
    #[must_use]
    pub fn offsets(&self, input: &Planes, pad: [usize; 2]) -> Vec<u32> {
        let border = input.border;
        assert!(
            pad[0].max(pad[1]) <= border,
            "padding {pad:?} in a border of {border}"
        );
        let planes = self.padded_in_channels() / self.pixel_bytes();
        let mut offsets = Vec::with_capacity(self.steps() / self.groups());
        let together = (self.groups() * GROUP / self.pixel_bytes()).max(1);
        let taps = |ky| (0..self.width).step_by(together).map(move |kx| (ky, kx));
        for (ky, kx) in (0..self.height).flat_map(taps) {
            let row = (border - pad[0] + ky) * self.row_bytes(input);
            let tap = row + (border - pad[1] + kx) * self.pixel_bytes();
            offsets.extend((0..planes).map(|plane| {
                let offset = plane * self.plane_bytes(input) + tap;
                u32::try_from(offset).expect("an offset below 4 GiB")
            }));
        }
        offsets
    }
}

/// Packs weights `[out, in, ky, kx]` into blocks; padding channels weigh nothing.
///
/// The result has `out_blocks · steps · 64` bytes. A row of another matrix, such
/// as a prompt's embedding, is a kernel of 1 × 1.
///
/// # Panics
///
/// If `weights` does not hold `shape`'s values, or one is -128: a sum of two
/// products must fit 16 bits ([`tile`](super)).
#[must_use]
pub fn pack_weights(weights: &[i8], shape: &KernelShape) -> Vec<i8> {
    let taps = shape.height * shape.width;
    let expected = shape.out_channels * shape.in_channels * taps;
    assert_eq!(weights.len(), expected, "weights of {shape:?}");
    assert!(!weights.contains(&i8::MIN), "a weight of {shape:?} is -128");
    let padded = shape.padded_in_channels();
    let mut packed = vec![0; shape.out_blocks() * shape.steps() * ROW];
    for (i, &weight) in weights.iter().enumerate() {
        let (rest, tap) = (i / taps, i % taps);
        let (out, input) = (rest / shape.in_channels, rest % shape.in_channels);
        let step = (tap * padded + input) / GROUP;
        let row = out / LANE * shape.steps() + step;
        packed[row * ROW + out % LANE * GROUP + input % GROUP] = weight;
    }
    packed
}

/// The size of a depthwise convolution's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DepthwiseShape {
    /// Channels, before padding to 16.
    pub channels: usize,
    /// Rows of taps.
    pub height: usize,
    /// Taps in a row.
    pub width: usize,
}

impl DepthwiseShape {
    /// Channels in blocks of 16.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        self.channels.div_ceil(LANE)
    }

    /// Taps of one channel.
    #[must_use]
    pub const fn taps(&self) -> usize {
        self.height * self.width
    }

    /// Bytes from an output pixel's base to each tap within a plane; `pad` is the
    /// padding above and left of the picture.
    ///
    /// # Panics
    ///
    /// If the padding is wider than the border, or a plane ends beyond 4 GiB.
    #[must_use]
    pub fn offsets(&self, input: &Planes, pad: [usize; 2]) -> Vec<u32> {
        let one_plane = KernelShape {
            out_channels: LANE,
            in_channels: LANE,
            height: self.height,
            width: self.width,
            image: false,
        };
        one_plane.offsets(input, pad)
    }
}

/// Packs weights `[channels, 1, ky, kx]` to `[blocks][taps][16]`; padding
/// channels weigh nothing.
///
/// # Panics
///
/// If `weights` does not hold `shape`'s values, or one is -128: a sum of two
/// products must fit 16 bits, as in [`pack_weights`].
#[must_use]
pub fn pack_depthwise(weights: &[i8], shape: &DepthwiseShape) -> Vec<i8> {
    let taps = shape.taps();
    assert_eq!(weights.len(), shape.channels * taps, "weights of {shape:?}");
    assert!(!weights.contains(&i8::MIN), "a weight of {shape:?} is -128");
    let mut packed = vec![0; shape.blocks() * taps * LANE];
    for (i, &weight) in weights.iter().enumerate() {
        let (channel, tap) = (i / taps, i % taps);
        packed[(channel / LANE * taps + tap) * LANE + channel % LANE] = weight;
    }
    packed
}

/// The greatest magnitude of a narrow weight: the least and greatest of 7 bits.
///
/// Then two products with any unsigned byte fit 16 bits (`2 · 255 · 63 < 2^15`), and four with any signed one
/// (`4 · 128 · 63 < 2^15`).
pub const NARROW: i8 = 63;

/// What the positive weights of four may add up to, and the negative ones, in calm weights.
///
/// Then their products with any unsigned bytes fit 16 bits (`255 · 128 < 2^15`).
pub const CALM: u8 = 128;

/// How large the weights of a convolution are: how many products fit 16 bits, which decides how fast some levels are.
///
/// This is a property of the numbers, looked up once when a model is loaded; no file is trusted about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Magnitude {
    /// Some are beyond 63.
    Wide,
    /// All lie from -[`NARROW`] to [`NARROW`].
    Narrow,
    /// That, and of the weights that one channel has for four inputs, halves of two neighbouring groups at one offset, neither the positive
    /// nor the negative ones come to more than [`CALM`].
    Calm,
}

impl Magnitude {
    /// That of packed weights with so many groups at an offset.
    ///
    /// # Panics
    ///
    /// If they are not whole offsets.
    #[must_use]
    pub fn of(weights: &[i8], groups: usize) -> Self {
        if !is_narrow(weights) {
            return Self::Wide;
        }
        let rows = weights.as_chunks::<ROW>().0;
        assert!(rows.len().is_multiple_of(groups.max(1)), "half an offset");
        let calm = |offset: &[[i8; ROW]]| offset.as_chunks().0.iter().all(is_calm);
        if rows.chunks(groups.max(1)).all(calm) {
            Self::Calm
        } else {
            Self::Narrow
        }
    }
}

/// Whether two neighbouring groups at one offset are calm, if they are narrow.
fn is_calm([a, b]: &[[i8; ROW]; 2]) -> bool {
    // whole registers and no branches: this is done for all weights when a model is loaded
    let most = |sign: i8| {
        let of = |w: i8| (w * sign).max(0) as u8;
        let two: [u8; ROW] = std::array::from_fn(|i| of(a[i]) + of(b[i]));
        // four narrow ones come to 252
        let pairs = two
            .as_chunks()
            .0
            .iter()
            .map(|&pair| u16::from_le_bytes(pair));
        pairs.fold(0, |most, pair| most.max((pair & 0xFF) + (pair >> 8)))
    };
    most(1).max(most(-1)) <= u16::from(CALM)
}

/// Appends a row to others in coarser steps, so that its values are calm ([`Magnitude::Calm`]) as a pointwise kernel; returns how many of
/// the old steps a new one is.
///
/// The products of a name with every object of a frame are then as fast as those of a convolution. What is lost is a bit or
/// two of eight: with the default pack a score moves by some thousandths.
pub fn calm(values: &[i8], to: &mut Vec<i8>) -> f32 {
    let largest = values.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    // what `is_calm` looks at: four of a channel, in halves of neighbouring groups
    let fours = values
        .as_chunks::<{ 2 * GROUP }>()
        .0
        .iter()
        .flat_map(|&[a, b, c, d, e, f, g, h]| [[a, b, e, f], [c, d, g, h]]);
    let most = fours.flat_map(|four| {
        [1, -1].map(|sign| {
            four.map(|v| (i32::from(v) * sign).max(0))
                .iter()
                .sum::<i32>()
        })
    });
    let most = most.max().unwrap_or(0) as f32;
    // rounding adds up to a half to each of the four
    let step = (f32::from(largest) / f32::from(NARROW))
        .max(most / f32::from(CALM - 2))
        .max(1.0);
    // half away from zero, like `round`, which without SSE4.1 is a call for every value
    let rounded = |v: f32| (v + 0.5f32.copysign(v)) as i32 as i8;
    to.extend(values.iter().map(|&v| rounded(f32::from(v) / step)));
    step
}

/// Whether all weights are narrow: from -[`NARROW`] to [`NARROW`].
fn is_narrow(weights: &[i8]) -> bool {
    let wide = |&weight: &i8| weight.unsigned_abs() > NARROW.unsigned_abs();
    // pieces are looked at without a branch in them, in whole registers; wide weights end the first
    let mut pieces = weights.chunks(4096);
    pieces.all(|piece| !piece.iter().fold(false, |any, weight| any | wide(weight)))
}

/// The biases for levels that multiply signed bytes, `bias + 128 · Σ weights`.
///
/// Those levels read an activation `u` as `u - 128`. `packed` is what
/// [`pack_weights`] made; `bias` has one value for each of its output channels,
/// padding included.
///
/// # Panics
///
/// If `packed` is not whole blocks, as many as `bias` has.
#[must_use]
pub fn bias_s8(packed: &[i8], bias: &[i32]) -> Vec<i32> {
    assert_eq!(bias.len() % LANE, 0, "biases come in blocks of {LANE}");
    let blocks = bias.len() / LANE;
    assert!(
        blocks > 0 && packed.len().is_multiple_of(blocks * ROW),
        "{} weights in {blocks} blocks",
        packed.len()
    );
    let block_bytes = packed.len() / blocks;
    let sum = |channel: usize| -> i32 {
        let block = &packed[channel / LANE * block_bytes..][..block_bytes];
        let groups = block.chunks_exact(GROUP).skip(channel % LANE);
        groups.step_by(LANE).flatten().map(|&w| i32::from(w)).sum()
    };
    let signed = |(channel, bias): (usize, &i32)| bias.wrapping_add(128 * sum(channel));
    bias.iter().enumerate().map(signed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::Random;

    #[test]
    fn a_weight_lies_at_its_block_step_channel_and_group() {
        let shape = KernelShape {
            out_channels: 20,
            in_channels: 33,
            height: 3,
            width: 2,
            image: false,
        };
        let mut weights = vec![0; 20 * 33 * 6];
        // out 18, in 21, ky 2, kx 1
        weights[(18 * 33 + 21) * 6 + 2 * 2 + 1] = 5;
        let packed = pack_weights(&weights, &shape);
        let steps = 6 * 48 / 4;
        assert_eq!(packed.len(), 2 * steps * 64);
        let at = (steps + 5 * 12 + 5) * 64 + 2 * 4 + 1;
        assert_eq!(packed[at], 5);
        assert_eq!(packed.iter().filter(|&&w| w != 0).count(), 1);
    }

    #[test]
    fn the_image_has_one_step_per_tap() {
        let shape = KernelShape {
            out_channels: 1,
            in_channels: 3,
            height: 3,
            width: 3,
            image: true,
        };
        assert_eq!((shape.steps(), shape.out_blocks()), (9, 1));
    }

    #[test]
    #[should_panic(expected = "-128")]
    fn a_weight_of_minus_128_is_refused() {
        let shape = KernelShape {
            out_channels: 1,
            in_channels: 1,
            height: 1,
            width: 1,
            image: false,
        };
        let _ = pack_weights(&[-128], &shape);
    }

    #[test]
    fn weights_are_narrow_up_to_63_wherever_the_widest_lies() {
        let mut weights = vec![0; 10_000];
        for (weight, narrow) in [
            (63, true),
            (-63, true),
            (64, false),
            (-64, false),
            (-128, false),
        ] {
            for at in [0, 4095, 4096, 9_999] {
                weights[at] = weight;
                assert_eq!(is_narrow(&weights), narrow, "{weight} at {at}");
                let of = Magnitude::of(&weights[..9984], 4);
                assert_eq!(of == Magnitude::Wide, !narrow && at < 9984);
                weights[at] = 0;
            }
        }
        assert!(is_narrow(&[]));
    }

    #[test]
    fn weights_are_calm_up_to_128_in_four_of_either_sign() {
        // channel 5, its second half, in groups 2 and 3 of the second offset
        let at = |group: usize, i: usize| (4 + group) * ROW + 4 * 5 + 2 + i;
        for (four, calm) in [
            ([63, 1, 63, 1], true),
            ([63, 1, 63, 2], false),
            ([-63, -1, -63, -1], true),
            ([-63, -2, -63, -1], false),
            ([63, 63, -63, -63], true),
        ] {
            let mut weights = vec![0; 3 * 4 * ROW];
            for (i, weight) in four.into_iter().enumerate() {
                weights[at(2 + i / 2, i % 2)] = weight;
            }
            let expected = if calm {
                Magnitude::Calm
            } else {
                Magnitude::Narrow
            };
            assert_eq!(Magnitude::of(&weights, 4), expected, "{four:?}");
            // a group alone has two, which are always calm; of three the third is alone
            assert_eq!(Magnitude::of(&weights, 1), Magnitude::Calm);
        }
    }

    #[test]
    fn signed_biases_add_128_for_each_unit_of_weight() {
        let mut packed = vec![0; 2 * 3 * ROW];
        packed[ROW + 4 * 7 + 2] = 3;
        packed[2 * ROW + 4 * 7] = -1;
        packed[3 * ROW + 4 * 9] = -5;
        let signed = bias_s8(&packed, &[10; 32]);
        let changed: Vec<_> = (0..32).filter(|&i| signed[i] != 10).collect();
        assert_eq!(changed, [7, 25]);
        assert_eq!((signed[7], signed[25]), (10 + 256, 10 - 640));
    }

    #[test]
    fn the_origin_skips_the_border() {
        let planes = Planes {
            height: 2,
            width: 3,
            border: 1,
        };
        assert_eq!(planes.row_bytes(), 80);
        assert_eq!(planes.bytes(), 320);
        assert_eq!(planes.origin(), 96);
    }

    #[test]
    fn rows_become_calm_and_keep_their_direction() {
        let mut random = Random::new(9);
        let axis: Vec<i8> = (0..128).map(|i| if i == 7 { 127 } else { 0 }).collect();
        let wild: Vec<i8> = (0..128).map(|_| random.weight()).collect();
        let gentle: Vec<i8> = wild.iter().map(|v| v / 8).collect();
        for values in [
            axis,
            wild,
            vec![127; 128],
            vec![-127; 128],
            gentle,
            vec![0; 128],
        ] {
            let mut small = Vec::new();
            let step = calm(&values, &mut small);
            let mut rows = small.clone();
            rows.resize(LANE * values.len(), 0);
            let shape = KernelShape {
                out_channels: LANE,
                in_channels: values.len(),
                height: 1,
                width: 1,
                image: false,
            };
            let packed = pack_weights(&rows, &shape);
            assert_eq!(Magnitude::of(&packed, LANE / GROUP), Magnitude::Calm);
            for (small, value) in small.iter().zip(&values) {
                let error = f32::from(*small) * step - f32::from(*value);
                assert!(
                    error.abs() <= step / 2.0 + 1e-3,
                    "{value} became {small} × {step}"
                );
            }
        }
    }
}
