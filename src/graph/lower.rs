//! From a QDQ graph to an int8 program.
//!
//! | ONNX between two Q/DQ pairs | becomes |
//! |---|---|
//! | `Conv` dense or depthwise | one convolution |
//! | `Add`; `MaxPool`; `GlobalAveragePool`; `Mul` by one value per channel | one call each |
//! | `Relu`, `LeakyRelu` or `PRelu` with one slope, right behind `Conv` or `Add` | nothing: the lower clamp, or a slope before requantisation |
//! | any function of one tensor: `LeakyRelu`, `HardSwish`, `Sigmoid` and `Mul`, … | a table of 256 bytes in the call that makes the tensor |
//! | `Concat` over channels | nothing: its inputs are written next to each other; a copy for one that is in two |
//! | `Gather` of channels (a shuffle, a slice) | nothing, or one permutation where planes would be half empty |
//! | `Resize` × 2, nearest or linear | one call |
//!
//! Inputs and outputs are planes, quantised in the graph or not: a quantised one (s8) is another program's, which needs a border,
//! a dequantised output is read by a stage of the runtime.
//!
//! Any other operator is refused by name. Mixed graphs, where tract would run float operators between programs, are not
//! lowered yet: no network of ours has one.

use std::collections::HashMap;

use tract_onnx::pb::{
    GraphProto, NodeProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
};

use super::{
    plan::{ALIGN, Buffer, place},
    program::{
        Activation, ConvWeights, DepthwiseWeights, Epilogue, Kind, Operation, Place, Port, Program,
        View, Window,
    },
    qdq::{
        LowerError, Qdq, attribute_int, attribute_ints, attribute_string, floats, integers, refuse,
    },
};
use crate::kernels::layout::{
    DepthwiseShape, KernelShape, LANE, bias_s8, pack_depthwise, pack_weights,
};

mod activation;
use activation::Fused;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "compared within a tolerance")]
mod tests;

/// A weights section being written; equal constants are stored once.
#[derive(Debug, Default)]
pub struct WeightsWriter {
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
}

impl WeightsWriter {
    /// The section so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a part, unless one like it is there, and says where it starts.
    pub(crate) fn put(&mut self, part: &[u8]) -> u32 {
        if let Some(&at) = self.known.get(part) {
            return at;
        }
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN as usize), 0);
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(part);
        self.known.insert(part.to_vec(), at);
        at
    }
}

/// A quantised activation while its program is being made.
struct Tensor {
    name: String,
    channels: u32,
    height: u32,
    width: u32,
    scale: f32,
    zero_point: i8,
    /// Border that its readers need.
    border: u32,
    /// Index among the inputs of the program.
    input: Option<u32>,
    /// Index among its outputs.
    output: Option<u32>,
    /// The concatenation it is part of, and its first plane there.
    within: Option<(usize, u32)>,
    first: u32,
    last: u32,
}

impl Tensor {
    const fn unsigned_zero(&self) -> u8 {
        self.zero_point.cast_unsigned() ^ 0x80
    }

    const fn blocks(&self) -> u32 {
        self.channels.div_ceil(LANE as u32)
    }
}

/// A tensor as the graph sees it: which channels of a buffer's planes it is made of, in order.
#[derive(Clone)]
struct Value {
    tensor: usize,
    lanes: Vec<u16>,
}

impl Value {
    fn whole(tensor: usize, channels: u32) -> Self {
        Self {
            tensor,
            lanes: (0..channels as u16).collect(),
        }
    }

    const fn channels(&self) -> usize {
        self.lanes.len()
    }
}

enum Constants {
    Dense(ConvWeights),
    Depthwise(DepthwiseWeights),
}

struct Draft {
    name: String,
    input: usize,
    /// The second tensor of an addition, or the gates of a multiplication.
    other: Option<usize>,
    output: usize,
    kind: Kind,
}

struct Lowering<'a> {
    graph: &'a GraphProto,
    qdq: Qdq<'a>,
    tensors: Vec<Tensor>,
    /// Values by the name of their quantised form.
    by_name: HashMap<&'a str, Value>,
    drafts: Vec<Draft>,
    outputs: Vec<(String, usize)>,
    weights: &'a mut WeightsWriter,
}

const LOWERED: &[&str] = &[
    "Add",
    "Concat",
    "Constant",
    "Conv",
    "DequantizeLinear",
    "Gather",
    "GlobalAveragePool",
    "Identity",
    "MaxPool",
    "PRelu",
    "Resize",
];

