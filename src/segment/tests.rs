use super::*;
use crate::{geometry::Size, kernels::layout::Planes, quant::Quant};

const SIDE: usize = 10;

fn field() -> Field {
    Field {
        planes: Planes {
            height: SIDE,
            width: SIDE,
            border: 1,
        },
        quant: Quant {
            scale: 0.1,
            zero_point: 128,
        },
    }
}

/// 16 prototypes, the first as given and the others zero.
fn prototypes(of: impl Fn(usize, usize) -> i32) -> Vec<u8> {
    let planes = field().planes;
    let mut bytes = vec![128; planes.bytes()];
    for row in 0..SIDE {
        for column in 0..SIDE {
            let at = planes.origin() + row * planes.row_bytes() + column * LANE;
            bytes[at] = (of(row, column) + 128) as u8;
        }
    }
    bytes
}

/// The mask of an object by these prototypes, alone and over the whole grid.
fn masked(
    bytes: &[u8],
    unit: f32,
    coefficients: &[u8],
    bbox: &BBox,
    letterbox: &Letterbox,
) -> Mask {
    let prototypes = Prototypes {
        field: field(),
        bytes,
        stride: 8,
        size: (SIDE, SIDE),
        origin: (0, 0),
        unit,
    };
    let mut mask = Mask::default();
    Segmenter::default().run(&prototypes, coefficients, 128, bbox, letterbox, &mut mask);
    mask
}

/// Two hidden units, of which the first prototype's value times `step` comes out as it is: one for what is positive of it, one for the rest.
fn as_it_is(step: i32) -> [u8; 2 * (LANE + BESIDES)] {
    let mut own = [128; 2 * (LANE + BESIDES)];
    own[0] = (128 + step) as u8;
    own[LANE] = (128 - step) as u8;
    let outs = [2 * LANE, 2 * LANE + BESIDES].map(|unit| unit + 3);
    (own[outs[0]], own[outs[1]]) = (129, 127);
    own
}

/// The mask by its definition, pixel by pixel, in f64.
fn plain(of: impl Fn(usize, usize) -> i32, bbox: &BBox, letterbox: &Letterbox) -> Vec<bool> {
    let (frame, resized, offset) = (letterbox.frame, letterbox.resized(), letterbox.offset());
    let mut inside = Vec::new();
    for x in 0..frame.width {
        for y in 0..frame.height {
            let place = |pixel: u32, frame: u32, resized: u32, offset: u32| {
                let input = (f64::from(pixel) + 0.5) * f64::from(resized) / f64::from(frame)
                    + f64::from(offset);
                (input / 8.0 - 0.5).clamp(0.0, (SIDE - 1) as f64)
            };
            let gx = place(x, frame.width, resized.width, offset.0);
            let gy = place(y, frame.height, resized.height, offset.1);
            let (x0, y0) = ((gx as usize).min(SIDE - 2), (gy as usize).min(SIDE - 2));
            let (px, py) = (gx - x0 as f64, gy - y0 as f64);
            let value = |r: usize, c: usize| f64::from(of(r, c));
            let top = value(y0, x0) * (1.0 - px) + value(y0, x0 + 1) * px;
            let low = value(y0 + 1, x0) * (1.0 - px) + value(y0 + 1, x0 + 1) * px;
            let (cx, cy) = (x as f32 + 0.5, y as f32 + 0.5);
            let boxed = cx >= bbox.x0 && cx <= bbox.x1 && cy >= bbox.y0 && cy <= bbox.y1;
            inside.push(boxed && top * (1.0 - py) + low * py > 1e-4);
        }
    }
    inside
}

