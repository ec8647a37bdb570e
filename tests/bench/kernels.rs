//! How fast each level runs the layers of the default network and of others, one thread.
//!
//! ```text
//! cargo bench --bench kernels            every level
//! cargo bench --bench kernels -- neon    levels whose name contains `neon`
//! ```
//!
//! A cell is the best of several runs, since other programs can only take time
//! away. Convolutions are in GMAC/s; on a CPU with VNNI also in per cent of the
//! most this core does with that instruction alone. Padding counts as nothing:
//! three image channels are three, though four are multiplied. What does not
//! multiply is in billions of output bytes a second.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tarsier::kernels::{
    Isa, Level,
    add::{Add, add},
    conv::{Conv, conv},
    depthwise::{Depthwise, depthwise},
    epilogue::{Activation, Epilogue},
    layout::{
        CALM, DepthwiseShape, KernelShape, LANE, Magnitude, NARROW, Planes, bias_s8,
        pack_depthwise, pack_weights,
    },
    permute::{Permutation, Permute, permute},
    pool::{AveragePool, MaxPool, average_pool, max_pool},
};

/// How often a layer is measured; the best run counts.
const RUNS: usize = 15;

/// The shortest run that the clock measures well.
const RUN_TIME: Duration = Duration::from_millis(4);

/// A layer: input channels, output channels, taps, stride, height and width of the input.
type Layer = (usize, usize, [usize; 2], usize, [usize; 2]);

const LAYERS: &[Layer] = &[
    (3, 16, [3, 3], 2, [320, 320]),
    (16, 32, [3, 3], 2, [160, 160]),
    (32, 32, [3, 3], 1, [80, 80]),
    (64, 64, [3, 3], 1, [40, 40]),
    (64, 64, [3, 3], 1, [20, 20]),
    (64, 64, [3, 3], 1, [10, 10]),
    (64, 64, [3, 3], 1, [5, 5]),
    (128, 64, [1, 1], 1, [40, 40]),
    (128, 64, [1, 1], 1, [20, 20]),
    (64, 128, [1, 1], 1, [40, 40]),
    (128, 128, [1, 1], 1, [20, 20]),
    (128, 256, [3, 3], 2, [20, 20]),
    (256, 256, [1, 3], 1, [1, 32]),
];

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let filter = filter.unwrap_or_default();
    let levels: Vec<Isa> = Isa::available()
        .filter(|isa| isa.level().name().contains(&filter))
        .collect();
    let heading = |text: &str| {
        print!("{text:<36}");
        for isa in &levels {
            print!("{isa:>18}");
        }
        println!();
    };
    let row = |name: String, speed: &mut dyn FnMut(Isa) -> String| {
        print!("{name:<36}");
        for &isa in &levels {
            print!("{:>18}", speed(isa));
        }
        println!();
    };
    let mut most = peak();
    heading("convolution, GMAC/s");
    let plain = LAYERS
        .iter()
        .map(|layer| (layer, Function::None, Weights::Wide));
    let with = FUNCTIONS.map(|(layer, function)| (layer, function, Weights::Wide));
    let narrow = LAYERS
        .iter()
        .map(|layer| (layer, Function::None, Weights::Narrow));
    let calm = LAYERS
        .iter()
        .map(|layer| (layer, Function::None, Weights::Calm));
    for (layer, function, weights) in plain.chain(with).chain(narrow).chain(calm) {
        let &(inputs, outputs, [ky, kx], stride, [height, width]) = layer;
        let with = match function {
            Function::None => "",
            Function::Table => " table",
            Function::Slope => " leaky",
        };
        let narrow = match weights {
            Weights::Wide => "",
            Weights::Narrow => " narrow",
            Weights::Calm => " calm",
        };
        let name =
            format!("{ky}x{kx}/{stride} {inputs}->{outputs} @{height}x{width}{with}{narrow}");
        row(name, &mut |isa| {
            let speed = speed(isa, layer, function, weights);
            most = peak().zip(most).map(|(now, most)| most.max(now));
            let share = most.filter(|_| isa.level() == Level::Avx512Vnni);
            let share = share.map(|peak| format!(" ({:2.0} %)", 100.0 * speed / peak));
            format!("{speed:.1}{}", share.unwrap_or_default())
        });
    }
    if let Some(peak) = most {
        println!("VPDPBUSD alone: {peak:.1} GMAC/s");
    }
    heading("\ndepthwise, GMAC/s");
    for layer in DEPTHWISE {
        let &(channels, [ky, kx], stride, [height, width]) = layer;
        let name = format!("{ky}x{kx}/{stride} {channels} @{height}x{width}");
        row(name, &mut |isa| {
            format!("{:.1}", depthwise_speed(isa, layer))
        });
    }
    heading("\nothers, GB/s of output");
    for &(name, channels, [height, width], work) in OTHERS {
        row(format!("{name} {channels} @{height}x{width}"), &mut |isa| {
            format!("{:.1}", work(isa, channels, height, width))
        });
    }
}

