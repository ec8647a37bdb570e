//! What the values in a head's outputs mean.
//!
//! Every detector that the runtime hosts says at each location what is there and where. The student's head is the default; the
//! others are those of imported detectors, whose class logits are the embedding and whose prompts are its axes.

use serde::{Deserialize, Serialize};

/// How a head writes what it found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadForm {
    /// How a box is written.
    pub boxes: BoxForm,
    /// Where in its cell a location lies: 0 at the corner, 0.5 in the middle.
    pub grid: f32,
    /// What says that there is something at a location.
    pub objectness: Objectness,
    /// What a score needs of it; nothing, where this was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
}

/// The objectness of what scores so high: of pairs with the log odds `l`, 99 in 100 lie where the objectness logit is at
/// least `scale · l + bias`.
///
/// A location below that is not compared with a prompt of the threshold `l`: of hundreds of proposals some dozens are left, the fewer
/// the less there is to see. `models/recipe/tarsier_recipe/packs/floor.py` measures it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Objectness logits for one of the threshold; not negative.
    pub scale: f32,
    /// Added to that.
    pub bias: f32,
}

impl Default for HeadForm {
    fn default() -> Self {
        Self {
            boxes: BoxForm::Distances,
            grid: 0.5,
            objectness: Objectness::Ranks,
            floor: None,
        }
    }
}

/// The values of a box; all lengths in strides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxForm {
    /// Left, top, right, bottom from the location.
    Distances,
    /// For each of those four so many logits, of a distribution over 0, 1, 2, …; the distance is its mean
    /// (generalized focal loss, Li et al. 2020).
    Distribution(u8),
    /// Centre from the location, then the logarithms of width and height (YOLOX).
    CentreAndSize,
    /// The logarithms of left, top, right, bottom from the location (larger RTMDets).
    LogDistances,
}

/// What says that there is something at a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objectness {
    /// A logit behind the box, stored as `logit / 2 + 5`: the best locations are aligned.
    Ranks,
    /// The same, and every score is multiplied by it (YOLOX).
    Multiplies,
    /// No logit: the greatest value of the embedding, whose values are class logits, ranks.
    BestClass,
}

impl HeadForm {
    /// Where the objectness logit lies behind the box.
    #[must_use]
    pub const fn objectness_at(&self) -> Option<usize> {
        match (self.objectness, self.boxes) {
            (Objectness::BestClass, _) => None,
            (_, BoxForm::Distribution(bins)) => Some(4 * bins as usize),
            _ => Some(4),
        }
    }

    /// The objectness logit of a value that the head gives; 0 if it has none.
    #[must_use]
    pub const fn objectness_logit(&self, value: f32) -> f32 {
        match self.objectness {
            Objectness::Ranks => 2.0 * (value - 5.0),
            Objectness::Multiplies => value,
            Objectness::BestClass => 0.0,
        }
    }

    /// The least objectness, as the head gives it, of locations that are compared with a prompt whose least logit is `threshold`.
    #[must_use]
    pub const fn least_value(&self, threshold: f32) -> f32 {
        match self.floor {
            None => f32::NEG_INFINITY,
            // objectness_logit, turned around
            Some(floor) => 0.5 * (floor.scale * threshold + floor.bias) + 5.0,
        }
    }

    /// Channels of the geometry: box and objectness, in whole planes of 16; what is left over has no meaning.
    #[must_use]
    pub const fn channels(&self) -> usize {
        let boxes = match self.boxes {
            BoxForm::Distances | BoxForm::CentreAndSize | BoxForm::LogDistances => 4,
            BoxForm::Distribution(bins) => 4 * bins as usize,
        };
        let objectness = self.objectness_at().is_some() as usize;
        (boxes + objectness).next_multiple_of(16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_is_whole_planes() {
        assert_eq!(HeadForm::default().channels(), 16);
        let form = |boxes, objectness| HeadForm {
            boxes,
            grid: 0.0,
            objectness,
            floor: None,
        };
        assert_eq!(
            form(BoxForm::Distribution(8), Objectness::BestClass).channels(),
            32
        );
        assert_eq!(
            form(BoxForm::Distribution(8), Objectness::Ranks).channels(),
            48
        );
    }

    #[test]
    fn a_form_is_written_in_words() {
        let form = HeadForm {
            boxes: BoxForm::Distribution(8),
            grid: 0.0,
            objectness: Objectness::BestClass,
            floor: None,
        };
        let json = serde_json::to_string(&form).expect("JSON");
        assert_eq!(
            json,
            r#"{"boxes":{"distribution":8},"grid":0.0,"objectness":"best_class"}"#
        );
        assert_eq!(
            serde_json::from_str::<HeadForm>(&json).expect("a form"),
            form
        );
    }

    #[test]
    fn the_floor_is_in_the_heads_terms() {
        let json = r#"{"boxes":"distances","grid":0.5,"objectness":"ranks","floor":{"scale":0.25,"bias":-0.5}}"#;
        let form: HeadForm = serde_json::from_str(json).expect("a form");
        let least = form.least_value(-2.0);
        assert_eq!(form.objectness_logit(least), 0.25 * -2.0 - 0.5);
        assert_eq!(HeadForm::default().least_value(9.0), f32::NEG_INFINITY);
    }
}
