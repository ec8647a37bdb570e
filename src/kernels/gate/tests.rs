//! Scalar against the formula; every level against scalar.

use super::*;
use crate::kernels::tests::{Random, widths};

/// The formula in floats of 64 bits, which hold every product of it.
fn naive(op: &Gate, count: usize, x: &[u8], gate: &[u8]) -> Vec<u8> {
    let mut y = vec![op.fill; count * op.out.bytes()];
    let at = |planes: Planes, plane: usize, r: usize, i: usize| {
        plane * planes.bytes() + planes.origin() + r * planes.row_bytes() + i
    };
    for plane in 0..count {
        for r in 0..op.out.height {
            for i in 0..op.out.width * LANE {
                let gate = gate[at(op.gates(), plane, 0, i % LANE)];
                let x = x[at(op.input, plane, r, i)];
                let [x, gate] = [(x, 0), (gate, 1)]
                    .map(|(byte, i)| f32::from(byte) - f32::from(op.zero_points[i]));
                let zero = f32::from(op.fill);
                let steps = (x * gate * op.scale).clamp(-zero, 255.0 - zero);
                y[at(op.out, plane, r, i)] = (steps.round_ties_even() + zero) as u8;
            }
        }
    }
    y
}

#[test]
fn every_level_is_the_formula_at_every_width() {
    let mut random = Random::new(1);
    for width in widths(20) {
        let count = 1 + random.below(3);
        let height = 1 + random.below(4);
        let mut planes = || Planes {
            height,
            width,
            border: random.below(3),
        };
        let (input, out) = (planes(), planes());
        let op = Gate {
            input,
            gate_border: random.below(3),
            out,
            scale: random.below(3000) as f32 / 100_000.0,
            zero_points: [random.byte(), random.byte()],
            fill: random.byte(),
        };
        let x = random.bytes(count * op.input.bytes());
        let gates = random.bytes(count * op.gates().bytes());
        let expected = naive(&op, count, &x, &gates);
        for isa in Isa::available() {
            for threads in [1, 2, 5] {
                let mut y = vec![0xAA; expected.len()];
                gate(isa, threads, &op, &x, &gates, &mut y);
                assert!(y == expected, "{isa}, {threads} threads, {op:?}");
            }
        }
    }
}

#[test]
fn every_level_multiplies_every_pair_of_bytes() {
    let size = Planes {
        height: 16,
        width: 16,
        border: 0,
    };
    // one plane for sixteen gates, a pixel for each byte
    let x: Vec<u8> = (0..16 * size.bytes())
        .map(|i| (i % size.bytes() / LANE) as u8)
        .collect();
    let gates: Vec<u8> = (0..=255).collect();
    for (zero_points, scale) in [
        ([0, 0], 1.0 / 255.0),
        ([128, 0], 0.003_921_7),
        ([255, 128], 0.5),
        ([3, 255], -3.4e38),
    ] {
        let op = Gate {
            input: size,
            gate_border: 0,
            out: size,
            scale,
            zero_points,
            fill: 101,
        };
        let expected = naive(&op, 16, &x, &gates);
        for isa in Isa::available() {
            let mut y = vec![0; expected.len()];
            gate(isa, 1, &op, &x, &gates, &mut y);
            assert!(y == expected, "{isa}, {scale}");
        }
    }
}

#[test]
#[should_panic(expected = "bytes of the gates")]
fn gates_of_fewer_planes_are_refused() {
    let one = Planes {
        height: 1,
        width: 1,
        border: 0,
    };
    let op = Gate {
        input: one,
        gate_border: 0,
        out: one,
        scale: 1.0,
        zero_points: [0; 2],
        fill: 0,
    };
    let scalar = Isa::named("scalar").expect("scalar is everywhere");
    gate(scalar, 1, &op, &[0; 32], &[0; 16], &mut [0; 32]);
}
