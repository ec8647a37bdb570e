//! The specification: one pixel, one channel, one product at a time.

use super::{Band, LANE, Plane};

pub(super) fn rows(plane: &Plane<'_>, band: &mut Band<'_>) {
    for (row, pixels) in band.rows() {
        for (column, y) in pixels.iter_mut().enumerate() {
            let base = row * plane.row_step + column * plane.pixel_step;
            let mut sums = *plane.bias;
            for (&offset, weights) in plane.offsets.iter().zip(plane.weights) {
                let x = &plane.x[base + offset as usize..][..LANE];
                for ((sum, &x), &weight) in sums.iter_mut().zip(x).zip(weights) {
                    *sum = sum.wrapping_add(i32::from(x) * i32::from(weight));
                }
            }
            let byte = |c| plane.epilogue.byte(sums[c] as f32 * plane.scale[c]);
            *y = std::array::from_fn(byte);
        }
    }
}