/// Lowers a whole graph; its constants are appended to `weights`.
///
/// # Errors
///
/// [`LowerError`] naming the node if the graph is not QDQ with s8 activations and weights, or has an operator, an attribute
/// or a shape that is not lowered.
pub fn lower(graph: &GraphProto, weights: &mut WeightsWriter) -> Result<Program, LowerError> {
    let lowering = Lowering {
        graph,
        qdq: Qdq::new(graph),
        tensors: Vec::new(),
        by_name: HashMap::new(),
        drafts: Vec::new(),
        outputs: Vec::new(),
        weights,
    };
    lowering.run()
}

impl<'a> Lowering<'a> {
    fn run(mut self) -> Result<Program, LowerError> {
        self.quantised_inputs()?;
        for node in &self.graph.node {
            match node.op_type.as_str() {
                "QuantizeLinear" => self.quantize(node)?,
                // the others are read backwards from the node that quantises their result
                name if LOWERED.contains(&name) || activation::is_function(name) => {}
                other => return refuse(&node.name, format!("operator {other} is not lowered")),
            }
        }
        self.outputs()?;
        Ok(self.finish())
    }

    /// Graph inputs that are s8 already: features of another program.
    fn quantised_inputs(&mut self) -> Result<(), LowerError> {
        for input in &self.graph.input {
            let (kind, shape) = type_of(input)?;
            if kind == DataType::Int8 as i32 {
                let reads =
                    |n: &&NodeProto| n.op_type == "DequantizeLinear" && n.input[0] == input.name;
                let Some(reader) = self.graph.node.iter().find(reads) else {
                    return refuse(&input.name, "is s8 but nothing dequantises it");
                };
                let parameters = self.qdq.activation(reader)?;
                self.add_input(&input.name, &input.name, shape, parameters)?;
            }
        }
        Ok(())
    }

    fn add_input(
        &mut self,
        name: &str,
        key: &'a str,
        shape: [u32; 3],
        (scale, zero_point): (f32, i8),
    ) -> Result<(), LowerError> {
        let count = self.tensors.iter().filter(|t| t.input.is_some()).count() as u32;
        let mut tensor = new_tensor(name, shape, scale, zero_point);
        tensor.input = Some(count);
        // planes that cross a program's edge have the border that 3×3 kernels need, on both sides of it
        tensor.border = 1;
        if tensor.channels > 4 && !tensor.channels.is_multiple_of(LANE as u32) {
            return refuse(
                name,
                format!(
                    "{} channels: planes hold sixteens, images up to 4",
                    tensor.channels
                ),
            );
        }
        let value = Value::whole(self.tensors.len(), tensor.channels);
        self.by_name.insert(key, value);
        self.tensors.push(tensor);
        Ok(())
    }

    /// One `QuantizeLinear`: its float input names the operation.
    fn quantize(&mut self, node: &'a NodeProto) -> Result<(), LowerError> {
        let parameters = self.qdq.activation(node)?;
        let key = node.output[0].as_str();
        let Some(mut source) = self.qdq.producer(&node.input[0]) else {
            let input = self.graph.input.iter().find(|i| i.name == node.input[0]);
            let Some(input) = input else {
                return refuse(
                    &node.name,
                    format!("quantises {}, which nothing makes", node.input[0]),
                );
            };
            return self.add_input(&input.name, key, type_of(input)?.1, parameters);
        };
        let fused = self.fused(source)?;
        if let Fused::Relu | Fused::Leaky(_) = fused {
            source = match self.qdq.producer(&source.input[0]) {
                Some(n) if matches!(n.op_type.as_str(), "Conv" | "Add") => {
                    fused.check(source)?;
                    n
                }
                _ => return self.activation(source, key, parameters),
            };
        }
        match source.op_type.as_str() {
            "Conv" => self.conv(source, key, parameters, fused),
            "Add" => self.add(source, key, parameters, fused),
            "MaxPool" => self.max_pool(source, key, parameters),
            "GlobalAveragePool" => self.average_pool(source, key, parameters),
            "Mul" if self.gated(source).is_some() => self.gate(source, key, parameters),
            "Concat" => self.concat(source, key, parameters),
            "Gather" => self.gather(source, key, parameters),
            "Resize" => self.resize(source, key, parameters),
            // quantised twice, as exporters do for a tensor that is also an output
            "Identity" | "DequantizeLinear" => self.alias(source, key, parameters),
            _ => self.activation(source, key, parameters),
        }
    }

