//! What all commands on photos share: going through them, where to look, where drawn copies go, and the exit code.
//!
//! Every path that was given, and every entry of a folder, is looked at or named on stderr; one
//! that fails ends no other.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ffi::OsString,
    fmt,
    io::Write,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use clap::Args;
use tarsier::{
    Photo, draw,
    frame::{
        Frame, FrameError,
        file::{ImageKind, MAX_PIXELS},
        folder::Walk,
        region::Region,
    },
    geometry::{BBox, Crop},
    labels::LabelMap,
    scene::{Detection, Names, Report},
};

use super::{
    Failure, code_of, exit, fail, output::Output, output_code, output_failure, progress, stop,
};

/// Photos, the part of them to look at, and where they are drawn.
#[derive(Debug, Args)]
pub(super) struct Photos {
    /// Photos (JPEG, PNG, WebP, BMP, GIF, TIFF, PNM, QOI) and folders of them; - is a photo on
    /// standard input. What in a folder is no photo is named on stderr, and the exit code says so.
    #[arg(required = true, value_name = "PHOTO")]
    paths: Vec<PathBuf>,
    /// Look into folders in folders too.
    #[arg(long)]
    recursive: bool,
    /// Draw what was found into copies of the photos, in this folder.
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// Look at this part only, and closer: left,top,width,height in pixels, or corners "x,y x,y x,y". What has the centre of its box outside
    /// is not reported.
    #[arg(long, value_name = "X,Y,W,H", allow_hyphen_values = true)]
    region: Option<Region>,
    /// The most pixels of a photo; a larger one is refused before it is decoded.
    #[arg(long, value_name = "N", default_value_t = MAX_PIXELS, value_parser = clap::value_parser!(u64).range(1..=MOST_PIXELS))]
    limit_pixels: u64,
}

/// No format that is read has more.
const MOST_PIXELS: u64 = 65_535 * 65_535;

/// One of the photos, and what is wanted of it.
pub(super) struct Item<'a> {
    pub(super) path: &'a Path,
    pub(super) sequence: u64,
    pub(super) image: Photo,
    region: Option<&'a Region>,
    part: Crop,
    /// The part's pixels, where it is not the whole.
    pixels: Vec<u8>,
    drawn: Option<PathBuf>,
    /// Whether another photo of the batch has the same name.
    twin: bool,
}

/// A closure that looks at one photo.
type Look<'c> = dyn FnMut(Item<'_>) -> Result<(), Failure> + 'c;

/// What of a batch was not done: the exit code, and the words on stderr.
#[derive(Default)]
struct Tally {
    code: u8,
}

impl Tally {
    /// Of several failures the lower number does not win.
    fn add(&mut self, code: u8, words: impl fmt::Display) {
        log::error!("{words}");
        self.code = self.code.max(code);
    }
}

/// What is looked at, with what the copies are called.
struct Batch<'a> {
    photos: Vec<PathBuf>,
    copies: Copies<'a>,
    /// Names that several photos have.
    twins: HashSet<OsString>,
}

