//! Where to look: a box or a polygon of a frame.

use std::{fmt, str::FromStr};

use crate::geometry::{Crop, Size};

/// A part of a frame, in pixels: everything outside is not reported, and the network looks at the box around it.
///
/// Written `x,y,w,h` (left, top, width, height) or as three or more corners `x,y x,y x,y`. A detection lies in it if the centre of its
/// box does; a pixel of stuff if its own centre does.
///
/// ```
/// # use tarsier::frame::region::Region;
/// let triangle: Region = "0,0 100,0 0,100".parse()?;
/// assert!(triangle.contains(20.0, 20.0) && !triangle.contains(80.0, 80.0));
/// # Ok::<(), tarsier::frame::region::RegionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    corners: Vec<(f32, f32)>,
}

/// Why a text is no region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionError {
    /// Not `x,y,w,h` and not corners.
    Form(String),
    /// Something that is not a finite number.
    Number(String),
    /// It has no area.
    Empty(String),
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(text) => write!(
                f,
                "\"{text}\" is neither x,y,w,h nor three or more corners \"x,y x,y x,y\""
            ),
            Self::Number(text) => write!(f, "\"{text}\" is not a number"),
            Self::Empty(text) => write!(f, "\"{text}\" has no area"),
        }
    }
}

impl std::error::Error for RegionError {}

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        let number = |n: &str| match n.trim().parse::<f32>() {
            Ok(v) if v.is_finite() => Ok(v),
            _ => Err(RegionError::Number(n.trim().to_owned())),
        };
        let numbers = |part: &str| part.split(',').map(number).collect::<Result<Vec<f32>, _>>();
        let parts: Vec<&str> = text.split_whitespace().collect();
        let corners = match parts.as_slice() {
            [] => return Err(RegionError::Form(text.to_owned())),
            [one] => match numbers(one)?.as_slice() {
                &[x, y, w, h] if w > 0.0 && h > 0.0 => {
                    vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
                }
                [_, _, _, _] => return Err(RegionError::Empty(text.to_owned())),
                _ => return Err(RegionError::Form(text.to_owned())),
            },
            several => {
                let corner = |part: &&str| match numbers(part)?.as_slice() {
                    &[x, y] => Ok((x, y)),
                    _ => Err(RegionError::Form(text.to_owned())),
                };
                several.iter().map(corner).collect::<Result<Vec<_>, _>>()?
            }
        };
        if corners.len() < 3 {
            return Err(RegionError::Form(text.to_owned()));
        }
        let next = corners.iter().cycle().skip(1);
        let area: f32 = corners
            .iter()
            .zip(next)
            .map(|(a, b)| a.0 * b.1 - b.0 * a.1)
            .sum();
        if area == 0.0 {
            return Err(RegionError::Empty(text.to_owned()));
        }
        Ok(Self { corners })
    }
}

impl Region {
    /// Whether a point lies in it (an odd number of edges to the right of it).
    #[must_use]
    pub fn contains(&self, x: f32, y: f32) -> bool {
        let next = self.corners.iter().cycle().skip(1);
        let crossed = self.corners.iter().zip(next).filter(|(a, b)| {
            (a.1 > y) != (b.1 > y) && x < (b.0 - a.0) * (y - a.1) / (b.1 - a.1) + a.0
        });
        crossed.count() % 2 == 1
    }

    /// The whole pixels around it, inside a frame; none if it lies outside.
    #[must_use]
    pub fn bounds(&self, frame: Size) -> Option<Crop> {
        let of = |value: fn(&(f32, f32)) -> f32, limit: u32| {
            let values = self.corners.iter().map(value);
            let (low, high) = values.fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(v), h.max(v)));
            let low = low.floor().clamp(0.0, limit as f32) as u32;
            (low, high.ceil().clamp(low as f32, limit as f32) as u32)
        };
        let ((left, right), (top, low)) = (of(|c| c.0, frame.width), of(|c| c.1, frame.height));
        let size = Size::new(right - left, low - top);
        Crop {
            x: left,
            y: top,
            size,
        }
        .within(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_and_a_polygon_are_read_and_nothing_else_is() {
        let size = Size::new(100, 50);
        let read = |text: &str| text.parse::<Region>();
        let whole = read("10,5,20,30").expect("a box");
        assert_eq!(
            whole.bounds(size),
            Some(Crop {
                x: 10,
                y: 5,
                size: Size::new(20, 30)
            })
        );
        assert!(whole.contains(10.5, 5.5) && !whole.contains(30.5, 5.5));
        let triangle = read("0,0 200,0  0,200").expect("a triangle");
        assert_eq!(triangle.bounds(size), Some(Crop { x: 0, y: 0, size }));
        assert_eq!(read("100,0,5,5").expect("a box").bounds(size), None);
        for (text, error) in [
            ("", "neither"),
            ("1,2,3", "neither"),
            ("1,2 3,4", "neither"),
            ("1,2 3,4 5", "neither"),
            ("1,2,x,4", "\"x\" is not a number"),
            ("1,2,inf,4", "not a number"),
            ("1,2,0,4", "no area"),
            ("1,1 2,2 3,3", "no area"),
        ] {
            let message = read(text).expect_err(text).to_string();
            assert!(message.contains(error), "{text}: {message}");
        }
    }
}
