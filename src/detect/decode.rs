//! Where a location's object is.

use super::{HeadLevel, HeadOutput};
use crate::{
    geometry::BBox,
    head::{BoxForm, HeadForm},
};

/// The level of a location, and the location's index there.
pub(super) fn place(levels: &[HeadLevel], location: u32) -> (usize, usize) {
    let mut index = location as usize;
    for (i, level) in levels.iter().enumerate() {
        match index.checked_sub(level.locations()) {
            Some(beyond) => index = beyond,
            None => return (i, index),
        }
    }
    unreachable!("locations are those of the levels")
}

/// The level of a location, that level's output, and the location's index there.
pub(super) fn locate<'a, 'b>(
    levels: &'a [HeadLevel],
    outputs: &'a [HeadOutput<'b>],
    location: u32,
) -> (&'a HeadLevel, &'a HeadOutput<'b>, usize) {
    let (level, index) = place(levels, location);
    (&levels[level], &outputs[level], index)
}

/// A location's box, in input space.
///
/// A distance below zero, which only quantisation can make, counts as zero: a
/// box is never inside out.
pub(super) fn bbox(
    form: &HeadForm,
    levels: &[HeadLevel],
    outputs: &[HeadOutput<'_>],
    location: u32,
) -> BBox {
    let (level, output, index) = locate(levels, outputs, location);
    let stride = level.stride as f32;
    let width = level.geometry.planes.width;
    let (x, y) = (index % width, index / width);
    let (x, y) = (
        (x as f32 + form.grid) * stride,
        (y as f32 + form.grid) * stride,
    );
    let value = |i: usize| level.value(output, index, i);
    let [left, top, right, bottom] = match form.boxes {
        BoxForm::Distances => [0, 1, 2, 3].map(|i| value(i).max(0.0)),
        BoxForm::LogDistances => [0, 1, 2, 3].map(|i| libm::expf(value(i))),
        BoxForm::Distribution(bins) => {
            let bins = bins as usize;
            [0, 1, 2, 3].map(|side| mean((side * bins..(side + 1) * bins).map(value)))
        }
        BoxForm::CentreAndSize => {
            let [x, y, w, h] = [0, 1, 2, 3].map(value);
            let (w, h) = (libm::expf(w) / 2.0, libm::expf(h) / 2.0);
            [w - x, h - y, w + x, h + y]
        }
    };
    BBox {
        x0: x - left * stride,
        y0: y - top * stride,
        x1: x + right * stride,
        y1: y + bottom * stride,
    }
}

/// The mean of the distribution over 0, 1, 2, … with these logits.
fn mean(logits: impl Iterator<Item = f32> + Clone) -> f32 {
    let most = logits.clone().fold(f32::MIN, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (i, logit) in logits.enumerate() {
        let weight = libm::expf(logit - most);
        sum += weight;
        weighted += i as f32 * weight;
    }
    weighted / sum
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "compared within a tolerance")]
mod tests {
    use super::*;
    use crate::{
        detect::Field,
        head::Objectness,
        kernels::layout::{LANE, Planes},
        quant::Quant,
    };

    /// The box of the second of two locations at stride 8 with these values in steps of a half.
    fn decoded(form: HeadForm, values: &[i8]) -> BBox {
        let field = Field {
            planes: Planes {
                height: 1,
                width: 2,
                border: 0,
            },
            quant: Quant {
                scale: 0.5,
                zero_point: 128,
            },
        };
        let level = HeadLevel {
            stride: 8,
            embedding: field,
            geometry: field,
        };
        let mut geometry = vec![128; 2 * form.channels()];
        for (i, v) in values.iter().enumerate() {
            geometry[i / LANE * 2 * LANE + LANE + i % LANE] = v.cast_unsigned() ^ 0x80;
        }
        let output = HeadOutput {
            embedding: &[],
            geometry: &geometry,
        };
        bbox(&form, &[level], &[output], 1)
    }

    #[test]
    fn distances_are_counted_from_the_middle_of_the_cell() {
        let b = decoded(HeadForm::default(), &[2, 4, 6, -8]);
        assert_eq!(b, BBox::new(4.0, -12.0, 36.0, 4.0));
    }

    #[test]
    fn logarithms_of_distances_are_counted_from_the_corner() {
        let form = HeadForm {
            boxes: BoxForm::LogDistances,
            grid: 0.0,
            objectness: Objectness::BestClass,
            floor: None,
        };
        let b = decoded(form, &[0, 0, 0, -128]);
        let (height, least) = (8.0, 8.0 * (-64.0_f32).exp());
        assert_eq!(b, BBox::new(0.0, -height, 16.0, least));
    }

    #[test]
    fn a_distribution_gives_its_mean() {
        let form = HeadForm {
            boxes: BoxForm::Distribution(4),
            grid: 0.0,
            objectness: Objectness::BestClass,
            floor: None,
        };
        // left and right: all on 2; top and bottom: even between 1 and 3
        let (sure, even) = ([-128, -128, 127, -128], [-128, 127, -128, 127]);
        let b = decoded(form, &[sure, even, sure, even].concat());
        assert_eq!(b, BBox::new(8.0 - 16.0, -16.0, 8.0 + 16.0, 16.0));
    }

    #[test]
    fn a_centre_and_a_size_are_in_strides() {
        let form = HeadForm {
            boxes: BoxForm::CentreAndSize,
            grid: 0.0,
            objectness: Objectness::Multiplies,
            floor: None,
        };
        let b = decoded(form, &[1, 2, 0, 0]);
        assert_eq!(b, BBox::new(8.0, 4.0, 16.0, 12.0));
    }
}
