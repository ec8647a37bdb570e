//! What was found in a frame.
//!
//! Names follow ROS `vision_msgs/Detection2DArray`. Numbers are as exact as their writer has them:
//! each form rounds in its own way, JSON pixels to hundredths and scores to five digits.
//! Where a reader finds no field, the default stands for it: fields may be added within a version
//! of the wire, and an older writer does not have them.

use alloc::borrow::Cow;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    list::{List, Text},
    rounded,
};

/// A frame's report, and what a reader needs to trust it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "report", default)]
pub struct Report<'a> {
    /// Its number and wall-clock time.
    pub header: Header,
    /// Which run of the program this is: drawn at start, so that `run` and `header.seq` together
    /// never repeat.
    pub run: u32,
    /// The version of the prompt set that the frame was looked at with.
    pub prompts_version: u32,
    /// When the frame was captured: `CLOCK_MONOTONIC`, nanoseconds. Never goes back while the board
    /// is up.
    pub captured_ns: u64,
    /// From capture until the report was ready for the links, microseconds.
    pub latency_us: u32,
    /// Columns of the frame, pixels.
    pub width: u32,
    /// Rows of the frame, pixels.
    pub height: u32,
    /// Frames lost before this one, by cause, since the program started.
    pub dropped: Drops,
    /// Detections of this frame that found no room.
    pub crowded: u32,
    /// Best first, and behind them those that are [continued](Detection::continued).
    #[serde(borrow)]
    pub detections: List<'a, Detection<'a>>,
    /// Whether names are in the picture at all; absent where that was not asked.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub presence: Option<List<'a, Presence<'a>>>,
    /// How many names are in each state, those that are not listed too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_counts: Option<PresenceCounts>,
    /// Pixels that belong together; in JSON only, as what follows.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub segments: Option<List<'a, Segment<'a>>>,
    /// What each sentence means.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub groundings: Option<List<'a, Grounding<'a>>>,
    /// Everything there is.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub objects: Option<List<'a, Object<'a>>>,
    /// Whether things are followed, for sentences, which say `id`s then even where no detection has
    /// one yet. A reader of JSON goes by the `id`s.
    #[serde(skip)]
    pub followed: bool,
}

/// What can be told as a report.
pub trait ToReport {
    /// Lends the report. It may be made of what only lives as long as the call.
    fn to_report<R>(&self, tell: impl FnOnce(&Report<'_>) -> R) -> R;
}

impl ToReport for Report<'_> {
    fn to_report<R>(&self, tell: impl FnOnce(&Report<'_>) -> R) -> R {
        tell(self)
    }
}

/// Number and wall-clock time of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Counts reports of a run from 0. A gap is a report that the link lost.
    pub seq: u64,
    /// When the frame was captured.
    pub stamp: Stamp,
}

/// Seconds since 1970, and nanoseconds that always count forward, as in ROS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Seconds; negative before 1970.
    pub sec: i64,
    /// Nanoseconds since that second, below 1,000,000,000.
    pub nanosec: u32,
}

#[cfg(feature = "std")]
impl Stamp {
    /// That of a time.
    #[must_use]
    pub fn new(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::SystemTime::UNIX_EPOCH) {
            Ok(since) => Self {
                sec: since.as_secs() as i64,
                nanosec: since.subsec_nanos(),
            },
            // a board without a clock may well be before 1970
            Err(before) => {
                let before = before.duration();
                let borrow = before.subsec_nanos() > 0;
                Self {
                    sec: -(before.as_secs() as i64) - i64::from(borrow),
                    nanosec: (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000,
                }
            }
        }
    }
}

/// Frames lost, by cause, since the program started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drops {
    /// Overtaken by a newer frame before inference, or left out to hold the set rate.
    pub late: u64,
    /// Came damaged from the source.
    pub damaged: u64,
    /// Inference failed on them.
    pub failed: u64,
}

/// One prompt, found at one place.
///
/// `M` is how its pixels are written: on the wire always as a [`Mask`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detection<'a, M = Mask<'a>>
where
    M: Default,
{
    /// Where, in pixels of the frame.
    pub bbox: BoundingBox,
    /// What.
    #[serde(borrow)]
    pub results: [Hypothesis<'a>; 1],
    /// The track; absent where it has none yet, or nothing is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<TrackId>,
    /// The score of its name for its track, over time, `0..=1`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rounded::serialize_some_score"
    )]
    pub smoothed_score: Option<f32>,
    /// Whether this frame alone did not find it, and its track continues it.
    #[serde(skip_serializing_if = "is_false")]
    pub continued: bool,
    /// Where it lies as seen from the camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sight: Option<Sight>,
    /// Which pixels of the frame it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<M>,
    /// Index into the prompt set, for frames and sentences; in JSON `results` has the name.
    #[serde(skip)]
    pub prompt: u32,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A name, and how sure it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hypothesis<'a> {
    /// The prompt's text.
    #[serde(borrow)]
    pub class_id: Cow<'a, str>,
    /// `0..=1`; of an [`Object`] the cosine between name and object.
    #[serde(serialize_with = "rounded::serialize_score")]
    pub score: f32,
}

