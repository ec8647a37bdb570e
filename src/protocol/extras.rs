//! What a report holds beside detections, where `[task]` or `set_task` asks for it: segments, sentences' objects, all objects.

use serde::{Serialize, Serializer};

use crate::{
    geometry::{BBox, Size},
    mask::Mask,
    report::{json::BoundingBox2d, pixels::Rle, score},
};

/// What was asked for of one frame; nothing by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// Pixels that belong together.
    pub segments: Option<Vec<Segment>>,
    /// What each sentence means.
    pub groundings: Option<Vec<Grounded>>,
    /// Everything there is.
    pub objects: Option<Vec<Object>>,
}

/// The pixels of a name, a thing, or a region.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its name.
    pub class_id: String,
    /// Whether it is a thing; else stuff.
    pub thing: bool,
    /// How sure that is, `0..=1`.
    pub score: f32,
    /// Its pixels.
    pub mask: Mask,
}

/// What a sentence means.
#[derive(Clone, Debug, PartialEq)]
pub struct Grounded {
    /// The sentence.
    pub sentence: String,
    /// How likely it is that the best object is meant, `0..=1`.
    pub score: f32,
    /// That object; none if nothing is meant.
    pub bbox: Option<BBox>,
}

/// Something, whatever it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Where.
    pub bbox: BBox,
    /// How likely it is that there is an object at all, `0..=1`.
    pub objectness: f32,
    /// The nearest names, and the cosine between each and the object.
    pub names: Vec<(String, f32)>,
}

/// Segments as JSON.
pub(super) struct Segments<'a>(pub(super) &'a [Segment], pub(super) Size);

impl Serialize for Segments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            class_id: &'a str,
            isthing: bool,
            score: f32,
            area: u64,
            mask: Rle,
        }
        serializer.collect_seq(self.0.iter().map(|segment| Fields {
            class_id: &segment.class_id,
            isthing: segment.thing,
            score: score(segment.score),
            area: segment.mask.area(),
            mask: Rle::new(&segment.mask, self.1),
        }))
    }
}

/// What sentences mean, as JSON.
pub(super) struct Groundings<'a>(pub(super) &'a [Grounded]);

impl Serialize for Groundings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            sentence: &'a str,
            score: f32,
            bbox: Option<BoundingBox2d>,
        }
        serializer.collect_seq(self.0.iter().map(|grounded| Fields {
            sentence: &grounded.sentence,
            score: score(grounded.score),
            bbox: grounded.bbox.as_ref().map(BoundingBox2d::new),
        }))
    }
}

/// Objects as JSON.
pub(super) struct Objects<'a>(pub(super) &'a [Object]);

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            bbox: BoundingBox2d,
            objectness: f32,
            results: Vec<Named<'a>>,
        }
        #[derive(Serialize)]
        struct Named<'a> {
            class_id: &'a str,
            score: f32,
        }
        serializer.collect_seq(self.0.iter().map(|object| {
            let named = object.names.iter().map(|(name, likeness)| Named {
                class_id: name,
                score: score(*likeness),
            });
            Fields {
                bbox: BoundingBox2d::new(&object.bbox),
                objectness: score(object.objectness),
                results: named.collect(),
            }
        }))
    }
}
