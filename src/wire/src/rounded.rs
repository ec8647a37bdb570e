//! How exact numbers are: what JSON writes of them, and what two bytes hold.

use serde::Serializer;

/// In f64, so that the shortest text of the result has no more digits than wanted; adding zero
/// turns -0 into 0.
fn rounded(value: f32, steps: f64) -> f32 {
    (libm::round(f64::from(value) * steps) / steps) as f32 + 0.0
}

/// Hundredths of a pixel are finer than any box is sure of.
#[must_use]
pub fn px(value: f32) -> f32 {
    rounded(value, 100.0)
}

/// Five digits keep the order of all but the closest scores.
#[must_use]
pub fn score(value: f32) -> f32 {
    rounded(value, 1e5)
}

pub(crate) fn serialize_px<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f32(px(*value))
}

pub(crate) fn serialize_score<S: Serializer>(
    value: &f32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f32(score(*value))
}

pub(crate) fn serialize_some_score<S: Serializer>(
    value: &Option<f32>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    some(value.map(score), serializer)
}

/// Hundredths of a degree.
pub(crate) fn serialize_degrees<S: Serializer>(
    value: &f32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f32(rounded(*value, 100.0))
}

/// Millimetres.
pub(crate) fn serialize_some_metres<S: Serializer>(
    value: &Option<f32>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    some(value.map(|metres| rounded(metres, 1e3)), serializer)
}

fn some<S: Serializer>(value: Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&value),
        None => serializer.serialize_none(),
    }
}

/// A probability in two bytes; `as` saturates and takes what is not a number for 0.
pub(crate) fn share(score: f32) -> u16 {
    libm::rintf(score * 65_535.0) as u16
}

/// To the nearest whole number, of two the even one.
pub(crate) fn whole(value: f32) -> f32 {
    libm::rintf(value)
}
