//! Int8 kernels: the arithmetic of the runtime, and nothing else.
//!
//! | rule | why |
//! |---|---|
//! | one file per operation, one folder file per instruction set | a new CPU is a new file |
//! | `scalar.rs` is the specification; every other file equals it **bit for bit** | a result never depends on the board |
//! | channels are padded to whole blocks of 16 when the model is packed ([`layout`]) | kernels have no channel tails |
//! | shapes are asserted once, at the door of the operation | kernel bodies have no checks |
//! | one weight layout serves all levels, borrowed from the model's map | loading repacks nothing |
//!
//! ```text
//! layout    where bytes lie: planes of pixels, blocks of weights
//! isa       which level this CPU runs, and the proof of it
//! tile      sums of products for a few pixels × 16 channels, per level
//! epilogue  from a sum to the byte that is stored
//! bands     planes cut into tasks for the threads of a team
//! conv      tile + epilogue: convolution of any size and stride
//! depthwise convolution of each channel with taps of its own
//! add       two tensors, each of its own scale
//! gate      a tensor times one value per channel
//! pool      the greatest of a window, the mean of a picture
//! permute   channels to other places
//! align     tile + scale and bias: objects × prompts to logits
//! upsample  nearest ×2
//! each      `array.map` that is inlined
//! arm, x86  loads, stores and one-line assembly: where the `unsafe` lives
//! ```
//!
//! Nothing here knows about models, images or prompts.

// CPUs that have the scalar level only leave the names of the others unused
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(unused_imports, dead_code)
)]

pub mod add;
pub mod align;
#[cfg(target_arch = "aarch64")]
mod arm;
mod bands;
pub mod conv;
pub mod depthwise;
mod each;
pub mod epilogue;
pub mod gate;
pub mod isa;
pub mod layout;
pub mod permute;
pub mod pool;
mod tile;
pub mod upsample;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use isa::{Isa, IsaError, Level};
#[cfg(target_arch = "x86_64")]
#[doc(hidden)]
pub use x86::vnni_peak;

#[cfg(test)]
mod tests {
    use super::epilogue::{Activation, Epilogue};
    use crate::quant::nearest_byte;

    /// The numbers of threads that an operation is run with. An interpreter has one: it sees the same accesses.
    pub(super) const THREADS: &[usize] = if cfg!(miri) { &[1] } else { &[1, 2, 5] };

    /// The widths of planes up to this one, or under an interpreter, which is some thousand times slower, a few that
    /// take tiles of each width.
    pub(super) fn widths(most: usize) -> impl Iterator<Item = usize> {
        let few = [1, 2, 5, 9];
        (1..=most).filter(move |width| !cfg!(miri) || few.contains(width))
    }

    /// Numbers that look random and are the same in every run (xorshift64*).
    pub(super) struct Random(u64);

    impl Random {
        pub(super) fn new(seed: u64) -> Self {
            Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        }

        pub(super) fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
        }

        /// From 1 to `most`; 1 under an interpreter.
        pub(super) fn few(&mut self, most: usize) -> usize {
            1 + self.below(if cfg!(miri) { 1 } else { most })
        }

        pub(super) fn byte(&mut self) -> u8 {
            self.below(256) as u8
        }

        pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
            (0..count).map(|_| self.byte()).collect()
        }

        /// A weight: any i8 but -128.
        pub(super) fn weight(&mut self) -> i8 {
            (self.below(255) as i16 - 127) as i8
        }

        /// A weight up to `most`, a third of them that large.
        pub(super) fn small_weight(&mut self, most: i8) -> i8 {
            match self.below(6) {
                0 => most,
                1 => -most,
                _ => (self.below(2 * most as usize + 1) as i16 - i16::from(most)) as i8,
            }
        }
    }

    /// An activation that owns its table.
    #[derive(Clone, Debug)]
    pub(super) enum Function {
        None,
        Table(Box<[u8; 256]>),
        Slope(f32),
    }

    impl Function {
        /// One of each kind equally often.
        pub(super) fn any(random: &mut Random) -> Self {
            match random.below(3) {
                0 => Self::None,
                1 => Self::Table(Box::new(std::array::from_fn(|_| random.byte()))),
                _ => Self::Slope((1 + random.below(1000)) as f32 / 1000.0),
            }
        }

        /// As kernels take it, with the byte of zero and the bounds before it.
        pub(super) fn epilogue(&self, zero_point: u8, [low, high]: [u8; 2]) -> Epilogue<'_> {
            Epilogue {
                zero_point,
                low,
                high,
                activation: match self {
                    Self::None => Activation::None,
                    Self::Table(table) => Activation::Table(table),
                    Self::Slope(slope) => Activation::Slope(*slope),
                },
            }
        }

        /// The byte that is stored for steps, by the definition.
        pub(super) fn byte(&self, steps: f32, zero_point: u8, [low, high]: [u8; 2]) -> u8 {
            let byte = |steps| nearest_byte(steps, zero_point, low, high);
            match self {
                Self::None => byte(steps),
                Self::Table(table) => table[usize::from(byte(steps))],
                Self::Slope(slope) if steps < 0.0 => byte(steps * slope),
                Self::Slope(_) => byte(steps),
            }
        }
    }
}
