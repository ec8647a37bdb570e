//! Outlines of masks: polygons as COCO's annotations have them.
//!
//! The edges between pixels inside and outside are chained to loops, inside to the right; where two pixels touch at a corner only, the
//! loop stays with its own pixel. Loops that run the other way are holes, which COCO's polygons cannot say: they are filled. Corners
//! that lie within three quarters of a pixel of the line between those that are kept are left out (Ramer 1972, Douglas and Peucker 1973).

use std::collections::HashMap;

use super::Mask;
use crate::geometry::Size;

/// How far a polygon may leave the pixels' edges, in pixels: less than the steps of a slanted line.
const TOLERANCE: f32 = 0.75;

type Corner = (u32, u32);

impl Mask {
    /// The outer outlines, each `x, y, x, y, …` in pixels of the frame, largest first; none of fewer than three corners.
    ///
    /// Corners of pixels are whole numbers: the whole of a 640×480 frame is `0, 0, 640, 0, 640, 480, 0, 480`.
    #[must_use]
    pub fn polygons(&self, frame: Size) -> Vec<Vec<f32>> {
        let mut polygons: Vec<(f64, Vec<f32>)> = loops(self, frame)
            .into_iter()
            .filter_map(|corners| {
                let area = doubled_area(&corners);
                let kept = simplified(&corners);
                (area > 0.0 && kept.len() >= 3).then(|| {
                    let flat = kept.iter().flat_map(|&(x, y)| [x as f32, y as f32]);
                    (area, flat.collect())
                })
            })
            .collect();
        polygons.sort_by(|a, b| b.0.total_cmp(&a.0));
        polygons.into_iter().map(|(_, polygon)| polygon).collect()
    }
}

/// All closed chains of edges, with corners where they turn.
fn loops(mask: &Mask, frame: Size) -> Vec<Vec<Corner>> {
    let height = frame.height;
    // by column: rows of the runs inside
    let mut columns: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
    for run in mask.column_runs(height) {
        let (column, rows) = run;
        columns
            .entry(column)
            .or_default()
            .push((rows.start, rows.end));
    }
    let empty = Vec::new();
    let of = |column: Option<u32>| column.and_then(|c| columns.get(&c)).unwrap_or(&empty);
    // from each corner the ends of its edges; clockwise as one looks at the picture
    let mut edges: HashMap<Corner, Vec<Corner>> = HashMap::new();
    let mut starts = Vec::new();
    let mut edge = |from: Corner, to: Corner| {
        edges.entry(from).or_default().push(to);
        starts.push(from);
    };
    let mut order: Vec<u32> = columns.keys().copied().collect();
    order.sort_unstable();
    for &column in &order {
        for &(top, low) in of(Some(column)) {
            edge((column, top), (column + 1, top));
            edge((column + 1, low), (column, low));
            for (first, end) in uncovered((top, low), of(column.checked_sub(1))) {
                edge((column, end), (column, first));
            }
            for (first, end) in uncovered((top, low), of(column.checked_add(1))) {
                edge((column + 1, first), (column + 1, end));
            }
        }
    }
    let mut loops = Vec::new();
    for start in starts {
        while let Some(mut at) = edges.get_mut(&start).and_then(Vec::pop) {
            let mut corners = vec![start, at];
            while at != start {
                let before = corners[corners.len() - 2];
                let ways = edges.get_mut(&at).expect("edges close");
                // of two ways the one to the right, around the pixel that the chain is at
                let way = (0..ways.len())
                    .max_by_key(|&i| turn(before, at, ways[i]))
                    .expect("edges close");
                let next = ways.swap_remove(way);
                if turn(before, at, next) == 0 {
                    corners.pop();
                }
                corners.push(next);
                at = next;
            }
            corners.pop();
            loops.push(corners);
        }
    }
    loops
}

/// The parts of `rows` that none of the sorted runs covers.
fn uncovered(rows: (u32, u32), runs: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut parts = Vec::new();
    let mut at = rows.0;
    for &(first, end) in runs {
        if end <= at {
            continue;
        }
        if first >= rows.1 {
            break;
        }
        if first > at {
            parts.push((at, first));
        }
        at = end;
    }
    if at < rows.1 {
        parts.push((at, rows.1));
    }
    parts
}

/// Positive where the way turns right, as one looks at the picture; 0 straight on.
fn turn(a: Corner, b: Corner, c: Corner) -> i64 {
    let d = |p: Corner, q: Corner| {
        (
            (i64::from(q.0) - i64::from(p.0)).signum(),
            (i64::from(q.1) - i64::from(p.1)).signum(),
        )
    };
    let ((ax, ay), (bx, by)) = (d(a, b), d(b, c));
    ax * by - ay * bx
}

/// Twice the area of a loop; negative where it runs the other way.
fn doubled_area(corners: &[Corner]) -> f64 {
    let next = corners.iter().cycle().skip(1);
    let of = |(&(ax, ay), &(bx, by)): (&Corner, &Corner)| {
        f64::from(ax) * f64::from(by) - f64::from(bx) * f64::from(ay)
    };
    corners.iter().zip(next).map(of).sum()
}

