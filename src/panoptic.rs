//! Every pixel to one segment: things as instances, stuff as regions (panoptic segmentation, Kirillov et al. 2019).
//!
//! Things are laid down best first, each where nothing better lies already. One that is left with less than half of its mask
//! ([`Rules::visible`]) is another's shadow and goes. What is left of the frame is stuff's: all pixels of a prompt together, or each
//! connected region by itself ([`Rules::separate`]: APE's thing-stuff switch, where every isolated region of stuff is an instance).
//! Stuff smaller than a two-hundredth of the frame ([`Rules::least`]) goes, and things that are left with no pixel. Pixels of what goes
//! belong to nothing.

use std::{cmp::Reverse, collections::HashMap};

use crate::{
    geometry::Size,
    kept::Kept,
    labels::{LabelMap, NOTHING},
    mask::Mask,
    odds,
    scene::Report,
};

/// How segments are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Whether regions of one stuff that do not touch are segments of their own.
    pub separate: bool,
    /// The share of its mask that a thing must keep, `0..=1`.
    pub visible: f32,
    /// The share of the frame that a segment of stuff must have, `0..=1`.
    pub least: f32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            separate: false,
            visible: 0.5,
            least: 0.005,
        }
    }
}

/// Pixels that belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// What: an index into the prompt set.
    pub prompt: u32,
    /// Whether it is a thing; else stuff.
    pub thing: bool,
    /// Of a thing its detection's; of stuff the sigmoid of the mean logit of its pixels.
    pub score: f32,
    /// Pixels.
    pub area: u64,
    /// Left, top, width, height of the smallest box around its pixels.
    pub bbox: [u32; 4],
}

/// The segments of a frame; made again, they take the memory that is there.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    width: u32,
    height: u32,
    /// Things first, best first; then stuff, by prompt.
    segments: Vec<Segment>,
    /// Down the columns: 0, or a segment's place from 1.
    owners: Vec<u16>,
    /// What is needed only while they are made.
    scratch: Scratch,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    runs: Vec<Run>,
    /// By the first run of a region.
    regions: Vec<Growing>,
    kept: Vec<usize>,
    owner_of: Vec<u16>,
    /// The first run of each label.
    first: HashMap<u16, usize>,
}

/// Something of a segment that is being made.
#[derive(Clone, Copy, Debug)]
struct Growing {
    area: u64,
    logits: f64,
    x: (u32, u32),
    y: (u32, u32),
}

impl Growing {
    const EMPTY: Self = Self {
        area: 0,
        logits: 0.0,
        x: (u32::MAX, 0),
        y: (u32::MAX, 0),
    };

    fn add(&mut self, column: u32, rows: &std::ops::Range<u32>) {
        self.area += u64::from(rows.end - rows.start);
        self.x = (self.x.0.min(column), self.x.1.max(column + 1));
        self.y = (self.y.0.min(rows.start), self.y.1.max(rows.end));
    }

    fn bbox(&self) -> [u32; 4] {
        [self.x.0, self.y.0, self.x.1 - self.x.0, self.y.1 - self.y.0]
    }
}

/// Pixels of one column with one label.
#[derive(Clone, Debug)]
struct Run {
    column: u32,
    rows: std::ops::Range<u32>,
    label: u16,
    /// Its region: another run's place, or its own.
    region: usize,
}

impl Segments {
    /// The segments of a map of stuff, and of a report's masks.
    ///
    /// Detections that `is_stuff` says yes to are no things. No more than 65,535 segments are kept.
    ///
    /// # Panics
    ///
    /// If a mask is of a larger frame than the map.
    #[must_use]
    pub fn new(
        stuff: &LabelMap,
        report: &Report,
        is_stuff: impl Fn(u32) -> bool,
        rules: Rules,
    ) -> Self {
        let mut all = Self::default();
        all.make(stuff, report, is_stuff, rules);
        all
    }

