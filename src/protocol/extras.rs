//! What a report holds beside detections, where `[task]` or `set_task` asks for it: segments, sentences' objects, all objects.

use std::borrow::Cow;

use tarsier_wire::{
    list::{Items, List},
    report::{self as wire, Hypothesis},
};

use crate::{
    geometry::{BBox, Size},
    kept::Kept,
    mask::Mask,
    report::shapes::{bounding_box, rle},
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

/// Segments of a frame of some size.
pub(super) struct Segments<'a>(pub(super) &'a [Segment], pub(super) Size);

impl<'a> Items<'a, wire::Segment<'a>> for Segments<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn item(&'a self, index: usize) -> wire::Segment<'a> {
        let segment = &self.0[index];
        wire::Segment {
            class_id: Cow::Borrowed(&segment.class_id),
            thing: segment.thing,
            score: segment.score,
            area: segment.mask.area(),
            mask: rle(&segment.mask, self.1),
        }
    }
}

impl<'a> Items<'a, wire::Grounding<'a>> for Kept<Grounded> {
    fn count(&self) -> usize {
        self.len()
    }

    fn item(&'a self, index: usize) -> wire::Grounding<'a> {
        let grounded = &self[index];
        wire::Grounding {
            sentence: Cow::Borrowed(&grounded.sentence),
            score: grounded.score,
            bbox: grounded.bbox.as_ref().map(bounding_box),
        }
    }
}

impl<'a> Items<'a, wire::Object<'a>> for Kept<Object> {
    fn count(&self) -> usize {
        self.len()
    }

    fn item(&'a self, index: usize) -> wire::Object<'a> {
        let object = &self[index];
        wire::Object {
            bbox: bounding_box(&object.bbox),
            objectness: object.objectness,
            results: List::Made(&object.names),
        }
    }
}

impl<'a> Items<'a, Hypothesis<'a>> for Kept<Named> {
    fn count(&self) -> usize {
        self.len()
    }

    fn item(&'a self, index: usize) -> Hypothesis<'a> {
        let named = &self[index];
        Hypothesis {
            class_id: Cow::Borrowed(&named.name),
            score: named.likeness,
        }
    }
}
