//! Scalar against a convolution written from its definition; every level against scalar.

use super::*;
use crate::kernels::{
    epilogue::Activation,
    layout::{CALM, KernelShape, Magnitude, NARROW, bias_s8, pack_weights},
    tests::{Function, Random, THREADS, widths},
};
use crate::team::Team;

/// A convolution by its plain parameters.
#[derive(Clone, Debug)]
struct Case {
    shape: KernelShape,
    stride: usize,
    pad: [usize; 2],
    from: Planes,
    out_border: usize,
    zero_points: [u8; 2],
    bounds: [u8; 2],
    function: Function,
    fill: u8,
}

/// A case's numbers, unpacked.
struct Data {
    /// `[in, height, width]`.
    x: Vec<u8>,
    /// `[out, in, ky, kx]`.
    weights: Vec<i8>,
    bias: Vec<i32>,
    scale: Vec<f32>,
}

impl Case {
    /// A case of random numbers around the given shape.
    fn new(random: &mut Random, shape: KernelShape, stride: usize, size: [usize; 2]) -> Self {
        let pad = [shape.height / 2, shape.width / 2];
        let [zero_point, low, high] = [(); 3].map(|()| random.byte());
        let [low, high] = [low.min(high), low.max(high)];
        Self {
            shape,
            stride,
            pad,
            from: Planes {
                height: size[0],
                width: size[1],
                border: pad[0].max(pad[1]) + random.below(2),
            },
            out_border: random.below(3),
            zero_points: [random.byte(), zero_point],
            bounds: [low, high],
            function: Function::any(random),
            fill: random.byte(),
        }
    }

    fn data(&self, random: &mut Random) -> Data {
        let KernelShape {
            out_channels,
            in_channels,
            height,
            width,
            ..
        } = self.shape;
        let sum = in_channels * height * width;
        Data {
            x: random.bytes(in_channels * self.from.height * self.from.width),
            weights: (0..out_channels * sum).map(|_| random.weight()).collect(),
            bias: (0..out_channels)
                .map(|_| random.below(20_000) as i32 - 10_000)
                .collect(),
            scale: (0..out_channels)
                .map(|_| random.below(1000) as f32 / (20_000.0 * sum as f32))
                .collect(),
        }
    }

    fn out(&self) -> Planes {
        let size = |from: usize, pad: usize, taps: usize| (from + 2 * pad - taps) / self.stride + 1;
        Planes {
            height: size(self.from.height, self.pad[0], self.shape.height),
            width: size(self.from.width, self.pad[1], self.shape.width),
            border: self.out_border,
        }
    }

    /// The output planes, by the kernel of one level.
    fn run(&self, isa: Isa, threads: usize, data: &Data) -> Vec<u8> {
        let Self { shape, from, .. } = self;
        let lane = shape.pixel_bytes();
        let mut x =
            vec![self.zero_points[0]; shape.padded_in_channels() / lane * shape.plane_bytes(from)];
        for (i, &value) in data.x.iter().enumerate() {
            let (channel, pixel) = (
                i / (from.height * from.width),
                i % (from.height * from.width),
            );
            let row = (pixel / from.width + from.border) * shape.row_bytes(from);
            let at = row + (pixel % from.width + from.border) * lane;
            x[channel / lane * shape.plane_bytes(from) + at + channel % lane] = value;
        }
        let channels = shape.out_blocks() * LANE;
        let weights = pack_weights(&data.weights, shape);
        let mut bias = data.bias.clone();
        let per_channel = data.weights.len() / shape.out_channels;
        for (bias, weights) in bias.iter_mut().zip(data.weights.chunks(per_channel)) {
            let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
            *bias -= i32::from(self.zero_points[0]) * sum;
        }
        bias.resize(channels, 0);
        let mut scale = data.scale.clone();
        scale.resize(channels, 0.0);
        let mut y = vec![0xAA; shape.out_blocks() * self.out().bytes()];
        let op = Conv {
            offsets: &shape.offsets(from, self.pad),
            groups: shape.groups(),
            pixel_step: self.stride * lane,
            row_step: self.stride * shape.row_bytes(from),
            out: self.out(),
            weights: &weights,
            magnitude: Magnitude::of(&weights, shape.groups()),
            bias_s8: &bias_s8(&weights, &bias),
            bias: &bias,
            scale: &scale,
            epilogue: self.function.epilogue(self.zero_points[1], self.bounds),
            fill: self.fill,
        };
        let team = Team::new(threads).expect("threads");
        let _sitting = team.sit();
        conv(isa, threads, &op, &x, &mut y);
        y
    }

