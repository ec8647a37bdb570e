//! Scalar against the formula; every level against scalar.

use super::*;
use crate::kernels::{
    layout::{CALM, KernelShape, NARROW, bias_s8, pack_weights},
    tests::Random,
};

/// A prompt table and objects of random numbers.
struct Case {
    embedding: usize,
    rows: Vec<i8>,
    sum_bias: Vec<i32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    thresholds: Vec<f32>,
    objects: Vec<u8>,
}

impl Case {
    fn new(random: &mut Random, objects: usize, prompts: usize, embedding: usize) -> Self {
        let mut real = |_| random.below(2_000_000) as f32 / 1e6 - 1.0;
        let scale = (0..prompts).map(&mut real).collect();
        let bias = (0..prompts).map(&mut real).collect();
        // a third of the logits pass; to some thresholds no number comes, or every one
        let mut thresholds: Vec<f32> = (0..prompts).map(|i| 2e3 * real(i) + 1e3).collect();
        thresholds[..3].copy_from_slice(&[f32::NAN, f32::NEG_INFINITY, f32::INFINITY]);
        Self {
            embedding,
            rows: (0..prompts * embedding).map(|_| random.weight()).collect(),
            sum_bias: (0..prompts)
                .map(|_| random.below(9_999) as i32 - 5_000)
                .collect(),
            scale,
            bias,
            thresholds,
            objects: random.bytes(objects * embedding),
        }
    }

    /// With rows of values up to this, a third of them that large, and objects with bytes at both ends.
    fn small(mut self, random: &mut Random, most: i8) -> Self {
        for value in &mut self.rows {
            *value = random.small_weight(most);
        }
        for byte in &mut self.objects {
            *byte = [0, 128, 255, *byte][random.below(4)];
        }
        self
    }

    fn run(&self, isa: Isa) -> Vec<u32> {
        let shape = KernelShape {
            out_channels: self.scale.len(),
            in_channels: self.embedding,
            height: 1,
            width: 1,
            image: false,
        };
        let weights = pack_weights(&self.rows, &shape);
        let op = Align {
            embedding: self.embedding,
            weights: &weights,
            magnitude: Magnitude::of(&weights, LANE / GROUP),
            sum_bias: &self.sum_bias,
            sum_bias_s8: &bias_s8(&weights, &self.sum_bias),
            scale: &self.scale,
            bias: &self.bias,
        };
        let count = self.objects.len() / self.embedding * self.scale.len();
        let (mut values, mut passing) = (vec![f32::NAN; count], vec![0xAAAA; count / LANE]);
        let mut logits = Logits {
            values: &mut values,
            thresholds: &self.thresholds,
            passing: &mut passing,
        };
        align(isa, &op, &self.objects, &mut logits);
        let bits = values.into_iter().map(f32::to_bits);
        bits.chain(passing.into_iter().map(u32::from)).collect()
    }

    fn naive(&self) -> Vec<u32> {
        let mut logits = Vec::new();
        let objects = self.objects.len() / self.embedding;
        let mut passing = vec![0; objects * self.scale.len() / LANE];
        for (o, object) in self.objects.chunks(self.embedding).enumerate() {
            for (p, row) in self.rows.chunks(self.embedding).enumerate() {
                let products = object
                    .iter()
                    .zip(row)
                    .map(|(&x, &w)| i64::from(x) * i64::from(w));
                let sum = products.sum::<i64>() + i64::from(self.sum_bias[p]);
                let logit = sum as f32 * self.scale[p] + self.bias[p];
                logits.push(logit.to_bits());
                if logit >= self.thresholds[p] {
                    passing[p / LANE * objects + o] |= 1 << (p % LANE);
                }
            }
        }
        logits.extend(passing);
        logits
    }
}

#[test]
fn every_level_equals_the_formula_bit_for_bit() {
    let mut random = Random::new(7);
    // under an interpreter, which is some thousand times slower, a few
    let embeddings: &[usize] = if cfg!(miri) {
        &[16, 128]
    } else {
        &[16, 48, 128, 256, 272]
    };
    let counts: &[usize] = if cfg!(miri) {
        &[0, 1, 5]
    } else {
        &[0, 1, 2, 7, 13, 14, 29]
    };
    for &embedding in embeddings {
        for &objects in counts {
            let prompts = LANE * random.few(4);
            // wide, narrow, and calm: four of those are as large as four may be
            for most in [None, Some(NARROW), Some((CALM / 4) as i8)] {
                let mut case = Case::new(&mut random, objects, prompts, embedding);
                if let Some(most) = most {
                    case = case.small(&mut random, most);
                }
                let expected = case.naive();
                for isa in Isa::available() {
                    let equal = case.run(isa) == expected;
                    assert!(
                        equal,
                        "{isa}, {objects} × {prompts} × {embedding}, {most:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_prompt_does_not_change_the_logits_of_another() {
    let mut random = Random::new(8);
    let mut case = Case::new(&mut random, 20, 48, 128);
    let before = case.run(Isa::best());
    case.rows[17 * 128..18 * 128].fill(-3);
    let after = case.run(Isa::best());
    let changed: Vec<usize> = (0..before.len())
        .filter(|&i| before[i] != after[i])
        .collect();
    assert!(!changed.is_empty());
    // its logits, and then the bits of its block
    let its = |&i: &usize| {
        let bits = i.checked_sub(20 * 48);
        bits.map_or(i % 48 == 17, |at| {
            at / 20 == 1 && (before[i] ^ after[i]) == 1 << 1
        })
    };
    assert!(changed.iter().all(its));
}
