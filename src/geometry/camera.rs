//! From pixels to directions: where a thing lies as seen from the robot, and how far away it stands.
//!
//! ```text
//!   pixel ─▶ (distortion undone) ─▶ ray of the camera ─▶ roll and pitch of the mount ─▶ bearing, elevation
//!                                                                        └─▶ meets the ground at a range
//! ```
//!
//! **Frames.** A camera's ray is that of ROS's *optical* frame (REP 103): x right, y down, z forward. Mounting turns it into a level frame at
//! the camera's place: x forward, y left, z up. Bearing is to the *right* and elevation *up*, in degrees, as an operator says them; ROS counts
//! yaw to the left in radians: `yaw = -bearing · π / 180`. Pitch of the mount is *up* (a camera that looks at the floor has a negative
//! one; in ROS that is a positive rotation about y), roll is clockwise as seen from behind (ROS's positive rotation about x).
//!
//! **Pixels** are those of the whole frame, whatever part of it was looked at and however it was brought to the network's input.
//! Intrinsics are as calibration tools write them (OpenCV, ROS `camera_info`), where the *centre* of the top left pixel is (0, 0); in our
//! boxes that is (0.5, 0.5).
//!
//! **Range** is along the ground, from the point below the camera to the bottom edge of the box. It presumes that the thing stands on the
//! ground, that the ground is level, and that the box ends where the thing does: a box that is cut by the lower edge of what was looked
//! at has no range. Its standard deviation comes from three errors that have nothing to do with one another: the bottom edge's
//! ([`edge_sd_px`]), the pitch's and the height's, each times how much the range changes with it. Where the horizon is within two standard deviations
//! of the bottom edge there is no range: it might be anything.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BBox, Size};

mod lens;

pub use lens::Lens;

/// A camera and how it is mounted: `[camera]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CameraConfig {
    /// Horizontal field of view, degrees. This or `fx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fov_deg: Option<f64>,
    /// Focal length in pixels of a frame's width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fx: Option<f64>,
    /// The same of its height; none: as `fx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fy: Option<f64>,
    /// Where the optical axis meets the frame, from the centre of the top left pixel; none: the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cx: Option<f64>,
    /// The same, downwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cy: Option<f64>,
    /// Size of the frames that were calibrated, `[width, height]`, if it is not that of the frames that come: intrinsics are scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<[u32; 2]>,
    /// Distortion as OpenCV orders it: k1, k2, p1, p2, k3. Later ones may be left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distortion: Vec<f64>,
    /// Of the lens above the ground, metres. None: no ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_m: Option<f64>,
    /// Degrees by which the camera looks up; down is negative.
    pub pitch_deg: f64,
    /// Degrees by which it is turned clockwise, seen from behind.
    pub roll_deg: f64,
    /// How sure the height is: standard deviation, metres.
    pub height_sd_m: f64,
    /// How sure the pitch is while the robot moves: standard deviation, degrees.
    pub pitch_sd_deg: f64,
}

impl Default for CameraConfig {
    fn default() -> Self {
        Self {
            fov_deg: None,
            fx: None,
            fy: None,
            cx: None,
            cy: None,
            calibrated: None,
            distortion: Vec::new(),
            height_m: None,
            pitch_deg: 0.0,
            roll_deg: 0.0,
            height_sd_m: 0.01,
            pitch_sd_deg: 1.0,
        }
    }
}

impl CameraConfig {
    /// A camera of this horizontal field of view in degrees, level, at an unknown height.
    #[must_use]
    pub fn with_fov(fov_deg: f64) -> Self {
        Self {
            fov_deg: Some(fov_deg),
            ..Self::default()
        }
    }

