//! Scalar against the formula; every level against scalar.

use super::*;
use crate::kernels::{
    epilogue::Activation,
    tests::{Function, Random, THREADS, widths},
};
use crate::team::Team;

/// Planes of one picture's size with any border.
fn planes(random: &mut Random, size: [usize; 2]) -> Planes {
    Planes {
        height: size[0],
        width: size[1],
        border: random.below(3),
    }
}

fn scalar() -> Isa {
    Isa::named("scalar").expect("scalar is everywhere")
}

/// The formula, byte by byte.
fn naive(op: &Add<'_>, function: &Function, count: usize, a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut y = vec![op.fill; count * op.out.bytes()];
    let at = |planes: Planes, plane: usize, r: usize, i: usize| {
        plane * planes.bytes() + planes.origin() + r * planes.row_bytes() + i
    };
    for plane in 0..count {
        for r in 0..op.out.height {
            for i in 0..op.out.width * LANE {
                let a = f32::from(a[at(op.a, plane, r, i)]) - f32::from(op.zero_points[0]);
                let b = f32::from(b[at(op.b, plane, r, i)]) - f32::from(op.zero_points[1]);
                let steps = a * op.scales[0] + b * op.scales[1];
                let e = &op.epilogue;
                y[at(op.out, plane, r, i)] = function.byte(steps, e.zero_point, [e.low, e.high]);
            }
        }
    }
    y
}

#[test]
fn every_level_is_the_formula_at_every_width() {
    let mut random = Random::new(1);
    for width in widths(20) {
        let size = [random.few(4), width];
        let count = random.few(3);
        let function = Function::any(&mut random);
        let [low, high] = [random.byte(), random.byte()];
        let op = Add {
            a: planes(&mut random, size),
            b: planes(&mut random, size),
            out: planes(&mut random, size),
            scales: [(); 2].map(|()| random.below(3000) as f32 / 1000.0),
            zero_points: [random.byte(), random.byte()],
            epilogue: function.epilogue(random.byte(), [low.min(high), low.max(high)]),
            fill: random.byte(),
        };
        let a = random.bytes(count * op.a.bytes());
        let b = random.bytes(count * op.b.bytes());
        let expected = naive(&op, &function, count, &a, &b);
        for isa in Isa::available() {
            for &threads in THREADS {
                let mut y = vec![0xAA; expected.len()];
                let team = Team::new(threads).expect("threads");
                let _sitting = team.sit();
                add(isa, threads, &op, &a, &b, &mut y);
                assert!(y == expected, "{isa}, {threads} threads, {op:?}");
            }
        }
    }
}

#[test]
fn every_level_adds_every_pair_of_bytes() {
    let size = Planes {
        height: 256,
        width: 16,
        border: 0,
    };
    let a: Vec<u8> = (0..size.bytes()).map(|i| (i / 256) as u8).collect();
    let b: Vec<u8> = (0..size.bytes()).map(|i| i as u8).collect();
    for (zero_points, scales) in [
        ([0, 0], [0.5, 0.5]),
        ([128, 3], [0.25, 1.25]),
        ([255, 0], [0.773_421_9, 1e-3]),
        ([0, 255], [1e30, -3.4e38]),
    ] {
        let op = Add {
            a: size,
            b: size,
            out: size,
            scales,
            zero_points,
            epilogue: Epilogue {
                zero_point: 101,
                low: 0,
                high: 255,
                activation: Activation::None,
            },
            fill: 0,
        };
        let expected = naive(&op, &Function::None, 1, &a, &b);
        for isa in Isa::available() {
            let mut y = vec![0; size.bytes()];
            add(isa, 1, &op, &a, &b, &mut y);
            assert!(y == expected, "{isa}, {scales:?}");
        }
    }
}

#[test]
#[should_panic(expected = "sizes of pictures")]
fn inputs_of_another_size_are_refused() {
    let [small, large] = [4, 5].map(|width| Planes {
        height: 1,
        width,
        border: 0,
    });
    let op = Add {
        a: small,
        b: large,
        out: small,
        scales: [1.0; 2],
        zero_points: [0; 2],
        epilogue: Epilogue {
            zero_point: 0,
            low: 0,
            high: 255,
            activation: Activation::None,
        },
        fill: 0,
    };
    add(scalar(), 1, &op, &[0; 64], &[0; 80], &mut [0; 64]);
}