impl Photos {
    /// Calls `one` for each photo that can be read, and says of all else why not; returns the exit
    /// code. What `one` wrote to `out` has left before the next photo is opened.
    pub(super) fn each(
        &self,
        out: &Output,
        one: impl FnMut(Item<'_>) -> Result<(), Failure>,
    ) -> Result<u8, Failure> {
        self.each_beside(None, out, one)
    }

    /// The same where the command writes into another folder too, which is none of the photos'.
    pub(super) fn each_beside(
        &self,
        own: Option<&Path>,
        out: &Output,
        mut one: impl FnMut(Item<'_>) -> Result<(), Failure>,
    ) -> Result<u8, Failure> {
        if let Some(folder) = &self.draw {
            make_folder(folder)?;
        }
        stop::listen().map_err(|e| fail(exit::SYSTEM, e))?;
        let mut tally = Tally::default();
        let mut batch = self.batch(own, &mut tally);
        let total = batch.photos.len() as u64;
        let bar = progress(total, "photos", total < 8);
        for (path, sequence) in std::mem::take(&mut batch.photos).iter().zip(0..) {
            bar.set_position(sequence);
            if let Some(signal) = stop::asked() {
                let signal = stop::name(signal);
                bar.suspend(|| log::warn!("{signal} after {sequence} of {total} photos"));
                break;
            }
            if out.reader_gone() {
                break;
            }
            match self.attempt(path, sequence, &mut batch, out, &mut one) {
                Ok(()) => {}
                Err(e) if e.code == 0 => break,
                // nothing of what follows could be written, or believed, either
                Err(e) if e.code == exit::IO || out.check_pack().is_err() => {
                    bar.finish_and_clear();
                    return Err(e);
                }
                Err(e) => bar.suspend(|| tally.add(e.code, e.message)),
            }
        }
        bar.finish_and_clear();
        Ok(tally.code)
    }

    /// Looks at one photo and sends what was found; whatever is wrong with it is its own business.
    fn attempt(
        &self,
        path: &Path,
        sequence: u64,
        batch: &mut Batch<'_>,
        out: &Output,
        one: &mut Look<'_>,
    ) -> Result<(), Failure> {
        // what a panic leaves half done is overwritten by the next photo: all of it are buffers
        let done = panic::catch_unwind(AssertUnwindSafe(|| {
            let image =
                Photo::open_within(path, self.limit_pixels).map_err(|e| fail(code_of(&e), e))?;
            one(self.photo(path, sequence, image, batch)?)
        }));
        let shown = path.display().to_string();
        let done = done.unwrap_or_else(|why| {
            out.rollback();
            let why = (why.downcast_ref::<String>().map(String::as_str))
                .or_else(|| why.downcast_ref::<&str>().copied());
            let why = why.unwrap_or("a panic without words");
            Err(fail(
                exit::SOFTWARE,
                format!("{shown}: a bug, the photo is left out: {why}"),
            ))
        });
        if let Err(e) = out.check_pack() {
            out.rollback();
            return Err(fail(exit::DATA, e));
        }
        // what was found before a copy could not be saved is found all the same
        out.clone().flush().or_else(output_failure)?;
        done.map_err(|e| {
            let named = e.code == 0 || e.code == exit::IO || e.message.contains(&shown);
            match named {
                true => e,
                false => fail(e.code, format!("{shown}: {}", e.message)),
            }
        })
    }

    /// All photos there are, and words about what is none.
    fn batch<'a>(&'a self, own: Option<&Path>, tally: &mut Tally) -> Batch<'a> {
        let outputs = [self.draw.as_deref(), own].into_iter().flatten();
        let walk = Walk {
            recursive: self.recursive,
            own: outputs.filter_map(|p| p.canonicalize().ok()).collect(),
        };
        let mut photos = Vec::new();
        for path in &self.paths {
            let listing = match walk.list(path) {
                Ok(listing) => listing,
                Err(e) => {
                    tally.add(code_of(&e), e);
                    continue;
                }
            };
            if !listing.hidden.is_empty() {
                let names = listing.hidden.iter().map(|p| p.display().to_string());
                let names = names.collect::<Vec<_>>().join(", ");
                log::warn!("hidden, and passed over: {names}");
            }
            for other in &listing.others {
                match other {
                    FrameError::Folder { path } => tally.add(
                        exit::NO_INPUT,
                        format!(
                            "{} is a folder in the folder; --recursive looks into it",
                            path.display()
                        ),
                    ),
                    other => tally.add(code_of(other), other),
                }
            }
            if listing.photos.is_empty() {
                let e = FrameError::NoImages { path: path.clone() };
                tally.add(code_of(&e), e);
            }
            photos.extend(listing.photos);
        }
        let (mut seen, mut twins) = (HashMap::new(), HashSet::new());
        for photo in &photos {
            let name = photo.file_name().unwrap_or_default();
            // the same photo twice is not two photos of one name
            if seen
                .insert(name.to_owned(), photo)
                .is_some_and(|p| p != photo)
            {
                twins.insert(name.to_owned());
            }
        }
        Batch {
            copies: Copies::new(self.draw.as_deref(), &photos),
            photos,
            twins,
        }
    }

    fn photo<'a>(
        &'a self,
        path: &'a Path,
        sequence: u64,
        image: Photo,
        batch: &mut Batch<'_>,
    ) -> Result<Item<'a>, Failure> {
        let whole = Crop::of(image.size());
        let part = match &self.region {
            None => whole,
            Some(region) => region.bounds(image.size()).ok_or_else(|| {
                let (path, size) = (path.display(), image.size());
                fail(
                    exit::USAGE,
                    format!("the region lies outside {path}, which is {size}"),
                )
            })?,
        };
        let mut pixels = Vec::new();
        if part != whole {
            let cut = image.frame(sequence).cut(part, &mut pixels);
            cut.map_err(|e| fail(exit::SOFTWARE, e))?;
        }
        let name = path.file_name().unwrap_or_default();
        Ok(Item {
            path,
            sequence,
            drawn: batch.copies.path_for(path, image.kind)?,
            image,
            region: self.region.as_ref(),
            part,
            pixels,
            twin: batch.twins.contains(name),
        })
    }
}

