//! What all commands on photos share: going through them, where to look, where drawn copies go, and the exit code.

use std::{
    borrow::Cow,
    collections::HashSet,
    path::{Path, PathBuf},
};

use clap::Args;
use tarsier::{
    capture::picture::Crop,
    draw,
    frame::{
        Frame, FrameError,
        file::{ImageFile, images},
        region::{self, Region},
    },
    geometry::BBox,
    labels::LabelMap,
    scene::{Names, Report},
};

use super::{Failure, code_of, exit, fail, output_code, progress};

/// Photos, the part of them to look at, and where they are drawn.
#[derive(Debug, Args)]
pub(super) struct Photos {
    /// Photos (JPEG, PNG) and folders of them.
    #[arg(required = true, value_name = "PHOTO")]
    paths: Vec<PathBuf>,
    /// Draw what was found into copies of the photos, in this folder.
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// Look at this part only, and closer: left,top,width,height in pixels, or corners "x,y x,y x,y". What has the centre of its box outside
    /// is not reported.
    #[arg(long, value_name = "X,Y,W,H", allow_hyphen_values = true)]
    region: Option<Region>,
}

/// One of the photos.
pub(super) struct Photo<'a> {
    pub(super) path: &'a Path,
    pub(super) sequence: u64,
    pub(super) image: ImageFile,
    region: Option<&'a Region>,
    part: Crop,
    /// The part's pixels, where it is not the whole.
    pixels: Vec<u8>,
    drawn: Option<PathBuf>,
}

impl Photos {
    /// Calls `one` for each photo that can be read, and says of the others why not; returns the exit code.
    pub(super) fn each(
        &self,
        mut one: impl FnMut(Photo<'_>) -> Result<(), Failure>,
    ) -> Result<u8, Failure> {
        if let Some(folder) = &self.draw {
            make_folder(folder)?;
        }
        let mut code = 0;
        let mut failed = |e: &FrameError| {
            log::error!("{e}");
            code = code_of(e).max(code); // of several failures the lower number does not win
        };
        let mut photos = Vec::new();
        for path in &self.paths {
            match images(path) {
                Ok(found) => photos.extend(found),
                Err(e) => failed(&e),
            }
        }
        let bar = progress(photos.len() as u64, "photos", photos.len() < 8);
        let mut drawn = Copies::new(self.draw.as_deref(), &photos);
        for (path, sequence) in photos.iter().zip(0..) {
            bar.set_position(sequence);
            match ImageFile::open(path) {
                Ok(image) => one(self.photo(path, sequence, image, drawn.path_for(path)?)?)?,
                Err(e) => bar.suspend(|| failed(&e)),
            }
        }
        bar.finish_and_clear();
        Ok(code)
    }

    fn photo<'a>(
        &'a self,
        path: &'a Path,
        sequence: u64,
        image: ImageFile,
        drawn: Option<PathBuf>,
    ) -> Result<Photo<'a>, Failure> {
        let whole = Crop {
            x: 0,
            y: 0,
            size: image.size,
        };
        let part = match &self.region {
            None => whole,
            Some(region) => region.bounds(image.size).ok_or_else(|| {
                let (path, size) = (path.display(), image.size);
                fail(
                    exit::USAGE,
                    format!("the region lies outside {path}, which is {size}"),
                )
            })?,
        };
        let mut pixels = Vec::new();
        if part != whole {
            let frame = image.frame(sequence).map_err(|e| fail(exit::SOFTWARE, e))?;
            region::cut(&frame, part, &mut pixels);
        }
        Ok(Photo {
            path,
            sequence,
            image,
            region: self.region.as_ref(),
            part,
            pixels,
            drawn,
        })
    }
}

