//! `tarsier detect`: photos in, detections out.

use std::{
    collections::HashSet,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use tarsier::{
    detect::{Settings, rules::Rules},
    draw,
    frame::{
        FrameError,
        file::{ImageFile, images},
    },
    geometry::{
        BBox,
        camera::{Camera, CameraConfig},
    },
    graph::op::Execution,
    prompt::PromptSet,
    report::{Format, ReportWriter},
    run::config::{Config, ConfigError},
    scene::{Names, Report},
    track::{self, Meaning, Tracker},
};

use super::{
    Engine, Failure, Opened, Prompts, camera::CameraOptions, code_of, exit, fail, output_failure,
    progress,
};

/// Options of `detect`.
#[derive(Debug, Args)]
pub(crate) struct Detect {
    /// Photos (JPEG, PNG) and folders of them.
    #[arg(required = true, value_name = "PHOTO")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    prompts: Prompts,
    /// What is written to stdout: a line per detection, a JSON object per photo, or one JSON array of COCO results.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    /// Draw boxes and names into copies of the photos, in this folder.
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// Overlap (intersection over union) from which the lesser of two boxes of one prompt is dropped.
    #[arg(long, value_name = "IOU", default_value_t = Settings::default().iou, value_parser = super::unit_interval)]
    iou: f32,
    /// Also say which pixels each object has: their number, COCO run lengths, or tinted in what is drawn.
    #[arg(long)]
    masks: bool,
    /// Also say of each prompt whether it is in the photo at all, and how likely. Not in COCO results.
    #[arg(long)]
    absent: bool,
    /// One name per place: boxes of different prompts drop one another too.
    #[arg(long)]
    agnostic: bool,
    /// Take the photos for frames in a row, so many a second (30 if not said): what is found again has the same id.
    #[arg(long, value_name = "FPS", num_args = 0..=1, require_equals = true, default_missing_value = "30", value_parser = frames_a_second)]
    track: Option<f64>,
    /// Take the camera from the table [camera] of this configuration; the options below override it.
    #[arg(long, value_name = "FILE", help_heading = "Camera")]
    camera: Option<PathBuf>,
    #[command(flatten)]
    camera_options: CameraOptions,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

fn frames_a_second(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(v) if v > 0.0 && v <= 1000.0 => Ok(v),
        _ => Err("a number above 0 and up to 1000 is expected".into()),
    }
}

/// What is kept from photo to photo.
#[derive(Default)]
struct Eyes {
    tracker: Option<Tracker>,
    camera: Option<CameraConfig>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OutputFormat {
    Text,
    Json,
    Coco,
}

/// Prompt names for writers.
struct PromptNames<'a>(&'a PromptSet);

impl Names for PromptNames<'_> {
    fn name(&self, prompt: u32) -> &str {
        self.0
            .prompts()
            .get(prompt as usize)
            .map_or("", |p| p.shown())
    }
}

impl Detect {
    pub(crate) fn run(&self, execution: Execution) -> Result<u8, Failure> {
        let settings = Settings {
            iou: self.iou,
            agnostic: self.agnostic,
            ..Settings::default()
        };
        let mut opened = self.engine.open(execution, settings)?;
        for (asked, able, what) in [
            (self.masks, opened.pipeline.segments(), "masks"),
            (self.absent, opened.pipeline.senses(), "presence"),
        ] {
            if asked && !able {
                let name = &opened.pack.manifest().name;
                let message = format!("the pack {name} has no network for {what}");
                return Err(fail(exit::DATA, message));
            }
        }
        if self.absent && matches!(self.format, OutputFormat::Coco) {
            let message = "COCO results have no place for --absent; use --format json";
            return Err(fail(exit::USAGE, message));
        }
        let prompts = self.prompts.open(&mut opened, false)?;
        if let Some(folder) = &self.draw {
            std::fs::create_dir_all(folder)
                .map_err(|e| fail(exit::CANNOT_CREATE, format!("{}: {e}", folder.display())))?;
        }
        let mut eyes = Eyes {
            tracker: (self.track).map(|_| Tracker::new(track::Settings::default())),
            camera: self.camera()?,
        };
        opened.pipeline.keep_places(eyes.tracker.is_some());
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
        let format = match self.format {
            OutputFormat::Text => Format::Text,
            OutputFormat::Json => Format::Json,
            OutputFormat::Coco => Format::Coco,
        };
        let mut writer = ReportWriter::new(format, BufWriter::new(io::stdout().lock()));
        let bar = progress(photos.len() as u64, "photos", photos.len() < 8);
        let mut drawn = Drawn::new(self.draw.as_deref(), &photos);
        let rules = Rules::of(&prompts, self.iou);
        let done = photos.iter().zip(0..).try_for_each(|(path, sequence)| {
            bar.set_position(sequence);
            match ImageFile::open(path) {
                Ok(image) => self.photo(
                    &mut opened,
                    (&prompts, &rules),
                    path,
                    image,
                    sequence,
                    &mut eyes,
                    &mut writer,
                    &mut drawn,
                ),
                Err(e) => {
                    bar.suspend(|| failed(&e));
                    Ok(())
                }
            }
        });
        // an array that was begun is ended, whatever happened
        let finished = writer.finish().or_else(output_failure);
        bar.finish_and_clear();
        done.and(finished)?;
        Ok(code)
    }