/// The corners that are needed to stay near the loop.
fn simplified(corners: &[Corner]) -> Vec<Corner> {
    if corners.len() <= 4 {
        return corners.to_vec();
    }
    // two corners that are far from one another stay
    let first = corners[0];
    let far = (1..corners.len()).max_by_key(|&i| {
        let (dx, dy) = (
            i64::from(corners[i].0) - i64::from(first.0),
            i64::from(corners[i].1) - i64::from(first.1),
        );
        dx * dx + dy * dy
    });
    let far = far.unwrap_or(1);
    let mut closed = corners.to_vec();
    closed.push(first);
    let mut keep = vec![false; closed.len()];
    (keep[0], keep[far]) = (true, true);
    let mut left = vec![(0, far), (far, closed.len() - 1)];
    while let Some((a, b)) = left.pop() {
        let farthest = (a + 1..b)
            .map(|i| (i, distance(closed[i], closed[a], closed[b])))
            .max_by(|p, q| p.1.total_cmp(&q.1));
        if let Some((i, distance)) = farthest
            && distance > TOLERANCE
        {
            keep[i] = true;
            left.extend([(a, i), (i, b)]);
        }
    }
    let kept = corners.iter().zip(&keep).filter(|(_, keep)| **keep);
    kept.map(|(&corner, _)| corner).collect()
}

/// Of a corner from the line between two others.
fn distance(p: Corner, a: Corner, b: Corner) -> f32 {
    let d = |v: u32, w: u32| v as f32 - w as f32;
    let (dx, dy) = (d(b.0, a.0), d(b.1, a.1));
    let (px, py) = (d(p.0, a.0), d(p.1, a.1));
    let length = libm::hypotf(dx, dy);
    if length == 0.0 {
        libm::hypotf(px, py)
    } else {
        (dx * py - dy * px).abs() / length
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "compared within a tolerance")]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(64, 48);

    fn mask(inside: impl Fn(u32, u32) -> bool) -> Mask {
        let mut mask = Mask::default();
        for x in 0..SIZE.width {
            for y in 0..SIZE.height {
                if inside(x, y) {
                    mask.push(x * SIZE.height + y, 1);
                }
            }
        }
        mask.finish(SIZE);
        mask
    }

    /// Whether a pixel's centre lies in one of the polygons (even and odd crossings).
    fn filled(polygons: &[Vec<f32>]) -> Mask {
        mask(|x, y| {
            let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
            polygons.iter().any(|polygon| {
                let corners: Vec<&[f32]> = polygon.chunks(2).collect();
                let next = corners.iter().cycle().skip(1);
                let crossings = corners.iter().zip(next).filter(|(a, b)| {
                    (a[1] > y) != (b[1] > y)
                        && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]
                });
                crossings.count() % 2 == 1
            })
        })
    }

    fn iou(a: &Mask, b: &Mask) -> f64 {
        let set = |m: &Mask| {
            m.runs()
                .flatten()
                .collect::<std::collections::HashSet<u32>>()
        };
        let (a, b) = (set(a), set(b));
        a.intersection(&b).count() as f64 / a.union(&b).count() as f64
    }

    #[test]
    fn a_rectangle_has_four_corners_on_its_edges() {
        let m = mask(|x, y| (10..20).contains(&x) && (5..9).contains(&y));
        assert_eq!(
            m.polygons(SIZE),
            [[10.0, 5.0, 20.0, 5.0, 20.0, 9.0, 10.0, 9.0]]
        );
        let whole = mask(|_, _| true);
        assert_eq!(
            whole.polygons(SIZE),
            [[0.0, 0.0, 64.0, 0.0, 64.0, 48.0, 0.0, 48.0]]
        );
        assert!(mask(|_, _| false).polygons(SIZE).is_empty());
    }

    #[test]
    fn round_things_come_back_almost_whole() {
        for r in [1.0, 3.0, 8.0, 20.0f32] {
            let m = mask(|x, y| (x as f32 - 30.0).hypot(y as f32 - 24.0) <= r);
            let polygons = m.polygons(SIZE);
            assert_eq!(polygons.len(), 1);
            let iou = iou(&m, &filled(&polygons));
            assert!(iou > 0.93, "radius {r}: {iou}");
            assert!(polygons[0].len() < 100, "{} numbers", polygons[0].len());
        }
    }

    #[test]
    fn parts_are_polygons_of_their_own_and_holes_are_filled() {
        let ring = |x: u32, y: u32| (5..25).contains(&x) && (5..25).contains(&y);
        let m = mask(|x, y| {
            (ring(x, y) && !((10..15).contains(&x) && (10..15).contains(&y)))
                || (x == 40 && y == 40)
        });
        let polygons = m.polygons(SIZE);
        assert_eq!(polygons.len(), 2);
        assert_eq!(filled(&polygons).area(), 401);
        // pixels that touch at a corner are two parts
        let touching = mask(|x, y| (x, y) == (3, 3) || (x, y) == (4, 4));
        assert_eq!(touching.polygons(SIZE).len(), 2);
    }
}