    /// The value behind the dequantised input `i` of a node.
    fn input(&self, node: &NodeProto, i: usize) -> Result<Value, LowerError> {
        let Some(name) = node.input.get(i) else {
            return refuse(&node.name, format!("has no input {i}"));
        };
        let dequantized = match self.qdq.producer(name) {
            Some(n) if n.op_type == "DequantizeLinear" => self.by_name.get(n.input[0].as_str()),
            _ => None,
        };
        match dequantized {
            Some(value) => Ok(value.clone()),
            None => refuse(
                &node.name,
                format!("input {name} is not a dequantised activation"),
            ),
        }
    }

    /// The value as a tensor of exactly its channels, in order.
    fn whole(&mut self, node: &NodeProto, value: Value) -> usize {
        let t = &self.tensors[value.tensor];
        let in_order = (0..).zip(&value.lanes).all(|(i, &lane)| i == lane);
        if in_order && value.channels() == t.channels as usize {
            return value.tensor;
        }
        let shape = [value.channels() as u32, t.height, t.width];
        let (scale, zero_point) = (t.scale, t.zero_point);
        let output = self.tensor(node, shape, (scale, zero_point));
        let mut map = value.lanes;
        map.resize(map.len().next_multiple_of(LANE), u16::MAX);
        let map = self.weights.put(bytemuck::cast_slice(&map));
        self.push(node, value.tensor, output, Kind::Permute(map));
        output
    }

    /// The value in no more planes than its channels need.
    fn compact(&mut self, node: &NodeProto, value: Value) -> Value {
        let planes = self.tensors[value.tensor].blocks() as usize;
        if planes == value.channels().div_ceil(LANE) {
            return value;
        }
        let channels = value.channels() as u32;
        Value::whole(self.whole(node, value), channels)
    }

    /// A new tensor that the next operation writes.
    fn tensor(
        &mut self,
        node: &NodeProto,
        shape: [u32; 3],
        (scale, zero_point): (f32, i8),
    ) -> usize {
        let mut tensor = new_tensor(&node.name, shape, scale, zero_point);
        tensor.first = self.drafts.len() as u32;
        tensor.last = tensor.first;
        self.tensors.push(tensor);
        self.tensors.len() - 1
    }

    /// Refuses an operation between tensors of different quantisation that only moves bytes.
    fn alike(
        &self,
        node: &NodeProto,
        value: &Value,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let t = &self.tensors[value.tensor];
        if (t.scale, t.zero_point) == parameters {
            return Ok(());
        }
        refuse(
            &node.name,
            format!(
                "input {} has scale {} and zero point {}, the output {} and {}: quantise them alike",
                t.name, t.scale, t.zero_point, parameters.0, parameters.1
            ),
        )
    }

    /// A new tensor under the name of its quantised form, whose value has the lanes of another or its own.
    fn define(
        &mut self,
        key: &'a str,
        node: &NodeProto,
        shape: [u32; 3],
        parameters: (f32, i8),
        lanes: Option<Vec<u16>>,
    ) -> usize {
        let tensor = self.tensor(node, shape, parameters);
        let value = match lanes {
            Some(lanes) => Value { tensor, lanes },
            None => Value::whole(tensor, shape[0]),
        };
        self.by_name.insert(key, value);
        tensor
    }

