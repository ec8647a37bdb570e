//! What a pack says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    geometry::{Fit, Shrink},
    head::HeadForm,
};

/// The version of the pack's layout that this crate reads and writes.
pub const FORMAT: u32 = 3;

/// `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout version; another one than [`FORMAT`] is refused.
    pub format: u32,
    /// Name of the model, such as `tarsier-s`.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// The program that built the pack.
    pub built_by: String,
    /// Width and height of the network's input in pixels.
    pub input_px: u32,
    /// Width D of embeddings.
    pub embedding: u32,
    /// Steps in pixels between the locations of each level.
    pub strides: Vec<u32>,
    /// How a frame is brought to that size.
    #[serde(default)]
    pub fit: Fit,
    /// What it is resampled with where it shrinks; not written where it is the default, which older programs know.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shrink: Shrink,
    /// The colour that the network takes for nothing: red, green, blue of the pixels around its input.
    #[serde(default)]
    pub border: [u8; 3],
    /// What the head's outputs mean.
    #[serde(default)]
    pub head: HeadForm,
    /// Width of the sentence encoder's vectors where it is not that of embeddings: the prompts of a closed vocabulary are classes,
    /// and a sentence means the name that is nearest to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<u32>,
    /// Factor of the dot product of unit prompt and object embedding (APE: `exp(log_scale)`).
    pub alignment_scale: f32,
    /// Added to every logit (APE: `bias0`).
    pub alignment_bias: f32,
    /// Score from which a detection is reported if nothing else is asked.
    pub threshold: f32,
    /// Object masks, where the pack has a network for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<Masks>,
    /// Whether a prompted thing is in the picture at all, where the pack has a network for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceForm>,
    /// What stuff every place is of, where the pack has a network for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuff: Option<StuffForm>,
    /// How sentences are compared with a frame's objects, where the pack has a network for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<Ground>,
    /// The licence of the weights.
    pub licence: String,
    /// What the model was trained on.
    pub training_data: String,
    /// Measured numbers by name, such as `val AP, int8`.
    pub metrics: BTreeMap<String, f64>,
    /// SHA-256 of the head's outputs on `golden.png`, hexadecimal.
    pub golden: String,
    /// SHA-256 of every other section, hexadecimal.
    pub sha256: BTreeMap<String, String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the mask network's outputs are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masks {
    /// Input pixels between neighbouring points of a prototype.
    pub stride: u32,
    /// What a step of the coefficients is worth beside the box and the constant ([`Prototypes`](crate::segment::Prototypes)).
    pub unit: f32,
}

/// Presence logit of a prompt: `scale · (unit prompt · presence vector) + object · (its best object's logit) + bias`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceForm {
    /// Factor of what the whole picture says.
    pub scale: f32,
    /// Factor of what the best object says.
    pub object: f32,
    /// Added to both.
    pub bias: f32,
    /// Least score of something that is there.
    pub threshold: f32,
}

/// Stuff logit of a prompt at a place: `scale · (unit prompt · the place's vector) + bias`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StuffForm {
    /// Input pixels between neighbouring places.
    pub stride: u32,
    /// Factor of the dot product.
    pub scale: f32,
    /// Added to it.
    pub bias: f32,
    /// Least score of a pixel that is named.
    pub threshold: f32,
}

/// What the grounding network was trained with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ground {
    /// Factor of the dot product of unit sentence and object embedding, before any calibration.
    pub scale: f32,
    /// Added to it.
    pub bias: f32,
    /// Least logit of an object that is meant.
    pub gate: f32,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong: not JSON, a missing or unknown field, or another layout version.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        // the version first: a newer layout may have other fields
        let Version { format } = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if format != FORMAT {
            return Err(format!(
                "layout version {format}; this program reads {FORMAT}"
            ));
        }
        serde_json::from_slice(json).map_err(|e| e.to_string())
    }

    /// The manifest as indented JSON.
    ///
    /// # Errors
    ///
    /// If a number is not finite.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|e| e.to_string())
    }
}
