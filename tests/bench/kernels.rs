//! How fast each level convolves the layers of the default network, one thread.
//!
//! ```text
//! cargo bench --bench kernels            every level
//! cargo bench --bench kernels -- neon    levels whose name contains `neon`
//! ```
//!
//! A cell is GMAC/s, the best of several runs, since other programs can only
//! take time away; on a CPU with VNNI also per cent of the most this core does
//! with that instruction alone. Padding counts as nothing: three image channels
//! are three, though four are multiplied.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tarsier::kernels::{
    Isa, Level,
    conv::{Conv, conv},
    layout::{KernelShape, LANE, Planes, bias_s8, pack_weights},
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
    print!("{:<24}", "layer, GMAC/s");
    for isa in &levels {
        print!("{isa:>18}");
    }
    println!();
    let mut most = peak();
    for layer in LAYERS {
        let &(inputs, outputs, [ky, kx], stride, [height, width]) = layer;
        let name = format!("{ky}x{kx}/{stride} {inputs}->{outputs} @{height}x{width}");
        print!("{name:<24}");
        for &isa in &levels {
            let speed = speed(isa, layer);
            most = peak().zip(most).map(|(now, most)| most.max(now));
            let share = most.filter(|_| isa.level() == Level::Avx512Vnni);
            let share = share.map(|peak| format!(" ({:2.0} %)", 100.0 * speed / peak));
            let cell = format!("{speed:.1}{}", share.unwrap_or_default());
            print!("{cell:>18}");
        }
        println!();
    }
    if let Some(peak) = most {
        println!("VPDPBUSD alone: {peak:.1} GMAC/s");
    }
}

/// GMAC/s of one layer at its best.
fn speed(isa: Isa, &(inputs, outputs, [ky, kx], stride, [height, width]): &Layer) -> f64 {
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
    let weights: Vec<i8> = (0..outputs * inputs * ky * kx)
        .map(|i| (i * 37 % 255) as i8 / 2)
        .collect();
    let weights = pack_weights(&weights, &shape);
    let bias = vec![0; outputs];
    let planes = shape.padded_in_channels() / shape.pixel_bytes();
    let x: Vec<u8> = (0..planes * shape.plane_bytes(&from))
        .map(|i| (i * 29) as u8)
        .collect();
    let mut y = vec![0; outputs / LANE * out.bytes()];
    let op = Conv {
        offsets: &shape.offsets(&from, pad),
        groups: shape.groups(),
        pixel_step: stride * shape.pixel_bytes(),
        row_step: stride * shape.row_bytes(&from),
        out,
        weights: &weights,
        bias_s8: &bias_s8(&weights, &bias),
        bias: &bias,
        scale: &vec![1e-3; outputs],
        zero_point: 3,
        low: 3,
        high: 255,
        table: None,
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
