//! Convolutions: weights packed for the kernels, biases moved to unsigned bytes, one scale per
//! channel.
//!
//! The graph states `real = s_in · s_w · Σ (q_in - z_in) · w + s_b · b` with `s_b = s_in · s_w`. A
//! kernel multiplies the bytes as they are, so `-z_in · Σ w` is added to the bias here, once.

use super::{
    Lowering, Site,
    tensor::Value,
    window::{MAX_SIDE, Sliding},
};
use crate::{
    graph::{
        program::{Conv, ConvWeights, Depthwise, DepthwiseWeights, Kind},
        qdq::{LowerError, attribute_int, integers},
    },
    kernels::layout::{DepthwiseShape, KernelShape, LANE, bias_s8, pack_depthwise, pack_weights},
};

/// A convolution as the graph states it: one that is lowered.
struct Stated {
    input: Value,
    /// Each channel by itself, so outputs lie in the lanes of the inputs.
    depthwise: bool,
    outputs: usize,
    sliding: Sliding,
    /// `[outputs, inputs or 1, rows, columns]`.
    weights: Vec<i8>,
    /// One per output, or one for all.
    weight_scales: Vec<f32>,
    /// The input's scale, and the unsigned byte that stands for zero there.
    input_scale: f32,
    input_zero: i64,
    /// Channels that the input's planes hold.
    input_lanes: usize,
}

/// From sums to bytes, for each lane of the output.
struct Requantisation {
    bias: Vec<i32>,
    scale: Vec<f32>,
}

impl<'a> Lowering<'a> {
    pub(super) fn conv(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let stated = self.stated(&site)?;
        let requantisation = self.requantisation(&site, &stated)?;
        let x = &mut self.tensors[stated.input.tensor];
        let (input, image) = (stated.input.tensor, x.is_image());
        x.border = x.border.max(stated.sliding.padding);
        let [height, width] = stated.sliding.size;
        let (channels, lanes) = if stated.depthwise {
            (x.channels, Some(stated.input.lanes.clone()))
        } else {
            (stated.outputs as u32, None)
        };
        let output = self.define(&site, [channels, height, width], lanes);
        let (window, epilogue) = (stated.sliding.window, self.epilogue(output, site.fused));
        let kind = if stated.depthwise {
            Kind::Depthwise(Depthwise {
                window,
                weights: self.depthwise_weights(&stated, &requantisation),
                epilogue,
            })
        } else {
            Kind::Conv(Conv {
                window,
                weights: self.dense_weights(&stated, &requantisation, image),
                epilogue,
            })
        };
        self.push(&site.node.name, (input, None), output, kind);
        Ok(())
    }

    /// Reads the node, and refuses what no kernel does.
    fn stated(&mut self, site: &Site<'_>) -> Result<Stated, LowerError> {
        let node = site.node;
        let input = self.input(node, 0)?;
        let input = self.compact(&node.name, input);
        let (weights, weight_quant) = self.qdq.dequantised_constant(&node.input[1])?;
        let &[outputs, inputs, rows, columns] = weights.dims.as_slice() else {
            return site.refuse(format!("weights of shape {:?}", weights.dims));
        };
        let channels = input.channels() as i64;
        let group = attribute_int(node, "group", 1);
        let depthwise = group == channels && inputs == 1 && outputs == channels && channels > 1;
        if !depthwise && (group != 1 || inputs != channels) {
            return site.refuse(format!(
                "{inputs} inputs per output of {channels} channels in {group} groups: \
                 dense and depthwise convolution are lowered"
            ));
        }
        if !(1..=MAX_SIDE).contains(&outputs) {
            return site.refuse(format!("{outputs} outputs"));
        }
        let x = self.tensor(&input);
        let sliding = Sliding::over(x, node, [rows, columns])?;
        if weight_quant.zero_points.iter().any(|&z| z != 0) {
            return site.refuse("weights with a zero point");
        }
        let weights = symmetric(site, &integers(weights)?)?;
        let scales = weight_quant.scales.len();
        if scales != 1 && scales != outputs as usize {
            return site.refuse(format!("{scales} weight scales for {outputs} channels"));
        }
        Ok(Stated {
            depthwise,
            outputs: outputs as usize,
            sliding,
            weights,
            weight_scales: weight_quant.scales,
            input_scale: x.quant.scale,
            input_zero: i64::from(x.quant.unsigned_zero()),
            input_lanes: x.channels as usize,
            input,
        })
    }

