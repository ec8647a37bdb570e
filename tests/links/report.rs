//! Reports to publish.

use std::{sync::Arc, time::SystemTime};

use tarsier::{
    geometry::{BBox, Size},
    protocol::{Drops, Envelope},
    scene::{Detection, Report},
};

/// Names of the prompts in [`envelope`].
pub(crate) const NAMES: [&str; 3] = ["person", "Öl, 猫", "a \"quoted\" cup"];

/// A report of some detections that move with its number.
pub(crate) fn envelope(run: u32, sequence: u64, detections: usize) -> Envelope {
    let mut report = Report::new(sequence, SystemTime::now(), Size::new(640, 480));
    for i in 0..detections {
        let x = ((sequence + 7 * i as u64) % 500) as f32;
        let detection = Detection {
            bbox: BBox::new(x, 100.0, x + 80.5, 300.25),
            score: 0.9 - 0.002 * i as f32,
            logit: 0.0,
            prompt: (i % NAMES.len()) as u32,
            location: i as u32,
        };
        report.detections.extend([detection]);
    }
    Envelope {
        run,
        sequence,
        prompts_version: 1,
        captured_ns: 1_000_000_000 + sequence * 33_333_333,
        latency_us: 20_000,
        dropped: Drops {
            late: sequence / 10,
            ..Drops::default()
        },
        names: Arc::new(NAMES.map(str::to_owned).to_vec()),
        report,
        extras: tarsier::protocol::Extras::default(),
    }
}
