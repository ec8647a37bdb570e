//! The active prompts' rows, in the layout of the alignment kernel.

use super::Row;
use crate::{
    kernels::{
        align::Align,
        layout::{GROUP, KernelShape, LANE, Magnitude, bias_s8, calm, pack_weights},
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
        let mut flat = Vec::with_capacity(rows.len() * embedding);
        let steps: Vec<f32> = (rows.iter().map(|r| calm(&r.values, &mut flat))).collect();
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
        let mut sum_bias: Vec<i32> = flat
            .chunks_exact(embedding)
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
            units: fill(&mut flat.chunks_exact(embedding).map(unit), 0.0),
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
