//! Sizes, boxes, and the only change of space.
//!
//! ```text
//!   frame space (pixels of the whole photo)    input space (pixels of the network's input)
//!   ┌──────────────┐                            ┌──────────────┐ ┐
//!   │              │   scale, then centre       │▒▒▒▒▒▒▒▒▒▒▒▒▒▒│ │ offset
//!   │    photo     │  ───────────────────▶      │    photo     │ ┘
//!   │              │                            │              │
//!   └──────────────┘  ◀───────────────────      │▒▒▒▒▒▒▒▒▒▒▒▒▒▒│
//!                      frame_from_input         └──────────────┘
//! ```
//!
//! Every [`BBox`] outside the head's decoder is in frame space; it got there
//! through [`Letterbox::frame_from_input`], once, also where only a part of the frame was
//! looked at. Nothing here touches pixels.

use serde::{Deserialize, Serialize};

pub mod camera;

/// How large a frame or an input is, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// A size of `width` columns and `height` rows.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// The number of pixels.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// Whether there is no pixel at all.
    pub const fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Columns and rows.
    pub size: Size,
}

impl Crop {
    /// All of a frame.
    #[must_use]
    pub const fn of(size: Size) -> Self {
        Self { x: 0, y: 0, size }
    }

    /// Its edges.
    #[must_use]
    pub const fn bbox(&self) -> BBox {
        let (x, y) = (self.x as f32, self.y as f32);
        let Size { width, height } = self.size;
        BBox::new(x, y, x + width as f32, y + height as f32)
    }

    /// A box of the frame as seen from the rectangle's top left corner.
    #[must_use]
    pub const fn local(&self, bbox: &BBox) -> BBox {
        let (x, y) = (self.x as f32, self.y as f32);
        BBox::new(bbox.x0 - x, bbox.y0 - y, bbox.x1 - x, bbox.y1 - y)
    }

    /// What of the rectangle lies in a frame; none if nothing does.
    #[must_use]
    pub fn within(self, frame: Size) -> Option<Self> {
        let width = frame.width.saturating_sub(self.x).min(self.size.width);
        let height = frame.height.saturating_sub(self.y).min(self.size.height);
        let size = Size::new(width, height);
        (!size.is_empty()).then_some(Self { size, ..self })
    }
}

/// A half-open box, `x0 <= x < x1` and `y0 <= y < y1`, in pixels of frame space.
///
/// A pixel is a unit square: the whole of a 640×480 frame is `0, 0, 640, 480`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BBox {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
}

impl BBox {
    /// The box between two corners.
    pub const fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// Horizontal extent in pixels; 0 for a box turned inside out.
    pub fn width(&self) -> f32 {
        (self.x1 - self.x0).max(0.0)
    }

    /// Vertical extent in pixels; 0 for a box turned inside out.
    pub fn height(&self) -> f32 {
        (self.y1 - self.y0).max(0.0)
    }

    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Whether the box holds nothing; true as well if an edge is not a number.
    pub fn is_empty(&self) -> bool {
        !(self.x0 < self.x1 && self.y0 < self.y1)
    }

    /// The centre, `(x, y)`.
    pub fn center(&self) -> (f32, f32) {
        ((self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0)
    }

    /// Intersection over union, `0..=1`; 0 if either box is empty.
    pub fn iou(&self, other: &Self) -> f32 {
        let both = Self {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
        .area();
        let either = self.area() + other.area() - both;
        if either > 0.0 { both / either } else { 0.0 }
    }

    /// The part of the box inside a rectangle; empty if there is none.
    pub fn clip(&self, crop: Crop) -> Self {
        let edges = crop.bbox();
        Self {
            x0: self.x0.clamp(edges.x0, edges.x1),
            y0: self.y0.clamp(edges.y0, edges.y1),
            x1: self.x1.clamp(edges.x0, edges.x1),
            y1: self.y1.clamp(edges.y0, edges.y1),
        }
    }
}

/// How a frame is brought to the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Aspect kept, centred, grey around.
    #[default]
    Letterbox,
    /// Each axis by itself, as some imported detectors were trained.
    Stretch,
}

/// What an axis that shrinks makes its new pixels of; one that grows is interpolated linearly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shrink {
    /// The mean over the area that each covers.
    #[default]
    Area,
    /// The two pixels nearest to its centre, as some imported detectors were trained.
    Linear,
}

