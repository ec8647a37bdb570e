//! Tensors of a program: where they lie, and their shape.

use serde::{Deserialize, Serialize};

use crate::kernels::layout::{LANE, Planes};

/// Where a value lives while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the tensor given as this input; read in place.
    Input(u32),
    /// In the arena, from this byte.
    Arena(u32),
    /// In the tensor handed back as this output, from this byte.
    Output(u32, u32),
}

/// A tensor of the program: consecutive planes of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Where its first plane starts.
    pub place: Place,
    /// Channels that mean something; planes hold them in sixteens, or three of four in an image.
    pub channels: u32,
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Pixels around, filled with the zero point.
    pub border: u32,
    /// Whether this is an image: one plane with pixels of 4 bytes.
    pub image: bool,
    /// The byte that stands for zero.
    pub zero_point: u8,
}

impl View {
    /// The shape of one plane.
    #[must_use]
    pub const fn planes(&self) -> Planes {
        Planes {
            height: self.height as usize,
            width: self.width as usize,
            border: self.border as usize,
        }
    }

    /// Number of planes.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        if self.image {
            1
        } else {
            (self.channels as usize).div_ceil(LANE)
        }
    }

    /// Channels that its planes have room for: whole sixteens. Not of an image.
    pub(crate) const fn lanes(&self) -> usize {
        self.blocks() * LANE
    }

    /// Bytes of a pixel in one plane.
    #[must_use]
    pub const fn pixel_bytes(&self) -> usize {
        if self.image { 4 } else { LANE }
    }

    /// Bytes of all planes, borders included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes_u64() as usize
    }

    /// Bytes of all planes of a view that was not checked yet: they may not fit the address space.
    pub(super) const fn bytes_u64(&self) -> u64 {
        let side = 2 * self.border as u64;
        let pixels = (self.height as u64 + side) * (self.width as u64 + side);
        (self.blocks() * self.pixel_bytes()) as u64 * pixels
    }

    /// Number of values that mean something.
    #[must_use]
    pub const fn values(&self) -> usize {
        self.height as usize * self.width as usize * self.channels as usize
    }

    /// `[planes, rows, pixels, bytes]`, borders included: the shape of this view as a tensor of
    /// bytes.
    #[must_use]
    pub const fn tensor_shape(&self) -> [usize; 4] {
        let border = 2 * self.border as usize;
        [
            self.blocks(),
            self.height as usize + border,
            self.width as usize + border,
            self.pixel_bytes(),
        ]
    }

    /// `[channels, rows, pixels]` that mean something.
    pub(super) const fn shape(&self) -> [u32; 3] {
        [self.channels, self.height, self.width]
    }
}
