//! What things look like: the embeddings of the head, as vectors of unit length.

/// How fast a track's look follows what is seen, per sighting.
const FOLLOWS: f32 = 0.1;

/// Vectors in slots.
#[derive(Debug)]
pub(super) struct Looks {
    dimension: usize,
    slots: usize,
    values: Vec<f32>,
    known: Vec<bool>,
}

impl Looks {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            dimension: 0,
            slots,
            values: Vec::new(),
            known: vec![false; slots],
        }
    }

    /// Makes room for vectors of this length, once for a pack.
    pub(super) fn fit(&mut self, dimension: usize) {
        if self.dimension != dimension {
            self.dimension = dimension;
            self.values = vec![0.0; self.slots * dimension];
            self.known.fill(false);
        }
    }

    pub(super) fn forget(&mut self, slot: usize) {
        self.known[slot] = false;
    }

    /// The vector of a slot.
    pub(super) fn get(&self, slot: usize) -> Option<&[f32]> {
        let known = self.known[slot].then(|| self.row(slot));
        known.map(|row| &self.values[row])
    }

    fn row(&self, slot: usize) -> std::ops::Range<usize> {
        slot * self.dimension..(slot + 1) * self.dimension
    }

    /// Puts a vector there, which `write` writes; unknown if it says so, or has no length.
    pub(super) fn put(&mut self, slot: usize, write: impl FnOnce(&mut [f32]) -> bool) {
        let row = self.row(slot);
        let values = &mut self.values[row];
        self.known[slot] = !values.is_empty() && write(values) && unit(values);
    }

    /// A track saw what it follows once more.
    pub(super) fn follow(&mut self, slot: usize, seen: Option<&[f32]>) {
        let Some(seen) = seen else { return };
        let (row, known) = (self.row(slot), self.known[slot]);
        let values = &mut self.values[row];
        if known {
            for (value, &seen) in values.iter_mut().zip(seen) {
                *value += FOLLOWS * (seen - *value);
            }
        } else {
            values.copy_from_slice(seen);
        }
        self.known[slot] = unit(values);
    }

    /// Takes over the vector of another slot.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        let (from_row, at) = (self.row(from), self.row(to).start);
        self.values.copy_within(from_row, at);
        self.known[to] = self.known[from];
    }
}

/// Makes a vector's length 1; whether it can.
fn unit(values: &mut [f32]) -> bool {
    let length = dot(values, values).sqrt();
    if !(length > 0.0 && length.is_finite()) {
        return false;
    }
    values.iter_mut().for_each(|value| *value /= length);
    true
}

/// In eight sums, which a compiler turns into vectors, in an order that is the same everywhere.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let ((a8, a1), (b8, b1)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a8.iter().zip(b8) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a1.iter().zip(b1).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_follows_what_is_seen_and_keeps_its_length() {
        let mut looks = Looks::new(2);
        looks.fit(10);
        assert_eq!(looks.get(0), None);
        looks.put(1, |v| {
            v.fill(3.0);
            true
        });
        let seen = looks.get(1).expect("known").to_vec();
        looks.follow(0, Some(&seen));
        assert_eq!(looks.get(0), Some(&seen[..]));
        let mut other = vec![0.0; 10];
        other[0] = 1.0;
        for _ in 0..100 {
            looks.follow(0, Some(&other));
        }
        let now = looks.get(0).expect("known");
        assert!(dot(now, &other) > 0.999 && (dot(now, now) - 1.0).abs() < 1e-5);
        looks.put(1, |v| {
            v.fill(0.0);
            true
        });
        assert_eq!(looks.get(1), None, "nothing looks like nothing");
    }
}
