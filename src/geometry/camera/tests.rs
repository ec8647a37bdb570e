use super::*;

const SIZE: Size = Size::new(640, 480);
const WHOLE: BBox = BBox::new(0.0, 0.0, 640.0, 480.0);

fn camera(change: impl FnOnce(&mut CameraConfig)) -> Camera {
    let mut config = CameraConfig::with_fov(62.2);
    change(&mut config);
    Camera::new(&config, SIZE).expect("a camera")
}

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance, "{a} is not {b}");
}

/// Numbers without a pattern, the same on every run, in `0..1`.
fn numbers() -> impl FnMut() -> f64 {
    let mut state = 5u64;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        f64::from((state >> 40) as u32) / f64::from(1u32 << 24)
    }
}

#[test]
fn the_middle_is_straight_ahead_and_the_edges_are_half_the_field_of_view_away() {
    let camera = camera(|_| ());
    assert_eq!(camera.angles(320.0, 240.0), (0.0, 0.0));
    close(camera.angles(640.0, 240.0).0, 31.1, 1e-9);
    close(camera.angles(0.0, 240.0).0, -31.1, 1e-9);
    // up is positive: pixels count down
    assert!(camera.angles(320.0, 0.0).1 > 20.0);
}

#[test]
fn intrinsics_count_from_the_centre_of_the_first_pixel_and_scale_with_the_frame() {
    let half = |c: &mut CameraConfig| {
        (c.fov_deg, c.fx, c.cx, c.cy) = (None, Some(265.3), Some(159.5), Some(119.5));
        c.calibrated = Some([320, 240]);
    };
    let camera = camera(half);
    assert_eq!(camera.angles(320.0, 240.0), (0.0, 0.0));
    let right = (320.0f64 / (2.0 * 265.3)).atan().to_degrees();
    close(camera.angles(640.0, 240.0).0, right, 1e-9);
}

#[test]
fn a_camera_that_looks_down_sees_its_axis_below_the_horizon_and_a_rolled_one_turns() {
    let down = camera(|c| c.pitch_deg = -20.0);
    close(down.angles(320.0, 240.0).1, -20.0, 1e-9);
    // its horizon is above the middle
    let focal = 320.0 / 31.1f64.to_radians().tan();
    close(
        down.angles(320.0, 240.0 - focal * 20f64.to_radians().tan())
            .1,
        0.0,
        1e-9,
    );
    // clockwise by a quarter, seen from behind: what is at the frame's right is below
    let rolled = camera(|c| c.roll_deg = 90.0);
    let (bearing, elevation) = rolled.angles(640.0, 240.0);
    close(bearing, 0.0, 1e-9);
    close(elevation, -31.1, 1e-9);
}

#[test]
fn a_range_is_height_over_the_tangent_of_the_angle_below_the_horizon() {
    let camera = camera(|c| (c.height_m, c.pitch_deg) = (Some(0.3), -10.0));
    let focal = 320.0 / 31.1f64.to_radians().tan();
    // the bottom edge 10 degrees below the axis, so 20 below the horizon
    let v = 240.0 + focal * 10f64.to_radians().tan();
    let bbox = BBox::new(300.0, 100.0, 340.0, v as f32);
    let range = camera.sight(&bbox, &WHOLE).range.expect("a range");
    close(range.metres.into(), 0.3 / 20f64.to_radians().tan(), 1e-4);
    // the errors one by one
    let edge =
        f64::from(edge_sd_px(bbox.height(), SIZE)) / focal * 10f64.to_radians().cos().powi(2);
    let angle = edge.hypot(1f64.to_radians());
    let sd =
        (0.3 / 20f64.to_radians().sin().powi(2) * angle).hypot(0.01 / 20f64.to_radians().tan());
    close(range.sd.into(), sd, 1e-3);
}

#[test]
fn there_is_no_range_at_the_horizon_at_a_cut_edge_or_without_a_height() {
    let camera = camera(|c| c.height_m = Some(0.3));
    let sight = |y1: f32, part: &BBox| {
        camera
            .sight(&BBox::new(300.0, 100.0, 340.0, y1), part)
            .range
    };
    assert_eq!(sight(200.0, &WHOLE), None, "above the horizon");
    assert_eq!(sight(250.0, &WHOLE), None, "too near to it");
    assert!(sight(400.0, &WHOLE).is_some());
    assert_eq!(sight(480.0, &WHOLE), None, "cut by the frame");
    assert_eq!(
        sight(400.0, &BBox::new(0.0, 0.0, 640.0, 400.0)),
        None,
        "cut by the region"
    );
    let unknown = super::Camera::new(&CameraConfig::with_fov(60.0), SIZE).expect("a camera");
    assert_eq!(
        unknown
            .sight(&BBox::new(300.0, 100.0, 340.0, 400.0), &WHOLE)
            .range,
        None
    );
}