    /// The same, in the place of those that were there.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn make(
        &mut self,
        stuff: &LabelMap,
        report: &Report,
        is_stuff: impl Fn(u32) -> bool,
        rules: Rules,
    ) {
        let Size { width, height } = stuff.size();
        (self.width, self.height) = (width, height);
        self.segments.clear();
        self.owners.clear();
        self.owners.resize(stuff.labels().len(), 0);
        for (detection, mask) in report.detections.iter().zip(&report.masks) {
            if !is_stuff(detection.prompt) {
                self.thing(detection.prompt, detection.score, mask, rules);
            }
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.stuff(stuff, rules, &mut scratch);
        self.scratch = scratch;
    }

    fn thing(&mut self, prompt: u32, score: f32, mask: &Mask, rules: Rules) {
        let free = |run: std::ops::Range<u32>, owners: &[u16]| {
            let run = &owners[run.start as usize..run.end as usize];
            run.iter().filter(|&&o| o == 0).count() as u64
        };
        let left: u64 = mask.runs().map(|run| free(run, &self.owners)).sum();
        let Ok(own) = u16::try_from(self.segments.len() + 1) else {
            return;
        };
        if left == 0 || (left as f32) < rules.visible * mask.area() as f32 {
            return;
        }
        let mut grown = Growing::EMPTY;
        for pixel in mask.runs().flatten() {
            let owner = &mut self.owners[pixel as usize];
            if *owner == 0 {
                *owner = own;
                let (column, row) = (pixel / self.height, pixel % self.height);
                grown.add(column, &(row..row + 1));
            }
        }
        self.segments.push(Segment {
            prompt,
            thing: true,
            score,
            area: grown.area,
            bbox: grown.bbox(),
        });
    }

    fn stuff(&mut self, map: &LabelMap, rules: Rules, scratch: &mut Scratch) {
        let Scratch {
            runs,
            regions,
            kept,
            owner_of,
            first,
        } = scratch;
        self.free_runs(map, runs);
        if rules.separate {
            connect(runs);
        } else {
            first.clear();
            for (i, run) in runs.iter_mut().enumerate() {
                run.region = *first.entry(run.label).or_insert(i);
            }
        }
        regions.clear();
        regions.resize(runs.len(), Growing::EMPTY);
        for run in &*runs {
            let region = &mut regions[run.region];
            region.add(run.column, &run.rows);
            for row in run.rows.clone() {
                region.logits += f64::from(map.logit(self.pixel(run.column, row)));
            }
        }
        let least = f64::from(rules.least) * map.labels().len() as f64;
        let large = |&i: &usize| runs[i].region == i && regions[i].area as f64 >= least;
        kept.clear();
        kept.extend((0..runs.len()).filter(large));
        kept.sort_unstable_by_key(|&i| (runs[i].label, Reverse(regions[i].area), i));
        owner_of.clear();
        owner_of.resize(runs.len(), 0);
        for &i in &*kept {
            let Ok(own) = u16::try_from(self.segments.len() + 1) else {
                break;
            };
            owner_of[i] = own;
            let region = &regions[i];
            self.segments.push(Segment {
                prompt: u32::from(runs[i].label),
                thing: false,
                score: odds::score((region.logits / region.area as f64) as f32),
                area: region.area,
                bbox: region.bbox(),
            });
        }
        for run in &*runs {
            let rows = self.pixel(run.column, run.rows.start)..self.pixel(run.column, run.rows.end);
            self.owners[rows].fill(owner_of[run.region]);
        }
    }

    /// The runs of stuff that no thing lies on, column by column.
    fn free_runs(&self, map: &LabelMap, runs: &mut Vec<Run>) {
        runs.clear();
        let height = self.height.max(1) as usize;
        let columns = map
            .labels()
            .chunks_exact(height)
            .zip(self.owners.chunks_exact(height));
        for ((labels, owners), column) in columns.zip(0..) {
            let label = |row: usize| {
                if owners[row] == 0 {
                    labels[row]
                } else {
                    NOTHING
                }
            };
            let mut row = 0;
            while row < height {
                let (start, of) = (row, label(row));
                while row < height && label(row) == of {
                    row += 1;
                }
                if of != NOTHING {
                    let region = runs.len();
                    runs.push(Run {
                        column,
                        rows: start as u32..row as u32,
                        label: of,
                        region,
                    });
                }
            }
        }
    }

    const fn pixel(&self, column: u32, row: u32) -> usize {
        column as usize * self.height as usize + row as usize
    }

    /// The frame's size.
    #[must_use]
    pub const fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }

    /// Things first, best first; then stuff, by prompt and size.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The pixels of each segment.
    #[must_use]
    pub fn masks(&self) -> Vec<Mask> {
        let mut masks = Kept::new();
        self.masks_into(&mut masks);
        masks.into()
    }

    /// The same, into masks whose memory is used again.
    pub fn masks_into(&self, masks: &mut Kept<Mask>) {
        masks.clear();
        (0..self.segments.len()).for_each(|_| masks.next().clear());
        let mut first = 0;
        for run in self.owners.chunk_by(|a, b| a == b) {
            if let Some(own) = usize::from(run[0]).checked_sub(1) {
                masks[own].push(first as u32, run.len() as u32);
            }
            first += run.len();
        }
        for mask in masks {
            mask.finish(self.size());
        }
    }

    /// For every row, of every pixel the place of its segment, if it has one.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = Option<usize>> + '_> + '_ {
        let step = self.height as usize;
        (0..step).map(move |row| {
            let owners = self.owners.iter().skip(row).step_by(step);
            owners.map(|&owner| usize::from(owner).checked_sub(1))
        })
    }
}

