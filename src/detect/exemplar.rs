//! Showing instead of naming: boxes in frames become a prompt's row.
//!
//! ```text
//! box in a frame ─▶ show: the objects there, weighted      ─┐
//!                         all other objects, as negatives  ─┴▶ row: a direction that tells them apart, a scale and a shift
//! ```
//!
//! # The formula
//!
//! `e` is the mean of the shown objects' embeddings, `c = e − μ`. `μ` and `S` are the mean and the covariance of what is not meant:
//! [`PACKS`] of them those of objects on the whole ([`Background`], which the pack brings), the rest those of all other objects in
//! the same frames. `|v|` is the spread `√(vᵀ S v)` of the projections on `v`, `r` runs over the pack's unit rows.
//!
//! ```text
//! f = (S + RIDGE · (tr S / D) · 1)⁻¹ c               Fisher's linear discriminant, its covariance drawn towards the sphere
//! n = Σ softmax(r·c / |r|) r                         the names that it looks like
//! w = f/|f| + n/|n|
//! z(object) = w·(object − μ) / |w|
//! logit = SLOPE · (z − z₀),   z₀ = max(NEAR_SHOWN · z(e), RARE), but no more than CLOSEST · z(e)
//! ```
//!
//! So what lies less than [`RARE`] spreads from the middle of all objects is not taken for what was shown, and what was shown is found itself.
//!
//! Measured with the default pack (AP50 of 8 names of COCO on validation photos, with 1 box and with 5): `e` as a row 3.6 (1 box); `c` with the
//! others in the photo as `μ` 11.7; `f` with the photo's `S` 7 to 10, with the pack's 19.5 and 22.1, with both 20.9 and 22.6; `w` 24.7 and 27.3.
//! The names themselves have 38.8. What counts is the pack's statistics; without them the ridge is larger.

use crate::{
    geometry::BBox,
    pack::{Pack, PackError},
    prompt::{Row, vocabulary::Vocabulary},
};

/// The share of the pack's statistics.
const PACKS: f64 = 0.7;
/// How much of a sphere is mixed into the covariance: with the pack's statistics, and without.
const RIDGE: [f64; 2] = [0.3, 10.0];
/// Names that are looked at: those that the rest of the softmax would be nothing of.
const NAMES: usize = 64;
/// Logits for a spread.
const SLOPE: f64 = 1.5;
/// Where a score is one half, in parts of what was shown, …
const NEAR_SHOWN: f64 = 0.8;
/// … at least so many spreads from the middle: nine of ten photos without such a thing have no object that far out …
const RARE: f64 = 3.5;
/// … but not as far as what was shown.
const CLOSEST: f64 = 0.95;
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

/// Mean and covariance of embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Background {
    mean: Vec<f64>,
    /// `[D, D]`.
    covariance: Vec<f64>,
}

impl Background {
    /// The section of a pack that has one: f32 `[1 + D, D]`, little-endian.
    pub const SECTION: &'static str = "objects.statistics";

    /// That of a pack, if it has one.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] if it is not what it should be.
    pub fn open(pack: &Pack) -> Result<Option<Self>, PackError> {
        let Some(bytes) = pack.find(Self::SECTION) else {
            return Ok(None);
        };
        let wrong = |reason: String| PackError::Section {
            section: Self::SECTION.into(),
            reason,
        };
        let width = pack.manifest().embedding as usize;
        let expected = width.checked_add(1).and_then(|n| n.checked_mul(4 * width));
        if width == 0 || expected != Some(bytes.len()) {
            let reason = format!("{} bytes for embeddings of {width}", bytes.len());
            return Err(wrong(reason));
        }
        let numbers = bytes.as_chunks::<4>().0.iter();
        let mut mean: Vec<f64> = numbers.map(|b| f64::from(f32::from_le_bytes(*b))).collect();
        let covariance = mean.split_off(width);
        let variances = (0..width).map(|i| covariance[i * width + i]);
        if !mean.iter().chain(&covariance).all(|v| v.is_finite())
            || variances.into_iter().any(|v| v < 0.0)
        {
            return Err(wrong("is no mean and covariance".into()));
        }
        Ok(Some(Self { mean, covariance }))
    }

    /// As [`open`](Self::open) reads it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.mean.iter().chain(&self.covariance);
        numbers.flat_map(|&v| (v as f32).to_le_bytes()).collect()
    }

    /// To be made of embeddings of this width.
    #[must_use]
    pub fn sums(width: usize) -> Sums {
        Sums {
            count: 0,
            sum: vec![0.0; width],
            products: vec![0.0; width * width],
        }
    }

    /// This much of this one, and the rest of another.
    fn mixed(self, other: &Self, share: f64) -> Self {
        let mix = |a: Vec<f64>, b: &[f64]| {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| share * a + (1.0 - share) * b).collect()
        };
        Self {
            mean: mix(self.mean, &other.mean),
            covariance: mix(self.covariance, &other.covariance),
        }
    }
}

/// A [`Background`] in the making.
#[derive(Clone, Debug)]
pub struct Sums {
    count: u64,
    sum: Vec<f64>,
    products: Vec<f64>,
}

