//! Who goes with whom: pairs by affinity, the best first.
//!
//! Greedy and not the optimum of the sum (Jonker and Volgenant): what matters is whether the two choose differently, and
//! they do where two tracks and two boxes lie so close that either is a guess. The test below counts that in crowds, with the optimum
//! as its oracle. Greedy needs no matrix: of 100 × 100 pairs some hundred are near enough to be looked at.

/// A pair that is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    /// The affinity turned around, then the two: a plain sort is the order we want.
    order: u32,
    left: u16,
    right: u16,
}

/// The possible pairs of one round, and whom each was given.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
}

impl Pairs {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            pairs: Vec::with_capacity(capacity),
        }
    }

    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    /// This pair is possible; affinities are from 0 to 1.
    pub(super) fn offer(&mut self, left: usize, right: usize, affinity: f32) {
        self.pairs.push(Pair {
            order: u32::MAX - (affinity.clamp(0.0, 1.0) * 1e9) as u32,
            left: left as u16,
            right: right as u16,
        });
    }

    /// Hands over the pairs that are made: `free` says whether both are still to be had.
    pub(super) fn choose(
        &mut self,
        mut free: impl FnMut(usize, usize) -> bool,
        mut take: impl FnMut(usize, usize),
    ) {
        self.pairs.sort_unstable();
        for pair in &self.pairs {
            let (left, right) = (pair.left.into(), pair.right.into());
            if free(left, right) {
                take(left, right);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greatest sum of affinities, by augmenting paths of the least cost (Kuhn, Munkres).
    fn best(affinity: &[Vec<f64>]) -> Vec<usize> {
        let n = affinity.len();
        let (mut u, mut v) = (vec![0.0; n + 1], vec![0.0; n + 1]);
        let (mut of, mut way) = (vec![0; n + 1], vec![0; n + 1]);
        for i in 1..=n {
            of[0] = i;
            let mut j0 = 0;
            let (mut least, mut used) = (vec![f64::INFINITY; n + 1], vec![false; n + 1]);
            loop {
                used[j0] = true;
                let (i0, mut delta, mut j1) = (of[j0], f64::INFINITY, 0);
                for j in 1..=n {
                    if !used[j] {
                        let cost = -affinity[i0 - 1][j - 1] - u[i0] - v[j];
                        if cost < least[j] {
                            (least[j], way[j]) = (cost, j0);
                        }
                        if least[j] < delta {
                            (delta, j1) = (least[j], j);
                        }
                    }
                }
                for j in 0..=n {
                    if used[j] {
                        u[of[j]] += delta;
                        v[j] -= delta;
                    } else {
                        least[j] -= delta;
                    }
                }
                j0 = j1;
                if of[j0] == 0 {
                    break;
                }
            }
            while j0 != 0 {
                of[j0] = of[way[j0]];
                j0 = way[j0];
            }
        }
        let mut found = vec![0; n];
        for j in 1..=n {
            found[of[j] - 1] = j - 1;
        }
        found
    }

    fn greedy(affinity: &[Vec<f64>], least: f64) -> Vec<Option<usize>> {
        let n = affinity.len();
        let mut pairs = Pairs::new(n * n);
        for (i, row) in affinity.iter().enumerate() {
            for (j, &a) in row.iter().enumerate() {
                if a > least {
                    pairs.offer(i, j, a as f32);
                }
            }
        }
        let (lefts, rights) = (
            std::cell::RefCell::new(vec![None; n]),
            std::cell::RefCell::new(vec![false; n]),
        );
        pairs.choose(
            |l, r| lefts.borrow()[l].is_none() && !rights.borrow()[r],
            |l, r| {
                lefts.borrow_mut()[l] = Some(r);
                rights.borrow_mut()[r] = true;
            },
        );
        lefts.into_inner()
    }

    #[test]
    fn the_best_pair_is_made_first_and_nobody_twice() {
        let affinity = vec![vec![0.9, 0.8], vec![0.85, 0.1]];
        assert_eq!(greedy(&affinity, 0.0), [Some(0), Some(1)]);
        assert_eq!(
            best(&affinity),
            [1, 0],
            "which is where the optimum differs"
        );
        assert_eq!(greedy(&affinity, 0.2), [Some(0), None]);
    }

    #[test]
    fn in_crowds_greedy_gives_as_many_their_own_box_as_the_optimum() {
        use crate::geometry::BBox;
        let mut state = 7u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            f64::from((state >> 40) as u32) / f64::from(1u32 << 24)
        };
        let (mut greedy_right, mut best_right, mut all) = (0, 0, 0);
        for _ in 0..300 {
            // thirty people of 40 × 100 pixels in 640 × 200, predicted and seen with some pixels of error
            let truth: Vec<(f64, f64)> =
                (0..30).map(|_| (next() * 600.0, next() * 100.0)).collect();
            let mut moved = |(x, y): (f64, f64)| {
                let (x, y) = (x + 16.0 * (next() - 0.5), y + 16.0 * (next() - 0.5));
                BBox::new(x as f32, y as f32, x as f32 + 40.0, y as f32 + 100.0)
            };
            let predicted: Vec<BBox> = truth.iter().map(|&t| moved(t)).collect();
            let seen: Vec<BBox> = truth.iter().map(|&t| moved(t)).collect();
            let affinity: Vec<Vec<f64>> = (predicted.iter())
                .map(|p| seen.iter().map(|s| f64::from(p.iou(s))).collect())
                .collect();
            let optimum = best(&affinity);
            let own = greedy(&affinity, 0.1);
            all += truth.len();
            greedy_right += own
                .iter()
                .enumerate()
                .filter(|(i, o)| **o == Some(*i))
                .count();
            best_right += optimum
                .iter()
                .enumerate()
                .filter(|(i, o)| *i == **o)
                .count();
        }
        println!("of {all}: greedy {greedy_right} right, optimum {best_right}");
        assert!(
            greedy_right * 100 >= best_right * 98,
            "{greedy_right} {best_right}"
        );
    }
}
