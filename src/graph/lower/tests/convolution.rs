//! One convolution and its activation, against arithmetic written plainly.

use tract_onnx::pb::{AttributeProto, GraphProto, tensor_proto::DataType};

use super::builder::{Builder, picture, run};

pub(super) const IN: (f32, i8) = (0.05, -11);
pub(super) const OUT: (f32, i8) = (0.4, 7);

/// No activation: a slope of one.
pub(super) const NOTHING: (&str, f32) = ("", 1.0);

/// Weights and biases that reach most bytes of the output.
pub(super) fn parameters(out: usize, inputs: usize, k: usize) -> (Vec<i8>, Vec<i32>, Vec<f32>) {
    let weights = (0..out * inputs * k * k).map(|i| ((i * 37 + i / 5 * 11) % 255) as i32 - 127);
    let biases = (0..out)
        .map(|c| (c as i32 * 997) % 20_011 - 9_000)
        .collect();
    let scales = (0..out).map(|c| 0.001 + c as f32 * 0.0003).collect();
    (weights.map(|w| w as i8).collect(), biases, scales)
}

/// A graph of one convolution `[32, 7, 9]` -> `[16, …]`, its weights as given, and an activation of
/// this kind and slope.
pub(super) fn one_convolution(
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