impl Sums {
    /// Takes an embedding in.
    ///
    /// # Panics
    ///
    /// If it is of another width.
    pub fn add(&mut self, embedding: &[f32]) {
        let width = self.sum.len();
        assert_eq!(embedding.len(), width, "embeddings are of one length");
        self.count += 1;
        let rows = self.products.chunks_exact_mut(width).zip(&mut self.sum);
        for ((row, sum), &a) in rows.zip(embedding) {
            *sum += f64::from(a);
            for (product, &b) in row.iter_mut().zip(embedding) {
                *product += f64::from(a) * f64::from(b);
            }
        }
    }

    /// Mean and covariance; none of nothing.
    #[must_use]
    pub fn finish(self) -> Option<Background> {
        let n = self.count as f64;
        if self.count == 0 {
            return None;
        }
        let mean: Vec<f64> = self.sum.iter().map(|s| s / n).collect();
        let rows = self.products.chunks_exact(mean.len()).zip(&mean);
        let covariance = rows
            .flat_map(|(row, a)| row.iter().zip(&mean).map(move |(p, b)| p / n - a * b))
            .collect();
        Some(Background { mean, covariance })
    }
}

/// The row that finds what was shown; `pack` is what objects are on the whole, where that is known, and `names` are the pack's.
///
/// # Panics
///
/// If nothing was shown, or embeddings are not all of one length.
#[must_use]
pub fn row(showings: &[Showing], pack: Option<&Background>, names: &Vocabulary) -> Row {
    let width = showings[0].object.len();
    let mut frames = Background::sums(width);
    for other in showings.iter().flat_map(|s| &s.others) {
        frames.add(other);
    }
    let (background, ridge) = match (pack.cloned(), frames.finish()) {
        (Some(pack), Some(frames)) => (pack.mixed(&frames, PACKS), RIDGE[0]),
        (Some(pack), None) => (pack, RIDGE[0]),
        (None, Some(frames)) => (frames, RIDGE[1]),
        (None, None) => {
            let nothing = Background {
                mean: vec![0.0; width],
                covariance: vec![0.0; width * width],
            };
            (nothing, RIDGE[1])
        }
    };
    let centred: Vec<f64> = (0..width)
        .map(|i| {
            let sum: f64 = showings.iter().map(|s| f64::from(s.object[i])).sum();
            sum / showings.len() as f64 - background.mean[i]
        })
        .collect();
    let fisher = background.discriminant(ridge, &centred);
    let named = background.names(&centred, names);
    let (a, b) = (background.spread(&fisher), background.spread(&named));
    let direction = fisher.iter().zip(&named).map(|(f, n)| f / a + n / b);
    let direction: Vec<f64> = direction.collect();

    // the row in bytes, and all that follows with what these bytes stand for
    let largest = direction
        .iter()
        .fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let values: Vec<i8> = direction
        .iter()
        .map(|v| (v / largest * 127.0).round_ties_even() as i8)
        .collect();
    let weights: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    let spread = background.spread(&weights);
    let middle = dot(&weights, &background.mean) / spread;
    let shown = dot(&weights, &centred) / spread;
    let even = (NEAR_SHOWN * shown).max(RARE).min(CLOSEST * shown);
    Row {
        values,
        scale: (SLOPE / spread) as f32,
        bias: (-SLOPE * (middle + even)) as f32,
        threshold: THRESHOLD,
    }
}

impl Background {
    /// How far projections on a direction spread.
    fn spread(&self, direction: &[f64]) -> f64 {
        let rows = self.covariance.chunks_exact(direction.len());
        let products = rows.zip(direction).map(|(row, v)| v * dot(row, direction));
        products.sum::<f64>().max(1e-12).sqrt()
    }

    /// Fisher's linear discriminant.
    fn discriminant(&self, ridge: f64, centred: &[f64]) -> Vec<f64> {
        let width = centred.len();
        let mut covariance = self.covariance.clone();
        let trace: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
        for i in 0..width {
            covariance[i * width + i] += ridge * trace / width as f64 + 1e-9;
        }
        solve(covariance, centred.to_vec())
    }

    /// The mean of the rows that it looks like.
    fn names(&self, centred: &[f64], names: &Vocabulary) -> Vec<f64> {
        let unit = |row: u32| {
            let values = names.values(row).iter().map(|&v| f64::from(v));
            let values: Vec<f64> = values.collect();
            let length = dot(&values, &values).sqrt().max(1.0);
            values.iter().map(|v| v / length).collect::<Vec<f64>>()
        };
        let rows = 0..names.packs() as u32;
        let mut nearest: Vec<(f64, u32)> =
            rows.map(|row| (dot(&unit(row), centred), row)).collect();
        nearest.sort_by(|a, b| b.0.total_cmp(&a.0));
        nearest.truncate(NAMES);
        let logits = nearest.iter().map(|&(along, row)| {
            let unit = unit(row);
            (along / self.spread(&unit), unit)
        });
        let logits: Vec<(f64, Vec<f64>)> = logits.collect();
        let most = logits.iter().fold(f64::MIN, |m, (z, _)| m.max(*z));
        let mut sum = vec![0.0; centred.len()];
        for (z, unit) in logits {
            // of the crate libm, as all that must be the same on every board
            let weight = libm::exp(z - most);
            sum.iter_mut().zip(unit).for_each(|(s, u)| *s += weight * u);
        }
        sum
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
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