/// Joins runs of one label that touch along an edge.
fn connect(runs: &mut [Run]) {
    fn root(runs: &mut [Run], mut i: usize) -> usize {
        while runs[i].region != i {
            runs[i].region = runs[runs[i].region].region;
            i = runs[i].region;
        }
        i
    }
    let mut before = 0;
    for i in 0..runs.len() {
        let (column, rows, label) = (runs[i].column, runs[i].rows.clone(), runs[i].label);
        // runs are in order, so what lies wholly above this one in the column before is done with
        while before < i
            && (runs[before].column + 1 < column
                || (runs[before].column + 1 == column && runs[before].rows.end <= rows.start))
        {
            before += 1;
        }
        let mut other = before;
        while other < i && runs[other].column + 1 == column && runs[other].rows.start < rows.end {
            if runs[other].label == label {
                let (a, b) = (root(runs, other), root(runs, i));
                runs[a.max(b)].region = a.min(b);
            }
            other += 1;
        }
    }
    for i in 0..runs.len() {
        runs[i].region = root(runs, i);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{geometry::BBox, scene::Detection};

    const SIZE: Size = Size::new(40, 30);

    /// Rectangles of stuff: label, columns, rows.
    fn map(of: &[(u16, std::ops::Range<u32>, std::ops::Range<u32>)]) -> LabelMap {
        let mut map = LabelMap::default();
        map.reset(SIZE);
        for (label, columns, rows) in of {
            for column in columns.clone() {
                map.paint(column, rows.clone(), *label, 1.0);
            }
        }
        map
    }

    /// Things that fill their boxes, best first: prompt, score, columns, rows.
    fn report(of: &[(u32, f32, std::ops::Range<u32>, std::ops::Range<u32>)]) -> Report {
        let mut report = Report::new(0, SystemTime::UNIX_EPOCH, SIZE);
        for (prompt, score, x, y) in of {
            let mut mask = Mask::default();
            for column in x.clone() {
                mask.push(column * SIZE.height + y.start, y.end - y.start);
            }
            mask.finish(SIZE);
            report.masks.push(mask);
            let bbox = BBox::new(x.start as f32, y.start as f32, x.end as f32, y.end as f32);
            let detection = Detection {
                bbox,
                score: *score,
                logit: 0.0,
                prompt: *prompt,
                location: 0,
            };
            report.detections.push(detection);
        }
        report
    }

    fn brief(segments: &Segments) -> Vec<(u32, bool, u64, [u32; 4])> {
        let all = segments.segments().iter();
        all.map(|s| (s.prompt, s.thing, s.area, s.bbox)).collect()
    }

    #[test]
    fn the_better_thing_lies_above_and_things_above_stuff() {
        let stuff = map(&[(7, 0..40, 0..30)]);
        let things = report(&[(0, 0.9, 0..10, 0..10), (1, 0.5, 5..20, 0..10)]);
        let made = Segments::new(&stuff, &things, |p| p >= 5, Rules::default());
        assert_eq!(
            brief(&made),
            [
                (0, true, 100, [0, 0, 10, 10]),
                (1, true, 100, [10, 0, 10, 10]),
                (7, false, 1000, [0, 0, 40, 30]),
            ]
        );
        assert_eq!(made.segments()[0].score, 0.9);
        assert!((made.segments()[2].score - odds::score(1.0)).abs() < 1e-6);
        let mut areas = [0; 3];
        for owner in made.rows().flatten().flatten() {
            areas[owner] += 1;
        }
        assert_eq!(areas, [100, 100, 1000]);
        let masks = made.masks();
        assert_eq!(masks.iter().map(Mask::area).collect::<Vec<_>>(), areas);
        assert_eq!(masks[1].runs().next(), Some(10 * 30..10 * 30 + 10));
    }

    #[test]
    fn what_is_mostly_hidden_or_small_goes_and_leaves_nothing() {
        let stuff = map(&[(7, 0..2, 0..2), (8, 30..40, 0..30)]);
        let things = report(&[
            (0, 0.9, 0..10, 0..10),
            (1, 0.8, 0..10, 0..19),
            (2, 0.7, 0..12, 10..30),
            (6, 0.6, 20..30, 0..30),
        ]);
        let made = Segments::new(&stuff, &things, |p| p >= 5, Rules::default());
        // 1 keeps 90 of 190 pixels; 6 is stuff and no thing; 7 lies below 0
        let found: Vec<u32> = made.segments().iter().map(|s| s.prompt).collect();
        assert_eq!(found, [0, 2, 8]);
        let some = made.rows().flatten().filter(Option::is_some).count();
        assert_eq!(some, 100 + 240 + 300);
    }

    #[test]
    fn the_switch_makes_every_region_of_stuff_an_instance() {
        // a U of one stuff, an island in it, and a corner that only touches diagonally
        let stuff = map(&[
            (7, 0..5, 0..20),
            (7, 5..15, 15..20),
            (7, 15..20, 0..20),
            (7, 8..12, 0..10),
            (7, 20..30, 20..30),
        ]);
        let nothing = report(&[]);
        let together = Segments::new(&stuff, &nothing, |_| true, Rules::default());
        assert_eq!(brief(&together), [(7, false, 390, [0, 0, 30, 30])]);
        let rules = Rules {
            separate: true,
            ..Rules::default()
        };
        let apart = Segments::new(&stuff, &nothing, |_| true, rules);
        assert_eq!(
            brief(&apart),
            [
                (7, false, 250, [0, 0, 20, 20]),
                (7, false, 100, [20, 20, 10, 10]),
                (7, false, 40, [8, 0, 4, 10]),
            ]
        );
    }
}