    /// The output planes, by the definition of convolution.
    fn naive(&self, data: &Data) -> Vec<u8> {
        let (shape, out) = (&self.shape, self.out());
        let mut y = vec![self.fill; shape.out_blocks() * out.bytes()];
        for channel in 0..shape.out_blocks() * LANE {
            for (r, q) in (0..out.height).flat_map(|r| (0..out.width).map(move |q| (r, q))) {
                let steps = if channel < shape.out_channels {
                    let sum = self.sum(data, channel, r, q) + i64::from(data.bias[channel]);
                    let sum = i32::try_from(sum).expect("a sum of 32 bits");
                    sum as f32 * data.scale[channel]
                } else {
                    0.0
                };
                let byte = self.function.byte(steps, self.zero_points[1], self.bounds);
                let at = out.origin() + r * out.row_bytes() + q * LANE;
                y[channel / LANE * out.bytes() + at + channel % LANE] = byte;
            }
        }
        y
    }

    /// The products of one output value, padding counted as real zeros.
    fn sum(&self, data: &Data, channel: usize, r: usize, q: usize) -> i64 {
        let (shape, from) = (&self.shape, &self.from);
        let mut sum = 0;
        for input in 0..shape.in_channels {
            for ky in 0..shape.height {
                for kx in 0..shape.width {
                    let y = (r * self.stride + ky).checked_sub(self.pad[0]);
                    let x = (q * self.stride + kx).checked_sub(self.pad[1]);
                    let inside = y.zip(x).filter(|&(y, x)| y < from.height && x < from.width);
                    let Some((y, x)) = inside else { continue };
                    let value = data.x[(input * from.height + y) * from.width + x];
                    let real = i64::from(value) - i64::from(self.zero_points[0]);
                    let at = ((channel * shape.in_channels + input) * shape.height + ky)
                        * shape.width
                        + kx;
                    sum += real * i64::from(data.weights[at]);
                }
            }
        }
        sum
    }
}

/// Kernels of the network's kinds and some others: taps, stride, inputs.
const KERNELS: [([usize; 2], usize, usize); 9] = [
    ([1, 1], 1, 32),
    ([1, 1], 2, 16),
    ([3, 3], 1, 16),
    ([3, 3], 2, 32),
    ([1, 3], 1, 48),
    ([2, 2], 3, 16),
    ([3, 3], 2, 3),
    ([3, 3], 1, 3),
    ([6, 6], 2, 4),
];

/// Those that are run at a width: all, or under an interpreter some, so that each kernel has some width.
fn kernels(width: usize) -> impl Iterator<Item = ([usize; 2], usize, usize)> {
    let wanted = move |i: usize| !cfg!(miri) || (width + i).is_multiple_of(4);
    let all = KERNELS.into_iter().enumerate();
    all.filter_map(move |(i, kernel)| wanted(i).then_some(kernel))
}

fn shape(taps: [usize; 2], in_channels: usize, out_channels: usize) -> KernelShape {
    KernelShape {
        out_channels,
        in_channels,
        height: taps[0],
        width: taps[1],
        image: in_channels <= GROUP,
    }
}

fn scalar() -> Isa {
    Isa::named("scalar").expect("scalar is everywhere")
}

#[test]
fn scalar_is_convolution_by_its_definition() {
    let mut random = Random::new(1);
    for (taps, stride, inputs) in KERNELS {
        let channels = 1 + random.below(33);
        let size = [6 + random.below(4), 6 + random.below(4)];
        let case = Case::new(&mut random, shape(taps, inputs, channels), stride, size);
        let data = case.data(&mut random);
        assert_eq!(case.run(scalar(), 1, &data), case.naive(&data), "{case:?}");
    }
}

/// Checks one case at every level and several numbers of threads.
fn assert_all_equal(case: &Case, data: &Data) {
    let expected = case.run(scalar(), 1, data);
    for isa in Isa::available() {
        for &threads in THREADS {
            let equal = case.run(isa, threads, data) == expected;
            assert!(equal, "{isa}, {threads} threads, {case:?}");
        }
    }
}

#[test]
fn every_level_equals_scalar_at_every_width() {
    let mut random = Random::new(2);
    for width in widths(33) {
        for (taps, stride, inputs) in kernels(width) {
            let size = [random.few(4), width];
            if size
                .iter()
                .zip(taps)
                .any(|(&size, taps)| size + taps / 2 * 2 < taps)
            {
                continue;
            }
            let channels = LANE * random.few(5);
            let case = Case::new(&mut random, shape(taps, inputs, channels), stride, size);
            let data = case.data(&mut random);
            assert_all_equal(&case, &data);
        }
    }
}

#[test]
fn every_level_equals_scalar_with_narrow_and_calm_weights_at_every_width() {
    let mut random = Random::new(5);
    for (width, most) in widths(33).flat_map(|width| [(width, NARROW), (width, MOSTLY_CALM)]) {
        for (taps, stride, inputs) in kernels(width) {
            let channels = LANE * random.few(3);
            let size = [taps[0] + random.below(3), taps[1].max(width)];
            let case = Case::new(&mut random, shape(taps, inputs, channels), stride, size);
            let mut data = case.data(&mut random);
            small(&mut random, &mut data, most);
            assert_all_equal(&case, &data);
        }
    }
}

