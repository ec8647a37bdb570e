//! Pixels to draw into: lines, letters, labels.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster};

use crate::{
    geometry::{BBox, Size},
    mask::Mask,
    scene::Detection,
};

type Rgb = [u8; 3];

/// How thick and how large, for one size of picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Of a box's outline, in pixels.
    pub(super) line: i64,
    font: RasterHeight,
    /// Each pixel of a letter becomes this many, squared.
    zoom: i64,
}

impl Style {
    /// A line is about a 250th of the picture's shorter side, a letter about a 25th; a
    /// letter is never smaller than the smallest font.
    pub(super) fn of(size: Size) -> Self {
        let side = size.width.min(size.height).max(1);
        let wanted = side / 25;
        let (font, zoom) = match wanted {
            0..18 => (RasterHeight::Size16, 1),
            18..22 => (RasterHeight::Size20, 1),
            22..28 => (RasterHeight::Size24, 1),
            28..40 => (RasterHeight::Size32, 1),
            40..44 => (RasterHeight::Size20, 2),
            44..56 => (RasterHeight::Size24, 2),
            _ => (RasterHeight::Size32, i64::from((wanted + 16) / 32)),
        };
        let line = i64::from((side + 125) / 250).max(if side < 100 { 1 } else { 2 });
        Self { line, font, zoom }
    }

    pub(super) fn letter_height(self) -> i64 {
        self.font.val() as i64 * self.zoom
    }

    pub(super) fn letter_width(self) -> i64 {
        glyph('x', self.font).width() as i64 * self.zoom
    }
}

/// The letter, or the sign for "no such letter here".
pub(super) fn glyph(letter: char, font: RasterHeight) -> RasterizedChar {
    let letter = if letter.is_control() { ' ' } else { letter };
    get_raster(letter, FontWeight::Bold, font)
        .or_else(|| get_raster(char::REPLACEMENT_CHARACTER, FontWeight::Bold, font))
        .or_else(|| get_raster('?', FontWeight::Bold, font))
        .expect("the font has a question mark")
}

/// A text on a ground of its own, somewhere in the picture.
#[derive(Clone, Debug)]
pub(super) struct Label {
    left: i64,
    top: i64,
    width: i64,
    height: i64,
    letters: String,
    back: Rgb,
}

impl Label {
    /// Pixels that it shares with another.
    fn shared(&self, other: &Self) -> i64 {
        let along = |a: i64, a_length: i64, b: i64, b_length: i64| {
            ((a + a_length).min(b + b_length) - a.max(b)).max(0)
        };
        along(self.left, self.width, other.left, other.width)
            * along(self.top, self.height, other.top, other.height)
    }
}

/// The first of some places that covers no other label, or the one that covers least.
fn least_covering(places: Vec<Label>, others: &[Label]) -> Option<Label> {
    let covered = |place: &Label| others.iter().map(|o| o.shared(place)).sum::<i64>();
    places.into_iter().min_by_key(covered)
}

/// What a detection's label says, in at most so many letters.
pub(super) fn caption(name: &str, detection: &Detection, room: i64) -> String {
    fitted(name, detection.score, room)
}

/// Pixels to draw into; whatever is outside is not drawn.
pub(super) struct Canvas<'a> {
    pub(super) pixels: &'a mut [u8],
    pub(super) size: Size,
}

