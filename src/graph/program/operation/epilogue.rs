//! From a sum to the byte that is stored.

use serde::{Deserialize, Serialize};

use super::Constant;
use crate::{graph::program::view::View, kernels::epilogue as kernel};

/// Bytes of a table: one for each byte that it replaces.
const TABLE_BYTES: usize = 256;

/// From a sum to the byte that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epilogue {
    /// The byte that stands for zero where the sum is requantised: the output's, unless a table
    /// follows.
    pub zero_point: u8,
    /// Minimum and maximum of the requantised byte.
    pub clamp: [u8; 2],
    /// An activation function that is no clamp.
    pub activation: Activation,
}

/// An activation function in an [`Epilogue`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// None; in bytes as the `None` of an optional table, which stood here before there were
    /// slopes.
    None,
    /// Where in the weights section 256 bytes lie that replace the requantised ones.
    Table(u32),
    /// Leaky ReLU before requantisation: the factor of sums below zero, more than 0 and at most 1.
    Slope(f32),
}

impl Epilogue {
    /// Refuses a clamp that lets nothing through, a slope that kernels do not have, a zero point
    /// that is not the output's and a table outside of the section.
    pub(super) fn check(&self, output: &View, section: &[u8]) -> Result<(), String> {
        let Self {
            zero_point,
            clamp,
            activation,
        } = *self;
        if clamp[0] > clamp[1] {
            return Err(format!("clamps to {clamp:?}"));
        }
        match activation {
            Activation::Slope(slope) if !(slope > 0.0 && slope <= 1.0) => {
                Err(format!("a slope of {slope}"))
            }
            Activation::None | Activation::Slope(_) if zero_point != output.zero_point => {
                Err(format!(
                    "zero is {zero_point} in its sums and {} in its output",
                    output.zero_point
                ))
            }
            Activation::Table(at) if section.len() < (at as usize).saturating_add(TABLE_BYTES) => {
                Err(format!(
                    "its table ends at byte {} of a weights section of {}",
                    u64::from(at) + TABLE_BYTES as u64,
                    section.len()
                ))
            }
            _ => Ok(()),
        }
    }

    /// Its table, if it has one.
    pub(super) const fn constant(&mut self) -> Option<Constant<'_>> {
        match &mut self.activation {
            Activation::Table(at) => Some(Constant::bytes("table", at, TABLE_BYTES)),
            Activation::None | Activation::Slope(_) => None,
        }
    }

    /// What a kernel is given, with the bytes of the table.
    pub(super) fn with_table<'a>(&self, section: &'a [u8]) -> kernel::Epilogue<'a> {
        use kernel::Activation::{None, Slope, Table};
        let table = |at| section.get(at as usize..)?.first_chunk();
        kernel::Epilogue {
            zero_point: self.zero_point,
            low: self.clamp[0],
            high: self.clamp[1],
            activation: match self.activation {
                Activation::None => None,
                Activation::Table(at) => table(at).map_or(None, Table),
                Activation::Slope(slope) => Slope(slope),
            },
        }
    }
}
