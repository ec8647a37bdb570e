//! Less work when it is hot: the share of time that inference may take.
//!
//! Lowered by three tenths at every look above the hot mark and raised by an eighth below the warm mark; between the marks it stays. A board's
//! heat follows its load by tens of seconds, so small steps every few seconds settle instead of swinging.

use super::config::HeatConfig;

/// The least share that is left: a robot that sees slowly still sees.
const LEAST: f32 = 0.1;
const DOWN: f32 = 0.7;
const UP: f32 = 1.125;

/// The share of time that inference may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Governor {
    share: f32,
}

impl Governor {
    pub(super) const fn new() -> Self {
        Self { share: 1.0 }
    }

    /// `LEAST..=1`.
    pub(super) const fn share(self) -> f32 {
        self.share
    }

    /// Whether work is being held back.
    pub(super) fn hot(self) -> bool {
        self.share < 1.0
    }

    /// Looks at the temperature once.
    pub(super) fn look(&mut self, degrees: f32, config: &HeatConfig) {
        if degrees >= config.hot_c {
            self.share = (self.share * DOWN).max(LEAST);
        } else if degrees < config.warm_c {
            self.share = (self.share * UP).min(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_lowers_the_share_in_steps_and_cold_raises_it_to_all() {
        let config = HeatConfig::default();
        let mut governor = Governor::new();
        assert!(!governor.hot());
        governor.look(config.hot_c, &config);
        assert!(governor.hot());
        let once = governor.share();
        governor.look(config.warm_c, &config);
        assert_eq!(governor.share(), once, "between the marks it stays");
        for _ in 0..100 {
            governor.look(120.0, &config);
        }
        assert_eq!(governor.share(), LEAST);
        for _ in 0..100 {
            governor.look(20.0, &config);
        }
        assert!(!governor.hot());
    }

    /// A board that warms towards 30 + 70 · load degrees with a time constant of 30 s, looked at every 2 s.
    #[test]
    fn a_board_that_would_overheat_settles_below_the_hot_mark_without_swinging() {
        let config = HeatConfig::default();
        let (mut governor, mut degrees) = (Governor::new(), 30.0f32);
        let mut late = Vec::new();
        for look in 0..600 {
            let target = 30.0 + 70.0 * governor.share();
            degrees += (target - degrees) * (2.0 / 30.0);
            governor.look(degrees, &config);
            if look > 300 {
                late.push(degrees);
            }
        }
        let highest = late.iter().copied().fold(0.0, f32::max);
        let lowest = late.iter().copied().fold(200.0, f32::min);
        assert!(highest < config.hot_c + 2.0, "{highest}");
        assert!(lowest > config.warm_c - 12.0, "{lowest}");
    }
}