    /// Biases and scales by lane of the output. Refuses sums that can overflow 32 bits, in the
    /// kernels' unsigned bytes or in signed ones.
    fn requantisation(
        &self,
        site: &Site<'_>,
        stated: &Stated,
    ) -> Result<Requantisation, LowerError> {
        let biases = self.biases(site, stated)?;
        let lanes = if stated.depthwise {
            stated.input_lanes
        } else {
            stated.outputs
        };
        let padded = lanes.next_multiple_of(LANE);
        let (mut bias, mut scale) = (vec![0i32; padded], vec![1f32; padded]);
        for (c, weights) in stated.by_output().enumerate() {
            let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
            let reach: i64 = weights.iter().map(|&w| i64::from(w).abs() * 255).sum();
            let b = i64::from(biases[c]) - stated.input_zero * sum;
            if b.abs() + reach + 128 * sum.abs() > i64::from(i32::MAX) {
                return site.refuse(format!("channel {c} can overflow 32 bits (bias {b})"));
            }
            let lane = stated.output_lane(c);
            bias[lane] = b as i32;
            scale[lane] = stated.product_scale(c) / site.quant.scale;
        }
        Ok(Requantisation { bias, scale })
    }

    /// Biases by output, in units of the products of quantised inputs and weights.
    fn biases(&self, site: &Site<'_>, stated: &Stated) -> Result<Vec<i32>, LowerError> {
        let outputs = stated.outputs;
        let Some(name) = site.node.input.get(2).filter(|n| !n.is_empty()) else {
            return Ok(vec![0; outputs]);
        };
        let (bias, quant) = self.qdq.dequantised_constant(name)?;
        for c in 0..outputs {
            let s = quant.scales[c % quant.scales.len()];
            let product = stated.product_scale(c);
            if (s - product).abs() > 1e-5 * product {
                return site.refuse(format!(
                    "bias scale {s} of channel {c} is not input × weight scale {product}"
                ));
            }
        }
        let biases = integers(bias)?;
        if biases.len() != outputs {
            return site.refuse(format!("{} biases for {outputs} channels", biases.len()));
        }
        Ok(biases)
    }

    fn depthwise_weights(&mut self, stated: &Stated, to: &Requantisation) -> DepthwiseWeights {
        let [height, width] = stated.kernel();
        let shape = DepthwiseShape {
            channels: stated.input_lanes,
            height,
            width,
        };
        let packed = pack_depthwise(&stated.spread(&stated.weights), &shape);
        DepthwiseWeights {
            weights: self.weights.put(bytemuck::cast_slice(&packed)),
            bias: self.weights.put(bytemuck::cast_slice(&to.bias)),
            scale: self.weights.put(bytemuck::cast_slice(&to.scale)),
        }
    }

    fn dense_weights(&mut self, stated: &Stated, to: &Requantisation, image: bool) -> ConvWeights {
        let [height, width] = stated.kernel();
        let shape = KernelShape {
            out_channels: stated.outputs,
            in_channels: stated.input_lanes,
            height,
            width,
            image,
        };
        let rows = stated.by_output().flat_map(|row| stated.spread(row));
        let packed = pack_weights(&rows.collect::<Vec<i8>>(), &shape);
        let signed = bias_s8(&packed, &to.bias);
        ConvWeights {
            weights: self.weights.put(bytemuck::cast_slice(&packed)),
            bias: self.weights.put(bytemuck::cast_slice(&to.bias)),
            bias_s8: self.weights.put(bytemuck::cast_slice(&signed)),
            scale: self.weights.put(bytemuck::cast_slice(&to.scale)),
        }
    }
}

impl Stated {
    fn kernel(&self) -> [usize; 2] {
        self.sliding.window.kernel.map(|n| n as usize)
    }

    /// The weights of each output channel.
    fn by_output(&self) -> impl Iterator<Item = &[i8]> {
        self.weights.chunks_exact(self.weights.len() / self.outputs)
    }

    /// The real number that one unit of an output channel's sum stands for.
    fn product_scale(&self, output: usize) -> f32 {
        self.input_scale * self.weight_scales[output % self.weight_scales.len()]
    }

    fn output_lane(&self, output: usize) -> usize {
        if self.depthwise {
            usize::from(self.input.lanes[output])
        } else {
            output
        }
    }

    /// Weights `[channels, taps]` with each channel in the lane where the input has it.
    fn spread(&self, weights: &[i8]) -> Vec<i8> {
        let [height, width] = self.kernel();
        let taps = height * width;
        let mut wide = vec![0; self.input_lanes * taps];
        for (channel, &lane) in weights.chunks_exact(taps).zip(&self.input.lanes) {
            wide[usize::from(lane) * taps..][..taps].copy_from_slice(channel);
        }
        wide
    }
}

/// Refuses -128: the levels of a kernel would differ there, and symmetric quantisation has none.
fn symmetric(site: &Site<'_>, values: &[i32]) -> Result<Vec<i8>, LowerError> {
    if let Some(bad) = values.iter().find(|v| !(-127..=127).contains(*v)) {
        return site.refuse(format!("weight {bad}: symmetric weights lie in -127..=127"));
    }
    Ok(values.iter().map(|&v| v as i8).collect())
}
