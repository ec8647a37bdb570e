//! Which prompt every pixel of a frame belongs to.
//!
//! Stuff (sky, road, wall) has a logit for each prompt at every point of a grid over the frame ([`Places`]); between the points it is
//! interpolated linearly, and a pixel belongs to the prompt with the highest logit there, if that reaches the prompt's threshold.
//! The sigmoid rises, so the highest logit is the highest score; there is no softmax, and a prompt that is added takes only pixels
//! where it is better. Things (cup, person) lie on top of stuff, each where its instance mask is, the one with the higher score
//! above.
//!
//! In a cell of the grid a prompt can only win if its highest corner is at least every other's lowest corner (a linear function has
//! its extremes in the corners), so most cells have one candidate and are filled without looking at their pixels.

use crate::{
    geometry::Letterbox,
    labels::LabelMap,
    scene::Report,
    segment::{Axis, Stretch},
};

/// The logits of stuff on a grid over the network's input.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// `[rows, columns, prompts]`: natural-log odds.
    pub logits: &'a [f32],
    /// Per logit of a place: the prompt's index, and the least logit that counts.
    pub prompts: &'a [(u16, f32)],
    /// Columns and rows of the grid.
    pub size: (usize, usize),
    /// Input pixels between neighbouring points.
    pub stride: u32,
}

/// Paints label maps; its buffers are kept.
#[derive(Debug, Default)]
pub struct Painter {
    columns: Vec<Stretch>,
    rows: Vec<Stretch>,
    candidates: Vec<Candidate>,
}

/// A prompt that may win somewhere in a cell.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    prompt: u16,
    least: f32,
    /// Its logits: top left, top right, low left, low right.
    corners: [f32; 4],
}

impl Candidate {
    fn mean(&self) -> f32 {
        self.corners.iter().sum::<f32>() / 4.0
    }
}