#[test]
fn a_point_of_the_ground_is_found_again_where_it_was_put() {
    let mut next = numbers();
    let mut found = 0;
    for _ in 0..2000 {
        let height = 0.1 + 2.0 * next();
        let camera = camera(|c| {
            c.height_m = Some(height);
            (c.pitch_deg, c.roll_deg) = (-40.0 * next(), 20.0 * (next() - 0.5));
            c.pitch_sd_deg = 0.01;
            c.distortion = vec![0.1 * (next() - 0.5), 0.02 * (next() - 0.5), 0.002, -0.001];
        });
        let (ahead, left) = (0.2 + 6.0 * next(), 4.0 * (next() - 0.5));
        let Some((u, v)) = camera.project([ahead, left, -height]) else {
            continue;
        };
        if !(30.0..610.0).contains(&u) || !(30.0..470.0).contains(&v) {
            continue;
        }
        let bbox = BBox::new(u as f32 - 20.0, v as f32 - 8.0, u as f32 + 20.0, v as f32);
        let sight = camera.sight(&bbox, &WHOLE);
        let Some(range) = sight.range else { continue };
        let truth = ahead.hypot(left);
        // boxes are f32: a hundred thousandth of a pixel, and far away that is more
        close(
            range.metres.into(),
            truth,
            1e-4 * truth * (1.0 + truth / height),
        );
        let (bearing, elevation) = camera.angles(u, v);
        close(bearing, (-left).atan2(ahead).to_degrees(), 1e-6);
        close(elevation, (-height).atan2(truth).to_degrees(), 1e-6);
        found += 1;
    }
    assert!(found > 300, "{found} were in the frame");
}

#[test]
fn the_uncertainty_is_what_noise_really_does() {
    let mut next = numbers();
    let mut normal = move || (0..12).map(|_| next()).sum::<f64>() - 6.0;
    let truth = camera(|c| (c.height_m, c.pitch_deg) = (Some(0.5), -15.0));
    let (u, v) = truth.project([2.0, 0.3, -0.5]).expect("in front");
    let bbox = |v: f64| BBox::new(u as f32 - 20.0, v as f32 - 80.0, u as f32 + 20.0, v as f32);
    let said = truth.sight(&bbox(v), &WHOLE).range.expect("a range");
    let edge = f64::from(edge_sd_px(80.0, SIZE));
    let (mut sum, mut squares, n) = (0.0, 0.0, 4000);
    for _ in 0..n {
        let noisy = camera(|c| {
            c.height_m = Some(0.5 + 0.01 * normal());
            c.pitch_deg = -15.0 + normal();
        });
        let range = noisy
            .sight(&bbox(v + edge * normal()), &WHOLE)
            .range
            .expect("a range");
        sum += f64::from(range.metres);
        squares += f64::from(range.metres).powi(2);
    }
    let mean = sum / f64::from(n);
    let sd = (squares / f64::from(n) - mean * mean).sqrt();
    close(sd, said.sd.into(), 0.15 * sd);
}

#[test]
fn distortion_and_its_inverse_undo_each_other_all_over_the_frame() {
    let mut next = numbers();
    // a wide webcam, a strong barrel, a pincushion
    for distortion in [
        vec![-0.28, 0.09, 0.0005, -0.0003, -0.015],
        vec![-0.35, 0.15],
        vec![0.12],
        vec![0.0, 0.0, 0.01, 0.01],
    ] {
        let camera = camera(|c| c.distortion = distortion.clone());
        for _ in 0..500 {
            let (u, v) = (640.0 * next(), 480.0 * next());
            let (x, y) = camera.lens.ray(u, v);
            let (back_u, back_v) = camera.lens.pixel(x, y);
            assert!(
                (back_u - u).hypot(back_v - v) < 1e-6,
                "{distortion:?} at {u},{v}"
            );
        }
    }
}

#[test]
fn a_distortion_that_folds_the_frame_is_refused_with_the_pixel() {
    let mut config = CameraConfig::with_fov(100.0);
    config.distortion = vec![-0.5];
    let error = Camera::new(&config, SIZE).expect_err("it folds");
    assert!(matches!(error, CameraError::Folds { .. }), "{error}");
    assert!(error.to_string().contains("640x480"), "{error}");
}

#[test]
fn descriptions_that_make_no_sense_are_refused_with_the_key() {
    let wrong = |change: fn(&mut CameraConfig)| {
        let mut config = CameraConfig::with_fov(60.0);
        change(&mut config);
        config.check().expect_err("wrong").0
    };
    assert_eq!(wrong(|c| c.fov_deg = Some(180.0)), "fov_deg");
    assert_eq!(wrong(|c| c.fov_deg = Some(f64::NAN)), "fov_deg");
    assert_eq!(wrong(|c| c.fov_deg = None), "fov_deg");
    assert_eq!(wrong(|c| c.fx = Some(500.0)), "fx");
    assert_eq!(wrong(|c| c.cx = Some(320.0)), "cx");
    assert_eq!(wrong(|c| c.height_m = Some(0.0)), "height_m");
    assert_eq!(wrong(|c| c.height_m = Some(-1.0)), "height_m");
    assert_eq!(wrong(|c| c.pitch_deg = 91.0), "pitch_deg");
    assert_eq!(wrong(|c| c.roll_deg = f64::INFINITY), "roll_deg");
    assert_eq!(wrong(|c| c.distortion = vec![0.0; 6]), "distortion");
    assert_eq!(wrong(|c| c.calibrated = Some([640, 0])), "calibrated");
}