/// An activation that is no clamp.
#[derive(Clone, Copy)]
enum Function {
    None,
    Table,
    Slope,
}

impl Function {
    const fn of(self, table: &[u8; 256]) -> Activation<'_> {
        match self {
            Self::None => Activation::None,
            Self::Table => Activation::Table(table),
            Self::Slope => Activation::Slope(0.1),
        }
    }
}

/// The range of a layer's weights: some levels are faster with narrow ones.
#[derive(Clone, Copy)]
enum Weights {
    /// 8 bits.
    Wide,
    /// 7 bits.
    Narrow,
    Calm,
}

/// Layers that are measured once more with such a one.
const FUNCTIONS: [(&Layer, Function); 5] = [
    (&LAYERS[3], Function::Table),
    (&LAYERS[7], Function::Table),
    (&LAYERS[9], Function::Table),
    (&LAYERS[7], Function::Slope),
    (&LAYERS[9], Function::Slope),
];

/// A depthwise layer: channels, taps, stride, height and width of the input.
type DepthwiseLayer = (usize, [usize; 2], usize, [usize; 2]);

const DEPTHWISE: &[DepthwiseLayer] = &[
    (32, [3, 3], 1, [80, 80]),
    (64, [3, 3], 2, [80, 80]),
    (128, [3, 3], 1, [20, 20]),
    (128, [3, 3], 1, [10, 10]),
    (128, [5, 5], 1, [20, 20]),
    (128, [5, 5], 2, [20, 20]),
    (64, [7, 7], 1, [40, 40]),
];

/// Name, channels, height and width, and what measures it.
type Other = (
    &'static str,
    usize,
    [usize; 2],
    fn(Isa, usize, usize, usize) -> f64,
);

const OTHERS: &[Other] = &[
    ("add", 64, [40, 40], |isa, channels, height, width| {
        add_speed(isa, channels, [height, width], Function::None)
    }),
    (
        "add, table",
        64,
        [40, 40],
        |isa, channels, height, width| add_speed(isa, channels, [height, width], Function::Table),
    ),
    ("max 2x2/2", 64, [80, 80], |_, channels, height, width| {
        max_speed(channels, [height, width], 2, 2)
    }),
    ("max 5x5/1", 128, [10, 10], |_, channels, height, width| {
        max_speed(channels, [height, width], 5, 1)
    }),
    (
        "max 13x13/1",
        128,
        [20, 20],
        |_, channels, height, width| max_speed(channels, [height, width], 13, 1),
    ),
    (
        "mean, of input",
        256,
        [10, 10],
        |_, channels, height, width| mean_speed(channels, [height, width]),
    ),
    (
        "shuffle of 2",
        128,
        [20, 20],
        |isa, channels, height, width| {
            let map = (0..channels).map(|c| c % 2 * channels / 2 + c / 2);
            permute_speed(isa, map, [height, width])
        },
    ),
    (
        "shift by 8",
        128,
        [20, 20],
        |isa, channels, height, width| {
            permute_speed(
                isa,
                (0..channels).map(|c| (c + 8) % channels),
                [height, width],
            )
        },
    ),
    ("planes", 128, [20, 20], |isa, channels, height, width| {
        permute_speed(isa, (0..channels).map(|c| c ^ 16), [height, width])
    }),
];