    fn conv(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
        fused: Fused,
    ) -> Result<(), LowerError> {
        let value = self.input(node, 0)?;
        let value = self.compact(node, value);
        let (weights, weight_q) = self.qdq.dequantised_constant(&node.input[1])?;
        let &[out, inputs, rows, columns] = weights.dims.as_slice() else {
            return refuse(&node.name, format!("weights of shape {:?}", weights.dims));
        };
        let channels = value.channels() as i64;
        let group = attribute_int(node, "group", 1);
        let depthwise = group == channels && inputs == 1 && out == channels && channels > 1;
        if !depthwise && (group != 1 || inputs != channels) {
            return refuse(
                &node.name,
                format!(
                    "{inputs} inputs per output of {channels} channels in {group} groups: dense and depthwise convolution are lowered"
                ),
            );
        }
        if !(1..=4096).contains(&out) {
            return refuse(&node.name, format!("{out} outputs"));
        }
        let (window, size, reach) = window(node, [rows, columns], &self.tensors[value.tensor])?;
        let x = &self.tensors[value.tensor];
        let (in_scale, in_zero) = (x.scale, i64::from(x.zero_point) + 128);
        let (out, lanes) = (out as usize, x.channels as usize);

        // weights: symmetric, never -128
        if weight_q.zero_points.iter().any(|&z| z != 0) {
            return refuse(&node.name, "weights with a zero point");
        }
        let values = integers(weights)?;
        if let Some(bad) = values.iter().find(|v| !(-127..=127).contains(*v)) {
            return refuse(
                &node.name,
                format!("weight {bad}: symmetric weights lie in -127..=127"),
            );
        }
        let values: Vec<i8> = values.iter().map(|&v| v as i8).collect();
        if weight_q.scales.len() != 1 && weight_q.scales.len() != out {
            return refuse(
                &node.name,
                format!("{} weight scales for {out} channels", weight_q.scales.len()),
            );
        }
        let product = |c: usize| in_scale * weight_q.scales[c % weight_q.scales.len()];
        let biases = self.biases(node, out, product)?;

        // the outputs of a depthwise convolution lie in the lanes of its inputs
        let home = |c: usize| {
            if depthwise {
                usize::from(value.lanes[c])
            } else {
                c
            }
        };
        let padded = (if depthwise { lanes } else { out }).next_multiple_of(LANE);
        let (mut bias, mut scale) = (vec![0i32; padded], vec![1f32; padded]);
        for (c, w) in values.chunks_exact(values.len() / out).enumerate() {
            let sum: i64 = w.iter().map(|&w| i64::from(w)).sum();
            let reach: i64 = w.iter().map(|&w| i64::from(w).abs() * 255).sum();
            // in units of the products, moved to unsigned activations
            let b = i64::from(biases[c]) - in_zero * sum;
            if b.abs() + reach + 128 * sum.abs() > i64::from(i32::MAX) {
                return refuse(
                    &node.name,
                    format!("channel {c} can overflow 32 bits (bias {b})"),
                );
            }
            bias[home(c)] = b as i32;
            scale[home(c)] = product(c) / parameters.0;
        }
        let taps = (rows * columns) as usize;
        let (height, width) = (rows as usize, columns as usize);
        let constants = if depthwise {
            let shape = DepthwiseShape {
                channels: lanes,
                height,
                width,
            };
            let packed = pack_depthwise(&spread(&values, taps, &value.lanes, lanes), &shape);
            Constants::Depthwise(DepthwiseWeights {
                weights: self.weights.put(bytemuck::cast_slice(&packed)),
                bias: self.weights.put(bytemuck::cast_slice(&bias)),
                scale: self.weights.put(bytemuck::cast_slice(&scale)),
            })
        } else {
            let channels = values.chunks_exact(values.len() / out);
            let spread = channels.flat_map(|w| spread(w, taps, &value.lanes, lanes));
            let shape = KernelShape {
                out_channels: out,
                in_channels: lanes,
                height,
                width,
                image: x.input.is_some() && x.channels <= 4,
            };
            let packed = pack_weights(&spread.collect::<Vec<i8>>(), &shape);
            let signed = bias_s8(&packed, &bias);
            Constants::Dense(ConvWeights {
                weights: self.weights.put(bytemuck::cast_slice(&packed)),
                bias: self.weights.put(bytemuck::cast_slice(&bias)),
                bias_s8: self.weights.put(bytemuck::cast_slice(&signed)),
                scale: self.weights.put(bytemuck::cast_slice(&scale)),
            })
        };
        let x = &mut self.tensors[value.tensor];
        x.border = x.border.max(reach);
        let (shape, kept) = if depthwise {
            ([x.channels, size[0], size[1]], Some(value.lanes))
        } else {
            ([out as u32, size[0], size[1]], None)
        };
        let output = self.define(key, node, shape, parameters, kept);
        let epilogue = self.epilogue(output, fused);
        let kind = match constants {
            Constants::Depthwise(c) => Kind::Depthwise(window, c, epilogue),
            Constants::Dense(c) => Kind::Conv(window, c, epilogue),
        };
        self.push(node, value.tensor, output, kind);
        Ok(())
    }

    /// A convolution's biases, in units of the products of its quantised inputs and weights.
    fn biases(
        &self,
        node: &NodeProto,
        out: usize,
        product: impl Fn(usize) -> f32,
    ) -> Result<Vec<i32>, LowerError> {
        let Some(name) = node.input.get(2).filter(|n| !n.is_empty()) else {
            return Ok(vec![0; out]);
        };
        let (bias, bias_q) = self.qdq.dequantised_constant(name)?;
        for c in 0..out {
            let (s, product) = (bias_q.scales[c % bias_q.scales.len()], product(c));
            if (s - product).abs() > 1e-5 * product {
                return refuse(
                    &node.name,
                    format!("bias scale {s} of channel {c} is not input × weight scale {product}"),
                );
            }
        }
        let biases = integers(bias)?;
        if biases.len() != out {
            return refuse(
                &node.name,
                format!("{} biases for {out} channels", biases.len()),
            );
        }
        Ok(biases)
    }

