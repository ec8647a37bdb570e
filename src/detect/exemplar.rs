//! Showing instead of naming: boxes in frames become a prompt's row.
//!
//! ```text
//! box in a frame ─▶ show: the objects there, weighted      ─┐
//!                         all other objects, as negatives  ─┴▶ row: a direction that tells them apart, a scale and a shift
//! ```
//!
//! # The formula
//!
//! `e` is the mean of the shown objects' embeddings, `μ` and `S` are the mean and the covariance of the embeddings of all other
//! objects in the same frames. The row is Fisher's linear discriminant, its covariance drawn towards the sphere:
//!
//! ```text
//! w = (S + RIDGE · (tr S / D) · 1)⁻¹ (e − μ)
//! logit(object) = a · (w · object) + b        with  logit(e) = AT_EXEMPLAR  and  logit(hard) = AT_OTHERS
//! ```
//!
//! where `hard` is the mean over the frames of the best of the other objects. So a score of one half lies between what was shown and what
//! is most like it and was not shown, as it does with a calibrated name.
//! With several exemplars, `logit(e)` is the mean of theirs.

use crate::{geometry::BBox, prompt::Row};

/// How much of a sphere is mixed into the covariance.
const RIDGE: f64 = 1.0;
/// The logit of what was shown.
const AT_EXEMPLAR: f64 = 1.5;
/// The logit of what is most like it.
const AT_OTHERS: f64 = -1.5;
/// Score from which an exemplar's detection is reported.
const THRESHOLD: f32 = 0.5;

/// Least overlap of a box with an object that is meant by it.
pub const LEAST_OVERLAP: f32 = 0.4;

/// Overlap from which an object is neither meant nor something else.
const NEAR: f32 = 0.2;

/// How many objects a box is taken for, at most.
const OBJECTS: usize = 5;

/// Something that the head proposes in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Where, in frame space and clipped to the frame; never empty.
    pub bbox: BBox,
    /// As the head gives it; 0 if the head's form has none.
    pub objectness: f32,
    /// `[D]` real numbers.
    pub embedding: Vec<f32>,
}

/// What one box shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Showing {
    /// `[D]`: the mean of the objects that the box means.
    pub object: Vec<f32>,
    /// `[n, D]`: what else is in the frame.
    pub others: Vec<Vec<f32>>,
    /// Intersection over union of the box with the best of its objects.
    pub overlap: f32,
}

/// No object lies where the box is; the greatest overlap with one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NothingThere(pub f32);

impl std::fmt::Display for NothingThere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "nothing object-like is in the box: the nearest object overlaps it by {:.2}, {LEAST_OVERLAP} is needed",
            self.0
        )
    }
}

impl std::error::Error for NothingThere {}

/// What a box shows, of a frame's objects.
///
/// # Errors
///
/// [`NothingThere`] if no object overlaps the box enough.
pub fn show(objects: &[Object], bbox: BBox) -> Result<Showing, NothingThere> {
    let mut meant: Vec<(f32, &Object)> = Vec::new();
    let mut others = Vec::new();
    let mut best = 0f32;
    for object in objects {
        let overlap = object.bbox.iou(&bbox);
        best = best.max(overlap);
        if overlap >= LEAST_OVERLAP {
            meant.push((overlap * crate::odds::score(object.objectness), object));
        } else if overlap < NEAR {
            others.push(object.embedding.clone());
        }
    }
    if meant.is_empty() {
        return Err(NothingThere(best));
    }
    meant.sort_by(|a, b| b.0.total_cmp(&a.0));
    meant.truncate(OBJECTS);
    let total: f32 = meant.iter().map(|(weight, _)| weight).sum();
    let mut object = vec![0.0; meant[0].1.embedding.len()];
    for (weight, from) in meant {
        for (sum, v) in object.iter_mut().zip(&from.embedding) {
            *sum += weight / total * v;
        }
    }
    Ok(Showing {
        object,
        others,
        overlap: best,
    })
}

/// The row that finds what was shown.
///
/// # Panics
///
/// If nothing was shown, or embeddings are not all of one length.
#[must_use]
pub fn row(showings: &[Showing]) -> Row {
    let width = showings[0].object.len();
    let mean = |vectors: &mut dyn Iterator<Item = &Vec<f32>>| {
        let (mut sums, mut count) = (vec![0f64; width], 0);
        for vector in vectors {
            assert_eq!(vector.len(), width, "embeddings are of one length");
            for (sum, &v) in sums.iter_mut().zip(vector) {
                *sum += f64::from(v);
            }
            count += 1;
        }
        let count = f64::from(count.max(1));
        sums.iter_mut().for_each(|s| *s /= count);
        sums
    };
    let shown = mean(&mut showings.iter().map(|s| &s.object));
    let others = || showings.iter().flat_map(|s| &s.others);
    let middle = mean(&mut others());
    let mut covariance = vec![0f64; width * width];
    let count = others().count().max(1) as f64;
    for other in others() {
        let centred: Vec<f64> = (other.iter().zip(&middle))
            .map(|(&v, m)| f64::from(v) - m)
            .collect();
        for (row, &a) in covariance.chunks_exact_mut(width).zip(&centred) {
            for (sum, &b) in row.iter_mut().zip(&centred) {
                *sum += a * b / count;
            }
        }
    }
    let trace: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
    for i in 0..width {
        covariance[i * width + i] += RIDGE * trace / width as f64 + 1e-9;
    }
    let difference: Vec<f64> = shown.iter().zip(&middle).map(|(a, b)| a - b).collect();
    let direction = solve(covariance, difference);

    // the row in bytes, and all that follows with what these bytes stand for
    let largest = direction.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let values: Vec<i8> = direction
        .iter()
        .map(|v| (v / largest * 127.0).round_ties_even() as i8)
        .collect();
    let project = |vector: &[f32]| -> f64 {
        let products = values.iter().zip(vector);
        products.map(|(&w, &v)| f64::from(w) * f64::from(v)).sum()
    };
    let shown: f64 = showings.iter().map(|s| project(&s.object)).sum();
    let shown = shown / showings.len() as f64;
    let hard = showings.iter().map(|s| {
        let projections = s.others.iter().map(|other| project(other));
        projections.fold(f64::MIN, f64::max)
    });
    let hard: Vec<f64> = hard.filter(|h| *h > f64::MIN).collect();
    let hard = hard.iter().sum::<f64>() / hard.len().max(1) as f64;
    // another one of the same kind may be among the others
    let apart = (shown - hard).max(0.25 * shown.abs()).max(1e-3);
    let scale = (AT_EXEMPLAR - AT_OTHERS) / apart;
    Row {
        values,
        scale: scale as f32,
        bias: (AT_EXEMPLAR - scale * shown) as f32,
        threshold: THRESHOLD,
    }
}

/// `x` of `matrix · x = vector`, for a symmetric positive matrix, by Cholesky's decomposition.
fn solve(mut matrix: Vec<f64>, mut vector: Vec<f64>) -> Vec<f64> {
    let n = vector.len();
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
            let rest = matrix[i * n + j] - dot;
            matrix[i * n + j] = if i == j {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / matrix[j * n + j]
            };
        }
    }
    for i in 0..n {
        let dot: f64 = (0..i).map(|k| matrix[i * n + k] * vector[k]).sum();
        vector[i] = (vector[i] - dot) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| matrix[k * n + i] * vector[k]).sum();
        vector[i] = (vector[i] - dot) / matrix[i * n + i];
    }
    vector
}
