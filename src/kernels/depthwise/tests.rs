//! Scalar against the definition; every level against scalar.

use super::*;
use crate::kernels::{
    epilogue::Activation,
    layout::{DepthwiseShape, pack_depthwise},
    tests::{Function, Random, THREADS, widths},
};
use crate::team::Team;

/// A depthwise convolution by its plain parameters and numbers.
#[derive(Clone, Debug)]
struct Case {
    shape: DepthwiseShape,
    stride: [usize; 2],
    pad: [usize; 2],
    from: Planes,
    out: Planes,
    zero_points: [u8; 2],
    bounds: [u8; 2],
    function: Function,
    fill: u8,
    /// `[channels, height, width]`.
    x: Vec<u8>,
    /// `[channels, ky, kx]`.
    weights: Vec<i8>,
    bias: Vec<i32>,
    scale: Vec<f32>,
}

impl Case {
    /// A case of random numbers: channels, taps, stride, size of the input.
    fn new(
        random: &mut Random,
        channels: usize,
        taps: [usize; 2],
        stride: [usize; 2],
        size: [usize; 2],
    ) -> Self {
        let shape = DepthwiseShape {
            channels,
            height: taps[0],
            width: taps[1],
        };
        let pad = taps.map(|taps| taps / 2);
        let [zero_point, low, high] = [(); 3].map(|()| random.byte());
        let out = |axis: usize| (size[axis] + 2 * pad[axis] - taps[axis]) / stride[axis] + 1;
        Self {
            shape,
            stride,
            pad,
            from: Planes {
                height: size[0],
                width: size[1],
                border: pad[0].max(pad[1]) + random.below(2),
            },
            out: Planes {
                height: out(0),
                width: out(1),
                border: random.below(3),
            },
            zero_points: [random.byte(), zero_point],
            bounds: [low.min(high), low.max(high)],
            function: Function::any(random),
            fill: random.byte(),
            x: random.bytes(channels * size[0] * size[1]),
            weights: (0..channels * shape.taps())
                .map(|_| random.weight())
                .collect(),
            bias: (0..channels)
                .map(|_| random.below(20_000) as i32 - 10_000)
                .collect(),
            scale: (0..channels)
                .map(|_| random.below(1000) as f32 / (20_000.0 * shape.taps() as f32))
                .collect(),
        }
    }

    /// The output planes, by the kernel of one level.
    fn run(&self, isa: Isa, threads: usize) -> Vec<u8> {
        let Self { shape, from, .. } = self;
        let mut x = vec![self.zero_points[0]; shape.blocks() * from.bytes()];
        let pixels = from.height * from.width;
        for (i, &value) in self.x.iter().enumerate() {
            let (channel, pixel) = (i / pixels, i % pixels);
            let row = pixel / from.width * from.row_bytes();
            let at = from.origin() + row + pixel % from.width * LANE;
            x[channel / LANE * from.bytes() + at + channel % LANE] = value;
        }
        let mut bias = self.bias.clone();
        for (bias, weights) in bias.iter_mut().zip(self.weights.chunks(shape.taps())) {
            let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
            *bias -= i32::from(self.zero_points[0]) * sum;
        }
        bias.resize(shape.blocks() * LANE, 0);
        let mut scale = self.scale.clone();
        scale.resize(shape.blocks() * LANE, 0.0);
        let op = Depthwise {
            offsets: &shape.offsets(from, self.pad),
            pixel_step: self.stride[1] * LANE,
            row_step: self.stride[0] * from.row_bytes(),
            input: *from,
            out: self.out,
            weights: &pack_depthwise(&self.weights, shape),
            bias: &bias,
            scale: &scale,
            epilogue: self.function.epilogue(self.zero_points[1], self.bounds),
            fill: self.fill,
        };
        let mut y = vec![0xAA; shape.blocks() * self.out.bytes()];
        let team = Team::new(threads).expect("threads");
        let _sitting = team.sit();
        depthwise(isa, threads, &op, &x, &mut y);
        y
    }

