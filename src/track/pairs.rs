//! Who goes with whom: the pairs whose affinities have the greatest sum.
//!
//! The pairs that are possible fall into groups that have nothing to do with one another. Most groups are one pair. In a larger one, the best
//! sum is found by augmenting paths (Kuhn, Munkres; in the form of Jonker and Volgenant), in a matrix of the group alone. A group of more
//! than [`MOST`] on either side is a crowd in which nobody can be told from his neighbour; there the best pair is made first, and so on, so
//! that the time is bounded.
//!
//! Best pairs first everywhere was measured too: of 30 people in a crowd, predicted and seen with 8 pixels of error, it gives 88.0 % their own
//! box and the greatest sum 92.3 % (the test below). The crates for this (`pathfinding`, `lapjv`) allocate for every matrix and take all tracks
//! with all boxes at once.

/// Most tracks, or boxes, of a group whose best sum is looked for.
const MOST: usize = 64;

/// A pair that is possible.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pair {
    group: u16,
    left: u16,
    right: u16,
    affinity: f32,
}

/// The possible pairs of one round, and room to choose among them.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    /// Of each left one: the left one that stands for its group, or one nearer to it.
    parent: Vec<u16>,
    /// Of each right one: a left one of its group.
    first: Vec<u16>,
    matrix: Matrix,
}

const NOBODY: u16 = u16::MAX;

impl Pairs {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            pairs: Vec::with_capacity(capacity),
            parent: Vec::with_capacity(capacity),
            first: Vec::with_capacity(capacity),
            matrix: Matrix::new(capacity),
        }
    }

    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    /// This pair is possible; affinities are above 0 and at most 1.
    pub(super) fn offer(&mut self, left: usize, right: usize, affinity: f32) {
        self.pairs.push(Pair {
            group: 0,
            left: left as u16,
            right: right as u16,
            affinity,
        });
    }

    /// Hands over pairs, the best first; `free` says whether both are still to be had.
    pub(super) fn choose_greedily(
        &mut self,
        mut free: impl FnMut(usize, usize) -> bool,
        mut take: impl FnMut(usize, usize),
    ) {
        self.pairs.sort_unstable_by(best_first);
        for pair in &self.pairs {
            let (left, right) = (pair.left.into(), pair.right.into());
            if free(left, right) {
                take(left, right);
            }
        }
    }

    /// Hands over the pairs with the greatest sum of affinities, nobody twice.
    pub(super) fn choose(&mut self, mut take: impl FnMut(usize, usize)) {
        self.group();
        let matrix = &mut self.matrix;
        for group in self.pairs.chunk_by_mut(|a, b| a.group == b.group) {
            if let [pair] = group {
                take(pair.left.into(), pair.right.into());
            } else if matrix.fill(group) {
                matrix.solve(&mut take);
            } else {
                group.sort_unstable_by(best_first);
                // the two lists of the matrix serve as lists of those who are taken
                matrix.rows.clear();
                matrix.columns.clear();
                for pair in group {
                    if !matrix.rows.contains(&pair.left) && !matrix.columns.contains(&pair.right) {
                        matrix.rows.push(pair.left);
                        matrix.columns.push(pair.right);
                        take(pair.left.into(), pair.right.into());
                    }
                }
            }
        }
    }

    /// Sorts the pairs by group, and within it.
    fn group(&mut self) {
        let most = |of: fn(&Pair) -> u16| self.pairs.iter().map(of).max().map_or(0, |m| m + 1);
        let (lefts, rights) = (most(|p| p.left), most(|p| p.right));
        self.parent.clear();
        self.parent.extend(0..lefts);
        self.first.clear();
        self.first.resize(rights.into(), NOBODY);
        for pair in &self.pairs {
            let first = &mut self.first[usize::from(pair.right)];
            if *first == NOBODY {
                *first = pair.left;
            }
            let (a, b) = (
                root(&mut self.parent, *first),
                root(&mut self.parent, pair.left),
            );
            self.parent[usize::from(a.max(b))] = a.min(b);
        }
        for pair in &mut self.pairs {
            pair.group = root(&mut self.parent, pair.left);
        }
        self.pairs
            .sort_unstable_by_key(|p| (p.group, p.left, p.right));
    }
}

fn best_first(a: &Pair, b: &Pair) -> std::cmp::Ordering {
    let places = (a.left, a.right).cmp(&(b.left, b.right));
    b.affinity.total_cmp(&a.affinity).then(places)
}

fn root(parent: &mut [u16], mut of: u16) -> u16 {
    while parent[usize::from(of)] != of {
        let above = parent[usize::from(of)];
        parent[usize::from(of)] = parent[usize::from(above)];
        of = above;
    }
    of
}