/// A box as ROS has it, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoundingBox {
    /// Its middle.
    pub center: Point,
    /// Its width.
    #[serde(serialize_with = "rounded::serialize_px")]
    pub size_x: f32,
    /// Its height.
    #[serde(serialize_with = "rounded::serialize_px")]
    pub size_y: f32,
}

/// A place in the frame, in pixels from the top left corner of the top left pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// To the right.
    #[serde(serialize_with = "rounded::serialize_px")]
    pub x: f32,
    /// Down.
    #[serde(serialize_with = "rounded::serialize_px")]
    pub y: f32,
}

/// The number of a track, from 1; in JSON a text of digits, as ROS's `Detection2D.id` is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrackId(pub u32);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for TrackId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TrackId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl de::Visitor<'_> for Digits {
            type Value = TrackId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text of digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TrackId, E> {
                text.parse().map(TrackId).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// Where a thing lies as seen from the camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sight {
    /// Degrees from straight ahead, to the right.
    #[serde(serialize_with = "rounded::serialize_degrees")]
    pub bearing_deg: f32,
    /// Degrees above the horizon.
    #[serde(serialize_with = "rounded::serialize_degrees")]
    pub elevation_deg: f32,
    /// Metres along the level ground; absent where that cannot be told.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rounded::serialize_some_metres"
    )]
    pub range_m: Option<f32>,
    /// Its standard deviation, metres; there where `range_m` is.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rounded::serialize_some_metres"
    )]
    pub range_sd_m: Option<f32>,
}

/// Pixels as COCO's tools read them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mask<'a> {
    /// Rows and columns of the frame.
    pub size: [u32; 2],
    /// Run lengths down the columns, compressed.
    #[serde(borrow)]
    pub counts: Text<'a>,
}

/// Whether a name is in the picture at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Presence<'a> {
    /// The prompt's text, or its group's.
    #[serde(borrow)]
    pub class_id: Cow<'a, str>,
    /// What holds.
    pub state: PresenceState,
    /// How likely it is there by this frame alone, `0..=1`.
    #[serde(serialize_with = "rounded::serialize_score")]
    pub score: f32,
    /// The score of its best object in this frame, however low.
    #[serde(serialize_with = "rounded::serialize_score")]
    pub best: f32,
    /// In the one report with which it appeared or is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// Index into the prompt set, for frames and sentences.
    #[serde(skip)]
    pub prompt: u32,
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
    /// All of them, in the order of their numbers in frames, from 1.
    pub const ALL: [Self; 3] = [Self::There, Self::Unsure, Self::NotThere];

    /// As JSON and sentences write it.
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
    /// All of them, in the order of their numbers in frames, from 1.
    pub const ALL: [Self; 2] = [Self::Appeared, Self::Gone];

    /// As JSON and sentences write it.
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
#[serde(default)]
pub struct PresenceCounts {
    /// That are there.
    pub there: u32,
    /// Of which it is not known.
    pub unsure: u32,
    /// That are not.
    pub not_there: u32,
}

/// The pixels of a name, a thing, or a region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Segment<'a> {
    /// Its name.
    #[serde(borrow)]
    pub class_id: Cow<'a, str>,
    /// Whether it is a thing; else stuff.
    #[serde(rename = "isthing")]
    pub thing: bool,
    /// How sure that is, `0..=1`.
    #[serde(serialize_with = "rounded::serialize_score")]
    pub score: f32,
    /// How many pixels it has.
    pub area: u64,
    /// Its pixels.
    #[serde(borrow)]
    pub mask: Mask<'a>,
}

/// What a sentence means.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grounding<'a> {
    /// The sentence.
    #[serde(borrow)]
    pub sentence: Cow<'a, str>,
    /// How likely it is that the best object is meant, `0..=1`.
    #[serde(serialize_with = "rounded::serialize_score")]
    pub score: f32,
    /// That object; none if nothing is meant.
    pub bbox: Option<BoundingBox>,
}

/// Something, whatever it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Object<'a> {
    /// Where.
    pub bbox: BoundingBox,
    /// How likely it is that there is an object at all, `0..=1`.
    #[serde(serialize_with = "rounded::serialize_score")]
    pub objectness: f32,
    /// The nearest names, nearest first.
    #[serde(borrow)]
    pub results: List<'a, Hypothesis<'a>>,
}

impl Report<'_> {
    /// Whether some detection has a smoothed score.
    #[must_use]
    pub fn is_smoothed(&self) -> bool {
        let smoothed = |_, d: &Detection<'_>| d.smoothed_score.map(|_| ());
        self.detections.find(usize::MAX, smoothed).is_some()
    }

    /// Whether detections say where they lie as seen from the camera.
    #[must_use]
    pub fn has_sights(&self) -> bool {
        let seen = |_, d: &Detection<'_>| d.sight.map(|_| ());
        self.detections.find(usize::MAX, seen).is_some()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn times_before_1970_count_nanoseconds_forward() {
        let stamp = |nanos| {
            let stamp = Stamp::new(SystemTime::UNIX_EPOCH - Duration::from_nanos(nanos));
            (stamp.sec, stamp.nanosec)
        };
        assert_eq!(stamp(0), (0, 0));
        assert_eq!(stamp(1), (-1, 999_999_999));
        assert_eq!(stamp(1_000_000_000), (-1, 0));
        assert_eq!(stamp(1_500_000_000), (-2, 500_000_000));
    }
}