    /// The output planes, by the definition.
    fn naive(&self) -> Vec<u8> {
        let Self { shape, out, .. } = self;
        let mut y = vec![self.fill; shape.blocks() * out.bytes()];
        for channel in 0..shape.blocks() * LANE {
            for (r, q) in (0..out.height).flat_map(|r| (0..out.width).map(move |q| (r, q))) {
                let (sum, scale) = if channel < shape.channels {
                    let sum = self.sum(channel, r, q) + self.bias[channel];
                    (sum, self.scale[channel])
                } else {
                    (0, 0.0)
                };
                let steps = sum as f32 * scale;
                let byte = self.function.byte(steps, self.zero_points[1], self.bounds);
                let at = out.origin() + r * out.row_bytes() + q * LANE;
                y[channel / LANE * out.bytes() + at + channel % LANE] = byte;
            }
        }
        y
    }

    /// The products of one output value, padding counted as real zeros.
    fn sum(&self, channel: usize, r: usize, q: usize) -> i32 {
        let (shape, from) = (&self.shape, &self.from);
        let mut sum = 0;
        for (ky, kx) in (0..shape.height).flat_map(|ky| (0..shape.width).map(move |kx| (ky, kx))) {
            let y = (r * self.stride[0] + ky).checked_sub(self.pad[0]);
            let x = (q * self.stride[1] + kx).checked_sub(self.pad[1]);
            let inside = y.zip(x).filter(|&(y, x)| y < from.height && x < from.width);
            let Some((y, x)) = inside else { continue };
            let value = self.x[(channel * from.height + y) * from.width + x];
            let weight = self.weights[(channel * shape.height + ky) * shape.width + kx];
            sum += (i32::from(value) - i32::from(self.zero_points[0])) * i32::from(weight);
        }
        sum
    }
}

/// Kernels of known networks and some others: taps, strides.
const KERNELS: [([usize; 2], [usize; 2]); 9] = [
    ([3, 3], [1, 1]),
    ([3, 3], [2, 2]),
    ([5, 5], [1, 1]),
    ([5, 5], [2, 2]),
    ([7, 7], [1, 1]),
    ([1, 1], [1, 1]),
    ([1, 3], [1, 2]),
    ([4, 2], [3, 3]),
    ([7, 1], [2, 1]),
];

fn scalar() -> Isa {
    Isa::named("scalar").expect("scalar is everywhere")
}

/// Checks one case at every level and several numbers of threads.
fn assert_all_equal(case: &Case) {
    let expected = case.run(scalar(), 1);
    for isa in Isa::available() {
        for &threads in THREADS {
            let equal = case.run(isa, threads) == expected;
            assert!(equal, "{isa}, {threads} threads, {case:?}");
        }
    }
}

#[test]
fn scalar_is_depthwise_convolution_by_its_definition() {
    let mut random = Random::new(1);
    for (taps, stride) in KERNELS {
        let channels = 1 + random.below(33);
        let size = [6 + random.below(4), 6 + random.below(4)];
        let case = Case::new(&mut random, channels, taps, stride, size);
        assert_eq!(case.run(scalar(), 1), case.naive(), "{case:?}");
    }
}

#[test]
fn every_level_equals_scalar_at_every_width() {
    let mut random = Random::new(2);
    for width in widths(33) {
        for (taps, stride) in KERNELS {
            let size = [random.few(4), width];
            let fits = |axis: usize| size[axis] + taps[axis] / 2 * 2 >= taps[axis];
            if !(fits(0) && fits(1)) {
                continue;
            }
            let channels = LANE * random.few(4);
            assert_all_equal(&Case::new(&mut random, channels, taps, stride, size));
        }
    }
}

#[test]
fn every_level_survives_the_largest_sums() {
    let mut random = Random::new(3);
    for (x, weight) in [(255, 127), (255, -127), (0, 127), (0, -127), (128, -127)] {
        for (taps, stride) in KERNELS {
            let mut case = Case::new(&mut random, 32, taps, stride, [3, 9]);
            case.bounds = [0, 255];
            case.x.fill(x);
            case.weights.fill(weight);
            assert_all_equal(&case);
        }
    }
}

#[test]
#[should_panic(expected = "reads 64 bytes of a plane of 48")]
fn a_tap_beyond_its_plane_is_refused() {
    let planes = Planes {
        height: 1,
        width: 3,
        border: 0,
    };
    let op = Depthwise {
        offsets: &[16],
        pixel_step: 16,
        row_step: 16,
        input: planes,
        out: planes,
        weights: &[0; 16],
        bias: &[0; 16],
        scale: &[0.0; 16],
        epilogue: Epilogue {
            zero_point: 0,
            low: 0,
            high: 255,
            activation: Activation::None,
        },
        fill: 0,
    };
    depthwise(scalar(), 1, &op, &[0; 48], &mut [0; 48]);
}