    /// The camera that the options describe, if they do.
    fn camera(&self) -> Result<Option<CameraConfig>, Failure> {
        let mut of_file = None;
        if let Some(path) = &self.camera {
            let config = Config::open(path).map_err(|e| match e {
                ConfigError::Read { .. } => fail(exit::NO_INPUT, e),
                _ => fail(exit::CONFIG, e),
            })?;
            let missing = || {
                fail(
                    exit::CONFIG,
                    format!("{} has no table [camera]", path.display()),
                )
            };
            of_file = Some(config.camera.ok_or_else(missing)?);
        }
        let camera = self.camera_options.over(of_file);
        if let Some(camera) = &camera {
            let wrong = |(key, why)| fail(exit::USAGE, format!("camera: {key} {why}"));
            camera.check().map_err(wrong)?;
        }
        Ok(camera)
    }

    #[allow(clippy::too_many_arguments)]
    fn photo<W: Write>(
        &self,
        opened: &mut Opened,
        (prompts, rules): (&PromptSet, &Rules),
        path: &Path,
        mut image: ImageFile,
        sequence: u64,
        eyes: &mut Eyes,
        writer: &mut ReportWriter<W>,
        drawn: &mut Drawn<'_>,
    ) -> Result<(), Failure> {
        let frame = image.frame(sequence).map_err(|e| fail(exit::SOFTWARE, e))?;
        let mut report = Report::new(sequence, image.captured, image.size);
        let times = opened
            .pipeline
            .detect(&frame, prompts, &mut report)
            .map_err(|e| fail(exit::SOFTWARE, e))?;
        log::debug!("{}: {times:?}", path.display());
        rules.apply(&mut report);
        if let (Some(tracker), Some(fps)) = (&mut eyes.tracker, self.track) {
            let captured_ns = (sequence as f64 * 1e9 / fps) as u64;
            let meaning = Meaning {
                classes: &[],
                thresholds: prompts.thresholds(),
            };
            let evidence = opened.pipeline.evidence(prompts, 0.0, 0.0);
            tracker.update(captured_ns, &mut report, meaning, &evidence);
        }
        if let Some(config) = &eyes.camera {
            let (width, height) = (image.size.width as f32, image.size.height as f32);
            let camera = Camera::new(config, image.size)
                .map_err(|e| fail(exit::USAGE, format!("camera: {}: {e}", path.display())))?;
            report.sight(&camera, &BBox::new(0.0, 0.0, width, height));
        }
        if self.masks {
            let segmented = opened.pipeline.segment(&mut report);
            segmented.map_err(|e| fail(exit::SOFTWARE, e))?;
        }
        if self.absent {
            let sensed = opened.pipeline.sense(prompts, &mut report);
            sensed.map_err(|e| fail(exit::SOFTWARE, e))?;
        }
        let shown = match self.format {
            // COCO's tools match results to photos by the name that the annotations have
            OutputFormat::Coco => path.file_name().unwrap_or_default().to_string_lossy(),
            _ => path.to_string_lossy(),
        };
        let names = PromptNames(prompts);
        writer
            .write(Some(&shown), &names, &report)
            .or_else(output_failure)?;
        if let Some(to) = drawn.path_for(path)? {
            draw::draw(&mut image.pixels, &report, &names);
            draw::save(&to, &image.pixels, image.size, image.kind)
                .map_err(|e| fail(exit::CANNOT_CREATE, e))?;
        }
        Ok(())
    }
}

/// Where drawn copies go: photos of one name from several folders do not overwrite one another, nor any photo itself.
pub(super) struct Drawn<'a> {
    folder: Option<&'a Path>,
    photos: HashSet<PathBuf>,
    used: HashSet<PathBuf>,
}

impl<'a> Drawn<'a> {
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

    pub(super) fn path_for(&mut self, photo: &Path) -> Result<Option<PathBuf>, Failure> {
        let Some(folder) = self.folder else {
            return Ok(None);
        };
        let name = photo.file_name().unwrap_or_default();
        let mut to = folder.join(name);
        let mut n = 1;
        while !self.used.insert(to.clone()) {
            n += 1;
            to = folder.join(format!("{n}_{}", name.to_string_lossy()));
        }
        if to
            .canonicalize()
            .is_ok_and(|real| self.photos.contains(&real))
        {
            return Err(fail(
                exit::CANNOT_CREATE,
                format!(
                    "{} is one of the photos; draw into another folder",
                    to.display()
                ),
            ));
        }
        Ok(Some(to))
    }
}