/// The affinities of one group, as rows and columns, and what augmenting paths need.
#[derive(Debug, Default)]
struct Matrix {
    rows: Vec<u16>,
    columns: Vec<u16>,
    /// Columns of the matrix: at least as many as rows.
    width: usize,
    values: Vec<f32>,
    /// Potentials of rows and columns; index 0 is nobody, in all that follow.
    u: Vec<f32>,
    v: Vec<f32>,
    /// Of each column: its row.
    of: Vec<usize>,
    /// Of each column: the column before it on the path.
    way: Vec<usize>,
    least: Vec<f32>,
    used: Vec<bool>,
}

impl Matrix {
    /// All the room that it can need, at once: a frame in which more things come together is no time to ask for it.
    fn new(pairs: usize) -> Self {
        let of_each = || Vec::with_capacity(MOST + 1);
        Self {
            rows: Vec::with_capacity(pairs),
            columns: Vec::with_capacity(pairs),
            width: 0,
            values: Vec::with_capacity(MOST * MOST),
            u: of_each(),
            v: of_each(),
            of: Vec::with_capacity(MOST + 1),
            way: Vec::with_capacity(MOST + 1),
            least: of_each(),
            used: Vec::with_capacity(MOST + 1),
        }
    }

    /// Takes over a group, if it is not too large.
    fn fill(&mut self, group: &[Pair]) -> bool {
        self.rows.clear();
        self.columns.clear();
        for pair in group {
            if self.rows.last() != Some(&pair.left) {
                self.rows.push(pair.left);
            }
            self.columns.push(pair.right);
        }
        self.columns.sort_unstable();
        self.columns.dedup();
        if self.rows.len() > MOST || self.columns.len() > MOST {
            return false;
        }
        self.width = self.columns.len().max(self.rows.len());
        self.values.clear();
        self.values.resize(self.rows.len() * self.width, 0.0);
        let mut row = 0;
        for pair in group {
            while self.rows[row] != pair.left {
                row += 1;
            }
            if let Ok(column) = self.columns.binary_search(&pair.right) {
                self.values[row * self.width + column] = pair.affinity;
            }
        }
        true
    }

