//! Pixels to rays and back: focal lengths, the optical axis, Brown and Conrady's distortion as OpenCV has it.

use super::CameraConfig;
use crate::geometry::Size;

/// The optics of a camera for frames of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    size: Size,
    fx: f64,
    fy: f64,
    /// In pixels of boxes: from the corner of the top left pixel.
    cx: f64,
    cy: f64,
    /// k1, k2, p1, p2, k3.
    distortion: [f64; 5],
}

/// Steps of Newton's method; four are enough for lenses that photos can be taken with, the others are for the rest.
const STEPS: usize = 20;

impl Lens {
    /// Of a description that was checked.
    pub(super) fn new(config: &CameraConfig, size: Size) -> Self {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let [from_x, from_y] = config.calibrated.unwrap_or([size.width, size.height]);
        let (scale_x, scale_y) = (width / f64::from(from_x), height / f64::from(from_y));
        let (fx, fy) = match (config.fov_deg, config.fx) {
            (Some(fov), _) => {
                let f = width / 2.0 / libm::tan(fov.to_radians() / 2.0);
                (f, f)
            }
            (None, fx) => {
                let fx = fx.unwrap_or(width);
                (fx * scale_x, config.fy.unwrap_or(fx) * scale_y)
            }
        };
        let mut distortion = [0.0; 5];
        for (to, from) in distortion.iter_mut().zip(&config.distortion) {
            *to = *from;
        }
        let axis =
            |c: Option<f64>, scale: f64, side: f64| c.map_or(side / 2.0, |c| (c + 0.5) * scale);
        Self {
            size,
            fx,
            fy,
            cx: axis(config.cx, scale_x, width),
            cy: axis(config.cy, scale_y, height),
            distortion,
        }
    }

    /// The frames' size.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The pixel in which the ray (x right, y down, 1 forward) is seen.
    #[must_use]
    pub fn pixel(&self, x: f64, y: f64) -> (f64, f64) {
        let ((x, y), _) = self.distorted(x, y);
        (self.cx + self.fx * x, self.cy + self.fy * y)
    }

    /// The ray of a pixel: x right and y down where forward is 1.
    #[must_use]
    pub fn ray(&self, u: f64, v: f64) -> (f64, f64) {
        let seen = ((u - self.cx) / self.fx, (v - self.cy) / self.fy);
        if self.distortion == [0.0; 5] {
            return seen;
        }
        let (mut x, mut y) = seen;
        for _ in 0..STEPS {
            let ((at_x, at_y), [a, b, c, d]) = self.distorted(x, y);
            let (dx, dy) = (seen.0 - at_x, seen.1 - at_y);
            let determinant = a * d - b * c;
            if determinant.abs() < 1e-9 {
                break;
            }
            x += (d * dx - b * dy) / determinant;
            y += (a * dy - c * dx) / determinant;
            if dx.abs() + dy.abs() < 1e-12 {
                break;
            }
        }
        (x, y)
    }

    /// A ray as the lens bends it, and how that changes with x and y: `[dx/dx, dx/dy, dy/dx, dy/dy]`.
    fn distorted(&self, x: f64, y: f64) -> ((f64, f64), [f64; 4]) {
        let [k1, k2, p1, p2, k3] = self.distortion;
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        // twice the change of `radial` with r²
        let slope = 2.0 * (k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3));
        let at = (
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        );
        let across = x * y * slope + 2.0 * p1 * x + 2.0 * p2 * y;
        let change = [
            radial + x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x,
            across,
            across,
            radial + y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x,
        ];
        (at, change)
    }

    /// Whether every pixel of the edge has one ray; the first that has not. Distortion is worst at the edge.
    pub(super) fn check(&self, size: Size) -> Result<(), (f32, f32)> {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        for i in 0..=16 {
            let t = f64::from(i) / 16.0;
            for (u, v) in [
                (t * width, 0.0),
                (t * width, height),
                (0.0, t * height),
                (width, t * height),
            ] {
                let (x, y) = self.ray(u, v);
                let (back_u, back_v) = self.pixel(x, y);
                let found = (back_u - u).abs() + (back_v - v).abs() < 1e-3;
                // a lens that does not fold bends more the farther out, all the way
                let folds = (1..=16).any(|s| {
                    let s = f64::from(s) / 16.0;
                    let (_, [a, b, c, d]) = self.distorted(x * s, y * s);
                    a * d - b * c <= 0.0
                });
                if !found || folds {
                    return Err((u as f32, v as f32));
                }
            }
        }
        Ok(())
    }
}
