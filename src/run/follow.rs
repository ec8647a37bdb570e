//! Tracks and directions of a frame's detections: what the loop keeps between frames for them.
//!
//! | what happens | tracks |
//! |---|---|
//! | pause, lost source, late frames | time goes on: what is not seen for `lost_s` is over, the rest is recognised where it should be by then |
//! | region | goes on; what lies outside is not seen |
//! | prompts | go on under their names, whatever their new index; a track all of whose names are gone is over |
//! | another pack | goes on by place: looks of two packs cannot be compared |
//! | frames of another size | all are over |
//! | the wall clock | does not matter: capture times are monotonic |
//!
//! Ids are never given twice in a run, whatever happens.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{config::Config, prompts::Prompts};
use crate::{
    geometry::{
        BBox, Size,
        camera::{Camera, CameraConfig},
    },
    pipeline::Findings,
    protocol::SharedNames,
    scene::Report,
    track::{Meaning, Settings, Tracker},
};

/// `[track]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackConfig {
    /// Follow things from frame to frame, and give them ids.
    pub enabled: bool,
    /// In how many frames something must be found before it has an id.
    pub hits: u32,
    /// For how many seconds something that is not seen keeps its id.
    pub lost_s: f64,
}

impl Default for TrackConfig {
    fn default() -> Self {
        let Settings { hits, lost_s } = Settings::default();
        Self {
            enabled: true,
            hits,
            lost_s,
        }
    }
}

impl TrackConfig {
    const fn settings(&self) -> Settings {
        Settings {
            hits: self.hits,
            lost_s: self.lost_s,
        }
    }

    /// What cannot be: the key and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(1..=100).contains(&self.hits) {
            return Err(("hits", "must be from 1 to 100"));
        }
        if !(0.0..=600.0).contains(&self.lost_s) {
            return Err(("lost_s", "must be from 0 to 600"));
        }
        Ok(())
    }
}

/// The tracker, the camera, and what they were last used with.
#[derive(Debug)]
pub(super) struct Follower {
    enabled: bool,
    tracker: Tracker,
    /// The names and their set's version that the tracker's prompts are indices into.
    names: Option<(u32, SharedNames)>,
    classes: Vec<u32>,
    config: Option<CameraConfig>,
    /// The camera for frames of this size; none if the description does not fit them.
    camera: Option<(Size, Option<Camera>)>,
}

impl Follower {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            enabled: config.track.enabled,
            tracker: Tracker::new(config.track.settings()),
            names: None,
            classes: Vec::new(),
            config: config.camera.clone(),
            camera: None,
        }
    }

    /// Forgets what is followed, as it may be half done; which ids were given is known on.
    pub(super) fn forget(&mut self) {
        self.tracker.clear();
        (self.names, self.camera) = (None, None);
    }

    /// Takes over a new configuration.
    pub(super) fn configure(&mut self, config: &Config) {
        self.enabled = config.track.enabled;
        self.tracker.set(config.track.settings());
        if !self.enabled {
            self.tracker.clear();
        }
        if self.config != config.camera {
            self.config.clone_from(&config.camera);
            self.camera = None;
        }
    }

    /// Another pack is in use.
    pub(super) fn forget_looks(&mut self) {
        self.tracker.forget_looks();
    }

    /// Follows what was found.
    pub(super) fn follow(&mut self, captured_ns: u64, prompts: &Prompts, found: &mut Findings<'_>) {
        if self.enabled {
            self.learn_names(prompts);
            found.follow(&mut self.tracker, captured_ns, &self.classes);
        }
    }

    /// Prompts of one name, as those of a group, are one class; after a change of the set, tracks keep their names.
    fn learn_names(&mut self, prompts: &Prompts) {
        let version = prompts.version();
        if self
            .names
            .as_ref()
            .is_some_and(|(known, _)| *known == version)
        {
            return;
        }
        let names = prompts.names();
        let mut first = HashMap::with_capacity(names.len());
        self.classes.clear();
        for (i, name) in names.iter().enumerate() {
            self.classes
                .push(*first.entry(name.as_str()).or_insert(i as u32));
        }
        let meaning = Meaning {
            classes: &self.classes,
            thresholds: &[],
        };
        if let Some((_, before)) = &self.names {
            self.tracker.rename(meaning, |prompt| {
                let name = before.get(prompt as usize)?;
                first.get(name.as_str()).copied()
            });
        }
        self.names = Some((version, Arc::clone(names)));
    }

    /// Says where a report's detections lie. `part` is what was looked at, in pixels of the frame. The error is why it cannot be said for frames of this size, once.
    pub(super) fn sight(&mut self, part: &BBox, report: &mut Report) -> Result<(), String> {
        let Some(config) = &self.config else {
            return Ok(());
        };
        let size = report.size;
        if self.camera.as_ref().is_none_or(|(of, _)| *of != size) {
            let made = Camera::new(config, size);
            let refused = made.as_ref().err().map(ToString::to_string);
            self.camera = Some((size, made.ok()));
            if let Some(why) = refused {
                return Err(why);
            }
        }
        if let Some((_, Some(camera))) = &self.camera {
            report.sight(camera, part);
        }
        Ok(())
    }
}
