//! What a prompt is made of: one vector of small integers.

/// One prompt's embedding: `embedding = scale · row`, and what its logits are shifted by.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `[D]`, none of them -128.
    pub values: Vec<i8>,
    /// The factor of the values, the alignment's included.
    pub scale: f32,
    /// Added to every logit.
    pub bias: f32,
    /// Minimum score of a detection, calibrated where the pack has numbers for it.
    pub threshold: f32,
}

/// A text's vector: `factor · values` has unit length.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitRow {
    /// `[D]`, none of them -128.
    pub values: Vec<i8>,
    /// What makes it a unit vector.
    pub factor: f32,
}

/// Floats per row in a pack's `vocabulary.parameters`: scale, bias, threshold.
pub const PARAMETERS: usize = 3;
