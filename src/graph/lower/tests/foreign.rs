//! Operators of foreign networks, against the same graph computed in real numbers.

use tract_onnx::pb::tensor_proto::DataType;

use super::builder::{Builder, run};

/// Real values `[channels, height, width]`, for computing a graph plainly.
#[derive(Clone)]
pub(super) struct Real {
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
pub(super) const Q: (f32, i8) = (0.125, -3);
const WEIGHT: f32 = 1.0 / 64.0;

impl Builder {
    /// A convolution with weights that look random; returns its name and how it is computed
    /// plainly.
    pub(super) fn convolution(
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

    // both side by side, shuffled, and half of them taken: lanes that are followed, and a
    // permutation
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

    // a sum with one that has other lanes, ReLU, the greatest of each window, SiLU behind a
    // convolution
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