    /// Requantisation to a tensor, behind what is fused and before any table.
    fn epilogue(&self, output: usize, fused: Fused) -> Epilogue {
        let zero_point = self.tensors[output].unsigned_zero();
        let (low, activation) = match fused {
            Fused::Nothing => (0, Activation::None),
            Fused::Relu => (zero_point, Activation::None),
            Fused::Leaky(slope) => (0, Activation::Slope(slope)),
        };
        Epilogue {
            zero_point,
            clamp: [low, 255],
            activation,
        }
    }

    fn push(&mut self, node: &NodeProto, input: usize, output: usize, kind: Kind) {
        self.tensors[input].last = self.drafts.len() as u32;
        self.drafts.push(Draft {
            name: node.name.clone(),
            input,
            other: None,
            output,
            kind,
        });
    }

    fn add(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
        fused: Fused,
    ) -> Result<(), LowerError> {
        let (mut a, mut b) = (self.input(node, 0)?, self.input(node, 1)?);
        if a.lanes != b.lanes {
            let channels = a.channels() as u32;
            (a, b) = (
                Value::whole(self.whole(node, a), channels),
                Value::whole(self.whole(node, b), channels),
            );
        }
        let size = |v: &Value| {
            let t = &self.tensors[v.tensor];
            [t.channels, t.height, t.width]
        };
        let shape = size(&a);
        if shape != size(&b) {
            return refuse(
                &node.name,
                format!("adds tensors of {shape:?} and {:?}", size(&b)),
            );
        }
        let scales = [&a, &b].map(|v| self.tensors[v.tensor].scale / parameters.0);
        let output = self.define(key, node, shape, parameters, Some(a.lanes));
        let epilogue = self.epilogue(output, fused);
        self.tensors[b.tensor].last = self.drafts.len() as u32;
        // the view of the second tensor is filled in when every tensor has its place
        let unplaced = self.view(b.tensor, Place::Arena(0));
        self.push(
            node,
            a.tensor,
            output,
            Kind::Add(unplaced, scales, epilogue),
        );
        let draft = self.drafts.last_mut();
        draft.expect("just pushed").other = Some(b.tensor);
        Ok(())
    }

    fn max_pool(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let value = self.input(node, 0)?;
        self.alike(node, &value, parameters)?;
        let value = self.compact(node, value);
        let kernel = attribute_ints(node, "kernel_shape", &[]);
        let &[rows, columns] = kernel.as_slice() else {
            return refuse(&node.name, format!("kernel {kernel:?}"));
        };
        if attribute_int(node, "ceil_mode", 0) != 0 {
            return refuse(&node.name, "rounds its size up");
        }
        let x = &self.tensors[value.tensor];
        let (window, [height, width], _) = window(node, [rows, columns], x)?;
        let shape = [x.channels, height, width];
        let output = self.define(key, node, shape, parameters, Some(value.lanes));
        self.push(node, value.tensor, output, Kind::MaxPool(window));
        Ok(())
    }

    fn average_pool(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let value = self.input(node, 0)?;
        let x = &self.tensors[value.tensor];
        let (shape, pixels) = ([x.channels, 1, 1], x.height * x.width);
        let scale = x.scale / (pixels as f32 * parameters.0);
        let output = self.define(key, node, shape, parameters, Some(value.lanes));
        self.push(node, value.tensor, output, Kind::AveragePool(scale));
        Ok(())
    }

    /// The tensor and the gates of a product of two dequantised activations, of which one is a pixel for the whole picture.
    fn gated(&self, node: &NodeProto) -> Option<[Value; 2]> {
        let [a, b] = [self.input(node, 0).ok()?, self.input(node, 1).ok()?];
        let pixel = |v: &Value| {
            let t = &self.tensors[v.tensor];
            t.height == 1 && t.width == 1
        };
        match (pixel(&a), pixel(&b)) {
            _ if a.tensor == b.tensor || a.channels() != b.channels() => None,
            (_, true) => Some([a, b]),
            (true, false) => Some([b, a]),
            (false, false) => None,
        }
    }

    /// A tensor times a value per channel, as in squeeze-and-excitation.
    fn gate(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let Some([mut x, mut gates]) = self.gated(node) else {
            return refuse(&node.name, "is not a tensor times a value per channel");
        };
        let planes = |v: &Value| self.tensors[v.tensor].blocks();
        if x.lanes != gates.lanes || planes(&x) != planes(&gates) {
            let channels = x.channels() as u32;
            x = Value::whole(self.whole(node, x), channels);
            gates = Value::whole(self.whole(node, gates), channels);
        }
        let Tensor {
            channels,
            height,
            width,
            scale,
            ..
        } = self.tensors[x.tensor];
        let shape = [channels, height, width];
        let scale = scale * self.tensors[gates.tensor].scale / parameters.0;
        let output = self.define(key, node, shape, parameters, Some(x.lanes));
        self.tensors[gates.tensor].last = self.drafts.len() as u32;
        // the view of the gates is filled in when every tensor has its place
        let unplaced = self.view(gates.tensor, Place::Arena(0));
        self.push(node, x.tensor, output, Kind::Gate(unplaced, scale));
        let draft = self.drafts.last_mut();
        draft.expect("just pushed").other = Some(gates.tensor);
        Ok(())
    }

