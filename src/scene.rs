//! What a frame yields: detections, and the report that holds them.
//!
//! Values only. They are made by `detect`, and read by `report` and `draw`.
//! No more than [`MAX_PER_PROMPT`] of one prompt and [`MAX_DETECTIONS`] of all are kept, and what
//! finds no room is counted in [`Report::dropped`]. A report's lists grow to what its fullest frame
//! had and stay so long.

use std::time::SystemTime;

pub use tarsier_wire::report::{Change, PresenceCounts, PresenceState};

use crate::geometry::{
    BBox, Size,
    camera::{Camera, Sight},
};
use crate::{kept::Kept, mask::Mask};

/// How many detections of one prompt a report can hold, the best ones.
///
/// As many as places are proposed in a frame by default, so that one prompt alone misses none; three
/// times what COCO's tools read of a category.
pub const MAX_PER_PROMPT: usize = 300;

/// How many detections one report can hold, of all prompts together.
///
/// More than 13 names for each of 300 places, and more than the vocabulary has names, so that each of
/// these keeps its best. As many still go into one frame of the wire, and in JSON, with tracks and
/// directions, into the default limit of a report. Where there are more, every prompt keeps its best *k*, the same *k*
/// for all: no prompt takes the room of another.
pub const MAX_DETECTIONS: usize = 4096;

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

/// What tracking says of a detection beside its id.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Smoothed {
    /// The score of its name for its track, smoothed over time, `0..=1`; 0 if it has no track, or
    /// the track does not keep the name.
    pub score: f32,
    /// Whether this frame alone did not find it: its own score is too low, its smoothed one is not.
    pub continued: bool,
}

/// Everything that one frame yielded.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the frame was captured.
    pub captured: SystemTime,
    /// The whole frame's size; boxes are inside it.
    pub size: Size,
    /// Best first: by logit, then location, then prompt. Behind them, in the same order, those that
    /// tracks [continued](Smoothed::continued).
    pub detections: Vec<Detection>,
    /// Detections that passed their threshold and NMS but found no room.
    pub dropped: u32,
    /// The track of each detection, in their order, 0 for one that has none yet; empty where nothing is tracked.
    pub tracks: Vec<u32>,
    /// What tracking says of each detection beside that, in their order; empty where nothing is tracked.
    pub smoothed: Vec<Smoothed>,
    /// Where each detection lies as seen from the camera, in their order; empty where no camera is described.
    pub sights: Vec<Sight>,
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

impl Clone for Report {
    fn clone(&self) -> Self {
        let mut own = Self::new(self.sequence, self.captured, self.size);
        own.clone_from(self);
        own
    }

    /// Allocates only where there is more than there ever was.
    fn clone_from(&mut self, source: &Self) {
        let Self {
            sequence,
            captured,
            size,
            detections,
            dropped,
            tracks,
            smoothed,
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
        self.smoothed.clone_from(smoothed);
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
            detections: Vec::new(),
            dropped: 0,
            tracks: Vec::new(),
            smoothed: Vec::new(),
            sights: Vec::new(),
            masks: Kept::new(),
            presences: Vec::new(),
            presence_counts: PresenceCounts::default(),
        }
    }

    /// Forgets what was found and keeps the memory.
    pub fn clear(&mut self) {
        self.detections.clear();
        self.dropped = 0;
        self.tracks.clear();
        self.smoothed.clear();
        self.sights.clear();
        self.masks.clear();
        self.presences.clear();
    }

    /// Keeps some of the detections, with their masks, tracks and sights.
    pub fn retain(&mut self, keep: impl Fn(&Detection) -> bool) {
        let Self {
            detections,
            tracks,
            smoothed,
            sights,
            masks,
            ..
        } = self;
        // asked again for each list: a list of answers would be memory for every frame
        let answers = || detections.iter().map(&keep);
        let mut own = answers();
        masks.retain(|_| own.next() == Some(true));
        let mut own = answers();
        tracks.retain(|_| own.next() == Some(true));
        let mut own = answers();
        smoothed.retain(|_| own.next() == Some(true));
        let mut own = answers();
        sights.retain(|_| own.next() == Some(true));
        detections.retain(&keep);
    }

    /// Says of each detection where it lies as seen from the camera; `part` is what was looked at, in pixels of the frame.
    pub fn sight(&mut self, camera: &Camera, part: &BBox) {
        let sights = self.detections.iter().map(|d| camera.sight(&d.bbox, part));
        self.sights.clear();
        self.sights.extend(sights);
    }

    /// Whether a detection has a smoothed score.
    #[must_use]
    pub fn is_smoothed(&self) -> bool {
        self.smoothed.iter().any(|s| s.score > 0.0)
    }

    /// The smoothed score of a detection; none where it has none.
    #[must_use]
    pub fn smoothed_score(&self, detection: usize) -> Option<f32> {
        let smoothed = self.smoothed.get(detection);
        smoothed.map(|s| s.score).filter(|&score| score > 0.0)
    }

    /// Whether a detection is one that its track continued.
    #[must_use]
    pub fn continued(&self, detection: usize) -> bool {
        self.smoothed.get(detection).is_some_and(|s| s.continued)
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

    fn detection(prompt: u32) -> Detection {
        Detection {
            bbox: BBox::new(0.0, 0.0, 1.0, 1.0),
            score: 0.5,
            logit: 0.0,
            prompt,
            location: 0,
        }
    }

    #[test]
    fn what_is_known_of_a_detection_goes_and_stays_with_it() {
        let mut report = Report::new(0, SystemTime::UNIX_EPOCH, Size::new(1, 1));
        let smoothed = |score, continued| Smoothed { score, continued };
        report.detections.extend([7, 8, 9].map(detection));
        report.tracks.extend([1, 0, 2]);
        report.smoothed.extend([
            smoothed(0.5, false),
            smoothed(0.0, false),
            smoothed(0.25, true),
        ]);
        let whole = report.clone();
        assert_eq!(whole, report);
        report.retain(|d| d.prompt != 7);
        assert_eq!((report.track(0), report.track(1)), (None, Some(2)));
        let scores = [0, 1].map(|i| report.smoothed_score(i));
        assert_eq!(scores, [None, Some(0.25)]);
        assert_eq!([0, 1].map(|i| report.continued(i)), [false, true]);
    }

    #[test]
    fn a_slice_of_texts_names_prompts_by_index() {
        let names: &[&str] = &["cup", "door"];
        assert_eq!(names.name(1), "door");
        assert_eq!(vec![String::from("cup")].name(0), "cup");
    }
}
