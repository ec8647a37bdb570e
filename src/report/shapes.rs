//! What was found in a frame, in its shape on the wire ([`tarsier_wire::report`]): the programs' reports and the links' are made of it.

use std::{borrow::Cow, time::SystemTime};

use tarsier_wire::{
    Stamp,
    list::{Items, Text},
    report::{self as wire, Header, Hypothesis, Point, TrackId},
};

use crate::{
    geometry::{BBox, Size, camera::Sight},
    mask::Mask,
    scene::{Names, Report},
};

pub(crate) fn header(seq: u64, captured: SystemTime) -> Header {
    let stamp = Stamp::new(captured);
    Header { seq, stamp }
}

pub(crate) fn bounding_box(bbox: &BBox) -> wire::BoundingBox {
    let (x, y) = bbox.center();
    wire::BoundingBox {
        center: Point { x, y },
        size_x: bbox.width(),
        size_y: bbox.height(),
    }
}

/// A mask of a frame of some size, as COCO's tools read it.
pub(crate) fn rle(mask: &Mask, size: Size) -> wire::Mask<'_> {
    wire::Mask {
        size: [size.height, size.width],
        counts: Text::Made(mask),
    }
}

fn sight(sight: &Sight) -> wire::Sight {
    wire::Sight {
        bearing_deg: sight.bearing_deg,
        elevation_deg: sight.elevation_deg,
        range_m: sight.range.map(|r| r.metres),
        range_sd_m: sight.range.map(|r| r.sd),
    }
}

/// A detection of a report, its mask in some form.
pub(crate) fn detection<'a, M: Default>(
    names: &'a dyn Names,
    report: &'a Report,
    index: usize,
    pixels: impl FnOnce(&'a Mask, &BBox) -> M,
) -> wire::Detection<'a, M> {
    let detection = &report.detections[index];
    wire::Detection {
        bbox: bounding_box(&detection.bbox),
        results: [Hypothesis {
            class_id: Cow::Borrowed(names.name(detection.prompt)),
            score: detection.score,
        }],
        id: report.track(index).map(TrackId),
        smoothed_score: report.smoothed_score(index),
        continued: report.continued(index),
        sight: report.sights.get(index).map(sight),
        mask: (report.masks.get(index)).map(|mask| pixels(mask, &detection.bbox)),
        prompt: detection.prompt,
    }
}

/// The detections of a report, one after the other.
pub(crate) struct Detections<'a> {
    pub(crate) names: &'a dyn Names,
    pub(crate) report: &'a Report,
}

impl<'a> Items<'a, wire::Detection<'a>> for Detections<'_> {
    fn count(&self) -> usize {
        self.report.detections.len()
    }

    fn item(&'a self, index: usize) -> wire::Detection<'a> {
        let size = self.report.size;
        detection(self.names, self.report, index, |mask, _| rle(mask, size))
    }
}

/// The presence of names in a report, one after the other.
pub(crate) struct Presences<'a> {
    names: &'a dyn Names,
    report: &'a Report,
}

impl<'a> Presences<'a> {
    /// None where that was not asked.
    pub(crate) fn new(names: &'a dyn Names, report: &'a Report) -> Option<Self> {
        (!report.presences.is_empty()).then_some(Self { names, report })
    }
}

impl<'a> Items<'a, wire::Presence<'a>> for Presences<'_> {
    fn count(&self) -> usize {
        self.report.presences.len()
    }

    fn item(&'a self, index: usize) -> wire::Presence<'a> {
        let presence = &self.report.presences[index];
        wire::Presence {
            class_id: Cow::Borrowed(self.names.name(presence.prompt)),
            state: presence.state,
            score: presence.score,
            best: presence.best,
            change: presence.change,
            prompt: presence.prompt,
        }
    }
}