    /// Row by row, a path of the least cost to a column that is free.
    fn solve(&mut self, take: &mut impl FnMut(usize, usize)) {
        let (rows, width) = (self.rows.len(), self.width);
        self.u.clear();
        self.u.resize(rows + 1, 0.0);
        self.v.clear();
        self.v.resize(width + 1, 0.0);
        for list in [&mut self.of, &mut self.way] {
            list.clear();
            list.resize(width + 1, 0);
        }
        for row in 1..=rows {
            self.of[0] = row;
            self.least.clear();
            self.least.resize(width + 1, f32::INFINITY);
            self.used.clear();
            self.used.resize(width + 1, false);
            let mut at = 0;
            loop {
                self.used[at] = true;
                let (from, mut delta, mut next) = (self.of[at], f32::INFINITY, 0);
                for j in 1..=width {
                    if self.used[j] {
                        continue;
                    }
                    let value = self.values[(from - 1) * width + j - 1];
                    let cost = -value - self.u[from] - self.v[j];
                    if cost < self.least[j] {
                        (self.least[j], self.way[j]) = (cost, at);
                    }
                    if self.least[j] < delta {
                        (delta, next) = (self.least[j], j);
                    }
                }
                for j in 0..=width {
                    if self.used[j] {
                        self.u[self.of[j]] += delta;
                        self.v[j] -= delta;
                    } else {
                        self.least[j] -= delta;
                    }
                }
                at = next;
                if self.of[at] == 0 {
                    break;
                }
            }
            while at != 0 {
                self.of[at] = self.of[self.way[at]];
                at = self.way[at];
            }
        }
        for (column, &row) in self.columns.iter().zip(&self.of[1..]) {
            // a pair that is not possible has no affinity: both stay alone
            let j = self.columns.partition_point(|c| c < column);
            if row > 0 && self.values[(row - 1) * width + j] > 0.0 {
                take(self.rows[row - 1].into(), (*column).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::BBox;
    use std::cell::RefCell;

    /// Whom each left one is given, by the greatest sum or by the best pairs first.
    fn chosen(affinity: &[Vec<f32>], greedy: bool) -> Vec<Option<usize>> {
        let mut pairs = Pairs::default();
        for (i, row) in affinity.iter().enumerate() {
            for (j, &a) in row.iter().enumerate().filter(|(_, a)| **a > 0.0) {
                pairs.offer(i, j, a);
            }
        }
        let lefts = RefCell::new(vec![None; affinity.len()]);
        let take = |l: usize, r| {
            assert!(lefts.borrow()[l].is_none() && !lefts.borrow().contains(&Some(r)));
            lefts.borrow_mut()[l] = Some(r);
        };
        if greedy {
            let free =
                |l: usize, r| lefts.borrow()[l].is_none() && !lefts.borrow().contains(&Some(r));
            pairs.choose_greedily(free, take);
        } else {
            pairs.choose(take);
        }
        lefts.into_inner()
    }

    fn numbers(mut state: u64) -> impl FnMut() -> f32 {
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u32 << 24) as f32
        }
    }

    #[test]
    fn the_sum_counts_and_nobody_is_taken_twice() {
        let affinity = vec![vec![0.9, 0.8], vec![0.85, 0.1]];
        assert_eq!(chosen(&affinity, false), [Some(1), Some(0)]);
        assert_eq!(chosen(&affinity, true), [Some(0), Some(1)]);
        assert_eq!(chosen(&[vec![0.0, 0.3, 0.0]], false), [Some(1)]);
        let column = [vec![0.2], vec![0.7], vec![0.3]];
        assert_eq!(chosen(&column, false), [None, Some(0), None]);
        assert_eq!(chosen(&[], false), []);
    }

    #[test]
    fn the_sum_is_the_greatest_that_there_is() {
        /// By trying all.
        fn best(affinity: &[Vec<f32>], taken: &mut Vec<usize>) -> f32 {
            let Some((row, rest)) = affinity.split_first() else {
                return 0.0;
            };
            let mut sum = best(rest, taken);
            for (j, a) in row.iter().enumerate().filter(|(_, a)| **a > 0.0) {
                if !taken.contains(&j) {
                    taken.push(j);
                    sum = sum.max(a + best(rest, taken));
                    taken.pop();
                }
            }
            sum
        }
        let mut next = numbers(3);
        for _ in 0..300 {
            let (rows, columns) = (1 + (next() * 6.0) as usize, 1 + (next() * 6.0) as usize);
            let mut value = || {
                if next() < 0.5 {
                    0.0
                } else {
                    0.1 + 0.9 * next()
                }
            };
            let affinity: Vec<Vec<f32>> = (0..rows)
                .map(|_| (0..columns).map(|_| value()).collect())
                .collect();
            let found = chosen(&affinity, false);
            let sum: f32 = (found.iter().enumerate())
                .filter_map(|(i, j)| j.map(|j| affinity[i][j]))
                .sum();
            let wanted = best(&affinity, &mut Vec::new());
            assert!((sum - wanted).abs() < 1e-4, "{affinity:?}: {found:?}");
        }
    }

    #[test]
    fn in_crowds_the_greatest_sum_gives_more_their_own_box_than_best_pairs_first() {
        let mut next = numbers(7);
        let (mut greedy, mut best, mut all) = (0, 0, 0);
        for _ in 0..300 {
            // thirty people of 40 × 100 pixels in 640 × 200, predicted and seen with up to 8 pixels of error
            let truth: Vec<(f32, f32)> =
                (0..30).map(|_| (next() * 600.0, next() * 100.0)).collect();
            let mut moved = |(x, y): (f32, f32)| {
                let (x, y) = (x + 16.0 * (next() - 0.5), y + 16.0 * (next() - 0.5));
                BBox::new(x, y, x + 40.0, y + 100.0)
            };
            let predicted: Vec<BBox> = truth.iter().map(|&t| moved(t)).collect();
            let seen: Vec<BBox> = truth.iter().map(|&t| moved(t)).collect();
            let affinity: Vec<Vec<f32>> = (predicted.iter())
                .map(|p| {
                    let near = seen.iter().map(|s| p.iou(s));
                    near.map(|iou| if iou < 0.1 { 0.0 } else { iou }).collect()
                })
                .collect();
            let right = |found: Vec<Option<usize>>| {
                found
                    .iter()
                    .enumerate()
                    .filter(|(i, o)| **o == Some(*i))
                    .count()
            };
            all += truth.len();
            greedy += right(chosen(&affinity, true));
            best += right(chosen(&affinity, false));
        }
        println!("of {all}: best pairs first {greedy}, greatest sum {best}");
        assert!(
            best * 100 > all * 90 && best > greedy,
            "{best} {greedy} of {all}"
        );
    }

    #[test]
    fn a_crowd_that_is_too_large_is_paired_all_the_same() {
        let near = |i: usize, j: usize| if i == j { 0.9 } else { 0.2 };
        let affinity: Vec<Vec<f32>> = (0..MOST + 1)
            .map(|i| (0..MOST + 1).map(|j| near(i, j)).collect())
            .collect();
        let found = chosen(&affinity, false);
        assert!(found.iter().enumerate().all(|(i, j)| *j == Some(i)));
    }
}