/// Planes with a border of one.
fn bordered(height: usize, width: usize) -> Planes {
    Planes {
        height,
        width,
        border: 1,
    }
}

/// Bytes that are no pattern.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 29) as u8).collect()
}

/// A table of anything.
fn table() -> [u8; 256] {
    std::array::from_fn(|i| (i * i / 255) as u8)
}

/// GMAC/s of one depthwise layer at its best.
fn depthwise_speed(
    isa: Isa,
    &(channels, [ky, kx], stride, [height, width]): &DepthwiseLayer,
) -> f64 {
    let shape = DepthwiseShape {
        channels,
        height: ky,
        width: kx,
    };
    let pad = [ky / 2, kx / 2];
    let input = Planes {
        height,
        width,
        border: pad[0].max(pad[1]),
    };
    let out = bordered(height.div_ceil(stride), width.div_ceil(stride));
    let weights: Vec<i8> = (0..channels * ky * kx)
        .map(|i| (i * 37 % 255) as i8 / 2)
        .collect();
    let x = bytes(shape.blocks() * input.bytes());
    let mut y = vec![0; shape.blocks() * out.bytes()];
    let op = Depthwise {
        offsets: &shape.offsets(&input, pad),
        pixel_step: stride * LANE,
        row_step: stride * input.row_bytes(),
        input,
        out,
        weights: &pack_depthwise(&weights, &shape),
        bias: &vec![0; channels],
        scale: &vec![1e-2; channels],
        epilogue: Epilogue {
            zero_point: 3,
            low: 3,
            high: 255,
            activation: Activation::None,
        },
        fill: 3,
    };
    let seconds = best_seconds(|| depthwise(isa, 1, &op, black_box(&x), black_box(&mut y)));
    (out.height * out.width * channels * ky * kx) as f64 / seconds * 1e-9
}

/// GB/s of an addition.
fn add_speed(isa: Isa, channels: usize, [height, width]: [usize; 2], function: Function) -> f64 {
    let planes = bordered(height, width);
    let table = table();
    let op = Add {
        a: planes,
        b: planes,
        out: planes,
        scales: [0.7, 0.4],
        zero_points: [5, 99],
        epilogue: Epilogue {
            zero_point: 100,
            low: 0,
            high: 255,
            activation: function.of(&table),
        },
        fill: 100,
    };
    let a = bytes(channels / LANE * planes.bytes());
    let b: Vec<u8> = a.iter().rev().copied().collect();
    let mut y = vec![0; a.len()];
    let seconds = best_seconds(|| add(isa, 1, &op, black_box(&a), black_box(&b), &mut y));
    (channels * height * width) as f64 / seconds * 1e-9
}

/// GB/s of a max pooling.
fn max_speed(channels: usize, [height, width]: [usize; 2], kernel: usize, stride: usize) -> f64 {
    let input = bordered(height, width);
    let out = bordered(height / stride, width / stride);
    let op = MaxPool {
        input,
        out,
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad: [(kernel - 1) / 2; 2],
        fill: 0,
    };
    let x = bytes(channels / LANE * input.bytes());
    let mut y = vec![0; channels / LANE * out.bytes()];
    let seconds = best_seconds(|| max_pool(1, &op, black_box(&x), black_box(&mut y)));
    (channels * out.height * out.width) as f64 / seconds * 1e-9
}

/// GB/s of input of a mean.
fn mean_speed(channels: usize, [height, width]: [usize; 2]) -> f64 {
    let op = AveragePool {
        input: bordered(height, width),
        out_border: 0,
        scale: 0.9 / (height * width) as f32,
        zero_points: [3, 4],
    };
    let x = bytes(channels / LANE * op.input.bytes());
    let mut y = vec![0; channels];
    let seconds = best_seconds(|| average_pool(&op, black_box(&x), black_box(&mut y)));
    (channels * height * width) as f64 / seconds * 1e-9
}

