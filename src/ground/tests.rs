use std::time::SystemTime;

use super::*;
use crate::{geometry::Size, kernels::layout::Planes};

const FIELD: Field = Field {
    planes: Planes {
        height: SIDE,
        width: SIDE,
        border: 1,
    },
    quant: Quant {
        scale: 1.0 / 32.0,
        zero_point: 128,
    },
};

fn feature() -> Field {
    Field {
        planes: Planes {
            height: 2,
            width: 2,
            border: 1,
        },
        quant: Quant {
            scale: 0.01,
            zero_point: 0,
        },
    }
}

/// A frame of 64 × 32 whose left half is red and whose right half is blue.
fn pixels() -> Vec<u8> {
    let row = [[255, 0, 0].repeat(32), [0, 0, 255].repeat(32)].concat();
    row.repeat(32)
}

fn seen(boxes: &[BBox]) -> Scene {
    let pixels = pixels();
    let size = Size::new(64, 32);
    let frame = Frame::new(&pixels, size, 0, SystemTime::UNIX_EPOCH).expect("a frame");
    let embedding: Vec<u8> = (0..16).map(|i| 128 + i).collect();
    let candidates = boxes.iter().zip(0..).map(|(&bbox, location)| Candidate {
        location,
        level: 0,
        index: 3,
        bbox,
        objectness: 4.0,
        embedding: &embedding,
    });
    let field = feature();
    let bytes: Vec<u8> = (0..field.planes.bytes()).map(|i| i as u8).collect();
    let mut scene = Scene::new(16, 16);
    let quant = Quant {
        scale: 0.1,
        zero_point: 128,
    };
    let letterbox = Letterbox::new(size, Size::new(64, 64));
    scene.look(candidates, quant, &[(field, &bytes)], &letterbox, &frame);
    scene
}

#[test]
fn near_doubles_and_boxes_outside_the_frame_are_no_objects() {
    let scene = seen(&[
        BBox::new(0.0, 16.0, 32.0, 48.0),
        BBox::new(1.0, 16.0, 33.0, 48.0),
        BBox::new(0.0, 0.0, 64.0, 10.0),
        BBox::new(32.0, 16.0, 64.0, 48.0),
    ]);
    let locations: Vec<u32> = scene.objects().iter().map(|o| o.location).collect();
    assert_eq!(locations, [0, 3]);
    assert_eq!(scene.objects()[1].bbox, BBox::new(32.0, 0.0, 64.0, 32.0));
}

#[test]
fn an_object_is_described_by_where_it_is_and_what_colour_it_has() {
    let scene = seen(&[BBox::new(32.0, 16.0, 64.0, 48.0)]);
    let geometry = &scene.looks[32..];
    let root = 0.5f32.sqrt();
    let expected = [
        0.75, 0.5, 0.5, 1.0, root, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0,
    ];
    assert_eq!(geometry, expected);
    // the feature of the lower right pixel of 2 × 2 within a border of one
    let first = (2 * 4 + 2) * LANE;
    assert_eq!(scene.looks[16], 0.01 * (first % 256) as f32);
}

#[test]
fn a_sentence_and_an_object_meet_in_the_input_and_empty_places_stay_zero() {
    let scene = seen(&[BBox::new(32.0, 16.0, 64.0, 48.0)]);
    let mut sentence = vec![0.0; 16];
    sentence[3] = 1.0;
    let affinity = Affinity {
        scale: 2.0,
        bias: 1.0,
    };
    let blocks = scene.channels() / LANE;
    let mut bytes = vec![7; blocks * FIELD.planes.bytes()];
    scene.describe(&sentence, affinity, &FIELD, &mut bytes);
    let value = |object: usize, channel: usize| {
        let pixel = FIELD
            .at(&bytes, object)
            .nth(channel / LANE)
            .expect("a plane");
        FIELD.quant.dequantise(pixel[channel % LANE])
    };
    let near = |a: f32, b: f32| (a - b).abs() <= 0.5 / 32.0 + 1e-6;
    let embedding = 0.1 * 3.0;
    assert!(near(value(0, 3), 6.0 * embedding), "{}", value(0, 3));
    assert!(near(value(0, 16 + 3), 0.5 * embedding));
    // 11 and 4 · 1.6 / 8: the one is cut to the range, which ends a step below 4 in signed bytes
    assert!(value(0, 32 + 3) > 3.9);
    let logit = 2.0 * embedding + 1.0;
    assert!(near(value(0, 64 + 7), 4.0 * logit / 8.0));
    assert!((0..scene.channels()).all(|c| value(1, c) == 0.0));
}

#[test]
fn the_best_object_is_the_first_of_equals_and_places_without_object_do_not_count() {
    let scene = seen(&[
        BBox::new(0.0, 16.0, 16.0, 48.0),
        BBox::new(20.0, 16.0, 40.0, 48.0),
        BBox::new(44.0, 16.0, 64.0, 48.0),
    ]);
    let mut bytes = vec![0; FIELD.planes.bytes()];
    let at = |i: usize| {
        FIELD.planes.origin() + (i / SIDE) * FIELD.planes.row_bytes() + (i % SIDE) * LANE
    };
    (bytes[at(0)], bytes[at(1)], bytes[at(2)], bytes[at(3)]) = (10, 90, 90, 255);
    let (object, logit) = scene.best(&FIELD, &bytes).expect("objects");
    assert_eq!(object.location, 1);
    assert_eq!(logit, (90.0 - 128.0) / 32.0);
    assert_eq!(seen(&[]).best(&FIELD, &bytes), None);
}

#[test]
fn a_row_becomes_a_vector_of_unit_length() {
    assert_eq!(unit(&[3, -4]), [0.6, -0.8]);
    assert_eq!(unit(&[0, 0]), [0.0, 0.0]);
}
