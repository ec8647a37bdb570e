//! What a frame yields: detections, in fixed capacity, and the report that holds them.
//!
//! Values only. They are made by `detect`, and read by `report` and `draw`.
//! Overflow is visible: the best [`MAX_DETECTIONS`] are kept and the others are
//! counted in [`Report::dropped`].

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::geometry::{
    BBox, Size,
    camera::{Camera, Sight},
};
use crate::{kept::Kept, mask::Mask};

/// How many detections one report can hold.
pub const MAX_DETECTIONS: usize = 300;

/// One prompt, found at one place in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Where, in frame space and clipped to the frame; never empty.
    pub bbox: BBox,
    /// How likely, `0..=1`: the sigmoid of `logit`.
    pub score: f32,
    /// Natural-log odds; orders detections where scores round to the same value.
    pub logit: f32,
    /// What: an index into the prompt set that the frame was looked at with.
    pub prompt: u32,
    /// Which location of the head saw it: finest level first, row by row. Names
    /// the object's embedding in that frame's head output.
    pub location: u32,
}

/// Everything that one frame yielded.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the frame was captured.
    pub captured: SystemTime,
    /// The frame's size; boxes are inside it.
    pub size: Size,
    /// Best first: by logit, then location, then prompt.
    pub detections: heapless::Vec<Detection, MAX_DETECTIONS>,
    /// Detections that passed their threshold and NMS but found no room.
    pub dropped: u32,
    /// The track of each detection, in their order, 0 for one that has none yet; empty where nothing is tracked.
    pub tracks: heapless::Vec<u32, MAX_DETECTIONS>,
    /// Where each detection lies as seen from the camera, in their order; empty where no camera is described.
    pub sights: heapless::Vec<Sight, MAX_DETECTIONS>,
    /// A mask for each detection, in their order; none where none were asked for.
    pub masks: Kept<Mask>,
    /// Whether prompts are in the picture at all; none where that was not asked. Of a single picture all prompts, in their order; in
    /// `run` those that matter most, first.
    pub presences: Vec<Presence>,
    /// How many names are in each state, those that are not among `presences` included.
    pub presence_counts: PresenceCounts,
}

/// Names of one object, nearest first: an index into the prompt set, and the cosine between the name and the object.
pub type Nearest = Vec<(u32, f32)>;

/// Whether something is in the picture at all, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Presence {
    /// What: an index into the prompt set.
    pub prompt: u32,
    /// How likely it is there, `0..=1`.
    pub score: f32,
    /// The score of its best object, however low.
    pub best: f32,
    /// What that comes to: of a single picture as it is read, in `run` as it has held for a while.
    pub state: PresenceState,
    /// What became of it in this frame.
    pub change: Option<Change>,
}

/// Whether something is there: what it comes to in three words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// It is in the picture.
    There,
    /// Nothing that was seen says so, nor the contrary.
    #[default]
    Unsure,
    /// It is nowhere in the picture.
    NotThere,
}

impl PresenceState {
    /// As reports write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Unsure => "unsure",
            Self::NotThere => "not_there",
        }
    }
}

/// What happened to a thing: of presence the first two; others come with other sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is there now, and was not, or was not known.
    Appeared,
    /// It was there, and is not any more.
    Gone,
}

impl Change {
    /// As reports write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Gone => "gone",
        }
    }
}

/// How many names are in each state of presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceCounts {
    /// That are there.
    pub there: u32,
    /// Of which it is not known.
    pub unsure: u32,
    /// That are not.
    pub not_there: u32,
}

impl Clone for Report {
    fn clone(&self) -> Self {
        let mut own = Self::new(self.sequence, self.captured, self.size);
        own.clone_from(self);
        own
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        let Self {
            sequence,
            captured,
            size,
            detections,
            dropped,
            tracks,
            sights,
            masks,
            presences,
            presence_counts,
        } = source;
        (self.sequence, self.captured, self.size) = (*sequence, *captured, *size);
        self.dropped = *dropped;
        self.presence_counts = *presence_counts;
        self.detections.clone_from(detections);
        self.tracks.clone_from(tracks);
        self.sights.clone_from(sights);
        self.masks.clone_from(masks);
        self.presences.clone_from(presences);
    }
}

