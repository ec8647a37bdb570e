//! `[presence]` of the configuration.

use serde::{Deserialize, Serialize};

use crate::track::presence::{Bounds, Settings};

/// `[presence]`: when something counts as there. Whether it is asked at all is `task.presence`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PresenceConfig {
    /// Probability from which it is there; none: the threshold that the pack was calibrated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enter: Option<f32>,
    /// Probability up to which it is not; none: a quarter of the odds of `enter`. Given only beside `enter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave: Option<f32>,
    /// In how many frames in a row one or the other must be so before it counts.
    pub frames: u32,
    /// And for how many seconds.
    pub dwell_s: f64,
    /// For how many seconds a state holds that no frame says again, before it is unsure.
    pub hold_s: f64,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            enter: None,
            leave: None,
            frames: 3,
            dwell_s: 0.5,
            hold_s: 5.0,
        }
    }
}

impl PresenceConfig {
    /// What cannot be: the key and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, value) in [("enter", self.enter), ("leave", self.leave)] {
            if let Some(value) = value.filter(|v| !(0.0..=1.0).contains(v)) {
                return Err((key, format!("is {value}; it must be from 0 to 1")));
            }
        }
        match (self.enter, self.leave) {
            (Some(enter), Some(leave)) if enter < leave => {
                let why = format!("is {leave}, above presence.enter, which is {enter}");
                return Err(("leave", why));
            }
            (None, Some(_)) => {
                let why = "is given without presence.enter, which might be below it";
                return Err(("leave", why.into()));
            }
            _ => {}
        }
        if !(1..=1000).contains(&self.frames) {
            let why = format!("is {}; it must be from 1 to 1000", self.frames);
            return Err(("frames", why));
        }
        let (dwell, hold) = (self.dwell_s, self.hold_s);
        if !(0.0..=600.0).contains(&dwell) {
            return Err(("dwell_s", format!("is {dwell}; it must be from 0 to 600")));
        }
        if !(dwell..=86_400.0).contains(&hold) {
            let why = format!("is {hold}; it must be from presence.dwell_s, {dwell}, to 86400");
            return Err(("hold_s", why));
        }
        Ok(())
    }

    /// With a pack that was calibrated to a threshold.
    pub(super) fn settings(&self, threshold: Option<f32>) -> Settings {
        // without a network for it nobody asks
        let mut bounds = Bounds::from_enter(self.enter.or(threshold).unwrap_or(1.0));
        bounds.leave = self.leave.unwrap_or(bounds.leave);
        Settings {
            bounds,
            frames: self.frames,
            dwell_s: self.dwell_s,
            hold_s: self.hold_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: PresenceConfig) -> &'static str {
        config.check().expect_err("impossible").0
    }

    #[test]
    fn thresholds_follow_the_pack_and_one_another() {
        let default = PresenceConfig::default();
        assert_eq!(default.check(), Ok(()));
        let bounds = default.settings(Some(0.51)).bounds;
        assert_eq!(bounds, Bounds::from_enter(0.51));
        let own = PresenceConfig {
            enter: Some(0.8),
            ..default.clone()
        };
        assert_eq!(
            own.settings(Some(0.51)).bounds,
            Bounds::from_enter(0.8),
            "leave follows enter"
        );
        let both = PresenceConfig {
            enter: Some(0.8),
            leave: Some(0.7),
            ..default
        };
        assert_eq!(both.check(), Ok(()));
        let bounds = both.settings(Some(0.51)).bounds;
        assert_eq!((bounds.enter, bounds.leave), (0.8, 0.7));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let with = |change: fn(&mut PresenceConfig)| {
            let mut config = PresenceConfig::default();
            change(&mut config);
            refused(config)
        };
        assert_eq!(with(|c| c.enter = Some(f32::NAN)), "enter");
        assert_eq!(with(|c| c.enter = Some(1.5)), "enter");
        assert_eq!(with(|c| c.leave = Some(-0.1)), "leave");
        assert_eq!(with(|c| c.leave = Some(0.3)), "leave");
        assert_eq!(
            with(|c| (c.enter, c.leave) = (Some(0.3), Some(0.4))),
            "leave"
        );
        assert_eq!(with(|c| c.frames = 0), "frames");
        assert_eq!(with(|c| c.dwell_s = f64::NAN), "dwell_s");
        assert_eq!(with(|c| c.hold_s = 0.4), "hold_s");
        assert_eq!(with(|c| c.hold_s = f64::NAN), "hold_s");
    }
}
