//! What every pixel is of: pictures of maps and segments, and their summaries.
//!
//! | | picture | on stdout |
//! |---|---|---|
//! | semantic | PNG, a label per pixel ([`label_png`]) | a line or a JSON object per prompt that is there; COCO results with run lengths |
//! | panoptic | PNG, `id = R + 256 G + 65536 B` ([`panoptic_png`]) | a line per segment, or COCO's panoptic JSON ([`PanopticJson`]) |

use std::{
    collections::HashSet,
    io::{self, BufWriter, Write},
};

use serde::Serialize;
use tarsier_wire::report as wire;

use super::{
    Format, Json,
    coco::Categories,
    score,
    shapes::{header, rle},
    text::{OneLine, Whence},
};
use crate::{
    draw::colour,
    labels::{LabelMap, NOTHING},
    mask::Mask,
    panoptic::Segments,
    scene::{Names, Report},
};

/// Writes a label map as PNG.
///
/// Up to 255 prompts: 8 bits with a palette, a pixel's value is the prompt's index and 255 is nothing. More: 16 bits grey, big-endian as PNG
/// has them, and 65535 is nothing.
///
/// # Errors
///
/// What `out` answered.
pub fn label_png(
    out: impl Write,
    map: &LabelMap,
    prompts: usize,
    names: &dyn Names,
) -> io::Result<()> {
    let size = map.size();
    let mut encoder = png::Encoder::new(BufWriter::new(out), size.width, size.height);
    let bytes: Vec<u8> = if prompts <= 255 {
        let mut palette: Vec<u8> = (0..prompts as u32)
            .flat_map(|p| colour(names.name(p)))
            .collect();
        palette.resize(256 * 3, 0);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(palette);
        map.rows().flatten().map(|l| l.min(255) as u8).collect()
    } else {
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Sixteen);
        map.rows().flatten().flat_map(u16::to_be_bytes).collect()
    };
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    Ok(writer.finish()?)
}

/// Writes segments as COCO's panoptic PNG; `ids` are those of [`PanopticJson::push`].
///
/// # Errors
///
/// What `out` answered.
pub fn panoptic_png(out: impl Write, segments: &Segments, ids: &[u32]) -> io::Result<()> {
    let size = segments.size();
    let mut encoder = png::Encoder::new(BufWriter::new(out), size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    let pixels = segments.rows().flatten();
    let bytes: Vec<u8> = pixels
        .flat_map(|segment| {
            let id = segment.map_or(0, |s| ids[s]);
            [id as u8, (id >> 8) as u8, (id >> 16) as u8]
        })
        .collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    Ok(writer.finish()?)
}

/// Writes what is in label maps, frame by frame.
#[derive(Debug)]
pub struct SemanticWriter<W: Write> {
    out: W,
    json: Json,
    format: Format,
    /// Of a COCO array: whether it is open, and whether something is in it.
    some: Option<bool>,
    categories: Categories,
}

#[derive(Serialize)]
struct Frame<'a> {
    header: wire::Header,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<&'a str>,
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a str>,
    classes: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    class_id: &'a str,
    label: u32,
    isthing: bool,
    area: u64,
    mask: wire::Mask<'a>,
}

#[derive(Serialize)]
struct CocoStuff<'a> {
    image_id: u64,
    category_id: u32,
    file_name: &'a str,
    category_name: &'a str,
    score: f32,
    segmentation: wire::Mask<'a>,
}

impl<W: Write> SemanticWriter<W> {
    /// In some format to `out`.
    pub fn new(format: Format, out: W) -> Self {
        Self {
            out,
            json: Json::new(),
            format,
            some: None,
            categories: Categories::default(),
        }
    }

    /// Writes one frame's map. `frame` gives number and time, `is_stuff` which of so many `prompts` are stuff, `labels` the file of the
    /// map's picture, if there is one.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    #[allow(clippy::too_many_arguments)]
    pub fn write(
        &mut self,
        file: Option<&str>,
        names: &dyn Names,
        frame: &Report,
        map: &LabelMap,
        prompts: usize,
        is_stuff: impl Fn(u32) -> bool,
        labels: Option<&str>,
    ) -> io::Result<()> {
        let areas = map.areas(prompts);
        let mut there: Vec<usize> = (0..prompts).filter(|&p| areas[p] > 0).collect();
        there.sort_by_key(|&p| std::cmp::Reverse(areas[p]));
        if self.format == Format::Text {
            let whence = Whence(file, frame.sequence);
            let all = map.labels().len().max(1) as f64 / 100.0;
            if there.is_empty() {
                return writeln!(self.out, "{whence}: nothing found");
            }
            for p in there {
                let name = OneLine(names.name(p as u32));
                let share = areas[p] as f64 / all;
                writeln!(self.out, "{whence}: {name} {share:.1} %")?;
            }
            return Ok(());
        }
        let masks: Vec<Mask> = map.masks(prompts);
        let rle = |p: usize| rle(&masks[p], map.size());
        if self.format == Format::Json {
            let classes = there.iter().map(|&p| Class {
                class_id: names.name(p as u32),
                label: p as u32,
                isthing: !is_stuff(p as u32),
                area: areas[p],
                mask: rle(p),
            });
            let line = self.json.line(&Frame {
                header: header(frame.sequence, frame.captured),
                file_name: file,
                width: map.size().width,
                height: map.size().height,
                labels,
                classes: classes.collect(),
            });
            return self.out.write_all(line);
        }
        let numbered = format!("frame {}", frame.sequence);
        for p in there {
            let separator: &[u8] = match self.some {
                None => b"[\n",
                Some(_) => b",\n",
            };
            self.some = Some(true);
            self.out.write_all(separator)?;
            self.out.write_all(self.json.bytes(&CocoStuff {
                image_id: frame.sequence.saturating_add(1),
                category_id: self.categories.of(names, p as u32),
                file_name: file.unwrap_or(&numbered),
                category_name: names.name(p as u32),
                score: score(mean_score(frame, map, p as u32)),
                segmentation: rle(p),
            }))?;
        }
        Ok(())
    }