/// GB/s of a permutation.
fn permute_speed(isa: Isa, map: impl Iterator<Item = usize>, [height, width]: [usize; 2]) -> f64 {
    let map: Vec<u16> = map.map(|c| c as u16).collect();
    let planes = bordered(height, width);
    let op = Permute {
        permutation: &Permutation::new(&map),
        input: planes,
        out: planes,
        fill: 3,
    };
    let x = bytes(map.len() / LANE * planes.bytes());
    let mut y = vec![0; x.len()];
    let seconds = best_seconds(|| permute(isa, 1, &op, black_box(&x), black_box(&mut y)));
    (map.len() * height * width) as f64 / seconds * 1e-9
}

/// GMAC/s of one layer at its best.
fn speed(
    isa: Isa,
    &(inputs, outputs, [ky, kx], stride, [height, width]): &Layer,
    function: Function,
    weights: Weights,
) -> f64 {
    let shape = KernelShape {
        out_channels: outputs,
        in_channels: inputs,
        height: ky,
        width: kx,
        image: inputs == 3,
    };
    let pad = [ky / 2, kx / 2];
    let border = pad[0].max(pad[1]);
    let from = Planes {
        height,
        width,
        border,
    };
    let out = Planes {
        height: height.div_ceil(stride),
        width: width.div_ceil(stride),
        border: 1,
    };
    let most = match weights {
        Weights::Wide => i8::MAX,
        Weights::Narrow => NARROW,
        // four of these
        Weights::Calm => (CALM / 4) as i8,
    };
    let range = 2 * usize::from(most.unsigned_abs()) + 1;
    let weights: Vec<i8> = (0..outputs * inputs * ky * kx)
        // no pattern: four neighbours of a narrow kernel may well be large together
        .map(|i| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40)
        .map(|random| (random % range as u64) as i16 - i16::from(most))
        .map(|weight| weight as i8)
        .collect();
    let weights = pack_weights(&weights, &shape);
    let bias = vec![0; outputs];
    let planes = shape.padded_in_channels() / shape.pixel_bytes();
    let x = bytes(planes * shape.plane_bytes(&from));
    let mut y = vec![0; outputs / LANE * out.bytes()];
    let table = table();
    let op = Conv {
        offsets: &shape.offsets(&from, pad),
        groups: shape.groups(),
        pixel_step: stride * shape.pixel_bytes(),
        row_step: stride * shape.row_bytes(&from),
        out,
        weights: &weights,
        magnitude: Magnitude::of(&weights, shape.groups()),
        bias_s8: &bias_s8(&weights, &bias),
        bias: &bias,
        scale: &vec![1e-3; outputs],
        epilogue: Epilogue {
            zero_point: 3,
            low: 3,
            high: 255,
            activation: function.of(&table),
        },
        fill: 3,
    };
    let seconds = best_seconds(|| conv(isa, 1, &op, black_box(&x), black_box(&mut y)));
    (out.height * out.width * outputs * inputs * ky * kx) as f64 / seconds * 1e-9
}

/// GMAC/s of `VPDPBUSD` without loads, if this CPU has it; as it is now.
#[cfg(target_arch = "x86_64")]
fn peak() -> Option<f64> {
    use tarsier::kernels::vnni_peak;
    const ROUNDS: usize = 20_000;
    vnni_peak(1)?;
    let seconds = best_seconds(|| {
        black_box(vnni_peak(ROUNDS));
    });
    Some((16 * 64 * ROUNDS) as f64 / seconds * 1e-9)
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> Option<f64> {
    None
}

/// The seconds that `work` takes in the best of several runs.
fn best_seconds(mut work: impl FnMut()) -> f64 {
    let once = Instant::now();
    work();
    let times = RUN_TIME.as_nanos() / once.elapsed().as_nanos().max(1);
    let times = u32::try_from(times).unwrap_or(u32::MAX).max(1);
    let run = |_| {
        let start = Instant::now();
        for _ in 0..times {
            work();
        }
        start.elapsed().as_secs_f64() / f64::from(times)
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}
