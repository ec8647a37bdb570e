//! Channels to other places, pixel by pixel.
//!
//! A channel shuffle, and slices and concatenations at channels that are not
//! multiples of 16: with planes of 16 channels each is a table that names, for
//! every channel of the output, one of the input.
//!
//! The table is known when a model is loaded, so it becomes a
//! [`Permutation`] then: for each output plane the input planes it is made of,
//! and for each of those where its bytes go. A pixel of the output is the bytes
//! that its sources send, and `fill` where none does.

use std::ops::Range;

use super::{
    bands::{Band, bands},
    isa::{Isa, Level},
    layout::{LANE, Planes},
};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

/// A table of channels, prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutation {
    /// Those of all output planes, one after the other.
    sources: Vec<Source>,
    /// Per output plane.
    planes: Vec<Plane>,
    /// The least number of input planes that has all channels.
    inputs: usize,
}

/// What an input plane sends to an output plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    plane: usize,
    /// For each lane of the output a lane of the input, or [`NONE`].
    lanes: [u8; LANE],
}

/// An output plane's part of a permutation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plane {
    sources: Range<usize>,
    /// 255 in the lanes that no source sends anything to, 0 elsewhere.
    padding: [u8; LANE],
}

/// A lane that a source does not send; shuffles of every processor make it zero.
const NONE: u8 = 0x80;

impl Permutation {
    /// The input channel that stands for none: a lane that is only filled.
    pub const PADDING: u16 = u16::MAX;

    /// From the input channel of each output channel, or [`PADDING`](Self::PADDING).
    ///
    /// # Panics
    ///
    /// If `map` is empty or not whole planes of 16 channels.
    #[must_use]
    pub fn new(map: &[u16]) -> Self {
        assert!(
            !map.is_empty() && map.len().is_multiple_of(LANE),
            "{} channels are not whole planes of {LANE}",
            map.len()
        );
        let (mut sources, mut planes, mut inputs) = (Vec::<Source>::new(), Vec::new(), 0);
        for map in map.as_chunks::<LANE>().0 {
            let start = sources.len();
            for (lane, &channel) in map.iter().enumerate() {
                if channel == Self::PADDING {
                    continue;
                }
                let (plane, from) = (usize::from(channel) / LANE, usize::from(channel) % LANE);
                let known = sources[start..].iter().position(|s| s.plane == plane);
                let at = known.map_or(sources.len(), |known| start + known);
                if at == sources.len() {
                    let lanes = [NONE; LANE];
                    sources.push(Source { plane, lanes });
                }
                sources[at].lanes[lane] = from as u8;
                inputs = inputs.max(plane + 1);
            }
            planes.push(Plane {
                sources: start..sources.len(),
                padding: map.map(|channel| if channel == Self::PADDING { 255 } else { 0 }),
            });
        }
        Self {
            sources,
            planes,
            inputs,
        }
    }

    /// Planes of the output.
    #[must_use]
    pub const fn planes(&self) -> usize {
        self.planes.len()
    }

    /// The least number of input planes that has all channels of the table.
    #[must_use]
    pub const fn input_planes(&self) -> usize {
        self.inputs
    }
}

/// One permutation of planes.
#[derive(Clone, Copy, Debug)]
pub struct Permute<'a> {
    /// Which channel goes where.
    pub permutation: &'a Permutation,
    /// The shape of each input plane.
    pub input: Planes,
    /// The shape of each output plane; only the border may differ.
    pub out: Planes,
    /// The byte of padding channels and of the output's border.
    pub fill: u8,
}

/// Writes `y`, whose channel `c` is channel `map[c]` of `x`.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | planes of shape `op.input`, at least those the map names; borders are not read | u8 |
/// | `y` | [`Permutation::planes`] planes of shape `op.out` | u8 |
///
/// With `threads > 1` the work is split for that many, of the calling thread's
/// [`team`](crate::team). The result does not depend on it, nor
/// on `isa`.
///
/// # Panics
///
/// If the pictures are not of the same size, `x` has too few planes, or `y` is
/// not exactly the output planes.
#[allow(unsafe_code)]
pub fn permute(isa: Isa, threads: usize, op: &Permute<'_>, x: &[u8], y: &mut [u8]) {
    op.check(x.len(), y.len());
    let merge = merge_of_level(isa);
    bands(threads, op.out, op.fill, y, &|mut band: Band<'_>| {
        let plane = &op.permutation.planes[band.plane];
        let sources = &op.permutation.sources[plane.sources.clone()];
        let empty = plane.padding.map(|padding| padding & op.fill);
        for (row, y) in band.rows() {
            let mut sources = sources.iter();
            match sources.as_slice() {
                [Source { plane, lanes }] if *lanes == IDENTITY => {
                    y.copy_from_slice(op.input.row(*plane, row, x));
                    continue;
                }
                _ => y.fill(empty),
            }
            for source in sources.by_ref() {
                let x = op.input.row(source.plane, row, x);
                // SAFETY: the function is that of a level that this CPU was proven
                // to have, which is all that it asks of its caller.
                unsafe { merge(&source.lanes, x, y) }
            }
        }
    });
}

/// A plane as it is.
const IDENTITY: [u8; LANE] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl Permute<'_> {
    /// The contract of [`permute`].
    fn check(&self, x_len: usize, y_len: usize) {
        let size = |planes: Planes| [planes.height, planes.width];
        assert_eq!(size(self.input), size(self.out), "sizes of pictures");
        assert!(!size(self.out).contains(&0), "an empty plane");
        let planes = self.permutation.inputs;
        let needed = planes * self.input.bytes();
        assert!(needed <= x_len, "{needed} bytes of input in {x_len}");
        let out_bytes = self.permutation.planes() * self.out.bytes();
        assert_eq!(y_len, out_bytes, "bytes of output");
    }
}

/// Sends the lanes of a row of pixels to the row where they belong, whose bytes
/// there are zero.
type MergeFn = unsafe fn(&[u8; LANE], &[[u8; LANE]], &mut [[u8; LANE]]);

/// The function of a level.
fn merge_of_level(isa: Isa) -> MergeFn {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512Vnni => avx2::merge,
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::NeonDot | Level::NeonI8mm => neon::merge,
        _ => scalar::merge,
    }
}

#[cfg(test)]
mod tests;