    /// Completes what the format needs completed, and flushes.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.format == Format::Coco {
            let end: &[u8] = if self.some.is_none() {
                b"[\n]\n"
            } else {
                b"\n]\n"
            };
            self.out.write_all(end)?;
        }
        self.out.flush()
    }
}

/// Of stuff the sigmoid of the mean logit of its pixels; of a thing the score of its best detection.
pub(crate) fn mean_score(frame: &Report, map: &LabelMap, prompt: u32) -> f32 {
    let best = frame.detections.iter().find(|d| d.prompt == prompt);
    if let Some(best) = best {
        return best.score;
    }
    let labels = map.labels().iter().enumerate();
    let own = labels.filter(|(_, l)| **l != NOTHING && u32::from(**l) == prompt);
    let (sum, count) = own.fold((0.0, 0u32), |(sum, n), (pixel, _)| {
        (sum + f64::from(map.logit(pixel)), n + 1)
    });
    crate::odds::score((sum / f64::from(count.max(1))) as f32)
}

/// COCO's panoptic JSON: images, annotations with `segments_info`, categories.
#[derive(Debug, Serialize)]
pub struct PanopticJson {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Debug, Serialize)]
struct Image {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Debug, Serialize)]
struct Annotation {
    image_id: u64,
    file_name: String,
    segments_info: Vec<SegmentInfo>,
}

#[derive(Debug, Serialize)]
struct SegmentInfo {
    id: u32,
    category_id: u32,
    category_name: String,
    isthing: u8,
    area: u64,
    bbox: [u32; 4],
    iscrowd: u8,
    score: f32,
}

#[derive(Debug, Serialize)]
struct Category {
    id: u32,
    name: String,
    isthing: u8,
}

impl PanopticJson {
    /// Without images yet; a prompt's category is its index plus one.
    pub fn new(prompts: usize, names: &dyn Names, is_stuff: impl Fn(u32) -> bool) -> Self {
        let category = |p: u32| Category {
            id: p + 1,
            name: names.name(p).to_owned(),
            isthing: u8::from(!is_stuff(p)),
        };
        Self {
            images: Vec::new(),
            annotations: Vec::new(),
            categories: (0..prompts as u32).map(category).collect(),
        }
    }

    /// Adds a photo and its segments; `picture` is the file of its [`panoptic_png`], whose ids come back.
    ///
    /// Ids are colours near that of the segment's name, so that the picture can be looked at.
    pub fn push(
        &mut self,
        file: &str,
        picture: &str,
        names: &dyn Names,
        segments: &Segments,
    ) -> Vec<u32> {
        let ids = ids(segments, names);
        let image_id = self.images.len() as u64 + 1;
        self.images.push(Image {
            id: image_id,
            file_name: file.to_owned(),
            width: segments.size().width,
            height: segments.size().height,
        });
        let all = segments.segments().iter().zip(&ids);
        let info = all.map(|(segment, &id)| SegmentInfo {
            id,
            category_id: segment.prompt + 1,
            category_name: names.name(segment.prompt).to_owned(),
            isthing: u8::from(segment.thing),
            area: segment.area,
            bbox: segment.bbox,
            iscrowd: 0,
            score: score(segment.score),
        });
        self.annotations.push(Annotation {
            image_id,
            file_name: picture.to_owned(),
            segments_info: info.collect(),
        });
        ids
    }

    /// As indented JSON with a line feed.
    ///
    /// # Errors
    ///
    /// What `out` answered.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// A number for each segment, none twice and none 0.
fn ids(segments: &Segments, names: &dyn Names) -> Vec<u32> {
    let mut used = HashSet::from([0]);
    let id = |segment: &crate::panoptic::Segment| {
        let base = colour(names.name(segment.prompt));
        for step in 0u32.. {
            // small steps in all three channels, each a different way
            let [r, g, b] = std::array::from_fn(|i| {
                let shift = (step * [37, 53, 71][i] % 101) as i32 - if step == 0 { 0 } else { 50 };
                (i32::from(base[i]) + shift).clamp(0, 255) as u32
            });
            let id = r | g << 8 | b << 16;
            if used.insert(id) {
                return id;
            }
            if step > 500 {
                break;
            }
        }
        let free = (1..1 << 24).find(|&id| used.insert(id));
        free.expect("fewer segments than numbers")
    };
    segments.segments().iter().map(id).collect()
}

/// Writes one line for each segment of a frame.
///
/// # Errors
///
/// What `out` answered.
pub fn panoptic_text(
    out: &mut impl Write,
    file: Option<&str>,
    sequence: u64,
    names: &dyn Names,
    segments: &Segments,
) -> io::Result<()> {
    let whence = Whence(file, sequence);
    if segments.segments().is_empty() {
        writeln!(out, "{whence}: nothing found")?;
    }
    for s in segments.segments() {
        let kind = if s.thing { "thing" } else { "stuff" };
        let [x, y, w, h] = s.bbox;
        let (name, area) = (OneLine(names.name(s.prompt)), s.area);
        writeln!(
            out,
            "{whence}: {name} {:.2} ({kind}) at {x},{y} {w}x{h}, {area} px",
            s.score
        )?;
    }
    Ok(())
}
