//! From a QDQ graph to an int8 program.
//!
//! | ONNX between two Q/DQ pairs | becomes |
//! |---|---|
//! | `Conv` (dense), `Conv`+`Relu` | one convolution; ReLU is the lower clamp |
//! | `Concat` over channels | nothing: its inputs are written next to each other; a copy for one that is in two |
//! | `Resize` nearest × 2 | one copy |
//!
//! A quantised graph input (s8) or output stays in planes, because another program makes or reads it; a dequantised output
//! leaves as s8 `[h, w, c]` with its scale, because a stage of the runtime reads it.
//!
//! Any other operator is refused by name. Mixed graphs, where tract would run float operators between programs, are not
//! lowered yet: no network of ours has one.

use std::collections::HashMap;

use tract_onnx::pb::{
    GraphProto, NodeProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
};

use super::{
    plan::{ALIGN, Buffer, place},
    program::{ConvWeights, Form, Kind, Operation, Place, Port, Program, View},
    qdq::{
        LowerError, Qdq, attribute_int, attribute_ints, attribute_string, floats, integers, refuse,
    },
};
use crate::kernels::layout::{KernelShape, LANE, bias_s8, pack_weights};

#[cfg(test)]
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

    fn put(&mut self, part: &[u8]) -> u32 {
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

struct Draft {
    name: String,
    input: usize,
    output: usize,
    kind: Kind,
}

struct Lowering<'a> {
    graph: &'a GraphProto,
    qdq: Qdq<'a>,
    tensors: Vec<Tensor>,
    /// Tensors by the name of their quantised form.
    by_name: HashMap<&'a str, usize>,
    drafts: Vec<Draft>,
    weights: &'a mut WeightsWriter,
}

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
                "DequantizeLinear" | "Constant" | "Identity" | "Conv" | "Relu" | "Concat"
                | "Resize" => {}
                other => return refuse(&node.name, format!("operator {other} is not lowered")),
            }
        }
        let outputs = self.outputs()?;
        Ok(self.finish(&outputs))
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
        self.by_name.insert(key, self.tensors.len());
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
        let relu = source.op_type == "Relu";
        if relu {
            source = match self.qdq.producer(&source.input[0]) {
                Some(n) if n.op_type == "Conv" => n,
                _ => return refuse(&source.name, "Relu of something else than a convolution"),
            };
        }
        match source.op_type.as_str() {
            "Conv" => self.conv(source, key, parameters, relu),
            "Concat" => self.concat(source, key, parameters),
            "Resize" => self.resize(source, key, parameters),
            // quantised twice, as exporters do for a tensor that is also an output
            "Identity" | "DequantizeLinear" => self.alias(source, key, parameters),
            other => refuse(
                &source.name,
                format!("operator {other} between quantised tensors is not lowered"),
            ),
        }
    }

    /// The tensor behind the dequantised input `i` of a node.
    fn input(&self, node: &NodeProto, i: usize) -> Result<usize, LowerError> {
        let Some(name) = node.input.get(i) else {
            return refuse(&node.name, format!("has no input {i}"));
        };
        let dequantized = match self.qdq.producer(name) {
            Some(n) if n.op_type == "DequantizeLinear" => self.by_name.get(n.input[0].as_str()),
            _ => None,
        };
        match dequantized {
            Some(&t) => Ok(t),
            None => refuse(
                &node.name,
                format!("input {name} is not a dequantised activation"),
            ),
        }
    }

    fn define(
        &mut self,
        key: &'a str,
        node: &NodeProto,
        shape: [u32; 3],
        (scale, zero_point): (f32, i8),
    ) -> usize {
        let mut tensor = new_tensor(&node.name, shape, scale, zero_point);
        tensor.first = self.drafts.len() as u32;
        tensor.last = tensor.first;
        self.by_name.insert(key, self.tensors.len());
        self.tensors.push(tensor);
        self.tensors.len() - 1
    }

    fn conv(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
        relu: bool,
    ) -> Result<(), LowerError> {
        let input = self.input(node, 0)?;
        let (weights, weight_q) = self.qdq.dequantised_constant(&node.input[1])?;
        let &[out, inputs, rows, columns] = weights.dims.as_slice() else {
            return refuse(&node.name, format!("weights of shape {:?}", weights.dims));
        };
        let x = &self.tensors[input];
        let auto_pad = attribute_string(node, "auto_pad", "NOTSET");
        if attribute_int(node, "group", 1) != 1 || inputs != i64::from(x.channels) {
            return refuse(
                &node.name,
                format!(
                    "{inputs} inputs per output of {} channels: only dense convolution is lowered",
                    x.channels
                ),
            );
        }
        if attribute_ints(node, "dilations", &[1, 1])
            .iter()
            .any(|&d| d != 1)
            || auto_pad != "NOTSET"
        {
            return refuse(
                &node.name,
                "dilated or automatically padded convolution is not lowered",
            );
        }
        let stride = attribute_ints(node, "strides", &[1, 1]);
        let pads = attribute_ints(node, "pads", &[0, 0, 0, 0]);
        let (&[sy, sx], &[top, left, bottom, right]) = (stride.as_slice(), pads.as_slice()) else {
            return refuse(&node.name, format!("strides {stride:?}, pads {pads:?}"));
        };
        if [out, rows, columns, sy, sx]
            .iter()
            .any(|n| !(1..=4096).contains(n))
            || pads.iter().any(|p| !(0..=8).contains(p))
        {
            return refuse(
                &node.name,
                format!(
                    "{out} outputs, kernel {rows}×{columns}, strides {stride:?}, pads {pads:?}"
                ),
            );
        }
        let side = |size: u32, before: i64, after: i64, k: i64, s: i64| {
            (i64::from(size) + before + after - k) / s + 1
        };
        let shape = [
            out,
            side(x.height, top, bottom, rows, sy),
            side(x.width, left, right, columns, sx),
        ]
        .map(|n| n as u32);
        if shape[1] == 0 || shape[2] == 0 {
            return refuse(&node.name, "an empty output");
        }
        let (in_scale, in_zero) = (x.scale, i64::from(x.zero_point) + 128);
        let image = x.input.is_some() && x.channels <= 4;
        let kernel = KernelShape {
            out_channels: out as usize,
            in_channels: inputs as usize,
            height: rows as usize,
            width: columns as usize,
            image,
        };

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
        let per_channel = |c: usize| weight_q.scales[c % weight_q.scales.len()];
        if weight_q.scales.len() != 1 && weight_q.scales.len() != out as usize {
            return refuse(
                &node.name,
                format!("{} weight scales for {out} channels", weight_q.scales.len()),
            );
        }

        // biases: in units of the products, moved to unsigned activations
        let biases = match node.input.get(2).filter(|n| !n.is_empty()) {
            None => vec![0; out as usize],
            Some(name) => {
                let (bias, bias_q) = self.qdq.dequantised_constant(name)?;
                for c in 0..out as usize {
                    let (s, product) = (
                        bias_q.scales[c % bias_q.scales.len()],
                        in_scale * per_channel(c),
                    );
                    if (s - product).abs() > 1e-5 * product {
                        return refuse(
                            &node.name,
                            format!(
                                "bias scale {s} of channel {c} is not input × weight scale {product}"
                            ),
                        );
                    }
                }
                integers(bias)?
            }
        };
        if biases.len() != out as usize {
            return refuse(
                &node.name,
                format!("{} biases for {out} channels", biases.len()),
            );
        }
        let padded = kernel.out_blocks() * LANE;
        let (mut bias, mut scale) = (vec![0i32; padded], vec![1f32; padded]);
        for (c, w) in values.chunks_exact(values.len() / out as usize).enumerate() {
            let sum: i64 = w.iter().map(|&w| i64::from(w)).sum();
            let reach: i64 = w.iter().map(|&w| i64::from(w).abs() * 255).sum();
            let b = i64::from(biases[c]) - in_zero * sum;
            if b.abs() + reach + 128 * sum.abs() > i64::from(i32::MAX) {
                return refuse(
                    &node.name,
                    format!("channel {c} can overflow 32 bits (bias {b})"),
                );
            }
            bias[c] = b as i32;
            scale[c] = in_scale * per_channel(c) / parameters.0;
        }
        let packed = pack_weights(&values, &kernel);
        let signed = bias_s8(&packed, &bias);
        let constants = ConvWeights {
            weights: self.weights.put(bytemuck::cast_slice(&packed)),
            bias: self.weights.put(bytemuck::cast_slice(&bias)),
            bias_s8: self.weights.put(bytemuck::cast_slice(&signed)),
            scale: self.weights.put(bytemuck::cast_slice(&scale)),
        };
        let x = &mut self.tensors[input];
        x.border = pads.iter().fold(x.border, |b, &p| b.max(p as u32));
        let output = self.define(key, node, shape, parameters);
        let low = if relu {
            self.tensors[output].unsigned_zero()
        } else {
            0
        };
        self.push(
            node,
            input,
            output,
            Kind::Conv {
                kernel: [rows as u32, columns as u32],
                stride: [sy as u32, sx as u32],
                pad: [top as u32, left as u32],
                constants,
                clamp: [low, 255],
            },
        );
        Ok(())
    }

    fn push(&mut self, node: &NodeProto, input: usize, output: usize, kind: Kind) {
        self.tensors[input].last = self.drafts.len() as u32;
        self.drafts.push(Draft {
            name: node.name.clone(),
            input,
            output,
            kind,
        });
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
                Some(&t) => t,
                None => return refuse(&node.name, "dequantises something that was not lowered"),
            },
        };
        let t = &self.tensors[known];
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
        let Tensor { height, width, .. } = self.tensors[parts[0]];
        let channels = parts.iter().map(|&p| self.tensors[p].channels).sum();
        let whole = self.define(key, node, [channels, height, width], parameters);
        let mut plane = 0;
        for part in parts {
            let t = &self.tensors[part];
            if (t.scale, t.zero_point) != parameters {
                return refuse(
                    &node.name,
                    format!(
                        "input {} has scale {} and zero point {}, the output {} and {}: quantise them alike",
                        t.name, t.scale, t.zero_point, parameters.0, parameters.1
                    ),
                );
            }
            if !t.channels.is_multiple_of(LANE as u32) {
                return refuse(
                    &node.name,
                    format!(
                        "input {} of {} channels is not whole planes of sixteen",
                        t.name, t.channels
                    ),
                );
            }
            let blocks = t.blocks();
            let taken = t.within.is_some() || t.input.is_some();
            let slice = if taken { self.copy(node, part) } else { part };
            self.tensors[slice].within = Some((whole, plane));
            plane += blocks;
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
        let mut copy = new_tensor(&node.name, [channels, height, width], scale, zero_point);
        copy.first = self.drafts.len() as u32;
        copy.last = copy.first;
        self.tensors.push(copy);
        let output = self.tensors.len() - 1;
        self.push(node, of, output, Kind::Copy);
        output
    }

    fn resize(
        &mut self,
        node: &'a NodeProto,
        key: &'a str,
        parameters: (f32, i8),
    ) -> Result<(), LowerError> {
        let input = self.input(node, 0)?;
        let scales = match node.input.get(2).filter(|n| !n.is_empty()) {
            Some(name) => floats(self.qdq.constant(name)?)?,
            None => Vec::new(),
        };
        let mode = attribute_string(node, "mode", "nearest");
        if mode != "nearest" || scales != [1.0, 1.0, 2.0, 2.0] {
            return refuse(
                &node.name,
                format!("resizes ({mode}) by {scales:?}; nearest by [1, 1, 2, 2] is lowered"),
            );
        }
        let x = &self.tensors[input];
        if (x.scale, x.zero_point) != parameters {
            return refuse(
                &node.name,
                "changes the scale: quantise input and output alike",
            );
        }
        let shape = [x.channels, 2 * x.height, 2 * x.width];
        let output = self.define(key, node, shape, parameters);
        self.push(node, input, output, Kind::Upsample);
        Ok(())
    }

    /// The tensors that leave, with the form in which they do.
    fn outputs(&mut self) -> Result<Vec<(String, usize, Form)>, LowerError> {
        let end = self.drafts.len() as u32;
        let mut outputs = Vec::new();
        for output in &self.graph.output {
            let name = output.name.as_str();
            let (tensor, form) = match (self.by_name.get(name), self.qdq.producer(name)) {
                (Some(&t), _) => (t, Form::Planes),
                (None, Some(n)) if n.op_type == "DequantizeLinear" => {
                    match self.by_name.get(n.input[0].as_str()) {
                        Some(&t) => (t, Form::Nhwc),
                        None => return refuse(name, "dequantises something that was not lowered"),
                    }
                }
                _ => return refuse(name, "this output is neither quantised nor dequantised"),
            };
            let t = &mut self.tensors[tensor];
            t.last = end;
            if form == Form::Planes {
                t.border = t.border.max(1);
            }
            outputs.push((name.to_owned(), tensor, form));
        }
        Ok(outputs)
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

    fn finish(mut self, outputs: &[(String, usize, Form)]) -> Program {
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
            .filter(|&t| self.tensors[t].within.is_none() && self.tensors[t].input.is_none())
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
            self.view(t, Place::Arena(at[&root] + plane * plane_bytes))
        };
        let port = |name: &str, t: usize, form: Form| Port {
            name: name.to_owned(),
            view: lookup(t),
            form,
            scale: self.tensors[t].scale,
            zero_point: self.tensors[t].zero_point,
        };
        let is_input = |t: &usize| self.tensors[*t].input.is_some();
        Program {
            inputs: (0..self.tensors.len())
                .filter(is_input)
                .map(|t| port(&self.tensors[t].name, t, Form::Planes))
                .collect(),
            outputs: outputs
                .iter()
                .map(|(name, t, form)| port(name, *t, *form))
                .collect(),
            operations: self
                .drafts
                .iter()
                .map(|d| Operation {
                    name: d.name.clone(),
                    input: lookup(d.input),
                    output: lookup(d.output),
                    kind: d.kind,
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
