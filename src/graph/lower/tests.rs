//! Small QDQ graphs, made here, against convolution written plainly; and graphs that must be refused by name.

use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use super::*;
use crate::{
    graph::program::{Executor, nhwc_from_planes},
    kernels::isa::Isa,
};

/// A graph under construction; every helper returns the name of what it made.
#[derive(Default)]
struct Builder(GraphProto);

impl Builder {
    fn info(name: &str, kind: DataType, shape: &[i64]) -> ValueInfoProto {
        let dim = |&n: &i64| tensor_shape_proto::Dimension {
            value: Some(tensor_shape_proto::dimension::Value::DimValue(n)),
            ..Default::default()
        };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: kind as i32,
                    shape: Some(TensorShapeProto {
                        dim: shape.iter().map(dim).collect(),
                    }),
                })),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn input(&mut self, name: &str, kind: DataType, shape: &[i64]) -> String {
        self.0.input.push(Self::info(name, kind, shape));
        name.to_owned()
    }

    fn constant(&mut self, name: &str, kind: DataType, dims: &[i64], raw: Vec<u8>) -> String {
        self.0.initializer.push(TensorProto {
            name: name.to_owned(),
            data_type: kind as i32,
            dims: dims.to_vec(),
            raw_data: raw,
            ..Default::default()
        });
        name.to_owned()
    }

    fn node(&mut self, kind: &str, name: &str, input: &[&str], ints: &[(&str, &[i64])]) -> String {
        self.0.node.push(NodeProto {
            name: name.to_owned(),
            op_type: kind.to_owned(),
            input: input.iter().map(|&i| i.to_owned()).collect(),
            output: vec![format!("{name}_out")],
            attribute: ints
                .iter()
                .map(|(name, values)| AttributeProto {
                    name: (*name).to_owned(),
                    ints: values.to_vec(),
                    i: values[0],
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        format!("{name}_out")
    }

    /// `QuantizeLinear` and `DequantizeLinear` of an activation.
    fn qdq(&mut self, tensor: &str, scale: f32, zero: i8) -> String {
        let s = self.constant(
            &format!("{tensor}_s"),
            DataType::Float,
            &[],
            scale.to_le_bytes().into(),
        );
        let z = self.constant(
            &format!("{tensor}_z"),
            DataType::Int8,
            &[],
            vec![zero.cast_unsigned()],
        );
        let q = self.node(
            "QuantizeLinear",
            &format!("{tensor}_q"),
            &[tensor, &s, &z],
            &[],
        );
        self.node(
            "DequantizeLinear",
            &format!("{tensor}_dq"),
            &[&q, &s, &z],
            &[],
        )
    }

    /// A dequantised constant with a scale per channel.
    fn dequantised(
        &mut self,
        name: &str,
        kind: DataType,
        dims: &[i64],
        raw: Vec<u8>,
        scales: &[f32],
    ) -> String {
        let w = self.constant(name, kind, dims, raw);
        let raw = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
        let s = self.constant(
            &format!("{name}_s"),
            DataType::Float,
            &[scales.len() as i64],
            raw,
        );
        self.node(
            "DequantizeLinear",
            &format!("{name}_dq"),
            &[&w, &s],
            &[("axis", &[0])],
        )
    }
}

const IN: (f32, i8) = (0.05, -11);
const OUT: (f32, i8) = (0.4, 7);

/// No activation: a slope of one.
const NOTHING: (&str, f32) = ("", 1.0);

/// Weights and biases that reach most bytes of the output.
fn parameters(out: usize, inputs: usize, k: usize) -> (Vec<i8>, Vec<i32>, Vec<f32>) {
    let weights = (0..out * inputs * k * k).map(|i| ((i * 37 + i / 5 * 11) % 255) as i32 - 127);
    let biases = (0..out)
        .map(|c| (c as i32 * 997) % 20_011 - 9_000)
        .collect();
    let scales = (0..out).map(|c| 0.001 + c as f32 * 0.0003).collect();
    (weights.map(|w| w as i8).collect(), biases, scales)
}

/// A graph of one convolution `[32, 7, 9]` -> `[16, …]`, its weights as given, and an activation of this kind and slope.
fn one_convolution(
    weights: &[i8],
    activation: (&str, f32),
    attributes: &[(&str, &[i64])],
) -> GraphProto {
    let mut b = Builder::default();
    let (_, biases, scales) = parameters(16, 32, 3);
    let x = b.input("x", DataType::Float, &[1, 32, 7, 9]);
    let x = b.qdq(&x, IN.0, IN.1);
    let raw = weights.iter().map(|w| w.cast_unsigned()).collect();
    let w = b.dequantised("w", DataType::Int8, &[16, 32, 3, 3], raw, &scales);
    let raw = biases.iter().flat_map(|b| b.to_le_bytes()).collect();
    let products: Vec<f32> = scales.iter().map(|s| s * IN.0).collect();
    let bias = b.dequantised("b", DataType::Int32, &[16], raw, &products);
    let mut y = b.node("Conv", "conv", &[&x, &w, &bias], attributes);
    y = match activation {
        ("", _) => y,
        ("LeakyRelu", slope) => {
            let y = b.node("LeakyRelu", "leaky", &[&y], &[]);
            let node = b.0.node.last_mut().expect("just pushed");
            node.attribute.push(AttributeProto {
                name: "alpha".to_owned(),
                f: slope,
                ..Default::default()
            });
            y
        }
        ("PRelu", slope) => {
            let raw = slope.to_le_bytes().into();
            let slope = b.constant("slope", DataType::Float, &[1, 1, 1], raw);
            b.node("PRelu", "leaky", &[&y, &slope], &[])
        }
        (kind, _) => b.node(kind, "activation", &[&y], &[]),
    };
    let y = b.qdq(&y, OUT.0, OUT.1);
    b.0.output.push(Builder::info(&y, DataType::Float, &[]));
    b.0
}

/// Lowers, runs on every level, and returns the output as signed bytes `[h, w, c]`.
fn run(graph: &GraphProto, x: &[i8]) -> Vec<i8> {
    let mut weights = WeightsWriter::default();
    let program = lower(graph, &mut weights).expect("a graph that is lowered");
    let program =
        Program::from_bytes(&program.to_bytes().expect("bytes")).expect("the same program");
    // as in the map, constants start on whole cache lines
    let words: Vec<u64> = weights
        .bytes()
        .chunks(8)
        .map(|c| {
            let mut word = [0; 8];
            word[..c.len()].copy_from_slice(c);
            u64::from_ne_bytes(word)
        })
        .collect();
    let section: &[u8] = bytemuck::cast_slice(&words);
    let view = program.inputs[0].view;
    let planes = view.planes();
    let mut input = vec![view.zero_point; view.bytes()];
    for (c, channel) in x.chunks(planes.height * planes.width).enumerate() {
        for (i, q) in channel.iter().enumerate() {
            let (row, column) = (i / planes.width, i % planes.width);
            let at = c / LANE * planes.bytes()
                + planes.origin()
                + row * planes.row_bytes()
                + column * LANE
                + c % LANE;
            input[at] = q.cast_unsigned() ^ 0x80;
        }
    }
    let mut results = Vec::new();
    for isa in Isa::available() {
        let mut executor = Executor::new(program.clone(), section).expect("a valid program");
        let last = program.operations.len() - 1;
        let (mut found, mut outputs) = (Vec::new(), executor.outputs());
        executor.run(
            isa,
            1,
            section,
            &[&input],
            &mut [&mut outputs[0]],
            |i, y| {
                if i == last {
                    found.extend_from_slice(y);
                }
            },
        );
        assert_eq!(
            outputs[0], found,
            "the output is what the last operation wrote"
        );
        let view = &program.outputs[0].view;
        let mut output = vec![0; view.values()];
        nhwc_from_planes(view, &outputs[0], &mut output);
        results.push(bytemuck::cast_slice(&output).to_vec());
    }
    assert!(results.windows(2).all(|r| r[0] == r[1]), "levels differ");
    results.swap_remove(0)
}

/// The same convolution, what lies below zero times `slope`, quantised at the end.
fn plainly(x: &[i8], weights: &[i8], slope: f32, stride: usize, pad: usize) -> Vec<i8> {
    let (_, biases, scales) = parameters(16, 32, 3);
    let (h, w) = (7, 9);
    let side = |n: usize| (n + 2 * pad - 3) / stride + 1;
    let mut out = Vec::new();
    for oy in 0..side(h) {
        for ox in 0..side(w) {
            for c in 0..16 {
                let mut sum = i64::from(biases[c]);
                for (i, tap) in (0..32).flat_map(|i| (0..9).map(move |t| (i, t))) {
                    let (y, x_) = (
                        (oy * stride + tap / 3).wrapping_sub(pad),
                        (ox * stride + tap % 3).wrapping_sub(pad),
                    );
                    if y < h && x_ < w {
                        let q = i64::from(x[(i * h + y) * w + x_]) - i64::from(IN.1);
                        sum += q * i64::from(weights[(c * 32 + i) * 9 + tap]);
                    }
                }
                let real = sum as f32 * (IN.0 * scales[c] / OUT.0);
                let real = if real < 0.0 { slope * real } else { real };
                let low = -128.0 - f32::from(OUT.1);
                out.push(
                    (real.clamp(low, 127.0 - f32::from(OUT.1)).round_ties_even() + f32::from(OUT.1))
                        as i8,
                );
            }
        }
    }
    out
}

fn picture() -> Vec<i8> {
    (0..32 * 63)
        .map(|i| ((i * 73 + i / 7) % 256) as u8 as i8)
        .collect()
}

#[test]
fn a_convolution_equals_one_written_plainly() {
    let (weights, x) = (parameters(16, 32, 3).0, picture());
    for (activation, stride, pad) in [
        (NOTHING, 1, 1),
        (("Relu", 0.0), 1, 1),
        (("Relu", 0.0), 2, 1),
        (NOTHING, 2, 0),
        (("Relu", 0.0), 1, 2),
        (("LeakyRelu", 0.1), 1, 1),
        (("LeakyRelu", 0.0), 2, 0),
        (("LeakyRelu", 1.0), 2, 0),
        (("PRelu", 0.35), 2, 1),
    ] {
        let (s, p) = (stride as i64, pad as i64);
        let graph = one_convolution(
            &weights,
            activation,
            &[("strides", &[s, s]), ("pads", &[p, p, p, p])],
        );
        let found = run(&graph, &x);
        assert_eq!(
            found,
            plainly(&x, &weights, activation.1, stride, pad),
            "{activation:?}, stride {stride}, padding {pad}"
        );
        assert!(
            found.iter().max() > found.iter().min(),
            "a constant output proves nothing"
        );
    }
}

/// `[32, 7, 9]`: the input twice and upsampled twice, side by side and inside one another.
fn nested_concatenations() -> GraphProto {
    let mut b = Builder::default();
    let x = b.input("x", DataType::Float, &[1, 32, 7, 9]);
    let x = b.qdq(&x, IN.0, IN.1);
    let scales = b.constant(
        "up",
        DataType::Float,
        &[4],
        [1f32, 1.0, 2.0, 2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
    );
    let up = b.node("Resize", "resize", &[&x, "", &scales], &[]);
    let up = b.qdq(&up, IN.0, IN.1);
    let first = b.node("Concat", "first", &[&up, &up], &[("axis", &[1])]);
    let first = b.qdq(&first, IN.0, IN.1);
    let second = b.node("Concat", "second", &[&up, &first], &[("axis", &[1])]);
    let second = b.qdq(&second, IN.0, IN.1);
    b.0.output
        .push(Builder::info(&second, DataType::Float, &[]));
    b.0
}

#[test]
fn a_tensor_that_is_in_two_concatenations_is_copied_and_nothing_else_moves() {
    let x = picture();
    let graph = nested_concatenations();
    let program = lower(&graph, &mut WeightsWriter::default()).expect("a graph that is lowered");
    let copies = program
        .operations
        .iter()
        .filter(|op| op.kind == Kind::Copy)
        .count();
    assert_eq!(
        (program.operations.len(), copies),
        (3, 2),
        "one upsampling, two copies"
    );
    let found = {
        let view = program.outputs[0].view;
        assert_eq!(view.tensor_shape(), [6, 14, 18, 16]);
        let output = view;
        let mut executor = Executor::new(program.clone(), &[]).expect("a valid program");
        let view = program.inputs[0].view;
        let planes = view.planes();
        let mut input = vec![view.zero_point; view.bytes()];
        for (i, q) in x.iter().enumerate() {
            let (c, p) = (i / 63, i % 63);
            let at = c / LANE * planes.bytes()
                + planes.origin()
                + p / 9 * planes.row_bytes()
                + p % 9 * LANE
                + c % LANE;
            input[at] = q.cast_unsigned() ^ 0x80;
        }
        let mut outputs = executor.outputs();
        executor.run(
            Isa::best(),
            1,
            &[],
            &[&input],
            &mut [&mut outputs[0]],
            |_, _| (),
        );
        let mut out = vec![0; 14 * 18 * 96];
        nhwc_from_planes(&output, &outputs[0], &mut out);
        out
    };
    for (i, &byte) in found.iter().enumerate() {
        let (pixel, c) = (i / 96, i % 96);
        let (y, x_) = (pixel / 18 / 2, pixel % 18 / 2);
        assert_eq!(
            byte.cast_signed(),
            x[(c % 32 * 7 + y) * 9 + x_],
            "pixel {pixel}, channel {c}"
        );
    }
}

#[test]
fn what_is_not_lowered_is_refused_by_name() {
    let weights = parameters(16, 32, 3).0;
    let refused = |graph: &GraphProto| {
        lower(graph, &mut WeightsWriter::default())
            .expect_err("refused")
            .to_string()
    };
    let pads: (&str, &[i64]) = ("pads", &[1, 1, 1, 1]);

    let mut graph = one_convolution(&weights, NOTHING, &[pads]);
    graph.node.push(NodeProto {
        name: "odd one".into(),
        op_type: "Softmax".into(),
        ..Default::default()
    });
    assert_eq!(
        refused(&graph),
        "cannot lower odd one: operator Softmax is not lowered"
    );

    let message = refused(&one_convolution(
        &weights,
        NOTHING,
        &[pads, ("dilations", &[2, 2])],
    ));
    assert!(
        message.contains("conv") && message.contains("dilated"),
        "{message}"
    );
    let message = refused(&one_convolution(
        &weights,
        NOTHING,
        &[pads, ("group", &[32])],
    ));
    assert!(
        message.contains("dense and depthwise convolution"),
        "{message}"
    );

    for (kind, slope) in [("LeakyRelu", 1.5), ("LeakyRelu", -0.1), ("PRelu", f32::NAN)] {
        let message = refused(&one_convolution(&weights, (kind, slope), &[pads]));
        assert!(
            message.contains(&format!("a slope of {slope}")),
            "{message}"
        );
    }
    let mut graph = one_convolution(&weights, ("PRelu", 0.5), &[pads]);
    let slope = graph.initializer.iter_mut().find(|t| t.name == "slope");
    let slope = slope.expect("a slope");
    slope.dims[0] = 2;
    slope.raw_data.extend(0.25f32.to_le_bytes());
    let message = refused(&graph);
    assert!(message.contains("2 slopes"), "{message}");

    let mut extreme = weights.clone();
    extreme[40] = -128;
    let message = refused(&one_convolution(&extreme, NOTHING, &[pads]));
    assert!(message.contains("weight -128"), "{message}");

    let mut graph = one_convolution(&weights, NOTHING, &[pads]);
    let bias_scale = graph
        .initializer
        .iter_mut()
        .find(|t| t.name == "b_s")
        .expect("a scale");
    bias_scale.raw_data[3] ^= 1;
    let message = refused(&graph);
    assert!(message.contains("is not input × weight scale"), "{message}");

    let mut graph = one_convolution(&weights, NOTHING, &[pads]);
    graph.initializer.retain(|t| t.name != "w");
    assert_eq!(refused(&graph), "cannot lower w: is not a constant");

    let mut graph = nested_concatenations();
    let scale = graph
        .initializer
        .iter_mut()
        .find(|t| t.name == "second_out_s")
        .expect("a scale");
    scale.raw_data = 0.06f32.to_le_bytes().into();
    let message = refused(&graph);
    assert!(
        message.contains("second") && message.contains("quantise them alike"),
        "{message}"
    );
}

/// Real values `[channels, height, width]`, for computing a graph plainly.
#[derive(Clone)]
struct Real {
    shape: [usize; 3],
    values: Vec<f64>,
}

impl Real {
    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let values = self.values.iter().map(|&v| f(v)).collect();
        Self { values, ..*self }
    }

    /// As a tensor of signed bytes and back.
    fn quantised(&self, (scale, zero): (f32, i8)) -> Self {
        let zero = f64::from(zero);
        self.map(|v| {
            let q = (v / f64::from(scale)).round_ties_even() + zero;
            (q.clamp(-128.0, 127.0) - zero) * f64::from(scale)
        })
    }

    fn at(&self, c: usize, y: isize, x: isize) -> Option<f64> {
        let [_, h, w] = self.shape;
        let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
        inside.then(|| self.values[(c * h + y as usize) * w + x as usize])
    }

    fn of(shape: [usize; 3], f: impl Fn(usize, isize, isize) -> f64) -> Self {
        let [c, h, w] = shape;
        let places = (0..c).flat_map(|c| (0..h * w).map(move |i| (c, i / w, i % w)));
        let values = places
            .map(|(c, y, x)| f(c, y as isize, x as isize))
            .collect();
        Self { shape, values }
    }

    fn channels(&self, order: &[usize]) -> Self {
        let [_, h, w] = self.shape;
        Self::of([order.len(), h, w], |c, y, x| {
            self.at(order[c], y, x).expect("inside")
        })
    }
}

/// Scales are powers of two, so that nothing is rounded but where the graph says so.
const Q: (f32, i8) = (0.125, -3);
const WEIGHT: f32 = 1.0 / 64.0;

impl Builder {
    /// A convolution with weights that look random; returns its name and how it is computed plainly.
    fn convolution(
        &mut self,
        name: &str,
        x: &str,
        shape: [i64; 4],
        group: i64,
    ) -> (String, impl Fn(&Real) -> Real + use<>) {
        let [out, inputs, k, _] = shape.map(|n| n as usize);
        let count = out * inputs * k * k;
        let weights: Vec<i8> = (0..count)
            .map(|i| ((i * 89 + name.len() * 7 + i / 3) % 61) as i8 - 30)
            .collect();
        let raw = weights.iter().map(|w| w.cast_unsigned()).collect();
        let w = self.dequantised(&format!("{name}_w"), DataType::Int8, &shape, raw, &[WEIGHT]);
        let pad = (k / 2) as i64;
        let y = self.node(
            "Conv",
            name,
            &[x, &w],
            &[("pads", &[pad; 4]), ("group", &[group])],
        );
        let plain = move |x: &Real| {
            let [_, h, w] = x.shape;
            let each = out / group as usize;
            Real::of([out, h, w], |c, y, column| {
                let taps = (0..inputs).flat_map(|i| (0..k * k).map(move |t| (i, t)));
                let products = taps.map(|(i, t)| {
                    let (dy, dx) = (
                        (t / k) as isize - pad as isize,
                        (t % k) as isize - pad as isize,
                    );
                    let value = x
                        .at(c / each * inputs + i, y + dy, column + dx)
                        .unwrap_or(0.0);
                    value * f64::from(weights[(c * inputs + i) * k * k + t]) * f64::from(WEIGHT)
                });
                products.sum()
            })
        };
        (y, plain)
    }
}

#[test]
fn foreign_operators_equal_the_graph_computed_plainly() {
    let (h, w) = (6, 5);
    let mut b = Builder::default();
    let x = b.input("x", DataType::Float, &[1, 32, h as i64, w as i64]);
    let x = b.qdq(&x, Q.0, Q.1);
    let picture: Vec<i8> = (0..32 * h * w)
        .map(|i| ((i * 37 + i / 11) % 61) as i8 - 30)
        .collect();
    let real = picture
        .iter()
        .map(|&q| f64::from((f32::from(q) - f32::from(Q.1)) * Q.0));
    let mut plain = Real {
        shape: [32, h, w],
        values: real.collect(),
    };

    // 24 channels: their second plane is half empty
    let (y, f) = b.convolution("narrow", &x, [24, 32, 1, 1], 1);
    let narrow = b.qdq(&y, Q.0, Q.1);
    plain = f(&plain).quantised(Q);
    let narrow_plain = plain.clone();

    // leaky ReLU behind a depthwise convolution, a table
    let (y, f) = b.convolution("each", &narrow, [24, 1, 3, 3], 24);
    let y = b.qdq(&y, Q.0, Q.1);
    let y = b.node("LeakyRelu", "leaky", &[&y], &[]);
    let each = b.qdq(&y, 0.0625, 5);
    plain = f(&plain)
        .quantised(Q)
        .map(|v| if v < 0.0 { f64::from(0.01f32) * v } else { v });
    plain = plain.quantised((0.0625, 5));

    // both side by side, shuffled, and half of them taken: lanes that are followed, and a permutation
    let (again, f) = b.convolution("again", &each, [24, 24, 1, 1], 1);
    let again = b.qdq(&again, Q.0, Q.1);
    let again_plain = f(&plain).quantised(Q);
    let both = b.node("Concat", "both", &[&again, &narrow], &[("axis", &[1])]);
    let both = b.qdq(&both, Q.0, Q.1);
    let order: Vec<usize> = (0..48).map(|i| i % 2 * 24 + i / 2).collect();
    let half: Vec<usize> = (24..48).collect();
    let mut gathered = both;
    for (name, indices) in [("shuffle", &order), ("half", &half)] {
        let raw = indices
            .iter()
            .flat_map(|&i| (i as i64).to_le_bytes())
            .collect();
        let i = b.constant(
            &format!("{name}_i"),
            DataType::Int64,
            &[indices.len() as i64],
            raw,
        );
        let y = b.node("Gather", name, &[&gathered, &i], &[("axis", &[1])]);
        gathered = b.qdq(&y, Q.0, Q.1);
    }
    let mut joined = again_plain.clone();
    joined.values.extend(&narrow_plain.values);
    joined.shape[0] = 48;
    let gathered_plain = joined.channels(&order).channels(&half);

    // a sum with one that has other lanes, ReLU, the greatest of each window, SiLU behind a convolution
    let y = b.node("Add", "sum", &[&gathered, &again], &[]);
    let y = b.node("Relu", "relu", &[&y], &[]);
    let y = b.qdq(&y, 0.25, -128);
    plain = Real::of([24, h, w], |c, y, x| {
        (gathered_plain.at(c, y, x).expect("inside") + again_plain.at(c, y, x).expect("inside"))
            .max(0.0)
    });
    plain = plain.quantised((0.25, -128));
    let y = b.node(
        "MaxPool",
        "pool",
        &[&y],
        &[("kernel_shape", &[3, 3]), ("pads", &[1; 4])],
    );
    let y = b.qdq(&y, 0.25, -128);
    plain = Real::of([24, h, w], |c, y, x| {
        let window = (0..9).filter_map(|t| plain.at(c, y + t / 3 - 1, x + t % 3 - 1));
        window.fold(f64::MIN, f64::max)
    });
    let (y, f) = b.convolution("last", &y, [16, 24, 1, 1], 1);
    let y = b.qdq(&y, Q.0, Q.1);
    let sigmoid = b.node("Sigmoid", "sigmoid", &[&y], &[]);
    let y = b.node("Mul", "silu", &[&y, &sigmoid], &[]);
    let y = b.qdq(&y, 0.0625, -100);
    plain = f(&plain).quantised(Q).map(|v| v / (1.0 + (-v).exp()));
    b.0.output.push(Builder::info(&y, DataType::Float, &[]));

    let found = run(&b.0, &picture);
    let zero = -100.0;
    for (i, &q) in found.iter().enumerate() {
        let (pixel, c) = (i / 16, i % 16);
        let expected = plain.values[c * h * w + pixel] / 0.0625;
        let expected = (expected.round_ties_even() + zero).clamp(-128.0, 127.0);
        assert_eq!(f64::from(q), expected, "pixel {pixel}, channel {c}");
    }
    let distinct: std::collections::HashSet<_> = found.iter().collect();
    assert!(
        distinct.len() > 20,
        "{} values prove little",
        distinct.len()
    );
}

/// A tensor times the mean of each of its channels, and what is quantised at the end.
fn gated(second: &str) -> GraphProto {
    let mut b = Builder::default();
    let x = b.input("x", DataType::Float, &[1, 32, 7, 9]);
    let x = b.qdq(&x, IN.0, IN.1);
    let mean = b.node("GlobalAveragePool", "mean", &[&x], &[]);
    let mean = b.qdq(&mean, GATE.0, GATE.1);
    let other = if second == "mean" { &mean } else { &x };
    let y = b.node("Mul", "product", &[other, &x], &[]);
    let y = b.qdq(&y, OUT.0, OUT.1);
    b.0.output.push(Builder::info(&y, DataType::Float, &[]));
    b.0
}

const GATE: (f32, i8) = (0.01, -3);

#[test]
fn a_gate_multiplies_every_pixel_of_its_channel() {
    let x = picture();
    let steps = |q: i8| i32::from(q) - i32::from(IN.1);
    let gates = x.chunks(63).map(|channel| {
        let sum: i32 = channel.iter().map(|&q| steps(q)).sum();
        let steps = (sum as f32 * (IN.0 / (63.0 * GATE.0))).round_ties_even();
        steps.clamp(-125.0, 130.0) as i32
    });
    let gates: Vec<i32> = gates.collect();
    let mut expected = Vec::new();
    for pixel in 0..63 {
        for (channel, gate) in x.chunks(63).zip(&gates) {
            let product = (steps(channel[pixel]) * gate) as f32 * (IN.0 * GATE.0 / OUT.0);
            expected.push((product.clamp(-135.0, 120.0).round_ties_even() + 7.0) as i8);
        }
    }
    assert_eq!(run(&gated("mean"), &x), expected);
}

#[test]
fn a_product_of_two_pictures_is_a_function_or_refused() {
    // of a tensor with itself, made by no convolution
    let mut weights = WeightsWriter::default();
    let message = lower(&gated("itself"), &mut weights)
        .expect_err("refused")
        .to_string();
    assert!(message.contains("cannot lower product"), "{message}");
}

#[test]
fn a_function_of_a_tensor_that_is_read_elsewhere_is_refused() {
    let mut b = Builder::default();
    let x = b.input("x", DataType::Float, &[1, 16, 4, 4]);
    let x = b.qdq(&x, Q.0, Q.1);
    let (y, _) = b.convolution("conv", &x, [16, 16, 1, 1], 1);
    let raw = b.qdq(&y, Q.0, Q.1);
    let y = b.node("HardSwish", "swish", &[&raw], &[]);
    let y = b.qdq(&y, Q.0, Q.1);
    let y = b.node("Add", "add", &[&raw, &y], &[]);
    let y = b.qdq(&y, Q.0, Q.1);
    b.0.output.push(Builder::info(&y, DataType::Float, &[]));
    let message = lower(&b.0, &mut WeightsWriter::default())
        .expect_err("refused")
        .to_string();
    assert!(
        message.contains("swish") && message.contains("read elsewhere"),
        "{message}"
    );
}
