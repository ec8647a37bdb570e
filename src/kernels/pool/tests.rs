//! Both poolings against their definitions.

use super::*;
use crate::kernels::tests::Random;
use crate::team::Team;

#[test]
fn max_is_the_greatest_byte_inside_the_picture() {
    let mut random = Random::new(1);
    for case in 0..300 {
        let size = [1 + random.below(12), 1 + random.below(90)];
        let kernel = size.map(|size| 1 + random.below(MAX_KERNEL.min(size + 2)));
        let stride = [1 + random.below(3), 1 + random.below(3)];
        let pad = kernel.map(|kernel| random.below(kernel.div_ceil(2)));
        // the last window may reach beyond the picture, as with ONNX's ceil_mode
        let out = |axis: usize| (size[axis] + pad[axis] - 1) / stride[axis] + 1;
        let [input, out] = [size, [out(0), out(1)]].map(|[height, width]| Planes {
            height,
            width,
            border: random.below(3),
        });
        let op = MaxPool {
            input,
            out,
            kernel,
            stride,
            pad,
            fill: random.byte(),
        };
        let count = 1 + random.below(3);
        let x = random.bytes(count * input.bytes());
        let mut expected = vec![op.fill; count * out.bytes()];
        for (plane, r) in (0..count).flat_map(|plane| (0..out.height).map(move |r| (plane, r))) {
            for i in 0..out.width * LANE {
                let inside = |i: usize, axis: usize, tap: usize| {
                    let at = (i * stride[axis] + tap).checked_sub(pad[axis])?;
                    (at < size[axis]).then_some(at)
                };
                let mut greatest = 0;
                for y in (0..kernel[0]).filter_map(|ky| inside(r, 0, ky)) {
                    for x_at in (0..kernel[1]).filter_map(|kx| inside(i / LANE, 1, kx)) {
                        greatest = greatest.max(input.row(plane, y, &x)[x_at][i % LANE]);
                    }
                }
                let at = out.origin() + r * out.row_bytes() + i;
                expected[plane * out.bytes() + at] = greatest;
            }
        }
        for threads in [1, 3] {
            let mut y = vec![0xAA; expected.len()];
            let team = Team::new(threads).expect("threads");
            let _sitting = team.sit();
            max_pool(threads, &op, &x, &mut y);
            assert!(y == expected, "case {case}, {threads} threads: {op:?}");
        }
    }
}

#[test]
fn the_mean_counts_every_pixel_once_and_no_border() {
    let mut random = Random::new(2);
    for (height, width) in [(1, 1), (5, 5), (2, 257), (1, 600), (20, 20)] {
        for border in 0..2 {
            let input = Planes {
                height,
                width,
                border,
            };
            let op = AveragePool {
                input,
                out_border: 1 - border,
                scale: 1.7 / (height * width) as f32,
                zero_points: [random.byte(), random.byte()],
            };
            let mut x = random.bytes(2 * input.bytes());
            if width == 257 {
                x.fill(255);
            }
            let out = (3 - 2 * border).pow(2) * LANE;
            let mut y = vec![0xAA; 2 * out];
            average_pool(&op, &x, &mut y);
            for (i, &byte) in y.iter().enumerate() {
                let (plane, at) = (i / out, i % out);
                let rows = (0..height).flat_map(|row| input.row(plane, row, &x));
                let sum: i32 = rows.map(|pixel| i32::from(pixel[at % LANE])).sum();
                let zeros = (height * width) as i32 * i32::from(op.zero_points[0]);
                let inside = border == 1 || at / LANE == 4;
                let expected = if inside {
                    requantise(sum - zeros, op.scale, op.zero_points[1], 0, 255)
                } else {
                    op.zero_points[1]
                };
                assert_eq!(byte, expected, "byte {i} of {op:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "a window outside the picture")]
fn a_window_beyond_the_picture_is_refused() {
    let planes = Planes {
        height: 4,
        width: 4,
        border: 0,
    };
    let op = MaxPool {
        input: planes,
        out: planes,
        kernel: [2, 2],
        stride: [2, 2],
        pad: [0, 0],
        fill: 0,
    };
    max_pool(1, &op, &[0; 256], &mut [0; 256]);
}
