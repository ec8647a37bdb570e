//! Options that describe the camera.

use clap::Args;
use tarsier::geometry::camera::CameraConfig;

/// The camera, if it is described: then every detection has a bearing and an elevation, and, with a height, a range.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Camera")]
pub(crate) struct CameraOptions {
    /// Horizontal field of view of the whole frame, degrees: each detection then has a bearing (right is positive) and an elevation (up).
    #[arg(long, value_name = "DEGREES")]
    fov: Option<f64>,
    /// Height of the lens above the ground, metres: things that stand on the ground then have a range.
    #[arg(long, value_name = "METRES")]
    camera_height: Option<f64>,
    /// By how much the camera looks up; down is negative.
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    camera_pitch: Option<f64>,
    /// By how much it is turned clockwise, seen from behind.
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    camera_roll: Option<f64>,
}

impl CameraOptions {
    /// The options over what a file says; none if neither describes a camera.
    pub(crate) fn over(&self, file: Option<CameraConfig>) -> Option<CameraConfig> {
        let given = [
            self.fov,
            self.camera_height,
            self.camera_pitch,
            self.camera_roll,
        ];
        if given.iter().all(Option::is_none) {
            return file;
        }
        let mut camera = file.unwrap_or_default();
        if self.fov.is_some() {
            // a field of view stands for all that it is another way to say
            (camera.fx, camera.fy, camera.cx, camera.cy) = (None, None, None, None);
            camera.fov_deg = self.fov;
        }
        camera.height_m = self.camera_height.or(camera.height_m);
        camera.pitch_deg = self.camera_pitch.unwrap_or(camera.pitch_deg);
        camera.roll_deg = self.camera_roll.unwrap_or(camera.roll_deg);
        Some(camera)
    }
}