impl Item<'_> {
    /// What the network is to look at.
    pub(super) fn frame(&self) -> Result<Frame<'_>, Failure> {
        let Crop { x, y, size } = self.part;
        if self.pixels.is_empty() {
            return Ok(self.image.frame(self.sequence));
        }
        let frame = Frame::new(&self.pixels, size, self.sequence, self.image.captured)
            .and_then(|frame| frame.part_of(self.image.size(), (x, y)));
        frame.map_err(|e| fail(exit::SOFTWARE, e))
    }

    /// An empty report of the photo.
    pub(super) fn report(&self) -> Report {
        Report::new(self.sequence, self.image.captured, self.image.size())
    }

    /// Whether a detection is to be reported: whether its centre lies in the region.
    pub(super) fn counts(&self, detection: &Detection) -> bool {
        let (x, y) = detection.bbox.center();
        self.region.is_none_or(|region| region.contains(x, y))
    }

    /// What of the photo is looked at.
    pub(super) const fn part(&self) -> BBox {
        self.part.bbox()
    }

    /// Keeps what is to be reported.
    pub(super) fn keep(&self, report: &mut Report) {
        report.retain(|d| self.counts(d));
    }

    /// The same of a map.
    pub(super) fn keep_map(&self, map: &mut LabelMap) {
        if let Some(region) = &self.region {
            map.retain(|x, y| region.contains(x as f32 + 0.5, y as f32 + 0.5));
        }
    }

    /// What the photo is called in results: COCO's tools match it by the name that the annotations
    /// have, without folders, unless another photo has it too.
    pub(super) fn shown(&self, coco: bool) -> Cow<'_, str> {
        match coco && !self.twin {
            true => self.path.file_name().unwrap_or_default().to_string_lossy(),
            false => self.path.to_string_lossy(),
        }
    }

    /// Draws into the photo and saves the copy, if copies are asked for.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut [u8])) -> Result<(), Failure> {
        let Some(to) = &self.drawn else {
            return Ok(());
        };
        paint(self.image.pixels_mut());
        draw::save(to, self.image.pixels(), self.image.size(), self.image.kind).map_err(|e| {
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
    pub(super) fn path_for(
        &mut self,
        photo: &Path,
        kind: ImageKind,
    ) -> Result<Option<PathBuf>, Failure> {
        let name = photo.file_name().unwrap_or_default().to_string_lossy();
        match (kind, &*name) {
            (ImageKind::Jpeg, "-") => self.path_of("stdin.jpg"),
            (_, "-") => self.path_of("stdin.png"),
            (ImageKind::Other, _) => self.path_of(&format!("{name}.png")),
            _ => self.path_of(&name),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn photos(paths: &[&str]) -> Photos {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sample");
        Photos {
            paths: paths.iter().map(|p| root.join(p)).collect(),
            recursive: false,
            draw: None,
            limit_pixels: MAX_PIXELS,
            region: None,
        }
    }

    #[test]
    fn a_panic_on_one_photo_is_70_at_the_end_and_the_others_are_done() {
        let (mut seen, mut out) = (Vec::new(), Output::new(b""));
        let all = photos(&["astronaut.jpg", "missing.jpg", "chelsea.jpg", "coffee.jpg"]);
        let code = all.each(&out.clone(), |photo| {
            if photo.path.ends_with("chelsea.jpg") {
                out.write_all(b"half a line").expect("a buffer");
                panic!("a hole in the kernel");
            }
            seen.push((photo.sequence, photo.shown(true).into_owned()));
            Ok(())
        });
        assert_eq!(code.map_err(|e| e.message), Ok(exit::SOFTWARE));
        assert_eq!(
            seen,
            [(0, "astronaut.jpg".into()), (2, "coffee.jpg".into())]
        );
    }

    #[test]
    fn what_is_wrong_with_one_photo_ends_no_other_and_a_full_disk_ends_all() {
        let all = photos(&["astronaut.jpg", "chelsea.jpg", "coffee.jpg"]);
        for (code, calls) in [(exit::USAGE, 3), (exit::CANNOT_CREATE, 3), (exit::IO, 1)] {
            let mut called = 0;
            let done = all.each(&Output::new(b""), |_| {
                called += 1;
                Err(fail(code, "no"))
            });
            assert_eq!(called, calls, "{code}");
            assert_eq!(done.unwrap_or_else(|e| e.code), code);
        }
    }
}