    /// Channels of a tensor in another order: their lanes are followed, nothing moves until somebody needs them in planes.
    fn gather(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let value = self.input(node, 0)?;
        self.alike(node, &value, parameters)?;
        if attribute_int(node, "axis", 0) != 1 {
            return refuse(&node.name, "gathers along another axis than channels");
        }
        let indices = integers(self.qdq.constant(&node.input[1])?)?;
        let lane = |&i: &i32| {
            usize::try_from(i)
                .ok()
                .and_then(|i| value.lanes.get(i).copied())
        };
        let Some(lanes) = indices.iter().map(lane).collect::<Option<Vec<u16>>>() else {
            return refuse(
                &node.name,
                format!("gathers {indices:?} of {} channels", value.channels()),
            );
        };
        if lanes.is_empty() {
            return refuse(&node.name, "gathers nothing");
        }
        let tensor = value.tensor;
        self.by_name.insert(key, Value { tensor, lanes });
        Ok(())
    }

    fn alias(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let known = match node.op_type.as_str() {
            "Identity" => self.input(node, 0)?,
            _ => match self.by_name.get(node.input[0].as_str()) {
                Some(value) => value.clone(),
                None => return refuse(&node.name, "dequantises something that was not lowered"),
            },
        };
        let t = &self.tensors[known.tensor];
        if (t.scale, t.zero_point) != parameters {
            return refuse(
                &node.name,
                "changes the scale of a tensor without computing anything: quantise both alike",
            );
        }
        self.by_name.insert(key, known);
        Ok(())
    }

    fn concat(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        if attribute_int(node, "axis", 0) != 1 {
            return refuse(&node.name, "concatenates another axis than channels");
        }
        let parts = (0..node.input.len())
            .map(|i| self.input(node, i))
            .collect::<Result<Vec<_>, _>>()?;
        let mut slices = Vec::new();
        for part in parts {
            self.alike(node, &part, parameters)?;
            let part = self.whole(node, part);
            let t = &self.tensors[part];
            let taken = t.within.is_some() || t.input.is_some() || slices.contains(&part);
            slices.push(if taken { self.copy(node, part) } else { part });
        }
        // a part starts on a plane, so lanes behind channels that are not whole planes stay empty
        let (mut lanes, mut plane) = (Vec::new(), 0);
        for &slice in &slices {
            let t = &self.tensors[slice];
            let first = (plane * LANE as u32) as u16;
            lanes.extend((0..t.channels as u16).map(|c| first + c));
            plane += t.blocks();
        }
        let Tensor { height, width, .. } = self.tensors[slices[0]];
        let channels = lanes.last().map_or(0, |&l| u32::from(l) + 1);
        let whole = self.define(
            key,
            node,
            [channels, height, width],
            parameters,
            Some(lanes),
        );
        let mut plane = 0;
        for slice in slices {
            self.tensors[slice].within = Some((whole, plane));
            plane += self.tensors[slice].blocks();
        }
        Ok(())
    }

    /// A second home for a tensor that is already part of another concatenation, or an input.
    fn copy(&mut self, node: &NodeProto, of: usize) -> usize {
        let Tensor {
            channels,
            height,
            width,
            scale,
            zero_point,
            ..
        } = self.tensors[of];
        let output = self.tensor(node, [channels, height, width], (scale, zero_point));
        self.push(node, of, output, Kind::Copy);
        output
    }

    fn resize(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let value = self.input(node, 0)?;
        let scales = match node.input.get(2).filter(|n| !n.is_empty()) {
            Some(name) => floats(self.qdq.constant(name)?)?,
            None => Vec::new(),
        };
        let mode = attribute_string(node, "mode", "nearest");
        let place = attribute_string(node, "coordinate_transformation_mode", "half_pixel");
        let kind = match (mode.as_str(), place.as_str()) {
            ("nearest", _) => Kind::Upsample,
            ("linear", "half_pixel" | "pytorch_half_pixel") => Kind::UpsampleLinear,
            _ => return refuse(&node.name, format!("resizes {mode}, {place}")),
        };
        if scales != [1.0, 1.0, 2.0, 2.0] {
            return refuse(
                &node.name,
                format!("resizes by {scales:?}; by [1, 1, 2, 2] is lowered"),
            );
        }
        self.alike(node, &value, parameters)?;
        let value = self.compact(node, value);
        let x = &self.tensors[value.tensor];
        let shape = [x.channels, 2 * x.height, 2 * x.width];
        let output = self.define(key, node, shape, parameters, Some(value.lanes));
        self.push(node, value.tensor, output, kind);
        Ok(())
    }