impl Report {
    /// A report of a frame in which nothing has been found yet.
    pub fn new(sequence: u64, captured: SystemTime, size: Size) -> Self {
        Self {
            sequence,
            captured,
            size,
            detections: heapless::Vec::new(),
            dropped: 0,
            tracks: heapless::Vec::new(),
            sights: heapless::Vec::new(),
            masks: Kept::new(),
            presences: Vec::new(),
            presence_counts: PresenceCounts::default(),
        }
    }

    /// Makes the report of a part of a frame one of the whole: moves boxes and masks by `x`, `y`, and keeps those detections whose
    /// centre `counts`.
    pub fn place(&mut self, (x, y): (u32, u32), frame: Size, counts: impl Fn(f32, f32) -> bool) {
        let part = std::mem::replace(&mut self.size, frame);
        for detection in &mut self.detections {
            detection.bbox = detection.bbox.moved(x as f32, y as f32);
        }
        if (x, y) != (0, 0) || part != frame {
            // each into the memory of the one before it
            let count = self.masks.len();
            self.masks.next();
            let (masks, spare) = self.masks.split_at_mut(count);
            for mask in masks {
                mask.place_into(part.height, (x, y), frame, &mut spare[0]);
                std::mem::swap(mask, &mut spare[0]);
            }
            self.masks.truncate(count);
        }
        self.retain(|detection| {
            let (cx, cy) = detection.bbox.center();
            counts(cx, cy)
        });
    }

    /// Keeps some of the detections, with their masks, tracks and sights.
    pub fn retain(&mut self, keep: impl Fn(&Detection) -> bool) {
        let kept: heapless::Vec<bool, MAX_DETECTIONS> = self.detections.iter().map(&keep).collect();
        let mut own = kept.iter();
        self.masks.retain(|_| own.next() == Some(&true));
        let mut own = kept.iter();
        self.tracks.retain(|_| own.next() == Some(&true));
        let mut own = kept.iter();
        self.sights.retain(|_| own.next() == Some(&true));
        self.detections.retain(keep);
    }

    /// Says of each detection where it lies as seen from the camera; `part` is what was looked at, in pixels of the frame.
    pub fn sight(&mut self, camera: &Camera, part: &BBox) {
        let sights = self.detections.iter().map(|d| camera.sight(&d.bbox, part));
        self.sights.clear();
        self.sights.extend(sights);
    }

    /// The track of a detection, from 1; none where it has none, or nothing is tracked.
    #[must_use]
    pub fn track(&self, detection: usize) -> Option<u32> {
        self.tracks.get(detection).copied().filter(|&id| id != 0)
    }
}

/// The prompt set seen from a report: what a prompt's index is called.
pub trait Names {
    /// The prompt's text, as the user wrote it.
    ///
    /// # Panics
    ///
    /// May panic if the index is not of the set that the report was made with.
    fn name(&self, prompt: u32) -> &str;
}

impl<S: AsRef<str>> Names for [S] {
    fn name(&self, prompt: u32) -> &str {
        self[prompt as usize].as_ref()
    }
}

impl<S: AsRef<str>, const N: usize> Names for [S; N] {
    fn name(&self, prompt: u32) -> &str {
        self[prompt as usize].as_ref()
    }
}

impl<S: AsRef<str>> Names for Vec<S> {
    fn name(&self, prompt: u32) -> &str {
        self[prompt as usize].as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_refuses_the_detection_after_the_last_and_hands_it_back() {
        let detection = Detection {
            bbox: BBox::new(0.0, 0.0, 1.0, 1.0),
            score: 0.5,
            logit: 0.0,
            prompt: 7,
            location: 0,
        };
        let mut report = Report::new(0, SystemTime::UNIX_EPOCH, Size::new(1, 1));
        for _ in 0..MAX_DETECTIONS {
            report.detections.push(detection).expect("room");
        }
        assert_eq!(report.detections.push(detection), Err(detection));
    }

    #[test]
    fn a_slice_of_texts_names_prompts_by_index() {
        let names: &[&str] = &["cup", "door"];
        assert_eq!(names.name(1), "door");
        assert_eq!(vec![String::from("cup")].name(0), "cup");
    }
}