    /// What contradicts itself or cannot be: the key and why.
    ///
    /// # Errors
    ///
    /// The first such thing.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let within = |key, value: f64, least: f64, most: f64| {
            if value >= least && value <= most {
                Ok(())
            } else {
                Err((
                    key,
                    format!("is {value}; from {least} to {most} is possible"),
                ))
            }
        };
        match (self.fov_deg, self.fx) {
            (Some(_), Some(_)) => {
                return Err((
                    "fx",
                    "is given beside fov_deg; one of them is enough".into(),
                ));
            }
            (None, None) => {
                return Err((
                    "fov_deg",
                    "is missing, and so is fx: one of them is needed".into(),
                ));
            }
            (Some(fov), None) => within("fov_deg", fov, 1.0, 175.0)?,
            (None, Some(fx)) => within("fx", fx, 1.0, 1e6)?,
        }
        for (key, value) in [("fy", self.fy), ("cx", self.cx), ("cy", self.cy)] {
            if value.is_some() && self.fx.is_none() {
                return Err((key, "is given without fx".into()));
            }
        }
        if let Some(fy) = self.fy {
            within("fy", fy, 1.0, 1e6)?;
        }
        for (key, value) in [("cx", self.cx), ("cy", self.cy)] {
            within(key, value.unwrap_or(0.0), -1e5, 1e5)?;
        }
        if self.calibrated.is_some_and(|side| side.contains(&0)) {
            return Err(("calibrated", "is an empty frame".into()));
        }
        if self.distortion.len() > 5 {
            let why = format!(
                "has {} numbers; k1, k2, p1, p2, k3 are five",
                self.distortion.len()
            );
            return Err(("distortion", why));
        }
        for &k in &self.distortion {
            within("distortion", k, -1e3, 1e3)?;
        }
        if let Some(height) = self.height_m {
            within("height_m", height, 0.01, 1000.0)?;
        }
        within("pitch_deg", self.pitch_deg, -90.0, 90.0)?;
        within("roll_deg", self.roll_deg, -180.0, 180.0)?;
        within("height_sd_m", self.height_sd_m, 0.0, 100.0)?;
        within("pitch_sd_deg", self.pitch_sd_deg, 0.0, 45.0)
    }
}

/// Where a thing lies as seen from the camera.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// Of the box's centre from straight ahead, degrees to the right.
    pub bearing_deg: f32,
    /// Of the box's centre from the horizon, degrees up.
    pub elevation_deg: f32,
    /// How far away it stands, if it can be told.
    pub range: Option<Range>,
}

/// How far away a thing stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Along the ground, metres.
    pub metres: f32,
    /// Standard deviation, metres.
    pub sd: f32,
}

/// Why a camera cannot be used with frames of some size.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CameraError {
    /// The description makes no sense: the key and why.
    Config(&'static str, String),
    /// The distortion folds the frame over: a pixel of it has no single ray.
    Folds {
        /// The frame.
        size: Size,
        /// A pixel of its edge that no ray, or more than one, is seen in.
        pixel: (f32, f32),
    },
}

impl fmt::Display for CameraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(key, why) => write!(f, "{key} {why}"),
            Self::Folds { size, pixel } => write!(
                f,
                "distortion has no inverse at pixel {:.0},{:.0} of a frame of {size}: are the coefficients for another lens or another size?",
                pixel.0, pixel.1
            ),
        }
    }
}

impl std::error::Error for CameraError {}

/// A camera that takes frames of one size.
///
/// ```
/// use tarsier::geometry::{BBox, Size, camera::{Camera, CameraConfig}};
///
/// // a Raspberry Pi camera, 30 cm above the ground, looking 5 degrees down
/// let config = CameraConfig { height_m: Some(0.3), pitch_deg: -5.0, ..CameraConfig::with_fov(62.2) };
/// let size = Size::new(640, 480);
/// let camera = Camera::new(&config, size)?;
/// let frame = BBox::new(0.0, 0.0, 640.0, 480.0);
/// let sight = camera.sight(&BBox::new(400.0, 200.0, 480.0, 300.0), &frame);
/// assert!((sight.bearing_deg - 12.8).abs() < 0.1);
/// let range = sight.range.expect("it stands on the ground");
/// assert!((range.metres - 1.52).abs() < 0.01 && range.sd < 0.4);
/// # Ok::<(), tarsier::geometry::camera::CameraError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    lens: Lens,
    /// Rows of the rotation from the camera (forward, left, up) to the level frame.
    level: [[f64; 3]; 3],
    height: Option<f64>,
    height_sd: f64,
    pitch_sd: f64,
}

/// Farther away the ground is not level, and numbers have more digits than sense.
const FARTHEST_M: f64 = 10_000.0;

/// Standard deviation of the bottom edge of a box that is so many pixels high, in pixels of the frame.
///
/// Two parts: one that does not depend on the thing and grows with the frame, which is brought to an input of 320 pixels; and one of where a thing
/// ends, which grows with it up to some size. Measured on photos: 1.25 pixels of the input and 5 % of the height, of at most 120 pixels of the
/// input; see `tests/bench/TRACKS.md`, also for how often a box is wrong by much more, because it lacks the feet.
#[must_use]
pub fn edge_sd_px(box_height: f32, frame: Size) -> f32 {
    let pixel = frame.width.max(frame.height) as f32 / 320.0;
    let (grid, own) = (1.25 * pixel, 0.05 * box_height.min(120.0 * pixel));
    (grid * grid + own * own).sqrt()
}

