//! Maps of what every pixel is of: tinted, with the outlines of regions, and each name once, deep inside its largest region.

use super::canvas::{Canvas, Style, colour};
use crate::{
    labels::{LabelMap, NOTHING},
    panoptic::Segments,
    scene::Names,
};

/// Cells along the longer side of the picture, in which the places of names are looked for.
const CELLS: usize = 96;

/// Draws a label map into its frame's pixels, `[height, width, 3]` of RGB.
///
/// # Panics
///
/// If the pixels are not those of the map's size.
pub fn draw_map(pixels: &mut [u8], map: &LabelMap, names: &dyn Names) {
    let size = map.size();
    let rows = map.rows().map(Iterator::collect::<Vec<u16>>);
    let regions: Vec<Option<u32>> = rows
        .flatten()
        .map(|label| (label != NOTHING).then_some(u32::from(label)))
        .collect();
    let mut canvas = Canvas { pixels, size };
    draw(&mut canvas, &regions, |label| names.name(label), |_| None);
}

/// Draws segments into their frame's pixels: things with their scores.
///
/// # Panics
///
/// If the pixels are not those of the segments' size.
pub fn draw_segments(pixels: &mut [u8], segments: &Segments, names: &dyn Names) {
    let size = segments.size();
    let rows = segments.rows().map(Iterator::collect::<Vec<_>>);
    let regions: Vec<Option<u32>> = rows.flatten().map(|s| s.map(|s| s as u32)).collect();
    let all = segments.segments();
    let mut canvas = Canvas { pixels, size };
    draw(
        &mut canvas,
        &regions,
        |s| names.name(all[s as usize].prompt),
        |s| Some(all[s as usize].score).filter(|_| all[s as usize].thing),
    );
}

fn draw<'a>(
    canvas: &mut Canvas<'_>,
    regions: &[Option<u32>],
    name_of: impl Fn(u32) -> &'a str,
    score_of: impl Fn(u32) -> Option<f32>,
) {
    let (width, height) = (canvas.size.width as usize, canvas.size.height as usize);
    assert_eq!(canvas.pixels.len(), width * height * 3, "pixels");
    assert_eq!(regions.len(), width * height, "regions");
    let style = Style::of(canvas.size);
    let reach = (style.line as usize / 2).max(1);
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            let Some(region) = regions[at] else { continue };
            let colour = colour(name_of(region));
            // the edge towards the right and below belongs to both sides
            let edge = [at + reach, at + reach * width];
            let inside = [x + reach < width, y + reach < height];
            let differs = |(other, inside): (usize, bool)| inside && regions[other] != regions[at];
            if edge.into_iter().zip(inside).any(differs) {
                canvas.fill(x as i64, y as i64, x as i64 + 1, y as i64 + 1, colour);
            } else {
                canvas.mix_in(x as u32, y as u32, colour);
            }
        }
    }
    let mut labels = Vec::new();
    let step = width.max(height).div_ceil(CELLS).max(1);
    let mut places = places(regions, width, height, step);
    // small regions are not named: their label would hide them
    places.retain(|&(_, _, depth)| (depth * step) as i64 * 2 >= style.letter_height());
    places.sort_by_key(|&(_, _, depth)| std::cmp::Reverse(depth));
    for (region, (x, y), _) in places {
        let name = name_of(region);
        let text = match score_of(region) {
            Some(score) => format!("{name} {score:.2}"),
            None => name.to_owned(),
        };
        let at = ((x * step) as i64, (y * step) as i64);
        labels.extend(canvas.label_near(at, style, &text, colour(name), &labels));
    }
    for label in labels.iter().rev() {
        canvas.label(label, style);
    }
}

/// Of each region the cell that lies deepest inside it, and how many cells deep.
fn places(
    regions: &[Option<u32>],
    width: usize,
    height: usize,
    step: usize,
) -> Vec<(u32, (usize, usize), usize)> {
    let (columns, rows) = (width.div_ceil(step), height.div_ceil(step));
    let cells: Vec<Option<u32>> = (0..rows * columns)
        .map(|i| regions[i / columns * step * width + i % columns * step])
        .collect();
    // chessboard distance to another region or the picture's edge, in two sweeps
    let mut depth = vec![0usize; cells.len()];
    let around = |depth: &[usize], x: usize, y: usize, offsets: [(isize, isize); 4]| {
        let of = |(dx, dy): (isize, isize)| {
            let x = x.checked_add_signed(dx).filter(|&x| x < columns);
            let y = y.checked_add_signed(dy).filter(|&y| y < rows);
            (x, y)
        };
        let here = cells[y * columns + x];
        let depths = offsets.map(of).map(|at| match at {
            (Some(x), Some(y)) if cells[y * columns + x] == here => depth[y * columns + x],
            _ => 0,
        });
        depths.into_iter().min().unwrap_or(0)
    };
    for i in 0..cells.len() {
        let before = [(-1, 0), (-1, -1), (0, -1), (1, -1)];
        depth[i] = around(&depth, i % columns, i / columns, before) + 1;
    }
    for i in (0..cells.len()).rev() {
        let behind = [(1, 0), (1, 1), (0, 1), (-1, 1)];
        depth[i] = depth[i].min(around(&depth, i % columns, i / columns, behind) + 1);
    }
    let mut best: std::collections::BTreeMap<u32, (usize, usize)> = Default::default();
    for (i, region) in cells.iter().enumerate() {
        let Some(region) = region else { continue };
        let deepest = best.entry(*region).or_insert((i, 0));
        if depth[i] > deepest.1 {
            *deepest = (i, depth[i]);
        }
    }
    let place =
        |(region, (i, depth)): (u32, (usize, usize))| (region, (i % columns, i / columns), depth);
    best.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    #[test]
    fn a_map_is_tinted_where_it_has_a_name_and_left_alone_elsewhere() {
        for size in [Size::new(1, 1), Size::new(64, 48), Size::new(900, 700)] {
            let mut map = LabelMap::default();
            map.reset(size);
            for column in 0..size.width.div_ceil(2) {
                map.paint(column, 0..size.height, 1, 0.0);
            }
            let mut pixels = vec![0; size.pixels() as usize * 3];
            draw_map(&mut pixels, &map, &["sky", "road"]);
            let mut tinted = 0;
            for (i, pixel) in pixels.chunks(3).enumerate() {
                let x = i as u32 % size.width;
                // a label has black letters, and may reach over the edge
                if x < size.width.div_ceil(2) {
                    tinted += u64::from(pixel.iter().any(|&v| v > 0));
                } else if x > size.width * 3 / 4 {
                    assert_eq!(pixel, [0; 3], "{size} {i}");
                }
            }
            let half = u64::from(size.width.div_ceil(2)) * u64::from(size.height);
            assert!(tinted * 10 >= half * 8, "{size}: {tinted} of {half}");
        }
    }

    #[test]
    fn a_name_stands_deep_inside_its_region() {
        let (width, height) = (40, 30);
        let regions: Vec<Option<u32>> = (0..width * height)
            .map(|i| Some(u32::from(i % width >= 10)))
            .collect();
        let found = places(&regions, width, height, 1);
        assert_eq!((found[0].0, found[1].0), (0, 1));
        let ((x, y), (x1, y1)) = (found[0].1, found[1].1);
        assert!((4..=5).contains(&x) && (4..=25).contains(&y), "{x} {y}");
        assert!(
            (24..=25).contains(&x1) && (14..=15).contains(&y1),
            "{x1} {y1}"
        );
    }
}