impl Canvas<'_> {
    /// Fills `x0..x1` by `y0..y1`, as far as it is inside.
    pub(super) fn fill(&mut self, x0: i64, y0: i64, x1: i64, y1: i64, colour: Rgb) {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let (x0, x1) = (x0.clamp(0, width), x1.clamp(0, width));
        for y in y0.clamp(0, height)..y1.clamp(0, height) {
            let row = (y * width) as usize;
            let span = row + x0 as usize..row + x1.max(x0) as usize;
            self.pixels[span.start * 3..span.end * 3]
                .as_chunks_mut::<3>()
                .0
                .fill(colour);
        }
    }

    /// Mixes a pixel half and half with a colour.
    pub(super) fn mix_in(&mut self, x: u32, y: u32, colour: Rgb) {
        let at = (y as usize * self.size.width as usize + x as usize) * 3;
        for (value, tint) in self.pixels[at..at + 3].iter_mut().zip(colour) {
            *value = value.midpoint(tint);
        }
    }

    /// Mixes a mask's pixels half and half with a colour, and draws the upper and lower ends of its columns in it.
    pub(super) fn tint(&mut self, mask: &Mask, line: i64, colour: Rgb) {
        for (column, rows) in mask.column_runs(self.size.height) {
            for row in rows.clone() {
                self.mix_in(column, row, colour);
            }
            let (x, top, low) = (
                i64::from(column),
                i64::from(rows.start),
                i64::from(rows.end),
            );
            let line = (line / 2).max(1).min(low - top);
            self.fill(x, top, x + 1, top + line, colour);
            self.fill(x, low - line, x + 1, low, colour);
        }
    }

    /// The box's outline: inside the box, and at least a pixel of it.
    pub(super) fn outline(&mut self, bbox: &BBox, line: i64, colour: Rgb) {
        let (x0, y0, x1, y1) = self.whole_pixels(bbox);
        let line_x = line.min(x1 - x0);
        let line_y = line.min(y1 - y0);
        self.fill(x0, y0, x1, y0 + line_y, colour);
        self.fill(x0, y1 - line_y, x1, y1, colour);
        self.fill(x0, y0, x0 + line_x, y1, colour);
        self.fill(x1 - line_x, y0, x1, y1, colour);
    }

    /// The pixels that a box touches, at least one, inside the picture.
    fn whole_pixels(&self, bbox: &BBox) -> (i64, i64, i64, i64) {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let x0 = (bbox.x0.floor() as i64).clamp(0, width - 1);
        let y0 = (bbox.y0.floor() as i64).clamp(0, height - 1);
        let x1 = (bbox.x1.ceil() as i64).clamp(x0 + 1, width);
        let y1 = (bbox.y1.ceil() as i64).clamp(y0 + 1, height);
        (x0, y0, x1, y1)
    }

    /// The label of a box, at the first of some places around it where it lies on no other label: above, below, inside its top, inside
    /// its bottom, or further inside; if there is none, where it covers least. None if not even a letter fits.
    pub(super) fn label_at_box(
        &self,
        bbox: &BBox,
        style: Style,
        text: impl Fn(i64) -> String,
        back: Rgb,
        others: &[Label],
    ) -> Option<Label> {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let (x0, y0, x1, y1) = self.whole_pixels(bbox);
        let label = self.label_of(style, &text, back)?;
        let (w, h) = (label.width, label.height);
        let inside = |value: i64, limit: i64| value.min(limit).max(0);
        let at = |left: i64, top: i64| Label {
            left: inside(left, width - w),
            top: inside(top, height - h),
            ..label.clone()
        };
        let mut places: Vec<Label> = Vec::new();
        if y0 >= h {
            places.extend([at(x0, y0 - h), at(x1 - w, y0 - h)]);
        }
        places.push(at(x0, y0));
        if y1 + h <= height {
            places.extend([at(x0, y1), at(x1 - w, y1)]);
        }
        places.extend([at(x1 - w, y0), at(x0, y1 - h), at(x1 - w, y1 - h)]);
        places.extend(
            (1..)
                .map(|i| at(x0, y0 + i * h))
                .take_while(|l| l.top + h < y1)
                .take(20),
        );
        least_covering(places, others)
    }

    /// A label with its middle near a point, moved up or down if others lie there.
    pub(super) fn label_near(
        &self,
        (x, y): (i64, i64),
        style: Style,
        text: &str,
        back: Rgb,
        others: &[Label],
    ) -> Option<Label> {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let text = |room: i64| text.chars().take(room.max(0) as usize).collect();
        let label = self.label_of(style, text, back)?;
        let (w, h) = (label.width, label.height);
        let steps = [0, 1, -1, 2, -2, 3, -3];
        let places = steps.map(|step| Label {
            left: (x - w / 2).min(width - w).max(0),
            top: (y - h / 2 + step * h).min(height - h).max(0),
            ..label.clone()
        });
        least_covering(places.to_vec(), others)
    }

    /// What a label says, and how large that is; `text` is asked for at most so many letters.
    fn label_of(&self, style: Style, text: impl Fn(i64) -> String, back: Rgb) -> Option<Label> {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let letters = text((width - 2 * style.line) / style.letter_width());
        if letters.is_empty() || style.letter_height() > height {
            return None;
        }
        Some(Label {
            left: 0,
            top: 0,
            width: letters.chars().count() as i64 * style.letter_width() + 2 * style.line,
            height: style.letter_height(),
            letters,
            back,
        })
    }

    /// Draws a label.
    pub(super) fn label(&mut self, label: &Label, style: Style) {
        let Label {
            left,
            top,
            width,
            height,
            back,
            ..
        } = *label;
        let ink = contrast(back);
        self.fill(left, top, left + width, top + height, back);
        let mut x = left + style.line;
        for letter in label.letters.chars() {
            self.letter(x, top, style, letter, back, ink);
            x += style.letter_width();
        }
    }

    fn letter(&mut self, left: i64, top: i64, style: Style, letter: char, back: Rgb, ink: Rgb) {
        for (row, y) in glyph(letter, style.font).rows().zip(0..) {
            for (&strength, x) in row.iter().zip(0..) {
                if strength > 0 {
                    let (x, y) = (left + x * style.zoom, top + y * style.zoom);
                    let mixed = mix(back, ink, strength);
                    self.fill(x, y, x + style.zoom, y + style.zoom, mixed);
                }
            }
        }
    }
}