    /// The tensors that leave, each in a buffer of its own.
    fn outputs(&mut self) -> Result<(), LowerError> {
        for output in &self.graph.output {
            let name = output.name.as_str();
            let producer = self.qdq.producer(name);
            let dequantised = match producer {
                Some(n) if n.op_type == "DequantizeLinear" => self.by_name.get(n.input[0].as_str()),
                _ => None,
            };
            let quantised = self.by_name.get(name);
            let (Some(producer), Some(value)) = (producer, quantised.or(dequantised)) else {
                return refuse(name, "this output is not a quantised or dequantised result");
            };
            // planes that cross a program's edge have the border that 3×3 kernels need, on both sides of it
            let border = u32::from(quantised.is_some());
            let mut tensor = self.whole(producer, value.clone());
            let t = &self.tensors[tensor];
            if t.within.is_some() || t.input.is_some() || t.output.is_some() {
                tensor = self.copy(producer, tensor);
            }
            let index = self.outputs.len() as u32;
            let t = &mut self.tensors[tensor];
            (t.output, t.border) = (Some(index), t.border.max(border));
            self.outputs.push((name.to_owned(), tensor));
        }
        Ok(())
    }

    /// The concatenation at the end of a chain of them, and the first plane of `t` there.
    fn root(&self, mut t: usize) -> (usize, u32) {
        let mut plane = 0;
        while let Some((whole, first)) = self.tensors[t].within {
            plane += first;
            t = whole;
        }
        (t, plane)
    }

    fn finish(mut self) -> Program {
        // a buffer has the widest border and the longest life of all its parts
        for t in 0..self.tensors.len() {
            let (root, _) = self.root(t);
            let Tensor {
                border,
                first,
                last,
                ..
            } = self.tensors[t];
            let r = &mut self.tensors[root];
            r.border = r.border.max(border);
            r.first = r.first.min(first);
            r.last = r.last.max(last);
        }
        // copies move whole planes, so both sides have one border; a copy's buffer may be copied again, hence the loop
        for _ in 0..self.drafts.len() {
            for d in self.drafts.iter().filter(|d| d.kind == Kind::Copy) {
                let (a, b) = (self.root(d.input).0, self.root(d.output).0);
                let border = self.tensors[a].border.max(self.tensors[b].border);
                self.tensors[a].border = border;
                self.tensors[b].border = border;
            }
        }
        for t in 0..self.tensors.len() {
            self.tensors[t].border = self.tensors[self.root(t).0].border;
        }
        let roots: Vec<usize> = (0..self.tensors.len())
            .filter(|&t| {
                let t = &self.tensors[t];
                t.within.is_none() && t.input.is_none() && t.output.is_none()
            })
            .collect();
        let buffers: Vec<Buffer> = roots
            .iter()
            .map(|&t| {
                let Tensor { first, last, .. } = self.tensors[t];
                Buffer {
                    bytes: self.view(t, Place::Arena(0)).bytes() as u32,
                    first,
                    last,
                }
            })
            .collect();
        let (offsets, arena_bytes) = place(&buffers);
        let at: HashMap<usize, u32> = roots.into_iter().zip(offsets).collect();
        let lookup = |t: usize| {
            if let Some(i) = self.tensors[t].input {
                return self.view(t, Place::Input(i));
            }
            let (root, plane) = self.root(t);
            let plane_bytes = self.view(t, Place::Arena(0)).planes().bytes() as u32;
            let first = plane * plane_bytes;
            let place = match self.tensors[root].output {
                Some(i) => Place::Output(i, first),
                None => Place::Arena(at[&root] + first),
            };
            self.view(t, place)
        };
        let port = |name: &str, t: usize| Port {
            name: name.to_owned(),
            view: lookup(t),
            scale: self.tensors[t].scale,
        };
        let is_input = |t: &usize| self.tensors[*t].input.is_some();
        Program {
            inputs: (0..self.tensors.len())
                .filter(is_input)
                .map(|t| port(&self.tensors[t].name, t))
                .collect(),
            outputs: self
                .outputs
                .iter()
                .map(|(name, t)| port(name, *t))
                .collect(),
            operations: self
                .drafts
                .iter()
                .map(|d| Operation {
                    name: d.name.clone(),
                    input: lookup(d.input),
                    output: lookup(d.output),
                    kind: match (d.kind, d.other) {
                        (Kind::Add(_, scales, epilogue), Some(other)) => {
                            Kind::Add(lookup(other), scales, epilogue)
                        }
                        (Kind::Gate(_, scale), Some(other)) => Kind::Gate(lookup(other), scale),
                        (kind, _) => kind,
                    },
                })
                .collect(),
            arena_bytes,
        }
    }

