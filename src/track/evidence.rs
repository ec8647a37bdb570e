//! What a tracker is told of a frame beside its report.

use crate::geometry::BBox;

/// A place that the head proposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Its location in the head, as in [`Detection::location`](crate::scene::Detection::location).
    pub location: u32,
    /// Where, in frame space and clipped to the frame.
    pub bbox: BBox,
}

/// What else is known of a frame, beside its report. `()` knows nothing: then boxes and names alone decide.
pub trait Evidence {
    /// Values of an embedding; 0 where there are none.
    fn dimension(&self) -> usize;
    /// Writes the embedding of a location, of any length but nothing; false if it is not known.
    fn look(&self, location: u32, values: &mut [f32]) -> bool;
    /// How many places were proposed.
    fn places(&self) -> usize;
    /// One of them.
    fn place(&self, index: usize) -> Place;
    /// Its log odds for a prompt.
    fn logit(&self, index: usize, prompt: u32) -> f32;
}

impl Evidence for () {
    fn dimension(&self) -> usize {
        0
    }
    fn look(&self, _: u32, _: &mut [f32]) -> bool {
        false
    }
    fn places(&self) -> usize {
        0
    }
    fn place(&self, _: usize) -> Place {
        Place {
            location: 0,
            bbox: BBox::default(),
        }
    }
    fn logit(&self, _: usize, _: u32) -> f32 {
        f32::NEG_INFINITY
    }
}