impl Camera {
    /// The camera for frames of this size.
    ///
    /// # Errors
    ///
    /// [`CameraError`] if the description contradicts itself, or its distortion cannot be undone all over the frame.
    pub fn new(config: &CameraConfig, size: Size) -> Result<Self, CameraError> {
        config
            .check()
            .map_err(|(key, why)| CameraError::Config(key, why))?;
        let lens = Lens::new(config, size);
        lens.check(size)
            .map_err(|pixel| CameraError::Folds { size, pixel })?;
        let (sin_p, cos_p) = libm::sincos(config.pitch_deg.to_radians());
        let (sin_r, cos_r) = libm::sincos(config.roll_deg.to_radians());
        // roll about the optical axis first, then pitch about the axis to the left, which is level
        Ok(Self {
            lens,
            level: [
                [cos_p, -sin_p * sin_r, -sin_p * cos_r],
                [0.0, cos_r, -sin_r],
                [sin_p, cos_p * sin_r, cos_p * cos_r],
            ],
            height: config.height_m,
            height_sd: config.height_sd_m,
            pitch_sd: config.pitch_sd_deg.to_radians(),
        })
    }

    /// The level direction of a pixel: forward, left, up; of any length.
    fn direction(&self, u: f64, v: f64) -> [f64; 3] {
        let (x, y) = self.lens.ray(u, v);
        let ray = [1.0, -x, -y];
        self.level
            .map(|row| row.iter().zip(ray).map(|(a, b)| a * b).sum())
    }

    /// Where a point lies in the frame, in pixels; `point` is forward, left, up from the camera, in a level frame. None if it is behind, or the lens
    /// does not see so far to the side.
    #[must_use]
    pub fn project(&self, point: [f64; 3]) -> Option<(f64, f64)> {
        // the rotation's inverse is its transpose
        let column = |i: usize| -> f64 { (0..3).map(|row| self.level[row][i] * point[row]).sum() };
        let (forward, left, up) = (column(0), column(1), column(2));
        if forward <= 0.0 {
            return None;
        }
        let (x, y) = (-left / forward, -up / forward);
        let (u, v) = self.lens.pixel(x, y);
        // far outside the field of view, distortion folds back into the frame
        let (back_x, back_y) = self.lens.ray(u, v);
        (libm::hypot(back_x - x, back_y - y) < 1e-6).then_some((u, v))
    }

    /// Bearing to the right and elevation up of a pixel, in degrees.
    #[must_use]
    pub fn angles(&self, u: f64, v: f64) -> (f64, f64) {
        let [x, y, z] = self.direction(u, v);
        let bearing = libm::atan2(-y, x);
        let elevation = libm::atan2(z, libm::hypot(x, y));
        (bearing.to_degrees(), elevation.to_degrees())
    }

    /// How far below the horizon a pixel is, radians.
    fn depression(&self, u: f64, v: f64) -> f64 {
        let [x, y, z] = self.direction(u, v);
        libm::atan2(-z, libm::hypot(x, y))
    }

    /// Where a box lies. `part` is what was looked at, in pixels of the frame; a box that ends where it ends is cut.
    #[must_use]
    pub fn sight(&self, bbox: &BBox, part: &BBox) -> Sight {
        let (x, y) = bbox.center();
        let (bearing, elevation) = self.angles(x.into(), y.into());
        Sight {
            bearing_deg: bearing as f32,
            elevation_deg: elevation as f32,
            range: self.range(bbox, part),
        }
    }

    fn range(&self, bbox: &BBox, part: &BBox) -> Option<Range> {
        let height = self.height?;
        // boxes end between pixels: within one of the edge is at the edge
        if bbox.y1 >= part.y1 - 1.0 {
            return None;
        }
        let (u, v) = (f64::from(bbox.center().0), f64::from(bbox.y1));
        let below = self.depression(u, v);
        let per_pixel = (self.depression(u, v + 0.5) - self.depression(u, v - 0.5)).abs();
        let edge = f64::from(edge_sd_px(bbox.height(), self.lens.size()));
        let angle_sd = libm::hypot(edge * per_pixel, self.pitch_sd);
        if below <= 2.0 * angle_sd || below >= 89f64.to_radians() {
            return None;
        }
        let (sin, cos) = libm::sincos(below);
        let metres = height * cos / sin;
        if metres > FARTHEST_M {
            return None;
        }
        // d = h / tan a, so dd/da = -h / sin² a and dd/dh = 1 / tan a
        let by_angle = height / (sin * sin) * angle_sd;
        let by_height = cos / sin * self.height_sd;
        Some(Range {
            metres: metres as f32,
            sd: libm::hypot(by_angle, by_height) as f32,
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "compared within a tolerance")]
mod tests;
