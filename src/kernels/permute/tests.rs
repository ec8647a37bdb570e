//! Every level against the definition.

use super::*;
use crate::kernels::tests::{Random, THREADS, widths};
use crate::team::Team;

/// The map itself, byte by byte.
fn naive(op: &Permute<'_>, map: &[u16], x: &[u8]) -> Vec<u8> {
    let mut y = vec![op.fill; map.len() / LANE * op.out.bytes()];
    for (c, &from) in map.iter().enumerate() {
        if from == Permutation::PADDING {
            continue;
        }
        let from = usize::from(from);
        for row in 0..op.out.height {
            for (column, pixel) in op.input.row(from / LANE, row, x).iter().enumerate() {
                let at = op.out.origin() + row * op.out.row_bytes() + column * LANE;
                y[c / LANE * op.out.bytes() + at + c % LANE] = pixel[from % LANE];
            }
        }
    }
    y
}

/// Checks a map at every level, width and several numbers of threads.
fn assert_all_equal(random: &mut Random, inputs: usize, map: &[u16]) {
    let permutation = Permutation::new(map);
    assert!(permutation.input_planes() <= inputs);
    for width in widths(9) {
        let height = random.few(3);
        let [input, out] = [(); 2].map(|()| Planes {
            height,
            width,
            border: random.below(3),
        });
        let op = Permute {
            permutation: &permutation,
            input,
            out,
            fill: random.byte(),
        };
        let x = random.bytes(inputs * input.bytes());
        let expected = naive(&op, map, &x);
        for isa in Isa::available() {
            for &threads in THREADS {
                let mut y = vec![0xAA; expected.len()];
                let team = Team::new(threads).expect("threads");
                let _sitting = team.sit();
                permute(isa, threads, &op, &x, &mut y);
                assert!(y == expected, "{isa}, {threads} threads, {map:?}");
            }
        }
    }
}

#[test]
fn every_level_follows_any_map() {
    let mut random = Random::new(1);
    for _ in 0..if cfg!(miri) { 3 } else { 60 } {
        let inputs = 1 + random.below(20);
        let mut map = Vec::new();
        for _ in 0..LANE * random.few(4) {
            let channel = random.below(inputs * LANE * 6 / 5);
            let padding = channel >= inputs * LANE;
            map.push(if padding { u16::MAX } else { channel as u16 });
        }
        assert_all_equal(&mut random, inputs, &map);
    }
}

#[test]
fn shuffles_slices_and_concatenations_are_maps() {
    let mut random = Random::new(2);
    // two groups of 24 interleaved, in planes of 32 and 16 lanes of padding
    let shuffle: Vec<u16> = (0..48).map(|c| c % 2 * 24 + c / 2).collect();
    assert_all_equal(&mut random, 3, &shuffle);
    let slice: Vec<u16> = (0..32)
        .map(|c| if c < 24 { 24 + c } else { u16::MAX })
        .collect();
    assert_all_equal(&mut random, 3, &slice);
    // 20 channels in two planes after 20 in two others
    let concatenation = (0..48).map(|c: u16| match c {
        0..20 => c,
        20..40 => 32 + c - 20,
        _ => u16::MAX,
    });
    assert_all_equal(&mut random, 4, &concatenation.collect::<Vec<_>>());
    let planes: Vec<u16> = (0..32).map(|c| c ^ 16).collect();
    assert_all_equal(&mut random, 2, &planes);
    assert_all_equal(&mut random, 1, &[u16::MAX; 16]);
}

#[test]
#[should_panic(expected = "96 bytes of input in 48")]
fn a_channel_that_the_input_lacks_is_refused() {
    let mut map = [0; 16];
    map[3] = 16;
    let planes = Planes {
        height: 1,
        width: 3,
        border: 0,
    };
    let op = Permute {
        permutation: &Permutation::new(&map),
        input: planes,
        out: planes,
        fill: 0,
    };
    let isa = Isa::named("scalar").expect("scalar is everywhere");
    permute(isa, 1, &op, &[0; 48], &mut [0; 48]);
}
