//! `TBL`: a pixel at once.

use std::arch::aarch64::*;

use super::LANE;
use crate::kernels::arm;

#[target_feature(enable = "neon")]
pub(super) fn merge(lanes: &[u8; LANE], x: &[[u8; LANE]], y: &mut [[u8; LANE]]) {
    let lanes = arm::load_u8x16(lanes);
    for (x, y) in x.iter().zip(y) {
        let sent = vqtbl1q_u8(arm::load_u8x16(x), lanes);
        arm::store_u8x16(y, vorrq_u8(arm::load_u8x16(y), sent));
    }
}
