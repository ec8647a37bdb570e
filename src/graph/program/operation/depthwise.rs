//! Convolution of each channel by itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Call, Constant, Ends, Epilogue, Lent, Operator, Window, constants, constants::part,
    window::MAX_KERNEL,
};
use crate::kernels::{depthwise as kernel, layout::LANE};

/// Convolution of each channel by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Depthwise {
    /// The window, and how it moves.
    pub window: Window,
    /// Where its constants lie.
    pub weights: DepthwiseWeights,
    /// From a sum to a byte.
    pub epilogue: Epilogue,
}

/// Where a depthwise convolution's constants lie in the weights section, in bytes; every part
/// starts on a multiple of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthwiseWeights {
    /// Packed weights, i8.
    pub weights: u32,
    /// Biases for unsigned bytes, i32 per padded channel.
    pub bias: u32,
    /// Requantisation scales, f32.
    pub scale: u32,
}

impl Operator for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn check(&self, ends: &Ends, weights: &[u8]) -> Result<(), String> {
        let (x, y) = (&ends.input, &ends.output);
        if x.channels != y.channels {
            return Err(format!(
                "{} channels to {} each by itself",
                x.channels, y.channels
            ));
        }
        self.window.check_border(ends)?;
        self.window.check(ends, MAX_KERNEL)?;
        let taps = ends.depthwise_shape(&self.window).taps();
        if taps > kernel::MAX_TAPS {
            return Err(format!("{taps} taps; up to {} are done", kernel::MAX_TAPS));
        }
        let mut own = *self;
        constants::check(own.constants(ends), weights)?;
        self.epilogue.check(y, weights)
    }

    fn constants(&mut self, ends: &Ends) -> Vec<Constant<'_>> {
        let lanes = ends.output.lanes();
        let bytes = ends.depthwise_shape(&self.window).taps() * lanes;
        let DepthwiseWeights {
            weights,
            bias,
            scale,
        } = &mut self.weights;
        let mut parts = vec![
            Constant::weights(weights, bytes),
            Constant::integers("biases", bias, lanes),
            Constant::scales(scale, lanes),
        ];
        parts.extend(self.epilogue.constant());
        parts
    }

    fn macs(&self, ends: &Ends) -> u64 {
        ends.outputs() * self.window.taps()
    }

    fn prepare(&self, ends: &Ends, _: &[u8]) -> Call {
        let (depthwise, ends) = (*self, *ends);
        let shape = ends.depthwise_shape(&depthwise.window);
        let offsets = shape.offsets(&ends.input.planes(), depthwise.window.padding());
        Arc::new(move |lent: &Lent<'_>, y: &mut [u8]| {
            let Lent { isa, weights, .. } = *lent;
            let (c, lanes) = (&depthwise.weights, ends.output.lanes());
            let [down, across] = depthwise.window.stride;
            let input = ends.input.planes();
            let call = kernel::Depthwise {
                offsets: &offsets,
                pixel_step: across as usize * LANE,
                row_step: down as usize * input.row_bytes(),
                input,
                out: ends.output.planes(),
                weights: part(weights, c.weights, lanes * shape.taps()),
                bias: part(weights, c.bias, lanes),
                scale: part(weights, c.scale, lanes),
                epilogue: depthwise.epilogue.with_table(weights),
                fill: ends.output.zero_point,
            };
            kernel::depthwise(isa, lent.threads, &call, lent.input, y);
        })
    }
}
