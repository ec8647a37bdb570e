//! What a report holds beside detections, where `[task]` or `set_task` asks for it: segments, sentences' objects, all objects.

use serde::{Serialize, Serializer};

use crate::{
    geometry::{BBox, Size},
    kept::Kept,
    mask::Mask,
    report::{json::BoundingBox2d, pixels::Rle, score},
};

/// What was asked for of one frame; nothing by default.
#[derive(Debug, Default, PartialEq)]
pub struct Extras {
    /// Pixels that belong together.
    pub segments: Option<Kept<Segment>>,
    /// What each sentence means.
    pub groundings: Option<Kept<Grounded>>,
    /// Everything there is.
    pub objects: Option<Kept<Object>>,
}

impl Clone for Extras {
    fn clone(&self) -> Self {
        let mut own = Self::default();
        own.clone_from(self);
        own
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        self.segments.clone_from(&source.segments);
        self.groundings.clone_from(&source.groundings);
        self.objects.clone_from(&source.objects);
    }
}

/// The pixels of a name, a thing, or a region.
#[derive(Debug, Default, PartialEq)]
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

impl Clone for Segment {
    fn clone(&self) -> Self {
        let mut own = Self::default();
        own.clone_from(self);
        own
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        self.class_id.clone_from(&source.class_id);
        (self.thing, self.score) = (source.thing, source.score);
        self.mask.clone_from(&source.mask);
    }
}

/// What a sentence means.
#[derive(Debug, Default, PartialEq)]
pub struct Grounded {
    /// The sentence.
    pub sentence: String,
    /// How likely it is that the best object is meant, `0..=1`.
    pub score: f32,
    /// That object; none if nothing is meant.
    pub bbox: Option<BBox>,
}

impl Clone for Grounded {
    fn clone(&self) -> Self {
        let mut own = Self::default();
        own.clone_from(self);
        own
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        self.sentence.clone_from(&source.sentence);
        (self.score, self.bbox) = (source.score, source.bbox);
    }
}

/// Something, whatever it is.
#[derive(Debug, Default, PartialEq)]
pub struct Object {
    /// Where.
    pub bbox: BBox,
    /// How likely it is that there is an object at all, `0..=1`.
    pub objectness: f32,
    /// The nearest names.
    pub names: Kept<Named>,
}

/// A name, and how near it is to an object.
#[derive(Debug, Default, PartialEq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The cosine between both.
    pub likeness: f32,
}

impl Clone for Named {
    fn clone(&self) -> Self {
        let mut own = Self::default();
        own.clone_from(self);
        own
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        self.name.clone_from(&source.name);
        self.likeness = source.likeness;
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        let mut own = Self::default();
        own.clone_from(self);
        own
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        (self.bbox, self.objectness) = (source.bbox, source.objectness);
        self.names.clone_from(&source.names);
    }
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
            mask: Rle<'a>,
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
            results: Names<'a>,
        }

        serializer.collect_seq(self.0.iter().map(|object| Fields {
            bbox: BoundingBox2d::new(&object.bbox),
            objectness: score(object.objectness),
            results: Names(&object.names),
        }))
    }
}

/// An object's names, as JSON.
struct Names<'a>(&'a [Named]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            class_id: &'a str,
            score: f32,
        }

        serializer.collect_seq(self.0.iter().map(|named| Fields {
            class_id: &named.name,
            score: score(named.likeness),
        }))
    }
}