#[test]
fn masks_equal_their_definition_at_any_scale() {
    let blob = |row: usize, column: usize| {
        (40 - (row as i32 - 4).pow(2) * 7 - (column as i32 - 5).pow(2) * 5).max(-120)
    };
    let waves = |row: usize, column: usize| {
        if (row * 7 + column * 3) % 4 < 2 {
            50
        } else {
            -31
        }
    };
    for size in [
        Size::new(80, 80),
        Size::new(33, 20),
        Size::new(7, 60),
        Size::new(640, 480),
        Size::new(1, 1),
    ] {
        let letterbox = Letterbox::new(size, Size::new(80, 80));
        let (w, h) = (size.width as f32, size.height as f32);
        for bbox in [
            BBox::new(0.0, 0.0, w, h),
            BBox::new(0.2 * w, 0.1 * h, 0.9 * w, 0.77 * h),
            BBox::new(0.5 * w, 0.5 * h, 0.5 * w + 0.3, 0.5 * h + 0.3),
        ] {
            for (name, of) in [
                ("blob", &blob as &dyn Fn(usize, usize) -> i32),
                ("waves", &waves),
            ] {
                let mask = masked(&prototypes(of), 1.0, &as_it_is(3), &bbox, &letterbox);
                let mut found = vec![false; size.pixels() as usize];
                for run in mask.runs() {
                    found[run.start as usize..run.end as usize].fill(true);
                }
                let expected = plain(of, &bbox, &letterbox);
                let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
                // f32 against f64, on the outline only
                assert!(
                    differ * 2000 <= found.len(),
                    "{name} {size} {bbox:?}: {differ} pixels differ"
                );
                let total: u64 = mask.counts().iter().map(|&n| u64::from(n)).sum();
                assert_eq!(total, size.pixels());
            }
        }
    }
}

#[test]
fn a_negative_coefficient_turns_inside_out() {
    let half = |_: usize, column: usize| if column < 5 { 20 } else { -20 };
    let bytes = prototypes(half);
    let size = Size::new(80, 80);
    let letterbox = Letterbox::new(size, size);
    let area = |coefficient: i32| {
        let whole = BBox::new(0.0, 0.0, 80.0, 80.0);
        let mask = masked(&bytes, 1.0, &as_it_is(coefficient), &whole, &letterbox);
        (mask.area(), mask.runs().next().map(|r| r.start))
    };
    assert_eq!(area(2), (40 * 80, Some(0)));
    assert_eq!(area(-2), (40 * 80, Some(40 * 80)));
    assert_eq!(area(0), (0, None));
}

/// One hidden unit that knows nothing but where in the box it is.
#[test]
fn a_unit_knows_where_in_the_box_it_is() {
    let bytes = prototypes(|_, _| 0);
    // the input is half of the frame and twice as high as the picture in it
    let letterbox = Letterbox::new(Size::new(160, 80), Size::new(80, 80));
    let bbox = BBox::new(32.0, 8.0, 128.0, 72.0);
    let runs = |[across, down, constant]: [u8; 3]| -> Vec<(u32, u32)> {
        let mut coefficients = [128; LANE + BESIDES];
        coefficients[LANE..].copy_from_slice(&[across, down, constant, 129]);
        let mask = masked(&bytes, 0.5, &coefficients, &bbox, &letterbox);
        let all = mask.runs().map(|run| (run.start / 80, run.start % 80));
        all.collect()
    };
    // everything: every column of the box, from its top
    let whole: Vec<_> = (32..128).map(|column| (column, 8)).collect();
    assert_eq!(runs([128, 128, 129]), whole);
    assert_eq!(runs([128, 128, 127]), []);
    // the right half: from between the last point that is not right of the middle and the next, of which every pixel is above zero
    let right = runs([131, 128, 128]);
    assert_eq!(right, whole[right[0].0 as usize - 32..]);
    assert!((72..=80).contains(&right[0].0), "{}", right[0].0);
    // the lower half
    let low = runs([128, 131, 128]);
    assert_eq!(low.len(), 96);
    assert!(
        low.iter()
            .all(|&(_, row)| row == low[0].1 && (32..=40).contains(&row)),
        "{low:?}"
    );
    // a constant moves the edge: twice as far to the right as the box's quarter
    let quarter = runs([132, 128, 126]);
    assert!((96..=104).contains(&quarter[0].0), "{}", quarter[0].0);
}