impl Painter {
    /// Names the pixels of stuff: makes the map anew, of the whole frame; what was not looked at has no name.
    ///
    /// # Panics
    ///
    /// If the logits are not as many as places times prompts.
    pub fn stuff(&mut self, places: &Places<'_>, letterbox: &Letterbox, map: &mut LabelMap) {
        let (width, height) = places.size;
        let count = places.prompts.len();
        assert_eq!(places.logits.len(), width * height * count, "logits");
        let part = letterbox.part;
        map.reset(letterbox.frame);
        let [x, y] = Axis::both(letterbox, places.stride, places.size, &part.bbox());
        x.stretches(&mut self.columns);
        y.stretches(&mut self.rows);
        let at = |row: usize, column: usize| {
            let (row, column) = (
                (y.low + row).min(height - 1),
                (x.low + column).min(width - 1),
            );
            &places.logits[(row * width + column) * count..][..count]
        };
        for &columns in &self.columns {
            let (left, right) = (columns.point, columns.point + 1);
            for &rows in &self.rows {
                let (top, low) = (rows.point, rows.point + 1);
                let corners = [at(top, left), at(top, right), at(low, left), at(low, right)];
                candidates(places.prompts, corners, &mut self.candidates);
                match self.candidates.as_slice() {
                    [] => {}
                    [one] if one.corners.iter().all(|&c| c >= one.least) => {
                        for column in columns.first..columns.end {
                            let rows = part.y + rows.first..part.y + rows.end;
                            map.paint(part.x + column, rows, one.prompt, one.mean());
                        }
                    }
                    several => {
                        for column in columns.first..columns.end {
                            let (_, right) = x.place(column);
                            for row in rows.first..rows.end {
                                let (_, down) = y.place(row);
                                if let Some(best) = best(several, right, down) {
                                    let (column, row) = (part.x + column, part.y + row);
                                    map.paint(column, row..row + 1, best.prompt, best.mean());
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lays a report's masks over a map, the best last; detections of stuff are passed over.
    pub fn things(report: &Report, is_stuff: impl Fn(u32) -> bool, map: &mut LabelMap) {
        for (detection, mask) in report.detections.iter().zip(&report.masks).rev() {
            if !is_stuff(detection.prompt) {
                map.paint_mask(mask, detection.prompt as u16);
            }
        }
    }
}

/// The prompts that can have the highest logit that counts somewhere between four corners.
fn candidates(prompts: &[(u16, f32)], corners: [&[f32]; 4], out: &mut Vec<Candidate>) {
    out.clear();
    let [a, b, c, d] = corners;
    // what some prompt has everywhere in the cell
    let mut floor = f32::MIN;
    for ((((&a, &b), &c), &d), &(_, least)) in a.iter().zip(b).zip(c).zip(d).zip(prompts) {
        let lowest = a.min(b).min(c.min(d));
        if lowest >= least {
            floor = floor.max(lowest);
        }
    }
    let all = a.iter().zip(b).zip(c).zip(d).zip(prompts);
    for ((((&a, &b), &c), &d), &(prompt, least)) in all {
        let highest = a.max(b).max(c.max(d));
        if highest >= least && highest >= floor {
            out.push(Candidate {
                prompt,
                least,
                corners: [a, b, c, d],
            });
        }
    }
}

/// The best of them at one place; of equals the first.
fn best(several: &[Candidate], x: f32, y: f32) -> Option<&Candidate> {
    let mut best = None;
    let mut highest = f32::MIN;
    for candidate in several {
        let [a, b, c, d] = candidate.corners;
        let (top, low) = (a + (b - a) * x, c + (d - c) * x);
        let logit = top + (low - top) * y;
        if logit >= candidate.least && logit > highest {
            (best, highest) = (Some(candidate), logit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{geometry::Size, labels::NOTHING};

    const GRID: usize = 6;

    /// The map by its definition: all prompts interpolated at every pixel.
    fn plain(places: &Places<'_>, letterbox: &Letterbox) -> Vec<u16> {
        let whole = letterbox.frame;
        let (resized, offset) = (letterbox.resized(), letterbox.offset());
        let count = places.prompts.len();
        let mut labels = Vec::new();
        for x in 0..whole.width {
            for y in 0..whole.height {
                let place = |pixel: u32, frame: u32, resized: u32, offset: u32| {
                    let input =
                        (pixel as f32 + 0.5) * resized as f32 / frame as f32 + offset as f32;
                    (input / places.stride as f32 - 0.5).clamp(0.0, (GRID - 1) as f32)
                };
                let gx = place(x, whole.width, resized.width, offset.0);
                let gy = place(y, whole.height, resized.height, offset.1);
                let (x0, y0) = ((gx as usize).min(GRID - 2), (gy as usize).min(GRID - 2));
                let (px, py) = (gx - x0 as f32, gy - y0 as f32);
                let mut found = (NOTHING, f32::MIN);
                for (i, &(prompt, least)) in places.prompts.iter().enumerate() {
                    let at = |r: usize, c: usize| places.logits[(r * GRID + c) * count + i];
                    let top = at(y0, x0) * (1.0 - px) + at(y0, x0 + 1) * px;
                    let low = at(y0 + 1, x0) * (1.0 - px) + at(y0 + 1, x0 + 1) * px;
                    let logit = top * (1.0 - py) + low * py;
                    if logit >= least && logit > found.1 {
                        found = (prompt, logit);
                    }
                }
                labels.push(found.0);
            }
        }
        labels
    }

    #[test]
    fn a_map_equals_its_definition_at_any_scale() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 * 6.0 - 3.0
        };
        for count in [1, 3, 20] {
            let prompts: Vec<(u16, f32)> = (0..count).map(|i| (i as u16 * 2, -0.5)).collect();
            let logits: Vec<f32> = (0..GRID * GRID * count).map(|_| next()).collect();
            let places = Places {
                logits: &logits,
                prompts: &prompts,
                size: (GRID, GRID),
                stride: 8,
            };
            for size in [
                Size::new(48, 48),
                Size::new(30, 11),
                Size::new(5, 40),
                Size::new(320, 200),
                Size::new(1, 1),
            ] {
                let letterbox = Letterbox::new(size, Size::new(48, 48));
                let mut map = LabelMap::default();
                Painter::default().stuff(&places, &letterbox, &mut map);
                let expected = plain(&places, &letterbox);
                let differ = map
                    .labels()
                    .iter()
                    .zip(&expected)
                    .filter(|(a, b)| a != b)
                    .count();
                // where two prompts are equal to the last bit but one
                assert!(
                    differ * 500 <= expected.len(),
                    "{count} {size}: {differ} differ"
                );
            }
        }
    }

    #[test]
    fn another_prompt_takes_only_pixels_where_it_is_better() {
        let size = Size::new(48, 48);
        let letterbox = Letterbox::new(size, size);
        let of = |i: usize| ((i % GRID) as f32 - 2.0, 1.5 - (i / GRID) as f32);
        let one: Vec<f32> = (0..GRID * GRID).map(|i| of(i).0).collect();
        let two: Vec<f32> = (0..GRID * GRID).flat_map(|i| [of(i).0, of(i).1]).collect();
        let mut maps = [LabelMap::default(), LabelMap::default()];
        for (map, (logits, prompts)) in maps
            .iter_mut()
            .zip([(&one, &[(0, 0.0)][..]), (&two, &[(0, 0.0), (1, 0.0)][..])])
        {
            let places = Places {
                logits,
                prompts,
                size: (GRID, GRID),
                stride: 8,
            };
            Painter::default().stuff(&places, &letterbox, map);
        }
        let [one, two] = maps;
        assert!(one.areas(1)[0] > 0 && two.areas(2)[1] > 0);
        for (before, after) in one.labels().iter().zip(two.labels()) {
            assert!(after == before || *after == 1, "{before} became {after}");
        }
    }
}
