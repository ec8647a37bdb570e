//! Planes cut into tasks, for operations that make each plane by itself.

use std::ops::Range;

use super::layout::{LANE, Planes};
use crate::team::join;

/// Enough for a thread that was interrupted, or whose core is slower, to be helped out by the others. A task that nobody
/// takes costs next to nothing.
const TASKS_PER_THREAD: usize = 2;

/// Into how many bands each of `tasks` is cut, so that there are enough for all threads; with one thread, none is.
pub(super) const fn count(threads: usize, tasks: usize) -> usize {
    if threads > 1 && tasks > 0 {
        (TASKS_PER_THREAD * threads).div_ceil(tasks)
    } else {
        1
    }
}

/// Some rows of one output plane.
pub(super) struct Band<'y> {
    /// Which plane.
    pub(super) plane: usize,
    rows: Range<usize>,
    shape: Planes,
    /// From the first row on, its border included.
    y: &'y mut [u8],
}

impl Band<'_> {
    /// Each row's number and its pixels, without border.
    #[inline(always)]
    pub(super) fn rows(&mut self) -> impl Iterator<Item = (usize, &mut [[u8; LANE]])> {
        let Planes { width, border, .. } = self.shape;
        let rows = self.y.chunks_exact_mut(self.shape.row_bytes());
        let pixels = rows.map(move |row| &mut row.as_chunks_mut().0[border..][..width]);
        self.rows.clone().zip(pixels)
    }
}

/// Fills the borders of `y`'s planes of shape `out`, and has `work` make the rest.
///
/// Nothing is allocated, whatever the number of threads.
pub(super) fn bands(
    threads: usize,
    out: Planes,
    fill: u8,
    y: &mut [u8],
    work: &(impl Fn(Band<'_>) + Sync),
) {
    let cut = Cut {
        out,
        fill,
        bands: count(threads, y.len() / out.bytes()),
        work,
    };
    cut.planes(threads > 1, 0, y);
}

/// One call of [`bands`].
struct Cut<'a, W> {
    out: Planes,
    fill: u8,
    /// Parts into which a plane is split.
    bands: usize,
    work: &'a W,
}

impl<W: Fn(Band<'_>) + Sync> Cut<'_, W> {
    /// The planes from `first` on, one after another or all at once.
    fn planes(&self, parallel: bool, first: usize, y: &mut [u8]) {
        let planes = y.len() / self.out.bytes();
        if parallel && planes > 1 {
            let left = planes / 2;
            let (a, b) = y.split_at_mut(left * self.out.bytes());
            join(
                || self.planes(true, first, a),
                || self.planes(true, first + left, b),
            );
            return;
        }
        let Planes { height, border, .. } = self.out;
        for (i, plane) in y.chunks_exact_mut(self.out.bytes()).enumerate() {
            self.out.fill_border(plane, self.fill);
            let margin = border * self.out.row_bytes();
            let inside = &mut plane[margin..][..height * self.out.row_bytes()];
            self.rows(first + i, self.bands, 0..height, inside);
        }
    }

    /// Some rows of one plane, in one or more bands.
    fn rows(&self, plane: usize, bands: usize, rows: Range<usize>, y: &mut [u8]) {
        if bands > 1 && rows.len() > 1 {
            let middle = rows.start + rows.len() / 2;
            let (a, b) = y.split_at_mut(rows.len() / 2 * self.out.row_bytes());
            join(
                || self.rows(plane, bands / 2, rows.start..middle, a),
                || self.rows(plane, bands.div_ceil(2), middle..rows.end, b),
            );
            return;
        }
        (self.work)(Band {
            plane,
            rows,
            shape: self.out,
            y,
        });
    }
}