/// Name and score in at most so many letters: the name is cut first, then all.
pub(super) fn fitted(name: &str, score: f32, room: i64) -> String {
    let room = usize::try_from(room).unwrap_or(0);
    let score = format!(" {:.2}", score);
    let length = name.chars().count();
    if length + score.len() <= room {
        return format!("{name}{score}");
    }
    // three letters and an ellipsis still mean something beside a score
    let (kept, tail) = if room >= score.len() + 4 {
        (room - score.len() - 2, format!("..{score}"))
    } else if length <= room {
        (length, String::new())
    } else {
        (room, String::new())
    };
    name.chars().take(kept).chain(tail.chars()).collect()
}

/// A name's colour: its hash picks a hue, and one of three tones.
pub(crate) fn colour(name: &str) -> Rgb {
    // FNV-1a: short, and the same for ever, which the standard hasher does not promise
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = hash ^ (hash >> 32);
    let (low, high) = [(30, 255), (0, 210), (90, 255)][(hash / 360 % 3) as usize];
    let hue = (hash % 360) as u32;
    let rising = low + (high - low) * (hue % 60) / 60;
    let falling = low + high - rising;
    let [r, g, b] = match hue / 60 {
        0 => [high, rising, low],
        1 => [falling, high, low],
        2 => [low, high, rising],
        3 => [low, falling, high],
        4 => [rising, low, high],
        _ => [high, low, falling],
    };
    [r as u8, g as u8, b as u8]
}

/// Black or white, whichever is easier to read on a colour.
pub(super) fn contrast([r, g, b]: Rgb) -> Rgb {
    // luma of BT.601, in thousandths
    let luma = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    if luma > 128_000 { [0; 3] } else { [255; 3] }
}

fn mix(back: Rgb, ink: Rgb, strength: u8) -> Rgb {
    let strength = u32::from(strength);
    std::array::from_fn(|i| {
        let sum = u32::from(back[i]) * (255 - strength) + u32::from(ink[i]) * strength;
        ((sum + 127) / 255) as u8
    })
}
