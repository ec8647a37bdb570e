//! Convolution of all input channels.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Call, Constant, Ends, Epilogue, Lent, Operator, Window, constants, constants::part,
    window::MAX_KERNEL,
};
use crate::kernels::{
    conv as kernel,
    layout::{GROUP, KernelShape, Magnitude, ROW},
};

/// Multiply-accumulates below which a convolution is not shared among threads: it takes less than
/// some 10 µs, of which handing over eats up half.
const MINIMUM_SHARED_MACS: u64 = 1 << 19;

/// Convolution of all input channels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// The window, and how it moves.
    pub window: Window,
    /// Where its constants lie.
    pub weights: ConvWeights,
    /// From a sum to a byte.
    pub epilogue: Epilogue,
}

/// Where a convolution's constants lie in the weights section, in bytes; every part starts on a
/// multiple of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvWeights {
    /// Packed weights, i8.
    pub weights: u32,
    /// Biases for unsigned bytes, i32 per padded output channel.
    pub bias: u32,
    /// Biases for signed bytes, i32.
    pub bias_s8: u32,
    /// Requantisation scales, f32.
    pub scale: u32,
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn reads_images(&self) -> bool {
        true
    }

    fn check(&self, ends: &Ends, weights: &[u8]) -> Result<(), String> {
        self.window.check_border(ends)?;
        self.window.check(ends, MAX_KERNEL)?;
        let mut own = *self;
        constants::check(own.constants(ends), weights)?;
        self.epilogue.check(&ends.output, weights)
    }

    fn constants(&mut self, ends: &Ends) -> Vec<Constant<'_>> {
        let lanes = ends.output.lanes();
        let bytes = ends.output.blocks() * ends.kernel_shape(&self.window).steps() * ROW;
        let ConvWeights {
            weights,
            bias,
            bias_s8,
            scale,
        } = &mut self.weights;
        let mut parts = vec![
            Constant::weights(weights, bytes),
            Constant::integers("biases", bias, lanes),
            Constant::integers("signed biases", bias_s8, lanes),
            Constant::scales(scale, lanes),
        ];
        parts.extend(self.epilogue.constant());
        parts
    }

    fn macs(&self, ends: &Ends) -> u64 {
        ends.outputs() * u64::from(ends.input.channels) * self.window.taps()
    }

    fn prepare(&self, ends: &Ends, weights: &[u8]) -> Call {
        let (conv, ends) = (*self, *ends);
        let shape = ends.kernel_shape(&conv.window);
        let offsets = shape.offsets(&ends.input.planes(), conv.window.padding());
        let magnitude = Magnitude::of(conv.packed(&ends, &shape, weights), shape.groups());
        let shared = conv.macs(&ends) >= MINIMUM_SHARED_MACS;
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            let Lent { isa, weights, .. } = *lent;
            let (c, lanes) = (&conv.weights, ends.output.lanes());
            let [down, across] = conv.window.stride;
            let call = kernel::Conv {
                offsets: &offsets,
                groups: shape.groups(),
                pixel_step: across as usize * ends.input.pixel_bytes(),
                row_step: down as usize * shape.row_bytes(&ends.input.planes()),
                out: ends.output.planes(),
                weights: conv.packed(&ends, &shape, weights),
                magnitude,
                bias: part(weights, c.bias, lanes),
                bias_s8: part(weights, c.bias_s8, lanes),
                scale: part(weights, c.scale, lanes),
                epilogue: conv.epilogue.with_table(weights),
                fill: ends.output.zero_point,
            };
            let threads = if shared { lent.threads } else { 1 };
            kernel::conv(isa, threads, &call, lent.input, y);
        })
    }
}

impl Conv {
    /// The packed weights.
    fn packed<'a>(&self, ends: &Ends, shape: &KernelShape, weights: &'a [u8]) -> &'a [i8] {
        let count = ends.output.lanes() * shape.steps() * GROUP;
        part(weights, self.weights.weights, count)
    }
}
