//! The specification: one byte at a time.

use super::LANE;

pub(super) fn merge(lanes: &[u8; LANE], x: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    for (x, y) in x.iter().zip(y) {
        for (y, &lane) in y.iter_mut().zip(lanes) {
            *y |= x.get(usize::from(lane)).copied().unwrap_or(0);
        }
    }
}