#[test]
fn small_weights_equal_the_definition_and_one_larger_weight_is_noticed() {
    let mut random = Random::new(6);
    let both = [NARROW, MOSTLY_CALM].into_iter();
    for ((taps, stride, inputs), most) in both.flat_map(|most| KERNELS.map(|k| (k, most))) {
        let case = Case::new(&mut random, shape(taps, inputs, 32), stride, [7, 9]);
        let mut data = case.data(&mut random);
        small(&mut random, &mut data, most);
        // bytes at both ends, so that sums of products are as large as they get
        for x in &mut data.x {
            *x = [0, 128, 255][random.below(3)];
        }
        for isa in Isa::available() {
            assert_eq!(
                case.run(isa, 1, &data),
                case.naive(&data),
                "{isa}, {case:?}"
            );
        }
        let last = data.weights.len() - 1;
        data.weights.fill(most);
        data.weights[last] = most + 1;
        data.x.fill(255);
        for isa in Isa::available() {
            assert_eq!(
                case.run(isa, 1, &data),
                case.naive(&data),
                "{isa}, {case:?}"
            );
        }
    }
}

/// Four of these are as large as four calm weights may be.
const MOSTLY_CALM: i8 = (CALM / 4) as i8;

/// Replaces weights by smaller ones, a third of them as large as they may be.
fn small(random: &mut Random, data: &mut Data, most: i8) {
    for weight in &mut data.weights {
        *weight = random.small_weight(most);
    }
}

#[test]
fn rows_of_many_blocks_and_groups_with_many_weights_are_shared_alike() {
    let mut random = Random::new(5);
    // rows of more planes than are split together; three blocks, which leave one over; more weights than input
    for (inputs, channels, size) in [
        (16, 17 * LANE, [9, 30]),
        (32, 3 * LANE, [11, 20]),
        (64, 5 * LANE, [2, 3]),
    ] {
        if cfg!(miri) && channels > 100 {
            continue;
        }
        let case = Case::new(&mut random, shape([1, 1], inputs, channels), 1, size);
        let data = case.data(&mut random);
        assert_all_equal(&case, &data);
        assert_eq!(case.run(scalar(), 3, &data), case.naive(&data), "{case:?}");
    }
}

#[test]
fn every_level_survives_the_largest_sums() {
    let mut random = Random::new(3);
    let wide = [(255, 127), (255, -127), (0, 127), (0, -127), (128, -127)];
    let narrow = [
        (255, NARROW),
        (255, -NARROW),
        (0, NARROW),
        (0, -NARROW),
        (128, -NARROW),
        (255, MOSTLY_CALM),
        (255, -MOSTLY_CALM),
    ];
    for (x, weight) in wide.into_iter().chain(narrow) {
        for (taps, stride, inputs) in KERNELS {
            let mut case = Case::new(&mut random, shape(taps, inputs, 32), stride, [3, 9]);
            case.bounds = [0, 255];
            let mut data = case.data(&mut random);
            data.x.fill(x);
            data.weights.fill(weight);
            assert_all_equal(&case, &data);
        }
    }
}

#[test]
fn every_level_rounds_ties_to_even() {
    let mut random = Random::new(4);
    let mut case = Case::new(&mut random, shape([1, 1], 16, 16), 1, [1, 30]);
    case.bounds = [0, 255];
    case.zero_points = [0, 101];
    let mut data = case.data(&mut random);
    data.scale.fill(0.5);
    data.bias.fill(0);
    data.weights.fill(0);
    for channel in 0..LANE {
        data.weights[channel * LANE] = 1 - 2 * (channel as i8 % 2);
    }
    assert_eq!(case.run(scalar(), 1, &data), case.naive(&data));
    assert_all_equal(&case, &data);
}

#[test]
#[should_panic(expected = "reads 80 bytes of 79")]
fn an_input_that_ends_early_is_refused() {
    let op = Conv {
        offsets: &[0],
        groups: 4,
        pixel_step: 16,
        row_step: 16,
        out: Planes {
            height: 1,
            width: 5,
            border: 0,
        },
        weights: &[0; 256],
        magnitude: Magnitude::Calm,
        bias: &[0; 16],
        bias_s8: &[0; 16],
        scale: &[0.0; 16],
        epilogue: Epilogue {
            zero_point: 0,
            low: 0,
            high: 255,
            activation: Activation::None,
        },
        fill: 0,
    };
    conv(scalar(), 1, &op, &[0; 79], &mut [0; 80]);
}
