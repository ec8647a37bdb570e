//! A tensor times one value per channel.

use tract_onnx::pb::{GraphProto, tensor_proto::DataType};

use super::{
    builder::{Builder, picture, run},
    convolution::{IN, OUT},
};

const GATE: (f32, i8) = (0.01, -3);

/// A tensor times the mean of each of its channels, and what is quantised at the end.
pub(super) fn gated(second: &str) -> GraphProto {
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
