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
//! bands     planes cut into tasks
//! conv      tile + epilogue: convolution of any size and stride
//! depthwise convolution of each channel with taps of its own
//! add       two tensors, each of its own scale
//! pool      the greatest of a window, the mean of a picture
//! permute   channels to other places
//! align     tile + scale and bias: objects × prompts to logits
//! upsample  nearest ×2
//! arm, x86  loads, stores and one-line assembly: where the `unsafe` lives
//! ```
//!
//! Nothing here knows about models, images or prompts.

pub mod add;
pub mod align;
#[cfg(target_arch = "aarch64")]
mod arm;
mod bands;
pub mod conv;
pub mod depthwise;
pub mod epilogue;
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
    }
}