    fn view(&self, t: usize, place: Place) -> View {
        let t = &self.tensors[t];
        View {
            place,
            channels: t.channels,
            height: t.height,
            width: t.width,
            border: t.border,
            image: t.input.is_some() && t.channels <= 4,
            zero_point: t.unsigned_zero(),
        }
    }
}

/// A row of weights `[channels, taps]` with each channel where its lane is.
fn spread(row: &[i8], taps: usize, lanes: &[u16], count: usize) -> Vec<i8> {
    let mut wide = vec![0; count * taps];
    for (channel, &lane) in row.chunks_exact(taps).zip(lanes) {
        wide[usize::from(lane) * taps..][..taps].copy_from_slice(channel);
    }
    wide
}

/// A node's window, the size of what it makes of `x`, and the widest of its four paddings.
fn window(
    node: &NodeProto,
    [rows, columns]: [i64; 2],
    x: &Tensor,
) -> Result<(Window, [u32; 2], u32), LowerError> {
    let dilated = attribute_ints(node, "dilations", &[1, 1])
        .iter()
        .any(|&d| d != 1);
    if dilated || attribute_string(node, "auto_pad", "NOTSET") != "NOTSET" {
        return refuse(
            &node.name,
            "a dilated or automatically padded window is not lowered",
        );
    }
    let stride = attribute_ints(node, "strides", &[1, 1]);
    let pads = attribute_ints(node, "pads", &[0, 0, 0, 0]);
    let (&[sy, sx], &[top, left, bottom, right]) = (stride.as_slice(), pads.as_slice()) else {
        return refuse(&node.name, format!("strides {stride:?}, pads {pads:?}"));
    };
    let sane = [rows, columns, sy, sx]
        .iter()
        .all(|n| (1..=4096).contains(n))
        && pads.iter().all(|p| (0..=8).contains(p));
    let side = |size: u32, before: i64, after: i64, k: i64, s: i64| {
        (i64::from(size) + before + after - k).div_euclid(s) + 1
    };
    let size = [
        side(x.height, top, bottom, rows, sy.max(1)),
        side(x.width, left, right, columns, sx.max(1)),
    ];
    if !sane || size.iter().any(|&n| n < 1) {
        return refuse(
            &node.name,
            format!(
                "kernel {rows}×{columns}, strides {stride:?}, pads {pads:?} over {} × {}",
                x.height, x.width
            ),
        );
    }
    let pair = |a: i64, b: i64| [a as u32, b as u32];
    let window = Window {
        kernel: pair(rows, columns),
        stride: pair(sy, sx),
        pad: pair(top, left),
    };
    let widest = pads.iter().copied().max().unwrap_or(0);
    Ok((window, size.map(|n| n as u32), widest as u32))
}

fn new_tensor(
    name: &str,
    [channels, height, width]: [u32; 3],
    scale: f32,
    zero_point: i8,
) -> Tensor {
    Tensor {
        name: name.to_owned(),
        channels,
        height,
        width,
        scale,
        zero_point,
        border: 0,
        input: None,
        output: None,
        within: None,
        first: 0,
        last: 0,
    }
}

/// Element type and `[C, H, W]` of a graph input of shape `[1, C, H, W]`.
fn type_of(info: &tract_onnx::pb::ValueInfoProto) -> Result<(i32, [u32; 3]), LowerError> {
    let Some(type_proto::Value::TensorType(t)) =
        info.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return refuse(&info.name, "is not a tensor");
    };
    let dims: Vec<i64> = t
        .shape
        .iter()
        .flat_map(|s| &s.dim)
        .map(|d| match d.value {
            Some(dimension::Value::DimValue(n)) => n,
            _ => 0,
        })
        .collect();
    match dims.as_slice() {
        &[1, c, h, w] if [c, h, w].iter().all(|n| (1..=4096).contains(n)) => {
            Ok((t.elem_type, [c, h, w].map(|n| n as u32)))
        }
        _ => refuse(
            &info.name,
            format!("has shape {dims:?}; [1, C, H, W] with fixed sizes is lowered"),
        ),
    }
}
