//! What is computed in floating point beside the networks has the same bits on every processor and
//! with every C library: boxes and scores of each form of an imported head, where a camera's boxes
//! lie, and tracks. `tests/ci.sh arm` runs this on the emulated cores against the same digests.

use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tarsier::{
    detect::{Detector, Field, HeadLevel, HeadOutput, Settings},
    geometry::{
        BBox, Letterbox, Size,
        camera::{Camera, CameraConfig},
    },
    head::{BoxForm, HeadForm, Objectness},
    kernels::layout::Planes,
    quant::Quant,
    scene::Report,
    track::{Meaning, Settings as TrackSettings, Tracker},
};

const DIMENSION: usize = 16;
const FRAME: Size = Size::new(640, 480);

/// Bytes of a linear congruential generator: the same everywhere.
struct Noise(u32);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 24) as u8
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// Detections of a head of this form whose outputs are noise, eight prompts.
fn detections(form: HeadForm) -> Report {
    let field = |side, scale| Field {
        planes: Planes {
            height: side,
            width: side,
            border: 0,
        },
        quant: Quant::from_signed(scale, 0),
    };
    let level = |stride, side| HeadLevel {
        stride,
        embedding: field(side, 0.05),
        geometry: field(side, 0.02),
    };
    let levels = [level(8, 40), level(16, 20)];
    let mut noise = Noise(7);
    let bytes: Vec<(Vec<u8>, Vec<u8>)> = levels
        .iter()
        .map(|level| {
            let locations = level.locations();
            let geometry = noise.bytes(form.channels() * locations);
            (noise.bytes(DIMENSION * locations), geometry)
        })
        .collect();
    let outputs: Vec<HeadOutput<'_>> = bytes
        .iter()
        .map(|(embedding, geometry)| HeadOutput {
            embedding,
            geometry,
        })
        .collect();
    let mut detector =
        Detector::new(form, &levels, DIMENSION, Settings::default()).expect("a sound head");
    detector.propose(&outputs);
    detector.align(&outputs, 1, &[-1.0; 8], |prompts, objects, logits| {
        let rows = logits.values.chunks_exact_mut(prompts.len());
        for (row, object) in rows.zip(objects.chunks_exact(DIMENSION)) {
            for (prompt, logit) in prompts.clone().zip(row) {
                *logit = f32::from(object[prompt % DIMENSION].cast_signed()) * 0.031;
            }
        }
        logits.compare();
    });
    let mut report = Report::new(0, SystemTime::UNIX_EPOCH, FRAME);
    detector.select(
        &outputs,
        &Letterbox::new(FRAME, Size::new(320, 320)),
        &mut report,
    );
    report
}

fn hex(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
}

fn add_box(hash: &mut Sha256, bbox: &BBox) {
    for v in [bbox.x0, bbox.y0, bbox.x1, bbox.y1] {
        hash.update(v.to_bits().to_le_bytes());
    }
}

#[test]
fn heads_of_every_form_give_the_same_bits_everywhere() {
    let form = |boxes, objectness| HeadForm {
        boxes,
        grid: 0.5,
        objectness,
        floor: None,
    };
    let cases = [
        (
            "distances",
            form(BoxForm::Distances, Objectness::Ranks),
            "fd3ce8e01bc255aa",
        ),
        (
            "distribution",
            form(BoxForm::Distribution(8), Objectness::BestClass),
            "e181f41ef1893e69",
        ),
        (
            "centre and size",
            form(BoxForm::CentreAndSize, Objectness::Multiplies),
            "78312faf7a73b496",
        ),
        (
            "log distances",
            form(BoxForm::LogDistances, Objectness::BestClass),
            "c73d988677e07b1e",
        ),
    ];
    let mut found = Vec::new();
    for (name, form, _) in cases {
        let report = detections(form);
        assert!(
            report.detections.len() > 50,
            "{name}: {} detections",
            report.detections.len()
        );
        let mut hash = Sha256::new();
        // the best: how many more a report holds is another matter
        for d in report.detections.iter().take(300) {
            add_box(&mut hash, &d.bbox);
            hash.update(d.logit.to_bits().to_le_bytes());
            hash.update(d.score.to_bits().to_le_bytes());
            hash.update(d.prompt.to_le_bytes());
        }
        found.push((name, hex(hash)));
    }
    let expected = cases.map(|(name, _, digest)| (name, digest.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn bearings_and_ranges_have_the_same_bits_everywhere() {
    let config = CameraConfig {
        fov_deg: Some(62.2),
        distortion: vec![-0.11, 0.02, 0.001, -0.002],
        height_m: Some(0.31),
        pitch_deg: -7.3,
        roll_deg: 1.7,
        ..CameraConfig::default()
    };
    let camera = Camera::new(&config, FRAME).expect("a camera");
    let (mut hash, mut ranges) = (Sha256::new(), 0);
    let whole = BBox::new(0.0, 0.0, 640.0, 480.0);
    for step in 0..300 {
        let (x, y) = ((step * 37 % 600) as f32, (step * 29 % 400) as f32);
        let bbox = BBox::new(x, y, x + 31.0, y + 47.0);
        let sight = camera.sight(&bbox, &whole);
        hash.update(sight.bearing_deg.to_bits().to_le_bytes());
        hash.update(sight.elevation_deg.to_bits().to_le_bytes());
        if let Some(range) = sight.range {
            ranges += 1;
            hash.update(range.metres.to_bits().to_le_bytes());
            hash.update(range.sd.to_bits().to_le_bytes());
        }
    }
    assert!(ranges > 50, "{ranges} boxes stand on the ground");
    assert_eq!(hex(hash), "7e0befc85c99259f");
}

#[test]
fn tracks_have_the_same_bits_everywhere() {
    let mut tracker = Tracker::new(TrackSettings::default());
    let first = detections(HeadForm::default());
    let (mut hash, mut followed) = (Sha256::new(), 0);
    for frame in 0..12_u64 {
        let mut report = Report::new(frame, SystemTime::UNIX_EPOCH, FRAME);
        let shift = frame as f32 * 1.7;
        for d in first.detections.iter().take(40) {
            let mut moved = *d;
            moved.bbox = BBox {
                x0: d.bbox.x0 + shift,
                x1: d.bbox.x1 + shift,
                ..d.bbox
            };
            report.detections.push(moved);
        }
        tracker.update(frame * 73_000_000, &mut report, Meaning::default(), &());
        for (i, (d, id)) in report.detections.iter().zip(&report.tracks).enumerate() {
            followed += usize::from(*id != 0);
            let smoothed = report.smoothed[i].score;
            hash.update(smoothed.to_bits().to_le_bytes());
            add_box(&mut hash, &d.bbox);
            hash.update(d.score.to_bits().to_le_bytes());
            hash.update(id.to_le_bytes());
        }
    }
    assert!(followed > 50, "{followed} detections of tracks");
    assert_eq!(hex(hash), "a91a69354d4eb5af");
}