/// How a frame lies in the network's input: aspect kept, centred, grey around; or stretched.
///
/// All in integers, so the runtime, the recipe (`letterbox` in
/// `models/recipe/tarsier_recipe/detector/data.py`) and every board agree to the pixel. The
/// shorter side is rounded to whole pixels and is at least one, so a frame of
/// 10,000×10 is one row of the input; boxes are mapped by the two scales that
/// the pixels really got, not by the one they should have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letterbox {
    /// What was looked at, in pixels of the whole frame.
    pub part: Crop,
    /// The whole frame.
    pub frame: Size,
    /// The network's input.
    pub input: Size,
    /// Whether the aspect is kept.
    pub fit: Fit,
}

impl Letterbox {
    /// The letterbox of a whole frame in an input.
    ///
    /// # Panics
    ///
    /// If either is empty: frames are checked where they enter.
    pub const fn new(frame: Size, input: Size) -> Self {
        Self::of_part(Crop::of(frame), frame, input, Fit::Letterbox)
    }

    /// That of a part of a frame, perhaps stretched.
    ///
    /// # Panics
    ///
    /// If either is empty.
    pub const fn of_part(part: Crop, frame: Size, input: Size, fit: Fit) -> Self {
        assert!(
            !part.size.is_empty() && !input.is_empty(),
            "a letterbox needs a pixel on either side"
        );
        Self {
            part,
            frame,
            input,
            fit,
        }
    }

    /// How large the part is inside the input, in input pixels.
    pub const fn resized(&self) -> Size {
        let (part, input) = (self.part.size, self.input);
        if matches!(self.fit, Fit::Stretch) {
            return input;
        }
        let wide = part.width as u64 * input.height as u64;
        let tall = part.height as u64 * input.width as u64;
        if tall <= wide {
            Size::new(input.width, fitted(tall, part.width, input.height))
        } else {
            Size::new(fitted(wide, part.height, input.width), input.height)
        }
    }

    /// Where the part's top left pixel is in the input: columns, rows.
    pub const fn offset(&self) -> (u32, u32) {
        let resized = self.resized();
        (
            (self.input.width - resized.width) / 2,
            (self.input.height - resized.height) / 2,
        )
    }

    /// Takes a box from input space to the space of the whole frame, and cuts off what was not
    /// looked at.
    pub fn frame_from_input(&self, bbox: BBox) -> BBox {
        let (resized, (left, top)) = (self.resized(), self.offset());
        let x = self.part.size.width as f32 / resized.width as f32;
        let y = self.part.size.height as f32 / resized.height as f32;
        let (left, top) = (left as f32, top as f32);
        let (dx, dy) = (self.part.x as f32, self.part.y as f32);
        let bbox = BBox {
            x0: (bbox.x0 - left) * x + dx,
            y0: (bbox.y0 - top) * y + dy,
            x1: (bbox.x1 - left) * x + dx,
            y1: (bbox.y1 - top) * y + dy,
        };
        bbox.clip(self.part)
    }
}

