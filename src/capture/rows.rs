//! Rows with padding: many cameras write frames whose rows begin at multiples of 32 or 64 bytes.
//!
//! ```text
//!  ├── row ──┤padding│
//!  ├──────── stride ─┤      a plane of `rows` rows; the last row may lack its padding
//! ```

use super::picture::Form;
use crate::geometry::Size;

/// A plane of a raw frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plane {
    row: usize,
    stride: usize,
    rows: usize,
}

/// Bytes of a row of a form's first plane.
pub(super) const fn row_bytes(form: Form, width: u32) -> usize {
    let width = width as usize;
    match form {
        Form::Rgb24 => width * 3,
        Form::Yuyv | Form::Uyvy => width * 2,
        Form::Nv12 | Form::Yuv420 | Form::Grey | Form::Jpeg => width,
    }
}

fn planes(form: Form, size: Size, stride: usize) -> heapless::Vec<Plane, 3> {
    let (row, rows) = (row_bytes(form, size.width), size.height as usize);
    let whole = Plane { row, stride, rows };
    let half = Plane {
        row: row / 2,
        stride: stride / 2,
        rows: rows / 2,
    };
    let mut planes = heapless::Vec::new();
    let all: &[Plane] = match form {
        Form::Nv12 => &[
            whole,
            Plane {
                rows: rows / 2,
                ..whole
            },
        ],
        Form::Yuv420 => &[whole, half, half],
        _ => &[whole],
    };
    planes.extend(all.iter().copied());
    planes
}

/// How many bytes a frame has with its padding.
pub(super) fn padded_bytes(form: Form, size: Size, stride: usize) -> usize {
    let planes = planes(form, size, stride);
    planes.iter().map(|p| p.stride * p.rows).sum()
}

/// Copies a frame without its padding; whether all of it is there.
pub(super) fn unpad(
    form: Form,
    size: Size,
    stride: usize,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    out.clear();
    let mut rest = bytes;
    for plane in planes(form, size, stride) {
        for _ in 0..plane.rows {
            let Some(row) = rest.get(..plane.row) else {
                return false;
            };
            out.extend_from_slice(row);
            rest = rest.get(plane.stride..).unwrap_or_default();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_loses_its_padding_and_nothing_else() {
        let size = Size::new(6, 4);
        for form in Form::RAW {
            let bytes = form.bytes(size).expect("a raw form");
            let frame: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
            let row = row_bytes(form, size.width);
            for stride in [row, row + 2, row + 26] {
                let mut padded = Vec::new();
                let mut rest = frame.as_slice();
                for plane in planes(form, size, stride) {
                    for _ in 0..plane.rows {
                        let (row, behind) = rest.split_at(plane.row);
                        padded.extend_from_slice(row);
                        padded.resize(padded.len() + plane.stride - plane.row, 0xEE);
                        rest = behind;
                    }
                }
                assert!(rest.is_empty(), "{form}");
                assert_eq!(padded.len(), padded_bytes(form, size, stride), "{form}");
                let mut out = vec![1; 3];
                assert!(unpad(form, size, stride, &padded, &mut out), "{form}");
                assert_eq!(out, frame, "{form} {stride}");
                // drivers leave out the padding of the last row; a missing pixel is a missing pixel
                let last = planes(form, size, stride)
                    .last()
                    .map_or(0, |p| p.stride - p.row);
                let end = padded.len() - last;
                assert!(
                    unpad(form, size, stride, &padded[..end], &mut out),
                    "{form}"
                );
                assert!(
                    !unpad(form, size, stride, &padded[..end - 1], &mut out),
                    "{form}"
                );
            }
        }
    }
}
