//! Frames a second, as a command or a configuration asks for them.

use alloc::{format, string::String};

/// Frames a second that can be asked for. The least is one in 1,000 s; who wants fewer pauses, and asks for single reports.
pub const RATES: core::ops::RangeInclusive<f32> = 0.001..=1000.0;

/// Whether so many frames a second can be asked for, here as in a configuration.
///
/// # Errors
///
/// The number and which ones are taken, for people.
pub fn rate(fps: f32) -> Result<(), String> {
    if RATES.contains(&fps) {
        return Ok(());
    }
    let (least, most) = (RATES.start(), RATES.end());
    Err(format!("is {fps}; it must be from {least} to {most}"))
}