impl Photo<'_> {
    /// What the network is to look at.
    pub(super) fn frame(&self) -> Result<Frame<'_>, Failure> {
        let frame = if self.pixels.is_empty() {
            self.image.frame(self.sequence)
        } else {
            let captured = self.image.captured;
            Frame::new(&self.pixels, self.part.size, self.sequence, captured)
        };
        frame.map_err(|e| fail(exit::SOFTWARE, e))
    }

    /// An empty report of that.
    pub(super) fn report(&self) -> Report {
        Report::new(self.sequence, self.image.captured, self.part.size)
    }

    /// Whether a point of the photo is to be reported.
    pub(super) fn counts(&self, x: f32, y: f32) -> bool {
        self.region.is_none_or(|region| region.contains(x, y))
    }

    /// What of the photo is looked at.
    pub(super) fn part(&self) -> BBox {
        let Crop { x, y, size } = self.part;
        BBox::new(0.0, 0.0, size.width as f32, size.height as f32).moved(x as f32, y as f32)
    }

    /// Where the part lies in the photo.
    pub(super) const fn offset(&self) -> (u32, u32) {
        (self.part.x, self.part.y)
    }

    /// Makes a report of the part one of the photo.
    pub(super) fn place(&self, report: &mut Report) {
        if self.region.is_some() {
            report.place(self.offset(), self.image.size, |x, y| self.counts(x, y));
        }
    }

    /// The same with a map.
    pub(super) fn place_map(&self, map: &mut LabelMap) {
        if self.region.is_some() {
            *map = map.placed(self.offset(), self.image.size, |x, y| {
                self.counts(x as f32 + 0.5, y as f32 + 0.5)
            });
        }
    }

    /// What the photo is called in results: COCO's tools match it by the name that the annotations have.
    pub(super) fn shown(&self, coco: bool) -> Cow<'_, str> {
        match coco {
            true => self.path.file_name().unwrap_or_default().to_string_lossy(),
            false => self.path.to_string_lossy(),
        }
    }

    /// Draws into the photo and saves the copy, if copies are asked for.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut [u8])) -> Result<(), Failure> {
        let Some(to) = &self.drawn else {
            return Ok(());
        };
        paint(&mut self.image.pixels);
        draw::save(to, &self.image.pixels, self.image.size, self.image.kind).map_err(|e| {
            let code = match &e.source {
                image::ImageError::IoError(source) => output_code(source),
                _ => exit::CANNOT_CREATE,
            };
            fail(code, e)
        })
    }

    /// Draws a report.
    pub(super) fn draw_report(
        &mut self,
        report: &Report,
        names: &dyn Names,
    ) -> Result<(), Failure> {
        self.draw(|pixels| draw::draw(pixels, report, names))
    }
}

/// Makes a folder for output.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|e| fail(exit::CANNOT_CREATE, format!("{}: {e}", folder.display())))
}

/// Where copies go: photos of one name from several folders do not overwrite one another, nor any photo itself.
pub(super) struct Copies<'a> {
    folder: Option<&'a Path>,
    photos: HashSet<PathBuf>,
    used: HashSet<PathBuf>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(folder: Option<&'a Path>, photos: &[PathBuf]) -> Self {
        let real = photos.iter().filter_map(|p| p.canonicalize().ok());
        Self {
            folder,
            photos: if folder.is_some() {
                real.collect()
            } else {
                HashSet::new()
            },
            used: HashSet::new(),
        }
    }

    /// Where the copy of a photo goes.
    pub(super) fn path_for(&mut self, photo: &Path) -> Result<Option<PathBuf>, Failure> {
        let name = photo.file_name().unwrap_or_default();
        self.path_of(&name.to_string_lossy())
    }

    /// Where a file of this name goes.
    pub(super) fn path_of(&mut self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(folder) = self.folder else {
            return Ok(None);
        };
        let mut to = folder.join(name);
        let mut n = 1;
        while !self.used.insert(to.clone()) {
            n += 1;
            to = folder.join(format!("{n}_{name}"));
        }
        if to
            .canonicalize()
            .is_ok_and(|real| self.photos.contains(&real))
        {
            return Err(fail(
                exit::CANNOT_CREATE,
                format!(
                    "{} is one of the photos; write into another folder",
                    to.display()
                ),
            ));
        }
        Ok(Some(to))
    }
}
