//! The active prompts' rows, in the layout of the alignment kernel.

use super::Row;
use crate::{
    kernels::{
        align::Align,
        layout::{CALM, GROUP, KernelShape, LANE, Magnitude, NARROW, bias_s8, pack_weights},
    },
    quant::Quant,
};

/// Rows of a prompt set; padding rows are zeros.
#[derive(Clone, Debug)]
pub struct PromptTable {
    embedding: usize,
    weights: Vec<i8>,
    magnitude: Magnitude,
    sum_bias: Vec<i32>,
    sum_bias_s8: Vec<i32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    /// What makes each row a vector of unit length.
    units: Vec<f32>,
}

impl PromptTable {
    /// Takes rows down to calm ones, interleaves them by sixteens and folds the objects' scale and zero point into them.
    ///
    /// # Panics
    ///
    /// If there is no row or their lengths differ.
    #[must_use]
    pub fn new(rows: &[Row], objects: Quant) -> Self {
        let embedding = rows[0].values.len();
        let (calm, steps): (Vec<Vec<i8>>, Vec<f32>) = rows.iter().map(|r| calm(&r.values)).unzip();
        let flat = calm.concat();
        let shape = KernelShape {
            out_channels: rows.len(),
            in_channels: embedding,
            height: 1,
            width: 1,
            image: false,
        };
        let weights = pack_weights(&flat, &shape);
        let padded = shape.out_blocks() * LANE;
        let fill = |values: &mut dyn Iterator<Item = f32>, padding: f32| {
            let mut values: Vec<f32> = values.collect();
            values.resize(padded, padding);
            values
        };
        let mut sum_bias: Vec<i32> = calm
            .iter()
            .map(|values| {
                let sum: i32 = values.iter().map(|&w| i32::from(w)).sum();
                -i32::from(objects.zero_point) * sum
            })
            .collect();
        sum_bias.resize(padded, 0);
        Self {
            sum_bias_s8: bias_s8(&weights, &sum_bias),
            scale: fill(
                &mut rows
                    .iter()
                    .zip(&steps)
                    .map(|(r, step)| r.scale * step * objects.scale),
                0.0,
            ),
            bias: fill(&mut rows.iter().map(|r| r.bias), f32::MIN),
            units: fill(&mut calm.iter().map(|values| unit(values)), 0.0),
            magnitude: Magnitude::of(&weights, LANE / GROUP),
            embedding,
            weights,
            sum_bias,
        }
    }

    /// The rows with other factors and shifts, `[rows, rounded up to 16]` each.
    #[must_use]
    pub fn align_with<'a>(&'a self, scale: &'a [f32], bias: &'a [f32]) -> Align<'a> {
        Align {
            scale,
            bias,
            ..self.align()
        }
    }

    /// What makes each row a vector of unit length, `[rows, rounded up to 16]`.
    #[must_use]
    pub fn units(&self) -> &[f32] {
        &self.units
    }

    /// The table as the kernel takes it.
    #[must_use]
    pub fn align(&self) -> Align<'_> {
        Align {
            embedding: self.embedding,
            weights: &self.weights,
            magnitude: self.magnitude,
            sum_bias: &self.sum_bias,
            sum_bias_s8: &self.sum_bias_s8,
            scale: &self.scale,
            bias: &self.bias,
        }
    }
}

/// The reciprocal of a row's length.
fn unit(values: &[i8]) -> f32 {
    let squares = values.iter().map(|&v| i32::from(v) * i32::from(v));
    1.0 / (squares.sum::<i32>().max(1) as f32).sqrt()
}

/// A row in coarser steps, so that its values are calm ([`Magnitude::Calm`]), and how many of the old steps a new one is.
///
/// The products of a name with every object of a frame are then as fast as those of a convolution. What is lost is a bit or
/// two of eight: with the default pack a score moves by some thousandths.
fn calm(values: &[i8]) -> (Vec<i8>, f32) {
    let largest = values.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    // four of a channel, in halves of neighbouring groups
    let fours = values
        .as_chunks::<{ 2 * GROUP }>()
        .0
        .iter()
        .flat_map(|&[a, b, c, d, e, f, g, h]| [[a, b, e, f], [c, d, g, h]]);
    let most = fours.flat_map(|four| {
        [1, -1].map(|sign| {
            four.map(|v| (i32::from(v) * sign).max(0))
                .iter()
                .sum::<i32>()
        })
    });
    let most = most.max().unwrap_or(0) as f32;
    // rounding adds up to a half to each of the four
    let step = (f32::from(largest) / f32::from(NARROW))
        .max(most / f32::from(CALM - 2))
        .max(1.0);
    let values = values.iter().map(|&v| (f32::from(v) / step).round() as i8);
    (values.collect(), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_calm_and_keep_their_direction() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as i8
        };
        let axis: Vec<i8> = (0..128).map(|i| if i == 7 { 127 } else { 0 }).collect();
        let wild: Vec<i8> = (0..128).map(|_| random().max(-127)).collect();
        let gentle: Vec<i8> = wild.iter().map(|v| v / 8).collect();
        for values in [
            axis,
            wild,
            vec![127; 128],
            vec![-127; 128],
            gentle,
            vec![0; 128],
        ] {
            let (small, step) = calm(&values);
            let mut rows = small.clone();
            rows.resize(LANE * values.len(), 0);
            let shape = KernelShape {
                out_channels: LANE,
                in_channels: values.len(),
                height: 1,
                width: 1,
                image: false,
            };
            let packed = pack_weights(&rows, &shape);
            assert_eq!(Magnitude::of(&packed, LANE / GROUP), Magnitude::Calm);
            for (small, value) in small.iter().zip(&values) {
                let error = f32::from(*small) * step - f32::from(*value);
                assert!(
                    error.abs() <= step / 2.0 + 1e-3,
                    "{value} became {small} × {step}"
                );
            }
        }
    }
}
