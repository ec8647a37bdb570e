//! Where a box will be: a Kalman filter of constant velocity for each of its centre and its sides.
//!
//! The four do not know of one another, as in SORT (Bewley et al., arXiv:1602.00763) and ByteTrack, so each is a position, a velocity
//! and three numbers of their covariance. Noise grows with time and not with frames: frames of a robot come irregularly. It is measured
//! in sizes of the box, so a thing that comes nearer is followed as one that is small.

use crate::geometry::BBox;

/// Variance that a position gathers in a second beside its velocity's, in squares of the box's size: boxes jump between locations.
const POSITION: f32 = 0.05;
/// Variance that a velocity gathers in a second, in squares of sizes per second: people turn, cameras pan.
const VELOCITY: f32 = 1.5;
/// Variance of a measured edge, in squares of the size.
const MEASURED: f32 = 0.003;
/// How many times that, where another thing covers a part of it.
const HIDDEN: f32 = 20.0;
/// Variance of the velocity of something seen once, in squares of sizes per second.
const UNKNOWN: f32 = 4.0;
/// Seconds after which something that is no longer seen has lost most of the velocity it is believed to have.
const TIRES: f32 = 0.6;

/// One number that moves.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moving {
    at: f32,
    velocity: f32,
    /// Variances of the two and what they share.
    var_at: f32,
    var_both: f32,
    var_velocity: f32,
}

impl Moving {
    fn new(at: f32, size: f32) -> Self {
        let square = size * size;
        Self {
            at,
            velocity: 0.0,
            var_at: MEASURED * square,
            var_both: 0.0,
            var_velocity: UNKNOWN * square,
        }
    }

    fn predict(&mut self, dt: f32, keeps: f32, size: f32) {
        let square = size * size;
        self.velocity *= keeps;
        self.at += self.velocity * dt;
        self.var_at += dt * (2.0 * self.var_both + dt * self.var_velocity)
            + square * (POSITION * dt + VELOCITY * dt * dt * dt / 3.0);
        self.var_both += dt * self.var_velocity + square * VELOCITY * dt * dt / 2.0;
        self.var_velocity += square * VELOCITY * dt;
    }

    fn correct(&mut self, seen: f32, size: f32, noise: f32) {
        let whole = self.var_at + noise * size * size;
        let (gain, gain_velocity) = (self.var_at / whole, self.var_both / whole);
        let error = seen - self.at;
        self.at += gain * error;
        self.velocity += gain_velocity * error;
        self.var_velocity -= gain_velocity * self.var_both;
        self.var_both *= 1.0 - gain;
        self.var_at *= 1.0 - gain;
    }
}

/// A box that moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    x: Moving,
    y: Moving,
    width: Moving,
    height: Moving,
}

/// By what the noise of a box is measured.
fn size(width: f32, height: f32) -> f32 {
    (0.5 * (width + height)).max(1.0)
}

impl Motion {
    /// Of a box that is seen for the first time and not empty.
    pub(super) fn new(bbox: &BBox) -> Self {
        let (x, y) = bbox.center();
        let (width, height) = (bbox.width(), bbox.height());
        let size = size(width, height);
        Self {
            x: Moving::new(x, size),
            y: Moving::new(y, size),
            width: Moving::new(width, size),
            height: Moving::new(height, size),
        }
    }

    /// So many seconds later; `unseen` is for how long it was not seen at the start of them.
    pub(super) fn predict(&mut self, dt: f32, unseen: f32) {
        // 1 / (1 + t)² in place of e^-t: no function of the platform's library
        let left = |t: f32| 1.0 / ((1.0 + t / TIRES) * (1.0 + t / TIRES));
        let keeps = if unseen > 0.0 {
            left(unseen + dt) / left(unseen)
        } else {
            1.0
        };
        let size = size(self.width.at, self.height.at);
        for (moving, keeps) in [
            (&mut self.x, keeps),
            (&mut self.y, keeps),
            // what grew does not go on growing where nobody sees it
            (&mut self.width, keeps * keeps),
            (&mut self.height, keeps * keeps),
        ] {
            moving.predict(dt, keeps, size);
        }
        self.width.at = self.width.at.max(1.0);
        self.height.at = self.height.at.max(1.0);
    }

    /// It was seen here; `hidden` is whether another thing covers a part of it, so that the box may be that of the rest alone.
    pub(super) fn correct(&mut self, bbox: &BBox, hidden: bool) {
        let noise = if hidden { MEASURED * HIDDEN } else { MEASURED };
        let (x, y) = bbox.center();
        let (width, height) = (bbox.width(), bbox.height());
        let size = size(width, height);
        self.x.correct(x, size, noise);
        self.y.correct(y, size, noise);
        self.width.correct(width, size, noise);
        self.height.correct(height, size, noise);
        self.width.at = self.width.at.max(1.0);
        self.height.at = self.height.at.max(1.0);
    }

    /// Where it is believed to be.
    pub(super) fn bbox(&self) -> BBox {
        let (w, h) = (self.width.at / 2.0, self.height.at / 2.0);
        BBox::new(self.x.at - w, self.y.at - h, self.x.at + w, self.y.at + h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32) -> BBox {
        BBox::new(x, 50.0, x + 40.0, 130.0)
    }

    #[test]
    fn a_steady_walk_is_foretold_whatever_the_times_between_frames() {
        let mut motion = Motion::new(&at(0.0));
        let mut time = 0.0;
        for (i, dt) in [0.03, 0.1, 0.05, 0.2]
            .into_iter()
            .cycle()
            .take(40)
            .enumerate()
        {
            time += dt;
            motion.predict(dt, 0.0);
            let error = (motion.bbox().x0 - 100.0 * time).abs();
            assert!(i < 8 || error < 3.0, "frame {i}: {error}");
            motion.correct(&at(100.0 * time), false);
        }
        assert!((motion.bbox().width() - 40.0).abs() < 1.0);
    }

    #[test]
    fn what_is_not_seen_goes_on_for_a_while_and_then_stays() {
        let mut motion = Motion::new(&at(0.0));
        for i in 1..40 {
            motion.predict(0.05, 0.0);
            motion.correct(&at(5.0 * i as f32), false);
        }
        let from = motion.bbox().x0;
        let mut unseen = 0.0;
        let mut after = |seconds: f32| {
            while unseen < seconds {
                motion.predict(0.05, unseen);
                unseen += 0.05;
            }
            motion.bbox().x0 - from
        };
        let (soon, late, later) = (after(0.3), after(3.0), after(30.0));
        assert!((15.0..30.0).contains(&soon), "{soon}");
        assert!(late < 60.0 && later < 75.0, "{late} {later}");
    }

    #[test]
    fn numbers_stay_numbers_over_days_and_over_no_time_at_all() {
        let mut motion = Motion::new(&at(0.0));
        for dt in [0.0, 0.0, 1e-6, 3600.0, 0.0, 86_400.0] {
            motion.predict(dt, 0.0);
            motion.correct(&at(3.0), false);
            let b = motion.bbox();
            assert!(b.x0.is_finite() && b.width() >= 1.0, "{b:?}");
        }
        assert!((motion.bbox().x0 - 3.0).abs() < 2.0);
    }
}