/// `numerator / denominator` rounded, a half to the even number as Python's
/// `round` does, and kept in `1..=limit`.
const fn fitted(numerator: u64, denominator: u32, limit: u32) -> u32 {
    let denominator = denominator as u64;
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    let up = rest * 2 > denominator || (rest * 2 == denominator && whole % 2 == 1);
    let rounded = whole + up as u64;
    if rounded == 0 {
        1
    } else if rounded > limit as u64 {
        limit
    } else {
        rounded as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: Size = Size::new(320, 320);

    fn assert_close(a: BBox, b: BBox, tolerance: f32) {
        for (a, b) in [(a.x0, b.x0), (a.y0, b.y0), (a.x1, b.x1), (a.y1, b.y1)] {
            assert!((a - b).abs() <= tolerance, "{a} is not {b}");
        }
    }

    #[test]
    fn iou_of_half_shifted_boxes_is_a_third() {
        let a = BBox::new(0.0, 0.0, 10.0, 10.0);
        let b = BBox::new(5.0, 0.0, 15.0, 10.0);
        assert_eq!(a.iou(&b), 50.0 / 150.0);
        assert_eq!(b.iou(&a), a.iou(&b));
        assert_eq!(a.iou(&a), 1.0);
    }

    #[test]
    fn iou_of_touching_and_of_empty_boxes_is_zero() {
        let a = BBox::new(0.0, 0.0, 10.0, 10.0);
        assert_eq!(a.iou(&BBox::new(10.0, 0.0, 20.0, 10.0)), 0.0);
        let point = BBox::new(3.0, 3.0, 3.0, 3.0);
        assert_eq!(a.iou(&point), 0.0);
        assert_eq!(point.iou(&point), 0.0);
    }

    #[test]
    fn a_box_turned_inside_out_is_empty_and_has_no_area() {
        let inside_out = BBox::new(5.0, 5.0, 1.0, 1.0);
        assert!(inside_out.is_empty());
        assert_eq!(inside_out.area(), 0.0);
        assert!(BBox::new(f32::NAN, 0.0, 1.0, 1.0).is_empty());
        assert!(!BBox::new(0.0, 0.0, 1.0, 1.0).is_empty());
    }

    #[test]
    fn clipping_keeps_the_part_inside_and_empties_the_rest() {
        let frame = Crop::of(Size::new(100, 50));
        assert_eq!(
            BBox::new(-5.0, 10.0, 105.0, 60.0).clip(frame),
            BBox::new(0.0, 10.0, 100.0, 50.0)
        );
        assert!(BBox::new(110.0, 0.0, 120.0, 10.0).clip(frame).is_empty());
        assert!(BBox::new(0.0, -9.0, 10.0, -1.0).clip(frame).is_empty());
    }

    #[test]
    fn a_landscape_frame_fills_the_width_and_is_centred() {
        let letterbox = Letterbox::new(Size::new(640, 480), INPUT);
        assert_eq!(letterbox.resized(), Size::new(320, 240));
        assert_eq!(letterbox.offset(), (0, 40));
    }

    #[test]
    fn a_portrait_frame_fills_the_height_and_is_centred() {
        let letterbox = Letterbox::new(Size::new(480, 640), INPUT);
        assert_eq!(letterbox.resized(), Size::new(240, 320));
        assert_eq!(letterbox.offset(), (40, 0));
    }

    #[test]
    fn halves_round_to_even_as_in_the_recipe() {
        // 481 / 2 = 240.5 → 240, 483 / 2 = 241.5 → 242
        let height = |h| Letterbox::new(Size::new(640, h), INPUT).resized().height;
        assert_eq!((height(481), height(483)), (240, 242));
    }

    #[test]
    fn extreme_frames_keep_at_least_one_pixel_and_stay_inside() {
        for (width, height) in [(1, 1), (10_000, 10), (10, 10_000), (65_535, 1), (1, 65_535)] {
            let letterbox = Letterbox::new(Size::new(width, height), INPUT);
            let (resized, (left, top)) = (letterbox.resized(), letterbox.offset());
            assert!(resized.width >= 1 && resized.height >= 1);
            assert!(left + resized.width <= 320 && top + resized.height <= 320);
            assert!(resized.width == 320 || resized.height == 320);
        }
        let square = Letterbox::new(Size::new(1, 1), INPUT);
        assert_eq!(square.resized(), INPUT);
    }

    #[test]
    fn the_resized_picture_maps_to_the_whole_frame() {
        for (width, height) in [(640, 480), (481, 333), (1, 1), (10_000, 10), (7, 4000)] {
            let letterbox = Letterbox::new(Size::new(width, height), INPUT);
            let (resized, (left, top)) = (letterbox.resized(), letterbox.offset());
            let bbox = BBox::new(
                left as f32,
                top as f32,
                (left + resized.width) as f32,
                (top + resized.height) as f32,
            );
            let whole = BBox::new(0.0, 0.0, width as f32, height as f32);
            assert_close(
                letterbox.frame_from_input(bbox),
                whole,
                1e-3 * width.max(height) as f32 / 320.0,
            );
        }
    }

    #[test]
    fn a_point_of_the_input_maps_through_offset_and_scale() {
        let letterbox = Letterbox::new(Size::new(640, 480), INPUT);
        let bbox = letterbox.frame_from_input(BBox::new(10.0, 50.0, 20.0, 70.0));
        assert_eq!(bbox, BBox::new(20.0, 20.0, 40.0, 60.0));
    }

    #[test]
    fn a_box_of_a_part_is_where_it_lies_in_the_whole_frame_and_inside_the_part() {
        let size = Size::new(640, 480);
        let part = Crop {
            x: 100,
            y: 30,
            size,
        };
        let whole = Size::new(1000, 1000);
        let letterbox = Letterbox::of_part(part, whole, INPUT, Fit::Letterbox);
        let bbox = letterbox.frame_from_input(BBox::new(10.0, 50.0, 20.0, 70.0));
        assert_eq!(bbox, BBox::new(120.0, 50.0, 140.0, 90.0));
        assert_eq!(part.local(&bbox), BBox::new(20.0, 20.0, 40.0, 60.0));
        let all = letterbox.frame_from_input(BBox::new(-9.0, -9.0, 999.0, 999.0));
        assert_eq!(all, part.bbox());
    }
}
